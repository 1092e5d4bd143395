"""What an exchange knows of one account: exact balances, orders, fills and keys. This is the truth of a simulation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)

OPEN = ("NEW", "PARTIALLY_FILLED")


class LedgerError(ValueError):
    """A move that the account cannot pay for; nothing was changed."""


@dataclass(slots=True)
class Holding:
    """One asset of one account."""

    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class SimFill:
    """One execution. ``quote`` is exactly price × quantity; ``fee`` is positive, in ``fee_asset``."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Decimal
    fee_asset: str
    time_ms: int
    maker: bool


@dataclass(slots=True, kw_only=True)
class SimOrder:
    """One order that the exchange took in; `status` and fills change while it lives."""

    order_id: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    sent_quantity: Decimal | None
    sent_quote: Decimal | None
    price: Decimal | None
    quantity: Decimal  # what the engine works with; for a quote order computed by it
    created_ms: int
    updated_ms: int
    free_base_before: Decimal
    free_quote_before: Decimal
    via: str
    status: str = "NEW"
    executed_base: Decimal = ZERO
    executed_quote: Decimal = ZERO
    fills: list[SimFill] = field(default_factory=list)
    reserved: Decimal = ZERO  # still locked for this order: quote of a BUY, base of a SELL
    expiry_reason: str = ""
    extra: dict[str, Any] = field(default_factory=dict)  # a dialect's own words about it

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    def truth(self) -> dict[str, Any]:
        """Return the order as plain JSON values; amounts are exact decimal strings."""
        return {
            "order_id": str(self.order_id),
            "client_order_id": self.client_order_id,
            "symbol": self.symbol,
            "side": self.side,
            "type": self.type,
            "status": self.status,
            "sent_quantity": text_or_none(self.sent_quantity),
            "sent_quote": text_or_none(self.sent_quote),
            "price": text_or_none(self.price),
            "executed_base": format(self.executed_base, "f"),
            "executed_quote": format(self.executed_quote, "f"),
            "free_base_before": format(self.free_base_before, "f"),
            "free_quote_before": format(self.free_quote_before, "f"),
            "created_ms": self.created_ms,
            "updated_ms": self.updated_ms,
            "expiry_reason": self.expiry_reason,
            "via": self.via,
            "fills": [
                {
                    "trade_id": str(fill.trade_id),
                    "price": format(fill.price, "f"),
                    "quantity": format(fill.quantity, "f"),
                    "quote": format(fill.quote, "f"),
                    "fee": format(fill.fee, "f"),
                    "fee_asset": fill.fee_asset,
                    "time_ms": fill.time_ms,
                    "maker": fill.maker,
                }
                for fill in self.fills
            ],
        }


@dataclass(slots=True, kw_only=True)
class SimKey:
    """One API key and what it may do; the flags can be switched while clients use it."""

    api_key: str
    kind: str = "hmac"
    secret: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)
    public_key: Any = field(default=None, repr=False)  # for asymmetric kinds: verifies what the client signed
    revoked: bool = False
    can_read: bool = True
    can_trade: bool = True
    can_withdraw: bool = False
    can_transfer: bool = False
    ip_listed: bool = True  # False: the key has a list of addresses, and the caller's is not on it
    ip_restricted: bool = True

    FLAGS = ("revoked", "can_read", "can_trade", "can_withdraw", "can_transfer", "ip_listed", "ip_restricted")


