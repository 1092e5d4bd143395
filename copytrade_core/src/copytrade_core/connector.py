"""What a plug-in hands back: an `Exchange`, and from it connectors, user streams and a gateway.

Hooks stand at the edges (`hookspecs`); these objects are in the hot path. One `Exchange` stands for one
exchange in one environment and owns what its accounts share: the clock offset, the request budget, the HTTP
connections, the sockets. A `Connector` is one account on it.

A minimal plug-in subclasses `Exchange` and `Connector`; `UserStream` and `Gateway` are refinements: without
them balances are polled, and orders go out one per thread.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from .accounts.budget import Budget
from .clock import Clock, ExchangeClock
from .errors import CopytradeError, OutcomeUnknown
from .model import (
    AccountCheck,
    AccountId,
    BalanceChange,
    BalanceSnapshot,
    ClientOrderId,
    Credentials,
    Environment,
    ExchangeOrderId,
    ExecutionReport,
    KeyPermissions,
    MarketOrder,
    OrderAck,
    OrderReport,
    Symbol,
    SymbolRules,
)

CAPABILITIES = {
    "push_balances": "balances arrive on a user stream",
    "burst_orders": "many accounts' orders leave together",
    "key_permissions": "the exchange tells what a key may do",
    "leads": "its execution reports are complete enough to lead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeContext:
    """What the host gives a plug-in when it opens an exchange."""

    environment: Environment
    symbol: Symbol
    clock: Clock
    exchange_clock: ExchangeClock
    # From COPYTRADE_ENDPOINTS, loopback only: names as in the plug-in's documentation (rest, ws_api, ws).
    endpoints: Mapping[str, str] = field(default_factory=dict)
    # To be told, from any thread, for how many seconds the exchange has shut our address out: nothing is sent there
    # until then, and people see why. It only takes notice.
    on_shut_out: Callable[[float], None] = lambda seconds: None
    shut_out_sec: float = 0.0  # for how long it has still done so, as an earlier run was told; nothing is asked before


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedOrder:
    """An order as it will leave, complete but for the signature; this is what is journalled before it does.

    ``fence_ms`` is the exchange time after which the request can no longer be executed (orders.md 2.4).
    """

    account_id: AccountId
    order: MarketOrder
    body: Mapping[str, str]  # the parameters, unsigned, in the exchange's own names
    timestamp_ms: int
    recv_window_ms: int
    fence_ms: int
    key_fingerprint: str
    connector: Connector = field(repr=False, compare=False)


class Gate(ABC):
    """Asked immediately before an order's bytes are written; it is shut by stop, pause and halt."""

    @abstractmethod
    def passage(self, prepared: PreparedOrder) -> AbstractContextManager[None]:
        """Return a context in which *prepared* may be written to the wire, and nothing slower done.

        Whoever shuts the gate waits for those inside, so that nothing leaves after "stopped" was said.

        :raises NotSent: on entering: the gate is shut; nothing may leave.
        """


class Connector(ABC):
    """One account on one exchange. Thread-safe. Reads raise; they never return a guess.

    Every method may raise any `ExchangeError`; on a read `OutcomeUnknown` means "no answer".
    """

    account_id: AccountId

    @abstractmethod
    def verify(self, *, needs_trade: bool = True) -> AccountCheck:
        """Ask the exchange whether this key is good for copy trading.

        :param needs_trade: False for a leader, whose key only has to read.
        :raises AuthenticationFailed: it is not; ``kind`` says why. Also for a key that can withdraw.
        """

    @abstractmethod
    def balances(self, *, urgent: bool = False) -> BalanceSnapshot:
        """Read all balances over REST; the snapshot is complete.

        :param urgent: an order waits for it, or it is the leader's: it goes before the polling of the others.
        """

    @abstractmethod
    def key_permissions(self) -> KeyPermissions:
        """Read what the key may do, as far as the exchange tells."""

    @abstractmethod
    def prepare_market_order(self, order: MarketOrder) -> PreparedOrder:
        """Return *order* with everything but the signature. No I/O: this is the hot path.

        :raises ClockSkewed: the exchange's clock is not known.
        """

    @abstractmethod
    def place(self, prepared: PreparedOrder, gate: Gate) -> OrderAck:
        """Sign and send *prepared* once; never resend, whatever happens.

        The gate is entered around the write. An ack with ``report`` spares the caller a look-up.
        """

    @abstractmethod
    def find_order(
        self, client_order_id: ClientOrderId, exchange_order_id: ExchangeOrderId | None = None
    ) -> OrderReport | None:
        """Look one order up. ``None``: the exchange says there is none (which may be early, see the fence).

        A final order comes back with all its fills (``fills_complete``).
        """

    @abstractmethod
    def list_orders(self, since_ms: int) -> Sequence[OrderReport]:
        """Return all orders of the symbol created at or after *since_ms* (exchange time), oldest first.

        Open and final ones; ``fills`` may be empty. Pages through all there are.
        """

    def close(self) -> None:  # noqa: B027 - nothing to close is a fine answer
        """Let go of what this account alone holds."""


