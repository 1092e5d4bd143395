"""The main job on real sockets: a leader's market orders copied to both exchanges, every sum right."""

from __future__ import annotations

from fractions import Fraction

import pytest

from copytrade_core.sim import running_simulators
from copytrade_core.views import CopyState, LeaderOrderState
from memory_exchange import until
from sim_engine import add_everybody, copying, engine_on


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_buy_and_a_sale_are_copied_to_both_exchanges_with_every_sum_right(tmp_path, seed):
    with copying(tmp_path / "data", binance=2, bitget=2, seed=seed) as setup:
        setup.book(setup.leader_buys("1234.56"))
        setup.book(setup.leader_sells("0.01"))

        assert setup.problems() == []


def test_two_orders_milliseconds_apart_are_shared_from_the_balance_before_each(tmp_path):
    with copying(tmp_path / "data", seed=7) as setup:
        orders = [setup.leader_buys("1000"), setup.leader_buys("1000"), setup.leader_sells("0.01")]
        for order in orders:
            setup.book(order)

        assert setup.problems() == []


def test_many_orders_on_untidy_exchanges_end_in_closed_books_without_a_wrong_sum(tmp_path):
    with copying(tmp_path / "data", binance=2, bitget=2, seed=11) as setup:
        orders = []
        for _ in range(6):
            orders += [setup.leader_buys("150"), setup.leader_sells("0.002")]
        for order in orders:
            setup.book(order, timeout_sec=60)

        assert setup.problems() == []


def test_a_deposit_between_two_orders_counts_for_the_second_only(tmp_path):
    with copying(tmp_path / "data", seed=3) as setup:
        free = setup.leader_free("USDT")
        first = setup.leader_buys("1000")
        spent = setup.book(first).filled_quote
        setup.sims.call(
            lambda: setup.sims.world.markets["binance"].deposit(setup.sims.world.accounts["leader"], "USDT", 5000)
        )
        second = setup.leader_buys("1000")
        book = setup.book(second)

        assert book.share == Fraction(book.filled_quote) / Fraction(free - spent + 5000)
        assert setup.problems() == []


def test_an_order_found_after_a_restart_is_copied_once(tmp_path):
    with running_simulators(binance_followers=1, bitget_followers=1, seed=5) as sims:
        with engine_on(sims, tmp_path / "data") as trader:
            add_everybody(trader, sims)
        order = sims.place("leader", side="BUY", quote=500)["order_id"]
        with engine_on(sims, tmp_path / "data") as trader:
            book = until(
                lambda: next(
                    (
                        b
                        for b in trader.list_events()
                        if b.order_id == order and all(c.state.is_final for c in b.copies)
                    ),
                    None,
                ),
                30,
            )

            assert book.state is LeaderOrderState.COPIED
            assert book.source == "gap"
            assert {copy.state for copy in book.copies} == {CopyState.FILLED}
        executed = [len(sims.truth(name)["orders"]) for name in ("binance-1", "bitget-1")]
        assert executed == [1, 1]


def test_nothing_of_a_stopped_time_is_copied_even_after_a_restart(tmp_path):
    with running_simulators(binance_followers=1, bitget_followers=1, seed=6) as sims:
        with engine_on(sims, tmp_path / "data") as trader:
            add_everybody(trader, sims)
            trader.stop_copying()
            sims.place("leader", side="BUY", quote=500)
        with engine_on(sims, tmp_path / "data") as trader:
            until(lambda: (leader := trader.get_leader()) and leader.connected, 20)
            trader.start_copying()
            later = sims.place("leader", side="BUY", quote=600)["order_id"]
            until(
                lambda: any(b.order_id == later and b.state is LeaderOrderState.COPIED for b in trader.list_events()),
                20,
            )
            until(lambda: all(c.state.is_final for c in trader.list_copies()), 20)
        executed = [len(sims.truth(name)["orders"]) for name in ("binance-1", "bitget-1")]
        assert executed == [1, 1]
