"""The state machine of a copy, arrow by arrow, against the list of arrows written out by hand."""

import itertools

import pytest

from arrows import ARROWS
from copytrade_core.copying.states import MAX_ATTEMPTS, MOVES, sources_of
from copytrade_core.views import FINAL_STATES, CopyState

EVERY_PAIR = list(itertools.product(CopyState, CopyState))


@pytest.mark.parametrize(("source", "target"), EVERY_PAIR)
def test_exactly_the_listed_arrows_exist(source, target):
    assert (target in MOVES[source]) == ((source.value, target.value) in ARROWS)


@pytest.mark.parametrize(("source", "target"), EVERY_PAIR)
def test_the_journal_asks_for_the_same_arrows_backwards(source, target):
    assert (source in sources_of(target)) == ((source.value, target.value) in ARROWS)


def test_every_state_has_its_line():
    assert set(MOVES) == set(CopyState)


def test_no_state_moves_to_itself_so_that_an_answer_counts_once():
    assert not any(state in targets for state, targets in MOVES.items())


def test_only_what_was_provably_not_sent_can_be_sent_again():
    assert sources_of(CopyState.SUBMITTING) == {CopyState.PLANNED, CopyState.NOT_SENT}
    assert MAX_ATTEMPTS == 2


def test_a_final_state_is_left_only_when_the_exchange_shows_the_order_after_all():
    left = {state: MOVES[state] for state in FINAL_STATES if MOVES[state]}

    assert left == {CopyState.FAILED: {CopyState.FILLED, CopyState.PARTLY_FILLED, CopyState.NEEDS_PERSON}}


def test_every_copy_that_is_not_final_can_still_end():
    def reachable(state, seen=frozenset()):
        return {state}.union(*(reachable(target, seen | {state}) for target in MOVES[state] - seen))

    for state in set(CopyState) - FINAL_STATES:
        assert reachable(state) & FINAL_STATES, state


def test_unknown_is_never_skipped_or_stale_because_something_may_have_been_sent():
    for state in (CopyState.SUBMITTING, CopyState.UNKNOWN, CopyState.ACKED, CopyState.NEEDS_PERSON):
        assert not MOVES[state] & {CopyState.SKIPPED, CopyState.STALE, CopyState.PLANNED}
