"""Engines that are killed, lose their disk, their clock or a thread: nothing doubled, nothing silent, nothing sent."""

from __future__ import annotations

import base64
import functools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from copytrade_core import CopyTrader, book_json
from copytrade_core import trader as trader_module
from copytrade_core.cli.audit import audit
from copytrade_core.clock import Clock
from copytrade_core.errors import AlreadyRunning, CopytradeError
from copytrade_core.sim import RunningSimulators, running_simulators
from copytrade_core.store.journal import Journal
from copytrade_core.views import CopyState, LeaderOrderState, LeaderOrderView
from memory_exchange import until
from sim_engine import MASTER_KEY, Setup, add_everybody, copying, engine_on, settings_for
from truth_check import TruthCheck

SUPPORT = Path(__file__).resolve().parents[1] / "support"
EXECUTED = (CopyState.FILLED, CopyState.PARTLY_FILLED)


class Child:
    """An engine process of its own on *data_dir*; ``point`` is empty for one that does not break."""

    def __init__(self, sims: RunningSimulators, data_dir: Path, point: str = "", nth: int = 1, how: str = "kill"):
        key_file = data_dir.parent / "master.key"
        key_file.write_bytes(base64.b64encode(MASTER_KEY))
        key_file.chmod(0o600)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COPYTRADE_")}
        environ = {
            **kept,
            "DATA_DIR": str(data_dir),
            "COPYTRADE_ENDPOINTS": sims["endpoints_file"],
            "COPYTRADE_MASTER_KEY_FILE": str(key_file),
        }
        program = [str(SUPPORT / "breaking_engine.py"), point, str(nth), how]
        if not point:
            program = ["-m", "copytrade_core.cli.main", "engine", "--json"]
        self._log = (data_dir.parent / "engine.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, *program],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.DEVNULL,
        )
        self._data_dir = data_dir

    def connect(self) -> Any:
        """Return the engine as its other programs see it."""

        def try_to() -> Any:
            assert self.process.poll() is None, "the engine ended before it was ready"
            try:
                return CopyTrader.connect(self._data_dir)
            except CopytradeError:
                return None

        return until(try_to, 40)

    def hear(self) -> None:
        with self.connect() as remote:
            until(lambda: (leader := remote.get_leader()) and leader.connections == 2 and leader.connected, 30)

    def killed(self) -> bool:
        return self.process.wait(30) == -signal.SIGKILL

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        self._log.close()


def wrong(sims: RunningSimulators, trader: Any, orders: list[str]) -> list[str]:
    """Hold the books of the leader's *orders* against the truth: each follower once or, with a reason, not at all."""
    truth = sims.call(sims.world.truth)
    books = [book for book in reversed(trader.list_events(limit=100)) if book.order_id in orders]
    problems = [
        problem
        for problem in audit([book_json(book) for book in books], truth)
        if " 0 executed orders carry its client order id (FAILED" not in problem
    ]
    for book in books:
        problems += [
            f"{row.state} without a reason" for row in book.copies if row.state not in EXECUTED and not row.reason
        ]
    for name, account in truth["accounts"].items():
        ids = [order["client_order_id"].rsplit("-", 1)[0] for order in account["orders"]]
        if account["role"] == "follower":
            problems += [f"{name} executed {one} twice" for one in set(ids) if ids.count(one) > 1]
    return problems


def final_books(trader: Any, orders: list[str], timeout_sec: float = 90) -> list[LeaderOrderView]:
    def look() -> list[LeaderOrderView]:
        books = {book.order_id: book for book in trader.list_events(limit=100)}
        found = [books[order] for order in orders if order in books]
        return found if len(found) == len(orders) and all(r.state.is_final for b in found for r in b.copies) else []

    return until(look, timeout_sec)


# --- kill -9 and a full disk at the points of a copy's life -------------------------------------------------


