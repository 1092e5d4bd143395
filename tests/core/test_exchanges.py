"""The exchanges in use: what is told of their clocks, and of one that shuts this machine's address out."""

from __future__ import annotations

import threading

import pytest

from copytrade_core.exchanges import Exchanges
from copytrade_core.model import Environment
from copytrade_core.plugins import Plugins
from copytrade_core.settings import Settings
from fakes import FakeClock
from memory_exchange import MemoryExchange, until

LABEL = "memory/test"


class Bench:
    """The open exchanges on a clock that the test moves, and what they told."""

    def __init__(self, tmp_path, left_sec: float = 0.0) -> None:
        self.clock = FakeClock()
        self.told: list[tuple[str, float]] = []
        self.died: list[str] = []
        self.known: list[bool] = []
        self.world = MemoryExchange()
        plugins = Plugins()
        plugins.register(self.world, "memory")
        self.exchanges = Exchanges(
            Settings(data_dir=tmp_path),
            plugins,
            self.clock,
            lambda name, error: self.died.append(f"{name}: {error!r}"),
            lambda opened: self.known.append(opened.clock.is_known),
            lambda opened, seconds: self.told.append((opened.label, seconds)),
            lambda label: left_sec,
        )
        self.opened = self.exchanges.get("memory", Environment.TEST)

    def end(self) -> None:
        stopping = threading.Thread(target=self.exchanges.stop, name="stopping")
        stopping.start()
        while stopping.is_alive():
            self.clock.advance(1)
            stopping.join(0.01)
        assert self.died == []


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.exchanges.start()
    yield made
    made.end()


def test_that_the_time_is_known_again_is_told_whoever_measured_it(bench):
    until(lambda: bench.known[-1:] == [True])
    bench.opened.exchange.server_time_ms = lambda: bench.clock.monotonic_ns() // 10**6
    bench.exchanges.remeasure(bench.opened)  # which has jumped by years
    until(lambda: bench.known[-1:] == [False])

    bench.exchanges.ready(bench.opened)  # somebody who needs the exchange measures before the keeper does

    until(lambda: bench.known[-1:] == [True])


def test_a_bug_of_a_plug_in_ends_no_measuring(bench):
    until(lambda: bench.known[-1:] == [True])
    exchange = bench.opened.exchange
    right, exchange.server_time_ms = exchange.server_time_ms, lambda: {}["serverTime"]
    bench.exchanges.remeasure(bench.opened)
    until(lambda: bench.opened.error_kind == "plugin_bug")

    exchange.server_time_ms = right
    bench.exchanges.remeasure(bench.opened)

    until(lambda: bench.opened.error_kind == "")


def test_answers_that_all_say_the_same_tell_of_one_ban_and_a_longer_one_is_told(bench):
    shut_out = bench.opened.exchange.context.on_shut_out
    shut_out(120.0)
    shut_out(120.0)
    shut_out(60.0)
    assert bench.told == [(LABEL, 120.0)]

    shut_out(3600.0)
    assert bench.told == [(LABEL, 120.0), (LABEL, 3600.0)]


def test_a_ban_ends_by_itself_and_the_clock_is_measured_again(bench):
    bench.opened.exchange.context.on_shut_out(120.0)
    bench.clock.advance(119)
    assert bench.opened.shut_until_ns > bench.clock.monotonic_ns()
    bench.clock.advance(1)

    until(lambda: bench.told == [(LABEL, 120.0), (LABEL, 0.0)])
    assert bench.opened.shut_until_ns == 0
    measured_ns = bench.clock.monotonic_ns()
    until(lambda: bench.opened.clock.measured_ns >= measured_ns)


def test_a_ban_of_an_earlier_run_is_in_force_before_anything_is_asked(tmp_path):
    bench = Bench(tmp_path, left_sec=300.0)

    assert bench.told == [(LABEL, 300.0)]
    assert bench.opened.exchange.context.shut_out_sec == 300.0
    assert bench.opened.shut_until_ns - bench.clock.monotonic_ns() == 300 * 10**9
