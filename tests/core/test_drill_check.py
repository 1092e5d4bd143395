"""A drill that finds nothing proves something only if it finds what is there."""

from __future__ import annotations

import copy

import pytest

from copytrade_core.cli.drill_check import Round, findings, secrets_in, signatures_in

TAG = "abcd"
T0 = 1_795_000_000_000
COPY = "k" * 20
ORDER = {
    "order_id": "9", "client_order_id": "web", "symbol": "BTCUSDT", "side": "BUY", "type": "MARKET",
    "executed_base": "0.01", "executed_quote": "640", "free_base_before": "1", "free_quote_before": "1000",
    "sent_quantity": None, "sent_quote": "640", "created_ms": T0 + 1000, "updated_ms": T0 + 1000,
}  # fmt: skip
PLACED = {
    **ORDER, "order_id": "77", "client_order_id": f"ct{TAG}{COPY}-1", "executed_base": "0.005", "executed_quote": "320",
    "free_quote_before": "500", "sent_quote": "320.00000000", "created_ms": T0 + 1200,
}  # fmt: skip
ROW = {
    "id": COPY, "account": "Anna", "exchange": "binance", "state": "FILLED", "reason": "", "reason_kind": "",
    "asked_by": "",
    "free_before": "500", "sent": "320", "filled_base": "0.005", "filled_quote": "320",
    "client_order_id": f"ct{TAG}{COPY}-1", "attempts": 1,
}  # fmt: skip
BOOK = {
    "order_id": "9",
    "t": "2026-11-18T11:06:41+00:00",
    "type": "BUY",
    "state": "COPIED",
    "reason": "",
    "share": "16/25",
    "copies": [ROW],
}
REQUEST = {
    "t_ms": T0 + 1100, "account": "binance-1", "name": "order.place",
    "client_order_id": f"ct{TAG}{COPY}-1", "status": 200,
}  # fmt: skip


@pytest.fixture
def stage():
    """A round in which all is well: one leader order, one follower, one copy."""
    leader = {"id": "leader", "exchange": "binance", "orders": [ORDER]}
    follower = {"id": "binance-1", "exchange": "binance", "orders": [PLACED]}
    return copy.deepcopy(
        {
            "books": [BOOK],
            "truth": {"accounts": {"leader": leader, "binance-1": follower}},
            "requests": [REQUEST],
            "this": Round(began_ms={"binance": T0}, accounts={"binance-1": "Anna"}),
        }
    )


def look(stage):
    return findings(stage["books"], stage["truth"], stage["requests"], stage["this"], TAG)


def placed(stage):
    return stage["truth"]["accounts"]["binance-1"]["orders"]


def row(stage):
    return stage["books"][0]["copies"][0]


def test_a_sound_round_has_no_findings(stage):
    assert look(stage) == []


def test_a_doubled_order_is_found_whichever_attempt_it_was(stage):
    placed(stage).append({**PLACED, "order_id": "78", "client_order_id": f"ct{TAG}{COPY}-2"})

    assert any("DOUBLED" in each for each in look(stage))


def test_a_doubled_order_is_found_when_a_person_asked_for_the_second(stage):
    again = "j" * 20
    stage["books"][0]["copies"].append({**ROW, "id": again, "asked_by": "drill"})
    placed(stage).append({**PLACED, "order_id": "78", "client_order_id": f"ct{TAG}{again}-1"})

    assert any("DOUBLED" in each for each in look(stage))


@pytest.mark.parametrize("state", ["FAILED", "STALE", "SKIPPED", "REJECTED"])
def test_an_executed_order_whose_row_says_otherwise_is_found(stage, state):
    row(stage).update(state=state, reason="it never arrived")

    assert any("LOST" in each for each in look(stage))


def test_a_fill_that_the_exchange_does_not_know_is_found(stage):
    placed(stage).clear()

    assert any("executed nothing" in each for each in look(stage))


def test_a_leader_order_without_a_decision_is_found(stage):
    stage["books"].clear()

    assert any("no recorded decision" in each for each in look(stage))


def test_a_follower_without_a_row_and_a_row_that_never_ends_are_found(stage):
    row(stage).update(state="UNKNOWN")
    assert any("still UNKNOWN" in each for each in look(stage))

    stage["books"][0]["copies"].clear()
    placed(stage).clear()
    assert any("has 0 rows" in each for each in look(stage))


@pytest.mark.parametrize("sent", ["320.00000001", "319.99999999", "3.2"])
def test_a_wrong_size_is_found_to_the_last_digit(stage, sent):
    placed(stage)[0]["sent_quote"] = sent
    row(stage)["sent"] = sent

    assert any("WRONG SIZE" in each for each in look(stage))


def test_a_size_of_another_balance_is_found_unless_others_touched_it(stage):
    placed(stage)[0]["free_quote_before"] = "510"
    assert any("WRONG BALANCE" in each for each in look(stage))

    stage["this"].touched.add("binance-1")
    assert look(stage) == []


