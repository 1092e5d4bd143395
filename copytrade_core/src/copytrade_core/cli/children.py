"""Processes of our own: started, waited for until they say that they are ready, and ended."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import ConfigError

START_SEC = 60
LOOK_SEC = 0.1


def copytrade_command(*arguments: str, data_dir: Path | None = None) -> list[str]:
    """Return what starts ``copytrade`` with these arguments as a process of its own."""
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return [sys.executable, "-m", "copytrade_core.cli.main", *where, *arguments]


def end_properly_when_told() -> None:
    """Let SIGTERM unwind this process, so that its children end with it; by default it would leave them behind."""

    def unwind(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)


class Child:
    """A process that prints one line of JSON when it is ready."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        """
        :param name: what it is called in sentences.
        :param environ: replaces the environment.
        :param log: what it says on standard error is added to this file; not given: it comes where ours goes.
        """
        self.name = name
        self._told = "above" if log is None else f"in {log}"
        with contextlib.nullcontext() if log is None else log.open("ab") as stderr:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL, text=True, env=environ
            )
        self._line = ""
        self._said = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"child-{name}", daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def ready(self, give_up: threading.Event | None = None) -> dict[str, Any]:
        """Return what it said when it was ready; empty where *give_up* was set before.

        :raises ConfigError: it ended, or said nothing for a minute; it is ended then.
        """
        for _ in range(int(START_SEC / LOOK_SEC)):
            if self._said.wait(LOOK_SEC):
                break
            if give_up is not None and give_up.is_set():
                return {}
        try:
            said: dict[str, Any] = json.loads(self._line)
        except ValueError:
            self.end(5)
            raise ConfigError(f"the {self.name} did not start; what it said is {self._told}") from None
        return said

    def end(self, seconds: float) -> None:
        """Ask it to end, wait at most *seconds*, then make it."""
        if not self.has_ended:
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
