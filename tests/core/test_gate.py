"""The gate: after `shut` has returned nothing leaves, and before it opens nothing leaves either."""

import threading

import pytest

from copytrade_core.clock import Clock
from copytrade_core.copying.gate import EVERYBODY, HALT, CopyGate
from copytrade_core.errors import NotSent
from fakes import FakeClock, prepared_order


@pytest.fixture
def gate():
    return CopyGate(FakeClock())


def writes(gate: CopyGate, account_id: str = "anna") -> bool:
    with gate.passage(prepared_order(account_id)):
        return True


def test_an_open_gate_lets_orders_through(gate):
    assert writes(gate)
    assert gate.reason("anna") is None


@pytest.mark.parametrize("key", [EVERYBODY, HALT, "anna"])
def test_a_shut_gate_refuses_before_anything_is_written(gate, key):
    gate.shut(key, "stopped", "copying was stopped")
    wrote = False

    with pytest.raises(NotSent) as refused, gate.passage(prepared_order()):
        wrote = True

    assert not wrote
    assert (refused.value.kind, refused.value.message, refused.value.retry) == ("stopped", "copying was stopped", False)
    assert gate.reason("anna") == ("stopped", "copying was stopped")


def test_one_account_is_shut_out_alone(gate):
    gate.shut("anna", "paused", "the account is paused")

    assert gate.reason("bela") is None
    assert writes(gate, "bela")


def test_each_reason_ends_by_itself(gate):
    gate.shut("anna", "paused", "the account is paused")
    gate.shut(EVERYBODY, "stopped", "copying was stopped")
    gate.shut(HALT, "halted", "the disk is full")

    assert gate.reason("anna") == ("halted", "the disk is full")
    gate.open(HALT)
    assert gate.reason("anna") == ("stopped", "copying was stopped")
    gate.open(EVERYBODY)
    assert gate.reason("anna") == ("paused", "the account is paused")
    assert writes(gate, "bela")
    gate.open("anna")
    assert writes(gate)


def test_opening_what_is_open_changes_nothing(gate):
    gate.open("anna")

    assert writes(gate)


def test_a_gate_cannot_be_opened_for_one_account_past_a_stop(gate):
    gate.shut(EVERYBODY, "stopped", "copying was stopped")
    gate.open("anna")

    with pytest.raises(NotSent):
        writes(gate)


def test_shutting_waits_for_the_order_that_is_being_written():
    gate = CopyGate(Clock())
    inside, finish, shut = threading.Event(), threading.Event(), threading.Event()
    log = []

    def write():
        with gate.passage(prepared_order()):
            inside.set()
            assert finish.wait(5)
            log.append("written")

    def stop():
        gate.shut(EVERYBODY, "stopped", "copying was stopped", wait_sec=5)
        log.append("shut")
        shut.set()

    threads = [threading.Thread(target=target, name=target.__name__) for target in (write, stop)]
    threads[0].start()
    assert inside.wait(5)
    threads[1].start()
    while gate.reason("anna") is None:  # shut for newcomers already, while the one inside is waited for
        pass
    assert not shut.is_set()
    with pytest.raises(NotSent):
        writes(gate, "bela")
    finish.set()
    for thread in threads:
        thread.join(5)

    assert log == ["written", "shut"]


def test_shutting_does_not_wait_for_ever():
    gate = CopyGate(Clock())
    passage = gate.passage(prepared_order())

    with passage:
        gate.shut(EVERYBODY, "stopped", "copying was stopped", wait_sec=0.01)

    assert gate.reason("anna") is not None


def test_nothing_is_written_after_shut_returned_however_many_threads_write():
    gate = CopyGate(Clock())
    stopped = threading.Event()
    late = []

    def write(number: int):
        while True:
            try:
                with gate.passage(prepared_order(client_order_id=f"ct{number}")):
                    if stopped.is_set():
                        late.append(number)
            except NotSent:
                return

    threads = [threading.Thread(target=write, args=(number,), name=f"writer-{number}") for number in range(8)]
    for thread in threads:
        thread.start()
    gate.shut(EVERYBODY, "stopped", "copying was stopped", wait_sec=5)
    stopped.set()
    for thread in threads:
        thread.join(5)

    assert late == []
    assert not any(thread.is_alive() for thread in threads)


def test_a_write_that_fails_does_not_keep_the_gate_from_shutting(gate):
    with pytest.raises(OSError, match="reset"), gate.passage(prepared_order()):
        raise OSError("reset")

    gate.shut(EVERYBODY, "stopped", "copying was stopped")  # would wait for ever on this standing clock


def test_when_an_order_left_is_told_once():
    clock = FakeClock()
    gate = CopyGate(clock)
    with gate.passage(prepared_order(client_order_id="ct1")):
        clock.advance(0.25)

    assert gate.left_ns("ct1") == clock.monotonic_ns()
    assert gate.left_ns("ct1") is None
    assert gate.left_ns("ct2") is None
