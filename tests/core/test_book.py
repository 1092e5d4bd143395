"""The closed book on disk: once an order, one row a follower, states along the arrows, nothing claimed twice."""

from __future__ import annotations

import itertools
import threading
from fractions import Fraction

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from arrows import ARROWS
from copytrade_core.copying.states import Move
from copytrade_core.model import OrderStatus, Side
from copytrade_core.store import book as rows
from copytrade_core.store import schema
from copytrade_core.store.journal import Journal
from copytrade_core.views import FINAL_STATES, CopyState, LeaderOrderState
from fakes import D, execution, fill, order_report

S = CopyState


@pytest.fixture
def journal(tmp_path):
    journal = Journal.in_data_dir(tmp_path, None, lambda error: None)
    yield journal
    journal.close()


def an_order(order_id: str = "7", created_ms: int = 1000, **changes) -> dict:
    return {
        "exchange": "binance", "env": "test", "leader_uid": "1", "symbol": "BTC/USDT", "order_id": order_id,
        "created_ms": created_ms, "client_order_id": "web", "side": "BUY", "order_type": "MARKET", "status": "FILLED",
        "filled_base": D("0.05"), "filled_quote": D("2500"), "transaction_ms": created_ms, "heard_wall_ms": 1,
        "heard_exchange_ms": created_ms + 40, "source": "live", "state": "COPIED", "share": Fraction(1, 4), **changes,
    }  # fmt: skip


def a_row(copy_id: str, account: str = "anna", state: CopyState = S.PLANNED, **changes) -> dict:
    return {
        "id": copy_id, "account_id": account, "account_name": account.title(), "exchange": "bitget", "env": "demo",
        "side": "BUY", "state": state.value, "size_asset": "USDT", "updated_wall_ms": 1, **changes,
    }  # fmt: skip


def plan(journal: Journal, *copies: dict, order: dict | None = None) -> int:
    """Write a leader order and its rows, which then stand in whatever state a test wants to begin with."""

    def write(connection) -> int:
        order_id = rows.plan(connection, order or an_order(), [copy | {"state": S.PLANNED} for copy in copies])
        table = schema.copies
        for copy in copies:
            connection.execute(table.update().where(table.c.id == copy["id"]).values(state=copy["state"]))
        return order_id

    return journal.write(write)


def a_claim(copy_id: str, n: int = 1, client_order_id: str | None = None) -> rows.Claim:
    return rows.Claim(
        copy_id=copy_id,
        n=n,
        client_order_id=client_order_id or f"ctaaaa{copy_id}-{n}",
        body={"symbol": "BTCUSDT", "quoteOrderQty": "308.62"},
        key_fingerprint="0011aabb",
        timestamp_ms=1000 + n,
        recv_window_ms=3000,
        fence_ms=16_000 + n,
        inputs={
            "free_before": D("1234.56789012"),
            "balance_age_ms": 40,
            "balance_source": "pushed",
            "computed": Fraction(1, 3),
            "step": D("0.01"),
            "sent": D("308.62"),
        },
    )


def claim(journal: Journal, *claims: rows.Claim) -> set[str]:
    return journal.write(lambda connection: rows.claim(connection, claims, 5))


def move(journal: Journal, copy_id: str, target: CopyState, **values) -> bool:
    """Try every move that leads to *target*; return whether one of them did."""

    def try_all(connection) -> bool:
        causes = [cause for cause in Move if target in cause.targets]
        return any(rows.move(connection, copy_id, cause, target, 9, **values) for cause in causes)

    return journal.write(try_all)


def state_of(journal: Journal, copy_id: str = "c1") -> str:
    with journal.reading() as connection:
        return connection.execute(select(schema.copies.c.state).where(schema.copies.c.id == copy_id)).scalar()


def attempts(journal: Journal, copy_id: str = "c1") -> list:
    with journal.reading() as connection:
        return rows.attempts_of(connection, copy_id)


# --- planned once -----------------------------------------------------------------------------------------


def test_an_order_is_planned_once_and_a_second_time_leaves_no_row(journal):
    plan(journal, a_row("c1"))

    with pytest.raises(IntegrityError):
        plan(journal, a_row("c2", "bela"))

    with journal.reading() as connection:
        assert [row.id for row in connection.execute(select(schema.copies.c.id))] == ["c1"]
        assert len(list(connection.execute(select(schema.leader_orders)))) == 1


