"""The last check before an order's bytes leave: shut by stop, by pause, by a halt."""

from __future__ import annotations

import threading
from types import TracebackType

from ..clock import NS_PER_SEC, Clock
from ..connector import Gate, PreparedOrder
from ..errors import NotSent

EVERYBODY = "*"
HALT = "halt"


class CopyGate(Gate):
    """Counts who is writing; shutting waits for them, so that after `shut` nothing leaves any more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._shut: dict[str, tuple[str, str]] = {}
        self._was_shut: dict[str, tuple[int, str, str]] = {}  # when last (monotonic), and why
        self._inside = 0
        self._left_ns: dict[str, int] = {}

    def passage(self, prepared: PreparedOrder) -> _Passage:
        return _Passage(self, prepared, self._clock.monotonic_ns())

    def for_burst(self) -> Gate:
        """Return the gate as orders that are made ready from now on meet it: what is shut meanwhile stays shut."""
        return _BurstGate(self, self._clock.monotonic_ns())

    def shut(self, key: str, kind: str, reason: str, wait_sec: float = 1.0) -> None:
        """Let nothing more through for *key* (`EVERYBODY`, `HALT` or an account), and wait for those inside."""
        deadline = self._clock.monotonic_ns() + int(wait_sec * NS_PER_SEC)
        with self._changed:
            self._shut[key] = (kind, reason)
            self._was_shut[key] = (self._clock.monotonic_ns(), kind, reason)
            while self._inside and self._clock.monotonic_ns() < deadline:
                self._changed.wait(0.05)

    def open(self, key: str) -> None:
        with self._changed:
            self._shut.pop(key, None)

    def is_shut(self, key: str) -> bool:
        """Whether this very key is shut, whatever the others are."""
        with self._changed:
            return key in self._shut

    def reason(self, account_id: str) -> tuple[str, str] | None:
        """Return kind and sentence of what keeps this account's orders in; ``None``: they may leave."""
        with self._changed:
            return self._shut.get(HALT) or self._shut.get(EVERYBODY) or self._shut.get(account_id)

    def left_ns(self, client_order_id: str) -> int | None:
        """Return, once, when this order's bytes were handed to the system (monotonic)."""
        with self._changed:
            return self._left_ns.pop(client_order_id, None)

    def _enter(self, prepared: PreparedOrder, since_ns: int) -> None:
        with self._changed:
            for key in (HALT, EVERYBODY, prepared.account_id):
                at_ns, kind, reason = self._was_shut.get(key, (0, "", ""))
                # Connecting can outlast a stop or a pause: what was ready before it does not leave after it.
                if key in self._shut or at_ns > since_ns:
                    raise NotSent(reason, retry=False, kind=kind)
            self._inside += 1

    def _leave(self, prepared: PreparedOrder) -> None:
        with self._changed:
            self._left_ns[prepared.order.client_order_id] = self._clock.monotonic_ns()
            self._inside -= 1
            if not self._inside:
                self._changed.notify_all()


class _BurstGate(Gate):
    def __init__(self, gate: CopyGate, since_ns: int) -> None:
        self._gate = gate
        self._since_ns = since_ns

    def passage(self, prepared: PreparedOrder) -> _Passage:
        return _Passage(self._gate, prepared, self._since_ns)


class _Passage:
    def __init__(self, gate: CopyGate, prepared: PreparedOrder, since_ns: int) -> None:
        self._gate = gate
        self._prepared = prepared
        self._since_ns = since_ns

    def __enter__(self) -> None:
        self._gate._enter(self._prepared, self._since_ns)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate._leave(self._prepared)
