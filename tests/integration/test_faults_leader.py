"""A leader's stream that drops, repeats, reorders, loses and lies: every order once, in order, with the right share."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import copytrade_binance.user_stream
from copytrade_binance.api_socket import SocketTimings
from copytrade_core.leader import watcher
from copytrade_core.views import LeaderOrderState
from memory_exchange import until
from sim_engine import Setup, copying
from truth_check import TruthCheck

PRICE = Decimal("64217.38")
COPIED, STALE = LeaderOrderState.COPIED, LeaderOrderState.STALE
IGNORED, UNDECIDED = LeaderOrderState.IGNORED, LeaderOrderState.UNDECIDED


class Bench:
    """A running setup for several cases: each holds only its own orders against the truth."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.sims = setup.sims
        self.trader = setup.trader
        self.begin()

    def begin(self) -> None:
        self.sims.call(self.sims.world.faults.clear)
        until(lambda: self.trader.get_leader().connected, 20)
        self.check = TruthCheck(self.sims)
        self.seen = self.last_feed()

    def last_feed(self) -> int:
        # Numbered without gaps, so that it can be paged through.
        seen = getattr(self, "seen", 0)
        while page := self.trader.list_feed(after=seen, limit=1000):
            seen = page[-1].seq
        return seen

    def alarms(self) -> list[str]:
        return [event.text for event in self.trader.list_feed(after=self.seen, limit=1000) if event.kind == "alarm"]

    def buy(self, quote: str = "1000") -> str:
        return self.setup.leader_buys(quote)

    def sell(self, base: str = "0.01") -> str:
        return self.setup.leader_sells(base)

    def leader(self) -> tuple[Any, Any]:
        """Return the leader's market and account; touch them only inside `call`."""
        world = self.sims.world
        return world.markets["binance"], world.accounts["leader"]

    def close_books(self, *orders: str, timeout_sec: float = 30) -> None:
        for order in orders:
            self.setup.book(order, timeout_sec)

    def assert_copied(self, *orders: str, others: dict[str, LeaderOrderState] | None = None, sec: float = 30) -> None:
        """Every order was copied once to everybody, in this order and with the right sums; *others* were not."""
        self.close_books(*orders, *(others or {}), timeout_sec=sec)
        assert self.check.problems(self.trader, orders, others) == []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with copying(tmp_path_factory.mktemp("leader") / "data", seed=21, tidy=True) as setup:
        yield Bench(setup)


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    running.begin()
    yield running
    running.sims.call(running.sims.world.faults.clear)


# --- connections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["abort", "close", "stream_terminated", "server_shutdown"])
def test_orders_around_a_lost_connection_are_copied_once_and_in_order(bench: Bench, how: str) -> None:
    orders = [bench.buy("900")]  # its reports are still on their way
    bench.sims.arm(how, exchange="binance", account="leader", params={"seconds": 0.5})
    orders += [bench.sell("0.005"), bench.buy("1100")]

    bench.assert_copied(*orders)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["half_open", "half_frame"])
def test_a_socket_that_stays_open_and_says_nothing_is_noticed_and_nothing_is_lost(bench: Bench, how: str) -> None:
    began = time.monotonic()
    bench.sims.arm(how, exchange="binance", account="leader")
    orders = [bench.buy("700"), bench.buy("800")]

    bench.assert_copied(*orders)
    assert time.monotonic() - began < 8


@pytest.mark.slow
def test_handshakes_that_are_never_answered_end_by_time_and_are_tried_again(bench: Bench) -> None:
    bench.sims.arm("handshake_hangs", exchange="binance", count=2)
    bench.sims.arm("abort", exchange="binance", account="leader")
    orders = [bench.buy("650"), bench.sell("0.004")]

    bench.assert_copied(*orders)


@pytest.mark.slow
def test_three_orders_placed_while_nothing_is_heard_are_copied_once_in_order_when_it_is(bench: Bench) -> None:
    bench.sims.arm("handshake_refused", exchange="binance", count=None)
    bench.sims.arm("abort", exchange="binance", account="leader")
    orders = [bench.buy("500"), bench.buy("600"), bench.sell("0.008")]
    until(lambda: bench.trader.get_leader().gap_since, 10)
    assert not bench.trader.get_leader().connected
    # A gap of some seconds, in which nothing may be decided.
    time_out = time.monotonic() + 3
    until(lambda: time.monotonic() > time_out, 5)
    assert all(book.order_id not in orders for book in bench.trader.list_events(limit=10))
    bench.sims.call(bench.sims.world.faults.clear)

    bench.assert_copied(*orders)
    assert all(bench.setup.book(order).source == "gap" for order in orders)
    assert any("not heard" in text for text in bench.alarms())


@pytest.mark.slow
def test_a_silent_subscription_is_found_out_by_its_balances_and_renewed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "READ_EVERY_SEC", 1.0)
    bench.sims.arm("silence", exchange="binance", account="leader")
    first = bench.buy("750")
    bench.assert_copied(first)
    assert any("without an event" in text for text in bench.alarms())

    # It brings events again: another gap would cost each order its seconds.
    until(lambda: bench.trader.get_leader().connected, 20)
    second = bench.sell("0.006")
    bench.assert_copied(first, second)
    assert bench.setup.book(second).source == "live"


def test_connections_that_are_replaced_every_second_lose_and_double_nothing(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings = functools.partial(
        copytrade_binance.user_stream.StreamTimings,
        socket=SocketTimings(rotate_after=0.8, rotate_jitter=0.3),
        overlap=0.3,
    )
    monkeypatch.setattr(copytrade_binance.user_stream, "StreamTimings", timings)
    with copying(tmp_path / "data", seed=4, tidy=True) as setup:
        bench = Bench(setup)
        orders = []
        for number in range(12):
            orders.append(bench.buy("200") if number % 2 == 0 else bench.sell("0.002"))
            bench.close_books(orders[-1])
        bench.assert_copied(*orders)
        assert not [book for book in setup.trader.list_events() if book.source == "gap"]
        names = [thread.name for thread in threading.enumerate()]
        assert len([name for name in names if name.startswith(("leader-a#", "leader-b#"))]) <= 8
