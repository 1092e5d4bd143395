"""The panel's database, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from copytrade_core.cli.session import Session
from copytrade_core.clock import wall_text
from copytrade_core.errors import ConfigError

from ..access.store import PanelStore
from ..settings import PanelSettings


@contextmanager
def panel_store(session: Session) -> Iterator[tuple[PanelStore, PanelSettings]]:
    """Open ``panel.db`` of the data directory. :raises ConfigError: there is no such directory."""
    settings = PanelSettings.from_environment(data_dir=session.settings.data_dir)
    if not settings.data_dir.is_dir():
        raise ConfigError(f"{settings.data_dir} is not there; make a new installation with `copytrade init`")
    store = PanelStore(settings.database_path)
    try:
        yield store, settings
    finally:
        store.close()


def moment(ms: int | None) -> str:
    """Return a time for a list: to the minute, in UTC."""
    return "never" if ms is None else wall_text(ms)[:16].replace("T", " ")
