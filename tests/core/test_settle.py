"""Settling: what counts as found, what proves absence, and what nobody can know. Driven by hand, so nothing sleeps."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.clock import NS_PER_MS
from copytrade_core.copying import settle
from copytrade_core.copying.settle import Case, SentAttempt, Settler
from copytrade_core.errors import AuthenticationFailed, OutcomeUnknown, RateLimited
from copytrade_core.model import OrderStatus
from fakes import D, FakeClock, ScriptedConnector, exchange_clock, fill, order_report

ONE, TWO = "ct0000copy-1", "ct0000copy-2"
FENCE_SEC = 15
PART = OrderStatus.PARTIALLY_FILLED


class HandPool:
    """A thread pool whose work is done when the test says so, on the test's thread."""

    def __init__(self, **_: object) -> None:
        self.work: list = []

    def submit(self, action, *arguments) -> None:
        self.work.append((action, arguments))

    def shutdown(self, **_: object) -> None:
        self.work.clear()


class HandTicker:
    """A ticker whose rounds are run by the test."""

    def __init__(self, name, clock, on_death, round_) -> None:
        self.round = round_

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def wake(self) -> None: ...


class Bench:
    """A settler with one case, an exchange whose look-ups a test scripts, and everything the settler says."""

    def __init__(self, *, attempts: int = 1, accepted: bool = False, deadline_sec: float = 120) -> None:
        self.clock = FakeClock()
        self.exchange_clock = exchange_clock(self.clock)
        self.connector = ScriptedConnector()
        self.said: list[tuple] = []
        self.asked_at: list[float] = []
        self.pools: list[HandPool] = []
        self.tickers: list[HandTicker] = []
        original = settle.ThreadPoolExecutor, settle.Ticker
        settle.ThreadPoolExecutor = lambda **options: self.keep(self.pools, HandPool(**options))
        settle.Ticker = lambda *arguments: self.keep(self.tickers, HandTicker(*arguments))
        try:
            self.settler = Settler(
                clock=self.clock,
                deadline_sec=deadline_sec,
                on_death=lambda name, error: self.said.append(("died", error)),
                on_found=lambda job, report, late: self.said.append(("found", report.status, late)),
                on_open=lambda job, report: self.said.append(("open", report.exchange_order_id)),
                on_absent=lambda job: self.said.append(("absent",)),
                on_undecided=lambda job, what: self.said.append(("undecided", what)),
                on_evidence=lambda job, kind, text: self.said.append(("evidence", kind)),
            )
        finally:
            settle.ThreadPoolExecutor, settle.Ticker = original
        self.start_ns = self.clock.monotonic_ns()
        now_ms = self.exchange_clock.now_ms()
        sent = [
            SentAttempt(
                client_order_id=name, timestamp_ms=now_ms + 500 * n, fence_ms=now_ms + FENCE_SEC * 1000 + 500 * n
            )
            for n, name in enumerate((ONE, TWO)[:attempts])
        ]
        self.sent = sent
        self.case = Case(
            job=SimpleNamespace(name="the copy"),
            connector=self.connector,
            exchange_clock=self.exchange_clock,
            attempts=tuple(sent),
            accepted=accepted,
            exchange_order_id="77" if accepted else None,
        )

    @staticmethod
    def keep(where, what):
        where.append(what)
        return what

    @property
    def now(self) -> float:
        """Seconds since the case was opened."""
        return (self.clock.monotonic_ns() - self.start_ns) / 1e9

    def open(self) -> Bench:
        self.settler.open(self.case)
        return self

    def work_off(self) -> None:
        (ticker,), (pool,) = self.tickers, self.pools
        ticker.round()
        while pool.work:
            action, arguments = pool.work.pop(0)
            self.asked_at.append(self.now)
            action(*arguments)
            ticker.round()

    def run(self, seconds: float) -> Bench:
        """Let *seconds* pass, asking whenever it is due."""
        end = self.now + seconds
        while True:
            self.work_off()
            wait = self.tickers[0].round()
            if self.now + wait > end:
                self.clock.advance(max(end - self.now, 0))
                return self
            self.clock.advance(max(wait, 0.000001))

    def outcomes(self) -> list[tuple]:
        return [word for word in self.said if word[0] != "evidence"]

    def evidence(self) -> list[str]:
        return [word[1] for word in self.said if word[0] == "evidence"]


