"""How a leader's order could be lost, doubled or shared wrongly before its book is closed, one way after another."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from copytrade_core import BalanceSource, NotSent, OrderStatus, Side, StreamDown, StreamUp
from copytrade_core.connector import StreamFrame
from copytrade_core.errors import ExchangeError
from copytrade_core.leader import gaps
from copytrade_core.leader import watcher as leader_watcher
from copytrade_core.views import CopyState, LeaderOrderState
from memory_exchange import MemoryConnector, MemoryExchange, closed_book, engine, keys, until

D = Decimal
COPIED, STALE, UNDECIDED = LeaderOrderState.COPIED, LeaderOrderState.STALE, LeaderOrderState.UNDECIDED


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    for name in ("leader", "second"):
        world.open(name, "10000", "1")
    world.open("anna", "1000", "1")
    return world


@contextmanager
def copying(world: MemoryExchange, tmp_path: Any, **settings: Any):
    with engine(world, tmp_path / "data", **settings) as trader:
        if not trader.list_accounts():
            trader.add_account("anna", "memory", "test", keys("anna"))
            trader.set_leader("memory", "test", keys("leader"))
        until(lambda: (leader := trader.get_leader()) and leader.connected)
        trader.start_copying()
        yield trader


@pytest.fixture
def trader(world, tmp_path):
    with copying(world, tmp_path) as trader:
        yield trader


def drop(world: MemoryExchange) -> None:
    """Both connections are lost."""
    for stream in world.streams:
        if (account_id := stream.accounts.get("leader")) is not None:
            stream._say(account_id, StreamDown(reason="cut off"))


def restore(world: MemoryExchange) -> None:
    for stream in world.streams:
        if (account_id := stream.accounts.get("leader")) is not None:
            stream._say(account_id, StreamUp())


def silence(world: MemoryExchange, is_silent: bool = True) -> None:
    for stream in world.streams:
        stream.is_silent = is_silent


def unheard_order(world: MemoryExchange, key: str, side: Side, **size: Decimal) -> Any:
    """What the leader places while nobody listens."""
    return world.fill(world.holders[key], side, **size)


def test_a_frame_that_arrives_while_the_thread_is_between_two_batches_is_heard(world, trader):
    """Timers run between the emptying of the inbox and the working off of what was in it."""
    placed: list[Any] = []
    mailbox = trader._watcher._mailbox
    mailbox.post(lambda: mailbox.later(0, lambda: placed.append(world.leader_trades("leader", Side.BUY, quote="100"))))
    order = until(lambda: placed)[0]

    assert closed_book(trader, order.exchange_order_id, 3).source == "live"


def test_what_a_leader_placed_before_it_was_set_is_not_copied_not_even_when_it_led_before(world, trader):
    before = unheard_order(world, "second", Side.BUY, quote=D(500))
    trader.set_leader("memory", "test", keys("second"))
    while_other = unheard_order(world, "leader", Side.BUY, quote=D(500))
    first = world.leader_trades("second", Side.BUY, quote="100")
    assert closed_book(trader, first.exchange_order_id).state is COPIED
    trader.set_leader("memory", "test")  # keys of the second stay; now back to the first
    trader.set_leader("memory", "test", keys("leader"))
    again = world.leader_trades("leader", Side.SELL, base="0.1")
    assert closed_book(trader, again.exchange_order_id).state is COPIED

    known = {book.order_id for book in trader.list_events()}
    assert known == {first.exchange_order_id, again.exchange_order_id}
    assert before.exchange_order_id not in known
    assert while_other.exchange_order_id not in known


def test_a_new_key_of_the_same_leader_loses_nothing_in_between(world, trader):
    world.second_key("leader-2", of="leader")
    original = trader._vault.set_leader

    def set_and_trade(*arguments: Any) -> Any:
        unheard_order(world, "leader", Side.BUY, quote=D(100))
        return original(*arguments)

    trader._vault.set_leader = set_and_trade
    world.holders["leader-2"].key = "leader"  # the same account
    trader.set_leader("memory", "test", keys("leader-2"))

    (book,) = until(trader.list_events)
    assert closed_book(trader, book.order_id).state is COPIED


def test_an_order_that_began_live_and_ended_in_a_gap_is_as_young_as_one_found_in_it(world, tmp_path):
    with copying(world, tmp_path, max_copy_age_sec=0.01, max_copy_age_backfill_sec=60) as trader:
        order = world.fill(world.holders["leader"], Side.BUY, quote=D(100))
        beginning, _ = world.reports(order)
        world.push("leader", beginning)
        drop(world)
        until(lambda: not trader.get_leader().connected)
        restore(world)

        book = closed_book(trader, order.exchange_order_id)

        assert (book.state, book.source) == (COPIED, "gap")


def test_an_order_that_was_heard_but_not_decided_before_the_engine_ended_is_copied_if_the_gap_was_short(
    world, tmp_path
):
    with copying(world, tmp_path) as trader:
        trader._watcher._decide_pending = lambda: None
        order = world.leader_trades("leader", Side.BUY, quote="100")
        until(lambda: trader._watcher._pending)
    with copying(world, tmp_path, max_copy_age_sec=0.01, max_copy_age_backfill_sec=60) as trader:
        book = closed_book(trader, order.exchange_order_id)

        assert (book.state, book.source) == (COPIED, "gap")


def test_a_bug_in_what_asks_the_exchange_halts_and_does_not_wait_for_ever(world, trader, monkeypatch):
    def list_orders(self: Any, since_ms: int) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(MemoryConnector, "list_orders", list_orders)
    drop(world)
    restore(world)

    until(lambda: any(halt.kind == "thread:leader-ask" for halt in trader.status().halts))


def test_a_moment_without_any_connection_holds_later_orders_back_until_the_missed_ones_are_known(
    world, trader, monkeypatch
):
    """Shorter than a proof of life lasts. The second order's position comes late, so that nothing contradicts."""
    listing = MemoryConnector.list_orders
    held = threading.Event()

    def slow(self: Any, since_ms: int) -> Any:
        found = listing(self, since_ms)
        assert held.wait(10)
        return found

    monkeypatch.setattr(MemoryConnector, "list_orders", slow)
    drop(world)
    missed = unheard_order(world, "leader", Side.BUY, quote=D(5000))
    restore(world)
    heard = world.fill(world.holders["leader"], Side.BUY, quote=D(2500))
    world.push("leader", *world.reports(heard))
    held.set()

    first, second = (closed_book(trader, order.exchange_order_id) for order in (missed, heard))

    assert [first.share, second.share] == [Fraction(1, 2), Fraction(1, 2)]
    assert int(first.id) < int(second.id)


