"""What becomes of followers' orders when exchanges and networks fail: the catalogue's order side, on real sockets.

The numbers F1 to F97 are the catalogue's. Most cases share one leader order: each follower meets its own fault.
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import urllib3

from copytrade_binance import gateway as binance_gateway
from copytrade_bitget import rest as bitget_rest
from copytrade_bitget import transport as bitget_transport
from copytrade_bitget.connector import BitgetConnector
from copytrade_core import NotSent
from copytrade_core import trader as trader_module
from copytrade_core.copying.gate import CopyGate
from copytrade_core.sim import running_simulators
from copytrade_core.views import AccountState, CopyState, CopyView
from fault_stage import BINANCE, CLASSIC, UNIFIED, Case, Stage, arm, logged, stage
from memory_exchange import until
from sim_engine import add_everybody, engine_on

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


def case(on: str, name: str, *faults: object, **expected: Any) -> Case:
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
    case(BINANCE, "F8 byte by byte", "drip", **FOUND),
    case(BINANCE, "F9 short body", "short_body", **FOUND),
    case(BINANCE, "F10 html", "html_200", **FOUND),
    case(BINANCE, "F10 empty", "empty_200", **FOUND),
    case(BINANCE, "F10 wrong shape", "wrong_shape_200", **FOUND),
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
        case(on, f"{on} F8 byte by byte", "drip", **FOUND),
        case(on, f"{on} F9 short body", "short_body", **FOUND),
        case(on, f"{on} F10 html", "html_200", **FOUND),
        case(on, f"{on} F10 empty", "empty_200", **FOUND),
        case(on, f"{on} F10 wrong shape", "wrong_shape_200", **FOUND),
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

# The deadline for what is unknown is short here, and look-ups fail until a person is asked.
UNDECIDED = {"state": NEEDS_PERSON, "kind": "undecided", "was_unknown": True}
NO_LOOK_UPS = ("http_5xx_not_executed", {"on": "query", "count": None})
TOO_LONG = [
    case(BINANCE, "F0 nothing", **TAKEN),
    case(BINANCE, "F36 executed", ("minus_1007_executed", {"seconds": 0}), NO_LOOK_UPS, **UNDECIDED),
    case(BINANCE, "F36 lost", ("minus_1007_not_executed", {"seconds": 0}), NO_LOOK_UPS, is_lost=True, **UNDECIDED),
    *(
        one
        for on in (CLASSIC, UNIFIED)
        for one in (
            case(on, f"{on} F36 executed", "code_executed", NO_LOOK_UPS, **UNDECIDED),
            case(on, f"{on} F36 lost", "code_not_executed", NO_LOOK_UPS, is_lost=True, **UNDECIDED),
            case(on, f"{on} F37 two orders", "code_executed", ("two_orders_shown", {"count": None}), **UNDECIDED),
        )
    ),
]

# Twenty orders are in flight when their sockets die: half of them were executed.
IN_FLIGHT = [
    case(BINANCE, f"in flight {number}", fault, **expected)
    for number, (fault, expected) in enumerate([("no_answer_executed", FOUND), ("no_answer_not_executed", ABSENT)] * 10)
]
# An answer is waited for twelve seconds: these are ordered when the crowd of the other stages has passed.
LATE = [
    case(on, f"{on} F7 answered after 11 s", ("late_answer", {"seconds": 11}), **TAKEN)
    for on in (BINANCE, CLASSIC, UNIFIED)
]
STAGES = {
    "sockets": OVER_SOCKETS,
    "rest": OVER_REST,
    "bitget": ON_BITGET,
    "too long": TOO_LONG,
    "in flight": IN_FLIGHT,
    "late": LATE,
    "late over rest": LATE[:1],
}
SETTINGS = {"too long": {"unknown_deadline_sec": 6}}


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


def order_sockets_cut(on: Stage) -> None:
    """End the sockets that carry orders, and only those."""
    simulator = on.sims.simulators["binance"]
    names = [account.name for account in on.trader.list_accounts()] + ["leader"]

    def cut() -> None:
        for one in simulator.sockets:
            if not any(one.carries(name) for name in names):
                one.connection.abort()

    on.sims.call(cut)


def order_sockets_refused(on: Stage) -> None:
    """Let no socket carry orders any more: they go over REST now."""
    on.sims.arm("handshake_refused", exchange="binance", count=None)
    order_sockets_cut(on)
    until(lambda: on.opened("binance").exchange.gateway.ready == 0)


def decided_by_a_person(on: Stage, rows: dict[str, CopyView]) -> None:
    for name, row in rows.items():
        if row.state is NEEDS_PERSON:
            assert any(name in alarm for alarm in on.alarms())
            settled = on.trader.settle_copy(row.id, executed=not name.endswith("lost"), by="a test")
            assert settled.state is (FAILED if name.endswith("lost") else FILLED)


@pytest.fixture(scope="module")
def log():
    with logged() as text:
        yield text


@pytest.fixture(scope="module")
def running(tmp_path_factory, log):
    """All stages at once, each with its leader order just placed; what they wait for passes while other tests run."""
    with ExitStack() as stack:
        stages = {
            name: stack.enter_context(
                stage(tmp_path_factory.mktemp("stage") / "data", cases, seed=number, **SETTINGS.get(name, {}))
            )
            for number, (name, cases) in enumerate(STAGES.items(), 1)
        }
        order_sockets_refused(stages["rest"])
        order_sockets_refused(stages["late over rest"])
        hidden = stages["hidden"] = stack.enter_context(
            stage(tmp_path_factory.mktemp("stage") / "data", followers=[("F31", BINANCE)])
        )
        hidden.sims.arm("silence", exchange="binance", account="F31")
        for fault, params in (("minus_1007_executed", {"seconds": 0}), ("order_not_found", {"seconds": 1000})):
            hidden.sims.arm(fault, account="F31", params=params)
        orders = {}
        for name, one in stages.items():
            arm(one, STAGES.get(name, ()))
            orders[name] = one.buy()
            if name == "in flight":
                until(lambda: len(stages["in flight"].orders_seen()) == len(IN_FLIGHT))
                order_sockets_cut(stages["in flight"])
            elif name in STAGES:
                # A classic order is good for three seconds, which all stages at once in one process may use up.
                until(lambda one=one, cases=STAGES[name]: len(one.orders_seen()) >= len(cases), 30)
        yield stages, orders


@pytest.fixture(scope="module")
def outcomes(running, log):
    """Every copy settled, and followed by one that goes well."""
    found = {}
    stages, orders = running
    for name in STAGES:
        one = stages[name]
        one.settled(orders[name], 80)
        for follower in [case.name for case in STAGES[name] if "F39" in case.name]:
            one.row(orders[name], follower, FILLED, 80)
        rows = one.rows(orders[name])
        alarms = one.alarms()
        one.sims.call(one.sims.world.faults.clear)
        decided_by_a_person(one, rows)
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
            alarms=alarms,
            problems=one.problems(log.getvalue()),
            second=second,
        )
    return found


@pytest.mark.slow
def test_every_follower_meets_its_fault_with_the_same_order(running):
    stages, orders = running
    for name, cases in STAGES.items():
        until(lambda name=name, cases=cases: set(stages[name].rows(orders[name])) == {case.name for case in cases})


def three(*, copies: int = 1) -> list[tuple[str, str]]:
    """Return followers of each kind, *copies* of each: name and kind."""
    return [(f"{on} {number}", on) for number in range(1, copies + 1) for on in (BINANCE, CLASSIC, UNIFIED)]


@pytest.fixture
def follow(tmp_path, log):
    """Run a stage with the followers given; at the end the journal must hold against the truth."""
    with ExitStack() as stack:
        opened: list[Stage] = []

        def run(*followers: tuple[str, str], **options: object) -> Stage:
            one = stack.enter_context(stage(tmp_path / "data", (), followers=followers, **options))
            opened.append(one)
            return one

        yield run
        for one in opened:
            assert one.problems(log.getvalue()) == []


def states(rows: dict[str, CopyView]) -> dict[str, CopyState]:
    return {name: row.state for name, row in rows.items()}


def test_f12_a_connection_that_was_closed_unseen_costs_no_second_request(follow):
    on = follow(*three(copies=3))
    order_sockets_refused(on)
    on.sims.arm("closed_after_reply", count=None, params={"on": "any"})
    on.pass_time(2.5)  # by now every balance was read once more, and every connection that was used is dead
    on.sims.call(lambda: on.sims.world.faults.clear("closed_after_reply"))
    order = on.buy()
    decided = {FILLED, CopyState.UNKNOWN}
    rows = until(lambda: (rows := on.rows(order)) and set(states(rows).values()) <= decided and rows, 5)

    for name, row in rows.items():
        assert row.attempts == 1
        assert len(on.orders_seen(name)) == (row.state is FILLED)


class OneConnection:
    """Lets connecting fail for an order's thread, some times; what else runs connects as it will."""

    def __init__(self, failure: OSError, times: int) -> None:
        self.failure = failure
        self.left = times
        self.connect = urllib3.util.connection.create_connection

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.left and "-order_" in threading.current_thread().name:
            self.left -= 1
            raise self.failure
        return self.connect(*args, **kwargs)


