"""Which accounts changed since somebody last looked: for whoever shows a thousand of them and wants only the news."""

from __future__ import annotations

import threading

from ..model import AccountId

AT_ONCE = 200


class Changes:
    """Numbers the changes of all accounts. Thread-safe; the numbers begin anew with each engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._changed: dict[AccountId, int] = {}
        self._removed: dict[AccountId, int] = {}

    def note(self, account_id: AccountId) -> None:
        """An account's balance, state or last copy changed, or it is new."""
        with self._lock:
            self._number += 1
            self._changed[account_id] = self._number

    def note_removed(self, account_id: AccountId) -> None:
        with self._lock:
            self._number += 1
            self._changed.pop(account_id, None)
            self._removed[account_id] = self._number

    @property
    def number(self) -> int:
        """The newest number."""
        with self._lock:
            return self._number

    def since(self, after: int, limit: int = AT_ONCE) -> tuple[int, frozenset[AccountId], tuple[AccountId, ...]]:
        """Return which accounts changed and were removed after the number *after*, and the number to go on from.

        At most *limit* of those that changed, the longest waiting first: what a burst changed is told in small
        portions, so that telling it does not hold up the next burst.
        """
        with self._lock:
            waiting = sorted((number, each) for each, number in self._changed.items() if number > after)
            removed = tuple(each for each, number in self._removed.items() if number > after)
            number = self._number if len(waiting) <= limit else waiting[limit - 1][0]
            return number, frozenset(each for _, each in waiting[:limit] if each not in removed), removed
