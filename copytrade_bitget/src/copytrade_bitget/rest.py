"""Bitget's REST interface: signs, paces and classifies; knows no domain types.

Routes carry the exchange's own names. Limits: https://www.bitget.com/docs/classic/faq and each route's page;
6,000 requests a minute an address over all of them.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from copytrade_core.accounts.budget import Budget, Priority, retry_after_sec
from copytrade_core.clock import NS_PER_SEC, Clock, ExchangeClock
from copytrade_core.errors import OutcomeUnknown, RateLimited

from .errors import EXCHANGE, SUCCESS, refusal
from .parse import Envelope, envelope
from .signing import Signer
from .transport import Answer, Transport

ADDRESS_LIMIT = 6000  # a minute
ADDRESS_BLOCK_SEC = 300.0  # how long Bitget shuts an address out that went over it
ORDER_WAIT_SEC = 1.0
READ_WAIT_SEC = 3.0


@dataclass(frozen=True, slots=True)
class Route:
    """One REST route, and how often a second an account (public routes: an address) may call it."""

    path: str
    per_second: int
    priority: Priority = Priority.LOOKUP


def urgently(route: Route) -> Route:
    """Return *route* for somebody who cannot wait behind the polling of balances."""
    return replace(route, priority=Priority.LOOKUP)


PUBLIC_TIME = Route("/api/v2/public/time", 20)
SPOT_SYMBOLS = Route("/api/v2/spot/public/symbols", 20)
MARKET_INSTRUMENTS = Route("/api/v3/market/instruments", 20)

SPOT_ACCOUNT_INFO = Route("/api/v2/spot/account/info", 1)
SPOT_ACCOUNT_ASSETS = Route("/api/v2/spot/account/assets", 10, Priority.BALANCE)
SPOT_PLACE_ORDER = Route("/api/v2/spot/trade/place-order", 10, Priority.ORDER)
SPOT_ORDER_INFO = Route("/api/v2/spot/trade/orderInfo", 20)
SPOT_UNFILLED_ORDERS = Route("/api/v2/spot/trade/unfilled-orders", 20)
SPOT_HISTORY_ORDERS = Route("/api/v2/spot/trade/history-orders", 20)
SPOT_FILLS = Route("/api/v2/spot/trade/fills", 10)

ACCOUNT_SETTINGS = Route("/api/v3/account/settings", 20)
ACCOUNT_INFO = Route("/api/v3/account/info", 1)  # no limit is documented
ACCOUNT_ASSETS = Route("/api/v3/account/assets", 20, Priority.BALANCE)
PLACE_ORDER = Route("/api/v3/trade/place-order", 10, Priority.ORDER)
ORDER_INFO = Route("/api/v3/trade/order-info", 20)
UNFILLED_ORDERS = Route("/api/v3/trade/unfilled-orders", 20)
HISTORY_ORDERS = Route("/api/v3/trade/history-orders", 20)
FILLS = Route("/api/v3/trade/fills", 20)

_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "copytrade",
    "locale": "en-US",  # otherwise messages may come in Chinese
}


class Api:
    """What all accounts at one address share: the transport, the address's budget, the public routes."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        exchange_clock: ExchangeClock,
        on_shut_out: Callable[[float], None],
        *,
        demo: bool,
    ) -> None:
        """*on_shut_out* is told for how many seconds Bitget has shut the address out."""
        self._on_shut_out = on_shut_out
        self.transport = transport
        self.clock = clock
        self.exchange_clock = exchange_clock
        self.demo = demo
        self.address = Budget(clock, "Bitget", limit=ADDRESS_LIMIT, window_sec=61.0)  # as in `Pace`
        self._public = Pace(clock)
        self._lock = threading.Lock()
        self._paces: dict[str, Pace] = {}
        self._refused: deque[tuple[int, str]] = deque(maxlen=16)

    def get(self, route: Route, *, keep_open: int = 0, **params: str) -> Envelope:
        """Call a public route. It never carries the demo header: some of them fail with it.

        :param keep_open: passed to `Transport.send`; such a call yields to everything else.
        """
        priority = Priority.BALANCE if keep_open else route.priority
        self._public.spend(route, 0.0 if keep_open else READ_WAIT_SEC)
        self.address.spend(1, priority, 0.0 if keep_open else READ_WAIT_SEC)
        answer = self.transport.send("GET", target(route, params), _HEADERS, keep_open=keep_open)
        return self.classified(answer, route, "", self._public)

    def pace_of(self, account: str) -> Pace:
        """Return the pace of an account. Bitget counts by account: its old key and its new one share it."""
        with self._lock:
            return self._paces.setdefault(account, Pace(self.clock))

    def classified(self, answer: Answer, route: Route, account: str, pace: Pace) -> Envelope:
        """Return the envelope of a success; raise what anything else means."""
        pace.observe(route, answer.headers.get("x-mbx-used-remain-limit", ""))
        if answer.status == 429:
            raise self._too_many(answer, route, account, pace)
        if answer.status >= 500 or 300 <= answer.status < 400:
            # Not from where orders are looked at, or not to its end: its words prove nothing.
            raise OutcomeUnknown(
                f"Bitget answered with status {answer.status}; that leaves the outcome open", exchange=EXCHANGE
            )
        if not answer.body:
            raise OutcomeUnknown("Bitget's answer was empty", kind="unreadable_answer", exchange=EXCHANGE)
        found = envelope(answer.body)
        if found.code == SUCCESS:
            return found
        error = refusal(found.code, found.words)
        if isinstance(error, RateLimited):
            raise self._too_many(answer, route, account, pace)
        raise error

    def _too_many(self, answer: Answer, route: Route, account: str, pace: Pace) -> RateLimited:
        """Slow down what Bitget refused: one route of one account, or, when several are refused, all."""
        stated = retry_after_sec(answer.headers)  # not documented
        seconds = 0.0 if stated is None else max(1.0, stated)
        now = self.clock.monotonic_ns()
        with self._lock:
            self._refused.append((now, f"{account} {route.path}"))
            lately = {who for at, who in self._refused if now - at < 10 * NS_PER_SEC}
        whole_address = len(lately) >= 3
        if whole_address:
            seconds = seconds or ADDRESS_BLOCK_SEC
            self.address.block(seconds, banned=True)
            self._on_shut_out(seconds)
        else:
            seconds = seconds or 1.0
            pace.block(route, seconds)
        return RateLimited(
            "too many requests; Bitget asks to slow down",
            retry_after_sec=seconds,
            whole_address=whole_address,
            banned=whole_address,
            exchange=EXCHANGE,
            code="429",
        )