@pytest.mark.parametrize("kind", [BINANCE, CLASSIC, UNIFIED])
@pytest.mark.parametrize(
    ("failure", "times", "ends"),
    [
        pytest.param(ConnectionRefusedError(111, "refused"), 1, FILLED, id="F1 refused once"),
        pytest.param(ConnectionRefusedError(111, "refused"), 2, FAILED, id="F1 refused twice"),
        pytest.param(socket.gaierror(-3, "no name"), 1, FILLED, id="F2 unresolved once"),
    ],
)
def test_what_never_left_is_sent_once_more_at_once(follow, monkeypatch, kind, failure, times, ends):
    on = follow(("refused", kind))
    if kind == BINANCE:
        order_sockets_refused(on)
    else:
        on.opened("bitget").exchange._transport._adapter.close()  # or the order finds a connection kept alive
    broken = OneConnection(failure, times)
    monkeypatch.setattr(urllib3.util.connection, "create_connection", broken)
    row = on.settled(on.buy(), 10)["refused"]

    assert broken.left == 0
    assert (row.state, row.attempts) == (ends, 2)
    assert len(on.orders_seen("refused")) == (ends is FILLED)


def test_f14_a_bad_certificate_halts_its_exchange_and_nothing_is_sent_there(follow, monkeypatch):
    on = follow(("binance 1", BINANCE), ("classic 1", CLASSIC), ("unified 1", UNIFIED))

    def listened_to(*_: object) -> None:
        raise NotSent("Bitget's certificate is not valid", retry=False, kind="bad_certificate", exchange="bitget")

    monkeypatch.setattr(BitgetConnector, "place", listened_to)
    rows = on.settled(on.buy(), 10)
    monkeypatch.undo()
    (halt,) = until(lambda: on.trader.status().halts)
    later = on.settled(on.sell(), 10)

    assert "certificate" in halt.reason and halt.exchange == "bitget/demo"
    for name in ("classic 1", "unified 1"):
        assert (rows[name].state, rows[name].reason_kind, rows[name].attempts) == (FAILED, "bad_certificate", 1)
        assert (later[name].state, later[name].reason_kind, later[name].attempts) == (FAILED, "halted", 0)
        assert on.orders_seen(name) == []
    assert rows["binance 1"].state is later["binance 1"].state is FILLED


