"""Two who open and shut the same gate at once: whoever comes last, what is paused or halted stays shut."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from copytrade_core.copying.gate import HALT
from copytrade_core.views import AccountState
from memory_exchange import MemoryExchange, engine, keys


@pytest.fixture
def trader(tmp_path):
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1000", "0.5")
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
