"""The history as CSV, sent as it is read: its size does not matter."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from flask import Response

from copytrade_core.api import TraderApi
from copytrade_core.history_csv import HEADER, history_rows
from copytrade_core.views import LeaderOrderView

from ..schemas import trading as schema
from .answers import engine
from .calls import Blueprint
from .documents import ENGINE, problems

blueprint = Blueprint("export", __name__, description="The history as CSV")
PAGE = 20  # leader orders asked for at once; each may carry a thousand copies
BYTE_ORDER_MARK = "\ufeff"  # without it Excel does not know Chinese letters


@blueprint.get("/export.csv")
@blueprint.arguments(schema.ExportQuery, location="query")
@problems(blueprint, *ENGINE, 422)
@blueprint.response(200, {"type": "string"}, content_type="text/csv", description="one row a copy, newest first")
def export(query: dict[str, Any]) -> Response:
    """Return the history between two times, newest first; what a spreadsheet takes for a formula is made harmless."""
    orders = _orders(engine(), query["since"], query["until"])
    headers = {"Content-Disposition": 'attachment; filename="copytrade.csv"'}
    return Response(_lines(orders), content_type="text/csv; charset=utf-8", headers=headers)


def _orders(trader: TraderApi, since: datetime | None, until: datetime | None) -> Iterator[LeaderOrderView]:
    before: str | None = None
    while page := trader.list_events(PAGE, before):
        for order in page:
            at = datetime.fromisoformat(order.t)
            if since is not None and at < since:
                return  # newest first: the rest is older
            if until is None or at < until:
                yield order
        before = page[-1].id


def _lines(orders: Iterator[LeaderOrderView]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    buffer.write(BYTE_ORDER_MARK)
    for row in (list(HEADER), *()):
        writer.writerow(row)
    yield buffer.getvalue()
    for row in history_rows(orders):
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(row)
        yield buffer.getvalue()