def test_f21_too_many_requests_are_repeated_once_after_the_time_that_was_asked(follow):
    on = follow(*three(), ("other binance", BINANCE), ("other bitget", CLASSIC))
    on.sims.arm("minus_1003", account="binance 1", params={"retry_after": "1"})
    for name in ("classic 1", "unified 1"):
        on.sims.arm("rate_limited", account=name, params={"retry_after": "1"})
    rows = on.settled(on.buy(), 20)

    assert set(states(rows).values()) == {FILLED}
    assert [rows[name].attempts for name, _ in three()] == [2, 2, 2]
    assert rows["other binance"].attempts == rows["other bitget"].attempts == 1
    for name, _ in three():
        first, second = on.order_times(name)
        assert second - first >= 1000


@pytest.mark.parametrize("retry_after", ["3600", "Wed, 01 Dec 2027 00:00:00 GMT", "soon"])
def test_f22_nobody_waits_for_an_hour(follow, retry_after):
    on = follow(("binance 1", BINANCE), ("classic 1", CLASSIC), max_copy_age_sec=2)
    order_sockets_refused(on)
    on.sims.arm("minus_1003", account="binance 1", params={"retry_after": retry_after})
    on.sims.arm("rate_limited", account="classic 1", count=2, params={"retry_after": retry_after})
    rows = on.settled(on.buy(), 5)

    assert rows["binance 1"].state is FAILED
    assert rows["binance 1"].reason_kind in ("rate_limited", "too_old")
    # What cannot be read as a time is waited a second for, at Bitget, where the limit is the account's own.
    assert rows["classic 1"].state is FAILED
    assert len(on.orders_seen("binance 1")) == 1
    # Nor does what comes meanwhile wait longer than it may be old.
    assert on.row(on.buy("0.1"), "binance 1", CopyState.STALE, 5).attempts == 0


