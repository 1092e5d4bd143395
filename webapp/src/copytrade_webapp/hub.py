"""What all open panels show, kept once: a picture of the engine, and for each viewer what is new in it.

One thread (``live-hub``) follows the engine's feed, asks for what changed, and marks it for every viewer. A viewer
holds no queue of messages but the names of what changed since it was last sent something: however slow it is,
it costs no more memory than there are accounts, and it always gets the latest value.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from copytrade_core.api import TraderApi
from copytrade_core.errors import CopytradeError
from copytrade_core.views import AccountView, FeedEvent, account_json, book_json, copy_json, feed_json, status_json

from .engine_link import EngineLink, EngineState
from .exact_json import dumps_as_text

log = logging.getLogger(__name__)

EVENTS_SHOWN = 50
FEED_SHOWN = 100
UNDECIDED_SHOWN = 200
WATCHED_SEC = 0.2  # between two looks for changed balances while somebody watches
UNWATCHED_SEC = 5.0
STATUS_SEC = 2.0  # liveness and ages of the leader: no event tells of them
BACKLOG = 5000
AGAIN_SEC = 1.0
IN_FORCE_SEC = 2.0  # between two looks whether the viewers may still look
REVOKED = 4401
LARGEST_PART = 16_000  # characters, so that a message stays below 64 KB whatever the script
# Feed events that change what `status` says.
_STATUS_KINDS = frozenset({"leader", "copying", "halt", "engine", "gap", "alarm", "account", "leader_order"})


@dataclass(frozen=True, slots=True)
class _Row:
    """One account as it was read, and when: its figures go on ageing while nothing changes."""

    shape: dict[str, Any]
    read_at: float  # monotonic

    def text(self, now: float) -> str:
        older_sec = round(now - self.read_at, 1)
        ages = {
            name: round(age + older_sec, 1)
            for name, age in self.shape.items()
            if name.endswith("_age_sec") and age is not None
        }
        return dumps_as_text({**self.shape, **ages})


@dataclass(eq=False)
class Viewer:
    """One open live stream. The hub marks, the stream's own thread takes."""

    label: str  # who it is, for closing
    wake: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    close_with: tuple[int, str] = (1000, "")
    needs_snapshot: bool = True
    status: bool = False
    undecided: bool = False
    engine: bool = False
    accounts: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    feed_after: int = 0
    has_feed: bool = False
    seq: int = 0


