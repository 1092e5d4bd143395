"""``copytrade notify-test``: does a notice arrive?"""

from __future__ import annotations

import click

from copytrade_core.errors import ConfigError

from .config import VARIABLE
from .messages import own_event
from .plugin import configured_targets
from .sender import Sender


@click.command("notify-test")
def notify_test() -> None:
    """Send a test message to every target of COPYTRADE_NOTIFY. Exit code 1 if one does not take it."""
    targets = configured_targets()
    if not targets:
        raise ConfigError(f"{VARIABLE} is not set: it names the JSON file with the targets")
    failed = False
    for target in targets:
        verdict = Sender(target, lambda *_: None).post([own_event("test")])
        failed |= not verdict.delivered
        click.echo(f"{target.name} ({target.format}): {'delivered' if verdict.delivered else verdict.reason}")
    if failed:
        raise click.exceptions.Exit(1)
