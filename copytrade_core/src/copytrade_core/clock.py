"""Time: monotonic for deciding, the exchange's for signing and ages, wall time for showing only."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from .errors import ClockSkewed

NS_PER_MS = 1_000_000
STAMP_AHEAD_MS = 250  # an exchange's stamps may be ahead of our measurement of its clock by so much
NS_PER_SEC = 1_000_000_000


class Clock:
    """The machine's clocks behind one seam; a test passes a fake, so that nothing sleeps."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ms(self) -> int:
        """Milliseconds since 1970 by the wall clock. For display and log lines, never for deciding."""
        return time.time_ns() // NS_PER_MS

    def wait(self, event: threading.Event, timeout_sec: float) -> bool:
        """Wait for *event* at most *timeout_sec*; return whether it is set."""
        return event.wait(timeout_sec)


def wall_text(wall_ms: int) -> str:
    """Return *wall_ms* as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ExchangeClock:
    """The time at one exchange: our monotonic clock plus a measured offset.

    The exchange's stamp is taken as made when its answer *arrived*, so that our time is behind theirs by
    the way back and never ahead: an early timestamp is refused at 1 s, a late one only at the window's end.
    """

    MAX_AGE_SEC = 900  # an offset older than this proves nothing any more
    JUMP_ALARM_MS = 500
    JUMP_HALT_MS = 2000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._offset_ms: float | None = None
        self._behind_ms = 0.0  # at most so much: the round trip of the measurement
        self._measured_ns = 0
        self._stable = True
        # From and to which time (ms) the exchange's clock went, or may have gone, twice: it was put back.
        self._twice_ms = (0, 0)
        self._put_back = 0

    @property
    def is_known(self) -> bool:
        """Whether timestamps may be made: the offset was measured lately and did not jump."""
        with self._lock:
            if self._offset_ms is None or not self._stable:
                return False
            return self._clock.monotonic_ns() - self._measured_ns < self.MAX_AGE_SEC * NS_PER_SEC

    @property
    def put_back(self) -> int:
        """How often the exchange's clock was found to have been put back."""
        with self._lock:
            return self._put_back

    def not_after_now(self, time_ms: int) -> int:
        """Return *time_ms*, or the time now where that is later: a stamp from before the clock was put back."""
        return self.now_ms() if self.is_yet_to_come(time_ms) else time_ms

    def is_yet_to_come(self, time_ms: int) -> bool:
        """Whether *time_ms* is certainly later than now: what bears it is from before the clock was put back."""
        return self.is_known and time_ms > self.latest_ms() + STAMP_AHEAD_MS

    def passed_twice(self, time_ms: int) -> bool:
        """Whether *time_ms* may have come twice at the exchange: what it stamped so cannot be put in order."""
        with self._lock:
            return self._twice_ms[0] <= time_ms <= self._twice_ms[1]

    @property
    def was_measured(self) -> bool:
        """Whether there ever was an offset, good or not."""
        with self._lock:
            return self._offset_ms is not None

    @property
    def measured_ns(self) -> int:
        """When the offset was last measured (monotonic); 0 for never."""
        with self._lock:
            return self._measured_ns

    def now_ms(self) -> int:
        """Return the exchange's time in milliseconds. :raises ClockSkewed: it was never measured."""
        with self._lock:
            if self._offset_ms is None:
                raise ClockSkewed("the exchange's clock has not been measured yet")
            return int(self._clock.monotonic_ns() / NS_PER_MS + self._offset_ms)

    def latest_ms(self) -> int:
        """Return the latest time that it can be at the exchange now: nothing stamped before this moment is later.

        :raises ClockSkewed: it was never measured.
        """
        now_ms = self.now_ms()
        with self._lock:
            return now_ms + math.ceil(self._behind_ms) + 1

    def wait_until_past(self, time_ms: int) -> None:
        """Wait until it is certainly later than *time_ms* at the exchange."""
        self._clock.wait(threading.Event(), max(0, time_ms + 1 - self.now_ms()) / 1000)

    def measure(self, read_server_ms: Callable[[], int], probes: int = 5) -> float:
        """Measure the offset anew, best of *probes* by round trip; return the jump in milliseconds.

        The first measurement is no jump. A jump beyond ``JUMP_HALT_MS`` makes the clock unknown until the
        next measurement agrees with this one. One back is counted (`put_back`): for a while what the exchange says
        later bears an earlier stamp.

        :param read_server_ms: asks the exchange for its time; may raise an `ExchangeError`.
        """
        best: tuple[int, float] | None = None
        for _ in range(probes):
            sent = self._clock.monotonic_ns()
            server_ms = read_server_ms()
            received = self._clock.monotonic_ns()
            if best is None or received - sent < best[0]:
                best = (received - sent, server_ms - received / NS_PER_MS)
        assert best is not None
        with self._lock:
            jump = 0.0 if self._offset_ms is None else abs(best[1] - self._offset_ms)
            was_stable, self._stable = self._stable, jump <= self.JUMP_HALT_MS
            # From a measurement that was never confirmed nothing went back.
            if was_stable and self._offset_ms is not None and self._offset_ms - best[1] > self.JUMP_ALARM_MS:
                now_ms = self._clock.monotonic_ns() / NS_PER_MS
                # It may have been put back at any time since the last measurement; by so much it can have gone on.
                self._twice_ms = (int(now_ms + best[1] - jump), math.ceil(now_ms + self._offset_ms))
                self._put_back += 1
            self._offset_ms = best[1]
            self._behind_ms = best[0] / NS_PER_MS
            self._measured_ns = self._clock.monotonic_ns()
            return jump
