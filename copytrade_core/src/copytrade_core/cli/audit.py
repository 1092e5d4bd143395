"""Recompute every sum of the closed books from the simulators' truth.

Shares nothing with the engine's sizing on purpose: whole numbers instead of fractions, the exchanges' documented
steps instead of the rules that were read, balances from the truth instead of the engine's book.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

UNIT = 10**18

# Exchange -> (places of a market buy's quote amount, places of a market sell's base quantity), as documented.
PLACES = {"binance": (8, 5), "bitget": (2, 6)}


def expected_size(amount: str, before: str, free: str, places: int) -> Decimal:
    """Return floor(amount / before × free) at *places* decimals, by whole numbers alone."""
    numerator = _units(amount) * _units(free) * 10**places
    return Decimal(numerator // (_units(before) * UNIT)).scaleb(-places)


def audit(books: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> list[str]:
    """Hold the closed books (as ``events --json`` shows them) against the truth; return what is wrong, in sentences."""
    problems: list[str] = []
    accounts: list[Mapping[str, Any]] = list(truth["accounts"].values())
    leader = next(account for account in accounts if account["role"] == "leader")
    followers = [account for account in accounts if account["role"] == "follower"]
    executed = {order["order_id"]: order for order in leader["orders"] if order["type"] == "MARKET"}
    if sorted(executed) != sorted(book["order_id"] for book in books if book["state"] == "COPIED"):
        problems.append(f"the leader placed {len(executed)} orders, {len(books)} were copied")
    ours = sum(len(account["orders"]) for account in followers)
    rows = sum(row["state"] in ("FILLED", "PARTLY_FILLED") for book in books for row in book["copies"])
    if ours != rows:
        problems.append(f"the exchanges executed {ours} orders of the followers, the books know of {rows}")
    for book in books:
        order = executed.get(book["order_id"])
        if order is None:
            continue
        if len(book["copies"]) != len(followers):
            problems.append(f"order {book['order_id']}: {len(book['copies'])} rows for {len(followers)} followers")
        for row in book["copies"]:
            problems += _row_problems(book, order, row, followers)
    return problems


def _row_problems(
    book: Mapping[str, Any], order: Mapping[str, Any], row: Mapping[str, Any], followers: Sequence[Mapping[str, Any]]
) -> list[str]:
    where = f"{book['type']} on {row['account']}"
    found = [
        placed
        for account in followers
        for placed in account["orders"]
        if account["exchange"] == row["exchange"] and placed["client_order_id"] == row["client_order_id"]
    ]
    if len(found) != 1:
        return [f"{where}: {len(found)} executed orders carry its client order id ({row['state']}: {row['reason']})"]
    placed = found[0]
    is_buy = book["type"] == "BUY"
    amount = order["executed_quote"] if is_buy else order["executed_base"]
    before = order["free_quote_before"] if is_buy else order["free_base_before"]
    free = placed["free_quote_before"] if is_buy else placed["free_base_before"]
    sent = placed["sent_quote"] if is_buy else placed["sent_quantity"]
    expected = expected_size(amount, before, free, PLACES[row["exchange"]][0 if is_buy else 1])
    problems = []
    if sent is None or Decimal(sent) != expected:
        problems.append(f"{where}: {sent} was sent, {expected} is right")
    for name, told, true in (
        ("side", row["side"], placed["side"]),
        ("sent amount", row["sent"], Decimal(sent or 0)),
        ("free balance before", row["free_before"], Decimal(free)),
        ("filled base", row["filled_base"], Decimal(placed["executed_base"])),
        ("filled quote", row["filled_quote"], Decimal(placed["executed_quote"])),
        ("exchange order id", row["exchange_order_id"], placed["order_id"]),
    ):
        if told != true:
            problems.append(f"{where}: the book's {name} is {told}, the exchange's {true}")
    return problems


def _units(text: str) -> int:
    whole = Decimal(text) * UNIT
    if whole != whole.to_integral_value():
        raise ValueError(f"{text} has more than 18 decimals")
    return int(whole)
