"""A thread that does things one after another, now or later: what holds sockets open needs no other locking."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

Action = Callable[[], None]


class Keeper:
    """Runs actions on one thread of its own, each at its time."""

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def soon(self, action: Action) -> None:
        """Run *action* after those that are waiting."""
        self.later(0.0, action)

    def later(self, seconds: float, action: Action) -> None:
        """Run *action* after *seconds*."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))
            self._changed.notify()

    def stop(self) -> None:
        """Run nothing more, and wait for what is running."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:  # one broken socket must not end the care for the others
                log.error("keeping sockets open failed with %s", type(error).__name__)

    def _next(self) -> Action | None:
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None
