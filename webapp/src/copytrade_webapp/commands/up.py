"""``copytrade up``: engine and panel on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import click

from copytrade_core.cli.children import Child, copytrade_command
from copytrade_core.cli.output import say
from copytrade_core.cli.session import Command, Failure, Session, pass_session

PANEL_AGAIN_SEC = 2.0
ENGINE_STOP_SEC = 60  # it waits for answers that are due before it ends
PANEL_STOP_SEC = 30


@click.command(cls=Command)
@click.option("--bind", help="Where the panel listens (default: PANEL_BIND, else 127.0.0.1:8080).")
@pass_session
def up(session: Session, bind: str | None) -> None:
    """Run engine and panel on this machine until Ctrl-C or SIGTERM.

    The panel is started again when it ends; the engine is not: why it ended must be looked at first."""
    stop = threading.Event()

    def ask_to_stop(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    data_dir = session.settings.data_dir
    panel_command = copytrade_command("panel", "--json", *(["--bind", bind] if bind else []), data_dir=data_dir)
    engine = Child("engine", copytrade_command("engine", "--json", data_dir=data_dir))
    panel: Child | None = None
    try:
        if not engine.ready(stop):
            return
        panel = Child("panel", [*panel_command, "--login-link"])
        told = panel.ready(stop)
        if not told:
            return
        say(f"The engine runs (process {engine.process.pid}), the panel is at {told['url']}; Ctrl-C stops both.")
        say(f"Log in, once, within ten minutes: {told['login']}")
        say("Another link: copytrade tokens login-link")
        while not stop.wait(0.5):
            if engine.has_ended:
                raise Failure(f"the engine has ended (exit code {engine.process.returncode}); what it said is above")
            if panel.has_ended:
                say("The panel has ended; it is started again. The engine trades on.")
                stop.wait(PANEL_AGAIN_SEC)
                panel = Child("panel", panel_command)
                panel.ready(stop)
    finally:
        if panel is not None:
            panel.end(PANEL_STOP_SEC)
        engine.end(ENGINE_STOP_SEC)