@dataclass(frozen=True)
class Case:
    point: str
    nth: int = 1
    how: str = "kill"
    is_sent: bool | None = False  # whether a follower's order may have left: False no, None either way
    fault: str = ""  # what Binance meets the first attempt with

    def __str__(self) -> str:
        return f"{self.how}: {self.point} #{self.nth} {self.fault}".rstrip()


CASES = (
    Case("before J0"),
    Case("J0-J1", nth=2),
    Case("in J1"),
    Case("J1-J2"),
    Case("in J2"),
    Case("J2, before the socket", is_sent=None),
    Case("J2, before the socket", nth=2, is_sent=None),
    Case("J2, before the socket", nth=3, is_sent=None, fault="minus_1021"),
    Case("sent", nth=3, is_sent=None, fault="minus_1021"),
    Case("sent", is_sent=None),
    Case("answer read, before J3", is_sent=None),
    Case("answer read, before J3", nth=2, is_sent=None),
    Case("in J3", is_sent=None),
    Case("J3-J4", is_sent=None),
    Case("in J4", nth=2, is_sent=None),
    Case("recovering", is_sent=None),
    Case("before J0", how="disk"),
    Case("J1", how="disk"),
    Case("J2", how="disk"),
    Case("J3", how="disk", is_sent=None),
    Case("J4", how="disk", is_sent=None),
)


@dataclass
class Outcome:
    first_sent: int  # the followers' orders on the exchanges when the engine was gone
    halted: str
    books: list[LeaderOrderView]
    problems: list[str]


def play(case: Case, folder: Path, seed: int) -> Outcome:
    """Run one case: the leader buys, the engine breaks, the leader sells, another engine takes over."""
    data_dir, halted = folder / "data", ""
    with running_simulators(binance_followers=1, bitget_followers=1, seed=seed) as sims:
        with engine_on(sims, data_dir) as trader:
            add_everybody(trader, sims)
        first_point = "J2, before the socket" if case.point == "recovering" else case.point
        child = Child(sims, data_dir, first_point, case.nth, case.how)
        try:
            child.hear()
            (folder / "break-now").touch()
            if case.fault:
                sims.arm(case.fault, exchange="binance", account="binance-1")
            orders = [sims.place("leader", side="BUY", quote=Decimal(1000))["order_id"]]
            if case.how == "kill":
                assert child.killed()
            else:
                with child.connect() as remote:
                    halted = until(lambda: " ".join(halt.reason for halt in remote.status().halts), 30)
        finally:
            child.end()
        if case.point == "recovering":
            second = Child(sims, data_dir, case.point)
            try:
                assert second.killed()
            finally:
                second.end()
        sent = sum(len(sims.truth(name)["orders"]) for name in ("binance-1", "bitget-1"))
        orders.append(sims.place("leader", side="SELL", quantity=Decimal("0.01"))["order_id"])
        with engine_on(sims, data_dir) as trader:
            books = final_books(trader, orders)
            return Outcome(sent, halted, books, wrong(sims, trader, orders))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, Future[Outcome]]]:
    """Play all cases side by side: each is mostly waiting for its proof that an order never arrived."""
    with ThreadPoolExecutor(max_workers=7) as pool:
        yield {
            case: pool.submit(play, case, tmp_path_factory.mktemp("case"), seed) for seed, case in enumerate(CASES, 1)
        }


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_engine_that_broke_is_taken_over_without_a_double_or_a_loss(
    outcomes: dict[Case, Future[Outcome]], case: Case
) -> None:
    outcome = outcomes[case].result(240)

    assert outcome.problems == []
    assert [book.state for book in outcome.books] == [LeaderOrderState.COPIED] * 2
    bought, sold = outcome.books
    assert {row.state for row in sold.copies} == {CopyState.FILLED}
    if case.is_sent is False:
        assert outcome.first_sent == 0
        assert {row.state for row in bought.copies} == {CopyState.FILLED}
    for row in bought.copies:
        assert row.state is CopyState.FILLED or (row.state, row.reason_kind) == (CopyState.FAILED, "never_arrived")
        assert not case.fault or row.exchange != "binance" or row.attempts == 2
    assert ("journal" in outcome.halted) == (case.how == "disk")


