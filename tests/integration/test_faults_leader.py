"""A leader's stream that drops, repeats, reorders, loses and lies: every order once, in order, with the right share."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import copytrade_binance.user_stream
from copytrade_binance.api_socket import SocketTimings
from copytrade_core.leader import gaps
from copytrade_core.sim import running_simulators
from copytrade_core.views import AccountState, CopyState, LeaderOrderState
from memory_exchange import until
from sim_engine import Setup, add_everybody, copying, engine_on
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
        until(lambda: all(row.state.is_final for row in self.trader.list_copies(limit=20)), 30)
        self.check = TruthCheck(self.sims)
        self.seen = self.last_feed()

    def last_feed(self) -> int:
        # Numbered without gaps, so that it can be paged through.
        seen = getattr(self, "seen", 0)
        while page := self.trader.list_feed(after=seen, limit=1000):
            seen = page[-1].seq
        return seen

    def told(self, kind: str) -> list[str]:
        return [event.text for event in self.trader.list_feed(after=self.seen, limit=1000) if event.kind == kind]

    def alarms(self) -> list[str]:
        return self.told("alarm")

    def buy(self, quote: str = "1000") -> str:
        return self.setup.leader_buys(quote)

    def sell(self, base: str = "0.01") -> str:
        return self.setup.leader_sells(base)

    def leader(self) -> tuple[Any, Any]:
        """Return the leader's market and account; touch them only inside `call`."""
        world = self.sims.world
        return world.markets["binance"], world.accounts["leader"]

    def settle(self) -> None:
        """Wait until both connections hear the leader and what was before them has been read."""
        until(lambda: self.trader.get_leader().connections == 2, 20)
        until(lambda: not self.trader._watcher._gaps._is_reading, 20)

    def pause(self) -> None:
        """Let 5 ms pass: what the leader does by hand never shares a millisecond."""
        time.sleep(0.005)

    def close_books(self, *orders: str, timeout_sec: float = 30) -> None:
        for order in orders:
            self.setup.book(order, timeout_sec)

    def assert_copied(self, *orders: str, others: dict[str, LeaderOrderState] | None = None, sec: float = 30) -> None:
        """Every order was copied once to everybody, in this order and with the right sums; *others* were not."""
        self.close_books(*orders, *(others or {}), timeout_sec=sec)
        assert self.check.problems(self.trader, orders, others) == []


