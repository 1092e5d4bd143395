"""Request budgets: the simulated exchanges enforce their limits, and the governor is what keeps an engine inside them.

Each run is made twice, with the governor and without it. Limits are put low on both sides where an exchange tells its
own, or where the test does, so that a run takes seconds.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from copytrade_bitget import connector as bitget_connector
from copytrade_bitget import rest as bitget_rest
from copytrade_core import CopyTrader, Credentials, Environment
from copytrade_core.accounts.budget import Budget
from copytrade_core.model import AccountId
from copytrade_core.sim import RunningSimulators, running_simulators
from copytrade_core.store.vault import AccountRecord
from memory_exchange import until
from sim_engine import Setup, engine_on

REFUSED = (418, 429)


@dataclass
class Town(Setup):
    """Many followers on one exchange, and the answers that it gave."""

    answers: list[tuple[str, int]]  # what was asked, and the status of the answer

    @property
    def refusals(self) -> list[int]:
        return [status for _, status in self.answers if status in REFUSED]


def fill_vault(sims: RunningSimulators, data_dir: Path, exchange: str, *, status: str = "VERIFIED") -> None:
    """Put all simulated followers of *exchange* into a vault, as an engine finds them when it starts."""
    with engine_on(sims, data_dir) as trader:
        for number, keys in enumerate(sims[exchange]["followers"], 1):
            record = AccountRecord(
                id=AccountId(str(uuid.uuid4())),
                name=f"{exchange} {number}",
                exchange=exchange,
                environment=Environment(sims[exchange]["env"]),
                created_wall_ms=0,
                status=status,
            )
            fields = {name: value for name, value in keys.items() if name != "mode"}
            trader._vault.add_account(record, Credentials(fields))  # behind the engine's back: nothing is asked yet


def watched(sims: RunningSimulators, exchange: str) -> list[tuple[str, int]]:
    """Return a list that grows by each answer of *exchange*."""
    answers: list[tuple[str, int]] = []
    world, saw = sims.world, sims.world.saw

    def look(where: str, account: str, name: str, client_order_id: str = "", status: int = 0) -> None:
        if where == exchange:
            answers.append((name, status))
        saw(where, account, name, client_order_id, status)

    world.saw = look  # type: ignore[method-assign]
    return answers


@contextmanager
def town(tmp_path: Path, exchange: str, followers: int, limits: dict[str, Any]) -> Iterator[Town]:
    """Start an engine with *followers* on an exchange with lower limits, which polls as fast as it may."""
    with running_simulators(**{f"{exchange}_followers": followers}) as sims:
        simulator = sims.simulators[exchange]
        sims.call(lambda: [setattr(simulator.settings, name, value) for name, value in limits.items()])
        fill_vault(sims, tmp_path / "data", exchange)
        answers = watched(sims, exchange)
        with engine_on(sims, tmp_path / "data", balance_poll_sec=0.2) as trader:
            yield Town(sims, trader, tmp_path / "data", answers)


def lead(trader: CopyTrader, sims: RunningSimulators) -> None:
    view = trader.set_leader("binance", sims["binance"]["env"], dict(sims["binance"]["leader"]))
    assert view.connected, view.error
    assert trader.start_copying()


def take_the_governor_out(monkeypatch: pytest.MonkeyPatch, trader_exchange: type) -> None:
    monkeypatch.setattr(Budget, "spend", lambda *spent, **more: None)
    monkeypatch.setattr(Budget, "observe", lambda self, used: None)
    monkeypatch.setattr(Budget, "block", lambda self, seconds, **more: None)
    monkeypatch.setattr(trader_exchange, "balance_read_cost_sec", lambda self: 0.0)


def copy_and_poll(run: Town) -> None:
    """Have three orders copied to everybody, and then poll on for a while."""
    until(lambda: all(account.pushed and account.balances for account in run.trader.list_accounts()), 30)
    lead(run.trader, run.sims)
    for quote in ("1000", "2000", "1500"):
        book = run.book(run.leader_buys(quote))
        assert len(book.copies) == len(run.trader.list_accounts())
        assert all(copy.state.is_ok for copy in book.copies), [(one.state, one.reason) for one in book.copies]
    threading.Event().wait(8)  # in which the polling goes on as fast as it may, and nothing is to be refused
    assert not run.problems()


BINANCE_LIMITS = {"weight_limit": 2400}


@pytest.mark.slow
def test_binance_never_refuses_an_engine_whose_requests_are_budgeted(tmp_path):
    with town(tmp_path, "binance", 40, BINANCE_LIMITS) as run:
        copy_and_poll(run)

        limits = run.sims.simulators["binance"].limits
        assert not run.refusals
        assert run.sims.call(lambda: limits.bans) == 0
        # The polling was held back, and not for want of followers: forty of them, five times a second, ask for more.
        assert 40 * 20 < run.sims.call(limits.heaviest_minute) < 2400


@pytest.mark.slow
def test_without_the_governor_the_same_engine_is_refused_by_binance_and_then_banned(tmp_path, monkeypatch):
    from copytrade_binance.connector import BinanceExchange

    take_the_governor_out(monkeypatch, BinanceExchange)
    with town(tmp_path, "binance", 40, BINANCE_LIMITS) as run:
        until(lambda: 418 in run.refusals, 60)

        assert run.refusals[0] == 429
        limits = run.sims.simulators["binance"].limits
        assert run.sims.call(lambda: limits.bans) >= 1


BITGET_LIMIT = 1500


@pytest.fixture
def bitget_limits(monkeypatch):
    """A quarter of Bitget's limit, which no answer tells: put low in the plug-in as well as in the simulator."""
    monkeypatch.setattr(bitget_rest, "ADDRESS_LIMIT", BITGET_LIMIT)
    monkeypatch.setattr(bitget_connector, "ADDRESS_LIMIT", BITGET_LIMIT)
    return {"address_requests": BITGET_LIMIT}


@pytest.mark.slow
def test_bitget_never_refuses_an_engine_whose_requests_are_budgeted(tmp_path, bitget_limits):
    with town(tmp_path, "bitget", 30, bitget_limits) as run:
        copy_and_poll(run)

        simulator = run.sims.simulators["bitget"]
        assert not run.refusals
        assert run.sims.call(lambda: simulator.guard.blocks) == 0
        assert run.sims.call(lambda: simulator.sockets.refused) == 0
        assert 30 * 3 < run.sims.call(lambda: simulator.guard.busiest) < BITGET_LIMIT


@pytest.mark.slow
def test_without_the_governor_the_same_engine_is_refused_by_bitget_and_then_shut_out(
    tmp_path, monkeypatch, bitget_limits
):
    take_the_governor_out(monkeypatch, bitget_connector.BitgetExchange)
    with town(tmp_path, "bitget", 30, bitget_limits) as run:
        simulator = run.sims.simulators["bitget"]
        until(lambda: run.sims.call(lambda: simulator.guard.blocks), 60)

        refused = len(run.refusals)
        until(lambda: len(run.refusals) > refused + 20, 30)
        # Shut out: not one request of anybody is answered any more.
        assert {status for _, status in run.answers[-20:]} == {429}
