"""The history as CSV, sent as it is read: its size does not matter."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from flask import Response

from copytrade_core.history_csv import HEADER, history, history_rows
from copytrade_core.views import LeaderOrderView

from ..schemas import trading as schema
from .answers import engine
from .calls import Blueprint
from .documents import ENGINE, problems

blueprint = Blueprint("export", __name__, description="The history as CSV")
BYTE_ORDER_MARK = "\ufeff"  # without it Excel does not know Chinese letters


@blueprint.get("/export.csv")
@blueprint.arguments(schema.ExportQuery, location="query")
@problems(blueprint, *ENGINE, 422)
@blueprint.response(200, {"type": "string"}, content_type="text/csv", description="one row a copy, newest first")
def export(query: dict[str, Any]) -> Response:
    """Return the history between two times, newest first; what a spreadsheet takes for a formula is made harmless."""
    orders = history(engine(), query["since"], query["until"])
    # Asked for now: once the first line is out, nothing that goes wrong can be told any more.
    first = list(islice(orders, 1))
    headers = {"Content-Disposition": 'attachment; filename="copytrade.csv"'}
    return Response(_lines(chain(first, orders)), content_type="text/csv; charset=utf-8", headers=headers)


def _lines(orders: Iterator[LeaderOrderView]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    buffer.write(BYTE_ORDER_MARK)
    writer.writerow(HEADER)
    yield buffer.getvalue()
    for row in history_rows(orders):
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(row)
        yield buffer.getvalue()
