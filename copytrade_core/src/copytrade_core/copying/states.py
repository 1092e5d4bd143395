"""The state machine of one copy: every move that its state can make, why, and where in the journal it is written.

::

    PLANNED --> SUBMITTING --> ACKED ----> FILLED | PARTLY_FILLED
       |            |    |  \\---> REJECTED
       |            |    \\------> UNKNOWN --(found)--> ACKED | FILLED | PARTLY_FILLED | REJECTED
       |            |                  \\--(absence proven)--> FAILED
       |            |                   \\-(not decidable in time)--> NEEDS_PERSON
       |            \\--> NOT_SENT --> SUBMITTING once more, else FAILED; UNKNOWN if it shows all the same
       \\--> SKIPPED | STALE | FAILED (nothing was ever sent)

A row is made at J1, in one of `STARTS`, and from then on changes by these moves alone: whoever writes one names it,
and the statement that writes it asks for its sources. To be read beside orders.md 2.2 to 2.8, whose points are J1
(the closed book), J2 (before the first byte), J3 (before a result is acted on) and J4 (before the account's next copy
may use the balance).

A final state is left only when the exchange proves it wrong (an order that shows or executes after its fence): the
row is corrected, with an alarm, and never hidden.
"""

from __future__ import annotations

from collections.abc import Set
from enum import Enum

from ..views import CopyState as S

MAX_ATTEMPTS = 2  # automatic ones, for ever, counted in the journal

STARTS = frozenset({S.PLANNED, S.SKIPPED, S.STALE})

_EXECUTED = {S.FILLED, S.PARTLY_FILLED}
_ENDED = {*_EXECUTED, S.REJECTED}  # an order that ended with nothing filled: REJECTED


class Move(Enum):
    """One way in which a copy's state changes: from where, to where, written at which point, and why."""

    def __init__(self, sources: Set[S], targets: Set[S], point: str, cause: str) -> None:
        self.sources = frozenset(sources)
        self.targets = frozenset(targets)
        self.point = point
        self.cause = cause

    # what may leave (sections 1, 2.3, 2.6, 2.7)
    REFUSED = {S.PLANNED}, {S.SKIPPED, S.STALE, S.FAILED}, "J3", "stopped, paused, too small, too old, halted ..."
    GIVEN_UP = {S.NOT_SENT}, {S.FAILED}, "J3", "the same, of a copy that waited for its second attempt"
    CLAIMED = {S.PLANNED, S.NOT_SENT}, {S.SUBMITTING}, "J2", "attempt n is on disk, n is at most MAX_ATTEMPTS"

    # what an answer means (2.5, 2.6)
    ACCEPTED = {S.SUBMITTING}, {S.ACKED}, "J3", "X: the exchange took it; its fills are to be read"
    EXECUTED = {S.SUBMITTING}, _ENDED, "J4", "X: the answer held all fills"
    TURNED_DOWN = {S.SUBMITTING}, {S.REJECTED}, "J3", "R: the exchange looked at it and refused it"
    ONCE_MORE = {S.SUBMITTING}, {S.NOT_SENT}, "J3", "N, or R for rate or clock: in time for the second attempt"
    NOT_AGAIN = {S.SUBMITTING}, {S.FAILED}, "J3", "N or R, and no attempt is left, or none is wanted"
    UNANSWERED = {S.SUBMITTING}, {S.UNKNOWN}, "J3", "U: nobody knows; it is not sent again"
    SHOWN = {S.NOT_SENT}, {S.UNKNOWN}, "J3", "the first attempt shows at the exchange: the second one is cancelled"

    # what a restart means (2.8)
    RESTARTED = {S.SUBMITTING}, {S.UNKNOWN}, "J3", "the engine ended between J2 and J3, without exception"

    # what was found out (2.4)
    FOUND_OPEN = {S.UNKNOWN}, {S.ACKED}, "J3", "the order exists and is not final"
    FOUND = {S.ACKED, S.UNKNOWN}, _ENDED, "J4", "the order is final and all its fills are read"
    ABSENT = {S.UNKNOWN}, {S.FAILED}, "J3", "absence is proven: it never reached the exchange"
    UNDECIDED = {S.ACKED, S.UNKNOWN}, {S.NEEDS_PERSON}, "J3", "the deadline has passed, or nobody can be asked"

    # what turns out later (F39)
    FOUND_LATE = {S.FAILED}, _EXECUTED, "J4", "executed after its absence was proven"
    SHOWN_LATE = {S.FAILED}, {S.NEEDS_PERSON}, "J3", "it showed after its absence was proven, and never how it ended"

    # what a person decides (2.2)
    SETTLED_AS_EXECUTED = {S.NEEDS_PERSON}, _ENDED, "J4", "the exchange shows the final order"
    SETTLED_AS_NOT_EXECUTED = {S.NEEDS_PERSON}, {S.FAILED}, "J3", "the exchange shows no order"

    def check(self, source: S, target: S) -> None:
        """:raises RuntimeError: this move does not lead from *source* to *target*: nothing that follows is certain."""
        if source not in self.sources or target not in self.targets:
            raise RuntimeError(f"{self.name} does not lead from {source} to {target}")
