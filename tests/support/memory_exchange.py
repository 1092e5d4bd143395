"""An exchange in memory, as a plug-in: the real engine with real threads, and no wire.

What the wire does is tried on the simulators; here a test scripts exactly which events come, when, and in what order.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from copytrade_core import (
    AccountCheck,
    AuthenticationFailed,
    Balance,
    BalanceSnapshot,
    BalanceSource,
    Connector,
    CopyTrader,
    CredentialField,
    Environment,
    Exchange,
    ExchangeDescription,
    ExecutionReport,
    Fill,
    KeyPermissions,
    NotSent,
    OrderAck,
    OrderReport,
    OrderStatus,
    PreparedOrder,
    Settings,
    Side,
    StreamFrame,
    StreamUp,
    SymbolRules,
    UserStream,
    Vault,
    hookimpl,
)
from copytrade_core.plugins import Plugins

D = Decimal
PRICE = D("50000")
KEY_PREFIX = "memory-key-of-"  # what is a key is cut out of all logs: it must be no word that they need


@dataclass
class Holder:
    """One account of the memory exchange."""

    key: str
    usdt: Decimal
    btc: Decimal
    orders: list[OrderReport] = field(default_factory=list)
    sent: list[PreparedOrder] = field(default_factory=list)
    refused: Exception | None = None
    updated_ms: int = 0
    permissions: KeyPermissions = field(default_factory=lambda: KeyPermissions(can_trade=True))

    def snapshot(self, source: BalanceSource, complete: bool = True) -> BalanceSnapshot:
        balances = (Balance(asset="USDT", free=self.usdt), Balance(asset="BTC", free=self.btc))
        return BalanceSnapshot(balances=balances, time_ms=self.updated_ms, complete=complete, source=source)


class MemoryExchange:
    """The plug-in and the exchange in one.

    ``on_place`` scripts what an order of a follower meets there, ``before_wire`` what keeps it from getting there.
    """

    def __init__(self) -> None:
        self.holders: dict[str, Holder] = {}
        self.streams: list[MemoryStream] = []
        self.on_place: Callable[[MemoryExchange, Holder, PreparedOrder], OrderAck] = MemoryExchange.execute
        self.before_wire: Callable[[MemoryExchange, Holder, PreparedOrder], None] = lambda world, holder, prepared: None
        self.lookups_fail: Exception | None = None
        self.hidden: set[str] = set()  # client ids that look-ups do not show
        self.asked_keys: list[str] = []  # whose permissions were asked for
        self.lock = threading.RLock()
        self.ids = itertools.count(1000)
        self.skew_ms = 0

    # the exchange

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.skew_ms

    def open(self, key: str, usdt: str, btc: str) -> Holder:
        self.holders[key] = Holder(key, D(usdt), D(btc), updated_ms=self.now_ms() - 1000)
        return self.holders[key]

    def second_key(self, key: str, of: str) -> None:
        """Make a further key of an account."""
        self.holders[key] = self.holders[of]

    def fill(
        self,
        holder: Holder,
        side: Side,
        *,
        quote: Decimal | None = None,
        base: Decimal | None = None,
        client_id: str = "",
    ) -> OrderReport:
        """Execute a market order at the price, without a fee, and return it as the exchange shows it."""
        with self.lock:
            number = next(self.ids)
            base = base if base is not None else (quote or D(0)) / PRICE
            quote = quote if quote is not None else base * PRICE
            sign = 1 if side is Side.BUY else -1
            holder.btc += sign * base
            holder.usdt -= sign * quote
            now = max(self.now_ms(), holder.updated_ms + 1)
            holder.updated_ms = now
            fill = Fill(
                trade_id=str(number),
                price=PRICE,
                base_quantity=base,
                quote_amount=quote,
                commission=D(0),
                commission_asset="BNB",
                time_ms=now,
            )
            report = OrderReport(
                exchange_order_id=str(number),
                client_order_id=client_id or f"web{number}",
                side=side,
                is_market=True,
                status=OrderStatus.FILLED,
                filled_base=base,
                filled_quote=quote,
                created_ms=now,
                updated_ms=now,
                fills=(fill,),
                fills_complete=True,
            )
            holder.orders.append(report)
            return report

    def execute(self, holder: Holder, prepared: PreparedOrder) -> OrderAck:
        """The good case: executed at once, the fills in the answer."""
        order = prepared.order
        report = self.fill(
            holder, order.side, quote=order.quote_amount, base=order.base_quantity, client_id=order.client_order_id
        )
        return OrderAck(
            exchange_order_id=report.exchange_order_id,
            client_order_id=order.client_order_id,
            time_ms=report.updated_ms,
            report=report,
        )

    # the leader, as tests script it

    def reports(self, report: OrderReport, order_type: str = "MARKET") -> list[ExecutionReport]:
        """Return the stream's reports of an order: NEW, then its one fill."""
        common = {
            "exchange_order_id": report.exchange_order_id,
            "client_order_id": report.client_order_id,
            "exchange_symbol": "BTCUSDT",
            "side": report.side,
            "order_type": order_type,
            "created_ms": report.created_ms,
            "transaction_ms": report.updated_ms,
        }
        number = int(report.exchange_order_id) * 10
        return [
            ExecutionReport(
                status=OrderStatus.NEW, execution_id=number, filled_base=D(0), filled_quote=D(0), fill=None, **common
            ),
            ExecutionReport(
                status=report.status,
                execution_id=number + 1,
                filled_base=report.filled_base,
                filled_quote=report.filled_quote,
                fill=report.fills[0],
                **common,
            ),
        ]

    def push(self, key: str, *events: object, connection: str | None = None) -> None:
        """Deliver events of one account on every connection that hears it (or on one)."""
        for stream in list(self.streams):
            if connection in (None, stream.name):
                stream.deliver(key, events)

    def leader_trades(self, key: str, side: Side, *, quote: str | None = None, base: str | None = None) -> OrderReport:
        """A leader's market order with all its events, in the usual order."""
        holder = self.holders[key]
        report = self.fill(holder, side, quote=D(quote) if quote else None, base=D(base) if base else None)
        self.push(key, *self.reports(report), holder.snapshot(BalanceSource.PUSHED, complete=False))
        return report

    # the plug-in

    @hookimpl
    def copytrade_describe_exchanges(self):
        fields = (
            CredentialField(name="api_key", label="API key", label_zh="API Key", secret=False),
            CredentialField(name="api_secret", label="Secret", label_zh="Secret"),
        )
        return [
            ExchangeDescription(
                id="memory",
                name="Memory",
                name_zh="内存",
                environments=(Environment.TEST,),
                credential_fields=fields,
                can_lead=True,
                capabilities=frozenset({"push_balances"}),
            )
        ]

    @hookimpl
    def copytrade_open_exchange(self, exchange, context):
        return _Exchange(context, self) if exchange == "memory" else None