# --- found ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [OrderStatus.FILLED, OrderStatus.EXPIRED, OrderStatus.CANCELED])
def test_an_order_that_is_found_final_with_its_fills_is_settled(status):
    bench = Bench()
    bench.connector.find = lambda name: order_report(name, status=status)

    bench.open().run(1)

    assert bench.outcomes() == [("found", status, False)]
    assert bench.settler.open_cases == 0
    bench.run(300)
    assert len(bench.asked_at) == 1


def test_an_order_that_ended_with_nothing_filled_is_settled_without_fills():
    bench = Bench()
    bench.connector.find = lambda name: order_report(
        name, status=OrderStatus.EXPIRED, base=0, quote=0, fills_complete=False
    )

    bench.open().run(1)

    assert bench.outcomes() == [("found", OrderStatus.EXPIRED, False)]


def test_a_final_order_is_not_settled_before_all_its_fills_are_there():
    bench = Bench(accepted=True)
    bench.connector.find = lambda name: order_report(name, fills_complete=bench.now > 2)

    bench.open().run(2)
    assert bench.outcomes() == []
    bench.run(5)

    assert bench.outcomes() == [("found", OrderStatus.FILLED, False)]


def test_an_unknown_order_that_is_found_open_is_said_once_and_followed_to_its_end():
    bench = Bench()
    bench.connector.find = lambda name: order_report(name, status=OrderStatus.FILLED if bench.now > 6 else PART)

    bench.open().run(20)

    assert bench.outcomes() == [("open", "77"), ("found", OrderStatus.FILLED, False)]
    assert bench.connector.asked[0] == (ONE, None)
    assert bench.connector.asked[-1] == (ONE, "77")  # by the exchange's own id, once that is known


def test_both_attempts_are_looked_for_the_newer_one_first():
    bench = Bench(attempts=2)
    bench.connector.find = lambda name: order_report(name) if name == ONE else None

    bench.open().run(1)

    assert [name for name, _ in bench.connector.asked] == [TWO, ONE]
    assert bench.outcomes() == [("found", OrderStatus.FILLED, False)]


def test_a_report_on_the_stream_brings_the_question_forward():
    bench = Bench().open().run(3)
    asked = len(bench.asked_at)
    bench.connector.find = order_report

    bench.settler.nudge(ONE)
    bench.work_off()

    assert len(bench.asked_at) == asked + 1
    assert bench.outcomes() == [("found", OrderStatus.FILLED, False)]
    bench.settler.nudge(ONE)  # of a settled copy: nothing to ask
    bench.settler.nudge("ctxxxx-1")  # of nobody
    bench.run(100)
    assert len(bench.asked_at) == asked + 1


# --- absent -----------------------------------------------------------------------------------------------


def test_absence_needs_two_look_ups_after_the_fence_five_seconds_apart_and_the_listing():
    bench = Bench().open().run(FENCE_SEC - 0.01)
    assert bench.outcomes() == []
    assert len(bench.asked_at) > 3  # it was looked for all the while
    assert bench.connector.listed_since == []

    bench.run(40)

    after = [at for at in bench.asked_at if at > FENCE_SEC][:2]
    assert after[1] - after[0] >= 5
    assert bench.outcomes() == [("absent",)]
    assert bench.connector.listed_since == [bench.sent[0].timestamp_ms - 60_000]
    assert bench.evidence()[-1] == "absent"
    assert bench.settler.open_cases == 0


