"""The state machine of a copy, arrow by arrow, against the list of arrows written out by hand."""

import ast
import itertools
from pathlib import Path

import pytest

import copytrade_core
from arrows import ARROWS
from copytrade_core.copying.states import MAX_ATTEMPTS, STARTS, Move
from copytrade_core.views import FINAL_STATES, CopyState

MOVED = {(source, target) for move in Move for source in move.sources for target in move.targets}


def after(state: CopyState) -> set[CopyState]:
    return {target for source, target in MOVED if source is state}


def test_exactly_the_listed_arrows_exist():
    assert {(source.value, target.value) for source, target in MOVED} == ARROWS


@pytest.mark.parametrize("move", Move, ids=lambda move: move.name)
def test_a_move_leads_from_its_sources_to_its_targets_and_nowhere_else(move):
    for source, target in itertools.product(CopyState, CopyState):
        if source in move.sources and target in move.targets:
            move.check(source, target)
        else:
            with pytest.raises(RuntimeError, match=move.name):
                move.check(source, target)


def test_every_move_says_where_it_is_written_and_why():
    assert len({move.cause for move in Move}) == len(Move)
    assert [move for move in Move if move.point == "J2"] == [Move.CLAIMED]
    for move in set(Move) - {Move.CLAIMED}:
        assert move.point == ("J4" if CopyState.FILLED in move.targets else "J3")  # J4 is what books fills


def test_every_move_is_made_somewhere_and_nobody_sets_a_state_without_one():
    made, assigned = set(), []
    for path in Path(copytrade_core.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "Move" and path.name != "states.py":
                made.add(node.attr)
            targets = node.targets if isinstance(node, ast.Assign) else []
            if path.parent.name == "copying" and any(getattr(each, "attr", "") == "state" for each in targets):
                assigned.append(path.name)

    assert made >= {move.name for move in Move}
    assert assigned == ["jobs.py"]


def test_a_copy_begins_in_a_state_from_which_nothing_was_sent():
    assert {CopyState.PLANNED, CopyState.SKIPPED, CopyState.STALE} == STARTS


def test_no_state_moves_to_itself_so_that_an_answer_counts_once():
    assert not any(source is target for source, target in MOVED)


def test_only_what_was_provably_not_sent_can_be_sent_again():
    sources = {source for source, target in MOVED if target is CopyState.SUBMITTING}

    assert sources == {CopyState.PLANNED, CopyState.NOT_SENT}
    assert MAX_ATTEMPTS == 2


def test_a_final_state_is_left_only_when_the_exchange_shows_the_order_after_all():
    left = {state: after(state) for state in FINAL_STATES if after(state)}

    assert left == {CopyState.FAILED: {CopyState.FILLED, CopyState.PARTLY_FILLED, CopyState.NEEDS_PERSON}}


def test_every_copy_that_is_not_final_can_still_end():
    def reachable(state, seen=frozenset()):
        return {state}.union(*(reachable(target, seen | {state}) for target in after(state) - seen))

    for state in set(CopyState) - FINAL_STATES:
        assert reachable(state) & FINAL_STATES, state


def test_unknown_is_never_skipped_or_stale_because_something_may_have_been_sent():
    for state in (CopyState.SUBMITTING, CopyState.UNKNOWN, CopyState.ACKED, CopyState.NEEDS_PERSON):
        assert not after(state) & {CopyState.SKIPPED, CopyState.STALE, CopyState.PLANNED}
