"""Request budgets: how much may be asked of an exchange, and who goes first.

One `Budget` stands for one limit of one scope (an address, an account, a route). Spending is counted over a
sliding window, which also satisfies an exchange that counts by calendar minutes. Orders may use all of it,
look-ups most of it, balances and the rest only what remains, so that polling can never starve an order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from ..clock import NS_PER_SEC, Clock
from ..errors import RateLimited

LONGEST_BAN_SEC = 3 * 86_400.0  # the longest that an exchange documents; a figure beyond it is a mistake


def retry_after_sec(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as a number or a date; ``None``: absent, or rubbish."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return sane_ban_sec(int(text))
    until, now = _date(text), _date(headers.get("Date", ""))
    # A date is compared with the exchange's own: ours may be wrong.
    return sane_ban_sec(until.timestamp() - now.timestamp()) if until and now else None


def sane_ban_sec(seconds: float) -> float:
    """Return what an exchange asks us to wait, within what it can mean."""
    return min(max(0.0, seconds), LONGEST_BAN_SEC)


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


class Priority(Enum):
    """Who asks; the value is the share of a window that this class may fill."""

    ORDER = 1.0
    LOOKUP = 0.85
    # An account begins: it is verified and subscribed. With the leader's and the probes' own requests beside them,
    # hundreds that begin together stay below half of the limit.
    CHECK = 0.45
    BALANCE = 0.4


class Budget:
    """At most *limit* units of cost per *window_sec*. Thread-safe."""

    def __init__(self, clock: Clock, exchange: str, *, limit: int, window_sec: float) -> None:
        self._clock = clock
        self._exchange = exchange
        self._limit = limit
        self._window_ns = int(window_sec * NS_PER_SEC)
        self._changed = threading.Condition()
        self._spent: deque[tuple[int, int]] = deque()
        self._total = 0
        self._blocked_until_ns = 0
        self._banned = False

    @property
    def limit(self) -> int:
        return self._limit

    @limit.setter
    def limit(self, units: int) -> None:
        """Take over the limit that the exchange states of itself."""
        with self._changed:
            self._limit = units
            self._changed.notify_all()

    @property
    def used(self) -> int:
        """Units spent in the window that ends now."""
        with self._changed:
            self._expire(self._clock.monotonic_ns())
            return self._total

    @property
    def blocked_sec(self) -> float:
        """Seconds for which the exchange asked us to send nothing at all; 0 where it did not."""
        with self._changed:
            return max(0.0, (self._blocked_until_ns - self._clock.monotonic_ns()) / NS_PER_SEC)

    def spend(self, cost: int, priority: Priority, wait_sec: float = 0.0) -> None:
        """Take *cost* units, waiting for them at most *wait_sec*.

        :raises RateLimited: they cannot be had in that time, or the exchange has shut us out.
        """
        deadline = self._clock.monotonic_ns() + int(wait_sec * NS_PER_SEC)
        with self._changed:
            while True:
                now = self._clock.monotonic_ns()
                free_at = self._free_at(now, cost, priority)
                if free_at <= now:
                    self._spent.append((now, cost))
                    self._total += cost
                    return
                if free_at > deadline:
                    raise RateLimited(
                        f"the request budget of {self._exchange} is used up",
                        retry_after_sec=(free_at - now) / NS_PER_SEC,
                        whole_address=True,
                        banned=self._banned and self._blocked_until_ns > now,
                        kind="budget",
                        exchange=self._exchange,
                    )
                self._changed.wait(min((free_at - now) / NS_PER_SEC, 1.0))

    def observe(self, used: int) -> None:
        """Learn from an answer's header what the exchange counts; others may share our address."""
        with self._changed:
            now = self._clock.monotonic_ns()
            self._expire(now)
            if used > self._total:
                self._spent.append((now, used - self._total))
                self._total = used

    def block(self, seconds: float, *, banned: bool = False) -> None:
        """Let nothing through for *seconds*: the exchange said so (Retry-After)."""
        with self._changed:
            now = self._clock.monotonic_ns()
            # A request that left before the ban may be answered with a milder block after it.
            self._banned = banned or (self._banned and self._blocked_until_ns > now)
            self._blocked_until_ns = max(self._blocked_until_ns, now + int(seconds * NS_PER_SEC))
            self._changed.notify_all()

    def _expire(self, now: int) -> None:
        while self._spent and self._spent[0][0] <= now - self._window_ns:
            self._total -= self._spent.popleft()[1]

    def _free_at(self, now: int, cost: int, priority: Priority) -> int:
        if self._blocked_until_ns > now:
            return self._blocked_until_ns
        self._expire(now)
        # An idle budget grants one request however dear it is; otherwise a cost above the share would never pass.
        excess = self._total + cost - int(self._limit * priority.value)
        if excess <= 0 or self._total == 0:
            return now
        for spent_at, units in self._spent:
            excess -= units
            if excess <= 0:
                return spent_at + self._window_ns
        return self._spent[-1][0] + self._window_ns