@pytest.mark.slow
def test_f23_a_banned_address_sends_nothing_until_its_time(follow):
    on = follow(("binance 1", BINANCE), ("binance 2", BINANCE), ("classic 1", CLASSIC))
    on.sims.call(lambda: on.sims.simulators["binance"].configure({"ban_sec": 5}))
    on.sims.arm("banned_418", account="binance 1")
    rows = on.settled(on.buy(), 5)
    begun = on.sims.call(lambda: on.sims.world.now_ms("binance"))
    missed = on.sell()
    (halt,) = on.trader.status().halts
    explained = [finding for finding in on.trader.doctor() if finding.kind == "engine_halted"]
    on.pass_time(3.5)
    asked_meanwhile = on.requests_between("binance", begun, on.sims.call(lambda: on.sims.world.now_ms("binance")))

    assert (rows["binance 1"].state, rows["binance 1"].attempts) == (FAILED, 1)
    assert any("shut our address out" in alarm for alarm in on.alarms())
    assert asked_meanwhile == []
    assert (halt.kind, halt.exchange) == ("banned:binance/test", "binance/test")
    assert halt.since < halt.until and halt.until in halt.ends_when
    assert [(one.level, one.data["exchange"]) for one in explained] == [("error", "binance/test")]
    assert halt.until in explained[0].remedy
    # The leader is at Binance, too: what it placed during the ban is found when the ban is over.
    assert set(states(on.settled(missed, 30)).values()) == {FILLED}
    assert set(states(on.settled(on.buy(), 20)).values()) == {FILLED}
    assert on.trader.status().halts == ()
    told = [event.data["what"] for event in on.trader.list_feed(limit=1000) if event.data["what"].startswith("halt")]
    assert told == ["halt_began", "halt_ended"]


