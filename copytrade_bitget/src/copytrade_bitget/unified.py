"""Unified accounts: REST v3. Sources: https://www.bitget.com/api-doc/uta/trade/Place-Order and its siblings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from copytrade_core.errors import AuthenticationFailed, ExchangeError
from copytrade_core.model import (
    BalanceSnapshot,
    ExchangeOrderId,
    ExecutionReport,
    Fill,
    KeyPermissions,
    MarketOrder,
    OrderReport,
)

from . import parse
from .errors import EXCHANGE, NOT_FOUND_CODES
from .family import MAX_PAGES, PAGE, AccountFamily, KeyFacts, too_many_pages
from .rest import (
    ACCOUNT_ASSETS,
    ACCOUNT_INFO,
    FILLS,
    HISTORY_ORDERS,
    ORDER_INFO,
    PLACE_ORDER,
    UNFILLED_ORDERS,
    Route,
    urgently,
)

T = TypeVar("T")
LIST_SPAN_MS = 29 * 24 * 3600 * 1000  # a query may span 30 days


class UnifiedAccount(AccountFamily):
    name = "unified"
    place_route = PLACE_ORDER
    # Whether v3 honours a receive window of ours is not documented; what holds is the signature's 30 s.
    recv_window_ms = 30_000
    socket_path = "/v3/ws/private"
    subscriptions = ({"instType": "UTA", "topic": "account"}, {"instType": "UTA", "topic": "order"})

    def order_body(self, order: MarketOrder, size: str, timestamp_ms: int) -> dict[str, str]:
        return {
            "category": "SPOT",  # never MARGIN: that borrows by itself
            "symbol": self.exchange_symbol,
            "side": order.side.value.lower(),
            "orderType": "market",
            "qty": size,
            "clientOid": order.client_order_id,
        }

    def balances(self, *, urgent: bool) -> BalanceSnapshot:
        answer = self.api.get(urgently(ACCOUNT_ASSETS) if urgent else ACCOUNT_ASSETS)
        traded = (self.symbol.base, self.symbol.quote)
        for row in parse.rows(parse.mapping(answer.data).get("assets")):
            coin = parse.text(row, "coin").upper()
            if coin in traded and parse.owes(row):
                raise AuthenticationFailed(
                    f"the account owes {coin}; repay it before copying", kind="account_blocked", exchange=EXCHANGE
                )
        return parse.unified_balances(answer.data, answer.request_ms)

    def key_facts(self) -> KeyFacts:
        info = parse.mapping(self.api.get(ACCOUNT_INFO).data)
        stated = info.get("permissions")
        words = frozenset(str(word).lower() for word in stated) if isinstance(stated, list) else None
        kind = str(info.get("permType") or "").replace("-", "_").lower()
        may_write = None if not kind else kind not in ("read_only", "readonly")
        return KeyFacts(
            uid=parse.text(info, "userId"),
            permissions=KeyPermissions(
                can_read=None if words is None else "uta_mgt" in words and "uta_trade" in words,
                can_trade=may_write if words is None else "uta_trade" in words and may_write is not False,
                can_withdraw=None if words is None else any("withdraw" in word for word in words),
                can_transfer=None if words is None else any("transfer" in word for word in words),
                ip_restricted=bool(info["ips"]) if "ips" in info else None,
            ),
        )

    def look_up(self, **order_id: str) -> list[OrderReport]:
        try:
            found = parse.rows(self.api.get(ORDER_INFO, **order_id).data)
        except ExchangeError as error:
            if error.code in NOT_FOUND_CODES:
                return []
            raise
        return [parse.unified_order(row) for row in found if row]

    def open_orders(self) -> Iterator[OrderReport]:
        return self._pages(UNFILLED_ORDERS, parse.unified_order, category="SPOT", symbol=self.exchange_symbol)

    def past_orders(self, since_ms: int, until_ms: int) -> Iterator[OrderReport]:
        common = {"category": "SPOT", "symbol": self.exchange_symbol}
        for start in range(since_ms, until_ms, LIST_SPAN_MS):
            span = {"startTime": str(start), "endTime": str(min(start + LIST_SPAN_MS, until_ms))}
            yield from self._pages(HISTORY_ORDERS, parse.unified_order, **common, **span)

    def fills(self, order_id: ExchangeOrderId) -> Iterator[Fill]:
        pages = self._pages(FILLS, parse.unified_fills, category="SPOT", orderId=order_id)
        return itertools.chain.from_iterable(pages)

    def _pages(self, route: Route, read: Callable[[parse.Row], T], **params: str) -> Iterator[T]:
        """Follow the cursor until a page is empty or names none."""
        for _ in range(MAX_PAGES):
            page = parse.mapping(self.api.get(route, limit=PAGE, **params).data)
            found = parse.rows(page.get("list"))
            yield from map(read, found)
            cursor = str(page.get("cursor") or "")
            if not found or not cursor or cursor == params.get("cursor"):
                return
            params["cursor"] = cursor
        raise too_many_pages()

    @staticmethod
    def stream_events(message: Mapping[str, Any]) -> list[BalanceSnapshot] | list[ExecutionReport]:
        topic = parse.mapping(message["arg"]).get("topic")
        if topic == "account":
            return parse.unified_account_push(message)
        return parse.unified_order_push(message) if topic == "order" else []
