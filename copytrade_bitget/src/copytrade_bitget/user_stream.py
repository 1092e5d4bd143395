"""Pushed balances and order reports: one private socket an account, each on its own thread.

Bitget takes one login a socket and 100 sockets an address. It wants the text ``ping`` (protocol pings do not
count), at most 10 messages a second, at most 300 connections in 5 minutes, and may cut a socket after 24 h.
Its own FAQ says that pushes can be lost: the engine reads balances again now and then.
Source: https://www.bitget.com/api-doc/common/websocket-intro
"""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING

from copytrade_core.accounts.budget import Priority
from copytrade_core.clock import NS_PER_SEC
from copytrade_core.connector import (
    Connector,
    StreamDown,
    StreamEvent,
    StreamFrame,
    StreamSink,
    StreamUp,
    UserStream,
)
from copytrade_core.errors import AuthenticationFailed, CopytradeError, ExchangeError, StreamInterrupted
from copytrade_core.model import AccountId

from .errors import EXCHANGE, SOCKET_AUTH_CODES
from .private_socket import MAX_SOCKETS, Message, PrivateSocket, StreamAddress, interrupted, read_message

if TYPE_CHECKING:
    from .connector import BitgetConnector

log = logging.getLogger(__name__)


class BitgetUserStream(UserStream):
    """The private sockets of many accounts."""

    def __init__(self, address: StreamAddress, sink: StreamSink, name: str) -> None:
        self._address = address
        self._sink = sink
        self._name = name
        self._lock = threading.Lock()
        self._accounts: dict[AccountId, _AccountStream] = {}
        self._stopped = False

    def add(self, connector: Connector) -> None:
        """Subscribe an account.

        :raises StreamInterrupted: kind ``no_socket_left``: the address's sockets are all in use, and nothing is
            tried again by itself. Any other kind: it keeps trying.
        :raises AuthenticationFailed: the key was refused, over REST too; the account is given up.
        """
        with self._lock:
            if self._stopped:
                raise StreamInterrupted("the stream was stopped", kind="stopped", exchange=EXCHANGE)
            stream = self._accounts.get(connector.account_id)
            if stream is None:
                if not self._address.take_place():
                    raise StreamInterrupted(
                        f"all {MAX_SOCKETS} sockets of this address are in use",
                        kind="no_socket_left",
                        exchange=EXCHANGE,
                    )
                stream = _AccountStream(self._address, self._sink, self._name, connector)  # type: ignore[arg-type]
                self._accounts[connector.account_id] = stream
                stream.start()
        try:
            stream.wait_until_up()
        except AuthenticationFailed:
            self.remove(connector.account_id)
            raise

    def remove(self, account_id: AccountId) -> None:
        with self._lock:
            stream = self._accounts.pop(account_id, None)
        if stream is not None:
            stream.stop()
            self._address.leave()

    def last_proof_ns(self, account_id: AccountId) -> int | None:
        with self._lock:
            stream = self._accounts.get(account_id)
        return stream.last_proof_ns if stream else None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            streams = list(self._accounts.values())
            self._accounts.clear()
        for stream in streams:
            stream.ask_to_stop()
        for stream in streams:
            stream.stop()
            self._address.leave()


