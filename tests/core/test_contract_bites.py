"""The contract is worth something only if a connector that breaks a promise is caught."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = Path(__file__).parent.parent / "plugins" / "broken_connectors.py"

CASES = [
    ("SendsAgain", "test_a_lost_answer_is_unknown_and_the_order_is_found"),
    ("SendsAgain", "test_a_connection_lost_before_execution_is_unknown_too"),
    ("SendsAgain", "test_a_lost_answer_in_a_burst_is_unknown_and_nothing_is_sent_twice"),
    ("CallsLostNotSent", "test_a_connection_lost_before_execution_is_unknown_too"),
    ("CallsGarbageRejected", "test_an_answer_that_nobody_can_read_is_unknown"),
    ("GuessesThatThereIsNoOrder", "test_a_read_without_an_answer_is_no_answer"),
    ("GuessesThatNothingIsListed", "test_a_read_without_an_answer_is_no_answer"),
    ("ListsNewestFirst", "test_orders_are_listed_oldest_first_from_a_moment_on"),
    ("ListsEverything", "test_orders_are_listed_oldest_first_from_a_moment_on"),
    ("PassesNoGate", "test_a_shut_gate_lets_nothing_out"),
    ("PassesNoGate", "test_a_burst_at_a_shut_gate_stays_inside"),
    ("PassesTheGateAfterwards", "test_a_shut_gate_lets_nothing_out"),
    ("WritesExponents", "test_the_smallest_amount_has_no_exponent"),
    ("ReckonsInFloats", "test_a_prepared_order_is_what_will_be_sent_but_for_the_signature"),
    ("JournalsSecrets", "test_a_prepared_order_is_what_will_be_sent_but_for_the_signature"),
    ("ForgetsTheFence", "test_a_prepared_order_is_what_will_be_sent_but_for_the_signature"),
    ("TrustsAnyClock", "test_nothing_is_prepared_by_an_unknown_clock"),
    ("ForgetsCommissions", "test_a_market_order_moves_exactly_what_its_fills_say"),
    ("ShowsOneFillOnly", "test_a_final_order_is_found_with_all_its_fills"),
    ("ReadsRoundedBalances", "test_balances_are_exact"),
    ("NamesAConnectorNotAnAccount", "test_verify_tells_whose_key_it_is"),
    ("AcceptsWithdrawal", "test_a_key_that_can_withdraw_is_refused"),
    ("WaitsAsLongAsItLikes", "test_a_rate_limit_says_how_long_to_wait"),
    ("CallsEveryRefusalTheSame", "test_a_refused_key_is_said_to_be_refused"),
    ("CallsEveryRefusalTheSame", "test_more_than_the_account_has_is_refused"),
    ("CallsEveryRefusalTheSame", "test_a_skewed_clock_is_said_to_be_skewed_and_can_be_measured_again"),
    ("TellsItsHeaders", "test_no_error_and_no_log_line_gives_a_secret_away"),
    ("LogsSignatures", "test_no_error_and_no_log_line_gives_a_secret_away"),
    ("HasNoGrid", "test_the_rules_can_be_sized_by"),
]


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], set[str]]:
    """What became of each case, from one run of all of them in a process of its own."""
    nodes = [f"{BROKEN}::Test{connector}::{case}" for connector, case in CASES]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider", *nodes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found: dict[tuple[str, str], set[str]] = {}
    for outcome, connector, case in re.findall(r"^([A-Z]+) \S+::Test(\w+)::(\w+)", done.stdout, re.MULTILINE):
        found.setdefault((connector, case), set()).add(outcome)
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize(("connector", "case"), CASES)
def test_a_broken_promise_is_caught(outcomes, connector, case):
    assert outcomes[connector, case] == {"FAILED"}
