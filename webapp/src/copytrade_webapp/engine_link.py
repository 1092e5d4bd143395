"""The panel's one connection to the engine: kept, renewed, and honest about since when it is not there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copytrade_core.api import TraderApi
from copytrade_core.clock import Clock, wall_text
from copytrade_core.control.client import RemoteCopyTrader
from copytrade_core.control.protocol import ADDRESS_FILE
from copytrade_core.errors import CopytradeError, EngineNotRunning
from copytrade_core.views import FeedEvent

log = logging.getLogger(__name__)

RETRY_SEC = 0.5


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether the engine answers; ``since`` is an ISO time (UTC), empty where nobody knows."""

    connected: bool
    since: str


class EngineLink:
    """Connects to the engine of *data_dir* and connects again for as long as the panel lives."""

    def __init__(self, data_dir: Path, connect: Callable[[Path], Any] = RemoteCopyTrader.connect) -> None:
        self._data_dir = data_dir
        self._connect = connect
        self._lock = threading.Lock()
        self._trader: Any = None
        self._state = EngineState(False, last_alive(data_dir))
        self._handlers: list[Callable[[FeedEvent], None]] = []
        self._watchers: list[Callable[[EngineState], None]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine-link", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            trader = self._trader
        if trader is not None:
            trader.close()
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def state(self) -> EngineState:
        with self._lock:
            return self._state

    @property
    def trader(self) -> TraderApi:
        """The engine, now. :raises EngineNotRunning: it is not there; the message says since when."""
        with self._lock:
            trader, since = self._trader, self._state.since
        if trader is None:
            text = f" since {since}" if since else ""
            raise EngineNotRunning(f"the engine is not running{text}; start it with `copytrade engine`")
        return trader  # type: ignore[no-any-return]

    def on_event(self, handler: Callable[[FeedEvent], None]) -> None:
        """Have *handler* told each feed event; it only enqueues. Before `start`."""
        self._handlers.append(handler)

    def on_state(self, watcher: Callable[[EngineState], None]) -> None:
        """Have *watcher* told when the engine comes and goes; it only enqueues. Before `start`."""
        self._watchers.append(watcher)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow(self._connect(self._data_dir))
            except CopytradeError as error:
                log.debug("the engine is not there, or went while it was being greeted: %s", error.message)
            except Exception:  # whatever it was: a panel that never asks again shows nothing until it is restarted
                log.exception("the engine could not be followed")
            self._stopping.wait(RETRY_SEC)

    def _follow(self, trader: Any) -> None:
        """Hand on what the engine tells until it is gone."""
        try:
            trader.subscribe(self._tell)
            self._become(trader, EngineState(True, _now()))
            while not trader.wait_lost(0.5) and not self._stopping.is_set():
                pass
        finally:
            self._become(None, EngineState(False, last_alive(self._data_dir) or _now()))
            trader.close()

    def _tell(self, event: FeedEvent) -> None:
        for handler in self._handlers:
            handler(event)

    def _become(self, trader: Any, state: EngineState) -> None:
        with self._lock:
            if trader is None and self._trader is None:
                return
            self._trader, self._state = trader, state
        for watcher in self._watchers:
            watcher(state)


def last_alive(data_dir: Path) -> str:
    """Return when an engine last gave a sign of life there, ISO in UTC; empty: never, or nobody knows."""
    try:
        seen = (data_dir / ADDRESS_FILE).stat().st_mtime
    except OSError:
        return ""
    return wall_text(int(seen) * 1000)


def _now() -> str:
    return wall_text(Clock().wall_ms())
