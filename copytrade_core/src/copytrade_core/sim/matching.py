"""One exchange's market in one pair: a book of several levels, market and limit orders, fees, exact money.

The book belongs to "the market": it refills after each order, so that what one follower gets does not depend on who
came before. What the accounts paid and got stands against `Market.counterparty` and `Market.fees`, so that all money
together is conserved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal

from .ledger import ZERO, LedgerError, SimAccount, SimFill, SimOrder

Level = tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRules:
    """Grid and fees of the pair on one exchange; amounts in the unit that the name says."""

    base: str = "BTC"
    quote: str = "USDT"
    base_step: Decimal = Decimal("0.00001")
    price_tick: Decimal = Decimal("0.01")
    taker_fee: Decimal = Decimal("0.001")
    maker_fee: Decimal = Decimal("0.001")
    fee_step: Decimal = Decimal("0.00000001")
    discount_asset: str = "BNB"  # what fees are paid in by an account that chose so and has enough of it
    discount_price: Decimal = Decimal("612.34")  # of that asset, in quote
    discount: Decimal = Decimal("0.75")

    @property
    def symbol(self) -> str:
        return self.base + self.quote


class OrderRefused(Exception):
    """The engine refuses the order; nothing changed. ``reason`` is one of the words below."""

    INSUFFICIENT_BALANCE = "insufficient_balance"
    DUPLICATE = "duplicate"
    NO_LIQUIDITY = "no_liquidity"
    TOO_SMALL = "too_small"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Step:
    """One execution report: its type and the order's state just after it."""

    execution: str  # NEW, TRADE, EXPIRED, CANCELED
    status: str
    executed_base: Decimal
    executed_quote: Decimal
    fill: SimFill | None
    execution_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One action of the engine on one account: what a user stream tells of.

    ``order`` and ``steps`` are empty for a deposit or withdrawal, which has ``asset`` and ``delta``.
    ``balances`` are free and locked of each touched asset just after the action.
    """

    account: SimAccount
    time_ms: int
    order: SimOrder | None = None
    steps: tuple[Step, ...] = ()
    balances: dict[str, tuple[Decimal, Decimal]]
    asset: str = ""
    delta: Decimal = ZERO


class Book:
    """Asks and bids around a price, best first; ``None`` levels are made from the price."""

    LEVELS = 14

    def __init__(self, price: Decimal, rules: MarketRules) -> None:
        self.price = price
        quantity = Decimal("0.04")
        asks: list[Level] = []
        bids: list[Level] = []
        for number in range(self.LEVELS):
            away = rules.price_tick * (1 + 37 * number)
            on_grid = quantity // rules.base_step * rules.base_step
            asks.append((price + away, on_grid))
            if price > away:
                bids.append((price - away, on_grid))
            quantity *= Decimal("1.6")
        self.asks: Sequence[Level] = asks
        self.bids: Sequence[Level] = bids


def match(
    levels: Sequence[Level], *, step: Decimal, quantity: Decimal | None, quote: Decimal | None
) -> tuple[list[Level], Decimal, bool]:
    """Walk the book for *quantity* of base, or for as much base as *quote* buys (or brings) on the grid.

    :returns: price and quantity of each execution; the quantity the order stands for; whether the book ran out.
    """
    taken: list[Level] = []
    if quantity is not None:
        left = quantity
        for price, available in levels:
            part = min(left, available)
            taken.append((price, part))
            left -= part
            if not left:
                return taken, quantity, False
        return taken, quantity, True
    assert quote is not None
    done = ZERO
    left = quote
    price = ZERO
    for price, available in levels:
        # One floor division by price × step: price first and step second would round twice.
        affordable = left // (price * step) * step
        part = min(affordable, available)
        if part:
            taken.append((price, part))
            done += part
            left -= part * price
        if affordable <= available:
            return taken, done, False
    return taken, done + (left // (price * step) * step if price else ZERO), True


class Market:
    """The pair on one exchange. Single-threaded: only the simulators' event loop calls it."""

    def __init__(
        self,
        exchange: str,
        rules: MarketRules,
        price: Decimal,
        now_ms: Callable[[], int],
        *,
        beside: Market | None = None,
        first_id: int = 0,
    ) -> None:
        self.exchange = exchange
        self.rules = rules
        self.book = Book(price, rules)
        # A second pair on the same exchange has the same accounts, listeners and money.
        self.listeners: list[Callable[[Change], None]] = beside.listeners if beside else []
        self.accounts: list[SimAccount] = beside.accounts if beside else []
        self.counterparty: dict[str, Decimal] = beside.counterparty if beside else defaultdict(Decimal)
        self.fees: dict[str, Decimal] = beside.fees if beside else defaultdict(Decimal)
        self.deposited: dict[str, Decimal] = beside.deposited if beside else defaultdict(Decimal)
        self._first_id = first_id
        self._now_ms = now_ms
        self.restart_ids()

    def restart_ids(self) -> None:
        self._next_order_id = self._first_id + 51_000_001
        self._next_trade_id = self._first_id + 7_000_001
        self._next_execution_id = self._first_id + 90_000_001

    @property
    def price(self) -> Decimal:
        return self.book.price

    def accept(
        self,
        account: SimAccount,
        *,
        side: str,
        client_order_id: str,
        quantity: Decimal | None = None,
        quote: Decimal | None = None,
        price: Decimal | None = None,
        via: str = "admin",
    ) -> SimOrder:
        """Take an order in and lock what it needs; `execute` lets it trade, at once or later.

        A *price* makes it a limit order: it takes what the book has up to that price, and the rest comes to rest.

        :raises OrderRefused: with the reason; nothing changed.
        """
        rules = self.rules
        if account.open_order_with(client_order_id) is not None:
            raise OrderRefused(OrderRefused.DUPLICATE)
        free_base, free_quote = account.free(rules.base), account.free(rules.quote)
        expected = ZERO
        if price is not None:
            assert quantity is not None
            reserve = price * quantity if side == "BUY" else quantity
            expected = quantity
        else:
            taken, expected, ran_out = match(self._levels(side), step=rules.base_step, quantity=quantity, quote=quote)
            if not expected or (not taken and not ran_out):
                raise OrderRefused(OrderRefused.TOO_SMALL)
            if not taken:
                raise OrderRefused(OrderRefused.NO_LIQUIDITY)
            if side == "BUY":
                reserve = quote if quote is not None else sum((at * part for at, part in taken), ZERO)
            else:
                reserve = expected
        asset = rules.quote if side == "BUY" else rules.base
        try:
            account.lock(asset, reserve)
        except LedgerError:
            raise OrderRefused(OrderRefused.INSUFFICIENT_BALANCE) from None
        now_ms = self._now_ms()
        order = SimOrder(
            order_id=self._next_order_id,
            client_order_id=client_order_id,
            symbol=rules.symbol,
            side=side,
            type="MARKET" if price is None else "LIMIT",
            sent_quantity=quantity,
            sent_quote=quote,
            price=price,
            quantity=expected,
            created_ms=now_ms,
            updated_ms=now_ms,
            free_base_before=free_base,
            free_quote_before=free_quote,
            via=via,
            reserved=reserve,
        )
        self._next_order_id += 1
        account.record(order)
        return order

    def execute(
        self, account: SimAccount, order: SimOrder, *, stop_after: int | None = None, expiry_reason: str = ""
    ) -> Change:
        """Let an order trade now and tell the listeners; what is left of a limit order comes to rest.

        :param stop_after: for faults: expire after that many executions (0: with nothing filled).
        :param expiry_reason: why it expires when stopped.
        """
        now_ms = self._now_ms()
        steps = [self._step(order, "NEW", None)]
        levels = self._levels(order.side)
        if order.price is not None:
            limit = order.price
            levels = [one for one in levels if (one[0] <= limit if order.side == "BUY" else one[0] >= limit)]
        # Matched again: the price may have moved since the order was taken in.
        taken, expected, ran_out = match(
            levels, step=self.rules.base_step, quantity=order.sent_quantity, quote=order.sent_quote
        )
        order.quantity = expected
        # What was reserved is exact for a quote BUY and a base SELL; the two others may have become dearer.
        if order.price is None and (order.side == "BUY") == (order.sent_quote is None):
            taken, ran_out = _within(taken, order, ran_out, self.rules.base_step)
        if stop_after is not None and stop_after < len(taken):
            taken, ran_out = taken[:stop_after], True
        last = len(taken) - 1
        for number, (price, part) in enumerate(taken):
            fill = self._trade(account, order, price, part, now_ms, maker=False)
            order.status = "FILLED" if number == last and not ran_out else "PARTIALLY_FILLED"
            steps.append(self._step(order, "TRADE", fill))
        if order.price is None and order.status != "FILLED":
            order.status = "EXPIRED"
            order.expiry_reason = expiry_reason or "INSUFFICIENT_LIQUIDITY"
            steps.append(self._step(order, "EXPIRED", None))
        if order.is_open:
            self._keep_for_the_rest(account, order)
        else:
            self._finish(account, order)
        return self._tell(account, order, steps, now_ms)

    def place(self, account: SimAccount, **ticket: object) -> SimOrder:
        """Take an order in and let it trade at once; parameters as of `accept`."""
        order = self.accept(account, **ticket)  # type: ignore[arg-type]
        self.execute(account, order)
        return order

    def cancel(self, account: SimAccount, order: SimOrder) -> Change:
        """Cancel an open order and free what it had locked."""
        now_ms = self._now_ms()
        order.status = "CANCELED"
        order.updated_ms = now_ms
        self._finish(account, order)
        return self._tell(account, order, [self._step(order, "CANCELED", None)], now_ms)

    def move_price(self, price: Decimal) -> None:
        """Set the price; resting limit orders that it passes are filled at their own price, as makers."""
        self.book = Book(price, self.rules)
        for account in self.accounts:
            for order in list(account.open_orders.values()):
                if order.symbol != self.rules.symbol or order.type != "LIMIT" or order.price is None:
                    continue
                if (price <= order.price) if order.side == "BUY" else (price >= order.price):
                    now_ms = self._now_ms()
                    left = order.quantity - order.executed_base
                    fill = self._trade(account, order, order.price, left, now_ms, maker=True)
                    order.status = "FILLED"
                    step = self._step(order, "TRADE", fill)
                    self._finish(account, order)
                    self._tell(account, order, [step], now_ms)

    def deposit(self, account: SimAccount, asset: str, amount: Decimal) -> Change:
        """Add *amount* (negative: withdraw) from outside. :raises LedgerError: the account has not so much free."""
        account.credit(asset, amount)
        self.deposited[asset] += amount
        now_ms = self._now_ms()
        account.updated_ms = now_ms
        account.deposits.append({"asset": asset, "amount": format(amount, "f"), "time_ms": now_ms})
        change = Change(
            account=account, time_ms=now_ms, balances=self._balances(account, (asset,)), asset=asset, delta=amount
        )
        for listener in self.listeners:
            listener(change)
        return change

    def _levels(self, side: str) -> Sequence[Level]:
        return self.book.asks if side == "BUY" else self.book.bids

    def _step(self, order: SimOrder, execution: str, fill: SimFill | None) -> Step:
        # Gaps are normal on real exchanges, so that nobody may count on consecutive numbers.
        self._next_execution_id += 1 if fill is None else 2
        return Step(execution, order.status, order.executed_base, order.executed_quote, fill, self._next_execution_id)

    def _trade(
        self, account: SimAccount, order: SimOrder, price: Decimal, quantity: Decimal, now_ms: int, *, maker: bool
    ) -> SimFill:
        rules = self.rules
        quote = price * quantity
        buys = order.side == "BUY"
        paid_asset, paid = (rules.quote, quote) if buys else (rules.base, quantity)
        got_asset, got = (rules.base, quantity) if buys else (rules.quote, quote)
        rate = account.extra.get("maker_fee" if maker else "taker_fee", rules.maker_fee if maker else rules.taker_fee)
        fee_asset, fee = got_asset, (got * rate).quantize(rules.fee_step, ROUND_DOWN)
        if account.fees_in_discount_asset:
            discounted = (quote * rate * rules.discount / rules.discount_price).quantize(rules.fee_step, ROUND_DOWN)
            if account.free(rules.discount_asset) >= discounted:
                fee_asset, fee = rules.discount_asset, discounted
        account.spend_locked(paid_asset, paid)
        order.reserved -= paid
        account.credit(got_asset, got)
        account.credit(fee_asset, -fee)
        self.counterparty[paid_asset] += paid
        self.counterparty[got_asset] -= got
        self.fees[fee_asset] += fee
        fill = SimFill(
            trade_id=self._next_trade_id,
            price=price,
            quantity=quantity,
            quote=quote,
            fee=fee,
            fee_asset=fee_asset,
            time_ms=now_ms,
            maker=maker,
        )
        self._next_trade_id += 1
        order.fills.append(fill)
        order.executed_base += quantity
        order.executed_quote += quote
        order.updated_ms = now_ms
        return fill

    def _keep_for_the_rest(self, account: SimAccount, order: SimOrder) -> None:
        # A BUY that took better prices than its own has less to pay from here on.
        if order.side == "BUY" and order.price is not None:
            needed = order.price * (order.quantity - order.executed_base)
            account.unlock(self.rules.quote, order.reserved - needed)
            order.reserved = needed

    def _finish(self, account: SimAccount, order: SimOrder) -> None:
        account.unlock(self.rules.quote if order.side == "BUY" else self.rules.base, order.reserved)
        order.reserved = ZERO
        account.open_orders.pop(order.order_id, None)

    def _tell(self, account: SimAccount, order: SimOrder, steps: list[Step], now_ms: int) -> Change:
        rules = self.rules
        account.updated_ms = now_ms
        change = Change(
            account=account,
            time_ms=now_ms,
            order=order,
            steps=tuple(steps),
            balances=self._balances(account, (rules.base, rules.discount_asset, rules.quote)),
        )
        for listener in self.listeners:
            listener(change)
        return change

    def _balances(self, account: SimAccount, assets: Sequence[str]) -> dict[str, tuple[Decimal, Decimal]]:
        return {asset: (account.free(asset), account.locked(asset)) for asset in assets}

    def set_fees(self, *, taker: Decimal, maker: Decimal) -> None:
        self.rules = replace(self.rules, taker_fee=taker, maker_fee=maker)


def _within(taken: list[Level], order: SimOrder, ran_out: bool, step: Decimal) -> tuple[list[Level], bool]:
    """Cut the executions to what was reserved when the order was taken in: the price may have moved since."""
    left = order.reserved
    kept: list[Level] = []
    for price, part in taken:
        unit = price if order.side == "BUY" else Decimal(1)
        part_affordable = min(part, left // (unit * step) * step)
        if part_affordable:
            kept.append((price, part_affordable))
            left -= unit * part_affordable
        if part_affordable < part:
            return kept, True
    return kept, ran_out
