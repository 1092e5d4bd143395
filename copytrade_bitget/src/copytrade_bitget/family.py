"""What the two kinds of Bitget account have in common, and where they differ.

An account is either classic (REST v2) or unified (REST v3), never both, and its owner can change it. Each kind
is one class here, so that the connector above needs no word about the difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from copytrade_core.errors import OutcomeUnknown
from copytrade_core.model import (
    BalanceSnapshot,
    ExchangeOrderId,
    ExecutionReport,
    Fill,
    KeyPermissions,
    KeyWarning,
    MarketOrder,
    OrderReport,
    Symbol,
)

from .errors import EXCHANGE
from .rest import AccountApi, Route

MAX_PAGES = 50
PAGE = "100"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What Bitget tells of a key and its owner; ``uid`` is empty where it does not tell."""

    uid: str
    permissions: KeyPermissions
    warnings: tuple[KeyWarning, ...] = ()


class AccountFamily(ABC):
    """One account, spoken to in the words of its kind."""

    name: ClassVar[str]
    place_route: ClassVar[Route]
    recv_window_ms: ClassVar[int]
    socket_path: ClassVar[str]
    subscriptions: ClassVar[tuple[Mapping[str, str], ...]]

    def __init__(self, api: AccountApi, symbol: Symbol) -> None:
        self.api = api
        self.symbol = symbol
        self.exchange_symbol = symbol.base + symbol.quote

    @abstractmethod
    def order_body(self, order: MarketOrder, size: str, timestamp_ms: int) -> dict[str, str]:
        """Return the place-order body. A BUY's size is quote money, a SELL's is base."""

    @abstractmethod
    def balances(self, *, urgent: bool) -> BalanceSnapshot: ...

    @abstractmethod
    def key_facts(self) -> KeyFacts: ...

    @abstractmethod
    def look_up(self, **order_id: str) -> list[OrderReport]:
        """Return the orders with this ``clientOid`` or ``orderId``: none, one, or (which is a fault) several."""

    @abstractmethod
    def open_orders(self) -> Iterator[OrderReport]: ...

    @abstractmethod
    def past_orders(self, since_ms: int, until_ms: int) -> Iterator[OrderReport]: ...

    @abstractmethod
    def fills(self, order_id: ExchangeOrderId) -> Iterator[Fill]: ...

    @staticmethod
    @abstractmethod
    def stream_events(message: Mapping[str, Any]) -> list[BalanceSnapshot] | list[ExecutionReport]:
        """Return what one pushed message says; empty for topics that nobody subscribed."""


def too_many_pages() -> OutcomeUnknown:
    return OutcomeUnknown("the account has too many orders to search them all", kind="too_many", exchange=EXCHANGE)
