"""The closed book: one row for each follower, the same after any restart, and ids that tell outsiders nothing."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.accounts.service import Follower
from copytrade_core.copying.plan import (
    Decision,
    Leader,
    client_order_id,
    copy_id_again,
    copy_id_of,
    copy_rows,
    order_row,
)
from copytrade_core.leader.fold import Fold
from copytrade_core.model import AccountId, Environment, OrderStatus, Side, Symbol
from copytrade_core.store.vault import AccountRecord, Disabled
from copytrade_core.views import CopyState, LeaderOrderState
from fakes import BTC_USDT, TEST, D, FakeClock, execution

SECRET = bytes(range(32))
LEADER = Leader(exchange="binance", environment=TEST, uid="4711")
COPIED = Decision(
    state=LeaderOrderState.COPIED,
    share=Fraction(1, 4),
    balance_asset="USDT",
    balance_before=D(10_000),
    balance_how="latest",
)


def leader_order(order_id: str = "7", *, created_ms: int = 1000, side: Side = Side.BUY):
    report = execution(
        order_id, OrderStatus.FILLED, base="0.05", quote=2500, created_ms=created_ms, time_ms=created_ms + 3, side=side
    )
    return Fold().report(report, 5, 0).order


def follower(name: str = "anna", **changes) -> Follower:
    record = AccountRecord(
        id=AccountId(name), name=name.title(), exchange="bitget", environment=Environment.DEMO, status="VERIFIED"
    )
    return Follower(record=replace(record, **changes), opened=SimpleNamespace(), connector=SimpleNamespace())


IDENTITY = ("7", 1000)  # order id, creation time
TOO_OLD = ("too_old", "it was 61 s old")


def rows(*followers: Follower, side: Side = Side.BUY, late: tuple[str, str] | None = None):
    return copy_rows(SECRET, LEADER, BTC_USDT, IDENTITY, side, late, followers, FakeClock())


def test_every_follower_has_exactly_one_row():
    followers = [
        follower("active"),
        follower("paused", paused=True),
        follower("disabled", disabled=Disabled(kind="invalid_key", message="the exchange refused the key", since_ms=0)),
        follower("new", status="CREATED"),
        follower("resumed", resumed_ms=1000),
    ]

    found = {row["account_id"]: (row["state"], row["reason_kind"]) for row in rows(*followers)}

    assert found == {
        "active": ("PLANNED", ""),
        "paused": ("SKIPPED", "paused"),
        "disabled": ("SKIPPED", "invalid_key"),
        "new": ("SKIPPED", "not_verified"),
        "resumed": ("SKIPPED", "before_resumed"),
    }
    assert all(row["reason"] for row in rows(*followers) if row["state"] != "PLANNED")
    assert len({row["id"] for row in rows(*followers)}) == 5


def test_a_refusal_of_the_exchange_hides_a_pause():
    (row,) = rows(
        follower(paused=True, disabled=Disabled(kind="ip_not_allowed", message="not from this address", since_ms=0))
    )

    assert row["reason_kind"] == "ip_not_allowed"


@pytest.mark.parametrize(
    ("resumed_ms", "state"),
    [pytest.param(999, "PLANNED", id="before-it"), pytest.param(1000, "SKIPPED", id="in-its-millisecond"),
     pytest.param(1001, "SKIPPED", id="after-it")],
)  # fmt: skip
def test_an_order_that_was_placed_before_a_follower_was_resumed_is_never_copied_to_it(resumed_ms, state):
    (row,) = rows(follower(resumed_ms=resumed_ms))  # the order was created at 1000 and filled at 1003

    assert row["state"] == state


def test_a_stale_order_has_stale_rows_but_a_paused_follower_is_skipped():
    active, paused = rows(follower("active"), follower("paused", paused=True), late=TOO_OLD)

    assert (active["state"], active["reason_kind"], active["reason"]) == ("STALE", "too_old", "it was 61 s old")
    assert paused["state"] == CopyState.SKIPPED


@pytest.mark.parametrize(("side", "asset"), [(Side.BUY, "USDT"), (Side.SELL, "BTC")])
def test_a_buy_is_sized_in_quote_and_a_sale_in_base(side, asset):
    (row,) = rows(follower(), side=side)

    assert (row["side"], row["size_asset"]) == (side.value, asset)


def test_without_followers_the_book_is_empty():
    assert rows() == []


def test_the_order_row_keeps_all_that_the_decision_stood_on():
    decision = replace(COPIED, estimates={"latest": "10000"})

    row = order_row(LEADER, BTC_USDT, leader_order(), decision, 123, 1050)

    assert row == {
        "exchange": "binance", "env": "test", "leader_uid": "4711", "symbol": "BTC/USDT", "order_id": "7",
        "created_ms": 1000, "client_order_id": "web7", "side": "BUY", "order_type": "MARKET", "status": "FILLED",
        "filled_base": D("0.05"), "filled_quote": 2500, "transaction_ms": 1003, "heard_wall_ms": 123,
        "heard_exchange_ms": 1050, "source": "live", "state": "COPIED", "reason_kind": "", "reason": "",
        "balance_asset": "USDT", "balance_before": 10_000, "balance_how": "latest",
        "estimates": {"latest": "10000"}, "share": Fraction(1, 4), "gap_id": None,
    }  # fmt: skip


# --- ids --------------------------------------------------------------------------------------------------


def an_id(secret=SECRET, leader=LEADER, symbol=BTC_USDT, identity=IDENTITY, account="anna") -> str:
    return copy_id_of(secret, leader, symbol, identity, account)


def test_an_id_is_the_same_after_any_restart():
    # Pinned: a change of the recipe would let a restarted engine copy an order a second time under a new id.
    assert an_id() == "7ldlrm35zqpywqvfttpd"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"secret": bytes(32)}, id="another-installation"),
        pytest.param({"leader": replace(LEADER, exchange="bitget")}, id="another-exchange"),
        pytest.param({"leader": replace(LEADER, environment=Environment.PROD)}, id="another-environment"),
        pytest.param({"leader": replace(LEADER, uid="4712")}, id="another-leader"),
        pytest.param({"symbol": Symbol("ETH", "USDT")}, id="another-symbol"),
        pytest.param({"identity": ("8", 1000)}, id="another-order"),
        pytest.param({"identity": ("7", 1001)}, id="an-order-id-used-again"),
        pytest.param({"account": "bela"}, id="another-follower"),
    ],
)
def test_everything_that_makes_a_copy_another_one_changes_its_id(changed):
    assert an_id(**changed) != an_id()


def test_neighbouring_fields_cannot_be_shifted_into_each_other():
    one = an_id(identity=("71", 5))
    other = an_id(identity=("7", 15))

    assert one != other


@given(
    uid=st.text(min_size=1, max_size=20),
    order_id=st.text(string.digits, min_size=1, max_size=20),
    account=st.uuids().map(str),
    attempt=st.sampled_from([1, 2]),
    tag=st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=4, max_size=4),
)
def test_a_client_order_id_is_one_that_every_exchange_takes(uid, order_id, account, attempt, tag):
    copy_id = copy_id_of(SECRET, replace(LEADER, uid=uid), BTC_USDT, (order_id, 1000), account)
    sent = client_order_id(tag, copy_id, attempt)

    assert re.fullmatch(r"[a-z2-7]{20}", copy_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", sent)
    assert sent == f"ct{tag}{copy_id}-{attempt}"
    assert account not in sent
    assert client_order_id(tag, copy_id, 3 - attempt) != sent


def test_a_copy_that_takes_a_failed_ones_place_has_an_id_of_its_own_the_same_after_any_restart():
    again = [copy_id_again(SECRET, an_id(), ordinal) for ordinal in (2, 3)]

    assert len({an_id(), *again}) == 3
    assert again == [copy_id_again(SECRET, an_id(), ordinal) for ordinal in (2, 3)]
    assert all(re.fullmatch(r"[a-z2-7]{20}", copy_id) for copy_id in again)
    assert copy_id_again(bytes(32), an_id(), 2) not in again


def test_a_leader_is_named_by_exchange_environment_and_account():
    assert LEADER.label == "binance/test/4711"