@pytest.mark.slow
def test_copies_behind_a_shut_out_address_go_when_it_ends_or_end_at_their_age_and_no_thread_waits(follow, monkeypatch):
    monkeypatch.setattr(bitget_rest, "ADDRESS_BLOCK_SEC", 7.0)
    names = [f"classic {number}" for number in range(1, 5)]
    on = follow(("binance 1", BINANCE), *((name, CLASSIC) for name in names), max_copy_age_sec=4)
    on.sims.call(lambda: on.sims.simulators["bitget"].disturb("address_blocked", None, {"seconds": 6.5}))
    first = on.buy()
    (halt,) = until(lambda: on.trader.status().halts, 10)
    until(lambda: CopyState.SUBMITTING not in set(states(on.rows(first)).values()))
    refused = len(on.orders_seen(""))  # a shut-out address is refused before its account is known
    assert refused >= 3
    waiting = on.buy("0.1")
    rows = on.settled(waiting, 6)

    assert (halt.kind, halt.exchange) == ("banned:bitget/demo", "bitget/demo")
    assert {rows[name].state for name in names} == {CopyState.STALE}
    assert {rows[name].reason_kind for name in names} == {"too_old"}
    assert "shut this machine's address out" in rows["classic 1"].reason
    assert rows["binance 1"].state is FILLED  # the others trade on
    assert len(on.orders_seen("")) == refused
    assert not [row for name, row in on.settled(first, 5).items() if name in names and row.state.is_ok]
    late = on.buy("0.05")
    # This one is still young enough when the ban ends.
    rows = on.settled(late, 15)
    assert set(states(rows).values()) == {FILLED}
    assert on.trader.status().halts == ()


@pytest.mark.slow
def test_a_restart_in_the_middle_of_a_ban_asks_nothing_before_its_end(tmp_path):
    with running_simulators(binance_followers=1, seed=5) as sims:
        sims.call(lambda: sims.simulators["binance"].configure({"ban_sec": 8}))
        with engine_on(sims, tmp_path / "data") as trader:
            add_everybody(trader, sims)
            sims.arm("banned_418", account="binance-1")
            sims.place("leader", side="BUY", quote=Decimal("100"))
            until(lambda: trader.status().halts, 10)
        begun = sims.call(lambda: sims.world.now_ms("binance"))
        with engine_on(sims, tmp_path / "data") as trader:
            (halt,) = trader.status().halts
            assert (halt.kind, halt.exchange) == ("banned:binance/test", "binance/test")
            until(lambda: trader.status().halts == () and trader.get_leader().connected, 20)
            asked = [seen for seen in sims.call(lambda: list(sims.world.requests)) if seen.t_ms > begun]
        assert {seen.status for seen in asked} == {200}
        assert sims.call(lambda: sims.simulators["binance"].limits.bans) == 1


def test_f24_a_firewall_turns_one_order_away_and_silences_nobody(follow):
    on = follow(("binance 1", BINANCE), ("binance 2", BINANCE))
    on.sims.arm("waf_403", account="binance 1")
    rows = on.settled(on.buy(), 10)
    after = on.settled(on.sell(), 10)

    assert (rows["binance 1"].state, rows["binance 1"].reason_kind, rows["binance 1"].attempts) == (
        FAILED,
        "firewall",
        1,
    )
    assert rows["binance 2"].state is FILLED
    assert set(states(after).values()) == {FILLED}
    assert any("binance 1" in alarm for alarm in on.alarms())


def test_f28_a_refused_timestamp_is_sent_again_by_a_clock_measured_anew(follow):
    on = follow(("binance 1", BINANCE), ("binance 2", BINANCE), ("classic 1", CLASSIC))
    on.pass_time(2)  # or the clock's step would date the order before the start of copying
    on.sims.call(lambda: on.sims.world.set_skew("binance", -1700))
    rows = on.settled(on.buy(), 20)

    assert set(states(rows).values()) == {FILLED}
    assert [rows[name].attempts for name in ("binance 1", "binance 2", "classic 1")] == [2, 2, 1]


