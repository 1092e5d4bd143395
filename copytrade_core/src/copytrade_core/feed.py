"""What happened, numbered: to the journal first, then to whoever follows along."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select

from .clock import Clock, wall_text
from .codec import to_wire
from .plugins import Plugins
from .store.journal import Journal
from .store.schema import feed as table
from .views import FeedEvent

log = logging.getLogger(__name__)

OBSERVER_QUEUE = 10_000


class Feed:
    """Journals events, hands them to subscribers, and to the plug-ins' observers on a thread of its own."""

    def __init__(self, clock: Clock, journal: Journal, plugins: Plugins) -> None:
        self._clock = clock
        self._journal = journal
        self._plugins = plugins
        self._lock = threading.Lock()
        self._handlers: list[Callable[[FeedEvent], Any]] = []
        self._queue: queue.Queue[FeedEvent | None] = queue.Queue(OBSERVER_QUEUE)
        self._thread = threading.Thread(target=self._observe, name="observers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(20)

    def publish(self, kind: str, text: str, *, what: str, **data: Any) -> None:
        """Record an event; returns at once. Subscribers hear of it when it is on disk.

        :param what: the event's own word in the table of `kinds`, which says it in other languages.
        :param data: the figures that its sentence wants, and whatever else programs may need.
        """
        wall_ms = self._clock.wall_ms()
        plain: dict[str, Any] = to_wire({"what": what, **data})
        log.log(logging.WARNING if kind in ("alarm", "halt") else logging.INFO, "%s: %s", kind, text)

        def insert(connection: Connection) -> FeedEvent:
            row = connection.execute(table.insert(), {"wall_ms": wall_ms, "kind": kind, "text": text, "data": plain})
            assert row.inserted_primary_key is not None
            seq = row.inserted_primary_key[0]
            return FeedEvent(seq=seq, t=wall_text(wall_ms), kind=kind, text=text, data=plain)

        self._journal.submit(insert).add_done_callback(
            lambda done: self._tell(done.result()) if not done.exception() else None
        )

    def alarm(self, text: str, *, what: str, **data: Any) -> None:
        """Publish something that a person should look at."""
        self.publish("alarm", text, what=what, **data)

    def subscribe(self, handler: Callable[[FeedEvent], Any]) -> Callable[[], None]:
        """Have *handler* called for each event from now on; it only enqueues. Returns what ends it."""
        with self._lock:
            self._handlers.append(handler)

        def end() -> None:
            with self._lock:
                if handler in self._handlers:
                    self._handlers.remove(handler)

        return end

    def since(self, after: int, limit: int, *, newest: bool = False) -> list[FeedEvent]:
        """Return at most *limit* events numbered above *after*, oldest first; of more the oldest, or the newest."""
        order = table.c.seq.desc() if newest else table.c.seq
        with self._journal.reading() as connection:
            rows = connection.execute(select(table).where(table.c.seq > after).order_by(order).limit(limit))
            found = [
                FeedEvent(seq=row.seq, t=wall_text(row.wall_ms), kind=row.kind, text=row.text, data=row.data)
                for row in rows
            ]
        return found[::-1] if newest else found

    def _tell(self, event: FeedEvent) -> None:
        with self._lock:
            handlers = list(self._handlers)
        for handler in handlers:
            try:
                handler(event)
            except Exception:  # a follower's bug must not reach the journal's thread
                log.exception("a feed subscriber failed")
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            log.warning("observers cannot keep up; event %d was not shown to them", event.seq)

    def _observe(self) -> None:
        while (event := self._queue.get()) is not None:
            plain = {"seq": event.seq, "t": event.t, "kind": event.kind, "text": event.text, **event.data}
            for implementation in self._plugins.hook.copytrade_on_event.get_hookimpls():
                try:
                    # An observer takes the parameters that it wants.
                    implementation.function(*([plain] if implementation.argnames else []))
                except (Exception, SystemExit):
                    log.exception("the observer %s failed", implementation.plugin_name)
