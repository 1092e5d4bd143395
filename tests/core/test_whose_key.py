"""Whose key it is: none twice, no account twice, no leader that follows itself; and keys that change or go while a
copy is being settled."""

from __future__ import annotations

import functools
import threading

import pytest

from copytrade_core import OutcomeUnknown, Side
from copytrade_core.errors import Conflict, CopytradeError
from copytrade_core.views import AccountState, CopyState
from memory_exchange import MemoryConnector, MemoryExchange, closed_book, engine, keys, until


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    for name in ("leader", "anna", "bela"):
        world.open(name, "1000", "0.1")
    return world


@pytest.fixture
def trader(world, tmp_path):
    with engine(world, tmp_path / "data", unknown_deadline_sec=20) as trader:
        yield trader


def add(trader, name, key=None):
    return trader.add_account(name, "memory", "test", keys(key or name))


def lead(trader, key="leader"):
    return trader.set_leader("memory", "test", keys(key))


def copies_of_a_buy(world, trader):
    order = world.leader_trades("leader", Side.BUY, quote="100")
    return closed_book(trader, order.exchange_order_id).copies


def at_once(*calls):
    """Make all *calls* in the same moment; return what each returned or raised."""
    ready, done = threading.Barrier(len(calls)), []

    def run(call):
        ready.wait(10)
        try:
            done.append(call())
        except CopytradeError as error:
            done.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def together(monkeypatch, count):
    """Let the exchange's answers about *count* keys come at the same time."""
    verify, ready = MemoryConnector.verify, threading.Barrier(count)

    def verify_together(self, **options):
        check = verify(self, **options)
        ready.wait(10)
        return check

    monkeypatch.setattr(MemoryConnector, "verify", verify_together)


# --- once each ---


def test_a_key_is_taken_once(trader):
    add(trader, "anna")

    with pytest.raises(Conflict) as caught:
        add(trader, "another name", "anna")

    assert (caught.value.kind, caught.value.field) == ("duplicate_key", "api_key")
    assert [account.name for account in trader.list_accounts()] == ["anna"]


def test_a_key_that_is_entered_several_times_in_one_moment_is_taken_once(world, trader):
    done = at_once(*(functools.partial(add, trader, f"name {number}", "anna") for number in range(4)))

    assert [getattr(each, "kind", "") for each in done].count("duplicate_key") == 3
    (account,) = trader.list_accounts()
    lead(trader)
    trader.start_copying()
    assert [copy.account_id for copy in copies_of_a_buy(world, trader)] == [account.id]


def test_a_name_that_is_given_twice_in_one_moment_is_taken_once(trader):
    done = at_once(lambda: add(trader, "one name", "anna"), lambda: add(trader, "one name", "bela"))

    assert [getattr(each, "kind", "") for each in done].count("duplicate_name") == 1
    (account,) = trader.list_accounts()
    other = add(trader, "another", "bela" if account.uid == "uid-anna" else "anna")
    with pytest.raises(Conflict) as caught:
        trader.update_account(other.id, other.version, "one name")
    assert (caught.value.kind, caught.value.field) == ("duplicate_name", "name")
    assert trader.update_account(other.id, other.version, "another").name == "another"


def test_keys_of_one_account_that_are_verified_in_one_moment_make_one_follower(world, trader, monkeypatch):
    world.second_key("anna-2", of="anna")
    world.second_key("anna-3", of="anna")
    together(monkeypatch, 3)

    at_once(*(functools.partial(add, trader, name) for name in ("anna", "anna-2", "anna-3")))

    states = [(account.state, account.error_kind) for account in trader.list_accounts()]
    assert sorted(states) == [(AccountState.ACTIVE, ""), *[(AccountState.DISABLED, "duplicate_account")] * 2]


def test_an_account_that_is_made_leader_and_follower_in_one_moment_does_not_follow_itself(world, trader, monkeypatch):
    world.second_key("leader-2", of="leader")
    together(monkeypatch, 2)

    at_once(lambda: add(trader, "follower", "leader-2"), lambda: lead(trader))

    (follower,) = trader.list_accounts()
    if trader.get_leader() is None:
        assert follower.state is AccountState.ACTIVE
    else:
        assert (follower.state, follower.error_kind) == (AccountState.DISABLED, "leader_key")


def test_a_second_key_of_the_same_account_is_disabled_and_gets_no_order(world, trader):
    world.second_key("anna-2", of="anna")
    add(trader, "anna")
    second = add(trader, "anna again", "anna-2")
    lead(trader)
    trader.start_copying()

    first, other = sorted(copies_of_a_buy(world, trader), key=lambda copy: copy.account_name)

    assert (second.state, second.error_kind) == (AccountState.DISABLED, "duplicate_account")
    assert "anna" in second.error
    assert (first.state, other.state) == (CopyState.FILLED, CopyState.SKIPPED)
    assert other.reason_kind == "duplicate_account"
    assert len(world.holders["anna"].sent) == 1


