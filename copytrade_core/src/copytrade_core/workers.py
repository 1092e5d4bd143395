"""Threads with an owner: named, stoppable, joined, and never silently dead."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from .clock import NS_PER_SEC, Clock

log = logging.getLogger(__name__)

BATCH = 500

OnDeath = Callable[[str, BaseException], None]


class Mailbox:
    """One thread that runs what is posted to it, in order, and timers when they are due.

    Everything that a mailbox's owner keeps is touched by this thread alone, and so needs no lock.
    """

    def __init__(self, name: str, clock: Clock, on_death: OnDeath, *, limit: int = 100_000) -> None:
        self._clock = clock
        self._on_death = on_death
        self._inbox: queue.Queue[tuple[Callable[..., None], tuple[Any, ...]] | None] = queue.Queue(limit)
        self._timers: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._after: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, after_each_batch: Callable[[], None] | None = None) -> None:
        """Start the thread. *after_each_batch* runs whenever the inbox has been emptied."""
        if after_each_batch is not None:
            self._after = after_each_batch
        self._thread.start()

    def post(self, action: Callable[..., None], *arguments: Any) -> None:
        """Have *action* run on the mailbox's thread. From any thread; does not wait for it."""
        self._inbox.put((action, arguments))

    def later(self, delay_sec: float, action: Callable[..., None], *arguments: Any) -> None:
        """Have *action* run after *delay_sec*. Only from the mailbox's own thread."""
        due = self._clock.monotonic_ns() + int(delay_sec * NS_PER_SEC)
        heapq.heappush(self._timers, (due, next(self._order), action, arguments))

    def call(self, action: Callable[[], Any], timeout_sec: float = 10) -> Any:
        """Run *action* on the mailbox's thread and return what it returns, or raise what it raises."""
        done = threading.Event()
        answer: list[Any] = []

        def run() -> None:
            try:
                answer.append((action(), None))
            except BaseException as error:
                answer.append((None, error))
            done.set()

        self.post(run)
        if not done.wait(timeout_sec):
            raise TimeoutError(f"{self._thread.name} did not answer")
        result, error = answer[0]
        if error is not None:
            raise error
        return result

    def stop(self, timeout_sec: float = 20) -> None:
        """Run what was posted before, drop the timers, end and join the thread."""
        if self._thread.is_alive():
            self._inbox.put(None)
            self._thread.join(timeout_sec)

    def _run(self) -> None:
        try:
            while self._drain():
                self._run_due()
                self._after()
        except BaseException as error:  # whatever it was: an engine without this thread must not trade on
            log.exception("the thread %s died", self._thread.name)
            self._on_death(self._thread.name, error)

    def _drain(self) -> bool:
        """Wait for work until the next timer is due and do all there is; False when it is time to end."""
        wait = 3600.0
        if self._timers:
            wait = max(0.0, (self._timers[0][0] - self._clock.monotonic_ns()) / NS_PER_SEC)
        try:
            for turn in range(BATCH):  # not without end: timers are due also while work keeps coming
                item = self._inbox.get_nowait() if turn else self._inbox.get(timeout=wait)
                if item is None:
                    return False
                action, arguments = item
                action(*arguments)
        except queue.Empty:
            pass
        return True

    def _run_due(self) -> None:
        now = self._clock.monotonic_ns()
        while self._timers and self._timers[0][0] <= now:
            _, _, action, arguments = heapq.heappop(self._timers)
            action(*arguments)


class Ticker:
    """One thread that does a round of work, waits, and does it again until stopped."""

    def __init__(self, name: str, clock: Clock, on_death: OnDeath, round_: Callable[[], float]) -> None:
        """*round_* does the work and returns the seconds to wait before the next round."""
        self._clock = clock
        self._on_death = on_death
        self._round = round_
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Do the next round now."""
        self._wake.set()

    def stop(self, timeout_sec: float = 20) -> None:
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_sec)

    def _run(self) -> None:
        try:
            while not self._stopped:
                wait_sec = self._round()
                self._clock.wait(self._wake, wait_sec)
                self._wake.clear()
        except BaseException as error:
            log.exception("the thread %s died", self._thread.name)
            self._on_death(self._thread.name, error)
