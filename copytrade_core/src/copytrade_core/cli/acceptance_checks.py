"""What ``copytrade acceptance`` holds a closed book to, and the report it writes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ..model import Side
from ..views import AccountView, CopyState, CopyView, LeaderOrderState, LeaderOrderView, VerifyView, plain_fraction
from .output import NOTHING, amount, percent, price


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing that was tried, and how it went."""

    name: str
    passed: bool
    detail: str


def book_problems(order: LeaderOrderView, expected: Collection[str], paused: Collection[str] = ()) -> list[str]:
    """Recompute one closed book; return what is wrong, in sentences.

    :param expected: the ids of the accounts that must have an executed copy.
    :param paused: the ids of those that must have been left out because they were paused.
    """
    if order.state is not LeaderOrderState.COPIED or order.share is None or not order.balance_before:
        return [f"the leader's order was not copied: {order.state} {order.reason}".rstrip()]
    filled = order.filled_quote if order.side is Side.BUY else order.filled_base
    problems = []
    if order.share != Fraction(filled) / Fraction(order.balance_before) or not 0 < order.share <= 1:
        problems.append(f"the share {order.share} is not {filled} / {order.balance_before}")
    by_account: dict[str, list[CopyView]] = {}
    for copy in order.copies:
        by_account.setdefault(copy.account_id, []).append(copy)
    for account_id in expected:
        rows = by_account.get(account_id, [])
        if len(rows) != 1:
            problems.append(f"{len(rows)} rows for the account {account_id}, one is right")
        problems += [f"{copy.account_name}: {problem}" for copy in rows for problem in _copy_problems(order, copy)]
    for account_id in paused:
        states = [copy.state for copy in by_account.get(account_id, [])]
        if states != [CopyState.SKIPPED]:
            problems.append(f"the paused account {account_id} has {', '.join(states) or 'no row'}, SKIPPED is right")
    return problems


def _copy_problems(order: LeaderOrderView, copy: CopyView) -> list[str]:
    if not copy.state.is_ok:
        return [f"{copy.state} {copy.reason}".rstrip()]
    if copy.computed is None or copy.sent is None or not copy.step or copy.free_before is None or order.share is None:
        return ["the inputs of its sum are not on record"]
    problems = []
    if copy.side is not order.side:
        problems.append(f"it is a {copy.side}")
    if copy.computed != order.share * Fraction(copy.free_before):
        problems.append(f"share × free is not {plain_fraction(copy.computed, 12)}")
    steps = order.share * Fraction(copy.free_before) // Fraction(copy.step)
    if Fraction(copy.sent) != steps * Fraction(copy.step):
        problems.append(f"{copy.sent} was sent, {amount(_plain(steps * Fraction(copy.step)))} is right")
    filled = copy.filled_quote if copy.side is Side.BUY else copy.filled_base
    if not 0 < filled <= copy.sent:
        problems.append(f"{amount(filled)} {copy.size_asset} of {amount(copy.sent)} were filled")
    if not copy.exchange_order_id or not copy.client_order_id:
        problems.append("its order's number is not on record")
    return problems


def balance_problems(order: LeaderOrderView, before: VerifyView, after: VerifyView, account_id: str) -> list[str]:
    """Hold what the exchange says of a follower's balance, before and after, against the fills of its copy.

    Only the side that pays: fees come out of the other one, or of a third coin.
    """
    copy = next((copy for copy in order.copies if copy.account_id == account_id), None)
    if copy is None:
        return []
    is_buy = copy.side is Side.BUY
    paid = copy.filled_quote if is_buy else copy.filled_base
    was, now = (before.free_quote, after.free_quote) if is_buy else (before.free_base, after.free_base)
    if was is None or now is None:
        return [f"{copy.account_name}: the exchange did not tell its balance"]
    if was - now != paid:
        told = f"the exchange took {amount(was - now)} {copy.size_asset}, its fills say {amount(paid)}"
        return [f"{copy.account_name}: {told}"]
    return []


def latency_point(books: Iterable[LeaderOrderView], limit_ms: int) -> Point:
    """Say how long the copies took from the leader's final report heard; what counts is how fast orders left."""
    name = "Latency · 延迟"
    rows = [copy.latency_ms for book in books for copy in book.copies if copy.state.is_ok]
    if not rows or any("sent" not in row for row in rows):
        return Point(name=name, passed=False, detail="not every copy's latency is on record")
    parts = []
    for step in ("sent", "accepted", "final"):
        values = [row[step] for row in rows if step in row]
        if values:
            parts.append(f"{step} after at most {max(values):.0f} ms")
    return Point(name=name, passed=max(row["sent"] for row in rows) <= limit_ms, detail=", ".join(parts))


def report(
    written: str,
    symbol: str,
    accounts: Sequence[AccountView],
    points: Sequence[Point],
    books: Sequence[LeaderOrderView],
) -> str:
    """Return the report as Markdown; it holds no key."""
    passed = sum(point.passed for point in points)
    verdict = "PASSED · 通过" if points and passed == len(points) else "NOT PASSED · 未通过"
    lines = [
        "# copytrade: acceptance · 验收报告", "",
        f"{written}, {symbol}. **{verdict}**: {passed} of {len(points)} points.", "",
        *_table(("", "point", "what was seen"), [("✓" if p.passed else "✗", p.name, p.detail) for p in points]), "",
        "## Accounts · 账户", "",
        *_table(
            ("account", "exchange", "state", "key"),
            [(a.name, f"{a.exchange} {a.env}", a.state, a.key_fingerprint) for a in accounts],
        ), "",
        "## Orders · 订单", "",
    ]  # fmt: skip
    for book in books:
        base, _, quote = book.symbol.partition("/")
        lines += [f"### {book.side} {amount(book.filled_base)} {base} for {amount(book.filled_quote)} {quote}", ""]
        lines += [
            f"{book.t}, {book.exchange} {book.env}, order {book.order_id}: {book.state} {book.reason}".rstrip(),
            "",
        ]
        if book.share is not None:
            lines += [
                f"Share {percent(book.share_text)}, of {amount(book.balance_before)} {book.balance_asset} free.",
                "",
            ]
        if book.copies:
            columns = ("account", "state", "free", "share × free", "sent", "filled", "price", "bp", "ms", "order")
            lines += [*_table(columns, [_row(copy) for copy in book.copies]), ""]
    return "\n".join(lines)


def _row(copy: CopyView) -> tuple[str, ...]:
    filled = copy.filled_quote if copy.side is Side.BUY else copy.filled_base
    return (
        copy.account_name,
        copy.state,
        amount(copy.free_before),
        amount(None if copy.computed is None else plain_fraction(copy.computed, 12)),
        amount(copy.sent),
        f"{amount(filled)} {copy.size_asset}",
        price(copy.average_price),
        amount(copy.slippage_bp),
        f"{max(copy.latency_ms.values()):.0f}" if copy.latency_ms else NOTHING,
        copy.exchange_order_id or NOTHING,
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    shown = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in shown]


def _plain(value: Fraction) -> Decimal:
    return plain_fraction(value, 18)


def points_json(points: Iterable[Point]) -> list[Mapping[str, object]]:
    return [{"name": point.name, "passed": point.passed, "detail": point.detail} for point in points]
