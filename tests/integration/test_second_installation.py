"""Two installations on one follower: whoever meets the other's orders trades no more for it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from copytrade_core import Side
from copytrade_core.accounts.others import tag_of
from copytrade_core.copying.plan import client_order_id
from copytrade_core.sim import running_simulators
from copytrade_core.views import AccountState, CopyState
from memory_exchange import MemoryExchange, closed_book, engine, keys, until
from sim_engine import engine_on

THEIRS = "ctzzzz" + "a" * 20 + "-1"


def by_name(trader, name):
    return next(account for account in trader.list_accounts() if account.name == name)


def shared_by(trader):
    """Return the follower if it was found to be shared."""
    return next((one for one in trader.list_accounts() if one.error_kind == "second_installation"), None)


def add_everybody(trader, sims, exchange):
    fields = {name: value for name, value in sims[exchange]["followers"][0].items() if name != "mode"}
    added = trader.add_account("shared", exchange, sims[exchange]["env"], fields)
    # Two at once on one key may meet the exchange's limit of questions about it.
    until(lambda: trader.get_account(added.id).state is AccountState.ACTIVE, 40)
    assert trader.set_leader("binance", sims["binance"]["env"], dict(sims["binance"]["leader"])).connected
    assert trader.start_copying()


@pytest.mark.parametrize("exchange", ["binance", "bitget"])
def test_two_engines_on_one_follower_notice_each_other(tmp_path, exchange):
    counts = {"binance_followers": int(exchange == "binance"), "bitget_followers": int(exchange == "bitget")}
    with (
        running_simulators(**counts, seed=4) as sims,
        engine_on(sims, tmp_path / "one") as one,
        engine_on(sims, tmp_path / "two") as two,
    ):
        sims.tidy()
        for trader in (one, two):
            add_everybody(trader, sims, exchange)

        sims.place("leader", side="BUY", quote=Decimal(500))

        # The quicker one's order may stop the other before that has sent its own: then only one is disabled.
        until(lambda: shared_by(one) or shared_by(two))
        for trader in (one, two):
            until(lambda t=trader: t.list_copies() and all(copy.state.is_final for copy in t.list_copies()))
        for trader in (trader for trader in (one, two) if shared_by(trader)):
            assert "another installation of copytrade" in shared_by(trader).error
            alarms = until(lambda t=trader: [event for event in t.list_feed() if event.kind == "alarm"])
            assert [alarm.data["reason_kind"] for alarm in alarms] == ["second_installation"]
        later = sims.place("leader", side="BUY", quote=Decimal(500))
        ends = [closed_book(trader, later["order_id"], 20).copies[0] for trader in (one, two)]
        assert (CopyState.SKIPPED, "second_installation") in [(copy.state, copy.reason_kind) for copy in ends]
        assert sum(copy.state is CopyState.FILLED for copy in ends) <= 1


@pytest.fixture
def world():
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1000", "0.1")
    return world


@pytest.fixture
def trader(world, tmp_path):
    with engine(world, tmp_path / "data", unknown_deadline_sec=30) as trader:
        trader.add_account("anna", "memory", "test", keys("anna"))
        trader.set_leader("memory", "test", keys("leader"))
        trader.start_copying()
        yield trader


def test_an_order_of_another_installation_on_the_stream_disables_the_follower(world, trader):
    theirs = world.fill(world.holders["anna"], Side.BUY, quote=Decimal(10), client_id=THEIRS)

    world.push("anna", *world.reports(theirs))

    until(lambda: by_name(trader, "anna").error_kind == "second_installation")
    assert "ctzzzz" in by_name(trader, "anna").error


def test_a_good_verify_lifts_it_and_what_was_before_stays_history(world, trader):
    theirs = world.fill(world.holders["anna"], Side.BUY, quote=Decimal(10), client_id=THEIRS)
    world.push("anna", *world.reports(theirs))
    until(lambda: by_name(trader, "anna").state is AccountState.DISABLED)

    assert trader.verify_account(by_name(trader, "anna").id).ok
    world.push("anna", *world.reports(theirs))
    world.skew_ms += 1000  # what the leader places in the very moment of the verify is not made up for
    order = world.leader_trades("leader", Side.BUY, quote="100")

    assert [copy.state for copy in closed_book(trader, order.exchange_order_id).copies] == [CopyState.FILLED]


@pytest.mark.parametrize(
    "client_id",
    [
        pytest.param("web-123", id="a-person"),
        pytest.param("ctzzzz" + "a" * 20, id="no-attempt"),
        pytest.param("ctzzzz" + "a" * 20 + "-3", id="no-attempt-of-ours"),
        pytest.param("ctZZZZ" + "a" * 20 + "-1", id="upper-case"),
        pytest.param("ct" + "a" * 30, id="as-long"),
    ],
)
def test_other_orders_are_their_owners_business(world, trader, client_id):
    theirs = world.fill(world.holders["anna"], Side.BUY, quote=Decimal(10), client_id=client_id)
    world.push("anna", *world.reports(theirs))
    order = world.leader_trades("leader", Side.BUY, quote="100")

    assert [copy.state for copy in closed_book(trader, order.exchange_order_id).copies] == [CopyState.FILLED]


def test_an_order_that_only_a_listing_shows_disables_it_too(world, trader, monkeypatch):
    """The stream was down when the other installation traded; proving an absence lists the account's orders."""
    from copytrade_core import OutcomeUnknown
    from copytrade_core.copying import settle

    monkeypatch.setattr(settle, "LOOKUPS_APART_SEC", 0.05)
    world.fill(world.holders["anna"], Side.BUY, quote=Decimal(10), client_id=THEIRS)

    def lost(world, holder, prepared):
        raise OutcomeUnknown("the socket closed")

    world.on_place = lost
    order = world.leader_trades("leader", Side.BUY, quote="100")

    closed_book(trader, order.exchange_order_id)
    until(lambda: by_name(trader, "anna").error_kind == "second_installation")


def test_our_ids_tell_their_tag():
    sent = client_order_id("ab2z", "q" * 20, 2)

    assert len(sent) == 28
    assert tag_of(sent) == "ab2z"
