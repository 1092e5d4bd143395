"""One connection to Binance's WebSocket API: requests matched to their answers, events, and proof of life.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-api.md
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import random
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import certifi
import websocket
from websocket import ABNF

from copytrade_core.accounts.budget import Priority, retry_after_sec
from copytrade_core.clock import NS_PER_SEC, Clock
from copytrade_core.errors import ExchangeError, NotSent, OutcomeUnknown, RateLimited, StreamInterrupted

from . import parse
from .errors import EXCHANGE, http_error
from .limits import Limits, frame_retry_after_sec

log = logging.getLogger(__name__)

Frame = Mapping[str, Any]
ReplyHandler = Callable[[Any, ExchangeError | None], None]  # the result, or why there is none

_NO_TIME = 0.25  # how long the reader waits for a frame before it looks at the time


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketTimings:
    """Seconds; the defaults are for Binance, tests use shorter ones."""

    connect: float = 5.0
    handshake: float = 5.0
    write: float = 0.9  # a stop waits a second for whoever is writing
    probe_every: float = 3.0
    probe_answer: float = 2.0
    rotate_after: float = 23 * 3600.0  # Binance closes a connection after 24 h
    rotate_jitter: float = 1800.0


class ApiSocket:
    """One connection with a thread of its own, which connects, reads and probes. It does not reconnect.

    The callbacks run on that thread and only enqueue: ``on_open()`` once it is connected,
    ``on_event(frame, raw, received_ns)`` for each pushed frame, ``on_leaving()`` when another has to be opened
    in its place (it is old, or Binance said so), ``on_closed(error)`` once at the end, also if it never
    opened. A request in flight then is answered with `OutcomeUnknown`.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        clock: Clock,
        limits: Limits,
        on_open: Callable[[], None],
        on_event: Callable[[Frame, str, int], None],
        on_leaving: Callable[[], None],
        on_closed: Callable[[ExchangeError], None],
        timings: SocketTimings,
    ) -> None:
        self.name = name
        self.is_open = False
        self.last_proof_ns = 0  # monotonic time of the last frame that came
        self._url = url
        self._clock = clock
        self._limits = limits
        self._on_open = on_open
        self._on_event = on_event
        self._on_leaving = on_leaving
        self._on_closed = on_closed
        self._timings = timings
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._ended: ExchangeError | None = None  # why it is being closed
        self._wire: _Wire | None = None
        self._probe_id = 0  # the probe that is not answered yet; 0: none is out
        self._probe_due_ns = 0  # when it must be answered, or when the next one is due
        self._leaving_ns = 0  # when somebody must think of a successor
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """How many requests wait for their answers."""
        return len(self._pending)

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        handler: ReplyHandler,
        *,
        timeout_sec: float,
        for_order: bool = False,
        passage: AbstractContextManager[None] | None = None,
    ) -> bool:
        """Send one request; return whether it was sent, or may have been.

        If so, *handler* is called exactly once, on any thread: with the answer, or with `OutcomeUnknown` when
        none came in *timeout_sec*. ``False``: the connection is not open, nothing left, no call follows.

        :param passage: entered around the write; what it raises on entering is raised here, and nothing left.
        """
        request_id = next(self._ids)
        request = {"id": request_id, "method": method}
        if params is not None:
            request["params"] = params
        frame = ABNF.create_frame(json.dumps(request), ABNF.OPCODE_TEXT).format()
        deadline_ns = self._clock.monotonic_ns() + int(timeout_sec * NS_PER_SEC)
        pending = _Pending(handler, deadline_ns, method, for_order)
        with passage or contextlib.nullcontext():
            wire = self._wire
            if wire is None:
                return False
            with wire.sending:
                if not self.is_open:
                    return False
                self._pending[request_id] = pending
                try:
                    wire.send_all(frame)
                    return True
                except OSError as error:
                    # A frame may be half out: nothing can follow it on this connection.
                    self.abort(f"writing failed ({type(error).__name__})")
        self._give_up(request_id, "the connection broke while the request was being sent")
        return True

    def abort(self, reason: str) -> None:
        """Close the connection now; ``on_closed`` follows on its thread. Does not wait, may be repeated."""
        self._ended = self._ended or StreamInterrupted(f"{self.name}: {reason}", exchange=EXCHANGE)
        wire = self._wire
        if wire is not None:
            wire.shut()

    def join(self) -> None:
        """Wait for the thread, unless this is it."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    # --- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        error: ExchangeError
        try:
            connection = self._connect()
            try:
                if self._ended is None:
                    self._on_open()
                error = self._read(connection)
            finally:
                self._shut_down()
        except ExchangeError as failure:
            error = failure
        except Exception as failure:  # a bug here must be seen as a closed socket, not as a silent one
            log.error("%s failed with %s", self.name, type(failure).__name__)
            error = StreamInterrupted(f"{self.name} failed with {type(failure).__name__}", exchange=EXCHANGE)
        try:
            for request_id in list(self._pending):
                self._give_up(request_id, "the connection was lost before the answer came")
        finally:
            self._on_closed(self._ended or error)

    def _connect(self) -> websocket.WebSocket:
        parts = urlsplit(self._url)
        secure = parts.scheme == "wss"
        address = (parts.hostname, parts.port or (443 if secure else 80))
        failure: ExchangeError | None = None
        raw: socket.socket | None = None
        try:
            # A socket of our own: websocket-client would take a proxy from the environment.
            raw = socket.create_connection(address, self._timings.connect)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                raw.settimeout(self._timings.handshake)
                # The CA file is given, so that no environment variable can put another in its place.
                context = ssl.create_default_context(cafile=certifi.where())
                raw = context.wrap_socket(raw, server_hostname=parts.hostname)
            wire = _Wire(raw, self._timings.write, time.monotonic() + self._timings.handshake)
            connection = websocket.create_connection(
                self._url, socket=wire, timeout=self._timings.handshake, suppress_origin=True, redirect_limit=0
            )
        except ssl.SSLCertVerificationError:
            failure = NotSent(
                "Binance's certificate is not valid: somebody may be listening in",
                retry=False,
                kind="bad_certificate",
                exchange=EXCHANGE,
            )
        except websocket.WebSocketBadStatusException as error:
            headers = {name.title(): value for name, value in (error.resp_headers or {}).items()}
            failure = http_error(
                error.status_code, None, for_order=False, retry_after_sec=retry_after_sec(headers), where=self.name
            )
            self._limits.heed(failure)
        except (OSError, websocket.WebSocketException, ValueError) as error:
            failure = NotSent(f"{self.name} cannot connect ({type(error).__name__})", exchange=EXCHANGE)
        if failure is not None:
            if raw is not None:
                raw.close()
            raise failure
        wire.read_until = None
        self.last_proof_ns = self._clock.monotonic_ns()
        self._probe_due_ns = self.last_proof_ns + int(self._timings.probe_every * NS_PER_SEC)
        rotate_after = self._timings.rotate_after + random.uniform(-1, 1) * self._timings.rotate_jitter
        self._leaving_ns = self.last_proof_ns + int(rotate_after * NS_PER_SEC)
        # websocket-client writes pongs by itself, under this lock.
        wire.sending = connection.lock
        self._wire = wire
        self.is_open = True
        return connection

    def _read(self, connection: websocket.WebSocket) -> ExchangeError:
        expire_at_ns = 0
        while self._ended is None:
            try:
                opcode, frame = connection.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                # Judged only when nothing waits to be read: an answer may lie unread behind a busy moment.
                self._probe(self._clock.monotonic_ns())
            except (OSError, websocket.WebSocketException, ValueError) as error:
                return StreamInterrupted(f"{self.name} was cut off ({type(error).__name__})", exchange=EXCHANGE)
            else:
                self.last_proof_ns = self._clock.monotonic_ns()
                if opcode == ABNF.OPCODE_CLOSE:
                    return StreamInterrupted(f"{self.name} was closed by Binance", exchange=EXCHANGE)
                if opcode == ABNF.OPCODE_PONG:
                    self._probe_id = 0
                elif opcode == ABNF.OPCODE_TEXT:
                    self._take(frame.data)
            now = self._clock.monotonic_ns()
            if now >= expire_at_ns:
                expire_at_ns = now + int(_NO_TIME * NS_PER_SEC)
                self._expire(now)
            if now >= self._leaving_ns:
                self._leaving_ns = sys.maxsize
                self._on_leaving()
        return self._ended

    def _take(self, data: bytes) -> None:
        try:
            text = data.decode()
            frame = parse.loads(text)
            pushed = "event" in frame
            if not isinstance(frame, dict):
                raise TypeError("a frame is an object")
        except (ValueError, TypeError, RecursionError):
            # It may have been an event. Losing the connection has it looked for over REST.
            self.abort("a frame could not be read")
            return
        if pushed and isinstance(frame["event"], dict) and frame["event"].get("e") == "serverShutdown":
            self._leaving_ns = 0
        elif pushed:
            self._on_event(frame, text, self.last_proof_ns)
        else:
            self._take_answer(frame)

    def _take_answer(self, frame: Frame) -> None:
        self._limits.observe_frame(frame.get("rateLimits"))
        request_id, status = frame.get("id"), frame.get("status")
        if request_id == self._probe_id:  # any answer is proof, an error as well
            self._probe_id = 0
        pending = self._pending.pop(request_id, None) if isinstance(request_id, int) else None
        error = None
        if status != 200:
            body = frame.get("error")
            error = http_error(
                status if isinstance(status, int) else 0,
                body,
                for_order=pending is not None and pending.for_order,
                retry_after_sec=frame_retry_after_sec(body),
                where=pending.method if pending else self.name,
            )
            self._limits.heed(error)
        if pending is not None:
            pending.handler(frame.get("result"), error)

    def _expire(self, now: int) -> None:
        for request_id, pending in list(self._pending.items()):
            if now >= pending.deadline_ns:
                self._give_up(request_id, "no answer came in time")

    def _give_up(self, request_id: int, sentence: str) -> None:
        # Whoever pops it answers for it; so the handler is called once.
        pending = self._pending.pop(request_id, None)
        if pending is not None:
            pending.handler(None, OutcomeUnknown(f"{pending.method}: {sentence}", kind="no_answer", exchange=EXCHANGE))

    def _probe(self, now: int) -> None:
        if now < self._probe_due_ns:
            return
        if self._probe_id:
            self.abort(f"no proof of life for {self._timings.probe_answer} s")
            return
        answer_by = now + int(self._timings.probe_answer * NS_PER_SEC)
        wire = self._wire
        assert wire is not None
        self._probe_id = next(self._ids)
        try:
            self._limits.spend(1, Priority.LOOKUP)
            payload = json.dumps({"id": self._probe_id, "method": "ping"})
            frame = ABNF.create_frame(payload, ABNF.OPCODE_TEXT).format()
        except RateLimited:
            frame = ABNF.create_frame(b"", ABNF.OPCODE_PING).format()  # weighs nothing
        try:
            with wire.sending:
                wire.send_all(frame)
        except OSError as error:
            self.abort(f"writing failed ({type(error).__name__})")
        self._probe_due_ns = answer_by

    def _shut_down(self) -> None:
        wire = self._wire
        assert wire is not None
        with wire.sending:  # no request may slip in between this and the end of those that wait
            self.is_open = False
        wire.close()


@dataclass(frozen=True, slots=True)
class _Pending:
    handler: ReplyHandler
    deadline_ns: int
    method: str
    for_order: bool


class _Wire:
    """A socket, plain or TLS, which one thread reads while others write; websocket-client works on it.

    OpenSSL does not allow reading and writing one connection at once, so no call waits inside it: both wait
    outside for the socket, with a time-out each.
    """

    def __init__(self, sock: socket.socket, write_sec: float, read_until: float) -> None:
        sock.setblocking(False)
        self.sending = threading.Lock()
        self.read_until: float | None = read_until  # a moment after which reading fails: for the handshake
        self._socket = sock
        self._write_sec = write_sec
        self._calling = threading.Lock()
        self._read_ahead = memoryview(b"")

    def recv(self, size: int) -> bytes:
        if not self._read_ahead:
            self._read_ahead = memoryview(self._receive())
        data, self._read_ahead = bytes(self._read_ahead[:size]), self._read_ahead[size:]
        return data

    def _receive(self) -> bytes:
        give_up_at = self.read_until or time.monotonic() + _NO_TIME
        while True:
            try:
                with self._calling:
                    return self._socket.recv(65_536)
            except (ssl.SSLWantReadError, BlockingIOError):
                self._wait(select.POLLIN, give_up_at)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, give_up_at)

    def send(self, data: bytes) -> int:
        self.send_all(data)
        return len(data)

    def send_all(self, data: bytes) -> None:
        """Write all of *data*. :raises OSError: it could not be written; part of it may have been."""
        rest = memoryview(data)
        give_up_at = time.monotonic() + self._write_sec
        while rest:
            try:
                with self._calling:
                    sent = self._socket.send(rest)
                rest = rest[sent:]
            except (ssl.SSLWantWriteError, BlockingIOError):
                self._wait(select.POLLOUT, give_up_at)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, give_up_at)

    def _wait(self, what: int, give_up_at: float) -> None:
        poll = select.poll()
        poll.register(self._socket, what)
        if not poll.poll(max(0.0, give_up_at - time.monotonic()) * 1000):
            raise TimeoutError("the socket was not ready in time")

    def gettimeout(self) -> float:
        return _NO_TIME

    def settimeout(self, _: float | None) -> None:
        """Ignored: the time-outs are set above."""

    def shut(self) -> None:
        """End both directions; a thread that waits in here wakes up."""
        with contextlib.suppress(OSError):  # it is closed already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.shut()
        self._socket.close()
