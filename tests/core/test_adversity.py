"""Where an exchange, a plug-in or a disk contradicts itself: no order is doubled, none is lost without a word."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from copytrade_core import (
    Balance,
    BalanceSnapshot,
    BalanceSource,
    InsufficientBalance,
    NotSent,
    OrderStatus,
    OutcomeUnknown,
    RateLimited,
    Side,
)
from copytrade_core.copying import dispatch
from copytrade_core.errors import Conflict, UnknownExchange
from copytrade_core.views import CopyState
from memory_exchange import MemoryExchange, closed_book, engine, keys, until

D = Decimal


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1000", "0.5")
    return world


def set_up(trader) -> None:
    trader.add_account("anna", "memory", "test", keys("anna"))
    assert trader.set_leader("memory", "test", keys("leader")).connected
    trader.start_copying()


@pytest.fixture
def trader(world, tmp_path):
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
        yield trader


def the_copy(book):
    (copy,) = book.copies
    return copy


def limit_and_execute(world, holder, prepared):
    """Say that there were too many orders, and execute this one all the same."""
    world.execute(holder, prepared)
    raise RateLimited("too many orders", retry_after_sec=3, whole_address=False)


def limit_the_first(then=MemoryExchange.execute, retry_after_sec=0.5):
    """Say of every first attempt that there were too many orders; of a second one do *then*."""

    def place(world, holder, prepared):
        if prepared.order.client_order_id.endswith("-1"):
            raise RateLimited("too many orders", retry_after_sec=retry_after_sec, whole_address=False)
        return then(world, holder, prepared)

    return place


def tell(world, order, **changes) -> None:
    for report in world.reports(order):
        world.push("anna", replace(report, **changes))


def test_a_report_that_comes_while_a_copy_waits_for_its_second_attempt_cancels_it(world, trader):
    world.on_place = limit_and_execute
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    until(lambda: [copy.state for copy in trader.list_copies()] == [CopyState.NOT_SENT])

    tell(world, world.holders["anna"].orders[0])

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.attempts, copy.filled_quote) == (CopyState.FILLED, 1, D(100))
    assert len(world.holders["anna"].orders) == 1


def test_a_report_that_comes_before_the_refusal_contradicts_it(world, trader):
    said = threading.Event()

    def tell_and_refuse(world, holder, prepared):
        tell(world, world.fill(holder, Side.BUY, quote=prepared.order.size, client_id=prepared.order.client_order_id))
        said.set()
        raise RateLimited("too many orders", retry_after_sec=1, whole_address=False)

    world.on_place = tell_and_refuse
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    assert said.wait(5)

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.attempts) == (CopyState.FILLED, 1)
    assert len(world.holders["anna"].orders) == 1


def test_a_first_attempt_that_shows_after_the_second_one_is_told_to_everybody(world, trader):
    world.on_place = limit_the_first()
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.attempts) == (CopyState.FILLED, 2)

    anna = world.holders["anna"]
    tell(world, world.fill(anna, Side.BUY, quote=D(100), client_id=anna.sent[0].order.client_order_id))

    alarms = until(lambda: [event for event in trader.list_feed(limit=500) if event.data.get("what") == "copy_doubled"])
    assert [(alarm.kind, alarm.data["copy_id"]) for alarm in alarms] == [("alarm", copy.id)]


def test_a_first_attempt_that_shows_while_the_second_one_is_asked_about_is_told_to_everybody(world, trader):
    def lose(world, holder, prepared):
        raise OutcomeUnknown("the line broke")

    world.on_place = limit_the_first(lose)
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    until(lambda: [(copy.state, copy.attempts) for copy in trader.list_copies()] == [(CopyState.UNKNOWN, 2)])

    anna = world.holders["anna"]
    tell(world, world.fill(anna, Side.BUY, quote=D(100), client_id=anna.sent[0].order.client_order_id))

    alarms = until(lambda: [event for event in trader.list_feed(limit=500) if event.data.get("what") == "copy_doubled"])
    (copy,) = trader.list_copies()
    assert [(alarm.kind, alarm.data["copy_id"]) for alarm in alarms] == [("alarm", copy.id)]
    assert the_copy(closed_book(trader, order.exchange_order_id)).state is CopyState.FILLED


def test_of_first_attempts_only_the_newest_are_remembered(world, trader, monkeypatch):
    monkeypatch.setattr(dispatch, "GIVEN_UP_KEPT", 1)
    world.on_place = limit_the_first()
    for _ in range(2):
        order = world.leader_trades("leader", Side.BUY, quote="1000")
        assert the_copy(closed_book(trader, order.exchange_order_id)).attempts == 2

    newest = world.holders["anna"].sent[2].order.client_order_id
    assert list(trader._dispatcher._given_up) == [newest]


def test_a_report_of_a_refused_order_proves_no_order(world, trader):
    world.on_place = limit_the_first(retry_after_sec=3)
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    until(lambda: [copy.state for copy in trader.list_copies()] == [CopyState.NOT_SENT])
    shown = world.fill(world.open("nobody", "1000", "0"), Side.BUY, quote=D(100))
    sent = world.holders["anna"].sent[0].order.client_order_id
    tell(world, replace(shown, client_order_id=sent), status=OrderStatus.REJECTED, filled_base=D(0), filled_quote=D(0))

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.attempts) == (CopyState.FILLED, 2)


def test_a_second_attempt_after_a_restart_is_not_made_where_the_first_one_shows(world, tmp_path):
    def limit_for_long(world, holder, prepared):
        world.execute(holder, prepared)
        raise RateLimited("too many orders", retry_after_sec=3, whole_address=False)

    world.on_place = limit_for_long
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
        order = world.leader_trades("leader", Side.BUY, quote="1000")
        until(lambda: [copy.state for copy in trader.list_copies()] == [CopyState.NOT_SENT])
    world.on_place = MemoryExchange.execute
    with engine(world, tmp_path / "data") as trader:
        copy = the_copy(closed_book(trader, order.exchange_order_id))

        assert (copy.state, copy.attempts) == (CopyState.FILLED, 1)
        assert len(world.holders["anna"].orders) == 1
        assert not trader.status().halts


def test_not_sent_is_not_believed_of_an_order_whose_bytes_had_left(world, trader):
    """A plug-in that takes a reset for a refused connection would have it sent twice."""

    def lose(world, holder, prepared):
        world.execute(holder, prepared)
        raise NotSent("the connection was refused")

    world.on_place = lose
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.attempts) == (CopyState.FILLED, 1)
    assert len(world.holders["anna"].orders) == 1


def test_not_sent_is_believed_where_it_is_the_exchanges_own_answer(world, trader):
    def wrong_mode_once(world, holder, prepared):
        if len(holder.sent) == 1:
            raise NotSent("the account is of another kind than was thought", kind="account_mode_changed", code="40085")
        return world.execute(holder, prepared)

    world.on_place = wrong_mode_once
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.attempts) == (CopyState.FILLED, 2)


@pytest.mark.parametrize("part", ["ack", "report"])
def test_an_answer_about_another_order_is_no_answer(world, trader, part):
    def mix_up(world, holder, prepared):
        ack = world.execute(holder, prepared)
        stranger = replace(ack.report, client_order_id="ctaaaaaaaaaaaaaaaaaaaaaaaa-1", filled_quote=D(7))
        return replace(ack, client_order_id="x" if part == "ack" else ack.client_order_id, report=stranger)

    world.on_place = mix_up
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.filled_quote) == (CopyState.FILLED, D(100))


def test_a_balance_that_was_never_stated_is_read_and_not_taken_for_zero(world, trader):
    (anna,) = trader.list_accounts()
    trader._balances.forget(anna.id)
    world.push(
        "anna",
        BalanceSnapshot(
            balances=(Balance(asset="USDT", free=D(1000)),),
            time_ms=world.now_ms(),
            complete=False,
            source=BalanceSource.PUSHED,
        ),
    )
    order = world.leader_trades("leader", Side.SELL, base="0.5")

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.sent) == (CopyState.FILLED, D("0.25"))


def test_a_fill_that_is_listed_twice_is_booked_once(world, trader):
    def list_twice(world, holder, prepared):
        ack = world.execute(holder, prepared)
        return replace(ack, report=replace(ack.report, fills=ack.report.fills * 2))

    world.on_place = list_twice
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    assert the_copy(closed_book(trader, order.exchange_order_id)).state is CopyState.FILLED


def test_a_second_attempt_that_has_become_too_small_ends_and_says_so(world, trader):
    """Of a copy that was tried once FAILED is the end: a person may want it all the same."""

    def limit(world, holder, prepared):
        holder.usdt = D("0.05")
        world.push(
            "anna",
            BalanceSnapshot(
                balances=(Balance(asset="USDT", free=holder.usdt),),
                time_ms=world.now_ms(),
                complete=False,
                source=BalanceSource.PUSHED,
            ),
        )
        raise RateLimited("too many orders", retry_after_sec=0.3, whole_address=False)

    world.on_place = limit
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    copy = the_copy(closed_book(trader, order.exchange_order_id))
    assert (copy.state, copy.reason_kind, copy.attempts) == (CopyState.FAILED, "too_small", 1)


def test_an_order_that_shows_late_and_filled_nothing_alarms_nobody(world, trader):
    def lose(world, holder, prepared):
        world.hidden.add(prepared.order.client_order_id)
        nothing = replace(world.execute(holder, prepared).report, status=OrderStatus.EXPIRED, filled_base=D(0))
        holder.orders[-1] = replace(nothing, filled_quote=D(0), fills=())
        raise OutcomeUnknown("the answer was lost")

    world.on_place = lose
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    assert the_copy(closed_book(trader, order.exchange_order_id, timeout_sec=20)).state is CopyState.FAILED
    world.hidden.clear()
    (anna,) = trader.list_accounts()
    trader._dispatcher.stream_spoke(anna.id, world.holders["anna"].orders[-1].client_order_id)

    until(lambda: trader._dispatcher._settler._by_client_id == {})
    second = world.leader_trades("leader", Side.SELL, base="0.1")
    world.on_place = MemoryExchange.execute
    closed_book(trader, second.exchange_order_id)
    assert "copy_found_late" not in [event.data.get("what") for event in trader.list_feed(limit=200, newest=True)]
    assert not trader.status().halts


def test_a_write_that_fails_although_the_journal_works_halts_the_engine(world, trader, monkeypatch):
    """What memory holds is then not what the disk holds: nothing more may be sent by it."""

    def refuse(*arguments, **values):
        raise ValueError("a bug")

    monkeypatch.setattr("copytrade_core.store.book.executed", refuse)
    world.leader_trades("leader", Side.BUY, quote="1000")

    assert until(lambda: trader.status().halts)[0].kind == "thread:dispatcher"


def test_of_two_copies_that_a_restart_finds_open_neither_lets_a_third_one_out_too_early(world, tmp_path):
    def keep(world, holder, prepared):
        world.hidden.add(prepared.order.client_order_id)
        ack = world.execute(holder, prepared)
        if prepared.order.side is Side.BUY:
            raise OutcomeUnknown("the answer was lost")
        return replace(ack, report=None)

    world.on_place = keep
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
        world.leader_trades("leader", Side.BUY, quote="1000")
        until(lambda: trader.list_copies(state="UNKNOWN"))
        world.leader_trades("leader", Side.SELL, base="0.1")
        until(lambda: trader.list_copies(state="ACKED"))
    with engine(world, tmp_path / "data") as trader:
        until(lambda: trader._dispatcher.unsettled == 2)
        (lane,) = trader._dispatcher._lanes
        assert {lane.active.side, *(job.side for job in lane.unknown)} == {Side.BUY, Side.SELL}
        assert lane.active.state is CopyState.ACKED


def needs_person(world, trader):
    def lose(world, holder, prepared):
        world.lookups_fail = OutcomeUnknown("no answer")
        world.execute(holder, prepared)
        raise OutcomeUnknown("the answer was lost")

    world.on_place = lose
    world.leader_trades("leader", Side.BUY, quote="1000")
    return until(lambda: next(iter(trader.list_copies(state="NEEDS_PERSON")), None), 20)


def test_two_people_who_settle_one_copy_at_once_are_not_both_told_yes(world, tmp_path):
    with engine(world, tmp_path / "data", unknown_deadline_sec=1) as trader:
        set_up(trader)
        copy = needs_person(world, trader)
        world.lookups_fail = None
        both = threading.Barrier(2)
        answers = []

        original = trader._decisions._look_up

        def look_up(row, exchange_order_id):
            found = original(row, exchange_order_id)
            both.wait(5)
            return found

        trader._decisions._look_up = look_up

        def settle(name):
            try:
                answers.append(trader.settle_copy(copy.id, executed=True, by=name).decided_by)
            except Conflict as error:
                answers.append(error)

        threads = [threading.Thread(target=settle, args=(name,)) for name in ("olga", "piet")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert len(answers) == 2
        (refused,) = (answer for answer in answers if isinstance(answer, Conflict))
        assert "does not need a person" in refused.message
        (settled,) = trader.list_copies()
        assert settled.decided_by in ("olga", "piet")
        assert settled.decided_at


def test_who_decided_and_when_is_shown_of_every_decision(world, tmp_path):
    with engine(world, tmp_path / "data", unknown_deadline_sec=1) as trader:
        set_up(trader)
        copy = needs_person(world, trader)
        world.lookups_fail = None
        world.hidden.add(copy.client_order_id)
        world.on_place = MemoryExchange.execute

        settled = trader.settle_copy(copy.id, executed=False, by="olga")
        assert (settled.state, settled.is_open) == (CopyState.FAILED, True)
        assert "olga" in settled.reason

        again = trader.copy_now(copy.id, by="piet")
        assert (again.asked_by, again.asked_at[:4]) == ("piet", again.updated[:4])
        (first,) = (each for each in trader.list_copies() if each.id == copy.id)
        assert (first.decided_by, bool(first.decided_at)) == ("piet", True)
        until(lambda: trader.list_copies(state="FILLED"))


def test_a_key_that_was_kept_for_a_copy_goes_when_a_person_has_settled_it(world, tmp_path):
    with engine(world, tmp_path / "data", unknown_deadline_sec=1) as trader:
        set_up(trader)
        copy = needs_person(world, trader)
        trader.remove_account(copy.account_id)
        assert trader._vault.sealed()
        world.lookups_fail = None

        assert trader.settle_copy(copy.id, executed=True, by="olga").state is CopyState.FILLED

        until(lambda: not trader._vault.sealed())


def test_a_plug_in_that_is_gone_keeps_no_other_copy_from_being_settled(world, tmp_path, monkeypatch):
    with engine(world, tmp_path / "data", unknown_deadline_sec=1) as trader:
        set_up(trader)
        copy = needs_person(world, trader)
    world.lookups_fail = None

    def gone(exchange, environment):
        raise UnknownExchange(f"no plug-in has {exchange}")

    with engine(world, tmp_path / "data") as trader:
        with monkeypatch.context() as patched:
            patched.setattr(trader._exchanges, "get", gone)
            trader._recover()

        assert not trader.status().halts
        assert trader.list_copies()[0].id == copy.id


def test_all_copies_of_an_order_are_asked_about_side_by_side(world, tmp_path):
    """One after the other, five hundred look-ups would outlast whoever waits for the answer."""
    for number in range(8):
        world.open(f"follower {number}", "1000", "0.5")
    with engine(world, tmp_path / "data") as trader:
        for number in range(8):
            trader.add_account(f"f{number}", "memory", "test", keys(f"follower {number}"))
        assert trader.set_leader("memory", "test", keys("leader")).connected
        trader.start_copying()
        world.before_wire = lambda world, holder, prepared: (_ for _ in ()).throw(NotSent("no connection", retry=False))
        order = world.leader_trades("leader", Side.BUY, quote="1000")
        book = closed_book(trader, order.exchange_order_id)
        world.before_wire = lambda world, holder, prepared: None
        together = threading.Barrier(8)
        original = trader._decisions._look_up

        def look_up(row, exchange_order_id):
            together.wait(5)
            return original(row, exchange_order_id)

        trader._decisions._look_up = look_up
        trader.copy_event_now(book.id, by="olga")

        until(lambda: len(trader.list_copies(state="FILLED")) == 8)


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_exchange_and_plug_in_say_nothing_is_doubled_or_lost_and_the_engine_trades_on(world, tmp_path, seed):
    """Every answer there is, true and false ones, at random; what is false is contradicted by the account's stream."""
    dice = random.Random(seed)
    names = [f"follower {number}" for number in range(8)]
    for name in names:
        world.open(name, "1000", "0.5")

    def tell_of(holder):
        for report in world.reports(holder.orders[-1]):
            world.push(holder.key, report)

    def stop_before(world, holder, prepared):
        if dice.random() < 0.15:
            raise NotSent("the connection was refused")

    def answer(world, holder, prepared):
        executes, tells, how = dice.random() < 0.7, dice.random() < 0.5, dice.randrange(8)
        ack = world.execute(holder, prepared) if executes else None
        errors = {
            0: OutcomeUnknown("the answer was lost"),
            1: RateLimited("too many orders", retry_after_sec=0.2, whole_address=False),
            2: NotSent("the connection was refused"),
            3: OutcomeUnknown("the service failed"),
            4: InsufficientBalance("not enough", code="-2010"),
        }
        if ack is None:
            raise errors.get(how, errors[0])
        if how in (1, 4) or tells:  # a refusal that is false shows on the stream
            tell_of(holder)
        if how in errors:
            raise errors[how]
        return replace(ack, report=None) if how == 5 else ack

    with engine(world, tmp_path / "data") as trader:
        for name in names:
            trader.add_account(name, "memory", "test", keys(name))
        assert trader.set_leader("memory", "test", keys("leader")).connected
        trader.start_copying()
        world.before_wire, world.on_place = stop_before, answer
        orders = []
        for number in range(6):
            side = Side.SELL if number % 3 == 2 else Side.BUY
            amount = {"base": "0.01"} if side is Side.SELL else {"quote": "300"}
            orders.append(world.leader_trades("leader", side, **amount))

        books = [closed_book(trader, order.exchange_order_id, timeout_sec=60) for order in orders]

        assert not trader.status().halts
        for book in books:
            assert len(book.copies) == len(names)
            for copy in book.copies:
                made = [order for order in world.holders[copy.account_name].orders if copy.id in order.client_order_id]
                assert len(made) == (1 if copy.state.is_ok else 0), copy
                assert not made or copy.filled_quote == made[0].filled_quote
