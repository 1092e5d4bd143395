"""What contract tests are made of: the far end and its handles, a gate, a sink, and waiting for a condition."""

from __future__ import annotations

import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlsplit

from ..connector import Gate, PreparedOrder, StreamFrame
from ..errors import NotSent
from ..model import ClientOrderId, Environment, Side, Symbol

T = TypeVar("T")

WAIT_SEC = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedOrder:
    """One order that the exchange under test carried out; the truth, not what it told anybody."""

    client_order_id: str
    side: Side
    base: Decimal
    quote: Decimal


class FakeExchange(ABC):
    """The exchange at the far end of the wire, in one account's view: a simulator with handles for trouble.

    Written once per plug-in. The handles are called from the test's thread and have taken effect when they
    return. Unless a handle says otherwise, trouble stays until `heals`.
    """

    plugin: object  # the module that the entry point names
    exchange: str  # the id that it describes
    environment: Environment
    endpoints: Mapping[str, str]  # loopback addresses, by the names that the plug-in documents
    credentials: Mapping[str, str]  # of one account that holds enough of both assets for some fifty orders
    symbol: Symbol = Symbol("BTC", "USDT")
    # Loggers of the fake itself, whose lines are no concern of the plug-in's.
    own_loggers: tuple[str, ...] = ("aiohttp", "asyncio")

    @abstractmethod
    def free(self, asset: str) -> Decimal:
        """Return the account's free balance as the exchange has it this moment."""

    @abstractmethod
    def executed_orders(self) -> Sequence[ExecutedOrder]:
        """Return every order of the account that was filled at least in part, oldest first."""

    @abstractmethod
    def accepts_then_drops_the_answer(self) -> None:
        """Carry the next order out, then cut the connection instead of answering. The next order only."""

    @abstractmethod
    def drops_before_execution(self) -> None:
        """Cut the connection when the next order has arrived, and do not carry it out. The next order only."""

    @abstractmethod
    def answers_garbage(self) -> None:
        """Answer the next order with success and something that nobody can read. The next order only."""

    @abstractmethod
    def limits_the_rate(self, retry_after_sec: int) -> None:
        """Refuse the next order for sending too much, and say how long to wait. The next order only."""

    @abstractmethod
    def refuses_the_key(self) -> None:
        """Refuse everything that is signed with the account's key, as if it had been deleted."""

    @abstractmethod
    def skews_the_clock(self, ms: int) -> None:
        """Put the exchange's clock *ms* ahead of where it was."""

    @abstractmethod
    def loses_reads(self) -> None:
        """Cut the connection instead of answering what is signed and no order."""

    @abstractmethod
    def garbles_reads(self) -> None:
        """Answer what is signed and no order with success and something that nobody can read."""

    @abstractmethod
    def heals(self) -> None:
        """End all trouble, the clock's included."""

    def lets_the_key_withdraw(self) -> None:
        """Give the key the right to withdraw. Needed where the capability ``key_permissions`` is declared."""
        raise NotImplementedError

    def cuts_the_streams(self) -> None:
        """Cut every open stream connection. Needed where the capability ``push_balances`` is declared."""
        raise NotImplementedError


class SwitchGate(Gate):
    """A gate that a test shuts and opens. ``entered`` are the client ids of the orders that were let through."""

    def __init__(self) -> None:
        self.is_shut = False
        self.entered: list[ClientOrderId] = []

    @contextmanager
    def passage(self, prepared: PreparedOrder) -> Iterator[None]:
        if self.is_shut:
            raise NotSent("the gate is shut", retry=False, kind="stopped")
        self.entered.append(prepared.order.client_order_id)
        yield


class RecordingSink:
    """Takes a stream's frames in and lets a test wait for one of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: list[StreamFrame] = []

    def __call__(self, frame: StreamFrame) -> None:
        with self._changed:
            self._frames.append(frame)
            self._changed.notify_all()

    @property
    def frames(self) -> list[StreamFrame]:
        with self._changed:
            return list(self._frames)

    def wait_for(self, wanted: Callable[[StreamFrame], bool], what: str, after: int = 0) -> StreamFrame:
        """Return the first frame that is *wanted*, at or behind position *after*; fail if none comes."""
        with self._changed:
            if not self._changed.wait_for(lambda: any(map(wanted, self._frames[after:])), WAIT_SEC):
                raise AssertionError(f"{what} was not pushed within {WAIT_SEC:.0f} s")
            return next(filter(wanted, self._frames[after:]))


def eventually(probe: Callable[[], T], what: str, timeout_sec: float = WAIT_SEC) -> T:
    """Return the first true answer of *probe*, asked again and again; fail, naming *what*, if none comes."""
    pause = threading.Event()
    deadline = time.monotonic() + timeout_sec
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_sec:.0f} s: {what}")
        pause.wait(0.05)
    return answer


@contextmanager
def nobody_listens(endpoints: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Give the same *endpoints* at a port where every connection is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it meanwhile
        netloc = f"127.0.0.1:{held.getsockname()[1]}"
        yield {name: urlsplit(url)._replace(netloc=netloc).geturl() for name, url in endpoints.items()}
