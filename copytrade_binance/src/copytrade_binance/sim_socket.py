"""One WebSocket API connection of the simulated Binance: requests of many keys, sessions, subscriptions.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-api.md
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from copytrade_core.sim import WIRE_FAULTS, Connection, SimAccount, SimKey, wire

from .sim_rules import EXCHANGE, ApiError, Call, authenticate, bad, error_body, refused_key
from .sim_stream import Subscription, dumps

if TYPE_CHECKING:
    from .sim import BinanceSimulator, Reply

MAX_SUBSCRIPTIONS = 1000
MAX_SUBSCRIPTION_IDS = 65_535
RETIRED = ("userDataStream.start", "userDataStream.ping", "userDataStream.stop")


class Socket:
    """One client's connection, from its handshake to its end."""

    def __init__(self, simulator: BinanceSimulator, connection: Connection, address: str) -> None:
        self.connection = connection
        self.address = address
        self._simulator = simulator
        self._world = simulator.world
        self._subscriptions: dict[int, Subscription] = {}
        self._next_id = 0
        self._session: tuple[SimAccount, SimKey] | None = None
        self._authorized_ms: int | None = None
        self._connected_ms = self._world.now_ms(EXCHANGE)
        self._pong_due: float | None = None
        self._returns_limits = connection.request.query.get("returnRateLimits", "true") != "false"
        self._methods = {
            "session.logon": (2, self._logon),
            "session.status": (2, self._status),
            "session.logout": (2, self._logout),
            "session.subscriptions": (2, self._list_subscriptions),
            "userDataStream.subscribe": (2, self._subscribe),
            "userDataStream.subscribe.signature": (2, self._subscribe_signature),
            "userDataStream.unsubscribe": (2, self._unsubscribe),
        }

    # -- life -----------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Read requests until the connection ends."""
        timer = asyncio.get_running_loop().create_task(self._keep_time())
        try:
            while True:
                message = await self.connection.socket.receive()
                if message.type == wire.TEXT:
                    await self._receive(message.data)
                elif message.type == wire.PING:
                    if not self.connection.frozen:
                        await self.connection.socket.pong(message.data)
                elif message.type == wire.PONG:
                    if message.data:  # an unsolicited, empty pong does not count
                        self._pong_due = None
                else:
                    return
        finally:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)

    async def _keep_time(self) -> None:
        """Ping now and then, end the connection when no pong comes or its day is over."""
        loop = asyncio.get_running_loop()
        settings = self._simulator.settings
        began = last_ping = loop.time()
        while True:
            await asyncio.sleep(min(settings.ping_interval_sec, settings.pong_timeout_sec, 1) / 4)
            now = loop.time()
            if now - began > settings.connection_max_sec or (self._pong_due is not None and now > self._pong_due):
                self.connection.abort()
                return
            if now - last_ping >= settings.ping_interval_sec:
                last_ping = now
                self.connection.ping(str(self._world.now_ms(EXCHANGE)).encode())
                if self._pong_due is None:
                    self._pong_due = now + settings.pong_timeout_sec

    async def finish(self) -> None:
        for subscription in self._subscriptions.values():
            self._simulator.streams.remove(subscription)
        self._subscriptions.clear()
        await self.connection.finish()

    # -- requests -------------------------------------------------------------------------------------------------

    async def _receive(self, text: str) -> None:
        if self.connection.frozen:
            return
        try:
            # Numbers keep the text they came with: it is what was signed.
            request = json.loads(text, parse_float=str)
            if (
                not isinstance(request, dict)
                or not isinstance(request.get("method"), str)
                or not isinstance(request.setdefault("params", {}), dict)
            ):
                raise ValueError
        except ValueError:
            self._reply(None, Call({}, address=self.address), error=bad(-1135, "Invalid JSON Request."))
            return
        if self._simulator.is_plain():
            await self._serve_one(request)
        else:
            self._simulator.spawn(self._serve_one(request))

    async def _serve_one(self, request: dict[str, Any]) -> None:
        id_ = request.get("id")
        method = request["method"].removeprefix("v3/")
        call = self._call(request["params"])
        endpoint = self._simulator.methods.get(method)
        if self._session is not None and self._session[1].revoked:
            self._session, self._authorized_ms = None, None
            self._reply(None, call, error=refused_key())
            return
        wants_limits = request["params"].get("returnRateLimits", self._returns_limits) is not False
        call.params.pop("returnRateLimits", None)
        if endpoint is not None:
            reply = await self._simulator.answer(endpoint, call)
            if reply.fault is not None and reply.fault.name in WIRE_FAULTS:
                await self._misbehave(id_, call, reply)
            elif reply.error is not None:
                self._reply(id_, call, error=reply.error, limits=wants_limits)
            else:
                self._reply(id_, call, result=reply.text(), limits=wants_limits)
            return
        status = 200
        try:
            if method in RETIRED:
                raise ApiError(410, -1016, "This service is no longer available.")
            if method not in self._methods:
                raise bad(-1020, "This operation is not supported.")
            weight, handle = self._methods[method]
            self._simulator.limits.charge(self.address, weight)
            result = handle(call)
        except ApiError as error:
            status = error.status
            self._reply(id_, call, error=error, limits=wants_limits)
        else:
            self._reply(id_, call, result=dumps(result), limits=wants_limits)
        account = call.account.id if call.account is not None else ""
        self._world.saw(EXCHANGE, account, method, status=status)

    def _call(self, given: dict[str, Any]) -> Call:
        texts = {
            name: dumps(value) if isinstance(value, (bool, list)) else str(value)
            for name, value in given.items()
            if value is not None
        }
        signature = texts.pop("signature", "")
        payload = "&".join(f"{name}={texts[name]}" for name in sorted(texts)).encode()
        return Call(
            params=texts,
            payload=payload,
            signature=signature,
            api_key=texts.get("apiKey", ""),
            via="ws",
            address=self.address,
            session=self._session,
        )

    def _reply(
        self, id_: Any, call: Call, *, result: str = "", error: ApiError | None = None, limits: bool = True
    ) -> None:
        if error is None:
            head = f'{{"id":{json.dumps(id_)},"status":200,"result":{result}'
        else:
            body = dumps(error_body(error, self._world.now_ms(EXCHANGE)))
            head = f'{{"id":{json.dumps(id_)},"status":{error.status},"error":{body}'
        self.connection.send(head + (f',"rateLimits":{dumps(self._rate_limits(call))}' if limits else "") + "}")

    def _rate_limits(self, call: Call) -> list[dict[str, Any]]:
        simulator = self._simulator
        rows: list[dict[str, Any]] = []
        if call.order_count is not None:
            rows = simulator.endpoints_served.order_limit_rows(call.account)
            for row, used in zip(rows, (call.order_count.in_ten_seconds, call.order_count.in_day), strict=True):
                row["count"] = used
        weight = {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": simulator.settings.weight_limit,
            "count": simulator.limits.used_weight(self.address),
        }
        return [*rows, weight]

    async def _misbehave(self, id_: Any, call: Call, reply: Reply) -> None:
        """The wire's faults as they show on a socket: many requests share it, and all of them suffer."""
        fault = reply.fault
        assert fault is not None
        name = fault.name
        if name.startswith("reply_lost") or name in ("closed_after_reply", "redirect"):
            self.connection.abort()
        elif name.startswith("no_answer"):
            return
        elif name.startswith("http_5xx"):
            code, text = -1000, "An unknown error occurred while processing the request."
            self._reply(id_, call, error=ApiError(int(fault.number("status", 504)), code, text))
        elif name == "late_answer":
            await asyncio.sleep(fault.number("seconds", 11))
            self._reply(id_, call, result=reply.text(), error=reply.error)
        elif name == "empty_200":
            self.connection.send(dumps({"id": id_, "status": 200}))
        elif name == "wrong_shape_200":
            self.connection.send(dumps({"id": id_, "status": 200, "result": {"ok": True, "data": [None]}}))
        elif name in ("html_200", "garbage"):
            self.connection.send(wire.GATEWAY_PAGE.format(status=200, reason="OK"))
        else:
            self.connection.send_half_a_frame(dumps({"id": id_, "status": 200, "result": reply.body}))

    # -- sessions and subscriptions -------------------------------------------------------------------------------

    def _logon(self, call: Call) -> Any:
        call.session = None
        authenticate(self._world, call)
        if not isinstance(call.key.public_key, Ed25519PublicKey):
            raise bad(-4056, "HMAC_SHA256 API key is not supported.")
        self._session = call.account, call.key
        self._authorized_ms = self._world.now_ms(EXCHANGE)
        return self._status(call)

    def _status(self, call: Call) -> Any:
        return {
            "apiKey": self._session[1].api_key if self._session else None,
            "authorizedSince": self._authorized_ms,
            "connectedSince": self._connected_ms,
            "returnRateLimits": self._returns_limits,
            "serverTime": self._world.now_ms(EXCHANGE),
            "userDataStream": bool(self._subscriptions),
        }

    def _logout(self, call: Call) -> Any:
        self._session, self._authorized_ms = None, None
        for subscription in [one for one in self._subscriptions.values() if one.by_logon]:
            self._end(subscription)
        return self._status(call)

    def _list_subscriptions(self, call: Call) -> Any:
        return [{"subscriptionId": id_} for id_ in self._subscriptions]

    def _subscribe(self, call: Call) -> Any:
        if self._session is None:
            raise refused_key()
        return self._open_subscription(self._session[0], by_logon=True)

    def _subscribe_signature(self, call: Call) -> Any:
        call.session = None
        authenticate(self._world, call)
        if not call.key.can_read:
            raise refused_key()
        return self._open_subscription(call.account, by_logon=False)

    def _open_subscription(self, account: SimAccount, *, by_logon: bool) -> Any:
        if self._world.faults.take(("subscribe_refused",), EXCHANGE, account.id):
            raise ApiError(500, -1000, "An unknown error occurred while processing the request.")
        if any(one.account is account for one in self._subscriptions.values()):
            raise bad(-2035, "User Data Stream subscription already active.")
        if self._next_id >= MAX_SUBSCRIPTION_IDS or len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise bad(-2042, "Subscription ID limit reached.")
        subscription = Subscription(self._next_id, self.connection, account, by_logon)
        subscription.silent = bool(self._world.faults.take(("silent_subscription",), EXCHANGE, account.id))
        self._next_id += 1
        self._subscriptions[subscription.id] = subscription
        self._simulator.streams.add(subscription)
        return {"subscriptionId": subscription.id}

    def _unsubscribe(self, call: Call) -> Any:
        wanted = call.params.get("subscriptionId")
        if wanted is None:
            chosen = list(self._subscriptions.values())
        else:
            chosen = [one for one in self._subscriptions.values() if str(one.id) == wanted]
            if not chosen:
                raise bad(-2036, "User Data Stream subscription not active.")
        for subscription in chosen:
            self._end(subscription)
        return {}

    def _end(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription.id]
        self._simulator.streams.remove(subscription)
        event = {"e": "eventStreamTerminated", "E": self._world.now_ms(EXCHANGE)}
        self.connection.send(dumps({"subscriptionId": subscription.id, "event": event}))

    def carries(self, account_id: str) -> bool:
        return any(one.account.id == account_id for one in self._subscriptions.values())

    def terminate(self, account_id: str | None) -> None:
        """End subscriptions (of one account) from the exchange's side."""
        for subscription in [one for one in self._subscriptions.values() if account_id in (None, one.account.id)]:
            self._end(subscription)

    def silence(self, account_id: str | None) -> None:
        """Let subscriptions (of one account) bring nothing any more, while the socket answers on."""
        for subscription in self._subscriptions.values():
            if account_id in (None, subscription.account.id):
                subscription.silent = True