def test_f45_a_closed_symbol_is_skipped_without_a_loop_until_it_opens_again(follow):
    on = follow(*three())

    def market(is_open: bool) -> None:
        on.sims.simulators["binance"].configure({"status": "TRADING" if is_open else "BREAK"})
        on.sims.simulators["bitget"].disturb("pair_status", None, {"status": "online" if is_open else "halt"})

    on.sims.call(lambda: market(False))
    refused = on.settled(on.buy(), 10)
    until(lambda: all(not one.rules.is_trading for one in on.trader._exchanges.all()))
    skipped = on.settled(on.sell(), 10)
    seen = on.orders_seen()
    on.sims.call(lambda: market(True))
    on.settled(on.buy("0.1"), 10)
    until(lambda: all(one.rules.is_trading for one in on.trader._exchanges.all()))
    filled = on.settled(on.sell(), 10)

    assert {(row.state, row.attempts) for row in refused.values()} == {(REJECTED, 1)}
    assert {(row.state, row.reason_kind) for row in skipped.values()} == {(SKIPPED, "symbol_closed")}
    assert len(seen) == 3
    assert set(states(filled).values()) == {FILLED}


def test_f46_rules_that_change_are_read_again_and_nothing_is_rounded_up(follow):
    on = follow(*three(), is_audited=False)

    def coarser() -> None:
        on.sims.simulators["binance"].configure({"base_step": "0.001"})
        on.sims.simulators["bitget"].disturb("pair_rules", None, {"quantity_precision": 3})

    on.sims.call(coarser)
    refused = on.settled(on.sell("0.3131"), 10)
    until(lambda: all(one.rules.base_step == Decimal("0.001") for one in on.trader._exchanges.all()))
    filled = on.settled(on.sell("0.3131"), 10)

    assert {(row.state, row.attempts) for row in refused.values()} == {(REJECTED, 1)}
    for row in filled.values():
        assert row.state is FILLED
        assert row.sent % Decimal("0.001") == 0
        assert row.sent <= row.computed < row.sent + Decimal("0.001")


def test_f74_money_moved_by_hand_is_never_overspent(follow):
    on = follow(*three(copies=2), is_audited=False, balance_poll_sec=600)
    for exchange in ("binance", "bitget"):
        on.sims.call(lambda exchange=exchange: on.sims.world.untidiness[exchange].set({"position_lost": 1}))
    takes = {"1": Decimal("0.2"), "2": Decimal("0.7")}
    for name, _ in three(copies=2):
        free = Decimal(on.sims.truth(name)["balances"]["USDT"]["free"])
        on.move(name, "USDT", -(free * takes[name[-1]]).quantize(Decimal("0.01")))
    order = on.buy("0.6")
    rows = on.settled(order, 20)

    for name, _ in three(copies=2):
        row = rows[name]
        assert row.balance_age_ms is not None
        assert row.sent <= row.computed < row.sent + row.step
        if name.endswith("2"):
            assert (row.state, row.reason_kind) in ((REJECTED, "insufficient_balance"), (FILLED, ""))
        else:
            assert row.state is FILLED


def test_f97_a_key_that_is_revoked_disables_its_follower_alone(follow):
    on = follow(*three(copies=2))
    gone = [name for name, _ in three()]

    def revoke(is_revoked: bool) -> None:
        for name in gone:
            for key in on.sims.world.accounts[name].keys:
                key.revoked = is_revoked

    on.sims.call(lambda: revoke(True))
    rows = on.settled(on.buy(), 15)
    until(lambda: all(on.account(name).state is AccountState.DISABLED for name in gone))
    while_disabled = on.settled(on.sell("0.1"), 15)
    on.sims.call(lambda: revoke(False))
    for name in gone:
        assert on.trader.verify_account(on.account(name).id).ok
    again = on.settled(on.sell(), 15)

    for name, row in rows.items():
        assert row.state in ((REJECTED, SKIPPED) if name in gone else (FILLED,))
        assert while_disabled[name].state is (SKIPPED if name in gone else FILLED)
        assert again[name].state is FILLED
        assert any(f"{name} was disabled" in alarm for alarm in on.alarms()) == (name in gone)
    on.balances_agree()