def test_the_fence_is_that_of_the_last_attempt_and_the_listing_goes_back_to_the_first():
    bench = Bench(attempts=2).open().run(FENCE_SEC + 60)

    assert bench.outcomes() == [("absent",)]
    assert bench.connector.listed_since == [bench.sent[0].timestamp_ms - 60_000]
    first_two = [at for at in bench.asked_at if at > FENCE_SEC + 0.5][:2]
    assert first_two[1] - first_two[0] >= 5


def test_not_found_proves_nothing_before_the_fence_however_often_it_is_said():
    bench = Bench()
    bench.case.attempts = (SentAttempt(client_order_id=ONE, timestamp_ms=1, fence_ms=2**60),)

    bench.open().run(119)

    assert bench.outcomes() == []
    assert len(bench.asked_at) > 20


def test_a_look_up_that_left_before_the_fence_proves_nothing_though_its_answer_comes_after():
    """The exchange may have looked before the fence, and the order may have executed after that."""
    bench = Bench()
    left_early = []

    def slow(name):
        if FENCE_SEC - 5.5 < bench.now < FENCE_SEC:
            left_early.append(bench.now)
            bench.clock.advance(FENCE_SEC + 0.5 - bench.now)

    bench.connector.find = slow
    bench.connector.list = lambda since_ms: bench.said.append(("listed", bench.now)) or ()
    bench.open().run(FENCE_SEC + 40)

    assert left_early
    (_, listed_at), settled = bench.outcomes()
    assert settled == ("absent",)
    proof = [at for at in bench.asked_at if FENCE_SEC < at <= listed_at]
    assert proof[-1] - proof[0] >= 5


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OutcomeUnknown("no answer"), id="no-answer"),
        pytest.param(AuthenticationFailed("the key was revoked"), id="refused"),
        pytest.param(KeyError("a plug-in's bug"), id="bug"),
    ],
)
def test_a_look_up_that_fails_is_no_evidence(error):
    bench = Bench()

    def fail(name):
        raise error

    bench.connector.find = fail
    bench.open().run(119)
    assert bench.outcomes() == []
    assert set(bench.evidence()) == {"lookup_failed"}
    bench.run(20)

    (kind, what) = bench.outcomes()[0]
    assert kind == "undecided"
    assert "did not answer" in what
    assert len(bench.outcomes()) == 1
    assert bench.settler.open_cases == 0


def test_a_failed_look_up_between_two_answers_does_not_spoil_the_first():
    bench = Bench()
    calls = []

    def answer(name):
        calls.append(bench.now)
        if bench.now > FENCE_SEC and len([at for at in calls if at > FENCE_SEC]) == 2:
            raise OutcomeUnknown("no answer")

    bench.connector.find = answer
    bench.open().run(FENCE_SEC + 40)

    assert bench.outcomes() == [("absent",)]


def test_a_listing_that_fails_proves_nothing_and_is_asked_again():
    bench = Bench()
    calls = []

    def listing(since_ms):
        calls.append(since_ms)
        if len(calls) < 3:
            raise OutcomeUnknown("no answer")
        return ()

    bench.connector.list = listing
    bench.open().run(60)

    assert len(calls) == 3
    assert bench.outcomes() == [("absent",)]


def test_the_listing_shows_what_the_look_ups_did_not():
    bench = Bench()
    bench.connector.list = lambda since_ms: [order_report("web1", order_id="5"), order_report(ONE, order_id="6")]

    bench.open().run(60)

    assert bench.outcomes() == [("found", OrderStatus.FILLED, False)]
    assert "listed" in bench.evidence()


def test_what_the_listing_shows_is_read_back_by_the_exchanges_id_for_its_fills():
    bench = Bench()
    bench.connector.list = lambda since_ms: [order_report(ONE, order_id="6", fills_complete=False)]
    bench.connector.find = lambda name: (
        order_report(name, order_id="6", fills=[fill("t", 1, 2, 3)]) if bench.connector.asked[-1][1] == "6" else None
    )

    bench.open().run(60)

    assert bench.outcomes() == [("open", "6"), ("found", OrderStatus.FILLED, False)]