class SimAccount:
    """One account on one exchange. All moves are exact; one that cannot be paid raises and changes nothing."""

    def __init__(self, *, id: str, exchange: str, uid: int, role: str) -> None:
        self.id = id
        self.exchange = exchange
        self.uid = uid
        self.role = role
        self.holdings: dict[str, Holding] = {}
        self.opening: dict[str, Decimal] = {}
        self.keys: list[SimKey] = []
        self.blocked = False
        self.fees_in_discount_asset = False
        self.extra: dict[str, Any] = {}
        self.updated_ms = 0
        self._forget_orders()

    def _forget_orders(self) -> None:
        self.orders: list[SimOrder] = []
        self.orders_by_id: dict[int, SimOrder] = {}
        self.orders_by_client_id: dict[str, list[SimOrder]] = {}
        self.open_orders: dict[int, SimOrder] = {}
        self.deposits: list[dict[str, Any]] = []

    def free(self, asset: str) -> Decimal:
        holding = self.holdings.get(asset)
        return holding.free if holding else ZERO

    def locked(self, asset: str) -> Decimal:
        holding = self.holdings.get(asset)
        return holding.locked if holding else ZERO

    def holding(self, asset: str) -> Holding:
        """Return the account's holding of *asset*, opened at zero when it has none."""
        return self.holdings.setdefault(asset, Holding())

    def open_with(self, balances: dict[str, Decimal]) -> None:
        """Set the balances that the account starts with, and starts again with after a reset."""
        self.opening = dict(balances)
        self.reset()

    def reset(self) -> None:
        """Return to the opening balances and forget all orders, as a test network does; keys survive."""
        self.holdings = {asset: Holding(free=amount) for asset, amount in self.opening.items()}
        self._forget_orders()

    def credit(self, asset: str, amount: Decimal) -> None:
        """Add *amount* (it may be negative). :raises LedgerError: less would be left than nothing."""
        holding = self.holding(asset)
        if holding.free + amount < 0:
            raise LedgerError(f"{self.id} has {holding.free} {asset}, not {-amount}")
        holding.free += amount

    def lock(self, asset: str, amount: Decimal) -> None:
        """Move *amount* from free to locked. :raises LedgerError: there is not so much free."""
        holding = self.holding(asset)
        if amount < 0 or holding.free < amount:
            raise LedgerError(f"{self.id} has {holding.free} {asset} free, not {amount}")
        holding.free -= amount
        holding.locked += amount

    def unlock(self, asset: str, amount: Decimal) -> None:
        """Move *amount* from locked back to free."""
        holding = self.holding(asset)
        if amount < 0 or holding.locked < amount:
            raise LedgerError(f"{self.id} has {holding.locked} {asset} locked, not {amount}")
        holding.locked -= amount
        holding.free += amount

    def spend_locked(self, asset: str, amount: Decimal) -> None:
        """Pay *amount* out of what is locked."""
        holding = self.holding(asset)
        if amount < 0 or holding.locked < amount:
            raise LedgerError(f"{self.id} has {holding.locked} {asset} locked, not {amount}")
        holding.locked -= amount

    def record(self, order: SimOrder) -> None:
        self.orders.append(order)
        self.orders_by_id[order.order_id] = order
        self.orders_by_client_id.setdefault(order.client_order_id, []).append(order)
        if order.is_open:
            self.open_orders[order.order_id] = order

    def open_order_with(self, client_order_id: str) -> SimOrder | None:
        """Return the open order of that client id, if there is one: ids are unique among open orders only."""
        for order in self.open_orders.values():
            if order.client_order_id == client_order_id:
                return order
        return None

    def latest_order_with(self, client_order_id: str) -> SimOrder | None:
        orders = self.orders_by_client_id.get(client_order_id)
        return orders[-1] if orders else None

    def truth(self) -> dict[str, Any]:
        """Return balances and orders as plain JSON values; amounts are exact decimal strings."""
        return {
            "id": self.id,
            "exchange": self.exchange,
            "uid": str(self.uid),
            "role": self.role,
            "blocked": self.blocked,
            "balances": {
                asset: {"free": format(holding.free, "f"), "locked": format(holding.locked, "f")}
                for asset, holding in self.holdings.items()
            },
            "opening": {asset: format(amount, "f") for asset, amount in self.opening.items()},
            "deposits": list(self.deposits),
            "orders": [order.truth() for order in self.orders if order.executed_base],
            "unfilled_orders": [order.truth() for order in self.orders if not order.executed_base],
            **{name: value for name, value in self.extra.items() if isinstance(value, str)},
        }


def text_or_none(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def total(accounts: Iterable[SimAccount], asset: str) -> Decimal:
    """Return how much of *asset* the accounts hold together, free and locked."""
    return sum((account.free(asset) + account.locked(asset) for account in accounts), ZERO)