def rate_limited(on: Stage, *names: str, seconds: int = 2) -> str:
    """Have the leader buy while the exchanges refuse these followers for their rate; return once they wait."""
    for name in names:
        fault = "minus_1015" if name.startswith(BINANCE) else "rate_limited"
        on.sims.arm(fault, account=name, params={"retry_after": str(seconds)})
    order = on.buy("0.1")
    for name in names:
        on.row(order, name, CopyState.NOT_SENT)
    return order


@contextmanager
def dispatcher_held(on: Stage) -> Iterator[None]:
    """Let the dispatcher see only at the end what happens meanwhile, as on a busy machine."""
    may_go = threading.Event()
    on.trader._dispatcher._mailbox.post(may_go.wait, 10)
    try:
        yield
    finally:
        may_go.set()


def test_a_pause_that_is_over_before_the_rate_limit_still_ends_the_copy(follow):
    on = follow(*three(copies=2))
    waiting = [name for name, _ in three()] + ["binance 2"]
    order = rate_limited(on, *waiting)
    with dispatcher_held(on):
        for name, _ in three():
            on.trader.pause_account(on.account(name).id)
            on.trader.resume_account(on.account(name).id)
    rows = on.settled(order, 10)

    for name, _ in three():
        assert (rows[name].state, rows[name].attempts, len(on.orders_seen(name))) == (FAILED, 1, 1)
    assert rows["binance 2"].state is FILLED
    assert set(states(on.settled(on.buy("0.1"), 10)).values()) == {FILLED}


@pytest.mark.parametrize("starts_again", [False, True])
def test_a_stop_in_the_middle_lets_nothing_more_out_even_when_copying_starts_again_at_once(follow, starts_again):
    on = follow(*three(copies=2))
    waiting = [name for name, _ in three()]
    order = rate_limited(on, *waiting)
    with dispatcher_held(on):
        on.trader.stop_copying()
        seen = len(on.orders_seen())
        if starts_again:
            on.trader.start_copying()
    rows = on.settled(order, 10)
    on.pass_time(2.5)

    assert {(rows[name].state, rows[name].attempts) for name in waiting} == {(FAILED, 1)}
    assert len(on.orders_seen()) == seen == 6
    on.trader.start_copying()
    assert set(states(on.settled(on.buy("0.1"), 10)).values()) == {FILLED}


def stop_and_start(on: Stage) -> None:
    on.trader.stop_copying()
    on.trader.start_copying()


def pause_and_resume(on: Stage) -> None:
    account = on.account("slow")
    on.trader.pause_account(account.id)
    on.trader.resume_account(account.id)


@pytest.mark.parametrize("interrupt", [stop_and_start, pause_and_resume])
@pytest.mark.parametrize("kind", [BINANCE, CLASSIC])
def test_what_is_still_connecting_does_not_leave_after_a_stop_or_pause_that_is_over(
    follow, monkeypatch, kind, interrupt
):
    on = follow(("slow", kind))
    if kind == BINANCE:
        order_sockets_refused(on)
    else:
        on.opened("bitget").exchange._transport._adapter.close()
    connect, waits, may_go = urllib3.util.connection.create_connection, threading.Event(), threading.Event()

    def slowly(*args: Any, **kwargs: Any) -> Any:
        if "-order_" in threading.current_thread().name:
            waits.set()
            assert may_go.wait(10)
        return connect(*args, **kwargs)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", slowly)
    order = on.buy()
    assert waits.wait(10)
    interrupt(on)
    may_go.set()
    row = on.settled(order, 10)["slow"]

    assert (row.state, row.attempts) == (FAILED, 1)
    assert on.orders_seen() == []
    assert on.settled(on.buy(), 10)["slow"].state is FILLED


