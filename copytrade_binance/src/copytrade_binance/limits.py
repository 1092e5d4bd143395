"""What Binance lets one address send, shared by REST and the WebSocket API.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md (LIMITS). That both APIs share
one counter is not stated, so it is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from copytrade_core.accounts.budget import Budget, Priority, sane_ban_sec
from copytrade_core.clock import Clock
from copytrade_core.errors import ExchangeError, RateLimited

WEIGHT_PER_MINUTE = 6000
REQUESTS_PER_5_MIN = 300_000
CONNECTIONS_PER_5_MIN = 300
SCATTER_SEC = 1  # requests may arrive closer together than they were sent


class Limits:
    """The budgets of this machine's address at Binance."""

    def __init__(self, clock: Clock, on_shut_out: Callable[[float], None]) -> None:
        """*on_shut_out* is told for how many seconds Binance has banned the address."""
        self._on_shut_out = on_shut_out
        self.weight = Budget(clock, "Binance", limit=WEIGHT_PER_MINUTE, window_sec=60 + SCATTER_SEC)
        self.requests = Budget(clock, "Binance", limit=REQUESTS_PER_5_MIN, window_sec=300 + SCATTER_SEC)
        self.connections = Budget(clock, "Binance", limit=CONNECTIONS_PER_5_MIN, window_sec=300 + SCATTER_SEC)

    def spend(self, weight: int, priority: Priority, wait_sec: float = 0.0) -> None:
        """Take one request of *weight*, waiting for it at most *wait_sec*. :raises RateLimited: it cannot be had."""
        self.weight.spend(weight, priority, wait_sec)
        self.requests.spend(1, priority)

    def observe_headers(self, headers: Mapping[str, str]) -> None:
        """Take over what a REST answer says is used."""
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isascii() and used.isdigit():
            self.weight.observe(int(used))

    def observe_frame(self, rate_limits: Any) -> None:
        """Take over what the ``rateLimits`` of a WebSocket answer say is used."""
        for row in rate_limits if isinstance(rate_limits, list) else ():
            if not isinstance(row, dict) or not isinstance(row.get("count"), int):
                continue
            if (row.get("rateLimitType"), row.get("interval")) == ("REQUEST_WEIGHT", "MINUTE"):
                self.weight.observe(row["count"])

    def heed(self, error: ExchangeError) -> None:
        """Let nothing through for as long as *error* says, if it is about the whole address."""
        if isinstance(error, RateLimited) and error.whole_address:
            self.weight.block(error.retry_after_sec, banned=error.banned)
            if error.banned:
                self._on_shut_out(error.retry_after_sec)


def frame_retry_after_sec(error: Any) -> float | None:
    """Return the seconds to wait from a WebSocket error, whose ``retryAfter`` is a moment in milliseconds."""
    data = error.get("data") if isinstance(error, dict) else None
    if not isinstance(data, dict):
        return None
    until, now = data.get("retryAfter"), data.get("serverTime")
    return sane_ban_sec((until - now) / 1000) if isinstance(until, int) and isinstance(now, int) else None
