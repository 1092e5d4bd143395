"""The engine's side of the local socket: calls in, answers and feed events out.

Calls run in three small pools: what asks an exchange holds up nobody who only looks, and what stops trading
never queues behind anything else and is never refused.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import queue
import secrets
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from ..api import TraderApi
from ..codec import to_wire
from ..errors import ConfigError, CopytradeError
from ..views import FeedEvent
from .protocol import (
    ADDRESS_FILE,
    HAS_UNIX_SOCKETS,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LARGEST_ANSWER,
    LARGEST_CALL,
    LONGEST_SOCKET_PATH,
    METHOD_NOT_FOUND,
    METHODS,
    PARSE_ERROR,
    SOCKET_FILE,
    Address,
    error_to_wire,
    frame_log,
)

log = logging.getLogger(__name__)

URGENT = frozenset({"stop_copying", "pause_account"})
ONLY_LOOKS = frozenset(name for name in METHODS if name.startswith(("get_", "list_", "preview_"))) | {
    "status",
    "metrics",
    "doctor",
}
CALLS_AT_ONCE = 16
LOOKS_AT_ONCE = 8
CALLS_WAITING = 128  # of one client; more are refused at once
FEED_BACKLOG = 2000  # events of one client; who is further behind is dropped and takes a new snapshot
SEND_TIMEOUT_SEC = 5  # a client that reads nothing for so long is dropped
CLOSE_TIMEOUT_SEC = 2
ALIVE_SEC = 5
TRY_AGAIN_LATER = 1013


class ControlServer:
    """Serves one `TraderApi` on the local socket of *data_dir*.

    Only the holder of the directory's lock may start one: a socket left by a dead engine is replaced.
    """

    def __init__(self, trader: TraderApi, data_dir: Path, *, unix: bool = HAS_UNIX_SOCKETS) -> None:
        self._trader = trader
        self._data_dir = Path(data_dir).absolute()
        self._unix = unix
        self._slow = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="control-call")
        self._looks = ThreadPoolExecutor(LOOKS_AT_ONCE, thread_name_prefix="control-look")
        self._urgent = ThreadPoolExecutor(4, thread_name_prefix="control-urgent")
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server: Server | None = None
        self._runtime_dir: Path | None = None
        self._address = Address(pid=os.getpid())

    @property
    def address(self) -> str:
        """Where it listens, for people: a path, or host and port."""
        return self._address.socket or f"127.0.0.1:{self._address.port}"

    def start(self) -> None:
        """Listen. Returns when clients can connect.

        :raises ConfigError: the data directory can be changed by others, or the socket cannot be made.
        """
        check_directory(self._data_dir)
        try:
            listening, self._address = self._listen_unix() if self._unix else self._listen_loopback()
            self._server = serve(
                self._serve_client,
                sock=listening,
                compression=None,
                max_size=LARGEST_CALL,
                close_timeout=CLOSE_TIMEOUT_SEC,
                server_header=None,
                process_request=self._admit,
                logger=frame_log,
            )
            self._address.write(self._data_dir)
        except OSError as error:
            self._clean_up()
            raise ConfigError(f"no local socket can be made in {self._data_dir}: {error.strerror}") from None
        self._threads = [
            threading.Thread(target=self._server.serve_forever, name="control-accept"),
            threading.Thread(target=self._stay_alive, name="control-alive"),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more calls and let all clients go. Calls that are running go on; `join` waits for them."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._slow.shutdown(wait=False, cancel_futures=True)
        self._looks.shutdown(wait=False, cancel_futures=True)
        self._urgent.shutdown(wait=False)
        if self._threads:
            assert self._server is not None
            self._server.shutdown()
            (self._data_dir / ADDRESS_FILE).touch()
        self._clean_up()

    def join(self) -> None:
        """Wait for everything that `stop` has asked to end."""
        for thread in self._threads:
            thread.join()
        for pool in (self._slow, self._looks, self._urgent):
            pool.shutdown()

    def close(self) -> None:
        self.stop()
        self.join()

    def __enter__(self) -> ControlServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen_unix(self) -> tuple[socket.socket, Address]:
        path = self._data_dir / SOCKET_FILE
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            self._runtime_dir = Path(tempfile.mkdtemp(prefix="copytrade-"))  # mode 0700
            path = self._runtime_dir / SOCKET_FILE
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(path))
            # Before listen(), so that there is no moment in which others can connect.
            path.chmod(0o600)
            listening.listen(64)
        except OSError:
            listening.close()
            raise
        return listening, Address(pid=os.getpid(), socket=str(path))

    def _listen_loopback(self) -> tuple[socket.socket, Address]:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        return listening, Address(pid=os.getpid(), port=port, token=secrets.token_urlsafe(32))

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse who cannot show the token; on a Unix socket the file's mode has asked already."""
        shown = request.headers.get("Authorization", "")
        wanted = f"Bearer {self._address.token}"
        if self._address.token and not hmac.compare_digest(shown.encode(), wanted.encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the engine's token is needed\n")
        if "Origin" in request.headers:  # a browser, that is to say a web page
            return connection.respond(HTTPStatus.FORBIDDEN, "not for browsers\n")
        return None

    def _stay_alive(self) -> None:
        while not self._stopped.wait(ALIVE_SEC):
            try:
                os.utime(self._data_dir / ADDRESS_FILE)
            except OSError as error:
                log.warning("%s cannot be renewed: %s", ADDRESS_FILE, error.strerror)

    def _clean_up(self) -> None:
        if self._address.socket:
            Path(self._address.socket).unlink(missing_ok=True)
        if self._runtime_dir is not None:
            shutil.rmtree(self._runtime_dir, ignore_errors=True)

    def _serve_client(self, connection: ServerConnection) -> None:
        if HAS_UNIX_SOCKETS:  # elsewhere the option has another format, and the keepalive finds dead clients
            timeout = struct.pack("ll", SEND_TIMEOUT_SEC, 0)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        client = _Client(connection, self._trader)
        try:
            for message in connection:
                self._take(client, message)
        except ConnectionClosed:
            log.debug("a client of the local socket went without a goodbye")
        finally:
            client.end_feed()

    def _take(self, client: _Client, message: str | bytes) -> None:
        try:
            call = json.loads(message)
        except ValueError:
            client.send_error(None, PARSE_ERROR, "this is not JSON")
            return
        match call:
            case {"jsonrpc": "2.0", "id": int() | str() as number, "method": str(name)}:
                params = call.get("params", {})
            case _:
                client.send_error(None, INVALID_REQUEST, "a call has jsonrpc 2.0, an id, a method and named params")
                return
        if not isinstance(params, dict):
            client.send_error(number, INVALID_PARAMS, "params are given by name")
        elif name == "subscribe":
            client.subscribe()
            client.send_result(number, True)
        elif name not in METHODS:
            client.send_error(number, METHOD_NOT_FOUND, f"there is no method {name!r}")
        elif name in URGENT:
            self._submit(self._urgent, self._answer, client, number, name, params)
        elif client.waiting.acquire(blocking=False):
            pool = self._looks if name in ONLY_LOOKS else self._slow
            self._submit(pool, self._answer_in_turn, client, number, name, params)
        else:
            client.send(number, error=error_to_wire(CopytradeError("too many calls at once; try again", kind="busy")))

    def _submit(self, pool: ThreadPoolExecutor, answer: Callable[..., None], *arguments: Any) -> None:
        # A pool that is shut: the engine is stopping, and with it this connection.
        with contextlib.suppress(RuntimeError):
            pool.submit(answer, *arguments)

    def _answer_in_turn(self, client: _Client, number: int | str, name: str, params: dict[str, Any]) -> None:
        try:
            self._answer(client, number, name, params)
        finally:
            client.waiting.release()

    def _answer(self, client: _Client, number: int | str, name: str, params: dict[str, Any]) -> None:
        method = METHODS[name]
        try:
            try:
                arguments = method.arguments(params)
            except TypeError as error:
                client.send_error(number, INVALID_PARAMS, f"{name}: {error}")
                return
            client.send_result(number, to_wire(getattr(self._trader, name)(**arguments)))
        except CopytradeError as error:
            client.send(number, error=error_to_wire(error))
        except Exception:
            log.exception("%s failed", name)
            client.send_error(number, INTERNAL_ERROR, "internal error; the engine's log has the details")


class _Client:
    """One connection: its answers, and its feed once it has subscribed."""

    def __init__(self, connection: ServerConnection, trader: TraderApi) -> None:
        self._connection = connection
        self._trader = trader
        self.waiting = threading.BoundedSemaphore(CALLS_WAITING)
        self._backlog: queue.Queue[FeedEvent | None] = queue.Queue(FEED_BACKLOG)
        self._too_slow = threading.Event()
        self._end_subscription: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    def send_result(self, number: int | str, result: Any) -> None:
        self.send(number, result=result)

    def send_error(self, number: int | str | None, code: int, message: str) -> None:
        self.send(number, error={"code": code, "message": message})

    def send(self, number: int | str | None, **answer: Any) -> None:
        text = json.dumps({"jsonrpc": "2.0", "id": number, **answer}, separators=(",", ":"))
        if len(text) > LARGEST_ANSWER:
            too_large = CopytradeError("the answer is too large for one message; ask for fewer rows", kind="too_large")
            self.send(number, error=error_to_wire(too_large))
            return
        self._write(text)

    def _write(self, text: str) -> bool:
        try:
            self._connection.send(text)
        except ConnectionClosed:
            return False
        return True

    def subscribe(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._push, name="control-feed")
            self._thread.start()
            self._end_subscription = self._trader.subscribe(self._enqueue)

    def end_feed(self) -> None:
        """Wait until the feed has ended; its connection already has."""
        if self._thread is not None:
            if self._end_subscription is not None:
                self._end_subscription()
            with contextlib.suppress(queue.Full):  # full: the thread has something to wake up for
                self._backlog.put_nowait(None)
            self._thread.join()

    def _enqueue(self, event: FeedEvent) -> None:
        try:
            self._backlog.put_nowait(event)
        except queue.Full:
            self._too_slow.set()

    def _push(self) -> None:
        while (event := self._backlog.get()) is not None:
            if self._too_slow.is_set():
                log.warning("a client of the local socket reads its feed too slowly and is dropped")
                self._connection.close(TRY_AGAIN_LATER, "too slow; connect again and take a snapshot")
                return
            if not self._write(json.dumps({"jsonrpc": "2.0", "method": "feed", "params": to_wire(event)})):
                return


def check_directory(data_dir: Path) -> None:
    """Make sure that only we can put a socket into *data_dir*. :raises ConfigError: others can, or it is not there."""
    try:
        status = data_dir.stat()
    except OSError as error:
        raise ConfigError(f"DATA_DIR {str(data_dir)!r} cannot be used: {error.strerror}") from None
    if HAS_UNIX_SOCKETS and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise ConfigError(
            f"DATA_DIR {str(data_dir)!r} can be changed by other users; make it yours alone: "
            f"chown it to the engine's user and chmod 700"
        )
