"""The history as CSV: one row a copy, with its leader order before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from .api import TraderApi
from .views import LeaderOrderView, book_json, copy_json

ORDERS_AT_ONCE = 50
ROWS_AT_ONCE = 1000  # of copies: however many followers there are, no answer is larger
# Orders that are heard live are numbered as they come, give or take; what is found in a gap is numbered later.
LATE = timedelta(days=1)

ORDER_COLUMNS = (
    "id",
    "t",
    "exchange",
    "env",
    "symbol",
    "order_id",
    "type",
    "order_type",
    "status",
    "filled_base",
    "filled_quote",
    "state",
    "reason",
    "balance_asset",
    "balance_before",
    "balance_how",
    "share",
)
COPY_COLUMNS = (
    "id",
    "account_id",
    "account",
    "exchange",
    "env",
    "state",
    "reason_kind",
    "reason",
    "size_asset",
    "free_before",
    "balance_age_ms",
    "computed",
    "step",
    "sent",
    "filled_base",
    "filled_quote",
    "average_price",
    "slippage_bp",
    "commissions",
    "client_order_id",
    "exchange_order_id",
    "attempts",
    "asked_by",
    "asked_at",
    "decided_by",
    "decided_at",
    "updated",
)
HEADER = (*(f"order_{name}" for name in ORDER_COLUMNS), *(f"copy_{name}" for name in COPY_COLUMNS))

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def history(
    trader: TraderApi, since: datetime | None = None, until: datetime | None = None
) -> Iterator[LeaderOrderView]:
    """Yield the leader orders from *since* to before *until* with their copies, newest first, as they are read.

    One with many copies comes several times, each time with the next of them.
    """
    before: str | None = None
    while page := trader.list_events(ORDERS_AT_ONCE, before, with_copies=False):
        is_small = sum(sum(order.tally.values()) for order in page) <= ROWS_AT_ONCE
        books = {order.id: order for order in trader.list_events(len(page), before)} if is_small else {}
        for order in page:
            t = datetime.fromisoformat(order.t)
            if since is not None and order.source == "live" and since - t > LATE:
                return
            if (since is None or t >= since) and (until is None or t < until):
                # One that came in between the two calls has pushed the last one out.
                yield from [books[order.id]] if order.id in books else _in_parts(trader, order)
        before = page[-1].id


def _in_parts(trader: TraderApi, order: LeaderOrderView) -> Iterator[LeaderOrderView]:
    if not order.tally:
        yield order
    last: str | None = None
    while order.tally and (copies := trader.list_copies(event_id=order.id, limit=ROWS_AT_ONCE, before=last)):
        yield replace(order, copies=tuple(copies))
        last = copies[-1].id


def history_rows(orders: Iterable[LeaderOrderView]) -> Iterator[list[str]]:
    """Yield the rows of *orders* below `HEADER`, as they come; an order without copies has one row, too."""
    for order in orders:
        shape = book_json(order, rows=False)
        first = [shape[name] for name in ORDER_COLUMNS]
        for copy in order.copies or (None,):
            second = [None] * len(COPY_COLUMNS) if copy is None else [copy_json(copy)[name] for name in COPY_COLUMNS]
            yield [cell(value) for value in (*first, *second)]


def cell(value: Any) -> str:
    """Return *value* as the text of one cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return " ".join(f"{cell(amount)} {asset}" for asset, amount in value.items())
    text = str(value)
    if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
