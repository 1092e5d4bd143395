"""A real engine process, started, asked and stopped as an operator does."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from copytrade_core import hookimpl
from copytrade_core.cli.main import main
from copytrade_core.control.client import RemoteCopyTrader
from copytrade_core.errors import ConfigError, EngineNotRunning
from copytrade_core.plugins import Plugins

START_SEC = 20
STOP_SEC = 20


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COPYTRADE_")}
    return {**kept, "HOME": str(tmp_path / "home"), "DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def run(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "copytrade_core.cli.main", *arguments]
        return subprocess.run(command, env=environ, input=typed, capture_output=True, text=True, timeout=START_SEC)

    return run


class Engine:
    """One engine process; what it says on standard output can be waited for."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        with log.open("a") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "copytrade_core.cli.main", "engine", "--json"],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def ready(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._lines.get(timeout=START_SEC))
        return answer

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(STOP_SEC)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    started: list[Engine] = []

    def start() -> Engine:
        started.append(Engine(environ, tmp_path / "engine.log"))
        return started[-1]

    yield start
    for engine in started:
        if engine.process.poll() is None:
            engine.end(signal.SIGKILL)


def test_an_engine_lives_from_init_to_sigterm(run: Any, start: Any, tmp_path: Path) -> None:
    assert run("init").returncode == 0
    engine = start()

    ready = engine.ready()

    assert ready == {"ready": True, "pid": engine.process.pid, "socket": str(tmp_path / "data" / "engine.sock")}
    status = run("status", "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["running"] is False
    assert json.loads(run("copy", "stop", "--json").stdout) == {"running": False}
    assert run("doctor").returncode == 0

    second = run("engine")
    assert second.returncode == 1
    assert f"another engine (process {engine.process.pid})" in second.stderr
    assert second.stderr.count("\n") == 1

    started = time.monotonic()
    assert engine.end(signal.SIGTERM) == 0
    assert time.monotonic() - started < 5
    gone = run("status")
    assert gone.returncode == 1
    assert "last alive at" in gone.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_an_engine_that_ended_can_be_started_again(run: Any, start: Any, tmp_path: Path, number: int) -> None:
    run("init")
    engine = start()
    engine.ready()

    with RemoteCopyTrader.connect(tmp_path / "data") as remote:
        assert engine.end(number) == (0 if number == signal.SIGINT else -signal.SIGKILL)
        assert remote.wait_lost(10)
        with pytest.raises(EngineNotRunning):
            remote.status()

    again = start()
    assert again.ready()["pid"] == again.process.pid
    assert run("status").returncode == 0


def test_without_a_vault_the_engine_says_what_to_do(run: Any) -> None:
    result = run("engine")

    assert result.returncode == 1
    assert "copytrade init" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_named(run: Any, environ: dict[str, str]) -> None:
    environ["BALANCE_POLL_SEC"] = "soon"

    result = run("engine")

    assert result.returncode == 1
    assert "BALANCE_POLL_SEC" in result.stderr
    assert "Traceback" not in result.stderr


def test_too_few_open_files_are_refused_before_anything_is_sent(run: Any, environ: dict[str, str]) -> None:
    run("init")

    result = subprocess.run(
        f"ulimit -n 64 && exec {sys.executable} -m copytrade_core.cli.main engine",
        shell=True,
        env=environ,
        capture_output=True,
        text=True,
        timeout=START_SEC,
    )

    assert result.returncode == 1
    assert "only 64 open files and sockets are allowed here" in result.stderr
    assert "ulimit -n" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_key_is_never_read_where_it_would_be_echoed(run: Any, start: Any, environ: dict[str, str]) -> None:
    run("init")
    start().ready()

    result = subprocess.run(
        [sys.executable, "-m", "copytrade_core.cli.main", "leader", "set", "--exchange", "binance", "--env", "test"],
        input=f"{'k' * 64}\na-secret-that-nobody-hid\n",
        start_new_session=True,  # so there is no terminal behind it either
        env=environ,
        capture_output=True,
        text=True,
        timeout=START_SEC,
    )

    assert result.returncode == 2
    assert "there is no terminal to type it in: give the fields as JSON with --file" in result.stderr
    assert "GetPassWarning" not in result.stderr
    assert "a-secret-that-nobody-hid" not in result.stdout + result.stderr


def test_a_closed_pipe_is_no_error(run: Any, start: Any, environ: dict[str, str]) -> None:
    run("init")
    start().ready()

    shell = subprocess.run(
        f"{sys.executable} -m copytrade_core.cli.main export | true",
        shell=True,
        env=environ,
        capture_output=True,
        text=True,
        timeout=START_SEC,
    )

    assert "Traceback" not in shell.stderr
    assert "Error" not in shell.stderr


def test_init_prints_once_what_plug_ins_want_noted_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Panel:
        @hookimpl
        def copytrade_on_init(self, data_dir: str) -> dict[str, str]:
            return {"access_token": f"for {Path(data_dir).name}"}

    result = _init_with(Panel(), monkeypatch, tmp_path)

    assert result.exit_code == 0
    assert "Access token    for data\n" in result.output


def test_init_says_which_plug_in_could_not_make_its_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Panel:
        @hookimpl
        def copytrade_on_init(self) -> dict[str, str]:
            raise ConfigError("the disk is full")

    result = _init_with(Panel(), monkeypatch, tmp_path)

    assert result.exit_code == 1
    assert "the plug-in panel says: the disk is full" in result.output
    assert (tmp_path / "data" / "vault.json").exists()


def _init_with(plugin: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Result:
    plugins = Plugins()
    plugins.register(plugin, "panel")
    monkeypatch.setattr("copytrade_core.cli.engine.Plugins.discover", lambda: plugins)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("COPYTRADE_MASTER_KEY", "COPYTRADE_MASTER_KEY_FILE"):
        monkeypatch.setenv(variable, "")  # init sets one of them for the rest of its process
    return CliRunner().invoke(main, ["--data-dir", str(tmp_path / "data"), "init"])
