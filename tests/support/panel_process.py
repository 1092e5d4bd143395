"""A panel as it runs: gunicorn in a process of its own, in front of an engine that answers what a test says."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import websocket

START_SEC = 30


class RunningPanel:
    """One panel process and what it said of itself."""

    def __init__(self, data_dir: Path, process: subprocess.Popen[str], told: Mapping[str, Any], log: Path) -> None:
        self.data_dir, self.process, self.url, self.login = data_dir, process, told["url"], told["login"]
        self._log = log

    @property
    def login_code(self) -> str:
        return self.login.partition("#code=")[2]

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def running_panel(data_dir: Path, bind: str, **environ: str) -> Iterator[RunningPanel]:
    """Run ``copytrade panel`` on *data_dir*; *environ* is added to the environment."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COPYTRADE_", "PANEL_", "APP_"))}
    command = [
        sys.executable,
        "-c",
        PANEL,
        "--data-dir",
        str(data_dir),
        "panel",
        "--json",
        "--login-link",
        "--bind",
        bind,
    ]
    path = os.pathsep.join(each for each in sys.path if each)
    log = data_dir.parent / f"{data_dir.name}-panel.log"
    with log.open("a") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**kept, "PYTHONPATH": path, "HOME": str(data_dir.parent), **environ},
        )
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True)  # type: ignore[union-attr]
    reader.start()
    try:
        line = lines.get(timeout=START_SEC)
        assert line, f"the panel did not start:\n{log.read_text()}"
        yield RunningPanel(data_dir, process, json.loads(line), log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


# Not through the entry point: these tests also run where nothing is installed.
PANEL = """
from copytrade_core.cli.main import main
from copytrade_webapp.commands.panel import panel
main.add_command(panel)
main()
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


class Browser:
    """What a page does: logs in by the one-time code, keeps the cookie, shows token and origin with each change."""

    def __init__(self, url: str, *, verify: str | bool = True, **options: Any) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = verify
        self.options = options
        self.csrf = ""
        self._streams: list[websocket.WebSocket] = []

    def close(self) -> None:
        for stream in self._streams:
            stream.shutdown()
        self.http.close()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        given = {"Origin": self.url, **({"X-CSRF-Token": self.csrf} if self.csrf else {}), **headers}
        return self.http.request(method, f"{self.url}{path}", json=body, headers=given, timeout=20, **self.options)

    def log_in(self, code: str) -> dict[str, Any]:
        answer = self.call("POST", "/api/v1/session", {"code": code})
        assert answer.status_code == 200, answer.text
        self.csrf = answer.json()["csrf"]
        return answer.json()

    def ticket(self) -> str:
        answer = self.call("POST", "/api/v1/stream/ticket")
        assert answer.status_code == 200, answer.text
        return answer.json()["ticket"]

    def stream(self, ticket: str | None = None, origin: str | None = None, **options: Any) -> websocket.WebSocket:
        """Open the live stream as a page would, with a new ticket where none is given."""
        ticket = self.ticket() if ticket is None else ticket
        stream = websocket.create_connection(
            self.url.replace("http", "ws", 1) + "/api/v1/stream",
            subprotocols=["ct.v1", f"ticket.{ticket}"],
            origin=origin or self.url,
            timeout=20,
            http_no_proxy=["127.0.0.1", "localhost"],
            **options,
        )
        self._streams.append(stream)
        return stream
