"""The history as CSV: one row a copy, with its leader order before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from .views import LeaderOrderView, book_json, copy_json

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
