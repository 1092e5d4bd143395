"""``copytrade export``: the history as CSV, one row a copy."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from ..history_csv import HEADER, history, history_rows
from ..views import LeaderOrderView
from .output import say
from .session import Command, InputError, Session, pass_session


@click.command(cls=Command)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file, instead of the screen.")
@pass_session
def export(session: Session, output: Path | None) -> None:
    """Write the history as CSV.

    Newest first, one row a copy, with its leader order.

    Amounts are plain decimals, times are UTC. Text that a spreadsheet would take for a formula begins with an
    apostrophe.
    """
    engine = session.engine  # before anything is written: without one no empty file must be left
    if output is None:
        write_csv(sys.stdout, history(engine))
        return
    try:
        with open(output, "x", encoding="utf-8", newline="", opener=_open_private) as file:
            rows = write_csv(file, history(engine))
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
    for row in history_rows(orders):
        writer.writerow(row)
        rows += 1
    file.flush()
    return rows


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