class _AccountStream:
    """One account's socket, kept alive by one thread: connect, sign in, subscribe, read, replace."""

    def __init__(self, address: StreamAddress, sink: StreamSink, name: str, connector: BitgetConnector) -> None:
        self._address = address
        self._pulse = address.pulse
        self._clock = address.clock
        self._sink = sink
        self._name = f"{name}-{connector.account_id[:8]}"
        self._connector = connector
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._error: ExchangeError | None = None
        self._settled = False  # the first attempt has ended, well or badly
        self._is_up = False
        self._sockets = 0
        self.last_proof_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopped.set()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def wait_until_up(self) -> None:
        """Wait until the first attempt has ended. :raises ExchangeError: it ended badly."""
        with self._changed:
            self._changed.wait_for(lambda: self._settled, timeout=4 * self._pulse.connect)
            if self._is_up:
                return
            error = self._error or StreamInterrupted("the socket is not up yet", kind="not_yet", exchange=EXCHANGE)
        raise error

    # --- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        retry_sec = self._pulse.first_retry
        while not self._stopped.is_set():
            began_ns = self._clock.monotonic_ns()
            try:
                self._deliver()
            except AuthenticationFailed as error:
                self._down(error)
                log.warning("%s gave up: %s", self._name, error.message)
                return
            except CopytradeError as error:
                self._down(error)
            except Exception as error:  # whatever a frame does to the parser must not end the thread in silence
                log.exception("%s failed", self._name)
                self._down(StreamInterrupted(f"the reader failed: {type(error).__name__}", exchange=EXCHANGE))
            # A socket that held for a while starts its waits anew; one that falls at once waits longer each time.
            if self._clock.monotonic_ns() - began_ns > 60 * NS_PER_SEC:
                retry_sec = self._pulse.first_retry
            self._stopped.wait(retry_sec * random.uniform(0.5, 1.5))
            retry_sec = min(retry_sec * 2, self._pulse.longest_retry)

    def _deliver(self) -> None:
        """Deliver until the socket falls or a stop; replaces it before Bitget's 24 h, the new one first."""
        private = self._open()
        try:
            self._up(private)
            rotate_at = self._rotation_ns()
            while not self._stopped.is_set():
                self._take(private)
                if self._connector.family is not private.family and self._connector.family is not None:
                    raise interrupted("the account changed between classic and unified", "account_mode_changed")
                if self._clock.monotonic_ns() >= rotate_at:
                    private = self._replace(private)
                    rotate_at = self._rotation_ns()
        finally:
            private.close()

    def _rotation_ns(self) -> int:
        # Scattered, so that sockets opened together are not replaced together.
        return self._clock.monotonic_ns() + int(self._pulse.rotate * random.uniform(0.9, 1.0) * NS_PER_SEC)

    def _open(self) -> PrivateSocket:
        self._sockets += 1
        try:
            family = self._connector.family or self._connector.detect_family()
            self._address.connects.spend(1, Priority.ORDER)
            return PrivateSocket(self._address, family, f"{self._name}-{self._sockets}")
        except StreamInterrupted as error:
            if error.code in SOCKET_AUTH_CODES:
                # The socket's word alone disables nobody: REST must refuse the key as well.
                self._connector.balances()
            raise

    def _replace(self, old: PrivateSocket) -> PrivateSocket:
        try:
            new = self._open()
        except AuthenticationFailed:
            raise
        except ExchangeError as error:
            log.warning("%s could not be replaced and is kept: %s", self._name, error.message)
            return old
        # What arrives on both is delivered twice, under two connection names; that is what the names are for.
        try:
            while self._take(old, wait_sec=0.05):
                pass
        except ExchangeError:
            log.debug("%s: the old socket fell while it was replaced", self._name)
        old.close()
        for raw, message in new.held:
            self._push(new, raw, message)
        return new

    def _up(self, private: PrivateSocket) -> None:
        self.last_proof_ns = self._clock.monotonic_ns()
        self._emit(private.name, StreamUp())
        for raw, message in private.held:
            self._push(private, raw, message)
        with self._changed:
            self._is_up = self._settled = True
            self._changed.notify_all()

    def _down(self, error: CopytradeError) -> None:
        self.last_proof_ns = None
        with self._changed:
            was_up, self._is_up = self._is_up, False
            self._error = error if isinstance(error, ExchangeError) else None
            self._settled = True
            self._changed.notify_all()
        if was_up:
            self._emit(self._name, StreamDown(reason=error.message))

    def _take(self, private: PrivateSocket, wait_sec: float | None = None) -> bool:
        """Read and deliver one frame; return whether one came."""
        raw = private.receive(wait_sec)
        if raw is None:
            return False
        self.last_proof_ns = private.heard_ns
        if raw != "pong":
            message = read_message(raw)
            if "data" in message and "arg" in message:
                self._push(private, raw, message)
        return True

    def _push(self, private: PrivateSocket, raw: str, message: Message) -> None:
        for event in private.family.stream_events(message):
            self._emit(private.name, event, raw)

    def _emit(self, connection: str, event: StreamEvent, raw: str = "") -> None:
        if self._stopped.is_set():
            return
        self._sink(
            StreamFrame(
                account_id=self._connector.account_id,
                connection=connection,
                received_ns=self._clock.monotonic_ns(),
                event=event,
                raw=raw,
            )
        )
