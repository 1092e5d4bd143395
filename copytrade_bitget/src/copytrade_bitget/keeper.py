"""Keeps connections warm, so that an order does not pay for a handshake nor meet a dead socket."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from copytrade_core.clock import NS_PER_SEC
from copytrade_core.errors import ExchangeError

from .rest import PUBLIC_TIME, Api

if TYPE_CHECKING:
    from .connector import BitgetConnector

log = logging.getLogger(__name__)

EVERY_SEC = 15.0  # between two uses of one connection
MIN_PAUSE_SEC = 0.1  # ten calls a second at most: half of what the route allows an address
RETRY_SEC = 5.0
ASK_AGAIN_SEC = 60


class Keeper:
    """One thread that goes round the idle connections. It starts with the first account."""

    def __init__(self, api: Api, name: str, most: int) -> None:
        self._api = api
        self._name = f"{name}-warm"
        self._most = most
        self._lock = threading.Lock()
        self._connectors: tuple[BitgetConnector, ...] = ()
        self._woken = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def keep(self, connectors: Sequence[BitgetConnector]) -> None:
        """Keep one connection open for each of *connectors*, up to the pool's size; replaces the former ones."""
        with self._lock:
            self._connectors = tuple(connectors)
            if self._thread is None and connectors and not self._stopped:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        self._woken.set()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._woken.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        warmed = 0
        asked_ns: dict[str, int] = {}
        while not self._stopped:
            self._woken.clear()
            connectors = self._connectors
            wanted = min(len(connectors), self._most)
            pause = EVERY_SEC
            if wanted:
                self._ask_a_family(connectors, asked_ns)
                # The first round opens the connections quickly; later ones only keep them from idling.
                pause = MIN_PAUSE_SEC if warmed < wanted else max(MIN_PAUSE_SEC, EVERY_SEC / wanted)
                warmed = min(warmed + 1, wanted)
                try:
                    self._api.get(PUBLIC_TIME, keep_open=wanted)
                except ExchangeError as error:
                    log.debug("%s: %s", self._name, error.kind)
                    pause = max(pause, RETRY_SEC)
            if not self._stopped:
                self._woken.wait(pause)

    def _ask_a_family(self, connectors: tuple[BitgetConnector, ...], asked_ns: dict[str, int]) -> None:
        """Find out the family of one account whose is unknown; one that does not tell is asked again in a minute."""
        now = self._api.clock.monotonic_ns()
        for connector in connectors:
            asked = asked_ns.get(connector.account_id)
            if connector.family is None and (asked is None or now - asked >= ASK_AGAIN_SEC * NS_PER_SEC):
                asked_ns[connector.account_id] = now
                try:
                    connector.detect_family()
                except ExchangeError as error:
                    log.debug("%s: an account's family is not known: %s", self._name, error.kind)
                return
