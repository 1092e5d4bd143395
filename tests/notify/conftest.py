"""A server on this machine that stands in for every robot, and configuration files for it."""

from __future__ import annotations

import json
import queue
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from copytrade_notify import sender as sender_module

TOKEN = "TOKENabcdefghij0123456789"


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: dict


class Robot:
    """Takes posts; answers with what `answers` holds next, else with success in every robot's words at once."""

    def __init__(self) -> None:
        self.posted: queue.Queue[Posted] = queue.Queue()
        self.answers: queue.Queue[tuple[int, dict[str, str], bytes]] = queue.Queue()
        robot = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                robot.posted.put(Posted(self.path, dict(self.headers), body))
                try:
                    status, headers, answer = robot.answers.get_nowait()
                except queue.Empty:
                    status, headers, answer = 200, {}, b'{"errcode": 0, "ok": true}'
                self.send_response(status)
                for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="robot", args=(0.02,))
        self._thread.start()

    def refuse(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answers.put((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    def next(self, timeout_sec: float = 10) -> Posted:
        return self.posted.get(timeout=timeout_sec)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture
def config_file(tmp_path):
    def write(content: object, mode: int = 0o600):
        path = tmp_path / "notify.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def quick(monkeypatch):
    """The same rests, a hundred times shorter."""
    for name in ("GATHER_SEC", "BETWEEN_SEC", "DOWN_SEC"):
        monkeypatch.setattr(sender_module, name, 0.05)
    monkeypatch.setattr(sender_module, "PAUSES_SEC", (0.01, 0.02))
