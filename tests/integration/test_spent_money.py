"""Pushes that are lost or late and reads that are stale: spent money is not spent again by the order right behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from copytrade_core.views import CopyState
from fault_stage import BINANCE, CLASSIC, UNIFIED, Stage, stage

FOLLOWERS = (("binance 1", BINANCE), ("classic 1", CLASSIC), ("unified 1", UNIFIED))
LOST = {BINANCE: "position_lost", CLASSIC: "account_push_lost", UNIFIED: "account_push_lost"}
LATE = {BINANCE: "position_delayed", CLASSIC: "push_delayed", UNIFIED: "push_delayed"}


def read_stale(on: Stage) -> None:
    """From now on every balance read within a second of a change shows what was before it."""

    on.sims.call(lambda: [one.set({"snapshot_stale": 1.0}) for one in on.sims.world.untidiness.values()])


def trade(on: Stage) -> None:
    """Have the leader trade back and forth, each order on the heels of the one before."""
    orders = []
    for part in ("0.4", "0.35", "0.5"):
        orders.append(on.buy(part))
        orders.append(on.buy(part))
        orders.append(on.sell("0.6"))
        threading.Event().wait(0.05)  # the next comes while the balances after these are still under way
    for order_id in orders:
        rows = on.settled(order_id, 40)
        assert {row.state for row in rows.values()} == {CopyState.FILLED}, [(r.state, r.reason) for r in rows.values()]
        # Each sum was made from a figure whose age and source are on record.
        assert all(row.balance_source and row.balance_age_ms is not None for row in rows.values())
    assert on.problems() == []


@pytest.mark.slow
@pytest.mark.parametrize("reads", ["fresh", "stale"])
@pytest.mark.parametrize("pushes", ["lost", "late"])
def test_the_order_right_behind_another_spends_only_what_that_one_left(tmp_path: Path, pushes: str, reads: str) -> None:
    with stage(tmp_path / "data", followers=FOLLOWERS, seed=7) as on:
        on.sims.tidy()
        if reads == "stale":
            read_stale(on)
        for name, kind in FOLLOWERS:
            fault = (LOST if pushes == "lost" else LATE)[kind]
            exchange = BINANCE if kind == BINANCE else "bitget"
            on.sims.arm(fault, exchange=exchange, account=name, count=None)

        trade(on)

        on.sims.call(on.sims.world.faults.clear)
        on.balances_agree(30)
