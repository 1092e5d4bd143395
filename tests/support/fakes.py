"""Stand-ins for what the engine's pure parts touch: a clock that a test moves, and words of the domain in one line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from decimal import Decimal

from copytrade_core.clock import NS_PER_MS, NS_PER_SEC, Clock, ExchangeClock
from copytrade_core.connector import Connector, PreparedOrder
from copytrade_core.model import (
    AccountId,
    Balance,
    BalanceSnapshot,
    BalanceSource,
    Environment,
    ExchangeOrderId,
    ExecutionReport,
    Fill,
    MarketOrder,
    OrderReport,
    OrderStatus,
    Side,
    Symbol,
)

D = Decimal
BTC_USDT = Symbol("BTC", "USDT")


class FakeClock(Clock):
    """Stands still until it is advanced. A wait ends when its event is set or the clock has been moved past it."""

    def __init__(self, start_ms: int = 5_000_000) -> None:
        self._now_ns = start_ms * NS_PER_MS
        self._moved = threading.Condition()

    def advance(self, seconds: float) -> None:
        with self._moved:
            self._now_ns += round(seconds * NS_PER_SEC)
            self._moved.notify_all()

    def monotonic_ns(self) -> int:
        return self._now_ns

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self._now_ns // NS_PER_MS

    def wait(self, event: threading.Event, timeout_sec: float) -> bool:
        deadline = self._now_ns + round(timeout_sec * NS_PER_SEC)
        while self._now_ns < deadline and not event.is_set():
            with self._moved:
                self._moved.wait(0.002)  # an Event cannot be waited for together with a Condition
        return event.is_set()


def exchange_clock(clock: FakeClock, server_ms: int | None = None) -> ExchangeClock:
    """Return the clock of an exchange whose time is the fake clock's, or started at *server_ms* now."""
    measured = ExchangeClock(clock)
    now_ms = clock.monotonic_ns() // NS_PER_MS
    measured.measure(lambda: now_ms if server_ms is None else server_ms, probes=1)
    return measured


def snapshot(time_ms: int, *, complete: bool = False, source: BalanceSource = BalanceSource.PUSHED, **free: object):
    """Return absolute balances: ``snapshot(1000, USDT=500)``; a pair is (free, locked)."""
    balances = []
    for asset, figure in free.items():
        amount, locked = figure if isinstance(figure, tuple) else (figure, 0)
        balances.append(Balance(asset=asset, free=D(str(amount)), locked=D(str(locked))))
    return BalanceSnapshot(balances=tuple(balances), time_ms=time_ms, complete=complete, source=source)


def fill(trade_id: str, base: object, quote: object, time_ms: int, fee: object = 0, fee_asset: str = "BNB") -> Fill:
    base, quote = D(str(base)), D(str(quote))
    return Fill(
        trade_id=trade_id,
        price=quote / base,
        base_quantity=base,
        quote_amount=quote,
        commission=D(str(fee)),
        commission_asset=fee_asset,
        time_ms=time_ms,
    )


def order_report(
    client_order_id: str,
    *,
    status: OrderStatus = OrderStatus.FILLED,
    base: object = "0.5",
    quote: object = "25000",
    fills: Sequence[Fill] = (),
    fills_complete: bool = True,
    order_id: str = "77",
    created_ms: int = 1,
    updated_ms: int = 1,
    side: Side = Side.BUY,
) -> OrderReport:
    return OrderReport(
        exchange_order_id=ExchangeOrderId(order_id),
        client_order_id=client_order_id,
        side=side,
        is_market=True,
        status=status,
        filled_base=D(str(base)),
        filled_quote=D(str(quote)),
        created_ms=created_ms,
        updated_ms=updated_ms,
        fills=tuple(fills),
        fills_complete=fills_complete,
    )


def execution(
    order_id: str,
    status: OrderStatus,
    *,
    base: object = 0,
    quote: object = 0,
    number: int = 1,
    time_ms: int = 1000,
    created_ms: int = 1000,
    side: Side = Side.BUY,
    trade: Fill | None = None,
    order_type: str = "MARKET",
) -> ExecutionReport:
    return ExecutionReport(
        exchange_order_id=ExchangeOrderId(order_id),
        client_order_id=f"web{order_id}",
        exchange_symbol="BTCUSDT",
        side=side,
        order_type=order_type,
        status=status,
        execution_id=number,
        filled_base=D(str(base)),
        filled_quote=D(str(quote)),
        fill=trade,
        created_ms=created_ms,
        transaction_ms=time_ms,
    )


class ScriptedConnector(Connector):
    """An account whose look-ups answer what a test scripts; everything else is out of bounds."""

    def __init__(self, account_id: str = "anna") -> None:
        self.account_id = AccountId(account_id)
        self.find: Callable[[str], OrderReport | None] = lambda client_order_id: None
        self.list: Callable[[int], Sequence[OrderReport]] = lambda since_ms: ()
        self.asked: list[tuple[str, str | None]] = []
        self.listed_since: list[int] = []

    def find_order(self, client_order_id, exchange_order_id=None):
        self.asked.append((client_order_id, exchange_order_id))
        return self.find(client_order_id)

    def list_orders(self, since_ms):
        self.listed_since.append(since_ms)
        return self.list(since_ms)

    def _out_of_bounds(self, *_: object, **__: object):
        raise AssertionError("settling only reads")

    verify = balances = key_permissions = prepare_market_order = place = _out_of_bounds


def prepared_order(account_id: str = "anna", client_order_id: str = "ct0000abc-1") -> PreparedOrder:
    order = MarketOrder(symbol=BTC_USDT, side=Side.BUY, client_order_id=client_order_id, quote_amount=D("10"))
    return PreparedOrder(
        account_id=AccountId(account_id),
        order=order,
        body={"symbol": "BTCUSDT"},
        timestamp_ms=1000,
        recv_window_ms=3000,
        fence_ms=16_000,
        key_fingerprint="0011aabb",
        connector=ScriptedConnector(account_id),
    )


TEST = Environment.TEST
