"""What becomes of followers' orders when exchanges and networks fail: the catalogue's order side, on real sockets.

The numbers F1 to F97 are the catalogue's. Most cases share one leader order: each follower meets its own fault.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from copytrade_core.views import AccountState, CopyState, CopyView
from fault_stage import BINANCE, CLASSIC, UNIFIED, Case, Stage, arm, logged, stage
from memory_exchange import until

FILLED, PARTLY, REJECTED, FAILED, SKIPPED, NEEDS_PERSON = (
    CopyState.FILLED,
    CopyState.PARTLY_FILLED,
    CopyState.REJECTED,
    CopyState.FAILED,
    CopyState.SKIPPED,
    CopyState.NEEDS_PERSON,
)
FOUND = {"state": FILLED, "was_unknown": True}
ABSENT = {"state": FAILED, "kind": "never_arrived", "was_unknown": True}
TAKEN = {"state": FILLED}
RETRIED = {"state": FILLED, "attempts": 2}
DISABLED = {"state": REJECTED, "account": AccountState.DISABLED}


def case(on: str, name: str, *faults: object, **expected: object) -> Case:
    """Return a case; a fault is its name, or its name with the params, or with options of `FaultBoard.arm`."""
    armed = []
    for fault in faults:
        fault_name, params = fault if isinstance(fault, tuple) else (fault, {})
        options = {key: params[key] for key in ("count",) if key in params}
        rest = {key: value for key, value in params.items() if key not in options}
        armed.append((fault_name, {**options, "params": rest}))
    return Case(name=name, on=on, faults=tuple(armed), **expected)


# Orders over the WebSocket API; what would end the socket itself, and so everybody's orders, is tried further down.
OVER_SOCKETS = [
    case(BINANCE, "F0 nothing", **TAKEN),
    case(BINANCE, "F6 executed, never answered", "no_answer_executed", **FOUND),
    case(BINANCE, "F6 lost, never answered", "no_answer_not_executed", **ABSENT),
    case(BINANCE, "F7 answered after 11 s", ("late_answer", {"seconds": 11}), **TAKEN),
    case(BINANCE, "F10 no result", "empty_200", **FOUND),
    case(BINANCE, "F10 wrong shape", "wrong_shape_200", **FOUND),
    case(BINANCE, "F21 -1015, 1 s", ("minus_1015", {"retry_after": "1"}), **RETRIED),
    case(BINANCE, "F22 -1015, an hour", ("minus_1015", {"retry_after": "3600"}), state=FAILED, kind="rate_limited"),
    case(BINANCE, "F25 504 executed", "http_5xx_executed", **FOUND),
    case(BINANCE, "F26 503 lost", ("http_5xx_not_executed", {"status": 503}), **ABSENT),
    *(
        case(BINANCE, f"F27 -{code} executed", (f"minus_{code}_executed", {"seconds": 0.1}), **FOUND)
        for code in (1000, 1001, 1006, 1007, 1008)
    ),
    *(
        case(BINANCE, f"F27 -{code} lost", (f"minus_{code}_not_executed", {"seconds": 0.1}), **ABSENT)
        for code in (1000, 1007, 1008)
    ),
    case(BINANCE, "F28 -1021 once", "minus_1021", **RETRIED),
    case(BINANCE, "F28 -1021 twice", ("minus_1021", {"count": 2}), state=FAILED, kind="clock_skewed", attempts=2),
    case(BINANCE, "F29 -1013", "minus_1013", state=REJECTED, kind="filter"),
    case(BINANCE, "F29 -1100", "minus_1100", state=REJECTED, kind="bad_parameter"),
    case(BINANCE, "F29 -1111", "minus_1111", state=REJECTED, kind="precision"),
    case(BINANCE, "F30 -2010 balance", "minus_2010_balance", state=REJECTED, kind="insufficient_balance"),
    case(BINANCE, "F32 duplicate", "minus_2010_duplicate", **ABSENT),
    case(BINANCE, "F33 -2008", "minus_2008", kind="invalid_key", **DISABLED),
    case(BINANCE, "F33 -2014", "minus_2014", kind="invalid_key", **DISABLED),
    case(BINANCE, "F33 -2015", "minus_2015", kind="invalid_key", **DISABLED),
    case(BINANCE, "F33 blocked", "minus_2010_blocked", kind="account_blocked", **DISABLED),
    case(BINANCE, "F34 new code", "minus_1099", **ABSENT),
    case(
        BINANCE,
        "F35 hidden 17 s",
        ("minus_1007_executed", {"seconds": 0}),
        ("order_not_found", {"seconds": 17}),
        **FOUND,
    ),
    case(BINANCE, "F38 executed 9 s later", ("late_execution", {"seconds": 9}), **FOUND),
    case(BINANCE, "F39 executed after its fence", ("late_execution", {"seconds": 29}), **FOUND),
    case(BINANCE, "F40 partly filled", "partial_then_expired", state=PARTLY, kind="partly_filled"),
    case(BINANCE, "F40 nothing filled", ("price_range_expiry", {"fills": 0}), state=REJECTED, kind="nothing_filled"),
    case(BINANCE, "F45 market closed", "minus_2010_closed", state=REJECTED, kind="market_closed"),
]

OVER_REST = [
    case(BINANCE, "F0 nothing", **TAKEN),
    case(BINANCE, "F4 F12 cut before", "reply_lost_before_execution", **ABSENT),
    case(BINANCE, "F5 cut after", "reply_lost_after_execution", **FOUND),
    case(BINANCE, "F6 never answered", "no_answer_executed", **FOUND),
    case(BINANCE, "F7 answered after 11 s", ("late_answer", {"seconds": 11}), **TAKEN),
    case(BINANCE, "F8 byte by byte", "drip", **FOUND),
    case(BINANCE, "F9 short body", "short_body", **FOUND),
    case(BINANCE, "F10 html", "html_200", **FOUND),
    case(BINANCE, "F10 empty", "empty_200", **FOUND),
    case(BINANCE, "F10 wrong shape", "wrong_shape_200", **FOUND),
    case(BINANCE, "F12 stale connection", ("closed_after_reply", {"on": "any", "count": 4}), **TAKEN),
    case(BINANCE, "F13 garbage", "garbage", **FOUND),
    case(BINANCE, "F18 sliced", "sliced", **TAKEN),
    *(
        case(BINANCE, f"F25 {status} executed", ("http_5xx_executed", {"status": status}), **FOUND)
        for status in (500, 502, 503, 504)
    ),
    case(BINANCE, "F26 504 lost", ("http_5xx_not_executed", {"body": "empty"}), **ABSENT),
    case(BINANCE, "F27 -1007 executed", ("minus_1007_executed", {"seconds": 0.1}), **FOUND),
    case(BINANCE, "F28 -1021", "minus_1021", **RETRIED),
    case(BINANCE, "F30 -2010 balance", "minus_2010_balance", state=REJECTED, kind="insufficient_balance"),
    case(BINANCE, "F33 -2015", "minus_2015", kind="invalid_key", **DISABLED),
]


def on_bitget(on: str) -> list[Case]:
    """Return the cases of one family of accounts."""

    def code(name: str, code: int, *, executed: bool, words: str = "", **expected: object) -> Case:
        fault = "code_executed" if executed else "code_not_executed"
        params = {"code": str(code), **({"words": words} if words else {})}
        return case(on, f"{on} {name} {code}", (fault, params), **expected)

    late = {CLASSIC: 27, UNIFIED: 56}[on]
    return [
        case(on, f"{on} F0 nothing", **TAKEN),
        case(on, f"{on} F4 F12 cut before", "reply_lost_before_execution", **ABSENT),
        case(on, f"{on} F5 cut after", "reply_lost_after_execution", **FOUND),
        case(on, f"{on} F6 never answered", "no_answer_executed", **FOUND),
        case(on, f"{on} F7 answered after 11 s", ("late_answer", {"seconds": 11}), **TAKEN),
        case(on, f"{on} F8 byte by byte", "drip", **FOUND),
        case(on, f"{on} F9 short body", "short_body", **FOUND),
        case(on, f"{on} F10 html", "html_200", **FOUND),
        case(on, f"{on} F10 empty", "empty_200", **FOUND),
        case(on, f"{on} F10 wrong shape", "wrong_shape_200", **FOUND),
        case(on, f"{on} F12 stale connection", ("closed_after_reply", {"on": "any", "count": 4}), **TAKEN),
        case(on, f"{on} F13 garbage", "garbage", **FOUND),
        case(on, f"{on} F24 403", "forbidden", **ABSENT),
        case(on, f"{on} F25 502 executed", ("http_5xx_executed", {"status": 502}), **FOUND),
        case(on, f"{on} F26 503 lost", ("http_5xx_not_executed", {"status": 503}), **ABSENT),
        case(on, f"{on} F28 40008", "timestamp_expired", **RETRIED),
        code("F29", 40017, executed=False, state=REJECTED, kind="bad_parameter"),
        code("F29 scale", 40808, executed=False, words="checkBDScale error", state=REJECTED, kind="precision"),
        code("F29", 45110, executed=False, state=REJECTED, kind="below_minimum"),
        code("F30", {CLASSIC: 43012, UNIFIED: 25202}[on], executed=False, state=REJECTED, kind="insufficient_balance"),
        *(code("F32", number, executed=True, **FOUND) for number in (43118, 45034, 40786, 50060)),
        code("F33", 40006, executed=False, kind="invalid_key", **DISABLED),
        code("F33", 40014, executed=False, kind="no_trade_permission", **DISABLED),
        code("F33", 40038, executed=False, kind="ip_not_allowed", **DISABLED),
        code("F34", 98765, executed=False, **ABSENT),
        code("F34 executed", 98765, executed=True, **FOUND),
        case(on, f"{on} F35 hidden 15 s", "code_executed", ("lookup_late", {"seconds": 15, "lists": True}), **FOUND),
        case(on, f"{on} F38 executed 9 s later", ("executes_late", {"seconds": 9}), **FOUND),
        case(on, f"{on} F39 executed after its fence", ("executes_late", {"seconds": late}), **FOUND),
        case(on, f"{on} F40 partly filled", "partial_then_cancelled", state=PARTLY, kind="partly_filled"),
        case(
            on,
            f"{on} F40 nothing filled",
            ("partial_then_cancelled", {"fills": 0}),
            state=REJECTED,
            kind="nothing_filled",
        ),
        *(code("F42", number, executed=True, **FOUND) for number in (40010, 40725, 45001, 40015)),
        code("F42", 40808, executed=True, words="Parameter verification exception", **FOUND),
        code("F42 lost", 40010, executed=False, **ABSENT),
        case(on, f"{on} F43 not shown for 5 s", ("lookup_late", {"seconds": 5, "lists": True}), **TAKEN),
        case(on, f"{on} F43 filled after 5 s", ("slow_fill", {"seconds": 5}), **TAKEN),
        case(on, f"{on} F44 client id forgotten", "code_executed", ("client_id_forgotten", {"count": None}), **FOUND),
        code("F45", {CLASSIC: 41114, UNIFIED: 25102}[on], executed=False, state=REJECTED, kind="market_closed"),
    ]


ON_BITGET = [*on_bitget(CLASSIC), *on_bitget(UNIFIED)]
STAGES = {"sockets": OVER_SOCKETS, "rest": OVER_REST, "bitget": ON_BITGET}


@dataclass
class Outcome:
    """What a stage left behind, read before it was taken down."""

    rows: dict[str, CopyView]
    evidence: dict[str, list[str]]
    accounts: dict[str, AccountState]
    executed: dict[str, int]
    alarms: list[str]
    problems: list[str]
    second: dict[str, CopyView]


def order_sockets_refused(on: Stage) -> None:
    """End the sockets that carry orders, and let no new one open: orders go over REST now."""
    on.sims.arm("handshake_refused", exchange="binance", count=None)
    simulator = on.sims.simulators["binance"]
    (opened,) = [one for one in on.trader._exchanges.all() if one.id == "binance"]
    names = [account.name for account in on.trader.list_accounts()] + ["leader"]

    def cut() -> None:
        for socket in simulator.sockets:
            if not any(socket.carries(name) for name in names):
                socket.connection.abort()

    on.sims.call(cut)
    until(lambda: opened.exchange.gateway.ready == 0)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All stages at once: each case's leader order is placed, settled, and followed by one that goes well."""
    found = {}
    with ExitStack() as stack:
        log = stack.enter_context(logged())
        running = {
            name: stack.enter_context(stage(tmp_path_factory.mktemp(name) / "data", cases, seed=number))
            for number, (name, cases) in enumerate(STAGES.items(), 1)
        }
        order_sockets_refused(running["rest"])
        orders = {}
        for name, one in running.items():
            arm(one, STAGES[name])
            orders[name] = one.buy()
        for name, one in running.items():
            late = [case.name for case in STAGES[name] if "F39" in case.name]
            one.settled(orders[name], 80)
            for follower in late:
                one.row(orders[name], follower, FILLED, 80)
            one.sims.call(one.sims.world.faults.clear)
            rows = one.rows(orders[name])
            second = one.settled(one.sell(), 40)
            one.balances_agree()
            found[name] = Outcome(
                rows=rows,
                evidence={follower: one.evidence(row.id) for follower, row in rows.items()},
                accounts={account.name: account.state for account in one.trader.list_accounts()},
                executed={
                    follower: sum(
                        order["client_order_id"].startswith(row.client_order_id[:-1])
                        for order in one.sims.truth(follower)["orders"]
                    )
                    for follower, row in rows.items()
                },
                alarms=one.alarms(),
                problems=one.problems(log.getvalue()),
                second=second,
            )
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "case"),
    [pytest.param(name, case, id=f"{name}: {case.name}") for name, cases in STAGES.items() for case in cases],
)
def test_one_fault_ends_one_copy_as_it_must(outcomes, where, case):
    outcome = outcomes[where]
    row = outcome.rows[case.name]

    assert (row.state, row.reason_kind) == (case.state, case.kind), row.reason
    assert row.attempts == case.attempts
    assert outcome.executed[case.name] == case.order_executed
    assert ("unknown" in outcome.evidence[case.name]) == case.was_unknown
    assert outcome.accounts[case.name] is case.account
    if "F39" in case.name:
        assert "absent" in outcome.evidence[case.name]
        assert any(case.name in alarm and "after all" in alarm for alarm in outcome.alarms)
    # Whatever happened to one order, the next one goes its way.
    assert outcome.second[case.name].state is (SKIPPED if case.account is AccountState.DISABLED else FILLED)


@pytest.mark.slow
@pytest.mark.parametrize("where", STAGES)
def test_after_all_faults_the_journal_and_the_exchanges_tell_the_same_story(outcomes, where):
    assert outcomes[where].problems == []
