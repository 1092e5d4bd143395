"""What keys may do, asked again every day: people change permissions, and keys run out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..clock import NS_PER_SEC, Clock
from ..connector import Connector
from ..errors import AuthenticationFailed, CopytradeError, JournalError, RateLimited
from ..exchanges import Exchanges, OpenExchange
from ..feed import Feed
from ..model import AccountId, KeyPermissions, KeyWarning
from ..store import book as rows
from ..store.journal import Journal
from ..views import AccountState
from ..workers import OnDeath, Ticker
from .key_rights import DAY_MS, EXPIRY_WARNING_DAYS, days_left, excess_of, key_warnings
from .service import AccountService

log = logging.getLogger(__name__)

DAY_SEC = 24 * 3600
START_SEC = 120.0  # a start has more urgent questions
PAUSE_SEC = 10.0  # between two questions: a thousand keys are asked about within three hours of a start
RETRY_SEC = 300.0
LONGEST_REST_SEC = 60.0  # then it looks for new keys
LEADER_KEY = "leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One key that is asked about."""

    id: str  # the account's, or one of the leader's key
    name: str
    opened: OpenExchange
    connector: Callable[[], Connector]
    is_leader: bool = False


class KeyCare:
    """One thread (``key-care``) that asks about one key at a time. Thread-safe."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        feed: Feed,
        exchanges: Exchanges,
        accounts: AccountService,
        leader: Callable[[], Asked | None],
        on_death: OnDeath,
    ) -> None:
        """*leader*: the leader's key; its connector is opened for the question and closed after it."""
        self._clock = clock
        self._journal = journal
        self._feed = feed
        self._exchanges = exchanges
        self._accounts = accounts
        self._leader = leader
        self._lock = threading.Lock()  # guards the maps; never held over I/O
        self._found: dict[str, tuple[KeyPermissions, OpenExchange]] = {}
        self._due_ns: dict[str, int] = {}
        self._started_ns = 0
        self._ticker = Ticker("key-care", clock, on_death, self._round)

    def start(self) -> None:
        self._started_ns = self._clock.monotonic_ns() + int(START_SEC * NS_PER_SEC)
        self._ticker.start()

    def stop(self) -> None:
        self._ticker.stop()

    def saw(self, asked_id: str, opened: OpenExchange, permissions: KeyPermissions) -> None:
        """Take over what a verify found just now; the next question is due in a day."""
        with self._lock:
            self._found[asked_id] = (permissions, opened)
            self._due_ns[asked_id] = self._next_ns(asked_id, is_first=asked_id not in self._due_ns)

    def warnings(self, asked_id: str) -> tuple[KeyWarning, ...]:
        """Return what should be mended about a key that may still trade."""
        with self._lock:
            found = self._found.get(asked_id)
        return () if found is None else key_warnings(*found)

    def leader_warnings(self) -> tuple[KeyWarning, ...]:
        """Return `warnings` of the leader's key, and what it may do although it should not."""
        leader = self._leader()
        if leader is None:
            return ()
        with self._lock:
            found = self._found.get(leader.id)
        excess = excess_of(found[0]) if found else None
        return (*((KeyWarning(kind=excess[0], text=excess[1]),) if excess else ()), *self.warnings(leader.id))

    # --- inside ---

    def _round(self) -> float:
        keys = {key.id: key for key in self._keys()}
        with self._lock:
            self._found = {each: found for each, found in self._found.items() if each in keys}
            self._due_ns = {each: due for each, due in self._due_ns.items() if each in keys}
            due_ns, key_id = min(((self._due_ns.get(each, self._started_ns), each) for each in keys), default=(0, ""))
        wait_sec = (due_ns - self._clock.monotonic_ns()) / NS_PER_SEC if keys else LONGEST_REST_SEC
        if wait_sec > 0:
            return min(max(wait_sec, PAUSE_SEC), LONGEST_REST_SEC)
        with contextlib.suppress(JournalError):  # the engine is halted then, and says why
            self._ask(keys[key_id])
        return PAUSE_SEC

    def _keys(self) -> Iterator[Asked]:
        leader = self._leader()
        if leader is not None:
            yield leader
        for follower in self._accounts.all():
            if follower.state is not AccountState.DISABLED:
                yield Asked(
                    id=follower.id,
                    name=follower.record.name,
                    opened=follower.opened,
                    connector=partial(getattr, follower, "connector"),
                )

    def _ask(self, key: Asked) -> None:
        wait_sec = RETRY_SEC
        try:
            self._exchanges.ready(key.opened)
            connector = key.connector()
            try:
                permissions = connector.key_permissions()
            finally:
                if key.is_leader:
                    connector.close()
        except AuthenticationFailed as error:
            if key.is_leader:
                self._warn_daily(
                    key,
                    error.kind,
                    f"the leader's key was refused: {error.message}",
                    what="leader_key_refused",
                    reason=error.message,
                )
            else:
                # A verify tells a bad key from a fault of ours, and disables it.
                self._accounts.suspect(AccountId(key.id), 0.0)
        except CopytradeError as error:  # no answer is no finding; its time comes again
            wait_sec = max(error.retry_after_sec, PAUSE_SEC) if isinstance(error, RateLimited) else RETRY_SEC
        except Exception:  # a plug-in's bug must not halt the engine
            log.exception("what the key of %s may do could not be asked", key.name)
        else:
            self._judge(key, permissions)
            return
        with self._lock:
            self._due_ns[key.id] = self._clock.monotonic_ns() + int(wait_sec * NS_PER_SEC)

    def _judge(self, key: Asked, permissions: KeyPermissions) -> None:
        with self._lock:
            self._found[key.id] = (permissions, key.opened)
            self._due_ns[key.id] = self._next_ns(key.id, is_first=key.id not in self._due_ns)
        if excess := excess_of(permissions):
            kind, sentence = excess
            if key.is_leader:
                # It only reads for us: not to hear the leader any more would be the greater harm.
                self._warn_daily(key, kind, f"the leader: {sentence}", what="leader_key_too_strong", reason=sentence)
            else:
                self._accounts.disable(AccountId(key.id), kind, sentence)
        days = days_left(permissions, key.opened)
        if days is not None and days < EXPIRY_WARNING_DAYS:
            text = f"{key.name}: its key ends in {days} days: make a new one"
            self._warn_daily(key, "key_expires", text, what="key_expires", name=key.name, days=days)

    def _warn_daily(self, key: Asked, kind: str, text: str, *, what: str, **data: Any) -> None:
        """Raise an alarm, but not for the same thing twice a day, however often the engine is started."""
        fact = f"{kind}/{key.id}"
        now_ms = self._clock.wall_ms()
        with self._journal.reading() as connection:
            last_ms = int(rows.recall(connection, fact) or 0)
        if last_ms <= now_ms < last_ms + DAY_MS * 9 // 10:
            return
        self._journal.write(lambda connection: rows.remember(connection, fact, str(now_ms)))
        account_id = "" if key.is_leader else key.id
        self._feed.alarm(text, what=what, account_id=account_id, reason_kind=kind, **data)

    def _next_ns(self, asked_id: str, *, is_first: bool) -> int:
        """In a day; the first time earlier by up to half of one, so that all are spread over it afterwards."""
        wait_ns = DAY_SEC * NS_PER_SEC
        if is_first:
            wait_ns -= wait_ns // 2 * hashlib.sha256(asked_id.encode()).digest()[0] // 256
        return self._clock.monotonic_ns() + wait_ns
