"""The parts of one running panel, and how calls find them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, current_app

from .access.store import PanelStore
from .access.tickets import Tickets
from .engine_link import EngineLink
from .hub import LiveHub
from .settings import PanelSettings

VERIFIES_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """What a running panel consists of."""

    settings: PanelSettings
    link: EngineLink
    hub: LiveHub
    store: PanelStore
    tickets: Tickets
    # For what must be answered in time although an exchange may take longer.
    patient: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(VERIFIES_AT_ONCE, thread_name_prefix="panel-patient")
    )

    def start(self) -> None:
        """Connect to the engine and begin to follow it. After the fork, not before: threads do not survive it."""
        self.hub.start()
        self.link.start()

    def stop(self) -> None:
        self.hub.stop()
        self.link.stop()  # which also ends what is being waited for
        self.patient.shutdown(wait=True, cancel_futures=True)
        self.store.close()


def panel_of(app: Flask | None = None) -> Panel:
    """Return the panel that *app*, or the current one, belongs to."""
    found: Any = (app or current_app).extensions["copytrade"]
    return found  # type: ignore[no-any-return]
