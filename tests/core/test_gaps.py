"""Gaps in hearing the leader: journalled from their beginning, filled, closed when all that was found is decided."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from copytrade_core import Side
from copytrade_core.leader import gaps
from copytrade_core.views import CopyState, GapOutcome, LeaderOrderState, gap_json
from memory_exchange import MemoryExchange, closed_book, engine, keys, until


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1000", "1")
    return world


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, in less time."""
    monkeypatch.setattr(gaps, "LOOK_AGAIN_SEC", 0.3)
    monkeypatch.setattr(gaps, "UNEXPLAINED_SEC", 0.2)
    monkeypatch.setattr(gaps, "PROOF_SEC", 0.5)


@contextmanager
def copying(world: MemoryExchange, tmp_path: Any, **settings: Any):
    with engine(world, tmp_path / "data", **settings) as trader:
        if not trader.list_accounts():
            trader.add_account("anna", "memory", "test", keys("anna"))
            trader.set_leader("memory", "test", keys("leader"))
        until(lambda: (leader := trader.get_leader()) and leader.connected)
        trader.start_copying()
        yield trader


def silence(world: MemoryExchange, is_silent: bool = True) -> None:
    for stream in world.streams:
        stream.is_silent = is_silent


def closed_gaps(trader) -> list:
    return until(lambda: (found := trader.list_gaps()) and all(not gap.is_open for gap in found) and found)


def told(trader, what: str) -> list[dict[str, Any]]:
    return [event.data for event in trader.list_feed(limit=1000) if event.data.get("what") == what]


def test_a_first_leader_begins_without_a_gap(world, tmp_path):
    with copying(world, tmp_path) as trader:
        closed_book(trader, world.leader_trades("leader", Side.BUY, quote="100").exchange_order_id)

        assert trader.list_gaps() == []


def test_a_gap_is_open_while_nothing_is_heard_and_then_tells_what_was_found_in_it(world, tmp_path):
    with copying(world, tmp_path) as trader:
        silence(world)
        order = world.leader_trades("leader", Side.BUY, quote="100")
        (gap,) = until(trader.list_gaps)
        assert (gap.is_open, gap.until, gap.reason_kind) == (True, "", "no_connection")
        assert any(line.kind == "gap_open" for line in trader.doctor())
        silence(world, False)

        closed_book(trader, order.exchange_order_id)
        (gap,) = closed_gaps(trader)

        assert (gap.found, gap.copied, gap.missed, gap.ignored) == (1, 1, 0, 0)
        assert gap.outcome is GapOutcome.IN_FULL
        assert gap.since < gap.until
        (event,) = until(lambda: told(trader, "gap_read"))
        assert {name: event[name] for name in ("since", "until", "found", "copied", "missed", "in_full")} == {
            "since": gap.since, "until": gap.until, "found": 1, "copied": 1, "missed": 0, "in_full": True,
        }  # fmt: skip
        assert not any(line.kind == "gap_open" for line in trader.doctor())
        assert gap_json(gap)["open"] is False


def test_orders_that_were_too_old_are_missed_with_an_alarm_that_names_pair_side_and_share(world, tmp_path):
    with copying(world, tmp_path, max_copy_age_backfill_sec=0.01) as trader:
        silence(world)
        order = world.leader_trades("leader", Side.BUY, quote="2500")
        until(trader.list_gaps)
        silence(world, False)

        book = closed_book(trader, order.exchange_order_id)
        (gap,) = closed_gaps(trader)

        assert book.state is LeaderOrderState.STALE
        assert (gap.found, gap.copied, gap.missed) == (1, 0, 1)
        (alarm,) = [event for event in trader.list_feed(limit=1000) if event.data["what"] == "order_stale"]
        assert alarm.kind == "alarm"
        assert "BUY" in alarm.text
        assert "(BTC/USDT)" in alarm.text
        assert "25.0000%" in alarm.text
        assert alarm.data["share_percent"] == "25"


