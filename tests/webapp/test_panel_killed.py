"""``copytrade up`` whose panel is killed and whose port is taken: trading goes on, and the panel comes back."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from memory_exchange import until
from panel_process import Browser, free_port


class Up:
    """``copytrade up`` as a process, and what it says."""

    def __init__(self, environ, port, log):
        self.url, self.log, self.said = f"http://127.0.0.1:{port}", log, []
        with log.open("a") as stderr:
            self.process = subprocess.Popen(
                [*COPYTRADE, "up", "--bind", f"127.0.0.1:{port}"],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)

    def hears(self, words, seconds=60):
        """Return the first line with these words in it."""
        while True:
            line = self._lines.get(timeout=seconds)
            self.said.append(line)
            if words in line:
                return line

    def child(self, command):
        """Return the process id of the child that runs this command."""
        own = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (found,) = [pid for pid in own if f"\0{command}\0" in Path(f"/proc/{pid}/cmdline").read_text()]
        return int(found)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(60)
        self._reader.join()
        return code


COPYTRADE = [sys.executable, "-m", "copytrade_core.cli.main"]


@pytest.fixture
def environ(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COPYTRADE_", "PANEL_", "APP_"))}
    environ = {**kept, "HOME": str(tmp_path / "home"), "DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run([*COPYTRADE, "init"], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return environ


@pytest.fixture
def up(environ, tmp_path):
    up = Up(environ, free_port(), tmp_path / "up.log")
    try:
        yield up
    finally:
        up.end()


def answers(url):
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def is_alive(pid):
    return Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()


def can_listen(port):
    trial = socket.socket()
    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        trial.bind(("127.0.0.1", port))
        trial.listen()
    except OSError:
        trial.close()
        return None
    return trial


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's list of processes")


@pytest.mark.slow
@needs_proc
def test_the_engine_trades_on_while_the_panel_is_killed_and_its_port_taken(up, environ):
    login = up.hears("Log in, once").partition("#code=")[2].strip()
    until(lambda: answers(up.url), 30)
    browser = Browser(up.url)
    with contextlib.closing(browser):
        browser.log_in(login)
        assert browser.call("GET", "/api/v1/status").status_code == 200
        engine, panel = up.child("engine"), up.child("panel")

        for command in ("engine", "up"):
            second = subprocess.run(
                [*COPYTRADE, command], env={**environ, "PANEL_BIND": f"127.0.0.1:{free_port()}"},
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert second.returncode == 1, command
            assert "another engine" in second.stderr and "stop it" in second.stderr, second.stderr

        os.kill(panel, signal.SIGKILL)
        port = int(up.url.rpartition(":")[2])
        taken = until(lambda: can_listen(port), 30)
        with taken:
            until(lambda: "the panel cannot be started again" in up.log.read_text(), 60)
            assert up.process.poll() is None and is_alive(engine)
        until(lambda: answers(up.url), 60)
        assert up.child("engine") == engine and up.child("panel") != panel
        assert browser.call("GET", "/api/v1/status").json()["running"] is False, "the session is still good"

    assert up.end() == 0
    assert not is_alive(engine) and not answers(up.url)