def test_an_outage_while_the_orders_are_being_read_is_not_closed_by_that_reading(world, trader, monkeypatch):
    listing = MemoryConnector.list_orders
    is_reading, may_go_on = [], []

    def slow(self: Any, since_ms: int) -> Any:
        found = listing(self, since_ms)
        if not may_go_on:
            is_reading.append(True)
            until(lambda: may_go_on)
        return found

    monkeypatch.setattr(MemoryConnector, "list_orders", slow)
    drop(world)
    restore(world)
    until(lambda: is_reading)
    drop(world)
    silence(world)
    may_go_on.append(True)
    until(lambda: not trader._watcher._gaps._is_reading)

    assert not trader._watcher._gaps.is_caught_up
    assert trader.get_leader().gap_since
    assert trader.list_gaps()[0].is_open


def test_an_order_that_the_first_listing_lacks_is_found_by_the_second_however_long_the_gap_was(
    world, tmp_path, monkeypatch
):
    monkeypatch.setattr(gaps, "LOOK_AGAIN_SEC", 0.3)
    monkeypatch.setattr(gaps, "LOOK_BACK_MS", 0)  # the gap's own beginning must be looked back to
    with copying(world, tmp_path) as trader:
        drop(world)
        until(lambda: not trader.get_leader().connected)
        order = unheard_order(world, "leader", Side.BUY, quote=D(100))
        world.holders["leader"].updated_ms = order.created_ms - 100  # the account's answer lags as well
        world.hidden.add(order.client_order_id)
        restore(world)
        until(lambda: trader.get_leader().connected)
        until(lambda: trader._watcher._gaps._since_ms > order.created_ms)
        assert trader.list_gaps()[0].is_open
        world.hidden.clear()
        world.holders["leader"].updated_ms = order.created_ms

        assert closed_book(trader, order.exchange_order_id).state is COPIED
        gap = until(lambda: (found := trader.list_gaps()[0]) and not found.is_open and found)
        assert (gap.found, gap.copied) == (1, 1)


def test_what_is_found_after_more_than_a_day_is_never_copied_but_listed_for_a_person(world, tmp_path, monkeypatch):
    monkeypatch.setattr(gaps, "LOOK_AGAIN_SEC", 0.3)
    with copying(world, tmp_path):
        pass
    monkeypatch.setattr(gaps, "LONGEST_MS", 1)
    order = unheard_order(world, "leader", Side.BUY, quote=D(100))
    with copying(world, tmp_path) as trader:
        book = closed_book(trader, order.exchange_order_id)

        assert (book.state, book.reason_kind) == (STALE, "gap_too_long")
        assert [copy.state for copy in book.copies] == [CopyState.STALE]
        assert trader.list_gaps()[0].missed == 1
        copy = trader.copy_now(book.copies[0].id, "a person")
        until(lambda: [each for each in trader.list_copies() if each.id == copy.id and each.state is CopyState.FILLED])


