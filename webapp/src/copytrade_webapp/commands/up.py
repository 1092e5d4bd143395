"""``copytrade up``: engine and panel on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import click

from copytrade_core.cli.output import say
from copytrade_core.cli.session import Command, Failure, Session, pass_session
from copytrade_core.settings import Settings

from .panel import panel_command

START_SEC = 60
PANEL_AGAIN_SEC = 2.0
ENGINE_STOP_SEC = 60  # it waits for answers that are due before it ends
PANEL_STOP_SEC = 30


class Child:
    """A process of ours, and the line by which it says that it is ready."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self._line = ""
        self._said = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"up-{name}", daemon=True)
        self._reader.start()

    def ready(self, stop: threading.Event) -> dict[str, object]:
        """Return what it says when it is ready. :raises Failure: it ended, or says nothing."""
        for _ in range(START_SEC * 10):
            if self._said.wait(0.1):
                break
            if stop.is_set():
                raise click.exceptions.Exit(0)
        if not self._line:
            self.end(5)
            raise Failure(f"the {self.name} did not start; what it said is above")
        return json.loads(self._line)  # type: ignore[no-any-return]

    def end(self, seconds: float) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self._line = lines.readline()
            self._said.set()
            for _ in lines:  # nothing more is expected; a full pipe must not hold it up
                pass


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
    settings: Settings = session.settings
    engine = Child("engine", _engine_command(settings.data_dir))
    panel: Child | None = None
    try:
        engine.ready(stop)
        arguments = ["--json", *(["--bind", bind] if bind else [])]
        panel = Child("panel", panel_command(settings.data_dir, *arguments, "--login-link"))
        told = panel.ready(stop)
        say(f"The engine runs (process {engine.process.pid}), the panel is at {told['url']}; Ctrl-C stops both.")
        say(f"Log in, once, within ten minutes: {told['login']}")
        say("Another link: copytrade tokens login-link")
        while not stop.wait(0.5):
            if engine.process.poll() is not None:
                raise Failure(f"the engine has ended (exit code {engine.process.returncode}); what it said is above")
            if panel.process.poll() is not None:
                say("The panel has ended; it is started again. The engine trades on.")
                stop.wait(PANEL_AGAIN_SEC)
                panel = Child("panel", panel_command(settings.data_dir, *arguments))
                panel.ready(stop)
    finally:
        if panel is not None:
            panel.end(PANEL_STOP_SEC)
        engine.end(ENGINE_STOP_SEC)


def _engine_command(data_dir: Path) -> list[str]:
    return [sys.executable, "-m", "copytrade_core.cli.main", "--data-dir", str(data_dir), "engine", "--json"]