@pytest.mark.slow
def test_an_engine_process_that_is_killed_between_claim_and_answer_knows_afterwards_what_became_of_it(
    tmp_path: Path,
) -> None:
    with running_simulators(binance_followers=1, bitget_followers=1, seed=77) as sims:
        with engine_on(sims, tmp_path / "data"):
            pass
        child = Child(sims, tmp_path / "data")
        try:
            with child.connect() as remote:
                add_everybody(remote, sims)
                for exchange in ("binance", "bitget"):
                    sims.arm("late_answer", exchange=exchange, count=1, params={"seconds": 8})
                order = sims.place("leader", side="BUY", quote=Decimal(700))["order_id"]
                names = ("binance-1", "bitget-1")
                until(lambda: all(sims.truth(name)["orders"] for name in names), 10)
                assert {row.state for row in remote.list_copies()} == {CopyState.SUBMITTING}
                with pytest.raises(AlreadyRunning, match=str(child.process.pid)), engine_on(sims, tmp_path / "data"):
                    raise AssertionError("two engines at once")
                child.process.kill()
                assert child.killed()
        finally:
            child.end()
        with engine_on(sims, tmp_path / "data") as trader:
            (book,) = final_books(trader, [order])
            assert {row.state for row in book.copies} == {CopyState.FILLED}
            assert wrong(sims, trader, [order]) == []


# --- the journal ---------------------------------------------------------------------------------------------


def assert_halted_and_nothing_sent(setup: Setup, kind: str, timeout_sec: float = 15) -> None:
    until(lambda: any(halt.kind == kind for halt in setup.trader.status().halts), timeout_sec)
    for name in ("binance-1", "bitget-1"):
        assert setup.sims.truth(name)["orders"] == []


@pytest.mark.slow
def test_a_journal_that_another_program_holds_halts_the_engine_before_anything_is_sent(tmp_path: Path) -> None:
    with copying(tmp_path / "data", seed=51) as setup:
        other = sqlite3.connect(tmp_path / "data" / "journal.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            order = setup.leader_buys("500")
            assert_halted_and_nothing_sent(setup, "journal")
        finally:
            other.close()
        sims = setup.sims
        setup.trader.close()
        with engine_on(sims, tmp_path / "data") as trader:
            final_books(trader, [order])
            assert wrong(sims, trader, [order]) == []


def test_a_commit_that_fails_halts_the_engine_before_anything_is_sent(tmp_path: Path) -> None:
    with copying(tmp_path / "data", seed=52) as setup:

        def fail(connection: object) -> None:
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

        event.listen(setup.trader._journal._engine, "commit", fail)
        setup.leader_buys("500")

        assert_halted_and_nothing_sent(setup, "journal")


def test_an_engine_whose_journal_was_taken_over_writes_and_sends_nothing_more(tmp_path: Path) -> None:
    with copying(tmp_path / "data", seed=53) as setup:
        Journal.in_data_dir(tmp_path / "data", None, lambda error: None).close()
        setup.leader_buys("500")

        assert_halted_and_nothing_sent(setup, "journal")


# --- threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["leader", "dispatcher", "settler", "balance-poller", "clock-keeper", "journal-writer"]
)
def test_a_thread_that_dies_halts_the_engine_within_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(trader_module, "DRAIN_SEC", 0.2)  # nobody is left to say that all is answered
    with copying(tmp_path / "data", seed=54) as setup:
        trader = setup.trader

        def die(*_: object) -> float:
            raise MemoryError("a planted death")

        if name == "leader":
            trader._watcher._mailbox.post(die)
        elif name == "dispatcher":
            trader._dispatcher._mailbox.post(die)
        elif name == "journal-writer":
            trader._journal._commit = die
            trader._journal.submit(lambda connection: None)
        else:
            tickers = {
                "settler": trader._dispatcher._settler._ticker,
                "balance-poller": trader._accounts._poller,
                "clock-keeper": trader._exchanges._keeper,
            }
            tickers[name]._round = die
            tickers[name].wake()

        until(lambda: trader.status().halts, 5)
        setup.leader_buys("500")
        with pytest.raises(CopytradeError):
            trader.stop_copying()
            trader.start_copying()
        for follower in ("binance-1", "bitget-1"):
            assert setup.sims.truth(follower)["orders"] == []


