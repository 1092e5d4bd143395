"""Two who open and shut the same gate at once: whoever comes last, what is paused or halted stays shut."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from copytrade_core import Side
from copytrade_core.copying.gate import HALT
from copytrade_core.errors import Conflict, VaultError
from copytrade_core.leader import gaps
from copytrade_core.views import AccountState, CopyState, LeaderOrderState
from memory_exchange import MemoryExchange, closed_book, engine, keys, until


@pytest.fixture
def world():
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1000", "0.5")
    return world


@pytest.fixture
def trader(world, tmp_path):
    with engine(world, tmp_path / "data") as trader:
        trader.add_account("anna", "memory", "test", keys("anna"))
        assert trader.set_leader("memory", "test", keys("leader")).connected
        trader.start_copying()
        yield trader


class Overtaken:
    """A gate whose next opening is overtaken by *other*, which has all the time it can use."""

    def __init__(self, gate, monkeypatch, other) -> None:
        self.other = threading.Thread(target=other)
        self._open, self._was_asked = gate.open, False
        monkeypatch.setattr(gate, "open", self)

    def __call__(self, key) -> None:
        if not self._was_asked:
            self._was_asked = True
            self.other.start()
            self.other.join(0.5)
        self._open(key)

    def end(self) -> None:
        self.other.join(5)
        assert self._was_asked
        assert not self.other.is_alive()


def test_a_pause_that_overtakes_a_resume_keeps_the_account_shut(trader, monkeypatch):
    (anna,) = trader.list_accounts()
    trader.pause_account(anna.id)
    overtaken = Overtaken(trader._gate, monkeypatch, lambda: trader.pause_account(anna.id))

    trader.resume_account(anna.id)

    overtaken.end()
    assert trader.get_account(anna.id).state is AccountState.PAUSED
    assert trader._gate.reason(anna.id) is not None


def test_a_pause_that_a_later_change_overtakes_answers_when_the_account_is_shut(trader, monkeypatch):
    (anna,) = trader.list_accounts()
    service, vault = trader._accounts, trader._vault
    update = vault.update_account

    def overtaken(account_id, version, *credentials, **changes):
        paused = update(account_id, version, *credentials, **changes)
        if changes.get("paused"):
            monkeypatch.setattr(vault, "update_account", update)
            later = update(account_id, None, name="anne")
            # Somebody else, who has come as far as this and not yet to the gate.
            with service._lock:
                service._followers[anna.id] = replace(service.find(anna.id), record=later)
        return paused

    monkeypatch.setattr(vault, "update_account", overtaken)

    trader.pause_account(anna.id)

    assert trader._gate.reason(anna.id) is not None


def test_a_halt_that_begins_while_another_ends_keeps_everything_shut(trader, monkeypatch):
    halts = trader._halts
    halts.begin("one", "the first fault", "its end")
    overtaken = Overtaken(trader._gate, monkeypatch, lambda: halts.begin("two", "the second fault", "its end"))

    halts.end("one")

    overtaken.end()
    assert [halt.kind for halt in halts.all()] == ["two"]
    assert trader._gate.reason("anybody") is not None
    halts.end("two")
    assert trader._gate.reason("anybody") is None
    assert HALT not in trader._gate._shut


@pytest.mark.parametrize(
    ("press", "reason_kind"),
    [
        (lambda trader, anna: trader.stop_copying(), "copying_stopped"),
        (lambda trader, anna: trader.pause_account(anna), "paused"),
    ],
    ids=["stop", "pause"],
)
def test_a_stop_or_a_pause_holds_where_it_cannot_be_remembered(world, trader, tmp_path, press, reason_kind):
    (anna,) = trader.list_accounts()
    vault = tmp_path / "data" / "vault.json"
    kept = vault.read_bytes()
    vault.write_bytes(kept + b" ")  # somebody else's hand: from here on it is not written any more
    with pytest.raises(VaultError):
        press(trader, anna.id)

    order = world.leader_trades("leader", Side.BUY, quote="1000")

    book = closed_book(trader, order.exchange_order_id)
    assert [each.reason_kind for each in (book, *book.copies)][-1] == reason_kind
    assert world.holders["anna"].sent == []


def refuse(*_, **__):
    raise VaultError("the vault cannot be written")


def test_a_stop_that_could_not_be_remembered_is_taken_back_by_a_start(world, trader, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(trader._vault, "set_copying", refuse)
        with pytest.raises(VaultError):
            trader.stop_copying()
    assert not trader.status().running
    while_stopped = world.leader_trades("leader", Side.BUY, quote="1000")
    ignored = closed_book(trader, while_stopped.exchange_order_id)

    assert trader.start_copying()

    order = world.leader_trades("leader", Side.BUY, quote="1000")
    (copy,) = closed_book(trader, order.exchange_order_id).copies
    assert copy.state is CopyState.FILLED
    assert (ignored.state, ignored.copies) == (LeaderOrderState.IGNORED, ())


def test_what_was_placed_during_a_stop_that_could_not_be_remembered_is_not_copied_when_it_is_found_later(
    world, trader, monkeypatch
):
    monkeypatch.setattr(gaps, "PROOF_SEC", 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(trader._vault, "set_copying", refuse)
        with pytest.raises(VaultError):
            trader.stop_copying()
    for stream in world.streams:
        stream.is_silent = True
    until(lambda: not trader.get_leader().connected)
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    until(lambda: world.now_ms() > order.created_ms + 50)
    trader.start_copying()
    for stream in world.streams:
        stream.is_silent = False

    assert closed_book(trader, order.exchange_order_id).state is LeaderOrderState.IGNORED
    assert world.holders["anna"].sent == []


def test_a_pause_that_could_not_be_remembered_outlasts_what_else_changes_the_account(world, trader, monkeypatch):
    (anna,) = trader.list_accounts()
    with monkeypatch.context() as patch:
        patch.setattr(trader._vault, "update_account", refuse)
        with pytest.raises(VaultError):
            trader.pause_account(anna.id)
    trader.verify_account(anna.id)
    order = world.leader_trades("leader", Side.BUY, quote="1000")
    (copy,) = closed_book(trader, order.exchange_order_id).copies
    assert (copy.state, copy.reason_kind) == (CopyState.SKIPPED, "paused")

    trader.resume_account(anna.id)

    order = world.leader_trades("leader", Side.BUY, quote="1000")
    (copy,) = closed_book(trader, order.exchange_order_id).copies
    assert copy.state is CopyState.FILLED


def test_no_share_is_spent_on_a_stop_that_could_not_be_remembered(trader, monkeypatch):
    monkeypatch.setattr(trader._vault, "set_copying", refuse)
    with pytest.raises(VaultError):
        trader.stop_copying()

    with pytest.raises(Conflict) as caught:
        trader._decisions.share(None, None, None, "a test")
    assert caught.value.kind == "copying_stopped"