def test_every_time_without_an_engine_is_a_gap(world, tmp_path):
    with copying(world, tmp_path):
        pass
    order = world.leader_trades("leader", Side.SELL, base="0.5")
    with copying(world, tmp_path) as trader:
        closed_book(trader, order.exchange_order_id)
        (gap,) = closed_gaps(trader)

        assert (gap.reason_kind, gap.found, gap.copied, gap.outcome) == ("not_listening", 1, 1, GapOutcome.IN_FULL)


def test_a_gap_that_was_left_open_is_taken_up_from_where_it_began(world, tmp_path, monkeypatch):
    monkeypatch.setattr(gaps, "LOOK_BACK_MS", 0)  # nothing but the gap's own beginning leads to what was missed
    with copying(world, tmp_path) as trader:
        silence(world)
        order = world.leader_trades("leader", Side.BUY, quote="100")
        (left_open,) = until(trader.list_gaps)
        # The leader is heard again and the engine ends before what was found could be decided.
        trader._watcher._decide_pending = lambda: None
        silence(world, False)
        until(lambda: trader.list_gaps()[0].until)
        until(lambda: trader._watcher._gaps._since_ms > order.updated_ms)
    with copying(world, tmp_path) as trader:
        assert closed_book(trader, order.exchange_order_id).state is LeaderOrderState.COPIED
        (gap,) = closed_gaps(trader)

        assert (gap.id, gap.since, gap.found, gap.copied) == (left_open.id, left_open.since, 1, 1)


def test_a_balance_that_the_orders_do_not_explain_is_told_to_a_person(world, tmp_path):
    with copying(world, tmp_path) as trader:
        silence(world)
        world.holders["leader"].usdt += 777
        world.holders["leader"].updated_ms = world.now_ms()
        until(trader.list_gaps)
        silence(world, False)
        (gap,) = closed_gaps(trader)

        assert (gap.outcome, gap.unexplained) == (GapOutcome.UNEXPLAINED, {"USDT": Decimal(777)})
        (alarm,) = until(lambda: told(trader, "gap_unexplained"))
        assert alarm["amounts"] == "777 USDT"


def test_what_was_placed_while_copying_was_stopped_is_found_and_ignored(world, tmp_path):
    with copying(world, tmp_path) as trader:
        trader.stop_copying()
        silence(world)
        world.leader_trades("leader", Side.BUY, quote="100")
        until(trader.list_gaps)
        silence(world, False)
        (gap,) = closed_gaps(trader)

        assert (gap.found, gap.copied, gap.missed, gap.ignored) == (1, 0, 0, 1)


def test_gaps_are_listed_newest_first_and_page_by_page(world, tmp_path):
    for _ in range(4):
        with copying(world, tmp_path) as trader:
            if trader.list_gaps():
                closed_gaps(trader)
            found = trader.list_gaps()
    assert [gap.id for gap in found] == ["3", "2", "1"]
    with copying(world, tmp_path) as trader:
        assert [gap.id for gap in trader.list_gaps(limit=2)] == ["4", "3"]
        assert [gap.id for gap in trader.list_gaps(limit=2, before="3")] == ["2", "1"]
        assert not [copy for copy in trader.list_copies() if copy.state is not CopyState.FILLED]


def test_what_was_stamped_before_the_clock_was_put_back_between_two_runs_is_no_ground_of_a_share(world, tmp_path):
    leader = world.holders["leader"]

    def trades(skew_ms: int):
        world.skew_ms = skew_ms
        leader.updated_ms = world.now_ms() - 1000
        return world.leader_trades("leader", Side.BUY, quote="2500").exchange_order_id

    with copying(world, tmp_path):
        pass
    world.skew_ms = 120_000
    with copying(world, tmp_path) as trader:
        for skew_ms in (120_000, 180_000):
            closed_book(trader, trades(skew_ms))
    world.skew_ms = 100_000
    leader.updated_ms = world.now_ms() - 1000
    with copying(world, tmp_path) as trader:
        book = closed_book(trader, trades(150_000))

    assert (book.state, book.share) == (LeaderOrderState.COPIED, Fraction(1, 2))


