"""Hold what the engine says it did since a moment against what the simulators know to have happened."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from copytrade_core import CopyTrader, book_json
from copytrade_core.cli.audit import audit
from copytrade_core.sim import RunningSimulators
from copytrade_core.views import CopyState, LeaderOrderState, LeaderOrderView


class TruthCheck:
    """Everything from its making on: earlier orders on the same simulators are left out."""

    def __init__(self, sims: RunningSimulators) -> None:
        self._sims = sims
        self._before = {name: len(account["orders"]) for name, account in self._truth()["accounts"].items()}

    def _truth(self) -> dict:
        return self._sims.call(lambda: copy.deepcopy(self._sims.world.truth()))

    def problems(
        self, trader: CopyTrader, copied: Sequence[str], others: Mapping[str, LeaderOrderState] | None = None
    ) -> list[str]:
        """Return what is wrong, in sentences.

        :param copied: the leader's orders that every follower must have executed once, in the leader's order.
        :param others: the leader's other orders that have a book, with its state; nobody may have executed those.
        """
        others = others or {}
        truth = self._truth()
        for name, account in truth["accounts"].items():
            account["orders"] = account["orders"][self._before[name] :]
            if account["role"] == "leader":
                account["orders"] = [order for order in account["orders"] if order["order_id"] in copied]
        wanted = {*copied, *others}
        books = [book for book in reversed(trader.list_events(limit=1000)) if book.order_id in wanted]
        problems = audit([book_json(book) for book in books], truth)
        in_order = [book.order_id for book in books if book.state is LeaderOrderState.COPIED]
        if in_order != list(copied):
            problems.append(f"copied were {in_order}, in this order; {list(copied)} is right")
        for book in books:
            problems += _book_problems(book, others.get(book.order_id))
        for name, account in truth["accounts"].items():
            ids = [order["client_order_id"] for order in account["orders"] if account["role"] == "follower"]
            problems += [f"{name} executed {one} more than once" for one in set(ids) if ids.count(one) > 1]
        return problems


def _book_problems(book: LeaderOrderView, wanted: LeaderOrderState | None) -> list[str]:
    problems = []
    if wanted is not None and book.state is not wanted:
        problems.append(f"order {book.order_id} is {book.state} ({book.reason}), not {wanted}")
    for row in book.copies:
        if wanted is None and row.state is not CopyState.FILLED:
            problems.append(f"{row.account_name} is {row.state} ({row.reason})")
        if wanted is not None and row.attempts:
            problems.append(f"{row.account_name} was sent something for order {book.order_id}")
        if row.state is not CopyState.FILLED and not row.reason:
            problems.append(f"{row.account_name} is {row.state} without a reason")
    return problems
