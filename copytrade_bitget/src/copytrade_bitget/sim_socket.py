"""The simulated exchange's sockets: ``/v2/ws/private`` and ``/v3/ws/private``; public ones only answer ping.

Pushes are as untidy as the real ones: late, merged, lost or repeated now and then, by the world's `Untidiness`.
Sources: https://www.bitget.com/api-doc/common/websocket-intro, .../spot/websocket/private/Account-Channel,
.../Order-Channel, .../Fill-Channel, https://www.bitget.com/api-doc/uta/websocket/private/Account-Channel and siblings.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from copytrade_core.sim import Change, Connection, SimAccount, SimOrder
from copytrade_core.sim.wire import stay_silent

from . import sim_rows as rows
from .sim_codes import Family, SocketRefused
from .sim_limits import NS_PER_MS, SlidingWindow
from .sim_sign import login_prehash, sign

if TYPE_CHECKING:
    from .sim import BitgetSimulator

CHANNELS: dict[Family, frozenset[str]] = {
    "classic": frozenset({"account", "orders", "fill"}),
    "unified": frozenset({"account", "order", "fill", "fast-fill"}),
}
PATHS: dict[str, tuple[Family, bool]] = {
    "/v2/ws/private": ("classic", True),
    "/v3/ws/private": ("unified", True),
    "/v2/ws/public": ("classic", False),
    "/v3/ws/public": ("unified", False),
}
PUSH_FAULTS = {
    "account_push_lost": "an account push is not sent",
    "order_push_lost": "an order push (with its fill pushes) is not sent",
    "push_duplicated": "a push is sent twice",
    "push_delayed": "a push is sent late (params: seconds = 3)",
    "pushes_reordered": "the pushes of one order come in reverse order",
}
SOCKET_FAULTS = {
    "handshake_hangs": "the WebSocket handshake is never answered (of any account; params: seconds = 60)",
    "login_refused": "the login fails (params: code = 30005)",
    "subscribe_refused": "a subscription is refused (params: code = 30001)",
    "no_subscribe_ack": "a subscription works, without its acknowledgement",
}


class Client:
    """One client's socket."""

    def __init__(self, hub: Sockets, connection: Connection, family: Family, address: str, *, private: bool) -> None:
        self.hub = hub
        self.connection = connection
        self.family = family
        self.address = address
        self.private = private
        self.account: SimAccount | None = None
        self.subscribed: dict[str, Any] = {}  # channel -> the argument as the client wrote it
        self.held: dict[str, rows.CoinState] = {}  # of an account push that waits to be merged with the next one
        self.silent = False
        self._sim = hub.sim
        self._last_ping_ns = self._sim.world.monotonic_ns()
        limits = self._sim.settings
        connection.later(limits.socket_idle_ms, self._check_idle)
        connection.later(limits.socket_age_ms, self.hang_up)

    def heard(self, text: str) -> None:
        """Act on one text frame. Whatever is wrong with it is answered, never raised."""
        limits = self._sim.settings
        try:
            over = self.hub.messages.take(self, limits.socket_messages, limits.socket_message_window_ms) < 0
            if over and limits.enforced:
                raise SocketRefused(30007, closes=True)
            if text == "ping":
                self._last_ping_ns = self._sim.world.monotonic_ns()
                self.connection.send("pong")
                return
            if len(text.encode()) > limits.socket_frame_bytes:
                raise SocketRefused(30002)
            try:
                asked = json.loads(text)
                op, args = asked["op"], asked.get("args", [])
            except (ValueError, TypeError, KeyError, AttributeError):
                raise SocketRefused(30002) from None
            if not isinstance(args, list) or not args or not all(isinstance(arg, dict) for arg in args):
                raise SocketRefused(30016)
            if op == "login" and self.private:
                self._login(args[0])
            elif op in ("subscribe", "unsubscribe"):
                for arg in args:
                    self._subscribe(op, arg)
            else:
                # Orders over the socket need a permission that Bitget gives by hand; this account has it not.
                raise SocketRefused(30003, op)
        except SocketRefused as refused:
            self._refuse(refused)

    def _refuse(self, refused: SocketRefused, **more: Any) -> None:
        code = refused.code if self._sim.world.chance("bitget/socket-code", 0.5) else str(refused.code)
        self.connection.send(_dumps({"event": "error", **more, "code": code, "msg": refused.words}))
        if refused.closes:
            self.connection.later(20, self.hang_up)

    def _login(self, arg: Mapping[str, Any]) -> None:
        sim = self._sim
        if self.account is not None:
            raise SocketRefused(30002)
        found = sim.world.find_key(sim.exchange, str(arg.get("apiKey", "")))
        if found is None or found[1].revoked:
            raise SocketRefused(30011, closes=True)
        account, key = found
        fault = sim.world.faults.take(("login_refused",), sim.exchange, account.id)
        if fault is not None:
            raise SocketRefused(int(fault.number("code", 30005)), closes=True)
        stamp = str(arg.get("timestamp", ""))
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 16):
            raise SocketRefused(30013, closes=True)
        # Seconds, or ms as the documentation's prose says: both were accepted live.
        sent_ms = int(stamp) if len(stamp) > 11 else int(stamp) * 1000
        if abs(sim.now_ms() - sent_ms) > sim.settings.signature_window_ms:
            raise SocketRefused(30014, closes=True)
        if not secrets.compare_digest(sign(key.secret, login_prehash(stamp)), str(arg.get("sign", "")).encode()):
            raise SocketRefused(30015, closes=True)
        if not secrets.compare_digest(key.passphrase.encode(), str(arg.get("passphrase", "")).encode()):
            raise SocketRefused(30012, closes=True)
        classic_on_unified = self.family == "unified" and sim.family(account) == "classic"
        if (
            sim.environment_of(account) != sim.environment
            or not key.ip_listed
            or not key.can_read
            or classic_on_unified
        ):
            raise SocketRefused(30005, closes=True)
        self.account = account
        self.hub.by_account[account.id].add(self)
        code = 0 if sim.world.chance("bitget/socket-code", 0.5) else "0"
        self.connection.send(_dumps({"event": "login", "code": code, "msg": "", "connId": secrets.token_hex(8)}))

    def _subscribe(self, op: str, arg: dict[str, Any]) -> None:
        sim, account = self._sim, self.account
        if not self.private:
            raise SocketRefused(30001, _named(arg))
        if account is None:
            raise SocketRefused(30004)
        hour_ms = 3_600_000
        over = self.hub.subscribes.take(self, sim.settings.socket_subscribes, hour_ms) < 0
        if over and sim.settings.enforced:
            raise SocketRefused(30006)
        channel = str(arg.get("channel" if self.family == "classic" else "topic"))
        fits = arg.get("instType") == ("SPOT" if self.family == "classic" else "UTA")
        if self.family == "classic":
            fits = fits and arg.get("coin" if channel == "account" else "instId") in (
                "default",
                sim.market.rules.symbol,
            )
        fault = sim.world.faults.take(("subscribe_refused", "no_subscribe_ack"), sim.exchange, account.id)
        refused = fault is not None and fault.name == "subscribe_refused"
        if refused or not fits or channel not in CHANNELS[self.family]:
            code = int(fault.number("code", 30001)) if refused and fault is not None else 30001
            self._refuse(SocketRefused(code, _named(arg)), arg=arg, op=op)
            return
        if fault is None:
            self.connection.send(_dumps({"event": op, "arg": arg}))
        if op == "unsubscribe":
            self.subscribed.pop(channel, None)
            return
        fresh = channel not in self.subscribed
        self.subscribed[channel] = arg
        if channel == "account":
            self.push_account(sim.coins(account))
            if fresh and self.family == "unified":
                self.connection.later(sim.settings.account_push_ms, self._push_regularly)

    def _push_regularly(self) -> None:
        if self.account is not None and "account" in self.subscribed:
            self.push_account(self._sim.coins(self.account))
            self.connection.later(self._sim.settings.account_push_ms, self._push_regularly)

    def push_account(self, coins: rows.Coins, delay_ms: float = 0) -> None:
        account = self.account
        if account is None:
            return
        data: list[rows.Row]
        if self.family == "classic":
            data = [rows.classic_asset(coin, state) for coin, state in coins.items()]
        else:
            data = [self._sim.unified_account_push(account, coins)]
        self.push("account", data, delay_ms)

    def push(self, channel: str, data: list[rows.Row], delay_ms: float = 0) -> None:
        """Send a push, unless nobody subscribed or this socket is one that stays silent."""
        arg, account = self.subscribed.get(channel), self.account
        # A unified account's login to the classic socket succeeds, and nothing ever comes.
        if arg is None or account is None or self.silent or self._sim.family(account) != self.family:
            return
        frame = {"action": "snapshot", "arg": arg, "data": data}

        def send() -> None:
            self.connection.send(_dumps(frame | {"ts": self._sim.now_ms()}))

        if delay_ms:
            self.connection.later(delay_ms, send)
        else:
            send()

    def _check_idle(self) -> None:
        idle_ms = (self._sim.world.monotonic_ns() - self._last_ping_ns) / NS_PER_MS
        left = self._sim.settings.socket_idle_ms - idle_ms
        if left <= 0:
            self.hang_up()
        else:
            self.connection.later(left, self._check_idle)

    def hang_up(self) -> None:
        """Close with a close frame."""
        self.hub.in_background(self.connection.close())


