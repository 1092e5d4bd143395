"""A stand-in for Bitget on loopback: scripted answers, every request recorded as its raw bytes said it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from copytrade_bitget.connector import BitgetConnector, BitgetExchange
from copytrade_core.clock import Clock, ExchangeClock
from copytrade_core.connector import ExchangeContext, Gate, PreparedOrder
from copytrade_core.model import AccountId, Credentials, Environment, Symbol

DATA = Path(__file__).parent.parent / "data" / "bitget"
SECRETS = {"api_key": "bg_planted_key_0001", "api_secret": "bitget-test-secret", "passphrase": "planted-phrase"}


@pytest.fixture(scope="session")
def payload() -> Callable[[str], bytes]:
    return lambda name: (DATA / f"{name}.json").read_bytes()


@dataclass
class Seen:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Script = Callable[["Seen", socket.socket], bytes | None]


def answer(body: bytes | dict[str, Any], status: int = 200, headers: str = "") -> bytes:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\n{headers}\r\n".encode() + raw


def refusal(code: str, words: str = "no") -> bytes:
    return answer({"code": code, "msg": words, "requestTime": 1, "data": None}, 400)


@dataclass
class FakeBitget:
    """Answers by path; a script returns the bytes to send, or ``None`` to hang up."""

    scripts: dict[str, Script] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="fake-bitget")]
        self._threads[0].start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._open:
            with _ignored():
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def on(self, path: str, *answers: bytes | Script | None) -> None:
        """Give *answers* in turn; the last one stays."""
        left = list(answers)

        def script(seen: Seen, connection: socket.socket) -> bytes | None:
            one = left.pop(0) if len(left) > 1 else left[0]
            return one(seen, connection) if callable(one) else one

        self.scripts[path] = script

    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    def asked(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.target.partition("?")[0] == path]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="fake-bitget-connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, _ignored():
            while line := stream.readline():
                method, target, _ = line.decode().split(" ", 2)
                headers = {}
                while (header := stream.readline().decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                seen = Seen(method, target, headers, body)
                with self.changed:
                    self.seen.append(seen)
                    self.changed.notify_all()
                script = self.scripts.get(target.partition("?")[0])
                reply = script(seen, connection) if script else refusal("40404", "no script")
                if reply is None:
                    return
                connection.sendall(reply)


@contextmanager
def _ignored() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


@pytest.fixture
def bitget() -> Iterator[FakeBitget]:
    fake = FakeBitget()
    fake.start()
    yield fake
    fake.stop()


class OpenGate(Gate):
    """Lets everything pass and counts it."""

    def __init__(self) -> None:
        self.passed = 0
        self.inside = threading.Event()

    def passage(self, prepared: PreparedOrder) -> AbstractContextManager[None]:
        @contextmanager
        def through() -> Iterator[None]:
            self.passed += 1
            self.inside.set()
            yield
            self.inside.clear()

        return through()


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
def exchange_clock() -> ExchangeClock:
    clock = Clock()
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(clock.wall_ms, probes=1)
    return exchange_clock


@pytest.fixture
def exchange(bitget: FakeBitget, exchange_clock: ExchangeClock) -> Iterator[BitgetExchange]:
    opened = open_exchange(bitget.url, exchange_clock)
    yield opened
    opened.close()


def open_exchange(
    url: str,
    exchange_clock: ExchangeClock,
    environment: Environment = Environment.DEMO,
    ws: str = "ws://127.0.0.1:9",
    **context: Any,
) -> BitgetExchange:
    return BitgetExchange(
        ExchangeContext(
            environment=environment,
            symbol=Symbol("BTC", "USDT"),
            clock=Clock(),
            exchange_clock=exchange_clock,
            endpoints={"rest": url, "ws": ws},
            **context,
        )
    )


@pytest.fixture
def connector(exchange: BitgetExchange) -> BitgetConnector:
    return exchange.open_connector(AccountId("00000000-0000-0000-0000-000000000001"), Credentials(SECRETS))


@pytest.fixture
def helpers() -> Any:
    """The functions of this file that tests call: no test package, so there is nothing to import from."""

    class Helpers:
        pass

    Helpers.answer = staticmethod(answer)
    Helpers.refusal = staticmethod(refusal)
    Helpers.open_exchange = staticmethod(open_exchange)
    Helpers.secrets = SECRETS
    return Helpers
