"""Reports fold into orders, and an order triggers once, when it is final.

Reports come twice (two connections), late, out of order, or not at all. Cumulative figures decide: a report
that says less than what is known changes nothing. A REST read-back of an order goes through the same fold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from ..model import (
    BaseQuantity,
    ClientOrderId,
    ExchangeOrderId,
    ExecutionReport,
    OrderReport,
    OrderStatus,
    QuoteAmount,
    Side,
)
from .ledger import Moment

NO_BASE = BaseQuantity(Decimal(0))
NO_QUOTE = QuoteAmount(Decimal(0))
BEFORE_ALL = Moment(0)

# An order's identity: ids restart when a test network is reset, so the creation time belongs to it.
OrderKey = tuple[str, ExchangeOrderId, int]


@dataclass(slots=True)
class FoldedOrder:
    """All that is known of one leader order."""

    key: OrderKey
    client_order_id: ClientOrderId
    side: Side
    order_type: str
    created_ms: int
    first_heard_ns: int
    first_arrival: int  # the balance ledger's arrivals at its first report
    status: OrderStatus = OrderStatus.NEW
    filled_base: BaseQuantity = NO_BASE
    filled_quote: QuoteAmount = NO_QUOTE
    first: Moment = BEFORE_ALL
    last: Moment = BEFORE_ALL
    final_heard_ns: int = 0
    source: str = "live"
    gap_id: int | None = None  # the journal's row of the gap that it was found in
    trades: set[str] = field(default_factory=set)
    commissions: dict[str, Decimal] = field(default_factory=dict)  # of the fills that are known
    done: bool = False  # handed on; nothing triggers it again

    @property
    def exchange_symbol(self) -> str:
        return self.key[0]

    @property
    def exchange_order_id(self) -> ExchangeOrderId:
        return self.key[1]


@dataclass(frozen=True, slots=True)
class Progress:
    """What one report told: the order, what it newly did to the balances, whether it has just become final."""

    order: FoldedOrder
    new_base: Decimal
    new_quote: Decimal
    new_commissions: tuple[tuple[str, Decimal], ...]
    is_final_now: bool
    moment: Moment


class Fold:
    """The leader's orders in the making. Used by the watcher's thread alone."""

    KEEP = 5000

    def __init__(self) -> None:
        self._orders: dict[OrderKey, FoldedOrder] = {}

    def report(self, report: ExecutionReport, heard_ns: int, arrival: int) -> Progress:
        """Fold one stream report in."""
        key = (report.exchange_symbol, report.exchange_order_id, report.created_ms)
        order = self._orders.get(key) or self._remember(
            FoldedOrder(
                key=key,
                client_order_id=report.client_order_id,
                side=report.side,
                order_type=report.order_type,
                created_ms=report.created_ms,
                first_heard_ns=heard_ns,
                first_arrival=arrival,
            )
        )
        commissions: tuple[tuple[str, Decimal], ...] = ()
        if report.fill is not None and report.fill.trade_id not in order.trades:
            order.trades.add(report.fill.trade_id)
            commissions = ((report.fill.commission_asset, report.fill.commission),)
        moment = Moment(report.transaction_ms, report.execution_id)
        return self._advance(
            order, report.status, report.filled_base, report.filled_quote, moment, heard_ns, commissions
        )

    def read_back(
        self, report: OrderReport, exchange_symbol: str, order_type: str, heard_ns: int, arrival: int, source: str
    ) -> Progress:
        """Fold in what REST says of an order; *source* marks one that the stream never told of."""
        key = (exchange_symbol, report.exchange_order_id, report.created_ms)
        order = self._orders.get(key) or self._remember(
            FoldedOrder(
                key=key,
                client_order_id=report.client_order_id,
                side=report.side,
                order_type=order_type,
                created_ms=report.created_ms,
                first_heard_ns=heard_ns,
                first_arrival=arrival,
                source=source,
            )
        )
        fresh = [fill for fill in report.fills if fill.trade_id not in order.trades]
        order.trades.update(fill.trade_id for fill in fresh)
        commissions = tuple((fill.commission_asset, fill.commission) for fill in fresh)
        moment = Moment(report.updated_ms, order.last.execution_id)
        if not order.last.execution_id:
            moment = self._placed_by_number(order, report.updated_ms)
        return self._advance(
            order, report.status, report.filled_base, report.filled_quote, moment, heard_ns, commissions
        )

    def _placed_by_number(self, order: FoldedOrder, time_ms: int) -> Moment:
        """Place an order that only REST told of: it gives no execution ids.

        Within its millisecond it comes behind the order with the next smaller number whose executions are known.
        """
        number = _number(order.exchange_order_id)
        before = [
            other.last.execution_id
            for other in self._orders.values()
            if other.last.time_ms == time_ms
            and other.exchange_symbol == order.exchange_symbol
            and _number(other.exchange_order_id) < number
        ]
        return Moment(time_ms, max(before, default=0), number)

    def knows(self, key: OrderKey) -> bool:
        """Whether this very order was handed on already."""
        order = self._orders.get(key)
        return order is not None and order.done

    def has_heard_of(self, key: OrderKey) -> bool:
        """Whether anything is known of this very order."""
        return key in self._orders

    def waiting_since(self, before_ns: int) -> list[FoldedOrder]:
        """Return market orders heard of before *before_ns* whose final report has not come."""
        return [
            order
            for order in self._orders.values()
            if not order.done and order.order_type == "MARKET" and order.first_heard_ns < before_ns
        ]

    def _advance(
        self,
        order: FoldedOrder,
        status: OrderStatus,
        base: BaseQuantity,
        quote: QuoteAmount,
        moment: Moment,
        heard_ns: int,
        commissions: tuple[tuple[str, Decimal], ...],
    ) -> Progress:
        for asset, amount in commissions:
            order.commissions[asset] = order.commissions.get(asset, Decimal(0)) + amount
        new_base = max(base - order.filled_base, Decimal(0))
        new_quote = max(quote - order.filled_quote, Decimal(0))
        if new_base:
            order.filled_base, order.filled_quote = base, quote
        order.first = min(order.first, moment) if order.first.time_ms else moment
        if not order.status.is_final:
            # What comes after the end did nothing to the balances: the place of what did stays as it is.
            order.last = max(order.last, moment)
        if status.is_final and not order.status.is_final:
            order.status = status
            order.final_heard_ns = heard_ns
        elif status is OrderStatus.PARTIALLY_FILLED and order.status is OrderStatus.NEW:
            order.status = status
        # A final report that overtook others carries the whole sum; one whose sum is not whole cannot exist.
        is_final_now = order.status.is_final and not order.done
        order.done = order.done or is_final_now
        return Progress(order, new_base, new_quote, commissions, is_final_now, moment)

    def _remember(self, order: FoldedOrder) -> FoldedOrder:
        self._orders[order.key] = order
        while len(self._orders) > self.KEEP:
            oldest = next(iter(self._orders))
            if not self._orders[oldest].done and self._orders[oldest].order_type == "MARKET":
                break  # never forget an order that is still owed an answer
            del self._orders[oldest]
        return order


def _number(order_id: ExchangeOrderId) -> int:
    return int(order_id) if order_id.isascii() and order_id.isdecimal() else 0
