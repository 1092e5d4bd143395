"""What becomes of a copy, put on record: in the journal, by its move, and in the feed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection

from ..clock import Clock
from ..errors import CopytradeError, JournalError
from ..feed import Feed
from ..model import OrderAck, OrderReport, OrderStatus, Side, Symbol
from ..store import book as rows
from ..store.journal import Journal
from ..views import CopyState, plain_fraction
from .jobs import Job
from .states import Move


class Record:
    """Writes every move of a copy. The dispatcher's thread makes them; they are on disk in that order."""

    def __init__(
        self, *, clock: Clock, journal: Journal, feed: Feed, symbol: Symbol, on_failed: Callable[[BaseException], None]
    ) -> None:
        """*on_failed*: told of a write that failed although the journal works: what is on record is not the truth."""
        self._clock = clock
        self._journal = journal
        self._feed = feed
        self._symbol = symbol
        self._on_failed = on_failed

    def move(self, job: Job, cause: Move, state: CopyState, *, kind: str, reason: str, **values: Any) -> None:
        job.move(cause, state)
        copy_id, wall_ms = job.copy_id, self._clock.wall_ms()
        values |= {"reason_kind": kind, "reason": reason}
        self._write(lambda connection: rows.move(connection, copy_id, cause, state, wall_ms, **values))

    def answer(self, job: Job, cause: Move, state: CopyState, outcome: str, error: CopytradeError) -> None:
        """Write what an attempt was answered with, where that is no acceptance (J3)."""
        job.move(cause, state)
        copy_id, n, wall_ms, latency = job.copy_id, job.attempts, self._clock.wall_ms(), dict(job.latency_ms)
        answer = f"{error.kind} {error.code}: {error.message}".replace(" :", ":")

        def write(connection: Connection) -> None:
            rows.answered(connection, copy_id, n, outcome, answer)
            why = {"reason_kind": error.kind, "reason": error.message, "latency_ms": latency}
            rows.move(connection, copy_id, cause, state, wall_ms, **why)

        self._write(write)

    def accepted(self, job: Job, ack: OrderAck) -> None:
        """Write that the exchange took an order whose fills are still to be read (J3)."""
        job.move(Move.ACCEPTED, CopyState.ACKED)
        copy_id, n, wall_ms, latency = job.copy_id, job.attempts, self._clock.wall_ms(), dict(job.latency_ms)
        order_id = ack.exchange_order_id

        def write(connection: Connection) -> None:
            rows.answered(connection, copy_id, n, "accepted", "", order_id)
            known = {"exchange_order_id": order_id, "latency_ms": latency}
            rows.move(connection, copy_id, Move.ACCEPTED, CopyState.ACKED, wall_ms, **known)

        self._write(write)

    def executed(self, job: Job, cause: Move, report: OrderReport, then: Callable[[str, str], None]) -> None:
        """Write an order's final state with its fills (J4); *then* is told kind and sentence when that is on disk."""
        state, kind, reason = final_state(report)
        job.move(cause, state)
        job.clocked("final", self._clock.monotonic_ns())
        copy_id, n, wall_ms, latency = job.copy_id, job.attempts, self._clock.wall_ms(), dict(job.latency_ms)
        answer = "accepted" if cause is Move.EXECUTED else "found"

        def write(connection: Connection) -> None:
            rows.answered(connection, copy_id, n, answer, "", report.exchange_order_id)
            why = {"reason_kind": kind, "reason": reason}
            rows.executed(connection, copy_id, cause, state, report, wall_ms, latency, **why)

        def written(done: Future[Any]) -> None:
            if done.exception() is None:
                then(kind, reason)

        self._write(write).add_done_callback(written)

    def evidence(self, job: Job, kind: str, text: str) -> None:
        """Append what was learned of an order of unknown outcome. From any thread."""
        copy_id, wall_ms = job.copy_id, self._clock.wall_ms()
        self._write(lambda connection: rows.note(connection, copy_id, wall_ms, kind, text))

    def publish(
        self,
        job: Job,
        kind: str,
        reason: str,
        report: OrderReport | None = None,
        computed: Fraction | None = None,
    ) -> None:
        """Tell the feed what became of a copy."""
        symbol = self._symbol
        data: dict[str, Any] = {
            "what": "copy_moved",
            "copy_id": job.copy_id,
            "event_id": str(job.leader_order_id),
            "account_id": job.account_id,
            "account": job.account_name,
            "side": job.side.value,
            "state": job.state.value,
            "reason_kind": kind,
            "reason": reason,
            "filled_base": report.filled_base if report else None,
            "filled_quote": report.filled_quote if report else None,
        }
        if computed is not None:
            asset = symbol.quote if job.side is Side.BUY else symbol.base
            data |= {"computed": plain_fraction(computed, 12), "asset": asset}
        text = f"{job.account_name} {job.side} {job.state}" + (f": {reason}" if reason else "")
        self._feed.publish("copy", text, **data)

    def _write(self, work: Callable[[Connection], Any]) -> Future[Any]:
        future = self._journal.submit(work)
        future.add_done_callback(self._written)
        return future

    def _written(self, done: Future[Any]) -> None:
        error = done.exception()
        # A broken journal halts the engine itself.
        if error is not None and not isinstance(error, JournalError):
            self._on_failed(error)


def final_state(report: OrderReport) -> tuple[CopyState, str, str]:
    """Return the state, kind and sentence that a final order ends its copy in; what was filled counts."""
    if report.status is OrderStatus.FILLED:
        return CopyState.FILLED, "", ""
    if report.filled_base > 0:
        return CopyState.PARTLY_FILLED, "partly_filled", "the order book ran out before all of it was filled"
    return CopyState.REJECTED, "nothing_filled", "the exchange took the order and ended it with nothing filled"