def test_a_deposit_that_nobody_told_of_in_a_gap_makes_no_wrong_share_even_if_the_account_is_read_too_early(
    world, trader, monkeypatch
):
    """Free 10,000; a deposit of 10,000; then 5,000 spent: a quarter of 20,000, not half of 10,000."""
    leader = world.holders["leader"]
    early = leader.snapshot(BalanceSource.READ)
    reading = MemoryConnector.balances
    until_late = time.monotonic() + 1

    def lagging(self: Any, *, urgent: bool = False) -> Any:
        is_leader = self.holder is leader
        return early if is_leader and time.monotonic() < until_late else reading(self, urgent=urgent)

    monkeypatch.setattr(MemoryConnector, "balances", lagging)
    drop(world)
    until(lambda: not trader.get_leader().connected)
    leader.usdt += 10_000
    order = unheard_order(world, "leader", Side.BUY, quote=D(5000))
    restore(world)

    book = closed_book(trader, order.exchange_order_id)

    assert book.state is UNDECIDED or book.share == Fraction(1, 4)


def test_an_order_behind_one_whose_end_nobody_tells_is_not_shared_by_a_balance_that_lacks_it(
    world, trader, monkeypatch
):
    """Free 10,000; 5,000 spent, of which only the beginning is heard; then 2,500: half, not a quarter."""
    first = world.fill(world.holders["leader"], Side.BUY, quote=D(5000))
    world.hidden.add(first.client_order_id)
    world.push("leader", world.reports(first)[0])
    second = world.fill(world.holders["leader"], Side.BUY, quote=D(2500))
    world.push("leader", *world.reports(second))

    book = closed_book(trader, second.exchange_order_id)

    assert book.state is UNDECIDED or book.share == Fraction(1, 2)


def test_a_long_gap_whose_orders_pass_the_budget_goes_on_where_the_last_try_ended(world, trader, monkeypatch):
    looking_up = MemoryConnector.find_order
    asked: list[str] = []

    def find_order(self: Any, client_order_id: str, exchange_order_id: Any = None) -> Any:
        if self.key == "leader":
            asked.append(client_order_id)
            if len(asked) % 3 == 0:
                raise NotSent("the budget is used up")
        return looking_up(self, client_order_id, exchange_order_id)

    monkeypatch.setattr(MemoryConnector, "find_order", find_order)
    monkeypatch.setattr(gaps, "RETRY_SEC", (0.05,))
    drop(world)
    until(lambda: not trader.get_leader().connected)
    orders = [unheard_order(world, "leader", Side.BUY, quote=D(100)) for _ in range(8)]
    restore(world)
    until(lambda: trader.get_leader().connected)

    assert len(asked) <= 2 * len(orders)
    for order in orders:
        assert closed_book(trader, order.exchange_order_id, 20).state is COPIED


def test_a_stream_that_was_silent_while_the_balances_could_not_be_compared_is_read_from_its_last_agreement(
    world, tmp_path, monkeypatch
):
    monkeypatch.setattr(gaps, "READ_EVERY_SEC", 0.2)
    monkeypatch.setattr(gaps, "UNEXPLAINED_SEC", 0.1)
    monkeypatch.setattr(gaps, "LOOK_BACK_MS", 0)
    with copying(world, tmp_path) as trader:
        reading = MemoryConnector.balances
        is_down = [True]

        def balances(self: Any, *, urgent: bool = False) -> Any:
            if is_down and self.key == "leader":
                raise NotSent("the exchange does not answer")
            return reading(self, urgent=urgent)

        monkeypatch.setattr(MemoryConnector, "balances", balances)
        order = unheard_order(world, "leader", Side.BUY, quote=D(100))  # its events never come
        until(lambda: trader._watcher._gaps._since_ms > order.created_ms + 1000)
        is_down.clear()

        assert closed_book(trader, order.exchange_order_id).source == "gap"
        gap = trader.list_gaps()[0]
        assert gap.reason_kind == "silent_stream"


def test_a_report_that_says_less_than_what_is_known_changes_nothing(world, trader):
    order = world.fill(world.holders["leader"], Side.BUY, quote=D(1000))
    beginning, end = world.reports(order)
    part = replace(end, status=OrderStatus.PARTIALLY_FILLED, filled_base=D("0.001"), filled_quote=D(50))
    world.push("leader", end, part, beginning, world.holders["leader"].snapshot(BalanceSource.PUSHED, complete=False))

    assert closed_book(trader, order.exchange_order_id).share == Fraction(1, 10)