def test_other_orders_of_the_account_do_not_matter():
    bench = Bench()
    bench.connector.list = lambda since_ms: [order_report("web1"), order_report("ct0000other-1")]

    bench.open().run(60)

    assert bench.outcomes() == [("absent",)]


def test_an_order_that_its_stream_spoke_of_is_never_called_absent():
    bench = Bench().open().run(2)
    bench.settler.nudge(ONE)

    bench.run(200)

    assert ("absent",) not in bench.outcomes()
    assert bench.outcomes()[0][0] == "undecided"


def test_a_clock_that_is_not_known_cannot_say_that_the_fence_has_passed():
    bench = Bench()
    bench.exchange_clock.measure(lambda: 10**15, probes=1)  # a jump: unknown until measured again
    assert not bench.exchange_clock.is_known

    bench.open().run(119)

    assert bench.outcomes() == []


# --- late -------------------------------------------------------------------------------------------------


def settled_as_absent() -> Bench:
    bench = Bench().open().run(35)
    assert bench.outcomes() == [("absent",)]
    bench.said.clear()
    return bench


def test_a_copy_settled_as_absent_is_looked_at_once_more():
    bench = settled_as_absent()
    asked = len(bench.asked_at)

    bench.run(600)

    assert len(bench.asked_at) == asked + 1
    assert bench.outcomes() == []


def test_an_order_that_executes_after_its_fence_is_found_by_the_late_look():
    bench = settled_as_absent()
    bench.connector.find = order_report

    bench.run(100)

    assert bench.outcomes() == [("found", OrderStatus.FILLED, True)]


def test_an_order_that_executes_late_and_is_still_open_then_is_followed_to_its_end():
    bench = settled_as_absent()
    since = bench.now
    bench.connector.find = lambda name: order_report(
        name, status=OrderStatus.FILLED if bench.now > since + 70 else OrderStatus.NEW
    )

    bench.run(200)

    assert bench.outcomes()[-1] == ("found", OrderStatus.FILLED, True)


def test_a_late_look_that_fails_is_made_again():
    bench = settled_as_absent()
    since = bench.now

    def answer(name):
        if bench.now < since + 100:
            raise OutcomeUnknown("no answer")
        return order_report(name)

    bench.connector.find = answer
    bench.run(400)

    assert bench.outcomes() == [("found", OrderStatus.FILLED, True)]


def test_late_looks_end_although_nobody_answers():
    bench = settled_as_absent()

    def fail(name):
        raise OutcomeUnknown("no answer")

    bench.connector.find = fail
    bench.run(3600)
    asked = len(bench.asked_at)
    bench.run(3600)

    assert bench.outcomes() == []
    assert len(bench.asked_at) == asked


def test_a_stream_that_speaks_of_an_order_settled_as_absent_is_believed_at_once():
    bench = settled_as_absent()
    bench.connector.find = order_report

    bench.settler.nudge(ONE)
    bench.work_off()

    assert bench.outcomes() == [("found", OrderStatus.FILLED, True)]


# --- undecided --------------------------------------------------------------------------------------------


def test_an_accepted_order_that_never_shows_needs_a_person_and_is_never_called_absent():
    bench = Bench(accepted=True).open()

    bench.run(119)
    assert bench.outcomes() == []
    bench.run(20)

    ((kind, what),) = bench.outcomes()
    assert kind == "undecided"
    assert "knows the order" in what
    assert bench.connector.listed_since == []


def test_the_deadline_counts_from_when_the_budget_lets_the_first_look_up_go():
    bench = Bench()

    def answer(name):
        if bench.now < 200:
            raise RateLimited("the budget is used up", retry_after_sec=40, whole_address=True)
        raise OutcomeUnknown("no answer")

    bench.connector.find = answer
    bench.open().run(200 + 115)
    assert bench.outcomes() == []
    gaps = [later - earlier for earlier, later in zip(bench.asked_at, bench.asked_at[1:], strict=False) if later < 200]
    assert min(gaps) >= 40  # as long as was asked for

    bench.run(30)
    assert bench.outcomes()[0][0] == "undecided"