class Sockets:
    """All open sockets, and what is pushed to them when an account changes."""

    def __init__(self, sim: BitgetSimulator) -> None:
        self.sim = sim
        self.by_account: defaultdict[str, set[Client]] = defaultdict(set)
        self.messages = SlidingWindow(sim.world.monotonic_ns)
        self.subscribes = SlidingWindow(sim.world.monotonic_ns)
        self._opens = SlidingWindow(sim.world.monotonic_ns)
        self._clients: set[Client] = set()
        self.most = 0  # sockets that were open at once
        self.refused = 0  # sockets turned away for a limit
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it ends."""
        sim, limits = self.sim, self.sim.settings
        family, private = PATHS[request.path]
        address = request.remote or ""
        over = self._opens.take(address, limits.socket_opens, limits.socket_open_window_ms) < 0
        here = sum(client.address == address for client in self._clients)
        if limits.enforced and (over or here >= limits.sockets):
            self.refused += 1
            return web.Response(status=429, text="Too Many Requests")
        fault = sim.world.faults.take(("handshake_hangs",), sim.exchange)
        if fault is not None:
            return await stay_silent(sim.world, request, fault.number("seconds", 60))
        # Protocol pings are answered by hand: a half-open connection answers none.
        socket = web.WebSocketResponse(autoping=False, max_msg_size=1 << 16)
        await socket.prepare(request)
        connection = Connection(request, socket)
        client = Client(self, connection, family, address, private=private)
        self._clients.add(client)
        self.most = max(self.most, len(self._clients))
        try:
            async for message in socket:
                if connection.frozen:
                    continue
                if message.type is WSMsgType.TEXT:
                    client.heard(message.data)
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
        finally:
            self._clients.discard(client)
            if client.account is not None:
                self.by_account[client.account.id].discard(client)
            self.messages.forget(client)
            self.subscribes.forget(client)
            await connection.finish()
        return socket

    def in_background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def of(self, account_id: str | None) -> list[Client]:
        """Return the open sockets of one account, or all."""
        return list(self._clients if account_id is None else self.by_account.get(account_id, ()))

    async def stop(self) -> None:
        for client in self.of(None):
            client.connection.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what is pushed -----------------------------------------------------------------------------------------------

    def announce(self, account: SimAccount, order: SimOrder) -> None:
        """Push that an order was taken in; it is not yet matched."""
        for client in self.of(account.id):
            channel, row = self._order_push(client.family, order, 0, "NEW", created=True)
            self._push_report(client, account, [(channel, [row])])

    def changed(self, change: Change) -> None:
        """Push an action of the engine: the order's steps, and the balances after it."""
        clients = self.of(change.account.id)
        if not clients:
            return
        account, world, untidy = change.account, self.sim.world, self.sim.untidiness
        purpose = f"bitget/push/{account.id}"
        draw = world.random_for(purpose)
        span = untidy.delay_max_ms - untidy.delay_min_ms
        lost = world.chance(purpose, untidy.position_lost)
        merged = world.chance(purpose, untidy.position_merged)
        first = world.chance(purpose, untidy.position_first)
        delay_ms = 0.0
        if world.chance(purpose, untidy.position_delayed):
            delay_ms = untidy.delay_min_ms + draw.random() * span
        fault = world.faults.take(("account_push_lost",), self.sim.exchange, account.id)
        coins = self.sim.touched(change)
        for client in clients:
            if first and not lost and not fault:
                self._push_position(client, coins, merged=False, delay_ms=0)
            reports = list(self._reports(client.family, change))
            if len(reports) > 1 and world.faults.take(("pushes_reordered",), self.sim.exchange, account.id):
                reports.reverse()
            for report in reports:
                self._push_report(client, account, report)
            if not first and not lost and not fault:
                self._push_position(client, coins, merged=merged, delay_ms=delay_ms)

    def _push_position(self, client: Client, coins: rows.Coins, *, merged: bool, delay_ms: float) -> None:
        client.held.update(coins)
        if merged:
            return
        coins, client.held = client.held, {}
        if client.family == "unified" and client.account is not None:
            coins = self.sim.coins(client.account)  # complete, always
        for extra_ms in self._deliveries(client, "account"):
            client.push_account(coins, delay_ms + extra_ms)

    def _push_report(self, client: Client, account: SimAccount, report: list[tuple[str, list[rows.Row]]]) -> None:
        if self.sim.world.faults.take(("order_push_lost",), self.sim.exchange, account.id):
            return
        for extra_ms in self._deliveries(client, "report"):
            for channel, data in report:
                client.push(channel, data, extra_ms)

    def _deliveries(self, client: Client, what: str) -> list[float]:
        """Return when to send a push: usually once, at once."""
        account, world, untidy = client.account, self.sim.world, self.sim.untidiness
        assert account is not None
        fault = world.faults.take(("push_duplicated", "push_delayed"), self.sim.exchange, account.id)
        if fault is not None:
            return [0.0, 0.0] if fault.name == "push_duplicated" else [1000 * fault.number("seconds", 3)]
        if what == "account":
            return [0.0]
        purpose = f"bitget/push/{account.id}"
        if world.chance(purpose, untidy.report_lost):
            return []
        times = [0.0] * (2 if world.chance(purpose, untidy.report_duplicated) else 1)
        if world.chance(purpose, untidy.report_delayed):
            span = untidy.delay_max_ms - untidy.delay_min_ms
            times[-1] = untidy.delay_min_ms + world.random_for(purpose).random() * span
        return times

    def _reports(self, family: Family, change: Change) -> Iterator[list[tuple[str, list[rows.Row]]]]:
        """Yield what each step of the engine pushes: the order, and its fill on the fill channels."""
        order = change.order
        if order is None:
            return
        done = len(order.fills) - sum(step.fill is not None for step in change.steps)
        for step in change.steps:
            if step.execution == "NEW":
                if not order.extra.get("announced"):
                    yield [_single(self._order_push(family, order, 0, "NEW", created=True))]
                if family == "unified":
                    yield [_single(self._order_push(family, order, 0, "NEW", created=False))]
                continue
            done += step.fill is not None
            pushes = [_single(self._order_push(family, order, done, step.status, created=False))]
            if step.fill is not None:
                symbol, rules = self.sim.market.rules.symbol, self.sim.market.rules
                if family == "classic":
                    pushes.append(("fill", [rows.classic_fill_push(order, step.fill, symbol, rules)]))
                else:
                    fill = rows.unified_fill_push(order, step.fill, symbol)
                    pushes += [("fill", [fill]), ("fast-fill", [fill])]
            yield pushes

    def _order_push(
        self, family: Family, order: SimOrder, fills: int, status: str, *, created: bool
    ) -> tuple[str, rows.Row]:
        symbol, seen = self.sim.market.rules.symbol, tuple(order.fills[:fills])
        time_ms = order.created_ms if created else order.updated_ms
        if family == "classic":
            return "orders", rows.classic_order_push(order, symbol, seen, status, time_ms)
        now_ms = order.created_ms + (0 if created else rows.MATCHING_AFTER_MS)
        return "order", rows.unified_order_push(order, symbol, seen, status, now_ms, time_ms)


def _single(push: tuple[str, rows.Row]) -> tuple[str, list[rows.Row]]:
    return push[0], [push[1]]


def _named(arg: Mapping[str, Any]) -> str:
    return ",".join(f"{name}:{value}" for name, value in arg.items())[:200]


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
