"""One-time tickets for the live stream: a WebSocket can carry no header of ours, and an address is logged."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable

LIFE_SEC = 15
MOST = 1000


class Tickets:
    """Issued over HTTP, redeemed once by the WebSocket that follows. Kept in memory, hashed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[float, str, str]] = {}

    def issue(self, label: str, origin: str) -> str:
        """Return a ticket for whoever *label* names, for pages of *origin* alone, for the next 15 seconds."""
        ticket = secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            self._open = {each: held for each, held in self._open.items() if held[0] > now}
            if len(self._open) >= MOST:
                del self._open[min(self._open, key=lambda each: self._open[each][0])]
            self._open[_hash(ticket)] = (now + LIFE_SEC, label, origin)
        return ticket

    def drop_where(self, chosen: Callable[[str], bool]) -> None:
        """Forget the tickets of those whose label is chosen: they were shut out before they came."""
        with self._lock:
            self._open = {each: held for each, held in self._open.items() if not chosen(held[1])}

    def redeem(self, ticket: str, origin: str) -> str | None:
        """Return whom the ticket was issued to; ``None``: it is no good (any more). It is used up either way."""
        with self._lock:
            held = self._open.pop(_hash(ticket), None)
        if held is None or held[0] <= time.monotonic() or held[2] != origin:
            return None
        return held[1]


def _hash(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