def contradictions(trader: Any) -> list[dict[str, Any]]:
    events = (event.data for event in trader.list_feed(limit=1000))
    return [data for data in events if data.get("what") == "leader_balance_contradicted"]


def decided_without_its_balance(world: MemoryExchange, trader: Any) -> Any:
    """The balance after this order is never pushed, nor read."""
    world.holders["leader"].refused = ExchangeError("nobody reads now")
    order = world.fill(world.holders["leader"], Side.BUY, quote=D(100))
    world.push("leader", *world.reports(order))
    return closed_book(trader, order.exchange_order_id)


def test_a_balance_that_overtakes_the_reports_of_its_order_contradicts_no_earlier_one(world, trader):
    first = decided_without_its_balance(world, trader)
    second = world.fill(world.holders["leader"], Side.BUY, quote=D(1000))
    world.push("leader", world.holders["leader"].snapshot(BalanceSource.PUSHED, complete=False))
    until(lambda: trader._watcher._unconfirmed and trader._watcher._unconfirmed[0].contradicted_ns)

    world.push("leader", *world.reports(second))

    assert closed_book(trader, second.exchange_order_id).share == Fraction(1000, 9900)
    world.holders["leader"].refused = None
    trader._watcher._read_for_resting()
    until(lambda: not trader._watcher._unconfirmed)
    until(lambda: D(closed_book(trader, first.order_id).estimates.get("undone", 0)) == 10000)
    assert contradictions(trader) == []


def test_a_share_that_what_comes_later_contradicts_is_told_to_a_person(world, trader, monkeypatch):
    monkeypatch.setattr(leader_watcher, "CONTRADICTED_SEC", 0.1)
    book = decided_without_its_balance(world, trader)
    world.holders["leader"].usdt += 5000
    world.push("leader", world.holders["leader"].snapshot(BalanceSource.PUSHED, complete=False))

    (alarm,) = until(lambda: contradictions(trader))
    assert (alarm["asset"], D(alarm["reckoned"]), D(alarm["stated"])) == ("USDT", 10000, 15000)
    assert alarm["event_id"] == book.id


def test_an_order_that_was_heard_right_before_a_gap_is_not_too_old_for_having_been_held_back(world, tmp_path):
    with copying(world, tmp_path, max_copy_age_sec=0.3, max_copy_age_backfill_sec=60) as trader:
        watcher = trader._watcher
        decide, watcher._decide_pending = watcher._decide_pending, lambda: None
        order = world.leader_trades("leader", Side.BUY, quote="100")
        until(lambda: watcher._pending)
        drop(world)
        until(lambda: not trader.get_leader().connected)
        watcher._decide_pending = decide
        until(lambda: world.now_ms() > order.updated_ms + 400)
        restore(world)

        assert closed_book(trader, order.exchange_order_id).state is COPIED


def test_an_order_that_began_before_a_long_gap_is_not_given_up_before_the_gap_was_read(world, trader, monkeypatch):
    monkeypatch.setattr(leader_watcher, "NEVER_FINAL_SEC", 0.2)
    monkeypatch.setattr(leader_watcher, "FINAL_WAIT_SEC", 0.1)
    order = world.fill(world.holders["leader"], Side.BUY, quote=D(100))
    world.lookups_fail = NotSent("the exchange does not answer")
    drop(world)
    world.push("leader", world.reports(order)[0])
    heard = time.monotonic()
    until(lambda: time.monotonic() > heard + 1.5)  # several rounds of looking for orders that never end
    world.lookups_fail = None
    restore(world)

    assert closed_book(trader, order.exchange_order_id).state is COPIED


def test_what_two_silent_connections_missed_is_part_of_the_share_that_a_new_socket_tells_of(world, trader):
    first = world.leader_trades("leader", Side.BUY, quote="1000")
    closed_book(trader, first.exchange_order_id)
    missed = unheard_order(world, "leader", Side.BUY, quote=D(4000))
    # A socket takes over from a silent one; the balance after its first order is lost.
    second = world.fill(world.holders["leader"], Side.BUY, quote=D(1000))
    stream = next(each for each in world.streams if "leader" in each.accounts)
    for event in world.reports(second):
        account_id, now_ns = stream.accounts["leader"], time.monotonic_ns()
        stream.sink(StreamFrame(account_id=account_id, connection=f"{stream.name}#2", received_ns=now_ns, event=event))

    assert closed_book(trader, second.exchange_order_id).share == Fraction(1, 5)
    assert closed_book(trader, missed.exchange_order_id).share == Fraction(4, 9)
