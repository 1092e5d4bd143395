"""`RemoteCopyTrader`: the methods of `CopyTrader`, answered by the engine behind its local socket."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect, unix_connect

from ..api import TraderApi
from ..codec import from_wire
from ..errors import ConfigError, CopytradeError, EngineNotRunning
from ..views import FeedEvent
from .protocol import (
    ADDRESS_FILE,
    INVALID_PARAMS,
    LARGEST_ANSWER,
    METHODS,
    OUR_ERROR,
    Address,
    Method,
    error_from_wire,
    frame_log,
)

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SEC = 5
ANSWER_TIMEOUT_SEC = 120  # above what a verify or a change of leader may take


def _remote(method: Method) -> Callable[..., Any]:
    original = getattr(TraderApi, method.name)

    @functools.wraps(original)
    def call(self: RemoteCopyTrader, *args: Any, **kwargs: Any) -> Any:
        return method.result(self._call(method.name, method.params(*args, **kwargs)))

    del call.__isabstractmethod__  # type: ignore[attr-defined]  # wraps() copied it
    return call


if TYPE_CHECKING:
    _Calls = TraderApi
else:
    _Calls = type("_Calls", (TraderApi,), {name: _remote(method) for name, method in METHODS.items()})


class RemoteCopyTrader(_Calls):
    """The engine, from another process. Every method is thread-safe; calls of several threads overlap.

    Once the connection is lost every call raises `EngineNotRunning`; connect anew to go on.
    """

    def __init__(self, connection: ClientConnection, data_dir: Path) -> None:
        self._connection = connection
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._handlers: list[Callable[[FeedEvent], Any]] = []
        self._lost = threading.Event()
        # A daemon, so that a program that forgets to close can still end.
        self._reader = threading.Thread(target=self._read, name="control-client", daemon=True)
        self._reader.start()

    @classmethod
    def connect(cls, data_dir: Path | str) -> Self:
        """Return the engine that works in *data_dir*.

        :raises EngineNotRunning: nobody listens there; the message says since when, where that is known.
        :raises ConfigError: the socket belongs to another user.
        """
        data_dir = Path(data_dir).expanduser().absolute()
        try:
            address = Address.read(data_dir)
            if address is None:
                raise EngineNotRunning(f"no engine has run in {data_dir} yet")
            return cls(_open(address), data_dir)
        except PermissionError:
            raise ConfigError(f"{data_dir} belongs to another user; run this as the engine's user") from None
        except (OSError, InvalidHandshake, ConnectionClosed):  # refused, gone, silent, or a stranger on the port
            raise EngineNotRunning(f"the engine is not running{_since(data_dir)}") from None

    @property
    def connected(self) -> bool:
        """Whether the engine was still there when last heard of."""
        return not self._lost.is_set()

    def wait_lost(self, timeout_sec: float | None = None) -> bool:
        """Wait until the connection is lost or closed; return whether it is."""
        return self._lost.wait(timeout_sec)

    def subscribe(self, handler: Callable[[FeedEvent], Any]) -> Callable[[], None]:
        """Call *handler* for each feed event from now on, in the reading thread; returns what ends it.

        *handler* only enqueues: while it runs, no call of anybody is answered. It hears nothing of a lost
        connection; `wait_lost` does.
        """
        with self._lock:
            self._handlers.append(handler)
        try:
            self._call("subscribe", {})
        except CopytradeError:
            self._forget(handler)
            raise

        return functools.partial(self._forget, handler)

    def close(self) -> None:
        """Say goodbye; calls that wait for an answer raise `EngineNotRunning`."""
        self._connection.close()
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self, handler: Callable[[FeedEvent], Any]) -> None:
        with self._lock:
            if handler in self._handlers:
                self._handlers.remove(handler)

    def _call(self, name: str, params: dict[str, Any]) -> Any:
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = answer
        try:
            # After the entry above: a connection lost in between fails the entry, one lost before fails here.
            if self._lost.is_set():
                raise self._not_running()
            self._connection.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": name, "params": params}))
            message = answer.result(ANSWER_TIMEOUT_SEC)
        except ConnectionClosed:
            raise self._not_running() from None
        except TimeoutError:
            raise CopytradeError(
                f"the engine has not answered {name} within {ANSWER_TIMEOUT_SEC} s; whether it was done is not known",
                kind="no_answer",
            ) from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if (error := message.get("error")) is None:
            return message["result"]
        if error["code"] == OUR_ERROR:
            raise error_from_wire(error)
        if error["code"] == INVALID_PARAMS:
            raise TypeError(error["message"])
        raise CopytradeError(error["message"], kind="internal")

    def _read(self) -> None:
        try:
            for text in self._connection:
                message = json.loads(text)
                if message.get("method") == "feed":
                    self._tell(from_wire(message["params"], FeedEvent))
                    continue
                with self._lock:
                    waiting = self._waiting.pop(message["id"], None)
                if waiting is not None:
                    waiting.set_result(message)
        except ConnectionClosed:
            log.debug("the connection to the engine was lost")
        finally:
            self._lost.set()
            with self._lock:
                waiting_still = list(self._waiting.values())
            for future in waiting_still:
                if not future.done():
                    future.set_exception(self._not_running())
            self._connection.close()

    def _tell(self, event: FeedEvent) -> None:
        with self._lock:
            handlers = list(self._handlers)
        for handler in handlers:
            try:
                handler(event)
            except Exception:
                log.exception("a feed handler failed")

    def _not_running(self) -> EngineNotRunning:
        return EngineNotRunning(f"the connection to the engine was lost{_since(self._data_dir)}")


def _open(address: Address) -> ClientConnection:
    options: dict[str, Any] = {
        "compression": None,
        "max_size": LARGEST_ANSWER + 1024,
        "max_queue": 1024,
        "open_timeout": CONNECT_TIMEOUT_SEC,
        "close_timeout": 2,
        "user_agent_header": None,
        "logger": frame_log,
    }
    if address.socket:
        connection: ClientConnection = unix_connect(address.socket, "ws://localhost/", **options)
    else:
        token = {"Authorization": f"Bearer {address.token}"}
        connection = connect(f"ws://127.0.0.1:{address.port}/", additional_headers=token, proxy=None, **options)
    # Entered here and left by close(): the library wants its connections used in a with statement.
    return connection.__enter__()


def _since(data_dir: Path) -> str:
    try:
        seen = datetime.fromtimestamp((data_dir / ADDRESS_FILE).stat().st_mtime).astimezone()
    except OSError:
        return ""
    return f"; it was last alive at {seen:%Y-%m-%d %H:%M:%S}"
