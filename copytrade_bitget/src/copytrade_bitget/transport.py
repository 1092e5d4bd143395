"""HTTP to one host: each request is written once, answered within 15 s or not, and never sent again.

`requests`' adapter is used without its session: a session would follow redirects, keep cookies and read proxies
from the environment, and none of that may happen to an order. All threads share one pool of kept-alive
connections; TCP_NODELAY is urllib3's default.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from copytrade_core.errors import ExchangeError, NotSent, OutcomeUnknown

from .errors import EXCHANGE

CONNECT_TIMEOUT_SEC = 3.05
READ_TIMEOUT_SEC = 12.0
DEADLINE_SEC = 15.0  # from the write to the answer's last byte, however slowly they drip
MAX_ANSWER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer, read to its end. Header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Calling(threading.local):
    """What the request in progress on this thread needs to know deep inside urllib3."""

    deadline = 0.0
    passage: AbstractContextManager[None] = nullcontext()
    keep_open = 0


_calling = _Calling()


class _RawUntilDeadline(io.RawIOBase):
    """A socket's bytes, each wait cut to what is left: a time-out of the socket's own starts anew with every byte."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _calling.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(min(left, READ_TIMEOUT_SEC))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _SocketUntilDeadline:
    """As much of a socket as `http.client.HTTPResponse` uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_RawUntilDeadline(self._sock))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_SocketUntilDeadline(sock), *args, **kwargs)  # type: ignore[arg-type]


class _GatedWrite:
    """Connects first, then asks for passage and writes: connecting may take seconds, and a stop must not wait."""

    response_class = _Response

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.is_closed:  # type: ignore[attr-defined]
            self.connect()  # type: ignore[attr-defined]
        _calling.deadline = time.monotonic() + DEADLINE_SEC
        with _calling.passage:
            super().request(*args, **kwargs)  # type: ignore[misc]


class _Connection(_GatedWrite, HTTPConnection):  # type: ignore[misc]
    pass


class _TLSConnection(_GatedWrite, HTTPSConnection):  # type: ignore[misc]
    pass


class _IdleConnections(queue.LifoQueue[Any]):
    """Idle connections, the freshest on top; below them the places (None) of those not yet opened.

    An order takes the freshest. The keeper takes the one idle longest, so that going round touches all, or
    an empty place while fewer are open than it wants.
    """

    def _get(self) -> Any:
        if not _calling.keep_open:
            return self.queue.pop()
        open_at = [index for index, connection in enumerate(self.queue) if connection is not None]
        return self.queue.pop(open_at[0] if len(open_at) >= _calling.keep_open else 0)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection
    QueueCls = _IdleConnections


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
    QueueCls = _IdleConnections


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


class Transport:
    """All HTTP of one exchange. Thread-safe.

    :param origin: scheme, host and port, no path.
    :param connections: kept alive at most; more are opened when needed and closed after use.
    """

    def __init__(self, origin: str, connections: int) -> None:
        self.origin = origin
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        passage: AbstractContextManager[None] | None = None,
        keep_open: int = 0,
    ) -> Answer:
        """Send one request once and return its answer, whatever its status.

        :param target: path and raw query, exactly as signed.
        :param passage: entered around the write alone; what it raises on entering is raised here.
        :param keep_open: this call only keeps connections alive, and wants so many.
        :raises NotSent: no byte of the request left; not to be repeated if the certificate is bad.
        :raises OutcomeUnknown: anything else that is not an answer.
        """
        request = requests.PreparedRequest()
        request.method = method
        request.url = self.origin + target
        request.headers = CaseInsensitiveDict(headers)
        if body:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
        _calling.passage = passage or nullcontext()
        _calling.keep_open = keep_open
        try:
            with _translated():
                response = self._adapter.send(request, stream=True, timeout=(CONNECT_TIMEOUT_SEC, READ_TIMEOUT_SEC))
            with _translated():
                return Answer(status=response.status_code, headers=response.headers, body=_read(response))
        finally:
            _calling.passage = nullcontext()
            _calling.keep_open = 0

    def close(self) -> None:
        self._adapter.close()


def _read(response: requests.Response) -> bytes:
    parts: list[bytes] = []
    length = 0
    try:
        while part := response.raw.read(65536, decode_content=True):
            parts.append(part)
            length += len(part)
            if length > MAX_ANSWER_BYTES:
                raise OutcomeUnknown("Bitget's answer is too long", kind="unreadable_answer", exchange=EXCHANGE)
    finally:
        # After the last byte the connection is back in the pool and this closes nothing; before it, it does.
        response.raw.close()
    return b"".join(parts)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise _translate(error) from None  # the libraries' own errors carry addresses and request objects


def _translate(error: Exception) -> ExchangeError:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return NotSent("Bitget did not take the connection in time", kind="connect_timeout", exchange=EXCHANGE)
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.exceptions.SSLError) and _is_bad_certificate(error):
        return NotSent("Bitget's certificate is not valid", retry=False, kind="bad_certificate", exchange=EXCHANGE)
    # NameResolutionError is one of these.
    if isinstance(error, requests.ConnectionError) and isinstance(reason, urllib3.exceptions.NewConnectionError):
        return NotSent("Bitget could not be reached", kind="cannot_connect", exchange=EXCHANGE)
    if isinstance(error, requests.exceptions.ReadTimeout | urllib3.exceptions.ReadTimeoutError | TimeoutError):
        return OutcomeUnknown("Bitget did not answer in time", kind="no_answer", exchange=EXCHANGE)
    return OutcomeUnknown(
        f"the connection to Bitget broke ({type(error).__name__})", kind="connection_lost", exchange=EXCHANGE
    )


def _is_bad_certificate(error: BaseException) -> bool:
    """Whether a certificate was refused, however deep requests and urllib3 have wrapped the cause."""
    pending: list[Any] = [error]
    while pending:
        cause = pending.pop()
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        pending += [part for part in getattr(cause, "args", ()) if isinstance(part, BaseException)]
        reason = getattr(cause, "reason", None)
        if isinstance(reason, BaseException):
            pending.append(reason)
    return False