class _Exchange(Exchange):
    description_id = "memory"

    def __init__(self, context, world: MemoryExchange) -> None:
        super().__init__(context)
        self.world = world

    def open_connector(self, account_id, credentials):
        return MemoryConnector(account_id, credentials, self)

    def server_time_ms(self) -> int:
        return self.world.now_ms()

    def rules(self) -> SymbolRules:
        return SymbolRules(
            symbol=self.context.symbol, exchange_symbol="BTCUSDT", base_step=D("0.00001"), quote_step=D("0.01")
        )

    def open_user_stream(self, sink, name):
        return MemoryStream(self.world, sink, name)


class MemoryConnector(Connector):
    def __init__(self, account_id, credentials, exchange: _Exchange) -> None:
        self.account_id = account_id
        self.key = credentials["api_key"].removeprefix(KEY_PREFIX)
        self.fingerprint = credentials.fingerprint
        self.exchange = exchange
        self.world = exchange.world

    @property
    def holder(self) -> Holder:
        holder = self.world.holders.get(self.key)
        if holder is None:
            raise AuthenticationFailed("the exchange does not know this key", kind="invalid_key")
        if holder.refused is not None:
            raise holder.refused
        return holder

    def verify(self, *, needs_trade: bool = True) -> AccountCheck:
        holder = self.holder
        return AccountCheck(uid=f"uid-{holder.key}", permissions=holder.permissions, balances=self.balances())

    def balances(self, *, urgent: bool = False) -> BalanceSnapshot:
        with self.world.lock:
            return self.holder.snapshot(BalanceSource.READ)

    def key_permissions(self) -> KeyPermissions:
        self.world.asked_keys.append(self.key)
        return self.holder.permissions

    def prepare_market_order(self, order) -> PreparedOrder:
        now = self.exchange.context.exchange_clock.now_ms()
        return PreparedOrder(
            account_id=self.account_id,
            order=order,
            body={"size": format(order.size, "f")},
            timestamp_ms=now,
            recv_window_ms=200,
            fence_ms=now + 500,
            key_fingerprint=self.fingerprint,
            connector=self,
        )

    def place(self, prepared, gate) -> OrderAck:
        holder = self.holder
        try:
            self.world.before_wire(self.world, holder, prepared)
        except NotSent:
            holder.sent.append(prepared)
            raise
        with gate.passage(prepared):
            holder.sent.append(prepared)
        return self.world.on_place(self.world, holder, prepared)

    def find_order(self, client_order_id, exchange_order_id=None):
        if self.world.lookups_fail is not None:
            raise self.world.lookups_fail
        if client_order_id in self.world.hidden:
            return None
        return next((order for order in self.holder.orders if order.client_order_id == client_order_id), None)

    def list_orders(self, since_ms) -> Sequence[OrderReport]:
        if self.world.lookups_fail is not None:
            raise self.world.lookups_fail
        found = (
            o for o in self.holder.orders if o.created_ms >= since_ms and o.client_order_id not in self.world.hidden
        )
        return [replace(order, fills=(), fills_complete=False) for order in found]


