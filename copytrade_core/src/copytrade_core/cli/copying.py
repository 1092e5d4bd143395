"""``copytrade copy``: start and stop."""

from __future__ import annotations

import click

from .output import bad, good, print_json, say
from .session import Group, Session, as_json, pass_session


@click.group(cls=Group)
def copy() -> None:
    """Start and stop copying."""


@copy.command()
@as_json
@pass_session
def start(session: Session, as_json: bool) -> None:
    """Copy what the leader places from now on."""
    running = session.engine.start_copying()
    if as_json:
        print_json({"running": running})
    else:
        say(f"Copying is {good('RUNNING')}: the leader's next order will be copied.")


@copy.command()
@as_json
@pass_session
def stop(session: Session, as_json: bool) -> None:
    """Copy nothing more. Returns when no new order can leave."""
    running = session.engine.stop_copying()
    if as_json:
        print_json({"running": running})
    else:
        say(f"Copying is {bad('STOPPED')}: no new order can leave; what is in flight is still settled.")