class LiveHub:
    """Owns the picture. Thread-safe."""

    def __init__(self, link: EngineLink, symbol: str, *, in_force: Callable[[str], bool] = lambda label: True) -> None:
        """:param in_force: whether the viewer of a label may still look; the command line revokes, too."""
        self._in_force = in_force
        self._link = link
        self._base, _, self._quote = symbol.partition("/")
        self._lock = threading.Lock()
        self._viewers: set[Viewer] = set()
        self._queue: queue.Queue[FeedEvent | EngineState | None] = queue.Queue(BACKLOG)
        self._overflowed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-hub", daemon=True)
        # The picture; what does not age as JSON text, made once for all viewers.
        self._status = "null"
        self._accounts: dict[str, _Row] = {}
        self._events: OrderedDict[str, str] = OrderedDict()  # oldest first
        self._undecided = "[]"
        self._feed: deque[tuple[int, str]] = deque(maxlen=FEED_SHOWN)
        self._engine = link.state
        self._is_loaded = False
        self._shown_of: TraderApi | None = None  # whose picture it is: its numbers mean nothing to another
        self._number = 0  # of the accounts' changes
        link.on_event(self._enqueue)
        link.on_state(self._enqueue)

    # --- life ---

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let all viewers go with 1012 (the server restarts) and end the thread."""
        self._stopping.set()
        self.close_where(lambda viewer: True, 1012, "restarting")
        self._enqueue(None)
        if self._thread.is_alive():
            self._thread.join(10)

    def _enqueue(self, item: FeedEvent | EngineState | None) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._overflowed.set()  # the thread takes a new picture instead

    # --- viewers ---

    def join(self, label: str) -> Viewer:
        """Add a viewer; its first `take` is a snapshot."""
        viewer = Viewer(label)
        with self._lock:
            self._viewers.add(viewer)
            if self._stopping.is_set():  # too late for `stop` to find it
                viewer.close_with = (1012, "restarting")
                viewer.closing.set()
        viewer.wake.set()
        self._enqueue(self._link.state)  # look at once, not when the pause of an unwatched panel is over
        return viewer

    def leave(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers.discard(viewer)

    def close_where(self, chosen: Callable[[Viewer], bool], code: int, reason: str) -> int:
        """Have the streams of the chosen viewers closed now; returns how many."""
        with self._lock:
            found = [viewer for viewer in self._viewers if chosen(viewer)]
            for viewer in found:
                viewer.close_with = (code, reason)
                viewer.closing.set()
                viewer.wake.set()
        return len(found)

    @property
    def viewers(self) -> int:
        with self._lock:
            return len(self._viewers)

    def take(self, viewer: Viewer) -> list[str]:
        """Return the messages that bring *viewer* up to date; an empty list: there is nothing new."""
        with self._lock:
            if viewer.needs_snapshot:
                return self._snapshot(viewer)
            messages = []
            if viewer.engine:
                messages.append(self._message(viewer, "engine", engine=self._engine_json()))
            if viewer.status:
                messages.append(self._message(viewer, "status", status=self._status))
            if viewer.removed:
                messages.append(self._message(viewer, "removed", ids=dumps_as_text(sorted(viewer.removed))))
            messages += self._in_parts(viewer, "accounts", self._account_rows(viewer.accounts))
            messages += self._in_parts(viewer, "events", [self._events[e] for e in self._events if e in viewer.events])
            if viewer.undecided:
                messages.append(self._message(viewer, "undecided", undecided=self._undecided))
            if viewer.has_feed:
                entries = [text for number, text in self._feed if number > viewer.feed_after]
                viewer.feed_after = self._feed[-1][0] if self._feed else 0
                messages += self._in_parts(viewer, "feed", entries)
            self._clear(viewer)
            return messages

    def beat(self, viewer: Viewer) -> str:
        """Return the message that says "still here"; it has no number of its own."""
        return f'{{"type":"beat","seq":{viewer.seq}}}'

    def _snapshot(self, viewer: Viewer) -> list[str]:
        """Begin anew: the picture without its long lists, then these in parts."""
        viewer.needs_snapshot = False
        viewer.feed_after = self._feed[-1][0] if self._feed else 0
        self._clear(viewer)
        first = self._message(
            viewer,
            "snapshot",
            engine=self._engine_json(),
            status=self._status,
            accounts_total=str(len(self._accounts)),
        )
        return [
            first,
            *self._in_parts(viewer, "accounts", self._account_rows(self._accounts)),
            *self._in_parts(viewer, "events", list(self._events.values())),
            self._message(viewer, "undecided", undecided=self._undecided),
            *self._in_parts(viewer, "feed", [text for _, text in self._feed]),
        ]

    def _account_rows(self, account_ids: Iterable[str]) -> list[str]:
        now = time.monotonic()
        return [self._accounts[each].text(now) for each in account_ids if each in self._accounts]

    def _in_parts(self, viewer: Viewer, kind: str, rows: list[str]) -> list[str]:
        """Return *rows* in as many messages as it takes to keep each small: long ones are sent in pieces badly."""
        messages: list[str] = []
        part: list[str] = []
        size = 0
        for row in rows:
            if part and size + len(row) > LARGEST_PART:
                messages.append(self._message(viewer, kind, **{kind: _array(part)}))
                part, size = [], 0
            part.append(row)
            size += len(row)
        if part:
            messages.append(self._message(viewer, kind, **{kind: _array(part)}))
        return messages

    def _clear(self, viewer: Viewer) -> None:
        viewer.status = viewer.undecided = viewer.engine = viewer.has_feed = False
        viewer.accounts.clear()
        viewer.removed.clear()
        viewer.events.clear()

    def _message(self, viewer: Viewer, kind: str, **parts: str) -> str:
        viewer.seq += 1
        inner = "".join(f',"{name}":{text}' for name, text in parts.items())
        return f'{{"type":"{kind}","seq":{viewer.seq}{inner}}}'

    def _engine_json(self) -> str:
        return dumps_as_text({"connected": self._engine.connected, "since": self._engine.since})

    def _mark(self, mark: Callable[[Viewer], None]) -> None:
        """Under the lock."""
        for viewer in self._viewers:
            mark(viewer)
            viewer.wake.set()

    # --- following the engine ---

    def _run(self) -> None:
        status_due = asked_at = 0.0
        while not self._stopping.is_set():
            items = self._wait(WATCHED_SEC if self.viewers else UNWATCHED_SEC)
            try:
                if time.monotonic() - asked_at > IN_FORCE_SEC:
                    asked_at = time.monotonic()
                    self._shut_out()
                status_due = self._follow(items, status_due)
            except CopytradeError as error:
                log.info("the engine was not read: %s", error.message)
                self._begin_anew()
            except Exception:
                log.exception("the picture of the engine could not be brought up to date")
                self._begin_anew()

    def _shut_out(self) -> None:
        """End the streams of whoever was revoked elsewhere."""
        with self._lock:
            labels = {viewer.label for viewer in self._viewers}
        try:
            gone = {label for label in labels if not self._in_force(label)}
        except Exception:  # the picture itself is good; it is asked again soon
            log.exception("panel.db was not read: whether all viewers may still look is not known")
            return
        if gone:
            self.close_where(lambda viewer: viewer.label in gone, REVOKED, "revoked")

    def _begin_anew(self) -> None:
        """What was to be shown is lost: take the whole picture again, but not all the time."""
        self._is_loaded = False
        self._stopping.wait(AGAIN_SEC)

    def _wait(self, seconds: float) -> list[FeedEvent | EngineState]:
        items: list[FeedEvent | EngineState] = []
        try:
            item = self._queue.get(timeout=seconds)
            while True:
                if item is not None:
                    items.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return items

    def _follow(self, items: list[FeedEvent | EngineState], status_due: float) -> float:
        if self._overflowed.is_set():
            self._overflowed.clear()
            self._is_loaded = False
        self._show_engine(self._link.state)
        if not self._link.state.connected:
            self._is_loaded = False
            return 0.0
        trader = self._link.trader
        events = [item for item in items if isinstance(item, FeedEvent)]
        if not self._is_loaded or trader is not self._shown_of:
            self._load(trader)
            return time.monotonic() + STATUS_SEC
        self._take_changes(trader)
        if events:
            self._take_events(trader, events)
        is_due = time.monotonic() >= status_due and self.viewers
        if is_due or any(event.kind in _STATUS_KINDS for event in events):
            self._take_status(trader)
            return time.monotonic() + STATUS_SEC
        return status_due

    def _show_engine(self, state: EngineState) -> None:
        with self._lock:
            if state == self._engine:
                return
            self._engine = state
            self._mark(lambda viewer: setattr(viewer, "engine", True))

    def _load(self, trader: TraderApi) -> None:
        """Take the whole picture anew; every viewer gets a snapshot."""
        changes = trader.list_changes()
        status = dumps_as_text(status_json(trader.status(with_followers=False)))
        events = trader.list_events(limit=EVENTS_SHOWN, with_copies=False)
        undecided = self._undecided_rows(trader)
        newest = trader.list_feed(limit=FEED_SHOWN, newest=True)
        with self._lock:
            self._number = changes.number
            self._status = status
            self._accounts = {account.id: self._account_row(account) for account in changes.accounts}
            self._events = OrderedDict(
                (order.id, dumps_as_text(book_json(order, rows=False))) for order in reversed(events)
            )
            self._undecided = undecided
            self._feed = deque(((event.seq, dumps_as_text(feed_json(event))) for event in newest), maxlen=FEED_SHOWN)
            self._is_loaded, self._shown_of = True, trader
            self._mark(lambda viewer: setattr(viewer, "needs_snapshot", True))

    def _take_changes(self, trader: TraderApi) -> None:
        changes = trader.list_changes(self._number)
        if not changes.accounts and not changes.removed:
            self._number = changes.number
            return
        rows: dict[str, _Row] = {account.id: self._account_row(account) for account in changes.accounts}
        with self._lock:
            self._number = changes.number
            gone = {each for each in changes.removed if self._accounts.pop(each, None) is not None}
            self._accounts.update(rows)

            def mark(viewer: Viewer) -> None:
                viewer.accounts.update(rows)
                viewer.removed.update(gone)

            self._mark(mark)

    def _take_events(self, trader: TraderApi, events: list[FeedEvent]) -> None:
        rows: dict[str, str] = {}
        for event_id in dict.fromkeys(str(event.data["event_id"]) for event in events if event.data.get("event_id")):
            rows[event_id] = dumps_as_text(book_json(trader.get_event(event_id, with_copies=False), rows=False))
        undecided = self._undecided_rows(trader) if rows else self._undecided
        with self._lock:
            for event_id, text in rows.items():
                self._events[event_id] = text
            for event_id in sorted(self._events, key=int)[:-EVENTS_SHOWN]:
                del self._events[event_id]
            newest = self._feed[-1][0] if self._feed else 0
            # What waited while the picture was taken may be in it.
            self._feed.extend((event.seq, dumps_as_text(feed_json(event))) for event in events if event.seq > newest)
            is_new = undecided != self._undecided
            self._undecided = undecided

            def mark(viewer: Viewer) -> None:
                viewer.events.update(rows)
                viewer.has_feed = True
                viewer.undecided |= is_new
                if self._feed[0][0] > viewer.feed_after + 1 and len(self._feed) == FEED_SHOWN:
                    viewer.needs_snapshot = True  # it has missed some

            self._mark(mark)

    def _take_status(self, trader: TraderApi) -> None:
        status = dumps_as_text(status_json(trader.status(with_followers=False)))
        with self._lock:
            if status != self._status:
                self._status = status
                self._mark(lambda viewer: setattr(viewer, "status", True))

    def _undecided_rows(self, trader: TraderApi) -> str:
        return _array(
            dumps_as_text(copy_json(copy)) for copy in trader.list_copies(undecided=True, limit=UNDECIDED_SHOWN)
        )

    def _account_row(self, account: AccountView) -> _Row:
        return _Row(account_json(account, self._base, self._quote), time.monotonic())


def _array(texts: Any) -> str:
    return f"[{','.join(texts)}]"
