"""What changed since somebody last looked: the news of a thousand accounts without the thousand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from copytrade_core.accounts.changes import Changes
from copytrade_core.errors import InvalidRequest, NotFound
from copytrade_core.model import AccountId
from memory_exchange import MemoryExchange, engine, keys, until
from sim_engine import copying

ANNA, BEN = AccountId("anna"), AccountId("ben")


def test_only_what_changed_after_the_number_is_told():
    changes = Changes()
    changes.note(ANNA)
    number, *_ = changes.since(0)
    changes.note(BEN)

    newer, changed, removed = changes.since(number)

    assert (changed, removed) == ({BEN}, ())
    assert changes.since(newer) == (newer, frozenset(), ())


def test_a_removed_account_is_told_as_removed_even_when_a_late_figure_of_it_comes():
    changes = Changes()
    changes.note(ANNA)
    number, *_ = changes.since(0)
    changes.note_removed(ANNA)
    changes.note(ANNA)

    _, changed, removed = changes.since(number)

    assert (changed, removed) == (frozenset(), (ANNA,))


def test_what_a_burst_changed_is_told_in_portions_until_all_of_it_was():
    changes = Changes()
    changes.note(AccountId("before"))
    number, *_ = changes.since(0)
    burst = [AccountId(f"account-{each}") for each in range(25)]
    for each in burst:
        changes.note(each)

    portions = []
    while True:
        number, changed, _ = changes.since(number, limit=10)
        if not changed:
            break
        portions.append(changed)

    assert [len(each) for each in portions] == [10, 10, 5]
    assert frozenset().union(*portions) == set(burst)


@pytest.mark.slow
def test_an_engine_tells_of_balances_pauses_copies_and_removals(tmp_path):
    with copying(tmp_path / "data", binance=2, bitget=0, tidy=True) as setup:
        trader = setup.trader
        first = trader.list_changes()
        assert {account.name for account in first.accounts} == {"binance 1", "binance 2"}
        one = first.accounts[0].id

        trader.pause_account(one)
        paused = until(lambda: next((a for a in trader.list_changes(first.number).accounts if a.paused), None))
        assert paused.id == one

        number = trader.list_changes(first.number).number
        order_id = setup.leader_buys("1000")
        setup.book(order_id)

        def copied():
            news = {account.id: account for account in trader.list_changes(number).accounts}
            other = news.get(first.accounts[1].id)
            return other if other and other.last_copy and other.last_copy.state.is_final else None

        other = until(copied)
        assert other.last_copy.sent > Decimal(0)
        assert other.last_copy == trader.get_account(other.id).last_copy

        number = trader.list_changes(number).number
        trader.remove_account(one)
        assert until(lambda: trader.list_changes(number).removed) == (one,)
        assert one not in {account.id for account in trader.list_changes().accounts}


@pytest.mark.slow
def test_events_and_copies_are_read_without_their_rows_or_by_their_event(tmp_path):
    with copying(tmp_path / "data", binance=2, bitget=0, tidy=True) as setup:
        setup.book(setup.leader_buys("1000"))
        book = setup.book(setup.leader_sells("0.01"))
        trader = setup.trader

        (bare,) = trader.list_events(limit=1, with_copies=False)

        assert bare.id == book.id
        assert bare.copies == ()
        assert bare.counts() == book.counts() == trader.get_event(book.id, with_copies=False).counts()
        assert {copy.id for copy in trader.list_copies(event_id=book.id)} == {copy.id for copy in book.copies}
        assert trader.list_copies(undecided=True) == []
        assert trader.status(with_followers=False).followers == ()
        assert len(trader.status().followers) == 2


def test_accounts_are_listed_in_parts_and_found_by_name_and_state(tmp_path):
    world = MemoryExchange()
    names = [f"Zweite {number}" if number % 2 else f"erste {number}" for number in range(5)]
    for number in range(5):
        world.open(f"key-{number}", "1000", "1")
    with engine(world, tmp_path / "data") as trader:
        ids = [trader.add_account(name, "memory", "test", keys(f"key-{n}")).id for n, name in enumerate(names)]
        trader.pause_account(ids[3])

        assert [account.id for account in trader.list_accounts()] == ids
        assert [account.id for account in trader.list_accounts(limit=2)] == ids[:2]
        assert [account.id for account in trader.list_accounts(limit=2, after=ids[1])] == ids[2:4]
        assert trader.list_accounts(limit=2, after=ids[4]) == []
        assert [account.id for account in trader.list_accounts(name="zweite")] == [ids[1], ids[3]]
        assert [account.id for account in trader.list_accounts(state="PAUSED")] == [ids[3]]
        assert [account.id for account in trader.list_accounts(state="ACTIVE", name="ZWEI")] == [ids[1]]
        with pytest.raises(InvalidRequest, match="ACTIVE"):
            trader.list_accounts(state="SLEEPING")
        for limit in (0, -1, 1001):
            with pytest.raises(InvalidRequest):
                trader.list_accounts(limit=limit)

        trader.remove_account(ids[1])

        with pytest.raises(NotFound, match="begin the list anew"):  # rather than an end that is none
            trader.list_accounts(limit=2, after=ids[1])
