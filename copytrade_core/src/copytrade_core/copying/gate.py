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
        self._inside = 0
        self._left_ns: dict[str, int] = {}

    def passage(self, prepared: PreparedOrder) -> _Passage:
        return _Passage(self, prepared)

    def shut(self, key: str, kind: str, reason: str, wait_sec: float = 1.0) -> None:
        """Let nothing more through for *key* (`EVERYBODY`, `HALT` or an account), and wait for those inside."""
        deadline = self._clock.monotonic_ns() + int(wait_sec * NS_PER_SEC)
        with self._changed:
            self._shut[key] = (kind, reason)
            while self._inside and self._clock.monotonic_ns() < deadline:
                self._changed.wait(0.05)

    def open(self, key: str) -> None:
        with self._changed:
            self._shut.pop(key, None)

    def reason(self, account_id: str) -> tuple[str, str] | None:
        """Return kind and sentence of what keeps this account's orders in; ``None``: they may leave."""
        with self._changed:
            return self._shut.get(HALT) or self._shut.get(EVERYBODY) or self._shut.get(account_id)

    def left_ns(self, client_order_id: str) -> int | None:
        """Return, once, when this order's bytes were handed to the system (monotonic)."""
        with self._changed:
            return self._left_ns.pop(client_order_id, None)

    def _enter(self, prepared: PreparedOrder) -> None:
        with self._changed:
            shut = self._shut.get(HALT) or self._shut.get(EVERYBODY) or self._shut.get(prepared.account_id)
            if shut is not None:
                kind, reason = shut
                raise NotSent(reason, retry=False, kind=kind)
            self._inside += 1

    def _leave(self, prepared: PreparedOrder) -> None:
        with self._changed:
            self._left_ns[prepared.order.client_order_id] = self._clock.monotonic_ns()
            self._inside -= 1
            if not self._inside:
                self._changed.notify_all()


class _Passage:
    def __init__(self, gate: CopyGate, prepared: PreparedOrder) -> None:
        self._gate = gate
        self._prepared = prepared

    def __enter__(self) -> None:
        self._gate._enter(self._prepared)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate._leave(self._prepared)