# --- anything -----------------------------------------------------------------------------------------------

answers = st.lists(
    st.tuples(
        st.sampled_from(["not_found", "not_found", "not_found", "error", "limited"]),
        st.sampled_from([0.0, 0.0, 0.05, 1.0, 4.0, 9.0]),  # how long the answer takes
    ),
    max_size=40,
)


@given(script=answers, listings=st.lists(st.booleans(), max_size=4), spoken=st.none() | st.floats(0, 40))
def test_absence_is_never_said_without_its_whole_proof(script, listings, spoken):
    """An auditor beside the exchange keeps what was asked when, and what was answered."""
    bench = Bench()
    script, listings = list(script), list(listings)
    empty_answers: list[float] = []  # when those look-ups were asked that said "not found"
    listed: list[float] = []

    def find(name):
        asked_at = bench.now
        answer, takes = script.pop(0) if script else ("not_found", 0.0)
        bench.clock.advance(takes)
        if answer == "error":
            raise OutcomeUnknown("no answer")
        if answer == "limited":
            raise RateLimited("slow down", retry_after_sec=takes, whole_address=False)
        empty_answers.append(asked_at)

    def listing(since_ms):
        if listings and not listings.pop(0):
            raise OutcomeUnknown("no answer")
        listed.append(bench.now)
        return ()

    bench.connector.find, bench.connector.list = find, listing
    bench.open()
    if spoken is not None:
        bench.run(spoken)
        bench.settler.nudge(ONE)
    was_settled_before = ("absent",) in bench.outcomes()
    bench.run(400)

    valid = [at for at in empty_answers if at > FENCE_SEC and listed and at <= listed[-1]]
    if ("absent",) in bench.outcomes():
        assert listed
        assert valid
        assert valid[-1] - valid[0] >= 5
        assert spoken is None or was_settled_before
    # Every case ends, once; one that the stream speaks of after it was settled as absent goes to a person.
    kinds = [kind for kind, *_ in bench.outcomes()]
    assert kinds in (["absent"], ["undecided"]) or (kinds == ["absent", "undecided"] and was_settled_before)


# --- real threads -----------------------------------------------------------------------------------------


def test_the_settlers_threads_end_when_it_is_stopped():
    clock = FakeClock()
    found = threading.Event()
    before = set(threading.enumerate())
    settler = Settler(
        clock=clock,
        deadline_sec=120,
        on_death=lambda name, error: None,
        on_found=lambda job, report, late: found.set(),
        on_open=lambda job, report: None,
        on_absent=lambda job: None,
        on_undecided=lambda job, what: None,
        on_evidence=lambda job, kind, text: None,
    )
    connector = ScriptedConnector()
    connector.find = order_report
    now_ms = clock.monotonic_ns() // NS_PER_MS
    settler.start()
    settler.open(
        Case(
            job=SimpleNamespace(),
            connector=connector,
            exchange_clock=exchange_clock(clock),
            attempts=(SentAttempt(client_order_id=ONE, timestamp_ms=now_ms, fence_ms=now_ms + 15_000),),
            accepted=False,
        )
    )
    assert not found.wait(0.05)  # it is not due on a clock that stands still
    clock.advance(1)
    assert found.wait(5)
    settler.stop()

    assert set(threading.enumerate()) == before
    settler.nudge(ONE)


def test_a_found_fill_is_handed_on_as_it_was_read():
    bench = Bench()
    one = fill("t1", "0.5", "25000", 5, "0.0005", "BTC")
    reports = []
    bench.settler._on_found = lambda job, report, late: reports.append((job, report))
    bench.connector.find = lambda name: order_report(name, fills=[one])

    bench.open().run(1)

    ((job, report),) = reports
    assert job is bench.case.job
    assert report.fills == (one,)
    assert report.filled_base == D("0.5")
