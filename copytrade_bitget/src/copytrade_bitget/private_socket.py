"""One signed-in socket: from the connection to the subscribed topics, and the pulse that proves it alive."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import certifi
import websocket

from copytrade_core.accounts.budget import Budget
from copytrade_core.clock import NS_PER_SEC, Clock, ExchangeClock
from copytrade_core.errors import StreamInterrupted

from . import parse
from .errors import EXCHANGE, socket_refusal, unreadable
from .family import AccountFamily

MAX_SOCKETS = 95  # of the 100 an address may have; the rest is for replacing one before it is closed
CONNECTS = 250  # in 5 minutes; Bitget allows 300

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """How often what happens on a socket, in seconds; a test passes a quicker one."""

    connect: float = 10.0
    ping: float = 10.0  # Bitget wants one in 30 s; a dead socket should be noticed sooner
    pong: float = 5.0
    look: float = 1.0  # how long one wait for a frame lasts at most; a stop is noticed within it
    first_retry: float = 0.5
    longest_retry: float = 30.0
    rotate: float = 23 * 3600.0


@dataclass(slots=True)
class StreamAddress:
    """What all sockets from this machine to one host share."""

    origin: str
    clock: Clock
    exchange_clock: ExchangeClock
    pulse: Pulse = field(default_factory=Pulse)
    connects: Budget = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _taken: int = 0

    def __post_init__(self) -> None:
        self.connects = Budget(self.clock, "Bitget's sockets", limit=CONNECTS, window_sec=300.0)

    def take_place(self) -> bool:
        """Claim one of the sockets that the address may have; give it back with `leave`."""
        with self._lock:
            if self._taken >= MAX_SOCKETS:
                return False
            self._taken += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._taken -= 1


class PrivateSocket:
    """A socket on which one account's topics are subscribed. Used by one thread.

    :raises StreamInterrupted: on making: it could not be opened, signed in or subscribed, and why.
    """

    def __init__(self, address: StreamAddress, family: AccountFamily, name: str) -> None:
        self.name = name
        self.family = family
        self.held: list[tuple[str, Message]] = []  # pushed before the last topic was acknowledged
        self.heard_ns = 0
        self._clock = address.clock
        self._pulse = address.pulse
        self._asked_ns: int | None = None
        self._ping_due_ns = 0
        self._socket = _connect(address.origin + family.socket_path, self._pulse.connect)
        try:
            self._sign_in(address.exchange_clock)
            self._subscribe()
        except BaseException:
            self.close()
            raise

    def _sign_in(self, exchange_clock: ExchangeClock) -> None:
        login = self.family.api.signer.login(exchange_clock.now_ms() // 1000)
        self._send(json.dumps({"op": "login", "args": [login]}))
        # The code is documented as text and sent as a number.
        self._await(lambda message: message.get("event") == "login" and str(message.get("code")) in ("0", "00000"))

    def _subscribe(self) -> None:
        topics = [dict(topic) for topic in self.family.subscriptions]
        self._send(json.dumps({"op": "subscribe", "args": topics}))
        for _ in topics:
            self._await(lambda message: message.get("event") == "subscribe" and message.get("arg") in topics)

    def _await(self, is_it: Callable[[Message], bool]) -> None:
        """Read on until the wanted message has come; pushes that come before it are held."""
        deadline_ns = self._clock.monotonic_ns() + int(self._pulse.connect * NS_PER_SEC)
        while self._clock.monotonic_ns() < deadline_ns:
            raw = self.receive()
            if raw is None or raw == "pong":
                continue
            message = read_message(raw)
            if "data" in message:
                self.held.append((raw, message))
            elif is_it(message):
                return
        raise interrupted("Bitget's socket did not answer in time", "no_answer")

    def receive(self, wait_sec: float | None = None) -> str | None:
        """Return the next frame's text, or ``None`` if none came in a while; keeps the pulse meanwhile.

        :raises StreamInterrupted: the socket is closed, broken or silent.
        """
        now = self._clock.monotonic_ns()
        if self._asked_ns is None:
            if now >= self._ping_due_ns:
                self._send("ping")
                self._asked_ns = now
                self._ping_due_ns = now + int(self._pulse.ping * NS_PER_SEC)
        elif now - self._asked_ns > self._pulse.pong * NS_PER_SEC:
            raise interrupted("the socket went silent", "silent")
        try:
            # A time-out in the middle of a frame loses nothing: the library goes on where it stopped.
            self._socket.settimeout(self._pulse.look if wait_sec is None else wait_sec)
            raw = self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError) as error:
            raise interrupted(f"the socket broke ({type(error).__name__})", "connection_lost") from None
        if not isinstance(raw, str) or not raw:
            raise interrupted("Bitget closed the socket", "connection_lost")
        self.heard_ns = self._clock.monotonic_ns()
        if raw == "pong":
            self._asked_ns = None
        return raw

    def _send(self, text: str) -> None:
        try:
            self._socket.send(text)
        except (websocket.WebSocketException, OSError) as error:
            raise interrupted(f"the socket broke ({type(error).__name__})", "connection_lost") from None

    def close(self) -> None:
        # Not the library's close(): it waits for the other side's farewell.
        self._socket.shutdown()  # type: ignore[no-untyped-call]


def read_message(raw: str) -> Message:
    """Return a frame as an object. :raises StreamInterrupted: it reports an error of ours or of Bitget's."""
    message = parse.document(raw)
    if not isinstance(message, dict):
        raise unreadable("a pushed message is no object")
    if message.get("event") == "error":
        raise socket_refusal(str(message.get("code")), str(message.get("msg") or ""))
    return message


def interrupted(sentence: str, kind: str) -> StreamInterrupted:
    return StreamInterrupted(sentence, kind=kind, exchange=EXCHANGE)


def _connect(url: str, timeout_sec: float) -> websocket.WebSocket:
    """Connect by a socket of our own: the library would obey proxies from the environment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "wss"
    raw: socket.socket | None = None
    try:
        raw = socket.create_connection((host, parts.port or (443 if secure else 80)), timeout_sec)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            raw = ssl.create_default_context(cafile=certifi.where()).wrap_socket(raw, server_hostname=host)
        return websocket.create_connection(url, timeout=timeout_sec, socket=raw, redirect_limit=0)
    except (websocket.WebSocketException, OSError) as error:
        if raw is not None:
            raw.close()
        raise interrupted(f"Bitget's socket could not be opened ({type(error).__name__})", "cannot_connect") from None