def test_a_stop_in_mid_burst_lets_nothing_out_once_it_has_returned(follow, monkeypatch):
    on = follow(*((f"binance {number}", BINANCE) for number in range(1, 21)), *three()[1:])
    enter, may_enter = CopyGate._enter, threading.Event()
    arrived, left = itertools.count(1), 5
    waits = threading.Event()

    def enter_in_turn(*passage: Any) -> None:
        if next(arrived) > left:
            waits.set()
            assert may_enter.wait(10)
        enter(*passage)

    monkeypatch.setattr(CopyGate, "_enter", enter_in_turn)
    order = on.buy()
    assert waits.wait(10)
    on.trader.stop_copying()
    may_enter.set()
    rows = on.settled(order, 20)
    on.pass_time(0.5)

    sent = {name for name in rows if on.orders_seen(name)}
    assert len(sent) == len(on.orders_seen()) == left
    assert {name for name, row in rows.items() if row.state is FILLED} == sent
    assert {(row.state, row.reason_kind) for name, row in rows.items() if name not in sent} == {(FAILED, "stopped")}


@pytest.mark.slow
def test_f77_closing_waits_for_what_is_in_flight_and_leaves_the_rest_unknown(tmp_path, log, monkeypatch):
    followers = [*three(copies=3), ("binance lost", BINANCE), ("classic lost", CLASSIC)]
    monkeypatch.setattr(trader_module, "DRAIN_SEC", 2.0)
    # What never comes need not be waited for as long as for a real exchange's answer.
    monkeypatch.setattr(binance_gateway, "ANSWER_SEC", 3.0)
    monkeypatch.setattr(bitget_transport, "READ_TIMEOUT_SEC", 3.0)
    with running_simulators(seed=5) as sims:
        with engine_on(sims, tmp_path / "data") as trader:
            on = Stage(sims, trader, tmp_path / "data")
            on.watch_claims()
            for name, kind in followers:
                on.add(name, kind)
            on.lead()
            for exchange in ("binance", "bitget"):
                sims.call(lambda exchange=exchange: setattr(sims.world.delays[exchange], "request_ms", 600))
            for name in ("binance lost", "classic lost"):
                sims.arm("no_answer_executed", account=name)
                sims.arm("http_5xx_not_executed", account=name, params={"on": "query"}, count=None)
            order = on.buy()
            until(lambda: {row.state for row in on.rows(order).values()} == {CopyState.SUBMITTING})
        left = {row["account_name"]: row["state"] for row in on.query("select account_name, state from copies")}
        assert {left[name] for name, _ in three(copies=3)} <= {"FILLED", "ACKED"}
        assert {left[name] for name in ("binance lost", "classic lost")} <= {"SUBMITTING", "UNKNOWN"}
        for exchange in ("binance", "bitget"):
            sims.call(lambda exchange=exchange: setattr(sims.world.delays[exchange], "request_ms", 0))
        sims.call(sims.world.faults.clear)
        with engine_on(sims, tmp_path / "data") as trader:
            on.trader = trader
            rows = on.settled(order, 30)
            assert set(states(rows).values()) == {FILLED}
            assert len(on.orders_seen()) == len(followers)
            on.balances_agree()
            assert on.problems(log.getvalue()) == []


@pytest.mark.slow
def test_f31_money_that_is_missing_for_a_copy_by_a_person_has_the_lost_order_looked_for(running, log):
    stages, orders = running
    on = stages["hidden"]
    lost = on.row(orders["hidden"], "F31", FAILED, 60)
    assert lost.reason_kind == "never_arrived"
    on.sims.arm("minus_1015", account="F31", params={"retry_after": "1"})
    on.sims.arm("minus_2010_balance", account="F31")
    again = on.trader.copy_now(lost.id, by="a test")
    on.copy(again.id, CopyState.NOT_SENT)
    (hidden,) = on.sims.call(lambda: on.sims.world.accounts["F31"].orders)
    on.sims.call(lambda: hidden.extra.update(hidden_until_ms=0))

    assert on.copy(again.id, REJECTED).reason_kind == "insufficient_balance"
    assert on.copy(lost.id, FILLED, 5).exchange_order_id == str(hidden.order_id)
    assert any("F31" in alarm and "after all" in alarm for alarm in on.alarms())
    on.balances_agree()
    assert on.problems(log.getvalue()) == []


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
