"""An engine on data that was put back: it halts, says what its journal lacks, and trades when a person has seen it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

from copytrade_core import NotSent, OutcomeUnknown, Side
from copytrade_core.errors import Conflict, EngineHalted
from copytrade_core.store.archive import back_up, restore
from copytrade_core.views import CopyState
from memory_exchange import MASTER_KEY, MemoryExchange, closed_book, engine, keys, until


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1000", "0.1")
    world.open("bela", "500", "0.5")
    return world


@contextmanager
def copying(world, data_dir):
    with engine(world, data_dir) as trader:
        for name in ("anna", "bela"):
            trader.add_account(name, "memory", "test", keys(name))
        trader.set_leader("memory", "test", keys("leader"))
        trader.start_copying()
        yield trader


def trade(world, trader, quote: str = "100"):
    order = world.leader_trades("leader", Side.BUY, quote=quote)
    return closed_book(trader, order.exchange_order_id)


@pytest.fixture
def restored(world, tmp_path):
    """A data directory from a backup; one order was copied before it was made, one after."""
    with copying(world, tmp_path / "data") as trader:
        trade(world, trader)
        back_up(tmp_path / "data", tmp_path / "backup", world.now_ms())
        trade(world, trader)
    restore(tmp_path / "restored", tmp_path / "backup", world.now_ms(), MASTER_KEY)
    return tmp_path / "restored"


def asked(trader):
    """Return what has to be reconciled, once all exchanges have been asked."""
    return until(lambda: (view := trader.get_restored()) and not view.asking and view)


def halt(trader):
    return next((halt for halt in trader.status().halts if halt.kind == "restored"), None)


def test_what_was_sent_after_the_backup_is_found_and_stops_everything(world, restored):
    with engine(world, restored) as trader:
        view = asked(trader)

        assert {order.account_name for order in view.orders} == {"anna", "bela"}
        assert {order.client_order_id for order in view.orders} == {
            world.holders[name].orders[1].client_order_id for name in ("anna", "bela")
        }
        assert "2 orders of ours that it does not know (anna, bela)" in halt(trader).reason
        assert halt(trader).ends_when == "a person's `copytrade reconcile`"
        assert trader.status().running is False
        with pytest.raises(EngineHalted):
            trader.start_copying()


def test_a_person_ends_it_and_is_on_record(world, restored):
    with engine(world, restored) as trader:
        asked(trader)
        seen = trader.reconcile("olga")

        assert len(seen.orders) == 2
        assert halt(trader) is None
        assert trader.get_restored() is None
        with pytest.raises(Conflict):
            trader.reconcile("olga")
        event = until(lambda: next((event for event in trader.list_feed() if event.data.get("by") == "olga"), None))
        assert [order["exchange_order_id"] for order in event.data["orders"]] == [
            order.exchange_order_id for order in seen.orders
        ]
        assert trader.start_copying() is True
        assert {copy.state for copy in trade(world, trader).copies} == {CopyState.FILLED}


def test_the_halt_holds_over_a_restart_until_it_is_reconciled(world, restored):
    with engine(world, restored) as trader:
        asked(trader)
    with engine(world, restored) as trader:
        asked(trader)
        trader.reconcile("olga")
    with engine(world, restored) as trader:
        assert trader.get_restored() is None
        assert halt(trader) is None


def test_a_backup_that_lacks_nothing_ends_the_halt_by_itself_but_copying_stays_stopped(world, tmp_path):
    with copying(world, tmp_path / "data") as trader:
        trade(world, trader)
        back_up(tmp_path / "data", tmp_path / "backup", world.now_ms())
    restore(tmp_path / "restored", tmp_path / "backup", world.now_ms(), MASTER_KEY)

    with engine(world, tmp_path / "restored") as trader:
        until(lambda: trader.get_restored() is None)
        until(lambda: halt(trader) is None)

        assert trader.status().running is False
        assert trader.start_copying() is True


def test_an_exchange_that_does_not_answer_is_no_proof_that_nothing_is_missing(world, restored):
    world.lookups_fail = OutcomeUnknown("no answer")

    with engine(world, restored) as trader:
        view = asked(trader)

        assert view.orders == ()
        assert view.not_asked == {"anna": "no answer", "bela": "no answer"}
        assert "2 accounts could not be asked" in halt(trader).reason


def test_it_asks_again_where_there_was_no_answer(world, restored, monkeypatch):
    monkeypatch.setattr("copytrade_core.copying.reconcile.ASK_AGAIN_SEC", 0.02)
    world.lookups_fail = OutcomeUnknown("no answer")

    with engine(world, restored) as trader:
        assert asked(trader).not_asked
        world.lookups_fail = None

        assert until(lambda: trader.get_restored().orders)
        until(lambda: not trader.get_restored().not_asked)


def test_nothing_can_be_reconciled_before_all_were_asked(world, restored, monkeypatch):
    monkeypatch.setattr("copytrade_core.copying.reconcile.Reconciler._round", lambda self: 60.0)

    with engine(world, restored) as trader, pytest.raises(Conflict, match="still being asked"):
        trader.reconcile("olga")


def test_a_copy_by_a_person_that_the_backup_forgot_is_not_sent_a_second_time(world, tmp_path):
    def never_leaves(world, holder, prepared):
        raise NotSent("no connection", retry=False)

    with copying(world, tmp_path / "data") as trader:
        world.before_wire = never_leaves
        failed = trade(world, trader).copies
        back_up(tmp_path / "data", tmp_path / "backup", world.now_ms())
        world.before_wire = lambda world, holder, prepared: None
        now = trader.copy_now(failed[0].id, "olga")
        until(lambda: any(copy.id == now.id and copy.state is CopyState.FILLED for copy in trader.list_copies()))
    restore(tmp_path / "restored", tmp_path / "backup", world.now_ms(), MASTER_KEY)

    with engine(world, tmp_path / "restored") as trader:
        asked(trader)
        trader.reconcile("olga")
        trader.start_copying()

        with pytest.raises(Conflict, match="sent after the backup was made"):
            trader.copy_now(failed[0].id, "olga")
        sent = trader.copy_now(failed[1].id, "olga")  # of this one nothing was ever sent
        until(lambda: any(copy.id == sent.id and copy.state is CopyState.FILLED for copy in trader.list_copies()))

    assert [len(world.holders[copy.account_name].orders) for copy in failed] == [1, 1]


def test_an_older_vault_put_back_is_noticed(world, tmp_path):
    data_dir = tmp_path / "data"
    with copying(world, data_dir) as trader:
        shutil.copy(data_dir / "vault.json", tmp_path / "older.json")
        anna = next(account for account in trader.list_accounts() if account.name == "anna")
        trader.pause_account(anna.id)
    shutil.copy(tmp_path / "older.json", data_dir / "vault.json")

    with engine(world, data_dir) as trader:
        view = asked(trader)

        assert "an older vault was put back" in view.reason
        assert "an older vault was put back" in halt(trader).reason
        assert trader.status().running is False
        for _ in range(5):  # its revision grows past the one that was seen before
            trader.pause_account(trader.list_accounts()[0].id)
    with engine(world, data_dir) as trader:
        asked(trader)
        trader.reconcile("olga")
        assert halt(trader) is None
    with engine(world, data_dir) as trader:
        assert halt(trader) is None


def test_a_vault_that_only_grew_is_no_alarm(world, tmp_path):
    with copying(world, tmp_path / "data") as trader:
        trade(world, trader)
    with engine(world, tmp_path / "data") as trader:
        assert trader.status().halts == ()
        assert trader.get_restored() is None
        assert trader.status().running is True