def test_an_order_that_was_held_up_is_sized_by_what_was_free_when_it_arrived(stage):
    """Behind it the other side went on, and changed what was free when it was executed at last."""
    other = {**PLACED, "order_id": "76", "client_order_id": f"ct{TAG}{'j' * 20}-1", "side": "SELL"}
    placed(stage).append(other | {"created_ms": T0 + 1150, "free_quote_before": "500"})
    placed(stage)[0]["free_quote_before"] = "900"
    stage["books"].append({**BOOK, "order_id": "8", "copies": [{**ROW, "id": "j" * 20}]})
    assert look(stage) == []

    placed(stage)[1]["free_quote_before"] = "510"
    assert any("WRONG BALANCE" in each for each in look(stage))


def test_an_order_whose_answer_was_late_is_not_held_against_what_came_behind_it(stage):
    """A request is noted with its answer."""
    stage["requests"][0]["t_ms"] = T0 + 1210
    placed(stage).append({**PLACED, "order_id": "78", "client_order_id": "web", "created_ms": T0 + 1220})
    placed(stage)[1]["free_quote_before"] = "180"

    assert look(stage) == []


def test_a_wrong_share_is_found(stage):
    stage["truth"]["accounts"]["leader"]["orders"][0]["free_quote_before"] = "2000"

    assert any("the share was" in each for each in look(stage))


def test_an_order_of_ours_that_no_book_knows_is_found(stage):
    placed(stage).append({**PLACED, "client_order_id": f"ct{TAG}{'x' * 20}-1"})

    assert any("no book knows" in each for each in look(stage))


def test_what_was_sent_while_stopped_or_paused_is_found(stage):
    stage["this"].stopped_ms.append((T0, T0 + 2000))
    assert any("STOPPED" in each for each in look(stage))

    stage["this"].stopped_ms.clear()
    stage["this"].paused_ms.append(("binance-1", T0, T0 + 2000))
    assert any("PAUSED" in each for each in look(stage))

    stage["requests"][0]["name"] = "order.status"  # asking is no sending
    assert look(stage) == []


def test_an_order_of_an_earlier_round_that_is_executed_later_is_found(stage):
    leaders = stage["truth"]["accounts"]["leader"]["orders"]
    stage["this"].began_ms = {"binance": T0 + 60_000}  # another round: the leader's order is none of it
    assert look(stage) == []

    placed(stage).append({**PLACED, "order_id": "78", "client_order_id": f"ct{TAG}{COPY}-2"})
    assert any("DOUBLED" in each for each in look(stage))

    placed(stage).pop()
    row(stage).update(state="FAILED", reason="it never arrived")
    assert any("LOST" in each for each in look(stage))
    assert leaders[0]["created_ms"] < T0 + 60_000


def test_an_order_whose_id_was_used_before_needs_a_book_of_its_own(stage):
    """A test network that begins anew uses its order ids again."""
    stage["books"][0]["t"] = "2026-11-18T11:00:00+00:00"

    assert any("no recorded decision" in each for each in look(stage))


def test_an_order_that_was_ignored_while_copying_was_on_is_found(stage):
    stage["books"][0].update(state="IGNORED", reason="it was placed while copying was stopped", share=None, copies=[])
    placed(stage).clear()
    assert any("though copying was on" in each for each in look(stage))

    stage["this"].stopped_ms.append((T0, T0 + 2000))
    stage["requests"].clear()
    assert look(stage) == []


@pytest.mark.parametrize("state", ["UNDECIDED", "IGNORED"])
def test_a_decision_without_a_reason_is_found(stage, state):
    stage["books"][0].update(state=state, reason="", share=None, copies=[])
    placed(stage).clear()

    assert any(f"{state} without a reason" in each for each in look(stage))


def test_a_copy_that_was_skipped_as_paused_though_nobody_paused_is_found(stage):
    row(stage).update(state="SKIPPED", reason_kind="paused", reason="the account is paused", sent=None)
    placed(stage).clear()
    assert any("though nobody paused it" in each for each in look(stage))

    stage["this"].paused_ms.append(("binance-1", T0, T0 + 2000))
    stage["requests"].clear()
    assert look(stage) == []


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/v3/order?symbol=BTCUSDT&signature=" + "0f" * 32,
        '{"ACCESS-SIGN": "' + "aB3/" * 10 + 'aB0="}',
        '"signature":"' + "0f" * 32 + '"',
    ],
)
def test_a_signature_in_a_file_is_found(text):
    assert len(signatures_in(text)) == 1


def test_what_only_speaks_of_signatures_is_none():
    assert signatures_in("the exchange refused the signature: check the secret; signature=***") == []


def test_a_secret_in_a_file_is_found_and_not_repeated():
    assert secrets_in("api_secret=planted-secret-0815", ["planted-secret-0815"]) == ["plan..."]
    assert secrets_in("nothing", ["planted-secret-0815"]) == []
