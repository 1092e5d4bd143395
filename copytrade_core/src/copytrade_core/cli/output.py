"""How the command line writes: JSON with exact numbers, tables of 100 columns, plain decimals, local time."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..codec import dumps_exact
from ..model import Side
from ..views import AccountState, CopyState, CopyView, LeaderOrderView, plain_fraction

WIDTH = 100
WIDEST = 120
NARROWEST = 16
NARROWEST_ON_NARROW = 10
TIME_FOLDED = 10
NOTHING = "-"

_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")

_AMOUNT = re.compile(r"(?P<whole>-?[0-9]+)(\.(?P<decimals>[0-9]+))?(?P<unit>( [A-Z%][A-Z0-9]*)?)")

_UTC_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|\+00:00)")

_UNBROKEN = frozenset({"ID", "Side", "State"})
_STATE_STYLES: dict[str, str] = {
    AccountState.ACTIVE: "green",
    AccountState.DISABLED: "red",
    CopyState.FILLED: "green",
    CopyState.PARTLY_FILLED: "yellow",
    CopyState.REJECTED: "red",
    CopyState.FAILED: "red",
    CopyState.UNKNOWN: "yellow",
    CopyState.NEEDS_PERSON: "bold red",
}


def print_json(value: Any, *, indent: int | None = 2) -> None:
    click.echo(dumps_exact(value, indent=indent))


def say(text: str = "") -> None:
    """Print one line; characters that could steer the terminal are left out, colours stay."""
    pieces = _COLOUR.split(text)  # text and colours by turns
    click.echo("".join(piece if index % 2 else printable(piece) for index, piece in enumerate(pieces)))


def printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def screen_width() -> int:
    """Return how many columns there are to write on: the terminal's, up to 120; 100 where nobody says."""
    if sys.stdout.isatty() and (columns := os.get_terminal_size().columns):  # 0: the terminal does not say
        return min(columns, WIDEST)
    # A pipe has no width of its own: rich would assume 80 and wrap what fits the page.
    asked = os.environ.get("COLUMNS", "")
    return min(int(asked), WIDEST) if asked.isascii() and asked.isdecimal() and int(asked) else WIDTH


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = (), spare: Sequence[str] = ()
) -> Table:
    """Return *rows* under *columns*; those named in *right* are aligned right, their amounts with equal decimals.

    Long cells wrap, nothing is cut. Where the screen is too narrow the columns in *spare* go, the first one first,
    and a line below names them.
    """
    width = screen_width()
    numbers = frozenset(right)
    shown = [[printable(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        if column in numbers:
            for row, cell in zip(shown, even([row[index] for row in shown]), strict=True):
                row[index] = cell
    widths = [
        _widths(column, [row[index] for row in shown], column in numbers, width) for index, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    gone: list[str] = []
    for name in spare:
        if sum(widths[index][0] + 2 for index in kept) - 1 <= width:
            break
        if name in columns:
            kept.remove(columns.index(name))
            gone.append(name)
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for index in kept:
        least, most = widths[index]
        justify: Literal["left", "right"] = "right" if columns[index] in numbers else "left"
        made.add_column(columns[index], justify=justify, overflow="fold", no_wrap=least == most, min_width=least)
    made.min_width = sum(widths[index][0] + 2 for index in kept) - 1  # nothing stands behind the last one's space
    for row in shown:
        made.add_row(*(Text(row[index], style=_STATE_STYLES.get(row[index], "")) for index in kept))
    if gone:
        made.caption = Text(f"Left out at {width} columns: {', '.join(gone)}")
        made.caption_justify = "left"
    return made


def _widths(column: str, cells: Sequence[str], is_number: bool, width: int) -> tuple[int, int]:
    """Return how narrow a column may become, and how wide it is unwrapped."""
    widest = max([cell_len(column), *map(cell_len, cells)])
    if is_number or column in _UNBROKEN:
        return widest, widest
    # A name may wrap, but not to a column of single letters; a time between its date and its hour.
    least = TIME_FOLDED if column == "Time" else NARROWEST if width >= WIDTH else NARROWEST_ON_NARROW
    return max(cell_len(column), min(widest, least)), widest


def even(cells: Sequence[str]) -> list[str]:
    """Return amounts with as many decimals as the longest of their unit has; other cells as they are."""
    matches = [_AMOUNT.fullmatch(cell) for cell in cells]
    places: dict[str, int] = {}
    for match in filter(None, matches):
        places[match["unit"]] = max(places.get(match["unit"], 0), len(match["decimals"] or ""))
    return [
        cell
        if match is None or not places[match["unit"]]
        else f"{match['whole']}.{(match['decimals'] or '').ljust(places[match['unit']], '0')}{match['unit']}"
        for cell, match in zip(cells, matches, strict=True)
    ]


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = (), spare: Sequence[str] = ()
) -> None:
    show(table(columns, rows, right=right, spare=spare))


def show(content: RenderableType) -> None:
    """Print *content* as wide as the screen is, or as its figures need."""
    width = screen_width()
    console = Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)
    console.width = max(width, _needed(content))
    console.print(content)


def _needed(content: RenderableType) -> int:
    if isinstance(content, Group):
        return max(map(_needed, content.renderables), default=0)
    return content.min_width or 0 if isinstance(content, Table) else 0


def book_table(order: LeaderOrderView) -> RenderableType:
    """Return one leader order and its closed book: the sum of every follower, and what became of it."""
    base, slash, quote = order.symbol.partition("/")
    what = f"{amount(order.filled_base)} {base} for {amount(order.filled_quote)} {quote}" if slash else f"in {base}"
    lines = [
        f"Order {order.id}  {local_time(order.t)}  {order.exchange} {order.env}, its order {order.order_id}",
        f"{order.side} {what}, {order.status}",
    ]
    if order.share is not None:
        filled = order.filled_quote if order.side is Side.BUY else order.filled_base
        before = f"{amount(order.balance_before)} {order.balance_asset} free before"
        lines.append(f"Share {percent(order.share_text)} = {amount(filled)} / {before}")
    if order.reason:
        lines.append(f"{order.state}: {order.reason}")
    if not order.copies:
        return Group(*_texts([*lines, "No follower has a copy of it."]))
    counts = order.counts()
    words = (("ok", "done"), ("fail", "failed"), ("pending", "under way"), ("skipped", "skipped"))
    lines.append("Copies: " + ", ".join(f"{counts[name]} {word}" for name, word in words if counts[name]))
    unit = order.balance_asset or order.copies[0].size_asset
    numbers = (f"Free {unit}", f"× share {unit}", f"Sent {unit}", f"Filled {base}", "Price", "bp", "ms")
    rows = [
        (
            copy.account_name,
            copy.state.value,
            amount(copy.free_before),
            amount(None if copy.computed is None else plain_fraction(copy.computed, 8)),
            amount(copy.sent),
            amount(copy.filled_base or None),
            price(copy.average_price),
            amount(copy.slippage_bp),
            f"{max(copy.latency_ms.values()):.0f}" if copy.latency_ms else NOTHING,
        )
        for copy in order.copies
    ]
    return Group(
        *_texts(lines),
        "",
        table(("Account", "State", *numbers), rows, right=numbers, spare=("bp", "ms", "Price")),
        *_texts([*reasons(order.copies), *decisions(order.copies)]),
    )


def reasons(copies: Sequence[CopyView]) -> list[str]:
    """Return why copies ended as they did, once a reason: a thousand followers often share one."""
    names: dict[str, list[str]] = {}
    for copy in copies:
        if copy.reason:
            names.setdefault(f"{copy.state}: {copy.reason}", []).append(copy.account_name)
    return [
        f"{reason} ({', '.join(dict.fromkeys(who[:5]))}{f' and {len(who) - 5} more' if len(who) > 5 else ''})"
        for reason, who in names.items()
    ]


def decisions(copies: Sequence[CopyView]) -> list[str]:
    """Return a line for each copy that waits for a person, with the id that its command wants."""
    lines = []
    for copy in copies:
        if copy.state is CopyState.NEEDS_PERSON:
            lines.append(f"{copy.account_name}: copytrade copies settle {copy.id} --executed (or --not-executed)")
        elif copy.is_open:
            lines.append(f"{copy.account_name}: copytrade copies copy-now {copy.id} (or leave)")
    return ["Waiting for a decision", *lines] if lines else []


def amount(value: Decimal | None, places: int = 0) -> str:
    """Return *value* in full, without an exponent, with at least *places* decimals; ``-`` where it is not known."""
    if value is None:
        return NOTHING
    text = format(value or Decimal(0), "f")  # never -0
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0").ljust(places, "0")
    return f"{whole}.{decimals}" if decimals else whole


def price(value: Decimal | None) -> str:
    """Return a price to two decimals, for reading; the exact one is in the JSON."""
    return NOTHING if value is None else f"{value:.2f}"


def percent(share: Decimal | None) -> str:
    """Return a share 0-1 as per cent with all of its digits."""
    return NOTHING if share is None else f"{amount(share * 100, 2)} %"


def age(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def local_time(text: str) -> str:
    """Return an ISO 8601 time as local date and time; ``-`` where there is none."""
    return _parse(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else NOTHING


def with_local_times(text: str) -> str:
    """Return a sentence of the engine, which writes times in UTC, with local ones as in all tables."""
    return _UTC_TIME.sub(lambda match: local_time(match[0]), text)


def ago(text: str) -> str:
    """Return how long ago an ISO 8601 time was."""
    return age((datetime.now(UTC) - _parse(text)).total_seconds()) if text else NOTHING


def good(text: str) -> str:
    return click.style(text, fg="green")


def bad(text: str) -> str:
    return click.style(text, fg="red")


def warn(text: str) -> None:
    click.echo(click.style(f"Warning: {printable(text)}", fg="yellow"), err=True)


def _parse(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _texts(lines: Iterable[str]) -> list[Text]:
    return [Text(printable(line)) for line in lines]
