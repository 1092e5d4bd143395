"""Classic accounts: REST v2 spot. Sources: https://www.bitget.com/api-doc/spot/trade/Place-Order and its siblings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from copytrade_core.errors import ExchangeError
from copytrade_core.model import (
    BalanceSnapshot,
    ExchangeOrderId,
    ExecutionReport,
    Fill,
    KeyPermissions,
    KeyWarning,
    MarketOrder,
    OrderReport,
)

from . import parse
from .errors import NOT_FOUND_CODES
from .family import MAX_PAGES, PAGE, AccountFamily, KeyFacts, too_many_pages
from .rest import (
    SPOT_ACCOUNT_ASSETS,
    SPOT_ACCOUNT_INFO,
    SPOT_FILLS,
    SPOT_HISTORY_ORDERS,
    SPOT_ORDER_INFO,
    SPOT_PLACE_ORDER,
    SPOT_UNFILLED_ORDERS,
    Route,
    urgently,
)

T = TypeVar("T")
LEAD_TRADER_ORDERS_PER_SEC = 1

# Two vocabularies are in circulation: four-letter words (spot trade write = stow) and the older plain ones.
_READ = frozenset({"stor", "stow", "readonly", "read", "trade"})
_TRADE = frozenset({"stow", "trade"})
_WITHDRAW = frozenset({"wwow", "withdraw"})
_TRANSFER = frozenset({"wtow", "transfer"})


class ClassicAccount(AccountFamily):
    name = "classic"
    place_route = SPOT_PLACE_ORDER
    recv_window_ms = 3000
    socket_path = "/v2/ws/private"
    subscriptions = (
        {"instType": "SPOT", "channel": "account", "coin": "default"},
        {"instType": "SPOT", "channel": "orders", "instId": "default"},
    )

    def order_body(self, order: MarketOrder, size: str, timestamp_ms: int) -> dict[str, str]:
        return {
            "symbol": self.exchange_symbol,
            "side": order.side.value.lower(),
            "orderType": "market",
            "force": "gtc",  # ignored for market orders, yet required
            "size": size,
            "clientOid": order.client_order_id,
            # With these Bitget refuses an order that arrives late, which bounds how long it can stay unknown.
            "requestTime": str(timestamp_ms),
            "receiveWindow": str(self.recv_window_ms),
        }

    def balances(self, *, urgent: bool) -> BalanceSnapshot:
        route = urgently(SPOT_ACCOUNT_ASSETS) if urgent else SPOT_ACCOUNT_ASSETS
        answer = self.api.get(route, assetType="hold_only")
        return parse.classic_balances(answer.data, answer.request_ms, self.symbol)

    def key_facts(self) -> KeyFacts:
        info = parse.mapping(self.api.get(SPOT_ACCOUNT_INFO).data)
        warnings: tuple[KeyWarning, ...] = ()
        if info.get("traderType") == "trader":
            self.api.pace.set_limit(SPOT_PLACE_ORDER, LEAD_TRADER_ORDERS_PER_SEC)
            text = "Bitget lets its own lead traders place one order a second only"
            warnings = (KeyWarning(kind="lead_trader", text=text),)
        authorities = info.get("authorities")
        words = frozenset(str(word).lower() for word in authorities) if isinstance(authorities, list) else None
        return KeyFacts(
            uid=parse.text(info, "userId"),
            permissions=KeyPermissions(
                can_read=None if words is None else bool(words & _READ),
                can_trade=None if words is None else bool(words & _TRADE),
                can_withdraw=None if words is None else bool(words & _WITHDRAW),
                can_transfer=None if words is None else bool(words & _TRANSFER),
                # A string in the documentation, a list in the wild; empty means any address.
                ip_restricted=bool(info["ips"]) if "ips" in info else None,
            ),
            warnings=warnings,
        )

    def look_up(self, **order_id: str) -> list[OrderReport]:
        try:
            found = parse.rows(self.api.get(SPOT_ORDER_INFO, **order_id).data)
        except ExchangeError as error:
            if error.code in NOT_FOUND_CODES:
                return []
            raise
        return [parse.classic_order(row) for row in found]

    def open_orders(self) -> Iterator[OrderReport]:
        return self._pages(SPOT_UNFILLED_ORDERS, "orderId", parse.classic_order, symbol=self.exchange_symbol)

    def past_orders(self, since_ms: int, until_ms: int) -> Iterator[OrderReport]:
        span = {"startTime": str(since_ms), "endTime": str(until_ms)}
        return self._pages(SPOT_HISTORY_ORDERS, "orderId", parse.classic_order, symbol=self.exchange_symbol, **span)

    def fills(self, order_id: ExchangeOrderId) -> Iterator[Fill]:
        return self._pages(SPOT_FILLS, "tradeId", parse.classic_fill, symbol=self.exchange_symbol, orderId=order_id)

    def _pages(self, route: Route, key: str, read: Callable[[parse.Row], T], **params: str) -> Iterator[T]:
        """Page backwards by the last row's id until a page is not full."""
        for _ in range(MAX_PAGES):
            found = parse.rows(self.api.get(route, limit=PAGE, **params).data)
            yield from map(read, found)
            if len(found) < int(PAGE):
                return
            params["idLessThan"] = parse.text(found[-1], key)
        raise too_many_pages()

    @staticmethod
    def stream_events(message: Mapping[str, Any]) -> list[BalanceSnapshot] | list[ExecutionReport]:
        channel = parse.mapping(message["arg"]).get("channel")
        if channel == "account":
            return parse.classic_account_push(message)
        return parse.classic_order_push(message) if channel == "orders" else []
