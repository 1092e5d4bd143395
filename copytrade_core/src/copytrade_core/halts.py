"""Why the engine does not trade, or not on one exchange: each reason with its since and what would end it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from .clock import Clock, wall_text
from .views import Halt


class Halts:
    """The reasons that are in force. While there is one, nothing may leave. Thread-safe."""

    def __init__(self, clock: Clock, on_change: Callable[[Halt, bool], None]) -> None:
        """*on_change* is told each reason as it begins (True) and ends (False), outside the lock."""
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._halts: dict[str, Halt] = {}

    def begin(self, kind: str, reason: str, ends_when: str, exchange: str = "", until: str = "") -> None:
        """Put a reason in force; a second one of the same kind changes nothing, but for a later end.

        :param exchange: the label of the one exchange that it stops; empty: it stops everything.
        :param until: when it ends by itself (ISO 8601 in UTC), where that is known.
        """
        with self._lock:
            known = self._halts.get(kind)
            if known is not None and known.until >= until:
                return
            since = known.since if known else wall_text(self._clock.wall_ms())
            halt = Halt(kind=kind, reason=reason, since=since, ends_when=ends_when, exchange=exchange, until=until)
            self._halts[kind] = halt
        self._on_change(halt, True)

    def restate(self, kind: str, reason: str) -> None:
        """Say more of a reason that is in force, without ending it; nothing where it is not."""
        with self._lock:
            known = self._halts.get(kind)
            if known is None or known.reason == reason:
                return
            halt = self._halts[kind] = replace(known, reason=reason)
        self._on_change(halt, True)

    def end(self, kind: str) -> None:
        with self._lock:
            halt = self._halts.pop(kind, None)
        if halt is not None:
            self._on_change(halt, False)

    def all(self) -> tuple[Halt, ...]:
        with self._lock:
            return tuple(self._halts.values())

    def of_all(self) -> Halt | None:
        """Return a reason that stops everything."""
        return next((halt for halt in self.all() if not halt.exchange), None)

    def of(self, exchange: str) -> Halt | None:
        """Return a reason that stops just this exchange: one that does not end by itself before one that does."""
        found = [halt for halt in self.all() if halt.exchange == exchange]
        return min(found, key=lambda halt: halt.until, default=None)
