"""Which accounts changed since somebody last looked: for whoever shows a thousand of them and wants only the news."""

from __future__ import annotations

import threading

from ..model import AccountId


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

    def since(self, after: int) -> tuple[int, frozenset[AccountId], tuple[AccountId, ...]]:
        """Return the newest number, and the accounts that changed and were removed after the number *after*."""
        with self._lock:
            changed = frozenset(each for each, number in self._changed.items() if number > after)
            removed = tuple(each for each, number in self._removed.items() if number > after)
            return self._number, changed - set(removed), removed
