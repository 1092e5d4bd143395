"""The order gateway: many accounts' ``order.place`` frames over a few warm WebSocket API sockets.

A request of the WebSocket API carries its own key and signature, so one socket serves all accounts:
https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-api.md (Authorize ad hoc requests).
"""

from __future__ import annotations

import functools
import math
import random
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from copytrade_core.accounts.budget import Priority
from copytrade_core.connector import Gate, Gateway, OutcomeHandler, PreparedOrder, ThreadPoolGateway
from copytrade_core.errors import ExchangeError, NotSent, OutcomeUnknown, RateLimited

from . import parse
from .api_socket import ApiSocket, SocketTimings
from .errors import EXCHANGE
from .keeper import Keeper

if TYPE_CHECKING:
    from .connector import BinanceConnector, BinanceExchange

IN_FLIGHT_PER_SOCKET = 100  # what one dying socket makes unknown at most
MIN_SOCKETS = 2
ANSWER_SEC = 12.0
BACKOFF_SEC = (0.5, 30.0)


class BinanceGateway(Gateway):
    """Sends bursts over sockets that are open before they are needed; over REST while there is none."""

    def __init__(self, exchange: BinanceExchange, timings: SocketTimings | None = None) -> None:
        self._exchange = exchange
        self._timings = timings or SocketTimings()
        self._fallback = ThreadPoolGateway("binance-rest")
        self._keeper = Keeper("binance-gateway")
        self._lock = threading.Lock()
        self._wanted = 0
        self._made = 0  # sockets so far, for their names
        self._failures = 0  # connects in a row that failed
        self._sockets: tuple[ApiSocket, ...] = ()  # all that live; replaced, never changed
        self._retired: frozenset[ApiSocket] = frozenset()  # those that take no further orders
        self._turn = 0
        self._stopped = False

    def warm(self, accounts: int) -> None:
        """Keep as many sockets open as a burst of *accounts* orders needs. Returns at once."""
        with self._lock:
            self._wanted = max(MIN_SOCKETS, math.ceil(accounts / IN_FLIGHT_PER_SOCKET))
        self._keeper.soon(self._fill)

    @property
    def ready(self) -> int:
        """How many sockets could take orders now."""
        return len(self._open_sockets())

    # --- orders ---------------------------------------------------------------------------------------

    def submit(self, orders: Sequence[PreparedOrder], gate: Gate, on_outcome: OutcomeHandler) -> None:
        sockets = self._open_sockets()
        for prepared in orders:
            if self._stopped:
                on_outcome(prepared, NotSent("the gateway was stopped", retry=False, kind="stopped", exchange=EXCHANGE))
                continue
            try:
                sent = self._send(prepared, sockets, gate, on_outcome)
            except ExchangeError as error:
                on_outcome(prepared, error)
                continue
            except Exception as error:  # a bug in front of the wire must cost one order, not the burst
                sentence = f"the order could not be prepared ({type(error).__name__})"
                on_outcome(prepared, NotSent(sentence, retry=False, kind="plugin_bug", exchange=EXCHANGE))
                continue
            if not sent:
                self._fallback.submit([prepared], gate, on_outcome)

    def _send(
        self, prepared: PreparedOrder, sockets: Sequence[ApiSocket], gate: Gate, on_outcome: OutcomeHandler
    ) -> bool:
        """Send over the next socket that has room. :raises ExchangeError: nothing left."""
        if not sockets:
            return False
        self._exchange.limits.spend(0, Priority.ORDER)  # weighs nothing, but must not leave during a ban
        connector: BinanceConnector = prepared.connector  # type: ignore[assignment]
        params = connector.signer.frame_params(prepared.body)
        handler = functools.partial(_answered, prepared, on_outcome)
        self._turn += 1
        for offset in range(len(sockets)):
            api_socket = sockets[(self._turn + offset) % len(sockets)]
            if api_socket.in_flight < IN_FLIGHT_PER_SOCKET and api_socket.request(
                "order.place",
                params,
                handler,
                timeout_sec=ANSWER_SEC,
                for_order=True,
                passage=gate.passage(prepared),
            ):
                return True
        return False

    def _open_sockets(self) -> list[ApiSocket]:
        return [one for one in self._sockets if one.is_open and one not in self._retired]

    # --- sockets; on the keeper's thread --------------------------------------------------------------

    def _fill(self) -> None:
        missing = self._wanted - len([one for one in self._sockets if one not in self._retired])
        for _ in range(missing):
            if self._stopped:
                return
            try:
                self._exchange.limits.connections.spend(1, Priority.ORDER)
                self._exchange.limits.spend(2, Priority.LOOKUP)
            except RateLimited as error:
                self._keeper.later(max(1.0, error.retry_after_sec), self._fill)
                return
            self._made += 1
            made = self._make(f"binance-orders#{self._made}")
            with self._lock:
                self._sockets += (made,)
            made.start()

    def _make(self, name: str) -> ApiSocket:
        made = ApiSocket(
            self._exchange.ws_api_url,
            name,
            clock=self._exchange.context.clock,
            limits=self._exchange.limits,
            on_open=lambda: None,
            on_event=lambda frame, raw, received_ns: None,
            on_leaving=lambda: self._keeper.soon(lambda: self._retire(made)),
            on_closed=lambda error: self._keeper.soon(lambda: self._forget(made, was_open=made.last_proof_ns > 0)),
            timings=self._timings,
        )
        return made

    def _retire(self, api_socket: ApiSocket) -> None:
        """Open another in its place, and close it when its orders are answered."""
        if api_socket not in self._sockets or api_socket in self._retired:
            return
        with self._lock:
            self._retired |= {api_socket}
        self._fill()
        self._keeper.later(ANSWER_SEC + 1, lambda: api_socket.abort("replaced"))

    def _forget(self, api_socket: ApiSocket, was_open: bool) -> None:
        with self._lock:
            self._sockets = tuple(one for one in self._sockets if one is not api_socket)
            self._retired -= {api_socket}
        self._failures = 0 if was_open else self._failures + 1
        shortest, longest = BACKOFF_SEC
        wait = min(longest, shortest * 2 ** min(self._failures, 10))
        self._keeper.later(wait * random.uniform(0.5, 1), self._fill)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
        give_up_at = time.monotonic() + ANSWER_SEC
        while any(one.in_flight for one in self._sockets) and time.monotonic() < give_up_at:
            time.sleep(0.02)
        self._keeper.stop()
        for one in self._sockets:
            one.abort("the gateway was stopped")
        for one in self._sockets:
            one.join()
        self._fallback.stop()


def _answered(prepared: PreparedOrder, on_outcome: OutcomeHandler, result: Any, error: ExchangeError | None) -> None:
    if error is not None:
        on_outcome(prepared, error)
        return
    try:
        outcome: Any = parse.order_reply(result, prepared)
    except OutcomeUnknown as unreadable:
        outcome = unreadable
    except Exception as bug:  # a bug must not lose an order's outcome
        outcome = OutcomeUnknown(
            f"the answer could not be taken in ({type(bug).__name__})", kind="plugin_bug", exchange=EXCHANGE
        )
    on_outcome(prepared, outcome)