def test_an_order_that_is_dated_before_the_start_because_the_clock_was_put_back_is_left_to_a_person(world, tmp_path):
    for skew_ms in (-600_000, 120_000, 0):
        world.skew_ms = skew_ms
        world.holders["leader"].updated_ms = world.now_ms() - 1000
        with copying(world, tmp_path) as trader:
            if skew_ms > 0:
                trader.stop_copying()
                trader.start_copying()
    with copying(world, tmp_path) as trader:
        book = closed_book(trader, world.leader_trades("leader", Side.BUY, quote="500").exchange_order_id)
        trader.stop_copying()
        trader.start_copying()
        later = closed_book(trader, world.leader_trades("leader", Side.BUY, quote="500").exchange_order_id)

    assert book.state is LeaderOrderState.UNDECIDED
    assert "clock was put back" in book.reason
    assert (later.state, later.share) == (LeaderOrderState.COPIED, Fraction(500, 9500))


def test_what_was_placed_while_nobody_listened_is_found_although_the_clock_was_put_back_by_an_hour(world, tmp_path):
    leader = world.holders["leader"]
    for skew_ms in (-10_000_000, 0):
        world.skew_ms = skew_ms
        leader.updated_ms = world.now_ms() - 1000
        with copying(world, tmp_path):
            pass
    # Placed half an hour ago by a clock that was put back by an hour before that.
    world.skew_ms = -3_600_000
    leader.updated_ms = world.now_ms() - 1_800_000
    placed = world.fill(leader, Side.BUY, quote=Decimal(500))
    long_ago = {"created_ms": leader.updated_ms - 1_800_000, "updated_ms": leader.updated_ms - 1_800_000}
    leader.orders[:] = [replace(placed, **long_ago)]
    leader.updated_ms = long_ago["updated_ms"]
    with copying(world, tmp_path) as trader:
        book = closed_book(trader, placed.exchange_order_id)

        assert closed_gaps(trader)[0].found == 1
    assert book.state is not LeaderOrderState.COPIED
    assert book.reason


def test_an_order_that_nobody_heard_is_found_although_the_leader_was_set_by_a_clock_that_was_put_back(world, tmp_path):
    world.skew_ms = 120_000
    with copying(world, tmp_path):
        pass
    world.skew_ms = 0
    world.holders["leader"].updated_ms = world.now_ms() - 1000
    with copying(world, tmp_path) as trader:
        silence(world)
        until(lambda: not trader.get_leader().connected)
        order = world.leader_trades("leader", Side.BUY, quote="500")
        silence(world, False)

        assert closed_book(trader, order.exchange_order_id).state is LeaderOrderState.UNDECIDED
        assert closed_gaps(trader)[0].found == 1


def test_an_order_is_left_to_a_person_also_when_the_clock_has_passed_the_start_again(world, tmp_path):
    world.skew_ms = -600_000
    with copying(world, tmp_path):
        pass
    world.skew_ms = 0
    with copying(world, tmp_path) as trader:
        trader.stop_copying()
        trader.start_copying()
        clock, back = trader._watcher.opened.clock, trader._watcher.opened.clock.put_back
        started_ms = trader._vault.copying_since_ms
        world.skew_ms = -1500
        world.holders["leader"].updated_ms = world.now_ms() - 1
        trader._exchanges.remeasure(trader._watcher.opened)
        until(lambda: clock.put_back > back)
        trader._watcher._decide_pending, decide = lambda: None, trader._watcher._decide_pending
        order = world.leader_trades("leader", Side.BUY, quote="500")
        until(lambda: world.now_ms() > started_ms)
        trader._watcher._decide_pending = decide

        assert order.created_ms < started_ms
        assert closed_book(trader, order.exchange_order_id).state is LeaderOrderState.UNDECIDED
