"""The history read in parts: nothing twice, nothing missing, and never more of it at once than fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from changing_engine import an_order
from copytrade_core import history_csv
from copytrade_core.history_csv import history, history_rows
from fake_trader import a_copy

DAY_ONE = datetime(2026, 11, 22, 12, tzinfo=UTC)


def text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journalled:
    """Orders with their copies as an engine has them; notes how many rows it was asked for at once."""

    def __init__(self, *orders):
        self.orders = sorted(orders, key=lambda order: -int(order.id))
        self.rows_at_once = []
        self.before_answer = lambda: None

    def list_events(self, limit=50, before=None, with_copies=True):
        self.before_answer()
        found = [order for order in self.orders if before is None or int(order.id) < int(before)][:limit]
        if with_copies:
            self.rows_at_once.append(sum(len(order.copies) for order in found))
            return found
        tally = lambda order: dict(Counter(copy.state.value for copy in order.copies))  # noqa: E731
        return [replace(order, copies=(), tally=tally(order)) for order in found]

    def list_copies(self, event_id, limit, before=None):
        (order,) = (order for order in self.orders if order.id == event_id)
        copies = sorted(order.copies, key=lambda copy: copy.id)
        found = [copy for copy in copies if before is None or copy.id > before][:limit]
        self.rows_at_once.append(len(found))
        return found


def order(number, followers, at=DAY_ONE, **changes):
    copies = tuple(a_copy(id=f"{number}-{each:05}", event_id=str(number)) for each in range(followers))
    return an_order(number, t=text(at), copies=copies, tally={}, **changes)


def copies_of(trader, **times):
    return [(row[0], row[len(history_csv.ORDER_COLUMNS)]) for row in history_rows(history(trader, **times))]


@pytest.mark.parametrize("followers", [(3, 0, 2), (0, 0), (1000, 1), (2500, 0, 1000, 7), (999, 1001)])
def test_every_copy_is_there_once_however_many_there_are(followers):
    trader = Journalled(*(order(number, count) for number, count in enumerate(followers, 1)))

    found = copies_of(trader)

    wanted = [(each.id, copy.id) for each in trader.orders for copy in each.copies]
    wanted += [(each.id, "") for each in trader.orders if not each.copies]
    assert sorted(found) == sorted(wanted)
    assert [int(number) for number, _ in found] == sorted((int(number) for number, _ in found), reverse=True)
    assert max(trader.rows_at_once, default=0) <= history_csv.ROWS_AT_ONCE


def test_many_small_orders_are_read_in_few_calls():
    trader = Journalled(*(order(number, 4) for number in range(1, 501)))

    assert len(copies_of(trader)) == 2000
    assert len(trader.rows_at_once) == 10


def test_an_order_that_comes_meanwhile_pushes_none_out():
    trader = Journalled(*(order(number, 1) for number in range(1, 120)))
    newcomers = iter(range(120, 125))

    def one_more():
        if (number := next(newcomers, None)) is not None:
            trader.orders.insert(0, order(number, 1))

    trader.before_answer = one_more

    numbers = [int(number) for number, _ in copies_of(trader)]

    assert len(numbers) == len(set(numbers)) and set(numbers) >= set(range(1, 120))


def test_what_was_found_in_a_gap_hides_nothing_of_what_was_heard_before_it():
    trader = Journalled(
        order(1, 1, DAY_ONE),
        order(2, 1, DAY_ONE + timedelta(hours=5)),
        order(3, 1, DAY_ONE - timedelta(days=2), source="gap"),
        order(4, 1, DAY_ONE + timedelta(hours=6)),
    )

    since = [number for number, _ in copies_of(trader, since=DAY_ONE + timedelta(hours=1))]
    until = [number for number, _ in copies_of(trader, until=DAY_ONE + timedelta(hours=5))]

    assert since == ["4", "2"]
    assert until == ["3", "1"]


def test_what_is_long_before_the_time_is_not_read():
    months = [order(number, 1, DAY_ONE + timedelta(days=number)) for number in range(1, 1000)]
    trader = Journalled(*months)

    assert len(copies_of(trader, since=DAY_ONE + timedelta(days=990))) == 10
    assert sum(trader.rows_at_once) <= 2 * history_csv.ORDERS_AT_ONCE
