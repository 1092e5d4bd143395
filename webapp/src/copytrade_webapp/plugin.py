"""The hook that the panel answers; all that its entry point names. No web framework here: engines load it, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from copytrade_core.hookspecs import hookimpl


@hookimpl
def copytrade_on_init(data_dir: str) -> Mapping[str, str]:
    """Make the panel's database, the first access token, and the code that registers the first device."""
    from .access.store import PanelStore
    from .settings import PanelSettings

    settings = PanelSettings.from_environment(data_dir=Path(data_dir))
    store = PanelStore(settings.database_path)
    try:
        _, token = store.add_token("first")
        return {"access_token": token, "device_code": store.add_enrolment_code()}
    finally:
        store.close()
