"""What a drill holds the engine to: its closed books against the simulators' truth, by an oracle of its own.

Nothing here uses the engine's sums: whole numbers instead of fractions (`audit.expected_size`), balances and executed
orders as the simulated exchanges keep them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..views import plain_fraction
from .audit import PLACES, expected_size

FINAL = frozenset({"FILLED", "PARTLY_FILLED", "REJECTED", "FAILED", "SKIPPED", "STALE"})
SIGNATURE = re.compile(r"(?i)(?:signature|access-sign|sign)[\"']?\s*[=:]\s*[\"']?[0-9a-z+/%=]{40,}")
EXECUTED = frozenset({"FILLED", "PARTLY_FILLED"})
# Two statements of a balance that differ by less than this count as one (orders: the cross-check of shares).
CLOSE = Fraction(1, 1000)
BY_HAND_MS = 2000  # between a stop or start and the instant that the drill took for it
SAME_MS = 5000  # by the time in its book an order is told from an older one with the same id
ARRIVAL_MS = 300  # from the gate to the exchange's door, on one machine under load


@dataclass(slots=True)
class Round:
    """What one round of the drill did, as far as the checks must know it."""

    began_ms: Mapping[str, int]  # exchange time by exchange
    leader: str = "leader"
    accounts: Mapping[str, str] = field(default_factory=dict)  # the simulators' id of an account -> its name here
    touched: set[str] = field(default_factory=set)  # accounts on which somebody else traded or moved money
    stopped_ms: list[tuple[int, int]] = field(default_factory=list)  # leader's exchange time: nothing may be sent
    paused_ms: list[tuple[str, int, int]] = field(default_factory=list)  # account, from, to: likewise
    # An exchange's clock was moved, back, too: by its own stamps what it said later was earlier. Times prove nothing.
    skewed: bool = False


def findings(
    books: Sequence[Mapping[str, Any]],
    truth: Mapping[str, Any],
    requests: Sequence[Mapping[str, Any]],
    this: Round,
    tag: str,
) -> list[str]:
    """Return what is wrong with a round that has settled, in sentences; an empty list where all is well.

    :param books: the leader orders with their rows, as ``events --json`` shows them; of this round or of more.
    :param requests: what arrived at the exchanges, as ``/sim/requests`` shows it.
    :param tag: the four characters by which this installation's orders are known.
    """
    accounts = truth["accounts"]
    leader = accounts[this.leader]
    began_ms = this.began_ms[leader["exchange"]]
    placed = {
        order["order_id"]: order
        for order in leader["orders"]
        if order["type"] == "MARKET" and order["symbol"] == "BTCUSDT" and order["created_ms"] >= began_ms
    }
    problems = []
    for order_id, order in placed.items():
        book = book_of(order, books)
        if book is None:
            problems.append(f"the leader's order {order_id} has no recorded decision")
        else:
            problems += _book_problems(book, order, truth, requests, this)
    problems += _came_late(books, truth, this)
    problems += _strangers(truth, books, this, tag)
    problems += _sent_while_shut(requests, this, tag)
    return problems


def _book_problems(
    book: Mapping[str, Any],
    order: Mapping[str, Any],
    truth: Mapping[str, Any],
    requests: Sequence[Mapping[str, Any]],
    this: Round,
) -> list[str]:
    where = f"order {order['order_id']} ({book['type']})"
    problems: list[str] = []
    if book["state"] != "COPIED" and not book["reason"]:
        problems.append(f"{where}: {book['state']} without a reason")
    if book["state"] == "IGNORED" and not this.skewed:
        at = order["created_ms"]
        if not any(began - BY_HAND_MS <= at <= ended + BY_HAND_MS for began, ended in this.stopped_ms):
            problems.append(f"{where}: ignored ({book['reason']}), though copying was on: LOST")
    if book["state"] in ("COPIED", "STALE"):
        problems += _share_problems(book, order, where, this)
        for name in this.accounts.values():
            firsts = [row for row in book["copies"] if row["account"] == name and not row["asked_by"]]
            if len(firsts) != 1:
                problems.append(f"{where}: {name} has {len(firsts)} rows")
    for account_id, name in this.accounts.items():
        rows = [row for row in book["copies"] if row["account"] == name]
        executed = _executed(truth["accounts"][account_id], rows)
        if len(executed) > 1:
            problems.append(f"{where}: {name} executed {len(executed)} orders: DOUBLED")
        for row in rows:
            problems += _row_problems(row, book, truth["accounts"][account_id], requests, where, this)
    return problems


def _share_problems(book: Mapping[str, Any], order: Mapping[str, Any], where: str, this: Round) -> list[str]:
    is_buy = book["type"] == "BUY"
    amount = Fraction(order["executed_quote" if is_buy else "executed_base"])
    before = Fraction(order["free_quote_before" if is_buy else "free_base_before"])
    told = Fraction(book["share"])
    true = amount / before
    if not is_buy and true >= Fraction(999, 1000):
        true = Fraction(1)
    if book["state"] == "COPIED" and abs(told - true) > CLOSE * true and not this.skewed:
        return [f"{where}: the share was {plain_fraction(told, 8)}, {plain_fraction(true, 8)} is right"]
    return []


def _row_problems(
    row: Mapping[str, Any],
    book: Mapping[str, Any],
    account: Mapping[str, Any],
    requests: Sequence[Mapping[str, Any]],
    where: str,
    this: Round,
) -> list[str]:
    here = f"{where} on {row['account']}"
    found = _executed(account, [row])
    problems = []
    if row["state"] not in FINAL and row["state"] != "NEEDS_PERSON":
        problems.append(f"{here}: still {row['state']} ({row['reason']})")
    if row["state"] != "FILLED" and not row["reason"]:
        problems.append(f"{here}: {row['state']} without a reason")
    if row["reason_kind"] == "paused" and not any(account["id"] == each for each, _, _ in this.paused_ms):
        problems.append(f"{here}: skipped as paused, though nobody paused it: LOST")
    if row["state"] in EXECUTED and not found:
        problems.append(f"{here}: {row['state']}, but the exchange executed nothing")
    if row["state"] in FINAL - EXECUTED and found:
        problems.append(
            f"{here}: {row['state']} ({row['reason']}), but the exchange executed {found[0]['order_id']}: LOST"
        )
    if not found:
        return problems
    placed, is_buy = found[0], book["type"] == "BUY"
    sent = Decimal(placed["sent_quote" if is_buy else "sent_quantity"] or 0)
    if placed["side"] != book["type"]:
        problems.append(f"{here}: the wrong side was sent")
    share = Fraction(book["share"])
    places = PLACES[row["exchange"]][0 if is_buy else 1]
    right = expected_size(str(share.numerator), str(share.denominator), str(row["free_before"]), places)
    if sent != right or Decimal(row["sent"]) != sent:
        problems.append(f"{here}: {sent} was sent, {right} is its share of {row['free_before']}: WRONG SIZE")
    first = _first_since(placed, account, requests)
    free = Decimal(first["free_quote_before" if is_buy else "free_base_before"])
    if Decimal(row["free_before"]) != free and account["id"] not in this.touched and not this.skewed:
        problems.append(f"{here}: sized by {row['free_before']} free, the exchange had {free}: WRONG BALANCE")
    if row["state"] in EXECUTED:
        for told, true in (("filled_base", "executed_base"), ("filled_quote", "executed_quote")):
            if Decimal(row[told]) != Decimal(placed[true]):
                problems.append(f"{here}: the book says {told} {row[told]}, the exchange {placed[true]}")
    return problems


def _first_since(
    placed: Mapping[str, Any], account: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return what an account executed first since one of its orders arrived: that order, unless it was held up.

    The other side goes on while an order is not known of; what was free when it arrived is what was free before them.
    """
    arrived = [
        each["t_ms"]
        for each in requests
        if each["client_order_id"] == placed["client_order_id"] and _places(each["name"])
    ]
    since_ms = min([placed["created_ms"], *arrived])  # a request is noted with its answer, which comes after the order
    return min((each for each in account["orders"] if each["created_ms"] >= since_ms), key=_created_ms, default=placed)


