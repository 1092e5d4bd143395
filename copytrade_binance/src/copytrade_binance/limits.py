"""What Binance lets one address send, shared by REST and the WebSocket API.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md (LIMITS). That both APIs share
one counter is not stated, so it is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from copytrade_core.accounts.budget import Budget
from copytrade_core.clock import Clock
from copytrade_core.errors import ExchangeError, RateLimited

WEIGHT_PER_MINUTE = 6000
CONNECTIONS_PER_5_MIN = 300
LONGEST_BAN_SEC = 3 * 86_400.0  # the longest that Binance documents; a figure beyond it is a mistake


class Limits:
    """The budgets of this machine's address at Binance."""

    def __init__(self, clock: Clock) -> None:
        self.weight = Budget(clock, "Binance", limit=WEIGHT_PER_MINUTE, window_sec=60)
        self.connections = Budget(clock, "Binance", limit=CONNECTIONS_PER_5_MIN, window_sec=300)

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


def retry_after_sec(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as a number or a date; ``None`` for rubbish."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return _sane(float(text))
    until, now = _date(text), _date(headers.get("Date", ""))
    # A date is compared with the exchange's own: ours may be wrong.
    return _sane(until.timestamp() - now.timestamp()) if until and now else None


def frame_retry_after_sec(error: Any) -> float | None:
    """Return the seconds to wait from a WebSocket error, whose ``retryAfter`` is a moment in milliseconds."""
    data = error.get("data") if isinstance(error, dict) else None
    if not isinstance(data, dict):
        return None
    until, now = data.get("retryAfter"), data.get("serverTime")
    return _sane((until - now) / 1000) if isinstance(until, int) and isinstance(now, int) else None


def _sane(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_BAN_SEC)


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None
