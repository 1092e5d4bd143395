"""The engine as a whole, on an exchange in memory: what is copied, how much, and what never is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from copytrade_core import (
    AuthenticationFailed,
    Balance,
    BalanceSnapshot,
    BalanceSource,
    InsufficientBalance,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Side,
    Symbol,
)
from copytrade_core.copying.plan import client_order_id, copy_id_of
from copytrade_core.errors import Conflict, InvalidRequest
from copytrade_core.views import AccountState, CopyState, LeaderOrderState
from memory_exchange import MemoryConnector, MemoryExchange, closed_book, engine, keys, until

D = Decimal


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1234.56789012", "0.123456789")
    world.open("bela", "777.77", "0.5")
    return world


@pytest.fixture
def trader(world, tmp_path):
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
        yield trader


def set_up(trader) -> None:
    for name in ("anna", "bela"):
        assert trader.add_account(name, "memory", "test", keys(name)).state is AccountState.ACTIVE
    assert trader.set_leader("memory", "test", keys("leader")).connected
    assert trader.start_copying() is True


def rows(book) -> dict:
    return {copy.account_name: copy for copy in book.copies}


def test_a_buy_spends_the_share_of_each_followers_own_quote_balance(world, trader):
    order = world.leader_trades("leader", Side.BUY, quote="2499.87")

    book = closed_book(trader, order.exchange_order_id)

    assert book.state is LeaderOrderState.COPIED
    assert book.share == Fraction(249987, 1000000)
    assert rows(book)["anna"].sent == D("308.62")
    assert rows(book)["bela"].sent == D("194.43")
    assert {copy.state for copy in book.copies} == {CopyState.FILLED}


def test_a_sale_gives_the_share_of_each_followers_own_base_balance(world, trader):
    order = world.leader_trades("leader", Side.SELL, base="0.25")

    book = closed_book(trader, order.exchange_order_id)

    assert book.share == Fraction(1, 4)
    assert rows(book)["anna"].sent == D("0.03086")
    assert rows(book)["bela"].sent == D("0.12500")


def test_two_buys_whose_positions_come_as_one_are_shared_exactly(world, trader):
    leader = world.holders["leader"]
    first = world.fill(leader, Side.BUY, quote=D(2500))
    second = world.fill(leader, Side.BUY, quote=D(2500))
    world.push("leader", *world.reports(first), *world.reports(second))
    world.push("leader", leader.snapshot(BalanceSource.PUSHED, complete=False))

    books = [closed_book(trader, order.exchange_order_id) for order in (first, second)]

    assert [book.share for book in books] == [Fraction(1, 4), Fraction(1, 3)]


def test_every_frame_on_both_connections_and_again_is_copied_once(world, trader):
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    closed_book(trader, order.exchange_order_id)

    world.push("leader", *world.reports(order), *world.reports(order))
    later = world.leader_trades("leader", Side.BUY, quote="100")
    closed_book(trader, later.exchange_order_id)

    assert [len(world.holders[name].orders) for name in ("anna", "bela")] == [2, 2]


def test_what_was_placed_while_stopped_is_never_copied(world, trader):
    assert trader.stop_copying() is False
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    book = closed_book(trader, order.exchange_order_id)
    trader.start_copying()
    world.push("leader", *world.reports(order))
    later = world.leader_trades("leader", Side.BUY, quote="1000")
    closed_book(trader, later.exchange_order_id)

    assert book.state is LeaderOrderState.IGNORED
    assert book.reason_kind == "copying_stopped"
    assert [len(world.holders[name].orders) for name in ("anna", "bela")] == [1, 1]


def test_a_paused_follower_has_a_row_that_says_so(world, trader):
    anna = next(account for account in trader.list_accounts() if account.name == "anna")
    trader.pause_account(anna.id)
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    book = closed_book(trader, order.exchange_order_id)

    assert rows(book)["anna"].state is CopyState.SKIPPED
    assert rows(book)["anna"].reason_kind == "paused"
    assert rows(book)["bela"].state is CopyState.FILLED


def test_an_order_that_never_left_is_sent_once_more(world, trader):
    def fail_first(world, holder, prepared):
        if holder.key == "anna" and not holder.sent:
            raise NotSent("the connection was refused")

    world.before_wire = fail_first
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    book = closed_book(trader, order.exchange_order_id)

    assert rows(book)["anna"].state is CopyState.FILLED
    assert rows(book)["anna"].attempts == 2
    assert [prepared.order.client_order_id[-2:] for prepared in world.holders["anna"].sent] == ["-1", "-2"]


def test_an_order_that_never_leaves_fails_after_two_attempts(world, trader):
    world.before_wire = fail_all
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    book = closed_book(trader, order.exchange_order_id)

    assert {copy.state for copy in book.copies} == {CopyState.FAILED}
    assert {copy.attempts for copy in book.copies} == {2}


def test_a_lost_answer_is_settled_by_asking_and_never_sent_again(world, trader):
    def lose(world, holder, prepared):
        world.execute(holder, prepared)
        raise OutcomeUnknown("the answer was lost")

    world.on_place = lose
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    book = closed_book(trader, order.exchange_order_id)

    assert {copy.state for copy in book.copies} == {CopyState.FILLED}
    assert [len(world.holders[name].orders) for name in ("anna", "bela")] == [1, 1]


def test_a_sale_waits_a_moment_for_what_became_of_a_purchase(world, trader):
    """The purchase executes although its answer is lost: the sale is of what it bought, too."""

    def lose_purchases(world, holder, prepared):
        ack = world.execute(holder, prepared)
        if prepared.order.side is Side.BUY:
            raise OutcomeUnknown("the answer was lost")
        return ack

    world.on_place = lose_purchases
    bought = world.leader_trades("leader", Side.BUY, quote="1000")
    sold = world.leader_trades("leader", Side.SELL, base="0.51")
    closed_book(trader, bought.exchange_order_id)

    book = closed_book(trader, sold.exchange_order_id)

    assert rows(book)["anna"].free_before == D("0.123456789") + D("123.45") / 50_000
    assert {copy.state for copy in book.copies} == {CopyState.FILLED}


def test_an_order_that_was_lost_on_the_way_is_proven_absent_and_fails(world, trader):
    def lose(world, holder, prepared):
        raise OutcomeUnknown("the answer was lost")

    world.on_place = lose
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    book = closed_book(trader, order.exchange_order_id, timeout_sec=20)

    assert {copy.state for copy in book.copies} == {CopyState.FAILED}
    assert {copy.reason_kind for copy in book.copies} == {"never_arrived"}
    assert [len(world.holders[name].sent) for name in ("anna", "bela")] == [1, 1]


def test_a_refused_balance_is_rejected_without_a_retry(world, trader):
    def refuse(world, holder, prepared):
        raise InsufficientBalance("the balance is not enough", code="-2010")

    world.on_place = refuse
    order = world.leader_trades("leader", Side.BUY, quote="1000")

    book = closed_book(trader, order.exchange_order_id)

    assert {copy.state for copy in book.copies} == {CopyState.REJECTED}
    assert [len(world.holders[name].sent) for name in ("anna", "bela")] == [1, 1]


def test_a_revoked_key_disables_that_account_alone(world, trader):
    def refuse(world, holder, prepared):
        if holder.key == "anna":
            holder.refused = AuthenticationFailed("the key was revoked", kind="invalid_key")
            raise holder.refused
        return world.execute(holder, prepared)

    world.on_place = refuse
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    book = closed_book(trader, order.exchange_order_id)
    accounts = {account.name: account for account in trader.list_accounts()}

    assert rows(book)["anna"].state is CopyState.REJECTED
    assert rows(book)["bela"].state is CopyState.FILLED
    assert accounts["anna"].state is AccountState.DISABLED
    assert accounts["anna"].error == "the key was revoked"
    assert accounts["bela"].state is AccountState.ACTIVE


def test_a_copy_that_waits_for_its_retry_goes_out_whatever_others_do_meanwhile(world, trader):
    def limit(world, holder, prepared):
        if holder.key == "anna" and len(holder.sent) == 1:
            raise RateLimited("too many orders", retry_after_sec=1, whole_address=False)
        return world.execute(holder, prepared)

    world.on_place = limit
    first = world.leader_trades("leader", Side.BUY, quote="1000")
    until(lambda: any(copy.state is CopyState.NOT_SENT for copy in trader.list_copies()))
    second = world.leader_trades("leader", Side.BUY, quote="1000")

    for order in (first, second):
        assert {copy.state for copy in closed_book(trader, order.exchange_order_id).copies} == {CopyState.FILLED}


def test_what_is_frozen_for_one_order_is_not_missing_from_the_next(world, trader):
    """The balance is pushed while the order is under way; the next copy waits until the exchange says what is left."""

    def freeze(world, holder, prepared):
        if holder.key != "anna" or prepared.order.side is Side.SELL:
            return world.execute(holder, prepared)
        frozen = Balance(asset="USDT", free=holder.usdt - prepared.order.size, locked=prepared.order.size)
        ack = world.execute(holder, prepared)
        world.push(
            "anna",
            BalanceSnapshot(balances=(frozen,), time_ms=ack.time_ms - 1, complete=False, source=BalanceSource.PUSHED),
        )
        spent = replace(ack.report, filled_quote=ack.report.filled_quote - 1)  # a little of it was not spent
        holder.usdt += 1
        fill = replace(spent.fills[0], quote_amount=spent.filled_quote)
        return replace(ack, report=replace(spent, fills=(fill,)))

    world.on_place = freeze
    orders = [world.leader_trades("leader", Side.BUY, quote="1000") for _ in range(2)]

    books = [closed_book(trader, order.exchange_order_id) for order in orders]

    assert rows(books[0])["anna"].sent == D("123.45")  # a tenth of 1234.56789012
    assert rows(books[1])["anna"].free_before == D("1112.11789012")
    assert rows(books[1])["anna"].sent == D("123.56")  # a ninth of what the first one left


def test_a_stop_lets_no_waiting_retry_out(world, trader):
    def limit(world, holder, prepared):
        raise RateLimited("too many orders", retry_after_sec=5, whole_address=False)

    world.on_place = limit
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    until(lambda: [copy.state for copy in trader.list_copies()] == [CopyState.NOT_SENT] * 2)
    trader.stop_copying()

    book = closed_book(trader, order.exchange_order_id)

    assert {copy.state for copy in book.copies} == {CopyState.FAILED}
    assert {copy.reason_kind for copy in book.copies} == {"stopped"}
    assert [len(world.holders[name].sent) for name in ("anna", "bela")] == [1, 1]


def test_an_order_placed_while_the_engine_was_down_is_found_and_copied_once(world, tmp_path):
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
        before = world.leader_trades("leader", Side.BUY, quote="1000")
        closed_book(trader, before.exchange_order_id)
    missed = world.fill(world.holders["leader"], Side.BUY, quote=D(4500))
    with engine(world, tmp_path / "data") as trader:
        book = closed_book(trader, missed.exchange_order_id)

        assert book.state is LeaderOrderState.COPIED
        assert book.source == "gap"
        assert book.share == Fraction(1, 2)
        assert [len(world.holders[name].orders) for name in ("anna", "bela")] == [2, 2]


def test_a_reused_order_id_is_another_order(world, trader):
    first = world.leader_trades("leader", Side.BUY, quote="1000")
    closed_book(trader, first.exchange_order_id)
    world.ids = iter([int(first.exchange_order_id), *range(9000, 9100)])
    second = world.leader_trades("leader", Side.BUY, quote="900")

    until(lambda: len([b for b in trader.list_events() if b.state is LeaderOrderState.COPIED]) == 2)

    assert second.exchange_order_id == first.exchange_order_id
    until(lambda: [len(world.holders[name].orders) for name in ("anna", "bela")] == [2, 2])


def fail_all(world, holder, prepared):
    raise NotSent("the connection was refused")


def failed_book(world, trader):
    world.before_wire = fail_all
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    book = closed_book(trader, order.exchange_order_id)
    world.before_wire = lambda world, holder, prepared: None
    return book


def test_a_failed_copy_is_copied_now_at_the_same_share_and_once(world, trader):
    book = failed_book(world, trader)
    failed = rows(book)["anna"]

    again = trader.copy_now(failed.id, by="the owner")

    with pytest.raises(Conflict, match="decided about this copy before"):
        trader.copy_now(failed.id, by="somebody else")
    done = until(lambda: next((c for c in trader.list_copies() if c.id == again.id and c.state.is_final), None))
    assert done.state is CopyState.FILLED
    assert done.asked_by == "the owner"
    assert done.sent == D("123.45")
    assert trader.get_event(book.id).counts() == {"fanout": 3, "ok": 1, "fail": 2, "pending": 0, "skipped": 0}


def test_a_person_sees_the_sum_before_asking_for_a_copy(world, trader):
    book = failed_book(world, trader)
    failed = rows(book)["anna"]

    seen = trader.preview_copy(failed.id)

    assert (seen.share, seen.free_before, seen.size_asset) == (Fraction(1, 10), D("1234.56789012"), "USDT")
    assert (seen.computed, seen.step, seen.sent) == (Fraction("123.456789012"), D("0.01"), D("123.45"))
    assert seen.balance_age_ms is not None and seen.balance_source in ("read", "pushed")
    assert seen.can_be_copied
    assert [each.sent for each in trader.preview_event(book.id)] == [D("123.45"), D("77.77")]
    again = trader.copy_now(failed.id)
    assert until(lambda: trader.list_copies(state="FILLED"))[0].sent == seen.sent
    with pytest.raises(Conflict, match="decided about this copy before"):
        trader.preview_copy(failed.id)
    with pytest.raises(Conflict, match="nothing to make up for"):
        trader.preview_copy(again.id)
    assert [each.account_name for each in trader.preview_event(book.id)] == ["bela"]
    with pytest.raises(Conflict, match="waiting for its share"):
        trader.preview_event(book.id, Fraction(1, 2))


def test_a_preview_says_why_nothing_would_be_sent_and_shows_the_sum_all_the_same(world, trader):
    book = failed_book(world, trader)
    anna, bela = (next(each for each in trader.list_accounts() if each.name == name) for name in ("anna", "bela"))

    trader.pause_account(anna.id)
    trader.remove_account(bela.id)
    paused, removed = trader.preview_event(book.id)
    assert (paused.reason_kind, paused.sent) == ("paused", D("123.45"))
    assert (removed.reason_kind, removed.sent) == ("removed", None)

    trader.resume_account(anna.id)
    world.holders["anna"].usdt = D("0.09")
    trader.verify_account(anna.id)
    small = trader.preview_copy(rows(book)["anna"].id)
    assert (small.reason_kind, small.computed, small.sent) == ("too_small", Fraction(9, 1000), D(0))

    trader.stop_copying()
    assert trader.preview_copy(rows(book)["anna"].id).reason_kind == "copying_stopped"
    assert len(world.holders["anna"].sent) == 2  # both of the failed copy


def test_all_failed_copies_of_an_order_are_copied_now(world, trader):
    book = failed_book(world, trader)

    trader.copy_event_now(book.id, by="the owner")

    until(lambda: [len(world.holders[name].orders) for name in ("anna", "bela")] == [1, 1])
    until(lambda: not any(copy.is_open for copy in trader.get_event(book.id).copies))


def test_a_failed_copy_that_is_left_is_not_copied_any_more(world, trader):
    failed = rows(failed_book(world, trader))["anna"]

    assert trader.leave_copy(failed.id, by="the owner").decided_by == "the owner"

    with pytest.raises(Conflict):
        trader.copy_now(failed.id)


def test_nothing_is_copied_now_that_the_exchange_shows_as_executed_after_all(world, trader):
    def lose(world, holder, prepared):
        world.hidden.add(prepared.order.client_order_id)
        world.execute(holder, prepared)
        raise OutcomeUnknown("the answer was lost")

    world.on_place = lose
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    book = closed_book(trader, order.exchange_order_id, timeout_sec=20)
    assert rows(book)["anna"].state is CopyState.FAILED
    world.hidden.clear()

    with pytest.raises(Conflict, match="it was executed"):
        trader.copy_now(rows(book)["anna"].id)

    assert len(world.holders["anna"].orders) == 1


@pytest.fixture
def undecidable(world, tmp_path):
    """A copy of which nobody could find out what became of it, executed in truth."""
    with engine(world, tmp_path / "data", unknown_deadline_sec=1) as trader:
        set_up(trader)
        bela = next(account for account in trader.list_accounts() if account.name == "bela")
        trader.pause_account(bela.id)

        def lose(world, holder, prepared):
            world.lookups_fail = OutcomeUnknown("no answer")
            world.execute(holder, prepared)
            raise OutcomeUnknown("the answer was lost")

        world.on_place = lose
        world.leader_trades("leader", Side.BUY, quote="1000")
        copy = until(lambda: next((c for c in trader.list_copies() if c.state is CopyState.NEEDS_PERSON), None), 20)
        yield trader, copy


def test_a_person_settles_as_executed_what_the_exchange_then_shows(world, undecidable):
    trader, copy = undecidable
    world.lookups_fail = None

    settled = trader.settle_copy(copy.id, executed=True, by="the owner")

    assert settled.state is CopyState.FILLED
    assert settled.filled_quote == D("123.45")
    assert settled.decided_by == "the owner"


def test_a_person_cannot_settle_as_not_executed_what_the_exchange_shows_or_cannot_be_asked_about(world, undecidable):
    trader, copy = undecidable

    with pytest.raises(OutcomeUnknown):
        trader.settle_copy(copy.id, executed=False)
    world.lookups_fail = None
    with pytest.raises(Conflict, match="the exchange shows"):
        trader.settle_copy(copy.id, executed=False)

    world.hidden.add(copy.client_order_id)
    assert trader.settle_copy(copy.id, executed=False, by="the owner").state is CopyState.FAILED


def undecided_book(world, trader):
    leader = world.holders["leader"]
    order = world.fill(leader, Side.BUY, quote=D(100))
    leader.usdt = D("777")  # what is pushed after it fits nothing that was told before ...
    contradicting = leader.snapshot(BalanceSource.PUSHED, complete=False)
    leader.usdt = D("600")  # ... and what is read then fits neither
    world.push("leader", *world.reports(order), contradicting)
    return until(lambda: next((b for b in trader.list_events() if b.state is LeaderOrderState.UNDECIDED), None))


def test_an_order_whose_share_is_not_known_is_copied_when_a_person_gives_it(world, trader):
    book = undecided_book(world, trader)
    with pytest.raises(InvalidRequest, match="say which"):
        trader.preview_event(book.id)
    with pytest.raises(InvalidRequest, match="above 0"):
        trader.preview_event(book.id, Fraction(5, 4))
    seen = {each.account_name: each for each in trader.preview_event(book.id, Fraction(1, 5))}

    trader.decide_share(book.id, Fraction(1, 5), by="the owner")

    done = closed_book(trader, book.order_id)
    assert {name: (each.copy_id, each.sent) for name, each in seen.items()} == {
        copy.account_name: (copy.id, copy.sent) for copy in done.copies
    }
    assert done.state is LeaderOrderState.COPIED
    assert rows(done)["anna"].sent == D("246.91")
    with pytest.raises(Conflict):
        trader.decide_share(book.id, Fraction(1, 5))


def test_a_share_that_a_person_gave_is_copied_after_a_kill_though_copying_was_started_since(world, tmp_path):
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
        book = undecided_book(world, trader)
        trader.stop_copying()
        trader.start_copying()
        trader._dispatcher.planned = lambda jobs: None  # killed when the rows were on disk, and nothing had left
        trader.decide_share(book.id, Fraction(1, 5), by="the owner")

    with engine(world, tmp_path / "data") as trader:
        done = closed_book(trader, book.order_id)

    assert {copy.state for copy in done.copies} == {CopyState.FILLED}


def test_a_share_is_not_spent_while_nothing_can_leave_and_not_on_another_leaders_order(world, trader):
    book = undecided_book(world, trader)

    trader.stop_copying()
    with pytest.raises(Conflict, match="copying is stopped"):
        trader.decide_share(book.id, Fraction(1, 5))
    trader.start_copying()
    world.open("another leader", "1000", "1")
    assert trader.set_leader("memory", "test", keys("another leader")).connected
    with pytest.raises(Conflict, match="not of the present leader"):
        trader.decide_share(book.id, Fraction(1, 5))

    assert trader.get_event(book.id).state is LeaderOrderState.UNDECIDED
    assert not trader.get_event(book.id).copies


def test_a_journal_that_was_put_back_by_hand_does_not_send_again_what_it_forgot(world, tmp_path):
    journal = tmp_path / "data" / "journal.db"
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
    earlier = journal.read_bytes()
    with engine(world, tmp_path / "data") as trader:
        until(lambda: trader.get_leader().connected)
        order = world.leader_trades("leader", Side.BUY, quote="1000")
        closed_book(trader, order.exchange_order_id)
    for leftover in (tmp_path / "data").glob("journal.db-*"):
        leftover.unlink()
    journal.write_bytes(earlier)
    with engine(world, tmp_path / "data") as trader:
        book = closed_book(trader, order.exchange_order_id)

        assert {copy.state for copy in book.copies} == {CopyState.FAILED}
        assert "sent_before" in {copy.reason_kind for copy in book.copies}
        until(lambda: [halt.kind for halt in trader.status().halts] == ["restored"])
        assert [len(world.holders[name].orders) for name in ("anna", "bela")] == [1, 1]


def test_a_journal_that_is_gone_stops_the_trading_until_a_person_has_seen_it(world, tmp_path):
    with engine(world, tmp_path / "data") as trader:
        set_up(trader)
        order = world.leader_trades("leader", Side.BUY, quote="1000")
        closed_book(trader, order.exchange_order_id)
    for file in (tmp_path / "data").glob("journal.db*"):
        file.unlink()
    with engine(world, tmp_path / "data") as trader:
        halt = next(halt for halt in trader.status().halts if halt.kind == "restored")

        assert "journal is gone" in halt.reason
        assert not trader.status().running
        assert [len(world.holders[name].orders) for name in ("anna", "bela")] == [1, 1]


def test_a_share_given_by_a_person_sends_nothing_that_the_exchange_already_has(world, trader):
    """An undecided order whose copy the exchange has, but the journal does not know: it was put back by hand."""
    order = world.fill(world.holders["leader"], Side.BUY, quote=D(100))
    world.holders["leader"].usdt = D("777")
    contradicting = world.holders["leader"].snapshot(BalanceSource.PUSHED, complete=False)
    world.holders["leader"].usdt = D("600")
    world.push("leader", *world.reports(order), contradicting)
    book = until(lambda: next((b for b in trader.list_events() if b.state is LeaderOrderState.UNDECIDED), None))
    leader = trader._watcher.leader
    for account in trader.list_accounts():
        identity = (order.exchange_order_id, order.created_ms)
        copy_id = copy_id_of(trader._secret, leader, Symbol("BTC", "USDT"), identity, account.id)
        sent_before = client_order_id(trader._vault.install_tag, copy_id, 1)
        world.fill(world.holders[account.name], Side.BUY, quote=D(10), client_id=sent_before)

    trader.decide_share(book.id, Fraction(1, 5), by="the owner")

    copies = closed_book(trader, order.exchange_order_id).copies
    assert {copy.state for copy in copies} == {CopyState.FAILED}
    assert "sent_before" in {copy.reason_kind for copy in copies}
    assert [len(world.holders[name].sent) for name in ("anna", "bela")] == [0, 0]


def test_a_bug_in_a_connector_leaves_no_copy_waiting_for_ever(world, tmp_path):
    with engine(world, tmp_path / "data", max_copy_age_backfill_sec=2) as trader:
        set_up(trader)
    order = world.fill(world.holders["leader"], Side.BUY, quote=D(1000))
    real = MemoryConnector.find_order

    def broken(self, client_order_id, exchange_order_id=None):
        if self.key != "leader":
            raise ZeroDivisionError
        return real(self, client_order_id, exchange_order_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryConnector, "find_order", broken)
        with engine(world, tmp_path / "data", max_copy_age_backfill_sec=2) as trader:
            book = closed_book(trader, order.exchange_order_id)

    assert {copy.state for copy in book.copies} == {CopyState.STALE}
    assert [len(world.holders[name].sent) for name in ("anna", "bela")] == [0, 0]