class Benches:
    """One setup for case after case, until its cases have read so much that Binance's budget would matter."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._tmp_path_factory = tmp_path_factory
        self._open = ExitStack()
        self._bench: Bench | None = None

    def get(self) -> Bench:
        if self._bench is not None:
            limits = self._bench.sims.simulators["binance"].limits
            if self._bench.sims.call(lambda: limits.used_weight("127.0.0.1")) > 1500:
                self.close()
        if self._bench is None:
            data_dir = self._tmp_path_factory.mktemp("leader") / "data"
            self._bench = Bench(self._open.enter_context(copying(data_dir, seed=21, tidy=True)))
            market, account = self._bench.leader()
            quick = {"fill_min_ms": 5, "fill_max_ms": 20}  # these cases are not about how slowly Bitget fills
            self._bench.sims.call(lambda: self._bench.sims.world.untidiness["bitget"].set(quick))
            self._bench.sims.call(lambda: market.deposit(account, "USDT", Decimal(200_000)))
            free = self._bench.setup.leader_free("USDT")
            trader = self._bench.trader
            until(lambda: {b.asset: b.free for b in trader.get_leader().balances}.get("USDT") == free, 10)
        self._bench.begin()
        return self._bench

    def close(self) -> None:
        self._bench = None
        self._open.close()


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    benches = Benches(tmp_path_factory)
    yield benches
    benches.close()


@pytest.fixture
def bench(benches: Benches) -> Bench:
    return benches.get()


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
    later = time.monotonic() + 1.5
    until(lambda: time.monotonic() > later, 5)
    assert all(book.order_id not in orders for book in bench.trader.list_events(limit=10))
    bench.sims.call(bench.sims.world.faults.clear)

    bench.assert_copied(*orders)
    assert all(bench.setup.book(order).source == "gap" for order in orders)
    assert any("not heard" in text for text in bench.alarms())


@pytest.mark.slow
def test_a_silent_subscription_is_found_out_by_its_balances_and_renewed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "READ_EVERY_SEC", 1.0)
    with copying(tmp_path / "data", seed=5, tidy=True) as setup:
        bench = Bench(setup)
        bench.settle()
        setup.sims.arm("silence", exchange="binance", account="leader")
        first = bench.buy("750")
        bench.assert_copied(first)
        until(lambda: any("without an event" in text for text in bench.alarms()))

        # Both connections bring events again: another gap would cost each order its seconds.
        heard = ("leader-a", "leader-b")
        until(lambda: all(sum(name in t and "hears" in t for t in bench.told("leader")) for name in heard))
        second = bench.sell("0.006")
        bench.assert_copied(first, second)
        assert setup.book(second).source == "live"


@pytest.mark.slow
def test_an_order_placed_between_the_reads_of_orders_and_balances_is_not_lost_on_a_silent_stream(tmp_path: Any) -> None:
    with copying(tmp_path / "data", seed=6, tidy=True) as setup:
        bench = Bench(setup)
        bench.settle()
        setup.sims.arm("silence", exchange="binance", account="leader")
        leader_watcher = setup.trader._watcher
        connector, orders = leader_watcher._connector, []
        list_orders = connector.list_orders

        def list_then_trade(since_ms: int) -> Any:
            listed = list_orders(since_ms)
            if not orders:
                orders.append(bench.buy("750"))
            return listed

        connector.list_orders = list_then_trade
        leader_watcher._mailbox.post(leader_watcher._gaps.catch_up)
        until(lambda: orders, 10)

        bench.assert_copied(*orders)


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


# --- frames and balances -----------------------------------------------------------------------------------


def test_orders_of_one_millisecond_that_nobody_told_of_are_told_apart(bench: Bench) -> None:
    bench.sims.arm("handshake_refused", exchange="binance", count=4)
    bench.sims.arm("abort", exchange="binance", account="leader")
    market, account = bench.leader()
    sides = ({"side": "BUY", "quote": Decimal(900)}, {"side": "SELL", "quantity": Decimal("0.005")})

    def place_at_once() -> list[str]:
        now_ms = market._now_ms()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(market, "_now_ms", lambda: now_ms)
            return [
                str(market.place(account, client_order_id=f"web_ms{number}", **ticket).order_id)
                for number, ticket in enumerate((*sides, *sides))
            ]

    bench.assert_copied(*bench.sims.call(place_at_once))


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("report_duplicated", {}),
        ("reports_reordered", {}),
        ("reports_delayed", {"seconds": 0.4}),
        ("position_first", {}),
        ("position_delayed", {"seconds": 0.3}),
        ("position_merged", {"seconds": 0.3}),
        ("position_lost", {}),
    ],
)
def test_frames_that_come_twice_late_reordered_or_never_change_no_sum(bench: Bench, fault: str, params: dict) -> None:
    bench.sims.arm(fault, exchange="binance", account="leader", count=None, params=params)
    orders = [bench.buy("1000"), bench.buy("1200")]
    bench.pause()
    orders += [bench.sell("0.02"), bench.buy("300"), bench.sell("0.001")]

    bench.assert_copied(*orders)


def test_an_order_whose_final_report_never_comes_is_read_back(bench: Bench) -> None:
    bench.sims.arm("report_lost", exchange="binance", account="leader")
    began = time.monotonic()
    order = bench.buy("850")

    bench.assert_copied(order)
    assert 1.5 < time.monotonic() - began < 5


def test_an_order_behind_one_without_its_final_report_keeps_its_place(bench: Bench) -> None:
    bench.sims.arm("report_lost", exchange="binance", account="leader")

    bench.assert_copied(bench.buy("850"), bench.buy("950"), bench.sell("0.003"))


def test_a_read_balance_that_is_older_than_the_stream_is_not_believed(bench: Bench) -> None:
    first = bench.buy("1000")
    bench.close_books(first)
    bench.sims.arm("stale_snapshot", exchange="binance", account="leader", count=None)
    bench.sims.arm("stream_terminated", exchange="binance", account="leader")  # it reads again, what was before
    until(lambda: any(e.kind == "leader" for e in bench.trader.list_feed(after=bench.last_feed() - 2)), 10)
    until(lambda: bench.trader.get_leader().connected, 20)

    bench.assert_copied(first, bench.buy("1000"), bench.sell("0.01"))


@pytest.mark.parametrize("apart_ms", [0, 1])
@pytest.mark.parametrize("fault", [None, "position_merged", "position_delayed", "position_lost"])
def test_a_deposit_counts_for_the_orders_after_it_and_for_no_other(
    bench: Bench, fault: str | None, apart_ms: int
) -> None:
    if fault:
        bench.sims.arm(fault, exchange="binance", account="leader", count=None, params={"seconds": 0.15})
    market, account = bench.leader()
    numbers = itertools.count()

    def wait() -> None:
        end = market._now_ms() + apart_ms
        while market._now_ms() < end:
            pass

    def trade() -> str:
        name = f"web_{fault}_{apart_ms}_{next(numbers)}"
        return str(market.place(account, side="BUY", quote=Decimal(400), client_order_id=name).order_id)

    def around() -> tuple[str, ...]:
        market.deposit(account, "USDT", Decimal(17_770))
        wait()
        first = trade()
        wait()
        market.deposit(account, "USDT", Decimal(-13_330))
        wait()
        second = trade()
        wait()
        market.deposit(account, "USDT", Decimal(25_550))
        return first, second

    orders = bench.sims.call(around)
    bench.assert_copied(*orders)


# --- what the leader does ----------------------------------------------------------------------------------


def test_limit_orders_that_rest_fill_and_are_cancelled_are_shown_and_never_copied(bench: Bench) -> None:
    market, account = bench.leader()

    def rest(price: str, side: str = "BUY") -> str:
        order = bench.sims.place("leader", side=side, price=Decimal(price), quantity=Decimal("0.5"))
        bench.pause()
        return order["order_id"]

    def act(do: Callable[[], object]) -> None:
        bench.pause()
        bench.sims.call(do)
        bench.pause()

    fills, stays, sells = rest("64100"), rest("60000"), rest("64300", side="SELL")
    orders = [bench.buy("1000")]
    act(lambda: market.move_price(Decimal("64099")))
    orders += [bench.buy("800"), bench.sell("0.004")]
    act(lambda: market.cancel(account, account.open_orders[int(stays)]))
    orders += [bench.buy("700")]
    act(lambda: market.move_price(Decimal("64301")))
    orders += [bench.sell("0.006"), bench.buy("600")]
    bench.sims.call(lambda: market.move_price(PRICE))

    bench.assert_copied(*orders, others=dict.fromkeys((fills, stays, sells), IGNORED))


def test_a_limit_order_that_takes_from_the_book_and_rests_with_the_rest_is_not_copied(bench: Bench) -> None:
    market, account = bench.leader()
    limit = bench.sims.place("leader", side="BUY", price=PRICE + Decimal(1), quantity=Decimal("0.5"))["order_id"]
    bench.pause()
    orders = [bench.buy("1000"), bench.sell("0.01")]
    bench.pause()
    bench.sims.call(lambda: market.cancel(account, account.open_orders[int(limit)]))
    bench.pause()
    orders.append(bench.buy("500"))

    bench.assert_copied(*orders, others={limit: IGNORED})


def test_an_order_in_another_symbol_is_shown_and_its_money_is_reckoned_with(bench: Bench) -> None:
    # The simulator knows one pair; its reports are made to speak of another one.
    bench.sims.arm(
        "altered_event", exchange="binance", account="leader", count=None, params={"field": "s", "raw": '"ETHUSDT"'}
    )
    other = bench.buy("2000")
    bench.close_books(other)
    bench.sims.call(bench.sims.world.faults.clear)

    bench.assert_copied(bench.buy("1000"), bench.sell("0.01"), others={other: IGNORED})


def test_an_order_that_expires_with_a_part_filled_is_copied_by_what_was_filled(bench: Bench) -> None:
    market, account = bench.leader()

    def expire(fills: int, name: str) -> str:
        order = market.accept(account, side="BUY", quote=Decimal(9000), client_order_id=name)
        market.execute(account, order, stop_after=fills)
        return str(order.order_id)

    part = bench.sims.call(lambda: expire(1, "web_part"))
    nothing = bench.sims.call(lambda: expire(0, "web_nothing"))
    after = bench.buy("500")

    bench.assert_copied(part, after, others={nothing: IGNORED})
    assert bench.setup.book(part).status == "EXPIRED"


def test_fees_in_another_coin_leave_the_shares_right(bench: Bench) -> None:
    market, account = bench.leader()

    def fees(in_discount: bool) -> None:
        account.fees_in_discount_asset = in_discount

    bench.sims.call(lambda: (market.deposit(account, "BNB", Decimal(50)), fees(True)))
    try:
        bench.assert_copied(bench.buy("1500"), bench.sell("0.02"), bench.buy("400"))
    finally:
        bench.sims.call(lambda: fees(False))


def test_figures_that_contradict_each_other_are_put_before_a_person(bench: Bench) -> None:
    rows = '[{"a":"USDT","f":"1.00000000","l":"0.00000000"},{"a":"BTC","f":"9.00000000","l":"0.00000000"}]'
    free = bench.setup.leader_free("USDT")
    params = {"field": "B", "raw": rows}
    bench.sims.arm("altered_event", exchange="binance", account="leader", count=None, params=params)
    order = bench.buy("900")
    bench.close_books(order)
    bench.sims.call(bench.sims.world.faults.clear)
    book = bench.setup.book(order)

    if book.state is COPIED:  # the exchange's own word, asked for besides, agreed with what was known before
        assert book.share == Fraction(book.filled_quote) / Fraction(free)
    else:
        bench.assert_copied(others={order: UNDECIDED})
        until(bench.alarms)
        bench.trader.decide_share(book.id, Fraction(book.filled_quote) / Fraction(free), by="a test")
        bench.assert_copied(order)


@pytest.mark.parametrize("seed", [1, 2])
def test_pairs_of_orders_five_milliseconds_apart_on_untidy_exchanges_are_shared_right(tmp_path: Any, seed: int) -> None:
    with copying(tmp_path / "data", seed=seed) as setup:
        bench = Bench(setup)
        orders = []
        for number in range(6):
            orders.append(bench.buy("1000") if number % 2 == 0 else bench.sell("0.01"))
            bench.pause()
            orders.append(bench.buy("900") if number % 3 == 0 else bench.sell("0.005"))
        bench.assert_copied(*orders)


def test_all_of_it_next_to_all_and_next_to_nothing(tmp_path: Any) -> None:
    with copying(tmp_path / "data", seed=9, tidy=True) as setup:
        bench = Bench(setup)
        market, account = bench.leader()
        setup.sims.call(lambda: market.deposit(account, "USDT", Decimal(5_000_000)))
        bench.pause()
        tiny = bench.buy("5.1")
        bench.close_books(tiny)
        for row in setup.book(tiny).copies:
            assert row.state in (CopyState.REJECTED, CopyState.SKIPPED), row
            assert row.reason
        setup.sims.call(lambda: market.deposit(account, "USDT", Decimal(-5_000_000)))
        bench.begin()
        everything = format(setup.leader_free("USDT"), "f")
        bench.assert_copied(bench.buy(everything))

        bench.begin()
        step = Decimal("0.00001")
        nearly = setup.leader_free("BTC") * Decimal("0.9995") // step * step
        order = bench.sell(format(nearly, "f"))
        bench.close_books(order)
        for row in setup.book(order).copies:
            assert row.state is CopyState.FILLED, row
            assert row.sent == row.free_before // row.step * row.step


# --- stop, start, restart ----------------------------------------------------------------------------------


def test_nothing_placed_while_stopped_paused_or_down_too_long_is_copied_even_over_restarts(tmp_path: Any) -> None:
    with running_simulators(binance_followers=1, bitget_followers=1, seed=31) as sims:
        data_dir = tmp_path / "data"

        def begin(trader: Any) -> Bench:
            return Bench(Setup(sims, trader, data_dir))

        with engine_on(sims, data_dir) as trader:
            add_everybody(trader, sims)
            bench = begin(trader)
            trader.stop_copying()
            stopped = bench.buy("400")
            trader.start_copying()
            first = bench.buy("500")
            bench.assert_copied(first, others={stopped: IGNORED})

            anna = trader.list_accounts()[0]
            trader.pause_account(anna.id)
            bench.begin()
            paused = bench.buy("450")
            rows = {row.account_id: row for row in bench.setup.book(paused).copies}
            assert rows.pop(anna.id).state is CopyState.SKIPPED
            assert {row.state for row in rows.values()} == {CopyState.FILLED}
            trader.stop_copying()
            down = bench.buy("410")

        # While the engine is down, stopped, and with one follower paused.
        down_too = sims.place("leader", side="BUY", quote=420)["order_id"]
        with engine_on(sims, data_dir) as trader:
            until(lambda: (leader := trader.get_leader()) and leader.connected, 20)
            assert trader.get_account(anna.id).state is AccountState.PAUSED
            trader.start_copying()
            bench = begin(trader)
            trader.resume_account(anna.id)
            second = bench.buy("550")
            bench.assert_copied(second, others={down: IGNORED, down_too: IGNORED})
            trader.pause_account(anna.id)
        missed = sims.place("leader", side="SELL", quantity=Decimal("0.004"))["order_id"]
        with engine_on(sims, data_dir) as trader:
            trader.resume_account(anna.id)
            until(lambda: (leader := trader.get_leader()) and leader.connected, 20)
            rows = {row.account_id: row for row in Setup(sims, trader, data_dir).book(missed).copies}
            assert rows.pop(anna.id).state is CopyState.SKIPPED
            assert {row.state for row in rows.values()} == {CopyState.FILLED}
            bench = begin(trader)
            bench.assert_copied(bench.buy("600"))


@pytest.mark.parametrize("seed", [58])
def test_equal_orders_right_before_and_after_a_restart_are_shared_by_the_balance_before_each(
    tmp_path: Any, seed: int
) -> None:
    with running_simulators(binance_followers=1, bitget_followers=1, seed=seed) as sims:
        orders: list[str] = []
        check = TruthCheck(sims)
        for _ in range(2):
            with engine_on(sims, tmp_path / "data") as trader:
                if not orders:
                    add_everybody(trader, sims)
                until(lambda trader=trader: trader.get_leader().connected, 20)
                bench = Bench(Setup(sims, trader, tmp_path / "data"))
                bench.check = check
                orders.append(bench.buy("400"))
                bench.pause()
                orders.append(bench.sell("0.004"))
                bench.assert_copied(*orders)


def test_orders_found_too_late_are_stale_with_an_alarm_and_later_ones_are_copied(tmp_path: Any) -> None:
    with running_simulators(binance_followers=1, bitget_followers=1, seed=32) as sims:
        with engine_on(sims, tmp_path / "data") as trader:
            add_everybody(trader, sims)
        placed = [sims.place("leader", side="BUY", quote=quote) for quote in (400, 500)]
        until(lambda: sims.call(lambda: sims.world.now_ms("binance")) - placed[-1]["created_ms"] > 1500, 5)
        with engine_on(sims, tmp_path / "data", max_copy_age_backfill_sec=1) as trader:
            bench = Bench(Setup(sims, trader, tmp_path / "data"))
            late = {order["order_id"]: STALE for order in placed}
            bench.assert_copied(others=late)
            for event in trader.list_events():
                assert {row.state for row in event.copies} == {CopyState.STALE}
                assert event.share is not None

            def told() -> list[str]:
                return [e.text for e in trader.list_feed(limit=1000) if e.kind == "alarm" and " s old " in e.text]

            until(lambda: len(told()) == 2)
            bench.assert_copied(bench.buy("300"), bench.sell("0.002"), others=late)


def test_order_ids_that_start_again_after_a_reset_are_new_orders(tmp_path: Any) -> None:
    with copying(tmp_path / "data", seed=33, tidy=True) as setup:
        bench = Bench(setup)
        before = [bench.buy("1000"), bench.sell("0.01")]
        bench.assert_copied(*before)
        old_books = {book.id for book in setup.trader.list_events()}

        setup.sims.call(lambda: setup.sims.world.reset("binance"))
        opening = Decimal(setup.sims.truth("binance-1")["opening"]["USDT"])
        follower = next(one for one in setup.trader.list_accounts() if one.exchange == "binance")
        # Nobody is told of a reset: the follower's balance is known again when it was polled.
        until(lambda: setup.trader.get_account(follower.id).balance("USDT").free == opening, 10)
        after = [bench.buy("800"), bench.sell("0.02")]
        assert after == before

        def new_books() -> list[Any]:
            books = [book for book in reversed(setup.trader.list_events()) if book.id not in old_books]
            return books if len(books) == 2 and all(r.state.is_final for b in books for r in b.copies) else []

        books = until(new_books, 20)
        assert [book.order_id for book in books] == before
        assert {book.state for book in books} == {COPIED}
        truth = setup.sims.truth("leader")["orders"]
        for book, order in zip(books, truth, strict=True):
            is_buy = book.side == "BUY"
            amount = order["executed_quote" if is_buy else "executed_base"]
            free = order["free_quote_before" if is_buy else "free_base_before"]
            assert book.share == Fraction(amount) / Fraction(free)
            assert {row.state for row in book.copies} == {CopyState.FILLED}
        assert len(setup.sims.truth("binance-1")["orders"]) == 2
        assert len(setup.sims.truth("bitget-1")["orders"]) == 4
