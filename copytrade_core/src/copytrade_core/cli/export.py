"""``copytrade export``: the history as CSV, one row a copy."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import click

from ..views import LeaderOrderView, book_json, copy_json
from .output import say
from .session import Command, InputError, Session, pass_session

PAGE = 20  # leader orders asked for at once; each may carry a thousand copies

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
    "updated",
)
HEADER = (*(f"order_{name}" for name in ORDER_COLUMNS), *(f"copy_{name}" for name in COPY_COLUMNS))

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@click.command(cls=Command)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file, instead of the screen.")
@pass_session
def export(session: Session, output: Path | None) -> None:
    """Write the history as CSV.

    Newest first, one row a copy, with its leader order.

    Amounts are plain decimals, times are UTC. Text that a spreadsheet would take for a formula begins with an
    apostrophe.
    """
    _ = session.engine  # before anything is written: without an engine no empty file must be left
    if output is None:
        write_csv(sys.stdout, _orders(session))
        return
    try:
        with open(output, "x", encoding="utf-8", newline="", opener=_open_private) as file:
            rows = write_csv(file, _orders(session))
    except FileExistsError:
        raise InputError(f"{output} is there already; nothing was written") from None
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from None
    say(f"{rows} rows written to {output}")


def write_csv(file: IO[str], orders: Iterator[LeaderOrderView]) -> int:
    """Write *orders* as they come; return how many rows there were, the header not counted."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    rows = 0
    for order in orders:
        shape = book_json(order, rows=False)
        first = [shape["x_percent"] if name == "x_percent" else shape[name] for name in ORDER_COLUMNS]
        for copy in order.copies or (None,):
            second = [None] * len(COPY_COLUMNS) if copy is None else [copy_json(copy)[name] for name in COPY_COLUMNS]
            writer.writerow([cell(value) for value in (*first, *second)])
            rows += 1
        file.flush()
    return rows


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


def _orders(session: Session) -> Iterator[LeaderOrderView]:
    before: str | None = None
    while page := session.engine.list_events(PAGE, before):
        yield from page
        before = page[-1].id


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