def test_an_order_id_that_is_used_again_is_another_order(journal):
    first = plan(journal, a_row("c1"))
    second = plan(journal, a_row("c2"), order=an_order(created_ms=2000))

    assert first != second
    with journal.reading() as connection:
        known = rows.known_orders(connection, "binance", "test", "1", 0)
        assert known == {("7", 1000), ("7", 2000)}
        assert rows.known_orders(connection, "binance", "test", "1", 1500) == {("7", 2000)}
        assert rows.known_orders(connection, "binance", "prod", "1", 0) == set()


def test_a_follower_has_one_row_an_order(journal):
    with pytest.raises(IntegrityError):
        plan(journal, a_row("c1"), a_row("c2"))

    with journal.reading() as connection:
        assert list(connection.execute(select(schema.leader_orders))) == []


def test_many_threads_that_plan_the_same_order_write_one_book(journal):
    outcomes = []

    def try_to_plan(number):
        try:
            plan(journal, a_row("c1"))
            outcomes.append("planned")
        except IntegrityError:
            outcomes.append("known")

    threads = [threading.Thread(target=try_to_plan, args=(n,), name=f"planner-{n}") for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["known"] * 7 + ["planned"]


# --- claimed ----------------------------------------------------------------------------------------------


def test_a_claim_is_on_disk_with_all_that_settling_needs(journal):
    plan(journal, a_row("c1"))

    assert claim(journal, a_claim("c1")) == {"c1"}

    assert state_of(journal) == S.SUBMITTING
    (attempt,) = attempts(journal)
    assert (attempt.n, attempt.client_order_id, attempt.outcome) == (1, "ctaaaac1-1", "")
    assert (attempt.timestamp_ms, attempt.recv_window_ms, attempt.fence_ms) == (1001, 3000, 16_001)
    assert attempt.body == {"symbol": "BTCUSDT", "quoteOrderQty": "308.62"}
    with journal.reading() as connection:
        (copy,) = rows.open_copies(connection)
    assert (copy.attempts, copy.sent, copy.free_before) == (1, D("308.62"), D("1234.56789012"))
    assert (copy.computed, copy.share) == (Fraction(1, 3), Fraction(1, 4))


def test_a_copy_is_claimed_once(journal):
    plan(journal, a_row("c1"))
    claim(journal, a_claim("c1"))

    for n in (1, 2):
        assert claim(journal, a_claim("c1", n)) == set()

    assert len(attempts(journal)) == 1


def test_of_a_burst_those_are_taken_that_can_be(journal):
    plan(journal, *(a_row(f"c{n}", f"account {n}") for n in range(5)))
    move(journal, "c1", S.SKIPPED)
    claim(journal, a_claim("c2"))

    taken = claim(journal, *(a_claim(f"c{n}") for n in range(5)), a_claim("unheard-of"))

    assert taken == {"c0", "c3", "c4"}
    assert [len(attempts(journal, f"c{n}")) for n in range(5)] == [1, 0, 1, 1, 1]


@pytest.mark.parametrize("state", sorted(set(S) - {S.PLANNED, S.NOT_SENT}))
def test_only_what_was_not_sent_can_be_claimed(journal, state):
    plan(journal, a_row("c1", state=state))

    assert claim(journal, a_claim("c1")) == set()
    assert state_of(journal) == state
    assert attempts(journal) == []


def test_a_second_attempt_counts_on_from_the_first_and_has_its_own_id(journal):
    plan(journal, a_row("c1"))
    claim(journal, a_claim("c1"))
    journal.write(lambda connection: rows.answered(connection, "c1", 1, "not_sent", "refused"))
    move(journal, "c1", S.NOT_SENT)
    assert claim(journal, a_claim("c1", 1)) == set()
    assert claim(journal, a_claim("c1", 3)) == set()

    assert claim(journal, a_claim("c1", 2)) == {"c1"}

    assert [(a.n, a.outcome, a.client_order_id) for a in attempts(journal)] == [
        (1, "not_sent", "ctaaaac1-1"),
        (2, "", "ctaaaac1-2"),
    ]
    with journal.reading() as connection:
        assert rows.copy_of_client_id(connection, "ctaaaac1-1").id == "c1"
        assert rows.copy_of_client_id(connection, "ctaaaac1-2").client_order_id == "ctaaaac1-2"
        assert rows.copy_of_client_id(connection, "ctaaaac9-1") is None


def test_two_copies_cannot_be_sent_under_one_client_id(journal):
    plan(journal, a_row("c1"), a_row("c2", "bela"))
    claim(journal, a_claim("c1", client_order_id="ct-same-1"))

    with pytest.raises(IntegrityError):
        claim(journal, a_claim("c2", client_order_id="ct-same-1"))

    assert state_of(journal, "c2") == S.PLANNED


def test_no_third_attempt_is_ever_claimed(journal):
    plan(journal, a_row("c1", attempts=2, state=S.NOT_SENT))

    assert claim(journal, a_claim("c1", n=3)) == set()
    assert (state_of(journal), attempts(journal)) == (S.NOT_SENT, [])


# --- moved ------------------------------------------------------------------------------------------------


def test_a_state_moves_along_the_arrows_and_no_other_way(journal):
    pairs = list(itertools.product(S, S))
    for index, (source, _) in enumerate(pairs):
        plan(journal, a_row(f"c{index}", state=source), order=an_order(str(index)))

    moved = {
        (source.value, target.value)
        for index, (source, target) in enumerate(pairs)
        if move(journal, f"c{index}", target, reason="moved")
    }

    assert moved == ARROWS
    for index, (source, target) in enumerate(pairs):
        expected = target if (source.value, target.value) in ARROWS else source
        assert state_of(journal, f"c{index}") == expected


def test_a_state_moves_for_the_reason_that_is_named_and_to_where_it_leads(journal):
    plan(journal, a_row("c1", state=S.PLANNED))

    assert not journal.write(lambda connection: rows.move(connection, "c1", Move.ABSENT, S.FAILED, 9))
    with pytest.raises(RuntimeError, match="does not lead to"):
        journal.write(lambda connection: rows.move(connection, "c1", Move.REFUSED, S.FILLED, 9))
    assert state_of(journal) == S.PLANNED
    with pytest.raises(RuntimeError, match="begins in another state"):
        journal.write(lambda connection: rows.plan(connection, an_order("8"), [a_row("c2", state=S.UNKNOWN)]))


def test_of_two_answers_the_first_counts(journal):
    plan(journal, a_row("c1"))
    claim(journal, a_claim("c1"))
    outcomes = []

    def answer(target):
        outcomes.append((target, move(journal, "c1", target)))

    threads = [threading.Thread(target=answer, args=(t,), name=t) for t in (S.REJECTED, S.FILLED, S.FAILED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # FAILED may still be corrected by FILLED: the exchange proves it wrong.
    won = [target for target, did_move in outcomes if did_move]
    assert won in ([S.REJECTED], [S.FILLED], [S.FAILED], [S.FAILED, S.FILLED])
    assert state_of(journal) == won[-1]


# --- executed ---------------------------------------------------------------------------------------------

TWO_FILLS = (fill("t1", "0.004", "200", 5, "0.000004", "BTC"), fill("t2", "0.00217", "108.62", 6, "0.0001", "BNB"))


def executed(journal, target=S.FILLED, fills=TWO_FILLS, cause=Move.EXECUTED) -> bool:
    report = order_report("ctaaaac1-1", base="0.00617", quote="308.62", fills=fills)
    return journal.write(
        lambda connection: rows.executed(
            connection, "c1", cause, target, report, 9, {"final": 12.5}, reason="", reason_kind=""
        )
    )


def test_an_execution_is_booked_once_with_every_fill(journal):
    plan(journal, a_row("c1"))
    claim(journal, a_claim("c1"))

    assert [executed(journal), executed(journal)] == [True, False]

    with journal.reading() as connection:
        found = list(connection.execute(select(schema.fills)))
        (view,) = rows.copy_views(connection, None, None, 10, None)
    assert [(row.trade_id, row.base_quantity, row.quote_amount) for row in found] == [
        ("t1", D("0.004"), D("200")),
        ("t2", D("0.00217"), D("108.62")),
    ]
    assert (view.filled_base, view.filled_quote) == (D("0.00617"), D("308.62"))
    assert view.commissions == {"BTC": D("0.000004"), "BNB": D("0.0001")}
    assert view.latency_ms == {"final": 12.5}
    assert view.exchange_order_id == "77"


def test_an_execution_that_was_thought_absent_corrects_the_row(journal):
    plan(journal, a_row("c1"))
    claim(journal, a_claim("c1"))
    move(journal, "c1", S.UNKNOWN)
    move(journal, "c1", S.FAILED, reason="never arrived")

    assert not executed(journal, S.PARTLY_FILLED, cause=Move.FOUND)
    assert executed(journal, S.PARTLY_FILLED, cause=Move.FOUND_LATE)

    assert state_of(journal) == S.PARTLY_FILLED


@pytest.mark.parametrize(
    ("side", "slippage"), [pytest.param(Side.BUY, "200", id="buy"), pytest.param(Side.SELL, "-200", id="sell")]
)
def test_slippage_is_against_the_leaders_price_and_positive_is_worse(journal, side, slippage):
    plan(journal, a_row("c1", side=side.value), order=an_order(side=side.value))  # the leader's price is 50,000
    claim(journal, a_claim("c1"))
    report = order_report("ctaaaac1-1", base="0.01", quote="510", fills_complete=True)
    journal.write(lambda connection: rows.executed(connection, "c1", Move.EXECUTED, S.FILLED, report, 9, {}))

    with journal.reading() as connection:
        (view,) = rows.copy_views(connection, None, None, 10, None)
    assert (view.average_price, view.slippage_bp) == (D(51_000), D(slippage))


def test_commissions_of_all_fills_are_added_up_by_asset():
    fills = [fill(str(n), 1, 1, 1, "0.1", "BTC") for n in range(3)] + [fill("x", 1, 1, 1, 0, "BNB")]

    assert rows.commissions(fills) == {"BTC": D("0.3")}


# --- frames -----------------------------------------------------------------------------------------------


def a_frame(key: str, wall_ms: int = 1, raw: str = "{}") -> dict:
    return rows.frame_row(key, "binance/test/1", "leader-a", wall_ms, execution("7", OrderStatus.NEW), raw)


def record(journal, *frames: dict) -> set[str]:
    return journal.write(lambda connection: rows.record_frames(connection, frames))


def test_a_frame_is_stored_once_however_often_it_comes(journal):
    assert record(journal, a_frame("a"), a_frame("b"), a_frame("a")) == {"a", "b"}
    assert record(journal, a_frame("b"), a_frame("c")) == {"c"}
    assert record(journal, a_frame("c")) == set()
    assert record(journal) == set()

    with journal.reading() as connection:
        assert [row.dedupe_key for row in rows.frames_since(connection, "binance/test/1", 0)] == ["a", "b", "c"]


def test_frames_come_back_in_the_order_of_their_arrival_and_without_a_hole_whatever_the_machines_clock_did(journal):
    for key, wall_ms in (("old", 10), ("first", 50), ("clock put back", 10), ("last", 30)):
        record(journal, a_frame(key, wall_ms))

    with journal.reading() as connection:
        since = rows.frames_since(connection, "binance/test/1", 30)
        assert [row.dedupe_key for row in since] == ["first", "clock put back", "last"]
        assert rows.frames_since(connection, "binance/test/1", 51) == []
        assert rows.frames_since(connection, "binance/test/2", 0) == []
        (row, *_) = rows.frames_since(connection, "binance/test/1", 0)
    assert (row.event_type, row.raw) == ("ExecutionReport", "{}")


# --- reading ----------------------------------------------------------------------------------------------


def test_open_copies_are_those_that_are_not_final_in_the_leaders_order(journal):
    for number in (1, 2):
        copies = [a_row(f"{number}-{state.lower()}", f"account {state}", state) for state in S]
        plan(journal, *copies, order=an_order(str(number), 1000 * number))

    with journal.reading() as connection:
        found = [row.id for row in rows.open_copies(connection)]
        counted = rows.count_states(connection)
    expected = {state.lower() for state in set(S) - FINAL_STATES}
    assert {name.partition("-")[2] for name in found} == expected
    assert [name[0] for name in found] == ["1"] * len(expected) + ["2"] * len(expected)
    assert counted == dict.fromkeys(set(S) - FINAL_STATES, 2)


@pytest.mark.parametrize("state", sorted(S))
def test_a_key_is_kept_while_anything_sent_with_it_is_unsettled(journal, state):
    plan(journal, a_row("c1", state=state))

    with journal.reading() as connection:
        assert rows.has_open_copies(connection, "anna") == (
            state in (S.SUBMITTING, S.NOT_SENT, S.ACKED, S.UNKNOWN, S.NEEDS_PERSON)
        )
        assert not rows.has_open_copies(connection, "bela")


def test_evidence_is_only_ever_appended(journal):
    plan(journal, a_row("c1"))
    for text in ("not found", "x" * 900):
        journal.write(lambda connection, text=text: rows.note(connection, "c1", 3, "lookup", text))

    with journal.reading() as connection:
        found = list(connection.execute(select(schema.evidence)))
    assert [(row.kind, len(row.text)) for row in found] == [("lookup", 9), ("lookup", 500)]


def test_evidence_of_an_unheard_of_copy_is_refused(journal):
    with pytest.raises(IntegrityError):
        journal.write(lambda connection: rows.note(connection, "nobody", 3, "lookup", "text"))


def test_paging_shows_every_copy_once_newest_order_first(journal):
    for number in range(7):
        copies = [a_row(f"{number}{letter}", f"account {letter}") for letter in "cab"]
        plan(journal, *copies, order=an_order(str(number), number))
    seen, before = [], None
    with journal.reading() as connection:
        while page := rows.copy_views(connection, None, None, 4, before):
            seen += [view.id for view in page]
            before = page[-1].id
        mine = [view.id for view in rows.copy_views(connection, "account b", None, 3, "4b")]

    assert seen == [f"{number}{letter}" for number in range(6, -1, -1) for letter in "abc"]
    assert mine == ["3b", "2b", "1b"]


def test_leader_orders_are_paged_newest_first_with_their_books(journal):
    for number in range(5):
        plan(journal, a_row(f"c{number}"), order=an_order(str(number), number))

    with journal.reading() as connection:
        page = rows.order_views(connection, rows.latest_orders(2))
        following = rows.order_views(connection, rows.latest_orders(2, page[-1].id))
    assert [order.order_id for order in page + following] == ["4", "3", "2", "1"]
    assert [copy.id for copy in page[0].copies] == ["c4"]
    assert page[0].heard_ms == 40
    assert page[0].state is LeaderOrderState.COPIED


def test_the_last_copy_of_an_account_is_its_newest(journal):
    plan(journal, a_row("old"), a_row("old-b", "bela"), order=an_order("1"))
    plan(journal, a_row("new"), order=an_order("2"))

    with journal.reading() as connection:
        assert {account: view.id for account, view in rows.last_copies(connection).items()} == {
            "anna": "new",
            "bela": "old-b",
        }


def test_a_fact_is_remembered_by_its_latest_value(journal):
    for value in ("1", "2"):
        journal.write(lambda connection, value=value: rows.remember(connection, "proof:x", value))

    with journal.reading() as connection:
        assert rows.recall(connection, "proof:x") == "2"


# --- what a person decides --------------------------------------------------------------------------------


def again(journal, copy_id: str, new_id: str, by: str = "me") -> bool:
    def write(connection):
        return rows.copy_again(connection, rows.one_copy(connection, copy_id), new_id, by, 9)

    return journal.write(write)


@pytest.mark.parametrize("state", sorted(S))
def test_only_what_was_provably_not_executed_can_be_copied_again(journal, state):
    plan(journal, a_row("c1", state=state))

    assert again(journal, "c1", "c2") == (state in (S.FAILED, S.STALE))
    assert state_of(journal, "c2") == (S.PLANNED if state in (S.FAILED, S.STALE) else None)
    assert state_of(journal) == state  # what failed stays on record


def test_a_failed_copy_is_copied_again_once(journal):
    plan(journal, a_row("c1", state=S.FAILED))

    assert again(journal, "c1", "c2")
    assert not again(journal, "c1", "c3")
    assert not journal.write(lambda connection: rows.leave(connection, "c1", "somebody else", 9))


def test_what_was_left_is_not_copied_again(journal):
    plan(journal, a_row("c1", state=S.STALE))

    assert journal.write(lambda connection: rows.leave(connection, "c1", "me", 9))
    assert not again(journal, "c1", "c2")


def test_the_copy_that_takes_a_failed_ones_place_is_the_accounts_last(journal):
    plan(journal, a_row("z-first", state=S.FAILED))
    again(journal, "z-first", "a-second")

    with journal.reading() as connection:
        assert rows.last_copies(connection)["anna"].id == "a-second"


def test_an_undecided_order_gets_its_share_once(journal):
    order_id = plan(journal, order=an_order(state="UNDECIDED", share=None))

    def decide(copy_id):
        values = {"state": LeaderOrderState.COPIED.value, "share": Fraction(1, 3)}
        rows_of = [a_row(copy_id)]
        return journal.write(lambda connection: rows.decide_share(connection, order_id, values, rows_of, "olga", 7))

    assert [decide("c1"), decide("c2")] == [True, False]
    with journal.reading() as connection:
        (view,) = rows.order_views(connection, rows.one_order(order_id))
    assert (view.share, [copy.id for copy in view.copies]) == (Fraction(1, 3), ["c1"])
    assert (view.copies[0].asked_by, view.copies[0].asked_at) == ("olga", "1970-01-01T00:00:00.007Z")
