"""A stand-in for Binance over real loopback sockets: it answers as told, and remembers what it was asked."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from copytrade_core.clock import Clock, ExchangeClock
from copytrade_core.connector import ExchangeContext, Gate
from copytrade_core.errors import NotSent
from copytrade_core.model import (
    BaseQuantity,
    ClientOrderId,
    Credentials,
    Environment,
    MarketOrder,
    QuoteAmount,
    Side,
    Symbol,
)

DATA = Path(__file__).parent.parent / "data" / "binance"
API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
API_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
NOW_MS = 1_764_000_000_000

Answer = tuple[int, dict[str, str], bytes]


def recorded(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(), parse_float=Decimal)


def ok(payload: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **named}, json.dumps(payload, default=str).encode()


class Request:
    def __init__(self, method: str, path: str, query: str, body: str, headers: Any) -> None:
        self.method, self.path, self.query, self.body, self.headers = method, path, query, body, headers

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.query + ("&" if self.query and self.body else "") + self.body))


class FakeRest:
    """``on[path]`` is an answer, or a function of the request; a raw handler gets the socket as well."""

    def __init__(self) -> None:
        self.on: dict[str, Answer | Callable[[Request], Answer]] = {}
        self.raw: Callable[[Request, socket.socket], None] | None = None
        self.requests: list[Request] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                request = Request(self.command, parts.path, parts.query, body, self.headers)
                fake.requests.append(request)
                if fake.raw is not None:
                    self.close_connection = True
                    fake.raw(request, self.connection)
                    return
                answer = fake.on[parts.path]
                status, headers, content = answer(request) if callable(answer) else answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-rest")
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Line:
    """One connection, from the exchange's side."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.subscriptions: dict[int, str] = {}  # number -> api key
        self.next_number = 0

    def send(self, frame: Any) -> None:
        self.connection.send(frame if isinstance(frame, str) else json.dumps(frame, default=str))

    def push(self, api_key: str, event: Any) -> None:
        for number, owner in list(self.subscriptions.items()):
            if owner == api_key:
                self.send({"subscriptionId": number, "event": event})

    def cut(self) -> None:
        """End the TCP connection without a word."""
        self.connection.socket.shutdown(socket.SHUT_RDWR)


class FakeWsApi:
    """Answers by ``on[method](line, request)``: a result, ``(status, error)``, or ``None`` for silence."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.lines: list[Line] = []
        self.requests: queue.Queue[dict[str, Any]] = queue.Queue()
        self.on: dict[str, Callable[[Line, dict[str, Any]], Any]] = {
            "ping": lambda line, request: {},
            "userDataStream.subscribe.signature": self.subscribe,
            "userDataStream.unsubscribe": self.unsubscribe,
            "session.subscriptions": lambda line, request: [{"subscriptionId": n} for n in line.subscriptions],
        }
        self.silent = False
        self.on_open: Callable[[Line], None] = lambda line: None
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None, ssl=tls)
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self._server.socket.getsockname()[1]}/ws-api/v3"
        self._thread = threading.Thread(target=self._server.serve_forever, name="fake-ws-api")
        self._thread.start()

    def subscribe(self, line: Line, request: dict[str, Any]) -> Any:
        if request["params"]["apiKey"] in line.subscriptions.values():
            return 400, {"code": -2035, "msg": "Subscription is already active."}
        number, line.next_number = line.next_number, line.next_number + 1
        line.subscriptions[number] = request["params"]["apiKey"]
        return {"subscriptionId": number}

    def unsubscribe(self, line: Line, request: dict[str, Any]) -> Any:
        line.subscriptions.pop(request["params"]["subscriptionId"], None)
        return {}

    def push(self, api_key: str, event: Any) -> None:
        for line in list(self.lines):
            line.push(api_key, event)

    def _serve(self, connection: ServerConnection) -> None:
        line = Line(connection)
        self.lines.append(line)
        self.on_open(line)
        try:
            for text in connection:
                request = json.loads(text)
                if self.silent:
                    continue
                if request["method"] != "ping":
                    self.requests.put(request)
                answer = self.on[request["method"]](line, request)
                if isinstance(answer, tuple):
                    line.send({"id": request["id"], "status": answer[0], "error": answer[1]})
                elif answer is not None:
                    line.send({"id": request["id"], "status": 200, "result": answer, "rateLimits": []})
        except (ConnectionClosed, OSError):
            pass
        finally:
            self.lines.remove(line)

    def close(self) -> None:
        self._server.shutdown()
        for line in list(self.lines):
            line.cut()
        self._thread.join()


class OpenGate(Gate):
    """Lets pass, unless shut; counts those that went through."""

    def __init__(self) -> None:
        self.is_shut = False
        self.passed = 0

    @contextmanager
    def passage(self, prepared: Any) -> Iterator[None]:
        if self.is_shut:
            raise NotSent("copying is stopped", retry=False, kind="gate_shut")
        self.passed += 1
        yield


def wait_until(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    give_up_at = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.005)
    return value


def credentials(number: int = 0, secret: str = API_SECRET) -> Credentials:
    return Credentials({"api_key": f"{API_KEY}{number or ''}", "api_secret": secret})


def a_buy(client_order_id: str = "cp-1-7", amount: str = "100") -> MarketOrder:
    return MarketOrder(
        symbol=Symbol("BTC", "USDT"),
        side=Side.BUY,
        client_order_id=ClientOrderId(client_order_id),
        quote_amount=QuoteAmount(Decimal(amount)),
    )


def a_sell(client_order_id: str = "cp-1-8", quantity: str = "0.00098") -> MarketOrder:
    return MarketOrder(
        symbol=Symbol("BTC", "USDT"),
        side=Side.SELL,
        client_order_id=ClientOrderId(client_order_id),
        base_quantity=BaseQuantity(Decimal(quantity)),
    )


def a_context(environment: Environment = Environment.TEST, **endpoints: str) -> ExchangeContext:
    clock = Clock()
    exchange_clock = ExchangeClock(clock)
    exchange_clock.measure(lambda: NOW_MS)
    return ExchangeContext(
        environment=environment,
        symbol=Symbol("BTC", "USDT"),
        clock=clock,
        exchange_clock=exchange_clock,
        endpoints=endpoints,
    )
