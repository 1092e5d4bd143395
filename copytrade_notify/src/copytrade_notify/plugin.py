"""The hooks that this plug-in answers; all that its entry point names."""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from copytrade_core.hookspecs import hookimpl
from copytrade_core.model import ExchangeDescription
from copytrade_core.redaction import redactor

from .config import VARIABLE, Target, read_targets
from .sender import Notifier


@functools.cache
def configured_targets() -> tuple[Target, ...]:
    """Return the targets of this process, none where `COPYTRADE_NOTIFY` is not set. :raises ConfigError: see there."""
    path = os.environ.get(VARIABLE)
    targets = read_targets(Path(path).expanduser()) if path else ()
    for target in targets:
        redactor.register(*target.secrets)
    return targets


@functools.cache
def _notifier() -> Notifier:
    notifier = Notifier(configured_targets())
    notifier.start()
    atexit.register(notifier.stop)
    return notifier


@hookimpl
def copytrade_describe_exchanges() -> Sequence[ExchangeDescription]:
    """There are none; but a wrong configuration is found here, where ``copytrade plugins`` and ``doctor`` show it."""
    configured_targets()
    return ()


@hookimpl
def copytrade_on_event(event: Mapping[str, Any]) -> None:
    _notifier().offer(event)
