"""The words of copy trading as types: frozen, keyword-only, checked when made.

Amounts are `Decimal` from text to text. What is counted in the base asset (BTC in BTC/USDT) is a
``base_quantity``, what is counted in the quote asset (USDT) a ``quote_amount``: two types, because swapping
them is the classic wrong-size bug.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType

AccountId = NewType("AccountId", str)  # ours, a UUID as text
LEADER = AccountId("leader")  # the leader's account, which has no UUID
ClientOrderId = NewType("ClientOrderId", str)  # ours, sent with the order; finds a lost one
ExchangeOrderId = NewType("ExchangeOrderId", str)  # theirs; unique per symbol only
BaseQuantity = NewType("BaseQuantity", Decimal)
QuoteAmount = NewType("QuoteAmount", Decimal)


class Environment(StrEnum):
    """Which of an exchange's systems an account lives on; keys never fit two of them."""

    PROD = "prod"
    TEST = "test"
    DEMO = "demo"


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class OrderStatus(StrEnum):
    """What an exchange says of an order. `filled` means completely."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"  # a market order that ran out of book; may have filled in part
    REJECTED = "REJECTED"

    @property
    def is_final(self) -> bool:
        """Whether nothing of this order can fill any more."""
        return self not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A trading pair in our spelling, ``BTC/USDT``; an exchange's own is an ``exchange_symbol``."""

    base: str
    quote: str

    @classmethod
    def parse(cls, text: str) -> Symbol:
        """Return the pair that *text* names. :raises ValueError: *text* is not ``BASE/QUOTE``."""
        base, slash, quote = text.partition("/")
        if not (slash and base.isalnum() and quote.isalnum() and text == text.upper()):
            raise ValueError(f"a symbol is written like BTC/USDT, not {text!r}")
        return cls(base, quote)

    def __str__(self) -> str:
        return f"{self.base}/{self.quote}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets of one account, under the names that its plug-in asked for. Never printed, never logged."""

    fields: Mapping[str, str] = field(repr=False)

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    def get(self, name: str) -> str | None:
        return self.fields.get(name)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell two keys apart and give neither away."""
        return hashlib.sha256(self.fields["api_key"].encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialField:
    """One input of the form that adds an account."""

    name: str  # api_key, api_secret, passphrase ...
    label: str
    label_zh: str
    secret: bool = True
    required: bool = True
    multiline: bool = False  # a PEM key may be pasted


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeDescription:
    """What a plug-in says about an exchange before any account exists."""

    id: str  # binance; the word in accounts, journal and API
    name: str
    name_zh: str
    environments: tuple[Environment, ...]
    credential_fields: tuple[CredentialField, ...]
    can_lead: bool = False
    capabilities: frozenset[str] = frozenset()  # names in connector.CAPABILITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRules:
    """How large an order for one symbol may be. A step is the size's grid; zero bounds mean "none"."""

    symbol: Symbol
    exchange_symbol: str
    base_step: Decimal
    quote_step: Decimal
    min_base: Decimal = Decimal(0)
    max_base: Decimal = Decimal(0)
    min_notional: Decimal = Decimal(0)  # in quote
    is_trading: bool = True

    def __post_init__(self) -> None:
        if self.base_step <= 0 or self.quote_step <= 0:
            raise ValueError("a step must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One asset of one account. `free` can be traded now; `locked` is held by open orders."""

    asset: str
    free: Decimal
    locked: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if not (self.free.is_finite() and self.locked.is_finite()):
            raise ValueError(f"the balance of {self.asset} is not a number")


class BalanceSource(StrEnum):
    """Where a figure came from: pushed on a stream, read over REST, or worked out from our own fills."""

    PUSHED = "pushed"
    READ = "read"
    FILLS = "fills"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceSnapshot:
    """Absolute balances as the exchange stated them.

    ``time_ms`` is the exchange's own time of the last change that the figures contain (Binance ``u`` or
    ``updateTime``, Bitget ``uTime`` or message time): fills at or before it are in, later ones are not.
    ``complete``: an asset that is missing is zero; otherwise a missing asset is unchanged.
    """

    balances: tuple[Balance, ...]
    time_ms: int
    complete: bool
    source: BalanceSource

    def free(self, asset: str) -> Decimal | None:
        """Return the free balance of *asset*; ``None`` where the snapshot does not say."""
        for balance in self.balances:
            if balance.asset == asset:
                return balance.free
        return Decimal(0) if self.complete else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceChange:
    """A change by other than a trade: a deposit, withdrawal or transfer, or another product's lock."""

    asset: str
    free_delta: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution against one order, as the exchange reported it.

    A commission that was taken of two assets is told by two fills; the second one has no size.
    """

    trade_id: str  # unique per symbol; the key for dropping duplicates
    price: Decimal  # in quote
    base_quantity: BaseQuantity  # never negative; the order's side carries the sign
    quote_amount: QuoteAmount
    commission: Decimal  # always positive
    commission_asset: str
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketOrder:
    """An order to be placed: a BUY spends ``quote_amount``, a SELL gives ``base_quantity``; never both."""

    symbol: Symbol
    side: Side
    client_order_id: ClientOrderId
    quote_amount: QuoteAmount | None = None
    base_quantity: BaseQuantity | None = None

    def __post_init__(self) -> None:
        wanted, other = (
            (self.quote_amount, self.base_quantity)
            if self.side is Side.BUY
            else (self.base_quantity, self.quote_amount)
        )
        if wanted is None or other is not None or not wanted.is_finite() or wanted <= 0:
            raise ValueError("a market BUY carries a positive quote amount, a SELL a positive base quantity")

    @property
    def size(self) -> Decimal:
        """The one amount it carries: quote for a BUY, base for a SELL."""
        size = self.quote_amount if self.side is Side.BUY else self.base_quantity
        assert size is not None
        return size


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """The state of one order as read back from the exchange, cumulative."""

    exchange_order_id: ExchangeOrderId
    client_order_id: ClientOrderId
    side: Side
    is_market: bool
    status: OrderStatus
    filled_base: BaseQuantity
    filled_quote: QuoteAmount
    created_ms: int
    updated_ms: int
    fills: tuple[Fill, ...] = ()
    # True where `fills` are all there are: their sum equals filled_base.
    fills_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAck:
    """The exchange took the order in. Says nothing of fills unless ``report`` is there."""

    exchange_order_id: ExchangeOrderId
    client_order_id: ClientOrderId
    time_ms: int
    report: OrderReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionReport:
    """One event of one order on a user data stream; brings one fill or none. Cumulative figures win."""

    exchange_order_id: ExchangeOrderId
    client_order_id: ClientOrderId
    exchange_symbol: str
    side: Side
    order_type: str  # MARKET, LIMIT ...: the exchange's word, upper case
    status: OrderStatus
    execution_id: int  # grows per symbol; orders reports of the same millisecond
    filled_base: BaseQuantity  # cumulative
    filled_quote: QuoteAmount  # cumulative
    fill: Fill | None
    created_ms: int  # when the order was created; with its id, its identity
    transaction_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPermissions:
    """What a key may do, as far as its exchange tells; ``None`` means the exchange does not say."""

    can_read: bool | None = None
    can_trade: bool | None = None
    can_withdraw: bool | None = None
    can_transfer: bool | None = None
    ip_restricted: bool | None = None
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWarning:
    """Something that should be mended about a key that may still trade."""

    kind: str  # keys the sentence in other languages (`kinds`), which `data` gives its figures
    text: str  # one English sentence
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCheck:
    """What a verify found: who the key belongs to, what it may do, what the account holds.

    What follows from the permissions the engine warns of by itself; ``warnings`` holds what else there is to say.
    """

    uid: str  # the exchange's own id of the account: two keys of one account share it
    permissions: KeyPermissions
    balances: BalanceSnapshot
    warnings: tuple[KeyWarning, ...] = ()
