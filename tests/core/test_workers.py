"""Threads with an owner: what is posted runs in order on one thread, and a death is never silent."""

from __future__ import annotations

import logging
import queue
import threading

import pytest

from copytrade_core.clock import Clock
from copytrade_core.workers import Mailbox, Ticker
from fakes import FakeClock

NOBODY = lambda name, error: None  # noqa: E731


@pytest.fixture
def mailbox():
    """A mailbox on the machine's clock; it must still be alive and end in time when its test is over."""
    deaths = []
    box = Mailbox("box", Clock(), lambda name, error: deaths.append((name, error)))
    yield box
    box.stop(5)
    assert deaths == []
    assert "box" not in {thread.name for thread in threading.enumerate()}


def test_what_is_posted_runs_in_order_on_the_mailboxes_own_thread(mailbox):
    ran = []
    mailbox.start()
    for number in range(1000):
        mailbox.post(lambda number=number: ran.append((number, threading.current_thread().name)))

    assert mailbox.call(lambda: len(ran)) == 1000
    assert ran == [(number, "box") for number in range(1000)]


def test_what_is_posted_before_the_start_is_not_lost(mailbox):
    ran = []
    mailbox.post(ran.append, 1)
    mailbox.start()

    mailbox.call(lambda: None)
    assert ran == [1]


def test_after_each_batch_comes_its_work(mailbox):
    batches = queue.Queue()
    waiting = []
    started, go = threading.Event(), threading.Event()

    def flush():
        batches.put(list(waiting))
        waiting.clear()

    mailbox.start(after_each_batch=flush)
    mailbox.post(lambda: (started.set(), go.wait(5)))
    assert started.wait(5)
    for number in range(3):
        mailbox.post(waiting.append, number)
    go.set()

    assert batches.get(timeout=5) == [0, 1, 2]


def test_what_a_call_raises_is_raised_to_its_caller_and_kills_nobody(mailbox):
    mailbox.start()

    with pytest.raises(ZeroDivisionError):
        mailbox.call(lambda: 1 / 0)
    assert mailbox.call(lambda: "alive") == "alive"


def test_a_call_does_not_wait_for_ever(mailbox):
    mailbox.start()
    go = threading.Event()
    mailbox.post(lambda: go.wait(5))

    with pytest.raises(TimeoutError, match="box"):
        mailbox.call(lambda: None, timeout_sec=0.01)
    go.set()


def test_timers_run_when_they_are_due_in_the_order_of_their_times():
    clock, ran = FakeClock(), []
    mailbox = Mailbox("box", clock, NOBODY)
    mailbox.start()

    def set_timers():
        for delay in (3, 1, 2, 1):
            mailbox.later(delay, ran.append, delay)

    mailbox.call(set_timers)
    clock.advance(1)
    mailbox.call(lambda: None)  # it looks at its timers after each batch
    mailbox.call(lambda: None)
    assert ran == [1, 1]
    clock.advance(5)
    mailbox.call(lambda: None)
    mailbox.call(lambda: None)
    assert ran == [1, 1, 2, 3]
    mailbox.stop(5)


def test_a_timer_wakes_a_mailbox_that_nobody_writes_to(mailbox):
    rang = threading.Event()
    mailbox.start()
    mailbox.call(lambda: mailbox.later(0.01, rang.set))

    assert rang.wait(5)


def test_stopping_runs_what_was_posted_and_drops_the_timers():
    ran = []
    mailbox = Mailbox("box", Clock(), NOBODY)
    mailbox.start()
    mailbox.call(lambda: mailbox.later(3600, ran.append, "timer"))
    for number in range(100):
        mailbox.post(ran.append, number)

    mailbox.stop(5)

    assert ran == list(range(100))


def test_a_mailbox_that_never_started_can_be_stopped():
    Mailbox("box", Clock(), NOBODY).stop(1)
    Ticker("tick", Clock(), NOBODY, lambda: 1).stop(1)


@pytest.mark.parametrize("where", ["post", "timer", "after"])
def test_a_mailbox_that_dies_says_so(where, caplog):
    deaths: queue.Queue = queue.Queue()
    mailbox = Mailbox("box", Clock(), lambda name, error: deaths.put((name, type(error))))

    def fail():
        raise KeyError("bug")

    mailbox.start(after_each_batch=fail if where == "after" else None)
    with caplog.at_level(logging.CRITICAL):
        if where == "timer":
            mailbox.post(mailbox.later, 0.0, fail)
        else:
            mailbox.post(fail)
        assert deaths.get(timeout=5) == ("box", KeyError)
    mailbox.stop(5)


def test_a_ticker_goes_round_until_it_is_stopped():
    clock, rounds = FakeClock(), queue.Queue()
    ticker = Ticker("tick", clock, NOBODY, lambda: (rounds.put(clock.monotonic_ns()), 10.0)[1])
    ticker.start()

    assert rounds.get(timeout=5) is not None
    with pytest.raises(queue.Empty):
        rounds.get(timeout=0.05)  # the clock stands still
    clock.advance(10)
    assert rounds.get(timeout=5) is not None
    ticker.wake()
    assert rounds.get(timeout=5) is not None
    ticker.stop(5)
    assert "tick" not in {thread.name for thread in threading.enumerate()}


def test_a_wake_during_a_round_is_not_lost():
    rounds: queue.Queue = queue.Queue()
    woken = []

    def round_() -> float:
        if not woken:
            woken.append(1)
            ticker.wake()
        rounds.put(1)
        return 3600.0

    ticker = Ticker("tick", Clock(), NOBODY, round_)
    ticker.start()

    for _ in range(2):
        assert rounds.get(timeout=5)
    ticker.stop(5)


def test_a_ticker_that_dies_says_so():
    deaths: queue.Queue = queue.Queue()
    ticker = Ticker("tick", Clock(), lambda name, error: deaths.put((name, type(error))), lambda: 1 / 0)
    ticker.start()

    assert deaths.get(timeout=5) == ("tick", ZeroDivisionError)
    ticker.stop(5)
