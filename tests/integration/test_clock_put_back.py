"""An exchange's clock is put back: what it says later bears earlier stamps, and no size may come of that."""

from __future__ import annotations

import pytest

from copytrade_core.views import LeaderOrderState
from memory_exchange import until
from sim_engine import copying
from truth_check import TruthCheck

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("back_ms", [1200, 3000])
def test_after_a_clock_was_put_back_shares_and_sizes_are_right_again(tmp_path, back_ms):
    with copying(tmp_path / "data", binance=2, bitget=1, tidy=True) as setup:
        trader, sims = setup.trader, setup.sims
        setup.book(setup.leader_buys("3000"))
        setup.book(setup.leader_sells("0.02"))
        # Far enough from the start of copying: what bears a stamp from before it is not copied.
        started_ms = sims.world.now_ms("binance")
        until(lambda: sims.world.now_ms("binance") > started_ms + 3500)

        sims.call(lambda: sims.world.set_skew("binance", -back_ms))
        # It is noticed when an order is refused for its timestamp, or at the next measurement.
        meanwhile = [setup.leader_buys("1000"), setup.leader_sells("0.01")]
        until(lambda: any(event.data.get("what") == "clock_jumped" for event in trader.list_feed(limit=1000)), 90)
        until(lambda: not trader.status().halts and trader.status().leader.connected, 30)
        until(lambda: not any(gap.is_open for gap in trader.list_gaps(5)), 60)

        states = {book.order_id: book.state for book in trader.list_events()}
        assert all(states[each] in (LeaderOrderState.UNDECIDED, LeaderOrderState.COPIED) for each in meanwhile)
        until(lambda: not trader.status().unsettled, 60)
        check = TruthCheck(sims)
        later = [setup.leader_buys("2000"), setup.leader_sells("0.03"), setup.leader_buys("500")]
        for each in later:
            setup.book(each)
        assert check.problems(trader, later) == []


def test_an_order_right_after_its_exchanges_clock_was_put_back_is_shared_rightly_or_by_a_person(tmp_path):
    """Nothing has been measured yet: only the numbers of the executions say that the stamps lie."""
    with copying(tmp_path / "data", binance=1, bitget=1, tidy=True) as setup:
        trader, sims = setup.trader, setup.sims
        started_ms = sims.world.now_ms("binance")
        until(lambda: sims.world.now_ms("binance") > started_ms + 1000)
        check = TruthCheck(sims)
        first = setup.leader_buys("9000")

        sims.call(lambda: sims.world.set_skew("binance", -800))  # too little to be refused for
        second = setup.leader_buys("9000")

        found = until(lambda: {b.order_id: b for b in trader.list_events()}.keys() >= {first, second} and trader, 60)
        states = {book.order_id: book.state for book in found.list_events()}
        until(lambda: not trader.status().unsettled, 60)
        copied = [each for each in (first, second) if states[each] is LeaderOrderState.COPIED]
        others = {each: states[each] for each in (first, second) if each not in copied}
        assert set(others.values()) <= {LeaderOrderState.UNDECIDED}
        assert check.problems(trader, copied, others) == []


def test_a_second_order_right_after_a_followers_clock_was_put_back_is_sized_by_what_the_first_one_left(tmp_path):
    """The exchange still takes our timestamps, and nothing has been measured: only the first one's fills say it."""
    with copying(tmp_path / "data", binance=1, bitget=2, tidy=True) as setup:
        trader, sims = setup.trader, setup.sims
        setup.book(setup.leader_buys("1000"))
        check = TruthCheck(sims)

        sims.call(lambda: sims.world.set_skew("bitget", -1500))
        orders = [setup.leader_buys("9000"), setup.leader_buys("9000"), setup.leader_sells("0.05")]
        for each in orders:
            setup.book(each)

        assert check.problems(trader, orders) == []
