"""The user data streams of many accounts over a few WebSocket API sockets, kept alive and never trusted.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/user-data-stream.md and, for
``userDataStream.subscribe.signature``, web-socket-api.md beside it. There is no replay and no snapshot: what
happens while an account is down has to be read over REST.
"""

from __future__ import annotations

import functools
import logging
import random
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from copytrade_core.accounts.budget import Priority
from copytrade_core.connector import (
    Connector,
    StreamDown,
    StreamEvent,
    StreamFrame,
    StreamSink,
    StreamUp,
    UserStream,
)
from copytrade_core.errors import AuthenticationFailed, ExchangeError, OutcomeUnknown, RateLimited, StreamInterrupted
from copytrade_core.model import LEADER, AccountId

from . import parse
from .api_socket import ApiSocket, Frame, SocketTimings
from .errors import EXCHANGE
from .keeper import Keeper

if TYPE_CHECKING:
    from .connector import BinanceConnector, BinanceExchange

log = logging.getLogger(__name__)

RECV_WINDOW_MS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimings:
    """Seconds; the defaults are for Binance, tests use shorter ones."""

    socket: SocketTimings = field(default_factory=SocketTimings)
    answer: float = 10.0  # for a subscription
    add: float = 20.0  # until `add` gives up waiting
    overlap: float = 60.0  # how long an old connection runs beside its successor
    backoff_first: float = 0.5
    backoff_longest: float = 30.0


class BinanceUserStream(UserStream):
    """Pushed events of many accounts; an account is on one line of sockets, at most 100 on each.

    A socket that dies takes its own accounts down and no others, until its line has another.

    `add` may be called from many threads at once: their subscriptions then share the round trips.
    """

    ACCOUNTS_PER_LINE = 100

    def __init__(
        self, exchange: BinanceExchange, sink: StreamSink, name: str, timings: StreamTimings | None = None
    ) -> None:
        self.exchange = exchange
        self.timings = timings or StreamTimings()
        self.keeper = Keeper(f"{name}-keeper")
        self.lock = threading.Lock()  # guards the maps of all lines; the sink is called under it
        self._sink = sink
        self._name = name
        self._lines: list[_Line] = []
        self._made = 0
        self._is_second = next(exchange.streams) % 2 == 1
        self._stopped = False

    def add(self, connector: Connector) -> None:
        """Subscribe an account; see `UserStream.add`. An account that is there already is subscribed anew."""
        self.remove(connector.account_id)
        member = _Member(connector)  # type: ignore[arg-type]
        with self.lock:
            if self._stopped:
                raise StreamInterrupted("the stream was stopped", kind="stopped", exchange=EXCHANGE)
            # A line whose last account went is closing; it is kept only until its sockets are.
            self._lines = [one for one in self._lines if one.members or one.carriers]
            line = next((one for one in self._lines if 0 < len(one.members) < self.ACCOUNTS_PER_LINE), None)
            if line is None:
                line = _Line(self)
                self._lines.append(line)
            line.members[member.account_id] = member
        self.keeper.soon(lambda: line.admit(member))
        if not member.answered.wait(self.timings.add):
            raise StreamInterrupted("Binance has not confirmed the subscription yet", exchange=EXCHANGE)
        if member.error is not None:
            raise member.error

    def remove(self, account_id: AccountId) -> None:
        with self.lock:
            line = next((one for one in self._lines if account_id in one.members), None)
            if line is None:
                return
            member = line.members.pop(account_id)
            subscriptions = line.forget(member)
        self.keeper.soon(lambda: line.unsubscribe(subscriptions))

    def last_proof_ns(self, account_id: AccountId) -> int | None:
        with self.lock:
            for line in self._lines:
                if account_id in line.members:
                    return max((one.socket.last_proof_ns for one in line.carriers_of(account_id)), default=None)
        return None

    def stop(self) -> None:
        with self.lock:
            self._stopped = True
            for member in [member for line in self._lines for member in line.members.values()]:
                member.answer(StreamInterrupted("the stream was stopped", kind="stopped", exchange=EXCHANGE))
        self.keeper.stop()
        with self.lock:
            sockets = [carrier.socket for line in self._lines for carrier in line.carriers]
        for one in sockets:
            one.abort("the stream was stopped")
        for one in sockets:
            one.join()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def next_socket_name(self) -> str:
        self._made += 1
        return f"{self._name}#{self._made}"

    def timings_of_next_socket(self) -> SocketTimings:
        """Of an account's two streams one replaces its first socket early: they then change half a day apart."""
        socket = self.timings.socket
        if self._made > 1 or not self._is_second:
            return socket
        return replace(socket, rotate_after=socket.rotate_after / 2)

    def say(
        self, account_id: AccountId, connection: str, event: StreamEvent, raw: str = "", received_ns: int = 0
    ) -> None:
        """Hand one event to the sink. Called under the lock, so that nothing of a removed account follows."""
        if self._stopped:
            return
        self._sink(
            StreamFrame(
                account_id=account_id,
                connection=connection,
                received_ns=received_ns or self.exchange.context.clock.monotonic_ns(),
                event=event,
                raw=raw,
            )
        )


