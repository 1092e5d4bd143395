"""What is watched over the months: counted without slowing anything down."""

from __future__ import annotations

import pytest

from copytrade_core.latencies import BOUNDS_MS, Latencies
from memory_exchange import until
from sim_engine import copying


def test_a_histogram_counts_each_step_cumulatively():
    latencies = Latencies()
    latencies.saw({"planned": 3, "sent": 30})
    latencies.saw({"planned": 5, "sent": 10**9})

    view = latencies.view()

    assert view["planned"].count == 2
    assert view["planned"].buckets["0.005"] == 2
    assert view["planned"].sum_sec == pytest.approx(0.008)
    assert view["sent"].buckets["0.025"] == 0
    assert view["sent"].buckets["0.05"] == 1
    assert view["sent"].buckets[str(BOUNDS_MS[-1] / 1000)] == 1  # the other one is beyond all bounds
    assert view["sent"].count == 2


@pytest.mark.slow
def test_an_engine_counts_copies_latencies_budgets_and_ages(tmp_path):
    with copying(tmp_path / "data", binance=2, bitget=1, tidy=True) as setup:
        setup.book(setup.leader_buys("1000"))

        def counted():
            seen = setup.trader.metrics()
            final = seen.latency.get("final")
            return seen if final and final.count == 3 and seen.leader_connections == 2 else None

        view = until(counted, 20)

        assert view.running
        assert not view.halted
        assert view.copies == {"FILLED": 3}
        assert view.accounts == {"ACTIVE": 3}
        assert view.leader_connections == 2
        assert (view.unsettled, view.needs_person) == (0, 0)
        assert view.latency["sent"].count == 3
        assert view.latency["heard"].count == 1
        weight = next(each for each in view.budgets if (each.exchange, each.name) == ("binance/test", "weight"))
        assert 0 < weight.used <= weight.limit
        assert any(each.exchange == "bitget/demo" for each in view.budgets)
        assert set(view.oldest_balance_sec) == {"binance/test", "bitget/demo"}
        assert until(lambda: setup.trader.metrics().pushed == {"binance/test": 2, "bitget/demo": 1}, 20)
        assert view.journal_write_sec > 0