def _created_ms(order: Mapping[str, Any]) -> tuple[int, int]:
    return order["created_ms"], int(order["order_id"])


def book_of(order: Mapping[str, Any], books: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the closed book of a leader's order; a test network that begins anew uses its order ids again."""
    same = [book for book in books if book["order_id"] == order["order_id"]]
    apart = {id(book): abs(_ms(book) - order["updated_ms"]) for book in same}
    return min((book for book in same if apart[id(book)] < SAME_MS), key=lambda book: apart[id(book)], default=None)


def _came_late(books: Sequence[Mapping[str, Any]], truth: Mapping[str, Any], this: Round) -> list[str]:
    """What books of earlier rounds say still, against orders that were executed since."""
    problems = []
    for book in books:
        for account_id, name in this.accounts.items():
            rows = [row for row in book["copies"] if row["account"] == name]
            account, where = truth["accounts"][account_id], f"earlier order {book['order_id']} on {name}"
            if len(_executed(account, rows)) > 1:
                problems.append(f"{where}: executed more than once: DOUBLED")
            late = [row for row in rows if row["state"] in FINAL - EXECUTED and _executed(account, [row])]
            problems += [f"{where}: {row['state']} ({row['reason']}), but it was executed: LOST" for row in late]
    return problems


def _executed(account: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the executed orders that carry the id of one of these copies, whichever attempt they were."""
    ids = tuple(row["id"] for row in rows)
    return [order for order in account["orders"] if ids and order["client_order_id"][6:26] in ids]


def _strangers(truth: Mapping[str, Any], books: Sequence[Mapping[str, Any]], this: Round, tag: str) -> list[str]:
    """Orders that carry our tag and that no book knows of."""
    known = {row["id"] for book in books for row in book["copies"]}
    problems = []
    for account_id, name in this.accounts.items():
        account = truth["accounts"][account_id]
        since_ms = this.began_ms[account["exchange"]]
        for order in account["orders"]:
            ours = order["client_order_id"].startswith(f"ct{tag}") and order["created_ms"] >= since_ms
            if ours and order["client_order_id"][6:26] not in known:
                problems.append(f"{name} executed {order['client_order_id']}, of which no book knows")
    return problems


def _sent_while_shut(requests: Sequence[Mapping[str, Any]], this: Round, tag: str) -> list[str]:
    problems: list[str] = []
    if this.skewed:
        return problems
    for request in requests:
        if not (request["client_order_id"].startswith(f"ct{tag}") and _places(request["name"])):
            continue
        at = request["t_ms"]
        for began, ended in this.stopped_ms:
            if began + ARRIVAL_MS < at < ended:
                problems.append(f"{request['account']} was sent {request['client_order_id']} while copying was STOPPED")
        for account, began, ended in this.paused_ms:
            if request["account"] == account and began + ARRIVAL_MS < at < ended:
                problems.append(f"{request['account']} was sent {request['client_order_id']} while it was PAUSED")
    return problems


def _places(name: str) -> bool:
    return name in ("POST /api/v3/order", "order.place") or name.endswith("/trade/place-order")


def secrets_in(text: str, secrets: Collection[str]) -> list[str]:
    """Return the first characters of every secret that stands in *text*."""
    return [f"{secret[:4]}..." for secret in secrets if len(secret) >= 8 and secret in text]


def signatures_in(text: str) -> list[str]:
    """Return what looks like a request's signature in *text*: a name of one, and many letters of hex or base64."""
    return SIGNATURE.findall(text)


def _ms(book: Mapping[str, Any]) -> int:
    return int(datetime.fromisoformat(book["t"]).timestamp() * 1000)