# --- streams ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamUp:
    """From now on everything that happens to the account is delivered (until `StreamDown`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDown:
    """Nothing is delivered from now on; what happens meanwhile is not delivered later either."""

    reason: str


StreamEvent = ExecutionReport | BalanceSnapshot | BalanceChange | StreamUp | StreamDown


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFrame:
    """One event as it came off one socket. ``raw`` is the frame's own text, for the journal."""

    account_id: AccountId
    connection: str  # names the socket: two connections deliver the same event twice
    received_ns: int  # monotonic
    event: StreamEvent
    raw: str = ""


StreamSink = Callable[[StreamFrame], None]  # only enqueues; called on the reader's thread


class UserStream(ABC):
    """Pushed events of one or of many accounts, over one or more sockets that it keeps alive itself.

    It reconnects with back-off, subscribes again, and says `StreamDown` and `StreamUp` per account.
    A socket is never trusted for being open: liveness is probed.
    """

    @abstractmethod
    def add(self, connector: Connector) -> None:
        """Subscribe an account. Returns when its events are being delivered (`StreamUp` was said).

        :raises ExchangeError: they are not, and why. `StreamInterrupted`: it keeps trying by itself;
            `AuthenticationFailed`: it has given this account up.
        """

    @abstractmethod
    def remove(self, account_id: AccountId) -> None:
        """Unsubscribe an account; nothing of it is delivered afterwards. Unknown ids are ignored."""

    @abstractmethod
    def last_proof_ns(self, account_id: AccountId) -> int | None:
        """Monotonic time at which delivery for *account_id* was last proven; ``None`` while it is down."""

    @abstractmethod
    def stop(self) -> None:
        """Close the sockets and join the threads."""


# --- gateways ---------------------------------------------------------------------------------------------

OutcomeHandler = Callable[[PreparedOrder, "OrderAck | CopytradeError"], None]


class Gateway(ABC):
    """Sends many accounts' orders in one burst."""

    @abstractmethod
    def submit(self, orders: Sequence[PreparedOrder], gate: Gate, on_outcome: OutcomeHandler) -> None:
        """Send each of *orders* once and return soon; *on_outcome* is called exactly once for each.

        The handler only enqueues. It is called from any thread, within 15 s of the order's leaving:
        an answer that has not come by then is `OutcomeUnknown`.
        """

    @abstractmethod
    def stop(self) -> None:
        """Send nothing more; what is in flight is answered or becomes `OutcomeUnknown`. Joins the threads."""


class ThreadPoolGateway(Gateway):
    """The default: each order is placed by its own connector on a thread of a pool."""

    def __init__(self, name: str, threads: int = 64) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"{name}-order")

    def submit(self, orders: Sequence[PreparedOrder], gate: Gate, on_outcome: OutcomeHandler) -> None:
        for prepared in orders:
            self._pool.submit(self._place, prepared, gate, on_outcome)

    @staticmethod
    def _place(prepared: PreparedOrder, gate: Gate, on_outcome: OutcomeHandler) -> None:
        try:
            outcome: OrderAck | CopytradeError = prepared.connector.place(prepared, gate)
        except CopytradeError as error:
            outcome = error
        except Exception as error:  # a plug-in's bug must not lose an order's outcome
            outcome = OutcomeUnknown(f"the connector failed with {type(error).__name__}", kind="plugin_bug")
        on_outcome(prepared, outcome)

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=False)


class Exchange(ABC):
    """One exchange in one environment, with everything that its accounts share."""

    description_id: str  # the exchange's id

    def __init__(self, context: ExchangeContext) -> None:
        self.context = context
        self._gateway_lock = threading.Lock()
        self._gateway: Gateway | None = None

    @abstractmethod
    def open_connector(self, account_id: AccountId, credentials: Credentials) -> Connector:
        """Return a connector for one account. No I/O: `Connector.verify` asks the exchange."""

    @abstractmethod
    def server_time_ms(self) -> int:
        """Ask the exchange for its time."""

    @abstractmethod
    def rules(self) -> SymbolRules:
        """Read the rules of the context's symbol from the exchange (the engine caches them)."""

    def open_user_stream(self, sink: StreamSink, name: str) -> UserStream | None:
        """Return a stream without accounts yet; ``None``: this exchange pushes nothing, poll it.

        Two streams never share a socket: the engine opens two for the leader.
        """
        return None

    def make_gateway(self) -> Gateway:
        """Build the gateway; called once."""
        return ThreadPoolGateway(self.description_id)

    @property
    def gateway(self) -> Gateway:
        with self._gateway_lock:
            if self._gateway is None:
                self._gateway = self.make_gateway()
            return self._gateway

    def warm_up(self, connectors: Sequence[Connector]) -> None:  # noqa: B027
        """Open what an order for *connectors* will need and keep it open; called again as accounts change."""

    def balance_read_cost_sec(self) -> float:
        """Seconds of request budget that one `Connector.balances` costs; paces the polling behind pushes."""
        return 0.1

    def budgets(self) -> Mapping[str, Budget]:
        """Return the limits of our address by name, for showing how much of each is used."""
        return {}

    def close(self) -> None:
        """Stop the gateway and everything shared. Streams and connectors are closed by their owners."""
        with self._gateway_lock:
            if self._gateway is not None:
                self._gateway.stop()