# --- the leader as its own follower ---


def test_the_leaders_key_cannot_be_added_as_a_follower(trader):
    lead(trader)

    with pytest.raises(Conflict) as caught:
        add(trader, "leader")

    assert caught.value.kind == "leader_key"
    assert trader.list_accounts() == []


def test_another_key_of_the_leaders_account_is_disabled_as_a_follower(world, trader):
    world.second_key("leader-2", of="leader")
    lead(trader)

    follower = add(trader, "itself", "leader-2")

    assert (follower.state, follower.error_kind) == (AccountState.DISABLED, "leader_key")


@pytest.mark.parametrize("key", ["anna", "anna-2"], ids=["same-key", "another-key"])
def test_a_follower_cannot_become_the_leader(world, trader, key):
    world.second_key("anna-2", of="anna")
    add(trader, "anna")

    with pytest.raises(Conflict) as caught:
        lead(trader, key)

    assert caught.value.kind == "leader_key"
    assert trader.get_leader() is None


def test_a_follower_that_could_not_be_asked_when_its_account_became_the_leader_is_found_out(world, trader):
    world.holders["anna"].refused = OutcomeUnknown("no answer")
    follower = add(trader, "anna")
    assert follower.status == "CREATED"
    world.holders["anna"].refused = None
    world.second_key("anna-2", of="anna")
    lead(trader, "anna-2")

    found = trader.verify_account(follower.id)

    assert (found.ok, found.error_kind) == (False, "leader_key")
    assert trader.get_account(follower.id).state is AccountState.DISABLED


def test_a_followers_new_key_cannot_be_of_another_account(world, trader):
    account = add(trader, "anna")

    with pytest.raises(Conflict) as caught:
        trader.update_account(account.id, account.version, credentials=keys("bela"))

    assert caught.value.kind == "other_account"
    assert trader.get_account(account.id).key_fingerprint == account.key_fingerprint


# --- keys that change or go while a copy is being settled ---


@pytest.fixture
def in_doubt(world, trader):
    """A copy that was executed while its answer and all look-ups were lost; returns its account."""
    account = add(trader, "anna")
    lead(trader)
    trader.start_copying()

    def executed_and_lost(exchange, holder, prepared):
        exchange.execute(holder, prepared)
        exchange.lookups_fail = OutcomeUnknown("no answer")
        raise OutcomeUnknown("the answer was lost")

    world.on_place = executed_and_lost
    world.leader_trades("leader", Side.BUY, quote="100")
    until(lambda: trader.list_copies(state="UNKNOWN"))
    return account


def settled(trader):
    (copy,) = until(lambda: [copy for copy in trader.list_copies() if copy.state.is_final], 20)
    return copy


def test_what_a_removed_account_had_in_flight_is_settled_with_its_key_which_is_then_forgotten(world, trader, in_doubt):
    trader.remove_account(in_doubt.id)
    assert len(trader._vault.sealed()) == 1

    world.lookups_fail = None

    assert settled(trader).state is CopyState.FILLED
    until(lambda: not trader._vault.sealed())
    assert trader.list_accounts() == []


def test_a_copy_in_doubt_of_a_removed_account_is_settled_after_a_restart(world, tmp_path, trader, in_doubt):
    trader.remove_account(in_doubt.id)
    trader.close()
    world.lookups_fail = None

    with engine(world, tmp_path / "data") as again:
        assert settled(again).state is CopyState.FILLED
        until(lambda: not again._vault.sealed())


def test_a_copy_in_doubt_is_settled_after_its_accounts_key_was_changed(world, trader, in_doubt):
    world.second_key("anna-2", of="anna")

    trader.update_account(in_doubt.id, in_doubt.version, credentials=keys("anna-2"))
    assert len(trader._vault.sealed()) == 1
    world.lookups_fail = None

    assert settled(trader).state is CopyState.FILLED
    until(lambda: not trader._vault.sealed())
    assert trader.get_account(in_doubt.id).state is AccountState.ACTIVE


def test_a_copy_in_doubt_is_settled_with_the_new_key_where_the_old_one_was_deleted_at_the_exchange(
    world, trader, in_doubt
):
    world.second_key("anna-2", of="anna")
    trader.update_account(in_doubt.id, in_doubt.version, credentials=keys("anna-2"))
    del world.holders["anna"]

    world.lookups_fail = None

    assert settled(trader).state is CopyState.FILLED


def test_a_key_that_was_changed_sends_with_the_new_one(world, trader):
    account = add(trader, "anna")
    lead(trader)
    world.second_key("anna-2", of="anna")
    trader.update_account(account.id, account.version, credentials=keys("anna-2"))
    trader.start_copying()
    del world.holders["anna"]

    (copy,) = copies_of_a_buy(world, trader)

    assert copy.state is CopyState.FILLED
