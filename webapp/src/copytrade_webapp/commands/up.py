"""``copytrade up``: engine and panel on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import click

from copytrade_core.cli.children import Child, copytrade_command
from copytrade_core.cli.output import say, warn
from copytrade_core.cli.session import Command, Failure, Session, pass_session
from copytrade_core.errors import ConfigError

PANEL_AGAIN_SEC = 2.0
ENGINE_STOP_SEC = 60  # it waits for answers that are due before it ends
PANEL_STOP_SEC = 30


@click.command(cls=Command)
@click.option("--bind", help="Where the panel listens (default: PANEL_BIND, else 127.0.0.1:8080).")
@pass_session
def up(session: Session, bind: str | None) -> None:
    """Run engine and panel on this machine until Ctrl-C or SIGTERM.

    The panel is started again when it ends; the engine is not: why it ended must be looked at first. The panel stays
    then and shows it; the exit code is 1 at the end."""
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
        ended = ""
        while not stop.wait(0.5):
            if engine.has_ended and not ended:
                ended = how_it_ended(engine.process.returncode)
                warn(
                    f"the engine has ended ({ended}), nothing is copied; the panel stays. Read what the engine said "
                    "above, then run copytrade engine in another window, or stop this with Ctrl-C and run copytrade up"
                )
            if panel.has_ended:
                say("The panel has ended; it is started again." + ("" if ended else " The engine trades on."))
                stop.wait(PANEL_AGAIN_SEC)
                try:
                    panel = Child("panel", panel_command)
                    panel.ready(stop)
                except (ConfigError, OSError):  # its port is taken, or memory is short: no reason to stop trading
                    warn("the panel cannot be started again; what it said is above, and it is tried again")
        if ended:
            raise Failure(f"the engine had ended by itself ({ended}); what it said is above")
    finally:
        if panel is not None:
            panel.end(PANEL_STOP_SEC)
        engine.end(ENGINE_STOP_SEC)


def how_it_ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