class Pace:
    """One budget for each route, of one account or of the address."""

    # Requests sent a second apart may arrive closer together; the tenth keeps them apart.
    WINDOW_SEC = 1.1

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._budgets: dict[str, Budget] = {}

    def spend(self, route: Route, wait_sec: float) -> None:
        # A route is used for one purpose: all who ask for it are equal, hence ORDER for every call.
        self._budget(route).spend(1, Priority.ORDER, wait_sec)

    def observe(self, route: Route, left: str) -> None:
        """Learn from an answer how many calls of a route are left in this second: others may use the account."""
        if left.isascii() and left.isdigit():
            budget = self._budget(route)
            budget.observe(budget.limit - int(left))

    def block(self, route: Route, seconds: float) -> None:
        self._budget(route).block(seconds)

    def set_limit(self, route: Route, per_second: int) -> None:
        self._budget(route).limit = per_second

    def _budget(self, route: Route) -> Budget:
        with self._lock:
            budget = self._budgets.get(route.path)
            if budget is None:
                budget = Budget(self._clock, "Bitget", limit=route.per_second, window_sec=self.WINDOW_SEC)
                self._budgets[route.path] = budget
            return budget


class AccountApi:
    """The private routes, for one account. Thread-safe."""

    def __init__(self, api: Api, account: str, signer: Signer) -> None:
        self.shared = api
        self.signer = signer
        self.pace = api.pace_of(account)
        self._account = account
        # Demo keys are refused without it, production keys with it.
        self._headers = {**_HEADERS, "paptrading": "1"} if api.demo else _HEADERS

    def get(self, route: Route, **params: str) -> Envelope:
        """Read something; the parameters' values must need no escaping: Bitget checks the raw query."""
        self._spend(route, READ_WAIT_SEC)
        where = target(route, params)
        headers = self._headers | self.signer.headers(self.shared.exchange_clock.now_ms(), "GET", where, "")
        answer = self.shared.transport.send("GET", where, headers)
        return self.shared.classified(answer, route, self._account, self.pace)

    def post_order(
        self, route: Route, body: Mapping[str, str], timestamp_ms: int, passage: AbstractContextManager[None]
    ) -> Envelope:
        """Send an order once, signed as of *timestamp_ms*; *passage* is entered around the write."""
        self._spend(route, ORDER_WAIT_SEC)
        text = json.dumps(dict(body), separators=(",", ":"))
        headers = self._headers | self.signer.headers(timestamp_ms, "POST", route.path, text)
        answer = self.shared.transport.send("POST", route.path, headers, text.encode(), passage=passage)
        return self.shared.classified(answer, route, self._account, self.pace)

    def _spend(self, route: Route, wait_sec: float) -> None:
        self.pace.spend(route, wait_sec)
        self.shared.address.spend(1, route.priority, wait_sec)


def target(route: Route, params: Mapping[str, str]) -> str:
    """Return path and query, keys ascending, nothing escaped: the text that is signed is the text that is sent."""
    for value in params.values():
        if not re.fullmatch(r"[0-9A-Za-z_.,-]+", value):
            raise ValueError("a parameter's value would have to be escaped")
    query = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return f"{route.path}?{query}" if query else route.path
