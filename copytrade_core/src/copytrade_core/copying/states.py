"""The state machine of one copy, in one place.

::

    PLANNED --> SUBMITTING --> ACKED ----> FILLED | PARTLY_FILLED
       |            |    |  \\---> REJECTED
       |            |    \\------> UNKNOWN --(found)--> ACKED | FILLED | PARTLY_FILLED | REJECTED
       |            |                  \\--(absence proven)--> FAILED
       |            |                   \\-(not decidable in time)--> NEEDS_PERSON
       |            \\--> NOT_SENT --> SUBMITTING once more, else FAILED; UNKNOWN if it shows all the same
       \\--> SKIPPED | STALE | FAILED (nothing was ever sent)

A final state is left only when the exchange proves it wrong (an order that shows or executes after its fence): the
row is corrected, with an alarm, and never hidden.
"""

from __future__ import annotations

from ..views import CopyState as S

MAX_ATTEMPTS = 2  # automatic ones, for ever, counted in the journal

_SETTLED = {S.FILLED, S.PARTLY_FILLED, S.REJECTED}

MOVES: dict[S, frozenset[S]] = {
    S.PLANNED: frozenset({S.SUBMITTING, S.SKIPPED, S.STALE, S.FAILED}),
    S.SUBMITTING: frozenset({S.ACKED, S.UNKNOWN, S.NOT_SENT, S.FAILED, *_SETTLED}),
    S.NOT_SENT: frozenset({S.SUBMITTING, S.FAILED, S.UNKNOWN}),
    # An accepted order that filled nothing before the book ran out ends REJECTED; one that vanishes, UNKNOWN.
    S.ACKED: frozenset({S.UNKNOWN, S.NEEDS_PERSON, *_SETTLED}),
    S.UNKNOWN: frozenset({S.ACKED, S.FAILED, S.NEEDS_PERSON, *_SETTLED}),
    S.NEEDS_PERSON: frozenset({S.FAILED, *_SETTLED}),
    S.FAILED: frozenset({S.FILLED, S.PARTLY_FILLED, S.NEEDS_PERSON}),
    S.FILLED: frozenset(),
    S.PARTLY_FILLED: frozenset(),
    S.REJECTED: frozenset(),
    S.SKIPPED: frozenset(),
    S.STALE: frozenset(),
}


def sources_of(target: S) -> frozenset[S]:
    """Return the states from which a copy may move to *target*; the journal checks this in the same statement."""
    return frozenset(state for state, targets in MOVES.items() if target in targets)
