"""Request budgets: the simulated exchanges enforce their limits, and the governor is what keeps an engine inside them.

Each run is made twice, with the governor and without it. Limits are put low on both sides where an exchange tells its
own, or where the test does, so that a run takes seconds.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
from copytrade_core.sim.world import Delay
from copytrade_core.store.vault import AccountRecord
from copytrade_core.views import AccountState, CopyState
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


def fill_vault(
    sims: RunningSimulators, data_dir: Path, exchange: str, *, status: str = "VERIFIED", leads: bool = False
) -> None:
    """Put all simulated followers of *exchange* into a vault, as an engine finds them when it starts."""
    with engine_on(sims, data_dir) as trader:
        if leads:
            lead(trader, sims)
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


def ready_events(trader: CopyTrader) -> list[int]:
    """Return how many accounts the feed has said to be ready, in the order of its saying."""
    return [event.data["ready"] for event in trader.list_feed(limit=1000) if event.data["what"] == "accounts_ready"]


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


@pytest.mark.slow
def test_two_hundred_binance_followers_begin_below_half_of_the_limit_while_the_leader_is_heard_at_once(tmp_path):
    with running_simulators(binance_followers=200) as sims:
        limits = sims.simulators["binance"].limits
        fill_vault(sims, tmp_path / "data", "binance", status="CREATED", leads=True)
        answers = watched(sims, "binance")
        with engine_on(sims, tmp_path / "data") as trader:
            until(lambda: trader.status(with_followers=False).leader.connected, 5)
            told = until(lambda: trader.status(with_followers=False).starting, 5)
            assert told.accounts == 200
            progress = [told.ready]

            def is_done() -> bool:
                starting = trader.status(with_followers=False).starting
                progress.append(200 if starting is None else starting.ready)
                return starting is None

            # Four and a half thousand units of weight at most of three thousand a minute.
            until(is_done, 120)

            accounts = trader.list_accounts()
            assert {account.state for account in accounts} == {AccountState.ACTIVE}
            assert all(account.pushed and len(account.balances) == 2 for account in accounts)
            assert all(balance.source and balance.age_sec < 150 for one in accounts for balance in one.balances)
            assert progress == sorted(progress)
            assert len(set(progress)) > 5
            told_of = until(lambda: found if (found := ready_events(trader))[-1:] == [200] else None)
            assert told_of == sorted(told_of)
            assert len(told_of) >= 2
            # The followers' two sockets, the leader's two and those for orders.
            assert len(sims.call(lambda: list(sims.simulators["binance"].sockets))) <= 6
        assert 200 * 20 / 2 < sims.call(limits.heaviest_minute) <= 3000
        assert not [status for _, status in answers if status in REFUSED]


@pytest.mark.slow
def test_beyond_ninety_five_sockets_bitgets_followers_are_polled_and_a_place_that_becomes_free_is_taken(tmp_path):
    with running_simulators(bitget_followers=110) as sims:
        simulator = sims.simulators["bitget"]
        fill_vault(sims, tmp_path / "data", "bitget")
        with engine_on(sims, tmp_path / "data") as trader:
            until(lambda: trader.status(with_followers=False).starting is None, 60)

            accounts = trader.list_accounts()
            pushed = [account for account in accounts if account.pushed]
            polled = [account for account in accounts if not account.pushed]
            assert (len(pushed), len(polled)) == (95, 15)
            # What a person sees of each: how it is kept fresh, how often, and how old it is.
            assert all(account.poll_sec and account.poll_sec >= 2 for account in accounts)
            assert pushed[0].poll_sec > polled[0].poll_sec
            assert all(balance.source and balance.age_sec < 60 for one in accounts for balance in one.balances)

            trader.remove_account(pushed[0].id)
            until(lambda: sum(account.pushed for account in trader.list_accounts()) == 95, 10)
        assert sims.call(lambda: simulator.sockets.most) <= 100
        assert sims.call(lambda: simulator.sockets.refused) == 0
        assert sims.call(lambda: simulator.guard.blocks) == 0


@pytest.mark.slow
def test_eighty_orders_whose_sockets_die_are_settled_inside_what_is_left_of_the_budget(tmp_path):
    with running_simulators(binance_followers=80) as sims:
        simulator = sims.simulators["binance"]
        fill_vault(sims, tmp_path / "data", "binance", leads=True)
        answers = watched(sims, "binance")
        with engine_on(sims, tmp_path / "data") as trader:
            run = Town(sims, trader, tmp_path / "data", answers)
            until(lambda: trader.status(with_followers=False).starting is None, 60)
            # Another program at this address leaves enough for some thirty look-ups in this minute.
            address = "127.0.0.1"
            spare = 5100 - sims.call(lambda: simulator.limits.used_weight(address)) - 300
            sims.call(lambda: simulator.limits.add_weight(address, spare))
            sims.call(lambda: sims.world.delays.__setitem__("binance", Delay(request_ms=400)))
            seen = len(answers)
            order_id = run.leader_buys("1000")
            until(lambda: sum(name == "order.place" for name, _ in answers[seen:]) >= 80 or executed(sims) == 80, 10)
            sims.call(lambda: [one.connection.abort() for one in simulator.sockets if not one._subscriptions])
            sims.call(lambda: sims.world.delays.__setitem__("binance", Delay()))

            until(lambda: trader.status(with_followers=False).unsettled == 80, 10)
            left = [80]

            def is_settled() -> bool:
                left.append(trader.status(with_followers=False).unsettled)
                return not left[-1]

            until(is_settled, 110)
            book = run.book(order_id)
            assert [copy.state for copy in book.copies] == [CopyState.FILLED] * 80
            assert left == sorted(left, reverse=True)
            assert not run.problems()
        # A person sees it go on; and not all could be asked about at once: what was left did not suffice.
        assert any(0 < each < 80 for each in left)
        with closing(sqlite3.connect(f"file:{run.data_dir / 'journal.db'}?mode=ro", uri=True)) as journal:
            (sent_back,) = journal.execute("select count(*) from evidence where text like 'budget:%'").fetchone()
        assert sent_back > 0
        assert not run.refusals
        assert sims.call(simulator.limits.heaviest_minute) <= 6000


def executed(sims: RunningSimulators) -> int:
    """Return how many followers have an order."""
    accounts = sims.call(lambda: list(sims.world.accounts.values()))
    return sum(account.role == "follower" and bool(account.orders_by_id) for account in accounts)
