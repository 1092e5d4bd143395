"""REST: one method an endpoint, under the exchange's own name. Signs, paces, classifies; no domain types.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md; the rights of a key:
https://developers.binance.com/docs/wallet/account/api-key-permission.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

from copytrade_core.accounts.budget import Priority, retry_after_sec
from copytrade_core.clock import ExchangeClock
from copytrade_core.errors import ExchangeError, NotSent, OutcomeUnknown

from . import parse
from .errors import EXCHANGE, http_error, unreadable
from .limits import Limits
from .signing import Signer

CONNECT_SEC = 3.05
ANSWER_SEC = 12.0  # for the whole answer, also one whose bytes drip
MAX_BODY_BYTES = 4 << 20
READ_RECV_WINDOW_MS = "5000"
LOOKUP_WAIT_SEC = 1  # for the budget: who asks comes again, and many who wait would hold up the others' threads

# urllib3 writes request lines to its debug log, and those of signed reads hold the signature.
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: record.levelno > logging.DEBUG)

_local = threading.local()  # .passage: the gate that the order being sent on this thread has to pass


class _DeadlineReader(io.RawIOBase):
    """Reads a socket until a moment in time, however the bytes come."""

    def __init__(self, raw: Any, sock: socket.socket) -> None:
        self._raw = raw
        self._socket = sock
        self._until = time.monotonic() + ANSWER_SEC

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._socket.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))


class _Gated:
    """A connection that writes an order only while the gate lets it pass, and connects before it asks."""

    response_class = _Response

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:  # type: ignore[attr-defined]
            self.connect()  # type: ignore[attr-defined]
        with getattr(_local, "passage", None) or nullcontext():
            super().request(*args, **kwargs)  # type: ignore[misc]


class _Connection(_Gated, HTTPConnection):  # type: ignore[misc]
    pass


class _TlsConnection(_Gated, HTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self.poolmanager = PoolManager(*args[:1], maxsize=1)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy, netrc or CA file from the environment
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    session.headers.update({"User-Agent": "copytrade", "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(max_retries=0))
    return session


class Rest:
    """Binance's REST API at one origin, for all accounts. Thread-safe; a session per thread."""

    def __init__(self, origin: str, exchange_clock: ExchangeClock, limits: Limits) -> None:
        self._origin = origin
        self._clock = exchange_clock
        self._limits = limits
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for session in self._sessions:
                session.close()

    # --- market ---------------------------------------------------------------------------------------

    def time(self) -> Any:
        return self._read("/api/v3/time", {}, 1)

    def exchangeInfo(self, symbol: str) -> Any:
        return self._read("/api/v3/exchangeInfo", {"symbol": symbol}, 20, wait_sec=5)

    # --- account --------------------------------------------------------------------------------------

    def account(self, signer: Signer, priority: Priority = Priority.LOOKUP) -> Any:
        # Who polls has time and comes again; no thread waits for it.
        wait_sec = 0 if priority is Priority.BALANCE else 2
        return self._read("/api/v3/account", {"omitZeroBalances": "true"}, 20, signer, priority, wait_sec=wait_sec)

    def apiRestrictions(self, signer: Signer) -> Any:
        return self._read("/sapi/v1/account/apiRestrictions", {}, 1, signer, wait_sec=5)

    # --- orders ---------------------------------------------------------------------------------------

    def order_test(self, signer: Signer, params: Mapping[str, str]) -> Any:
        body = self._stamped(params)
        self._limits.spend(1, Priority.CHECK, 5)
        return self._send("POST", "/api/v3/order/test", signer.form(body), signer, for_order=False)

    def new_order(self, signer: Signer, body: Mapping[str, str], passage: AbstractContextManager[None]) -> Any:
        """Send *body*, which holds its timestamp, once. *passage* is entered around the write."""
        self._limits.spend(0, Priority.ORDER)  # weighs nothing, but must not leave during a ban
        return self._send("POST", "/api/v3/order", signer.form(body), signer, for_order=True, passage=passage)

    def get_order(self, signer: Signer, params: Mapping[str, str]) -> Any:
        return self._read("/api/v3/order", params, 4, signer, wait_sec=LOOKUP_WAIT_SEC)

    def allOrders(self, signer: Signer, params: Mapping[str, str]) -> Any:
        return self._read("/api/v3/allOrders", params, 20, signer, wait_sec=LOOKUP_WAIT_SEC)

    def myTrades(self, signer: Signer, params: Mapping[str, str]) -> Any:
        """The trades of one order; *params* hold its ``orderId``."""
        return self._read("/api/v3/myTrades", params, 5, signer, wait_sec=LOOKUP_WAIT_SEC)

    # --- transport ------------------------------------------------------------------------------------

    def _stamped(self, params: Mapping[str, str]) -> dict[str, str]:
        return {**params, "recvWindow": READ_RECV_WINDOW_MS, "timestamp": str(self._clock.now_ms())}

    def _read(
        self,
        path: str,
        params: Mapping[str, str],
        weight: int,
        signer: Signer | None = None,
        priority: Priority = Priority.LOOKUP,
        *,
        wait_sec: float = 0.0,
    ) -> Any:
        self._limits.spend(weight, priority, wait_sec)
        form = signer.form(self._stamped(params)) if signer else urlencode(params)
        return self._send("GET", path, form, signer, for_order=False)

    def _send(
        self,
        method: str,
        path: str,
        form: str,
        signer: Signer | None,
        *,
        for_order: bool,
        passage: AbstractContextManager[None] | None = None,
    ) -> Any:
        headers = {"X-MBX-APIKEY": signer.api_key} if signer else {}
        url = self._origin + path
        data = None
        if method == "POST":
            data = form
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif form:
            url = f"{url}?{form}"
        failure: ExchangeError | None = None
        _local.passage = passage
        try:
            response = self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=(CONNECT_SEC, ANSWER_SEC),
                allow_redirects=False,
                stream=True,
            )
            with response:
                content = response.raw.read(MAX_BODY_BYTES + 1)
        except (requests.RequestException, HTTPError, OSError, http.client.HTTPException) as error:
            failure = _not_answered(error, path)
        finally:
            _local.passage = None
        if failure is not None:
            raise failure  # here and not above: the library's error holds the URL, and with it the signature
        return self._read_answer(response.status_code, response.headers, content, path, for_order=for_order)

    def _read_answer(
        self, status: int, headers: Mapping[str, str], content: bytes, path: str, *, for_order: bool
    ) -> Any:
        self._limits.observe_headers(headers)
        payload = None
        try:
            payload = parse.loads(content)
        except (ValueError, RecursionError):
            if 200 <= status < 300:
                raise unreadable(f"{path} answered {status} without JSON") from None
        if 200 <= status < 300:
            if len(content) > MAX_BODY_BYTES:
                raise unreadable(f"{path} answered with too much")
            return payload
        error = http_error(status, payload, for_order=for_order, retry_after_sec=retry_after_sec(headers), where=path)
        self._limits.heed(error)
        raise error

    @property
    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = _session()
            with self._lock:
                self._sessions.append(session)
        return session


def _not_answered(error: Exception, path: str) -> ExchangeError:
    """Return what it means that no answer came: only what failed before the first byte left is `NotSent`."""
    name = type(error).__name__
    causes = _causes(error)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return NotSent(
            "Binance's certificate is not valid: somebody may be listening in",
            retry=False,
            kind="bad_certificate",
            exchange=EXCHANGE,
        )
    reason = next((cause.reason for cause in causes if isinstance(cause, MaxRetryError)), None)
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError):
        return NotSent(f"Binance cannot be reached ({type(reason or error).__name__})", exchange=EXCHANGE)
    return OutcomeUnknown(f"{path} was sent and not answered ({name})", kind="no_answer", exchange=EXCHANGE)


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    queue: list[Any] = [error]
    while queue:
        cause = queue.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            queue += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found
