"""What the panel's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from panel_process import RunningPanel, free_port, running_panel


@pytest.fixture
def panel_on() -> Any:
    """Return what runs a panel: ``with panel_on(data_dir, APP_MODE="...") as panel``."""

    @contextmanager
    def run(data_dir: Path, **environ: str) -> Iterator[RunningPanel]:
        with running_panel(data_dir, f"127.0.0.1:{free_port()}", **environ) as panel:
            yield panel

    return run
