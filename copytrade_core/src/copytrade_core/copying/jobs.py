"""One copy while it is under way, in memory; the journal holds the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..connector import PreparedOrder
from ..model import AccountId, Side
from ..views import CopyState
from .states import Move


@dataclass(slots=True, eq=False)
class Job:
    """A copy that is not final. The dispatcher's thread alone changes it."""

    copy_id: str
    leader_order_id: int
    account_id: AccountId
    account_name: str
    exchange_label: str
    side: Side
    share: Fraction
    created_ms: int  # when the leader's order was created, in the time of the leader's exchange
    deadline_ns: int  # monotonic; from here on it is too old to be sent
    heard_ns: int = 0  # monotonic; latencies count from here; 0: they do not count
    state: CopyState = CopyState.PLANNED
    looks_first: bool = False  # not heard live: an order of it may exist that this journal does not know of
    by_person: bool = False  # asked for by a person: what the account missed while it was paused counts, too
    attempts: int = 0
    not_before_ns: int = 0
    read_since_ns: int = 0  # its figures must have been read after this
    clock_refused_ns: int = 0  # the exchange's clock must have been measured after this
    is_heard: bool = False  # the account's stream told of its order: it exists, whatever the answer says
    known_ms: int = 0  # exchange time: the latest stamp of the figures that were known when it was sized
    unknown_ns: int = 0  # since when nobody knows what became of it
    prepared: PreparedOrder | None = None
    key_fingerprint: str = ""
    exchange_order_id: str = ""
    latency_ms: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of_row(cls, row: Mapping[Any, Any], *, share: Fraction, created_ms: int, deadline_ns: int, **more: Any) -> Job:
        """Return the job of a row of `copies`, as it was planned or as the journal holds it."""
        return cls(
            copy_id=row["id"],
            leader_order_id=row["leader_order_id"],
            account_id=AccountId(row["account_id"]),
            account_name=row["account_name"],
            exchange_label=f"{row['exchange']}/{row['env']}",
            side=Side(row["side"]),
            share=share,
            created_ms=created_ms,
            deadline_ns=deadline_ns,
            **more,
        )

    def move(self, move: Move, target: CopyState) -> None:
        """Note its new state. :raises RuntimeError: there is no such move."""
        move.check(self.state, target)
        self.state = target

    def clocked(self, step: str, now_ns: int) -> None:
        """Note how long after the leader's final report *step* came."""
        if self.heard_ns:
            self.latency_ms[step] = round((now_ns - self.heard_ns) / 1e6, 2)