# --- clocks --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("skew_ms", [3000, -3000])
def test_an_exchange_whose_clock_is_off_for_a_while_gets_no_wrong_order(tmp_path: Path, skew_ms: int) -> None:
    with copying(tmp_path / "data", seed=55, tidy=True) as setup:
        sims, orders = setup.sims, []

        def skew(exchange: str, ms: int) -> None:
            sims.call(lambda: sims.world.set_skew(exchange, ms))

        for at in (skew_ms, 0):
            for exchange in ("binance", "bitget"):
                skew(exchange, at)
            orders.append(setup.leader_buys("400"))
            book = final_books(setup.trader, orders[-1:], 40)[0]
            for row in book.copies:
                assert row.state is CopyState.FILLED or row.reason, row
            for opened in setup.trader._exchanges.all():
                setup.trader._exchanges.remeasure(opened)  # what the clock-keeper does every minute
                true_ms = functools.partial(sims.call, lambda name=opened.id: sims.world.now_ms(name))
                until(lambda opened=opened, true_ms=true_ms: abs(opened.clock.now_ms() - true_ms()) < 500, 20)
            until(lambda: not setup.trader.status().halts, 20)
        problems = wrong_sums(setup, orders)
        assert problems == []
        # All is well again without a restart.
        check = TruthCheck(sims)
        last = setup.leader_sells("0.01")
        final_books(setup.trader, [last], 40)
        assert check.problems(setup.trader, [last]) == []


def wrong_sums(setup: Setup, orders: list[str]) -> list[str]:
    """Return what is wrong with what was executed; what was not must only have a reason."""
    truth = setup.sims.call(setup.sims.world.truth)
    books = [book for book in setup.trader.list_events() if book.order_id in orders and book.copies]
    return [
        problem
        for problem in audit([book_json(book) for book in books], truth)
        if " 0 executed orders carry" not in problem and not problem.startswith("the leader placed")
    ]


class SteppingClock(Clock):
    """A machine whose wall clock jumps an hour ahead or back at every look."""

    def __init__(self) -> None:
        self.looks = 0

    def wall_ms(self) -> int:
        self.looks += 1
        return super().wall_ms() + (3_600_000, -3_600_000, 0)[self.looks % 3]


def test_a_wall_clock_that_jumps_changes_no_age_and_no_window(tmp_path: Path) -> None:
    with running_simulators(binance_followers=1, bitget_followers=1, seed=56) as sims:
        sims.tidy()
        with engine_on(sims, tmp_path / "data"):
            pass
        settings = settings_for(sims, tmp_path / "data")
        orders = []
        for _ in range(2):
            with CopyTrader.open(settings=settings, master_key=MASTER_KEY, clock=SteppingClock()) as trader:
                trader.start()
                if not orders:
                    add_everybody(trader, sims)
                until(lambda: trader.get_leader().connected, 20)
                orders.append(sims.place("leader", side="BUY", quote=Decimal(400))["order_id"])
                time.sleep(0.005)  # the distance of two orders
                orders.append(sims.place("leader", side="SELL", quantity=Decimal("0.004"))["order_id"])
                final_books(trader, orders)
                assert wrong(sims, trader, orders) == []
