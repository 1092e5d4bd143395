"""How often somebody may try: counted by address, in memory, and only what failed where that is all that matters."""

from __future__ import annotations

import time

from limits import parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from ..problems import Problem

LOGINS = "10 per minute; 100 per hour"  # that failed, of one network
LOGINS_OF_ALL = "120 per minute; 2000 per hour"  # that failed
ENROLMENTS = "10 per minute; 60 per hour"
TICKETS = "60 per minute"
DEVICE_TOKENS = "60 per minute"


class RateLimits:
    """Thread-safe."""

    def __init__(self) -> None:
        self._windows = MovingWindowRateLimiter(MemoryStorage())

    def check(self, what: str, who: str, limits: str) -> None:
        """Refuse who has used up *limits* already, without counting this time. :raises Problem: 429."""
        for limit in parse_many(limits):
            if not self._windows.test(limit, what, who):
                reset, _ = self._windows.get_window_stats(limit, what, who)
                wait_sec = max(1.0, reset - time.time())
                raise Problem(
                    429, "too_many_requests", "too many tries; wait a little, then try again", retry_after_sec=wait_sec
                )

    def count(self, what: str, who: str, limits: str) -> None:
        for limit in parse_many(limits):
            self._windows.hit(limit, what, who)

    def take(self, what: str, who: str, limits: str) -> None:
        """Count this time, or refuse it. :raises Problem: 429."""
        self.check(what, who, limits)
        self.count(what, who, limits)