class _Member:
    """One account that wants its events."""

    def __init__(self, connector: BinanceConnector) -> None:
        self.account_id = connector.account_id
        self.signer = connector.signer
        self.answered = threading.Event()  # `add` need not wait any longer
        self.error: ExchangeError | None = None
        self.failures = 0  # subscriptions in a row that were refused

    def answer(self, error: ExchangeError | None = None) -> None:
        if not self.answered.is_set():
            self.error = error
            self.answered.set()


class _Carrier:
    """One socket with the subscriptions on it; Binance numbers them from 0 and does not say whose they are."""

    def __init__(self) -> None:
        self.socket: ApiSocket
        self.subscriptions: dict[int, _Member] = {}
        self.confirmed: set[AccountId] = set()  # those that Binance lists
        self.asked: set[AccountId] = set()  # whose subscription is not answered yet
        self.requests = 0  # subscriptions asked for so far
        self.successor: _Carrier | None = None  # which takes over from it


class _Line:
    """Up to 100 accounts, and the socket that carries them, or two while one takes over from the other.

    What changes sockets runs on the keeper's thread; the maps are guarded by the stream's lock.
    """

    def __init__(self, stream: BinanceUserStream) -> None:
        self.members: dict[AccountId, _Member] = {}
        self.carriers: list[_Carrier] = []  # the last one is the newest
        self._stream = stream
        self._timings = stream.timings
        self._replaced: set[_Carrier] = set()  # those that close once their successor has run beside them
        self._failures = 0
        self._retry_is_due = False

    def carriers_of(self, account_id: AccountId) -> list[_Carrier]:
        return [carrier for carrier in self.carriers if account_id in carrier.confirmed]

    # --- on the keeper's thread -----------------------------------------------------------------------

    def admit(self, member: _Member) -> None:
        """Subscribe a new account wherever this line is open, or open the line."""
        if not self.carriers:
            self._open()
        for carrier in self.carriers:
            if carrier.socket.is_open:
                self._subscribe(carrier, [member])

    def _open(self) -> None:
        if self._stream.stopped or self._retry_is_due:
            return
        limits = self._stream.exchange.limits
        try:
            # Followers are polled while they are not heard: they leave connections for a leader and for orders.
            limits.connections.spend(1, Priority.LOOKUP if LEADER in self.members else Priority.CHECK)
            limits.spend(2, Priority.LOOKUP)
        except RateLimited as error:
            self._fail_waiting(error)
            self._retry(error.retry_after_sec)
            return
        carrier = _Carrier()
        carrier.socket = ApiSocket(
            self._stream.exchange.ws_api_url,
            self._stream.next_socket_name(),
            clock=self._stream.exchange.context.clock,
            limits=limits,
            on_open=lambda: self._stream.keeper.soon(lambda: self._opened(carrier)),
            on_event=lambda frame, raw, received_ns: self._event(carrier, frame, raw, received_ns),
            on_leaving=lambda: self._stream.keeper.soon(lambda: self._replace(carrier)),
            on_closed=lambda error: self._closed(carrier, error),
            timings=self._stream.timings_of_next_socket(),
        )
        with self._stream.lock:
            self.carriers.append(carrier)
        carrier.socket.start()

    def _retry(self, seconds: float) -> None:
        if not self._retry_is_due:
            self._retry_is_due = True
            self._stream.keeper.later(seconds, self._reopen)

    def _reopen(self) -> None:
        self._retry_is_due = False
        if self.members and not [one for one in self.carriers if one not in self._replaced]:
            self._open()

    def _opened(self, carrier: _Carrier) -> None:
        with self._stream.lock:
            members = list(self.members.values())
        self._subscribe(carrier, members)

    def _subscribe(self, carrier: _Carrier, members: Iterable[_Member]) -> None:
        """Ask for *members*' events, one request behind the other without waiting for answers."""
        exchange = self._stream.exchange
        waiting = deque(members)
        while waiting:
            member = waiting[0]
            try:
                # Hundreds of followers may begin at once; the leader does not wait behind them.
                priority = Priority.LOOKUP if member.account_id == LEADER else Priority.CHECK
                exchange.limits.spend(2, priority)
            except RateLimited as error:
                self._stream.keeper.later(error.retry_after_sec, functools.partial(self._subscribe, carrier, waiting))
                return
            waiting.popleft()
            with self._stream.lock:
                known = carrier.asked | {one.account_id for one in carrier.subscriptions.values()}
                if self.members.get(member.account_id) is not member or member.account_id in known:
                    continue
                carrier.asked.add(member.account_id)
                carrier.requests += 1
            try:
                timestamp = exchange.context.exchange_clock.now_ms()
                params = member.signer.frame_params({"timestamp": timestamp, "recvWindow": RECV_WINDOW_MS})
            except ExchangeError as error:
                self._subscribed(carrier, member, None, error)
                continue
            sent = carrier.socket.request(
                "userDataStream.subscribe.signature",
                params,
                functools.partial(self._subscribed, carrier, member),
                timeout_sec=self._timings.answer,
            )
            if not sent:
                return  # it is closing, and what was asked of it goes with it

    def _refused(self, carrier: _Carrier, member: _Member, error: ExchangeError) -> None:
        """Give an account up, or try it again in a while; the others on the socket are not disturbed."""
        if isinstance(error, AuthenticationFailed):
            with self._stream.lock:
                if self.members.get(member.account_id) is not member:
                    return
                del self.members[member.account_id]
                subscriptions = self.forget(member)
                if member.answered.is_set():  # it was up before, and somebody relies on it
                    self._stream.say(member.account_id, carrier.socket.name, StreamDown(reason=error.message))
            member.answer(error)
            self.unsubscribe(subscriptions)
            return
        member.answer(StreamInterrupted(f"not subscribed yet: {error.message}", exchange=EXCHANGE, code=error.code))
        if error.kind == "connection_used_up":
            self._replace(carrier)
            return
        member.failures += 1
        self._stream.keeper.later(self._backoff(member.failures), lambda: self._subscribe(carrier, [member]))

    def _check(self, carrier: _Carrier) -> None:
        """Have Binance list the subscriptions of a socket: an answer to each request alone proves too little."""
        with self._stream.lock:
            requests = carrier.requests
        carrier.socket.request(
            "session.subscriptions",
            None,
            lambda result, error: self._listed(carrier, requests, result, error),
            timeout_sec=self._timings.answer,
        )

    def unsubscribe(self, subscriptions: Iterable[tuple[_Carrier, int]]) -> None:
        """End subscriptions; a line without accounts is closed."""
        for carrier, number in subscriptions:
            carrier.socket.request(
                "userDataStream.unsubscribe",
                {"subscriptionId": number},
                lambda result, error: None,  # if it did not work, the next listing shows it
                timeout_sec=self._timings.answer,
            )
        if not self.members:
            for carrier in list(self.carriers):
                carrier.socket.abort("no account is left on it")

    def _replace(self, carrier: _Carrier) -> None:
        """Open a successor beside *carrier*; the old one closes when both have run side by side for a while."""
        if carrier not in self.carriers or carrier in self._replaced or self._stream.stopped:
            return
        self._replaced.add(carrier)
        self._open()

    def _take_over(self, successor: _Carrier) -> None:
        self._failures = 0
        if successor is not self.carriers[-1]:
            return
        for carrier in self.carriers[:-1]:
            if carrier.successor is not successor:
                carrier.successor = successor
                self._stream.keeper.later(self._timings.overlap, functools.partial(self._let_go, carrier, successor))

    def _let_go(self, carrier: _Carrier, successor: _Carrier) -> None:
        if successor not in self.carriers or carrier not in self.carriers:
            return  # the old one is still all there is, or is gone
        with self._stream.lock:
            carries_all = carrier.confirmed <= successor.confirmed
        if carries_all:
            carrier.socket.abort("replaced")
        else:
            self._stream.keeper.later(self._timings.overlap, functools.partial(self._let_go, carrier, successor))

    def _lost(self, error: ExchangeError) -> None:
        if self._stream.stopped or not self.members:
            return
        self._failures += 1
        self._fail_waiting(error)
        self._retry(self._backoff(self._failures))

    def _backoff(self, failures: int) -> float:
        longest = min(self._timings.backoff_longest, self._timings.backoff_first * 2 ** min(failures - 1, 10))
        wait: float = longest * random.uniform(0.5, 1)
        return wait

    def _fail_waiting(self, error: ExchangeError) -> None:
        with self._stream.lock:
            waiting = [member for member in self.members.values() if not self.carriers_of(member.account_id)]
        for member in waiting:
            member.answer(StreamInterrupted(error.message, exchange=EXCHANGE, code=error.code))

    # --- under the lock -------------------------------------------------------------------------------

    def forget(self, member: _Member) -> list[tuple[_Carrier, int]]:
        """Take *member* off the maps; return the subscriptions that are to be ended."""
        found = [
            (carrier, number)
            for carrier in self.carriers
            for number, one in carrier.subscriptions.items()
            if one is member
        ]
        for carrier, number in found:
            del carrier.subscriptions[number]
            carrier.confirmed.discard(member.account_id)
        return found

    # --- on the sockets' threads ----------------------------------------------------------------------

    def _subscribed(self, carrier: _Carrier, member: _Member, result: Any, error: ExchangeError | None) -> None:
        number = -1
        if error is None:
            try:
                number = parse.subscription_id(result)
            except OutcomeUnknown as unreadable:
                error = unreadable
        with self._stream.lock:
            carrier.asked.discard(member.account_id)
            wanted = self.members.get(member.account_id) is member
            if error is None and wanted:
                carrier.subscriptions[number] = member
            all_answered = not carrier.asked
        if error is not None and wanted:
            self._stream.keeper.soon(lambda: self._refused(carrier, member, error))
        if all_answered:
            self._stream.keeper.soon(lambda: self._check(carrier))

    def _listed(self, carrier: _Carrier, requests: int, result: Any, error: ExchangeError | None) -> None:
        try:
            if error is not None:
                raise error
            listed = parse.subscription_ids(result)
        except ExchangeError:
            carrier.socket.abort("Binance does not list the subscriptions")
            return
        with self._stream.lock:
            for number in list(carrier.subscriptions):
                member = carrier.subscriptions[number]
                if member.account_id in carrier.confirmed:
                    continue
                if number in listed:
                    was_down = not self.carriers_of(member.account_id)
                    carrier.confirmed.add(member.account_id)
                    if was_down:
                        self._stream.say(member.account_id, carrier.socket.name, StreamUp())
                    member.failures = 0
                    member.answer()
            # With a request under way a number may be listed before its answer tells us whose it is.
            quiet = carrier.requests == requests and not carrier.asked
            strays = listed - set(carrier.subscriptions) if quiet else set()
            lost = [one for number, one in carrier.subscriptions.items() if quiet and number not in listed]
            for member in lost:
                self._drop(carrier, member, "Binance does not list the subscription")
        keeper = self._stream.keeper
        if strays:
            keeper.soon(lambda: self.unsubscribe([(carrier, number) for number in strays]))
        if lost:
            keeper.soon(lambda: self._subscribe(carrier, lost))
        keeper.soon(lambda: self._take_over(carrier))

    def _drop(self, carrier: _Carrier, member: _Member, reason: str) -> None:
        """Under the lock: *carrier* no longer delivers *member*; say so if nothing else does."""
        carrier.subscriptions = {number: one for number, one in carrier.subscriptions.items() if one is not member}
        if member.account_id in carrier.confirmed:
            carrier.confirmed.discard(member.account_id)
            if not self.carriers_of(member.account_id):
                self._stream.say(member.account_id, carrier.socket.name, StreamDown(reason=reason))

    def _event(self, carrier: _Carrier, frame: Frame, raw: str, received_ns: int) -> None:
        event, number = frame["event"], frame.get("subscriptionId")
        kind = event.get("e") if isinstance(event, dict) else None
        parsed: StreamEvent | None = None
        unreadable = ""
        if kind != "eventStreamTerminated":
            try:
                parsed = parse.event(event)
            except OutcomeUnknown as error:
                unreadable = error.message
        with self._stream.lock:
            member = carrier.subscriptions.get(number) if isinstance(number, int) else None
            if member is None:
                return
            if kind == "eventStreamTerminated":
                self._drop(carrier, member, "Binance ended the subscription")
            elif unreadable:
                # Something happened that we do not know: a gap, to be filled over REST like any other.
                log.error("%s: %s", carrier.socket.name, unreadable)
                for sign in (StreamDown(reason=unreadable), StreamUp()):
                    self._stream.say(member.account_id, carrier.socket.name, sign, raw, received_ns)
            elif parsed is not None:
                self._stream.say(member.account_id, carrier.socket.name, parsed, raw, received_ns)
        if kind == "eventStreamTerminated":
            self._stream.keeper.soon(lambda: self._subscribe(carrier, [member]))

    def _closed(self, carrier: _Carrier, error: ExchangeError) -> None:
        with self._stream.lock:
            self.carriers.remove(carrier)
            self._replaced.discard(carrier)
            members = list(carrier.subscriptions.values())
            for member in members:
                self._drop(carrier, member, error.message)
        if not [one for one in self.carriers if one not in self._replaced]:
            self._stream.keeper.soon(lambda: self._lost(error))