class MemoryStream(UserStream):
    def __init__(self, world: MemoryExchange, sink, name: str) -> None:
        self.world, self.sink, self.name = world, sink, name
        self.accounts: dict[str, str] = {}  # key -> account id
        self.is_silent = False
        world.streams.append(self)

    def add(self, connector) -> None:
        self.accounts[connector.key] = connector.account_id
        self._say(connector.account_id, StreamUp())

    def remove(self, account_id) -> None:
        self.accounts = {key: known for key, known in self.accounts.items() if known != account_id}

    def last_proof_ns(self, account_id):
        return None if self.is_silent or account_id not in self.accounts.values() else time.monotonic_ns()

    def stop(self) -> None:
        if self in self.world.streams:
            self.world.streams.remove(self)

    def deliver(self, key: str, events) -> None:
        if key in self.accounts and not self.is_silent:
            for event in events:
                self._say(self.accounts[key], event)

    def _say(self, account_id, event) -> None:
        self.sink(
            StreamFrame(
                account_id=account_id, connection=self.name, received_ns=time.monotonic_ns(), event=event, raw="{}"
            )
        )


MASTER_KEY = hashlib.sha256(b"a key for tests").digest()


@contextmanager
def engine(world: MemoryExchange, data_dir: Path, **settings):
    """Run an engine on *data_dir* whose only exchange is *world*; made there on first use."""
    data_dir.mkdir(exist_ok=True)
    plugins = Plugins()
    plugins.register(world, "memory")
    chosen = Settings(data_dir=data_dir, **settings)
    if not chosen.vault_path.exists():
        Vault.create(chosen.vault_path, MASTER_KEY)
    with CopyTrader.open(settings=chosen, plugins=plugins, master_key=MASTER_KEY) as trader:
        trader.start()
        yield trader


def keys(key: str) -> dict[str, str]:
    return {"api_key": KEY_PREFIX + key, "api_secret": f"secret of {key}"}


def until(condition: Callable[[], object], timeout_sec: float = 10):
    """Return what *condition* returns as soon as it is true; fail when it is not in time."""
    deadline = time.monotonic() + timeout_sec
    pause = threading.Event()
    while time.monotonic() < deadline:
        if found := condition():
            return found
        pause.wait(0.005)
    raise AssertionError(f"this did not become true within {timeout_sec} s")


def closed_book(trader: CopyTrader, order_id: str, timeout_sec: float = 10):
    """Return the closed book of a leader order once every row is final."""

    def look():
        for book in trader.list_events():
            if book.order_id == order_id and all(copy.state.is_final for copy in book.copies):
                return book
        return None

    return until(look, timeout_sec)
