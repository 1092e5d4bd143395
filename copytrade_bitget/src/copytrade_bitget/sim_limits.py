"""Bitget's limits, enforced: per route and UID or address, over all routes an address, and on sockets.

Source: https://www.bitget.com/docs/classic/faq and each route's page. All windows slide: stricter than a window
that starts with the second, so that whoever passes here passes there.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

NS_PER_MS = 1_000_000


@dataclass(slots=True, kw_only=True)
class Limits:
    """What the exchange enforces; times in ms. Tests and the admin API set them."""

    enforced: bool = True
    address_requests: int = 6000  # in address_window_ms
    address_window_ms: int = 60_000
    address_block_ms: int = 300_000
    route_window_ms: int = 1000
    lead_trader_orders: int = 1  # in route_window_ms
    signature_window_ms: int = 30_000
    client_id_window_ms: int = 7_200_000  # how long a look-up by clientOid finds an order that is final
    open_orders: int = 400
    sockets: int = 100  # at once, an address
    socket_opens: int = 300  # in socket_open_window_ms, an address
    socket_open_window_ms: int = 300_000
    socket_messages: int = 10  # in socket_message_window_ms, a socket
    socket_message_window_ms: int = 1000
    socket_subscribes: int = 240  # an hour, a socket
    socket_frame_bytes: int = 4096
    socket_idle_ms: int = 120_000  # without a text ping
    socket_age_ms: int = 86_400_000
    account_push_ms: int = 5000  # unified accounts are pushed at least so often


class SlidingWindow:
    """Counts what happened within the last so many ms, by key."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._seen: defaultdict[object, deque[int]] = defaultdict(deque)

    def take(self, key: object, limit: int, window_ms: int) -> int:
        """Count one and return how many are left; below zero it was one too many and does not count."""
        now = self._monotonic_ns()
        seen = self._seen[key]
        while seen and now - seen[0] >= window_ms * NS_PER_MS:
            seen.popleft()
        if len(seen) >= limit:
            return -1
        seen.append(now)
        return limit - len(seen)

    def forget(self, key: object) -> None:
        self._seen.pop(key, None)


class AddressGuard:
    """The limit over all routes of one address, and the block of those who went over it."""

    def __init__(self, limits: Limits, monotonic_ns: Callable[[], int]) -> None:
        self._limits = limits
        self._monotonic_ns = monotonic_ns
        self._window = SlidingWindow(monotonic_ns)
        self._blocked_until_ns: dict[str, int] = {}
        self._all_blocked_until_ns = 0
        self.blocks = 0  # how often an address was shut out for going over the limit
        self.busiest = 0  # the most requests that one address has had in a window

    def admits(self, address: str) -> bool:
        limits, now = self._limits, self._monotonic_ns()
        if now < max(self._all_blocked_until_ns, self._blocked_until_ns.get(address, 0)):
            return False
        if not limits.enforced:
            return True
        left = self._window.take(address, limits.address_requests, limits.address_window_ms)
        if left < 0:
            self._blocked_until_ns[address] = now + limits.address_block_ms * NS_PER_MS
            self.blocks += 1
            return False
        self.busiest = max(self.busiest, limits.address_requests - left)
        return True

    def block_all(self, for_ms: float) -> None:
        """Shut every address out; 0 lets all in again."""
        self._blocked_until_ns.clear()
        self._all_blocked_until_ns = self._monotonic_ns() + int(for_ms * NS_PER_MS)
