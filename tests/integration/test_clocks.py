"""Exchanges whose clocks jump: told, halted where it is much, and over when two measurements agree. Others trade on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from copytrade_core.views import CopyState
from memory_exchange import until
from sim_engine import Setup, copying


def jump(setup: Setup, exchange: str, ms: int) -> Any:
    """Put an exchange's clock ahead, and have the engine measure it as it does each minute."""
    setup.sims.call(lambda: setup.sims.world.set_skew(exchange, ms))
    opened = next(one for one in setup.trader._exchanges.all() if one.id == exchange)
    setup.trader._exchanges.remeasure(opened)
    return opened


def told_of_jumps(setup: Setup) -> list[dict[str, Any]]:
    events = setup.trader.list_feed(limit=1000)
    return [event.data for event in events if event.kind == "alarm" and event.data["what"] == "clock_jumped"]


@pytest.mark.parametrize("jump_ms", [1200, -1200])
def test_a_jump_beyond_half_a_second_is_an_alarm_and_followed_without_a_halt(tmp_path: Path, jump_ms: int) -> None:
    with copying(tmp_path / "data", tidy=True) as setup:
        jump(setup, "bitget", jump_ms)

        (told,) = until(lambda: told_of_jumps(setup))
        assert told["label"] == "bitget/demo"
        assert abs(told["jump_ms"] - 1200) < 100
        assert setup.trader.status().halts == ()
        # Stamped by the new time, the orders are taken: an old one would be refused, or be ahead of the exchange.
        book = setup.book(setup.leader_buys("1000"))
        assert [(copy.state, copy.attempts) for copy in book.copies] == [(CopyState.FILLED, 1)] * 2


def test_a_small_jump_is_followed_and_nobody_is_bothered(tmp_path: Path) -> None:
    with copying(tmp_path / "data", tidy=True, bitget=0) as setup:
        opened = jump(setup, "binance", 300)

        until(lambda: abs(opened.clock.now_ms() - setup.sims.call(lambda: setup.sims.world.now_ms("binance"))) < 100)
        assert told_of_jumps(setup) == []


@pytest.mark.parametrize("jump_ms", [3000, -3000])
def test_a_jump_beyond_two_seconds_halts_that_exchange_until_two_measurements_agree(
    tmp_path: Path, jump_ms: int
) -> None:
    with copying(tmp_path / "data", tidy=True) as setup:
        jump(setup, "bitget", jump_ms)
        (halt,) = until(lambda: setup.trader.status().halts)
        finding = next(one for one in setup.trader.doctor() if one.kind == "engine_halted")
        book = setup.book(setup.leader_buys("1000"))
        rows = {copy.exchange: copy for copy in book.copies}

        assert (halt.kind, halt.exchange) == ("clock:bitget/demo", "bitget/demo")
        assert halt.since
        assert "two measurements" in halt.ends_when
        assert (finding.level, finding.data["exchange"]) == ("error", "bitget/demo")
        assert told_of_jumps(setup)
        assert rows["binance"].state is CopyState.FILLED
        assert (rows["bitget"].state, rows["bitget"].reason_kind) == (CopyState.FAILED, "halted")
        assert setup.sims.truth("bitget-1")["orders"] == []
        # The next measurement agrees with this one.
        until(lambda: setup.trader.status().halts == (), 10)
        book = setup.book(setup.leader_buys("500"))
        assert [copy.state for copy in book.copies] == [CopyState.FILLED] * 2


def test_a_clock_that_never_agrees_with_itself_stays_halted_and_everything_with_it_where_the_leader_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copytrade_core.exchanges.CLOCK_RETRY_SEC", 0.05)
    with copying(tmp_path / "data", tidy=True) as setup:
        opened = next(one for one in setup.trader._exchanges.all() if one.id == "binance")
        read, asked = opened.exchange.server_time_ms, []

        def restless() -> int:
            asked.append(0)
            return int(read()) + (4000 if (len(asked) - 1) // 5 % 2 else 0)  # another time at each measurement of five

        monkeypatch.setattr(opened.exchange, "server_time_ms", restless)
        asked.extend([0] * 5)
        setup.trader._exchanges.remeasure(opened)
        (halt,) = until(lambda: setup.trader.status().halts)
        until(lambda: len(asked) > 40, 10)

        assert (halt.kind, halt.exchange) == ("clock:binance/test", "")
        assert [one.since for one in setup.trader.status().halts] == [halt.since]
        monkeypatch.setattr(opened.exchange, "server_time_ms", read)
        until(lambda: setup.trader.status().halts == (), 10)
