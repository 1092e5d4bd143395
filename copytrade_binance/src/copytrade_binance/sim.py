"""The simulated Binance: REST and WebSocket API on one port, over the shared ledger, matching and faults.

What it keeps to: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md,
``web-socket-api.md`` and ``user-data-stream.md`` there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import unquote_plus

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from copytrade_core.sim import (
    WIRE_FAULTS,
    Change,
    Connection,
    Fault,
    MarketRules,
    SimAccount,
    SimKey,
    Simulator,
    UnknownFault,
    World,
    wire,
)

from .sim_endpoints import Endpoint, Endpoints, Snapshot, balances_of
from .sim_rules import EXCHANGE, ApiError, Call, Limits, Settings, authenticate, check_time, error_body
from .sim_socket import Socket
from .sim_stream import EVENT_FAULTS, UserStreams, altered, dumps

_UNKNOWN_OUTCOMES = {
    -1000: (500, "An unknown error occurred while processing the request."),
    -1001: (500, "Internal error; unable to process your request. Please try again."),
    -1006: (500, "An unexpected response was received from the message bus. Execution status unknown."),
    -1007: (504, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."),
    -1008: (503, "Server is currently overloaded with other requests. Please try again in a few minutes."),
}
_REFUSALS: Mapping[str, tuple[int, int, str]] = {
    "minus_1003": (429, -1003, "Too many requests queued."),
    "banned_418": (418, -1003, "Way too much request weight used; IP banned until %s."),
    "minus_1013": (400, -1013, "Filter failure: LOT_SIZE"),
    "minus_1015": (429, -1015, "Too many new orders; current limit is 100 orders per 10 SECOND."),
    "minus_1016": (503, -1016, "This service is no longer available."),
    "minus_1021": (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    "minus_1022": (400, -1022, "Signature for this request is not valid."),
    "minus_1099": (400, -1099, "A code that is not in any list."),
    "minus_1100": (400, -1100, "Illegal characters found in a parameter."),
    "minus_1111": (400, -1111, "Parameter 'quantity' has too much precision."),
    "minus_2008": (400, -2008, "Invalid Api-Key ID."),
    "minus_2010_balance": (400, -2010, "Account has insufficient balance for requested action."),
    "minus_2010_blocked": (400, -2010, "This action is disabled on this account."),
    "minus_2010_closed": (400, -2010, "Market is closed."),
    "minus_2010_duplicate": (400, -2010, "Duplicate order sent."),
    "minus_2013": (400, -2013, "Order does not exist."),
    "minus_2014": (401, -2014, "API-key format invalid."),
    "minus_2015": (401, -2015, "Invalid API-key, IP, or permissions for action."),
    "restricted_451": (451, 0, "Service unavailable from a restricted location."),
    "waf_403": (403, 0, ""),
}
_API_FAULTS = {
    **{
        f"minus_{-code}_{how}executed": f"{text} (params: seconds before it is said = {10 if code == -1007 else 0})"
        for code, (_, text) in _UNKNOWN_OUTCOMES.items()
        for how in ("", "not_")
    },
    **{
        name: f"not executed: HTTP {status}, code {code} (params: retry_after for 429 and 418, any text)"
        for name, (status, code, _) in _REFUSALS.items()
    },
    "late_execution": "answered -1007 after params reply_seconds = 0, executed after seconds = 9, whatever recvWindow",
    "held_before_engine": "held for params seconds = 3, then its recvWindow is checked again",
    "altered_reply": "a field of the reply is replaced (params: field, raw = JSON text; no raw: removed)",
}
_ENGINE_FAULTS = {
    "partial_then_expired": "expires after some executions for want of liquidity (params: fills = 1)",
    "price_range_expiry": "expires by the price range rule (params: fills = 1, 0 for none)",
    "order_not_found": "the order cannot be looked up (params: seconds = 15, listings = true: nor listed)",
    "stale_snapshot": "a balance read shows the state before the last change",
}
_SOCKET_FAULTS = {
    "handshake_hangs": "a new WebSocket's handshake is never answered",
    "handshake_refused": "a new WebSocket is refused (params: status = 503)",
    "silent_subscription": "a subscription is confirmed and then brings nothing",
    "subscribe_refused": "a subscription is refused with -1000",
}
_DISTURBANCES = {
    "abort": "open sockets are reset",
    "close": "open sockets are closed properly (params: code = 1001)",
    "half_open": "open sockets fall silent for good but stay open",
    "half_frame": "half a frame, then silence",
    "server_shutdown": "serverShutdown is announced, and sockets closed (params: seconds = 10)",
    "stream_terminated": "subscriptions end with eventStreamTerminated",
    "silence": "subscriptions bring nothing any more; the sockets answer on",
}
_REQUEST_FAULTS = frozenset({*WIRE_FAULTS, *_API_FAULTS})
_SIGNATURE = re.compile(rb"(^|&)signature=([^&]*)")


@dataclass(slots=True)
class Reply:
    """What an endpoint answered; ``fault``: what is then done to it on the wire."""

    status: int
    body: Any
    error: ApiError | None = None
    fault: Fault | None = None
    carried_out: bool = True

    def text(self) -> str:
        if self.fault is not None and self.fault.name == "altered_reply" and isinstance(self.body, dict):
            return altered(self.body, self.fault.params)
        return dumps(self.body)


class BinanceSimulator(Simulator):
    """See the module. `settings` hold the limits and intervals that the admin API may change."""

    exchange = EXCHANGE
    environment = "test"
    can_lead = True
    faults: ClassVar[Mapping[str, str]] = {
        **WIRE_FAULTS,
        **_API_FAULTS,
        **_ENGINE_FAULTS,
        **EVENT_FAULTS,
        **_SOCKET_FAULTS,
    }
    disturbances = _DISTURBANCES

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.settings: Settings = Settings()
        self.market = world.open_market(EXCHANGE, MarketRules())
        self.market.listeners.append(self._changed)
        for base, step, price in (("ETH", "0.0001", "3218.44"), ("BNB", "0.001", "612.34")):
            world.open_other_market(EXCHANGE, MarketRules(base=base, base_step=Decimal(step)), Decimal(price))
        self.limits = Limits(world, self.settings, self._drop)
        self.streams = UserStreams(world)
        self.endpoints_served = Endpoints(world, self.market, self.limits, self.settings)
        self.methods = {endpoint.method: endpoint for endpoint in self.endpoints_served.table()}
        self.sockets: set[Socket] = set()
        self._late: set[asyncio.Task[Any]] = set()

    # -- accounts -------------------------------------------------------------------------------------------------

    def open_account(
        self, account_id: str, role: str, number: int = 0, balances: dict[str, Decimal] | None = None, **options: Any
    ) -> SimAccount:
        account = super().open_account(account_id, role, number, balances, **options)
        account.extra["after"] = Snapshot(account.updated_ms, 0, balances_of(account))
        return account

    def add_credentials(self, account: SimAccount, kind: str = "") -> dict[str, str]:
        """Make a key: hmac (the usual), ed25519 or rsa; the last two have a PEM block as ``api_secret``."""
        kind = kind or "hmac"
        draw = self.world.random_for(f"keys/{account.id}")
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        api_key = "".join(draw.choices(letters, k=64))
        if kind == "hmac":
            secret, public_key = "".join(draw.choices(letters, k=64)), None
        elif kind in ("ed25519", "rsa"):
            if kind == "ed25519":
                private: Any = Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))
            else:
                private = generate_private_key(public_exponent=65537, key_size=2048)
            secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            public_key = private.public_key()
        else:
            raise UnknownFault(f"no key kind {kind!r}; there are: ed25519, hmac, rsa")
        self.world.add_key(
            account,
            SimKey(api_key=api_key, kind=kind, secret=secret if kind == "hmac" else "", public_key=public_key),
        )
        return {"api_key": api_key, "api_secret": secret}

    def endpoints(self, origin: str) -> dict[str, str]:
        return {"rest": origin, "ws_api": origin.replace("http://", "ws://") + "/ws-api/v3"}

    def configure(self, changes: Mapping[str, Any]) -> None:
        super().configure(changes)
        self.market.rules = replace(self.market.rules, base_step=Decimal(self.settings.base_step))

    def _changed(self, change: Change) -> None:
        account = change.account
        before: Snapshot = account.extra["after"]
        before.replaced_ms = change.time_ms
        account.extra["before"] = before
        account.extra["after"] = Snapshot(change.time_ms, 0, balances_of(account))
        self.streams.push(change)

    # -- one request, from wherever -------------------------------------------------------------------------------

    async def answer(self, endpoint: Endpoint, call: Call) -> Reply:
        """Check, perhaps misbehave, carry out. Never raises `ApiError`: it becomes the reply."""
        fault: Fault | None = None
        carried_out = False
        try:
            self.limits.charge(call.address, endpoint.weight(call.params))
            if endpoint.security:
                authenticate(self.world, call)
                self.endpoints_served.check_permission(endpoint, call)
            account = call.account.id if endpoint.security else None
            fault = self.world.faults.take(
                _REQUEST_FAULTS, EXCHANGE, account, on="order" if endpoint.is_order else "query"
            )
            if fault is not None and fault.name in _API_FAULTS:
                return await self._fail(fault, endpoint, call)
            if fault is not None and not fault.executed:
                return self._seen(endpoint, call, Reply(0, {}, fault=fault, carried_out=False))
            delay = self.world.delays[EXCHANGE]
            if delay.request_ms or delay.jitter_ms:
                await self.world.latency(EXCHANGE, 0.5)
                if endpoint.security:
                    check_time(self.world, call)  # again just before the engine, as the real one does
            body = self._carry_out(endpoint, call)
            carried_out = True
            if delay.request_ms or delay.jitter_ms:
                await self.world.latency(EXCHANGE, 0.5)
            return self._seen(endpoint, call, Reply(200, body, fault=fault))
        except ApiError as error:
            if endpoint.is_order and not carried_out:
                self.limits.add_weight(call.address, 1)
            body = error_body(error, self.world.now_ms(EXCHANGE))
            return self._seen(endpoint, call, Reply(error.status, body, error=error, fault=fault))

    def _carry_out(self, endpoint: Endpoint, call: Call) -> Any:
        self.endpoints_served.check_names(endpoint, call)
        return endpoint.handle(call)

    def _seen(self, endpoint: Endpoint, call: Call, reply: Reply) -> Reply:
        account = call.account.id if call.account is not None else ""
        client_order_id = call.params.get("newClientOrderId") or call.params.get("origClientOrderId", "")
        self.world.saw(EXCHANGE, account, endpoint.method, client_order_id, reply.status)
        return reply

    async def _fail(self, fault: Fault, endpoint: Endpoint, call: Call) -> Reply:
        name = fault.name
        if name == "altered_reply":
            return self._seen(endpoint, call, Reply(200, self._carry_out(endpoint, call), fault=fault))
        if name == "held_before_engine":
            await asyncio.sleep(fault.number("seconds", 3))
            check_time(self.world, call)
            return self._seen(endpoint, call, Reply(200, self._carry_out(endpoint, call)))
        if name == "late_execution":
            self.spawn(self._execute_late(fault.number("seconds", 9), endpoint, call))
            await asyncio.sleep(fault.number("reply_seconds", 0))
            raise ApiError(_UNKNOWN_OUTCOMES[-1007][0], -1007, _UNKNOWN_OUTCOMES[-1007][1])
        if name in _REFUSALS:
            raise self._refusal(fault, call)
        code = -int(name.split("_")[1])
        status, text = _UNKNOWN_OUTCOMES[code]
        if not name.endswith("not_executed"):
            self._carry_out(endpoint, call)
        await asyncio.sleep(fault.number("seconds", 10 if code == -1007 else 0))
        raise ApiError(status, code, text)

    def _refusal(self, fault: Fault, call: Call) -> ApiError:
        status, code, text = _REFUSALS[fault.name]
        error = ApiError(status, code, text)
        if status == 418:
            self.limits.ban(call.address)
            error.retry_at_ms = self.limits.banned_until_ms(call.address)
            error.message = text % error.retry_at_ms
        elif status == 429:
            error.retry_at_ms = self.world.now_ms(EXCHANGE) + 1000
        error.retry_after = str(fault.params.get("retry_after", ""))
        if error.retry_after.isdigit():
            error.retry_at_ms = self.world.now_ms(EXCHANGE) + int(error.retry_after) * 1000
        return error

    async def _execute_late(self, seconds: float, endpoint: Endpoint, call: Call) -> None:
        await asyncio.sleep(seconds)
        try:
            self._carry_out(endpoint, call)
        except ApiError:
            return  # refused, and the client was told before that nobody knows

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run *work* in the background until it ends or the simulator stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def is_plain(self) -> bool:
        """Whether requests are answered at once, so that a socket need not make a task for each."""
        delay = self.world.delays[EXCHANGE]
        return not (delay.request_ms or delay.jitter_ms or self.world.faults.any_armed)

    # -- REST -----------------------------------------------------------------------------------------------------

    def add_routes(self, app: web.Application) -> None:
        for endpoint in self.methods.values():
            app.router.add_route(endpoint.rest, endpoint.path, self._rest(endpoint))
        app.router.add_route("*", "/api/v3/userDataStream", _page(410))
        app.router.add_route("GET", "/sapi/v1/account/apiRestrictions", self._api_restrictions)
        app.router.add_route("GET", "/ws-api/v3", self._websocket)
        app.router.add_route("*", "/{path:.*}", _page(404))

    def _rest(self, endpoint: Endpoint) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            call = await _rest_call(request)
            return await self._respond(request, call, await self.answer(endpoint, call))

        return handler

    async def _respond(self, request: web.Request, call: Call, reply: Reply) -> web.StreamResponse:
        headers = {
            "X-MBX-USED-WEIGHT": (used := str(self.limits.used_weight(call.address))),
            "X-MBX-USED-WEIGHT-1M": used,
        }
        if call.order_count is not None and reply.error is None:
            headers["X-MBX-ORDER-COUNT-10S"] = str(call.order_count.in_ten_seconds)
            headers["X-MBX-ORDER-COUNT-1D"] = str(call.order_count.in_day)
        error = reply.error
        if error is not None and error.status in (418, 429):
            until_ms = error.retry_at_ms - self.world.now_ms(EXCHANGE)
            headers["Retry-After"] = error.retry_after or str(max(1, -(-until_ms // 1000)))
        if error is not None and error.code == 0:
            if error.status == 403:
                return wire.page(403)
            reply.body = {"code": 0, "msg": error.message}
        response = web.Response(
            status=reply.status or 200, text=reply.text(), content_type="application/json", headers=headers
        )
        if reply.fault is not None and reply.fault.name in WIRE_FAULTS:
            return await wire.misbehave(self.world, request, reply.fault, response if reply.carried_out else None)
        return response

    async def _api_restrictions(self, request: web.Request) -> web.StreamResponse:
        if not self.settings.prod_like:
            return wire.page(404)
        call = await _rest_call(request)
        try:
            self.limits.charge(call.address, 1)
            authenticate(self.world, call)
        except ApiError as error:
            body = error_body(error, self.world.now_ms(EXCHANGE))
            return await self._respond(request, call, Reply(error.status, body, error=error))
        key = call.key
        body = {
            "ipRestrict": key.ip_restricted,
            "createTime": 1_623_840_271_000,
            "enableReading": key.can_read,
            "enableWithdrawals": key.can_withdraw,
            "enableInternalTransfer": key.can_transfer,
            "enableMargin": False,
            "enableFutures": False,
            "permitsUniversalTransfer": key.can_transfer,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": True,
            "enableSpotAndMarginTrading": key.can_trade,
            "enablePortfolioMarginTrading": False,
        }
        return await self._respond(request, call, Reply(200, body))

    # -- WebSocket API --------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        faults = self.world.faults
        if faults.take(("handshake_hangs",), EXCHANGE):
            return await wire.stay_silent(self.world, request, 60)
        if fault := faults.take(("handshake_refused",), EXCHANGE):
            return wire.page(int(fault.number("status", 503)))
        address = request.remote or ""
        try:
            self.limits.connect(address)
        except ApiError as error:
            body = error_body(error, self.world.now_ms(EXCHANGE))
            self.world.saw(EXCHANGE, "", "connect", status=error.status)
            return await self._respond(request, Call({}, address=address), Reply(error.status, body, error=error))
        response = web.WebSocketResponse(autoping=False, autoclose=True, timeout=1, max_msg_size=1 << 20)
        await response.prepare(request)
        socket = Socket(self, Connection(request, response), address)
        self.sockets.add(socket)
        try:
            await socket.serve()
        finally:
            self.sockets.discard(socket)
            await socket.finish()
        return response

    def _drop(self, address: str) -> None:
        """A ban ends the address's sockets too."""
        for socket in list(self.sockets):
            if socket.address == address:
                socket.connection.later(20, socket.connection.abort)

    def disturb(self, name: str, account_id: str | None, params: Mapping[str, Any]) -> int:
        chosen = [socket for socket in self.sockets if account_id is None or socket.carries(account_id)]
        for socket in chosen:
            connection = socket.connection
            if name == "abort":
                connection.abort()
            elif name == "close":
                self.spawn(connection.close(int(params.get("code", 1001))))
            elif name == "half_open":
                connection.freeze()
            elif name == "half_frame":
                connection.send_half_a_frame('{"subscriptionId":0,"event":{"e":"executionReport"}}')
            elif name == "server_shutdown":
                connection.send(dumps({"event": {"e": "serverShutdown", "E": self.world.now_ms(EXCHANGE)}}))
                self.spawn(_close_after(connection, float(params.get("seconds", 10))))
            elif name == "stream_terminated":
                socket.terminate(account_id)
            else:
                socket.silence(account_id)
        return len(chosen)

    async def stop(self) -> None:
        for task in list(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await asyncio.gather(*(socket.connection.close(1001) for socket in list(self.sockets)), return_exceptions=True)


async def _close_after(connection: Connection, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await connection.close(1001)


def _page(status: int) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return wire.page(status)

    return handler


async def _rest_call(request: web.Request) -> Call:
    """Read a REST request as its bytes came: what was signed is the raw query followed by the raw body."""
    query = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
    body = await request.read() if request.can_read_body else b""
    params: dict[str, str] = {}
    repeated = False
    for part in (query, body):
        mine: set[str] = set()
        for pair in part.split(b"&") if part else ():
            name, _, value = pair.partition(b"=")
            decoded = unquote_plus(name.decode("utf-8", "replace"))
            repeated = repeated or decoded in mine
            mine.add(decoded)
            params.setdefault(decoded, unquote_plus(value.decode("utf-8", "replace")))  # the query wins over the body
    signature = params.pop("signature", "")
    return Call(
        params=params,
        payload=_SIGNATURE.sub(b"", query).lstrip(b"&") + _SIGNATURE.sub(b"", body).lstrip(b"&"),
        signature=signature,
        api_key=request.headers.get("X-MBX-APIKEY", ""),
        via="rest",
        address=request.remote or "",
        repeated=repeated,
    )
