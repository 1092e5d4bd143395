"""`copytrade drill`: an engine on simulated exchanges, broken in every way that a seed draws, and held to the truth."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import ROUND_DOWN, Decimal
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..codec import dumps_exact
from ..control.client import RemoteCopyTrader
from ..errors import ConfigError, CopytradeError, EngineNotRunning
from ..views import AccountState, CopyView, LeaderOrderState, StatusView, book_json
from .children import Child, copytrade_command, end_properly_when_told
from .drill_check import Round, book_of, findings, secrets_in, signatures_in
from .local import call_json, simulators
from .session import InputError

BINANCE, BITGET = 3, 3
TOUCHED = ("binance-3", "bitget-3")  # on these others trade and move money, too
STRANGER = "ct" + "zzzz"  # an order of another installation begins so
SETTLE_SEC = 240.0  # fences, proofs and the deadline of the unknown, with some air
READY_SEC = 60.0
RESET_SEC = 150.0  # until balances that nobody pushed have been read

# name, params: what may happen to a follower's order, by exchange
ORDER_FAULTS: Mapping[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "binance": (
        ("reply_lost_after_execution", {}),
        ("reply_lost_before_execution", {}),
        ("no_answer_executed", {"seconds": 20}),
        ("no_answer_not_executed", {"seconds": 20}),
        ("late_answer", {"seconds": 6}),
        ("http_5xx_executed", {"status": 504}),
        ("http_5xx_not_executed", {"status": 503}),
        ("minus_1000_executed", {}),
        ("minus_1001_not_executed", {}),
        ("minus_1006_executed", {}),
        ("minus_1007_executed", {"seconds": 2}),
        ("minus_1007_not_executed", {"seconds": 2}),
        ("minus_1008_executed", {}),
        ("late_execution", {"seconds": 6}),
        ("minus_1003", {"retry_after": "1"}),
        ("minus_1015", {"retry_after": "1"}),
        ("minus_1013", {}),
        ("minus_1021", {}),
        ("minus_1099", {}),
        ("minus_2010_balance", {}),
        ("minus_2010_duplicate", {}),
        ("waf_403", {}),
        ("partial_then_expired", {"fills": 1}),
        ("order_not_found", {"seconds": 8}),
        ("garbage", {}),
        ("short_body", {}),
        ("banned_418", {"retry_after": "6"}),
        ("held_before_engine", {"seconds": 4}),
        ("price_range_expiry", {}),
        ("minus_1016", {}),
        ("minus_2010_closed", {}),
        ("minus_2015", {}),
    ),
    "bitget": (
        ("reply_lost_after_execution", {}),
        ("reply_lost_before_execution", {}),
        ("no_answer_executed", {"seconds": 20}),
        ("no_answer_not_executed", {"seconds": 20}),
        ("late_answer", {"seconds": 6}),
        ("http_5xx_executed", {"status": 502}),
        ("http_5xx_not_executed", {"status": 504}),
        ("html_200", {"executed": True}),
        ("empty_200", {"executed": False}),
        ("wrong_shape_200", {"executed": True}),
        ("code_executed", {"code": "40010"}),
        ("code_executed", {"code": "45001"}),
        ("code_not_executed", {"code": "40725"}),
        ("code_not_executed", {"code": "40200"}),
        ("executes_late", {"seconds": 5}),
        ("rate_limited", {"retry_after": "1"}),
        ("timestamp_expired", {}),
        ("forbidden", {}),
        ("slow_fill", {"seconds": 4}),
        ("partial_then_cancelled", {"fills": 1}),
        ("lookup_late", {"seconds": 8}),
        ("push_before_reply", {}),
        ("client_id_forgotten", {}),
        ("closed_after_reply", {}),
        ("short_body", {"executed": True}),
        ("code_executed", {"code": "43118"}),
        ("code_not_executed", {"code": "43012"}),
        ("strange_answer", {"on": "order", "kind": "extra_fields"}),
        ("redirect", {}),
        ("drip", {"seconds_per_byte": 0.05}),
        ("account_push_lost", {}),
        ("order_push_lost", {}),
        ("push_delayed", {}),
        ("push_duplicated", {}),
        ("pushes_reordered", {}),
        ("two_orders_shown", {}),
    ),
}
STREAM_FAULTS = (
    "report_lost",
    "report_duplicated",
    "reports_reordered",
    "reports_delayed",
    "position_lost",
    "position_delayed",
    "position_first",
    "position_merged",
    "stale_snapshot",
)
DROPS = ("abort", "close", "half_open", "half_frame", "server_shutdown", "stream_terminated", "silence")
BITGET_DROPS = ("abort", "close", "half_open", "half_a_frame", "silent")
UNREACHABLE = ("handshake_hangs", "handshake_refused")
KEY_FLAGS = ("revoked", "ip_listed", "can_trade")


@click.command()
@click.option("--seed", default=None, type=int, help="Of everything that happens; printed, so that it can be repeated.")
@click.option(
    "--rounds", default=None, type=click.IntRange(1), help="How many rounds (default: until the time is over)."
)
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0.1, 1440), help="How long at most.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep data and logs in this new folder.")
def drill(seed: int | None, rounds: int | None, minutes: float, as_json: bool, keep: Path | None) -> None:
    """Break an engine on simulated exchanges, again and again, and hold it to the truth.

    Orders lost, late, doubled and refused; connections that die or fall silent; kills, stops, clocks, other
    people's hands on the accounts. After each round every order of the exchanges is held against the closed
    books. Exit code 1 if anything is wrong."""
    end_properly_when_told()
    console = Console(stderr=as_json, highlight=False)
    seed = seed if seed is not None else secrets.randbelow(10**6)
    if keep is not None and keep.exists():
        raise InputError(f"{keep} is there already; name a new folder with --keep")
    folder = Path(tempfile.mkdtemp(prefix="copytrade-drill-")) if keep is None else keep
    folder.mkdir(exist_ok=True, parents=True)
    console.print(f"Seed {seed}; logs in {folder}; nothing here is real.")
    result: dict[str, Any] = {"seed": seed, "folder": str(folder)}
    with simulators(BINANCE, BITGET, seed, folder / "simulators.log") as sims:
        run = Drill(sims, folder, random.Random(seed), console)
        try:
            run.set_up()
            until = time.monotonic() + minutes * 60  # of the rounds: to start everything takes its own time
            while (rounds is None or run.rounds < rounds) and time.monotonic() < until:
                try:
                    run.round()
                except CopytradeError as error:  # an engine that does not come back, or never settles, is a finding
                    run.found.append(f"round {run.rounds}: {error.message}")
                if run.found:
                    break  # what comes after a fault proves nothing
            run.look_for_secrets()
        finally:
            run.end()
    result |= {"rounds": run.rounds, "done": dict(run.done), "orders": dict(run.orders)}
    result |= {"copies": dict(run.copies), "findings": run.found}
    if as_json:
        click.echo(dumps_exact(result, indent=2))
    else:
        console.print(_summary(run))
    for finding in run.found:
        console.print(f"[red]wrong:[/red] {finding}")
    if run.found:
        console.print(f"Repeat it: copytrade drill --seed {seed} --rounds {run.rounds} --keep FOLDER")
        raise SystemExit(1)
    console.print(
        f"Nothing was doubled, lost, wrongly sized, or sent while stopped (seed {seed}, {run.rounds} rounds)."
    )
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)


class Drill:
    """One run: the engine's process, the script of the rounds, and what was found."""

    def __init__(self, sims: Mapping[str, Any], folder: Path, chance: random.Random, console: Console) -> None:
        self._sims = sims
        self._admin = sims["admin"]
        self._folder = folder
        self._data_dir = folder / "data"
        self._chance = chance
        self._console = console
        self._engine: Child | None = None
        self._names: dict[str, str] = {}  # the simulators' account -> ours
        self._ids: dict[str, str] = {}  # the simulators' account -> the engine's id
        self._tag = ""
        self._theme = ""
        self.rounds = 0
        self.done: Counter[str] = Counter()
        self.orders: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self._decisions: dict[str, str] = {}
        self._states: dict[str, str] = {}
        self.found: list[str] = []

    # --- the engine ---

    def set_up(self) -> None:
        """Make the data directory, start an engine, add everybody, begin to copy."""
        init = copytrade_command("init", data_dir=self._data_dir)
        subprocess.run(init, env=self._environ(), check=True, stdout=subprocess.DEVNULL, timeout=60)
        self.start_engine()
        with self.trader() as trader:
            for exchange in ("binance", "bitget"):
                for number, keys in enumerate(self._sims[exchange]["followers"], 1):
                    fields = {name: value for name, value in keys.items() if name != "mode"}
                    name = f"{exchange} {number}"
                    view = trader.add_account(name, exchange, self._sims[exchange]["env"], fields)
                    self._names[f"{exchange}-{number}"] = name
                    self._ids[f"{exchange}-{number}"] = view.id
            self._keys_given_back(trader)
            part = self._sims["binance"]
            self._patiently(lambda: trader.set_leader("binance", part["env"], dict(part["leader"])))
            trader.start_copying()

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COPYTRADE_")}
        return {**kept, "HOME": str(self._folder), "COPYTRADE_ENDPOINTS": self._sims["endpoints_file"]}

    def start_engine(self) -> None:
        log = self._folder / "engine.log"
        self._engine = Child(
            "engine", copytrade_command("engine", "--json", data_dir=self._data_dir), self._environ(), log
        )
        self._engine.ready()

    def kill_engine(self) -> None:
        """End the engine as a power cut does."""
        assert self._engine is not None
        self._engine.process.kill()
        self._engine.end(10)
        self.done["kills"] += 1

    def end(self) -> None:
        if self._engine is not None:
            with suppress(OSError):
                self._engine.process.send_signal(signal.SIGCONT)
            self._engine.end(60)

    @contextmanager
    def trader(self) -> Iterator[RemoteCopyTrader]:
        trader = RemoteCopyTrader.connect(self._data_dir)
        try:
            yield trader
        finally:
            trader.close()

    # --- one round ---

    def round(self) -> None:
        """Draw what happens, let it happen, let it settle, and look."""
        self.rounds += 1
        self._ready()
        this = Round(began_ms=self._now(), accounts=dict(self._names), touched=set(TOUCHED))
        theme = self._chance.choice(
            (
                self._orders_fail,
                self._orders_fail,
                self._streams_fail,
                self._killed,
                self._shut,
                self._hands,
                self._clock,
                self._network,
                self._reset,
                self._storm,
            )
        )
        self._theme = theme.__name__.strip("_")
        self._call("/sim/price", {"price": format(Decimal(self._chance.randrange(6_300_000, 6_550_000)) / 100, "f")})
        self.done[self._theme] += 1
        theme(this)
        self._call("/sim/faults", None, method="DELETE")
        self._settle()
        self._look(this)

    def _orders_fail(self, this: Round) -> None:
        """Followers' orders meet faults of every class, while the leader trades in bursts."""
        for _ in range(self._chance.randrange(1, 5)):
            self._arm_order_fault()
        for _ in range(self._chance.randrange(1, 4)):
            self._leader_trades()
            self._pause(0.0, 3.0)
            if self._chance.random() < 0.5:
                self._arm_order_fault()

    def _streams_fail(self, this: Round) -> None:
        """The leader's and followers' streams lose, repeat, reorder and delay; sockets die in every way."""
        for _ in range(self._chance.randrange(1, 5)):
            self._disturb_streams()
            self._leader_trades()
            self._pause(0.0, 4.0)

    def _disturb_streams(self) -> None:
        if self._chance.random() < 0.5:
            count = self._chance.randrange(1, 3)
            self._arm(self._chance.choice(STREAM_FAULTS), "binance", account="leader", count=count)
        else:
            self._drop(self._chance.choice(DROPS), "binance", self._chance.choice(("leader", None)))
        if self._chance.random() < 0.3:
            self._drop(self._chance.choice(BITGET_DROPS), "bitget", None)

    def _storm(self, this: Round) -> None:
        """All of it in one round: orders that fail, streams that break, kills, and the leader trades on."""
        assert self._engine is not None
        for _ in range(self._chance.randrange(4, 9)):
            what = self._chance.choice(("order", "order", "order", "streams", "streams", "kill", "freeze", "money"))
            if what == "order":
                self._arm_order_fault()
            elif what == "streams":
                self._disturb_streams()
            elif what == "kill":
                self.kill_engine()
                self.start_engine()
            elif what == "freeze":
                self._engine.process.send_signal(signal.SIGSTOP)
                self.done["freezes"] += 1
                self._pause(0.1, 4.0)
                self._engine.process.send_signal(signal.SIGCONT)
            else:
                self._withdraw(self._chance.choice(("leader", *TOUCHED)), self._chance.choice(("USDT", "BTC")))
            self._leader_trades()
            self._pause(0.0, 1.5)

    def _killed(self, this: Round) -> None:
        """The engine is killed, or frozen, in the middle of things, and started again."""
        if self._chance.random() < 0.5:
            self._arm_order_fault()
        self._leader_trades()
        self._pause(0.0, 0.4)
        assert self._engine is not None
        if self._chance.random() < 0.25:
            self._engine.process.send_signal(signal.SIGSTOP)
            self.done["freezes"] += 1
            self._pause(0.5, 15.0)
            self._leader_trades()
            self._engine.process.send_signal(signal.SIGCONT)
        else:
            self.kill_engine()
            if self._chance.random() < 0.5:
                self._leader_trades()  # nobody hears it: a gap
            self._pause(0.0, 3.0)
            self.start_engine()
            if self._chance.random() < 0.3:
                self._pause(0.0, 1.0)
                self.kill_engine()
                self.start_engine()
        self._pause(0.0, 2.0)
        self._leader_trades()

    def _shut(self, this: Round) -> None:
        """Copying is stopped, or a follower paused, in a burst; nothing leaves, also over a kill."""
        with self.trader() as trader:
            self._leader_trades()
            self._pause(0.0, 0.2)
            if self._chance.random() < 0.5:
                trader.stop_copying()
                began = self._now()["binance"]
                self._leader_trades()
                if self._chance.random() < 0.4:
                    trader.close()
                    self.kill_engine()
                    self.start_engine()
                self._pause(0.5, 3.0)
                self._leader_trades()
                self._pause(1.0, 2.0)
                ended = self._now()["binance"]
                with self.trader() as again:
                    self._patiently(again.start_copying)
                this.stopped_ms.append((began, ended))
                self.done["stops"] += 1
            else:
                account = self._chance.choice(list(self._ids))
                exchange = account.partition("-")[0]
                trader.pause_account(self._ids[account])
                began = self._now()[exchange]
                self._leader_trades()
                self._pause(1.0, 3.0)
                ended = self._now()[exchange]
                self._patiently(lambda: trader.resume_account(self._ids[account]))
                this.paused_ms.append((account, began, ended))
                self.done["pauses"] += 1
        self._leader_trades()

    def _hands(self, this: Round) -> None:
        """Other people's hands on the accounts: deposits, limit orders, manual trades, keys, another installation."""
        for _ in range(self._chance.randrange(2, 5)):
            what = self._chance.choice(
                ("deposit", "withdrawal", "limit", "manual", "key", "stranger", "trade", "trade")
            )
            self.done[what] += 1
            touched = self._chance.choice(TOUCHED)
            if what == "deposit":
                who = self._chance.choice(("leader", touched))
                amount = Decimal(self._chance.randrange(1, 10**10)) / 10**8
                self._call("/sim/deposit", {"account": who, "asset": "USDT", "amount": format(amount, "f")})
            elif what == "withdrawal":
                self._withdraw(self._chance.choice(("leader", touched)), self._chance.choice(("USDT", "BTC")))
            elif what == "limit":
                self._limit_order("leader")
            elif what == "manual":
                self._market_order(touched, share=Decimal("0.05"))
            elif what == "key":
                who, flag = self._chance.choice(list(self._ids)), self._chance.choice(KEY_FLAGS)
                self._call("/sim/keys", {"account": who, flag: flag == "revoked"})
                self._leader_trades()
                self._pause(0.5, 2.0)
                self._call("/sim/keys", {"account": who, flag: flag != "revoked"})
            elif what == "stranger":
                client_id = STRANGER + format(self._chance.randrange(32**8), "020d") + "-1"
                self._market_order(touched, share=Decimal("0.01"), client_order_id=client_id)
            else:
                self._leader_trades()
            self._pause(0.0, 1.5)
        self._leader_trades()

    def _clock(self, this: Round) -> None:
        """An exchange's clock jumps, and comes back."""
        this.skewed = True
        exchange = self._chance.choice(("binance", "bitget"))
        self._leader_trades()
        self._call("/sim/clock", {"exchange": exchange, "skew_ms": self._chance.choice((-3000, -1200, 900, 3500))})
        self._pause(0.0, 5.0)
        self._leader_trades()
        self._pause(0.5, 3.0)
        self._call("/sim/clock", {"exchange": exchange, "skew_ms": 0})
        self._pause(0.0, 2.0)
        self._leader_trades()

    def _network(self, this: Round) -> None:
        """Every request takes long; or nobody can connect for a while, and the leader trades unheard."""
        exchange = self._chance.choice(("binance", "bitget"))
        delay = {"request_ms": self._chance.randrange(50, 1200), "jitter_ms": self._chance.randrange(0, 600)}
        self._call("/sim/delay", {"exchange": exchange, **delay})
        if self._chance.random() < 0.5:
            how = "handshake_hangs" if exchange == "bitget" else self._chance.choice(UNREACHABLE)
            shut = {"name": how, "exchange": exchange, "duration_ms": self._chance.randrange(1000, 20_000)}
            self._call("/sim/faults", shut)
            self._drop("abort", exchange, None)
            self.done["unreachable"] += 1
        for _ in range(self._chance.randrange(1, 4)):
            self._leader_trades()
            self._pause(0.0, 4.0)
        self._call("/sim/delay", {"exchange": exchange, "request_ms": 0, "jitter_ms": 0})
        self._leader_trades()

    def _reset(self, this: Round) -> None:
        """A test network begins anew: balances as at first, order ids used again, and nobody is told."""
        exchange = self._chance.choice(("binance", "bitget"))
        self._call("/sim/reset", {"exchange": exchange})
        this.began_ms = {**this.began_ms, exchange: self._now()[exchange]}
        with self.trader() as trader:
            self._wait(lambda: self._knows_the_balances(trader), RESET_SEC, "a reset was not noticed")
        self._leader_trades()
        if self._chance.random() < 0.3:
            self.kill_engine()
            self.start_engine()
        self._leader_trades()

    def _knows_the_balances(self, trader: RemoteCopyTrader) -> bool:
        """Whether the engine shows of everybody what the exchanges know."""
        accounts, status = self._truth()["accounts"], trader.status()
        shown = {
            name: follower.balances
            for name, id in self._ids.items()
            for follower in status.followers
            if follower.id == id
        }
        shown["leader"] = status.leader.balances if status.leader is not None else ()
        return self._healthy(status) and all(
            Decimal(accounts[name]["balances"].get(balance.asset, {}).get("free", "0")) == balance.free
            for name, balances in shown.items()
            for balance in balances
            if balance.asset in ("BTC", "USDT")
        )

    # --- what happens ---

    def _leader_trades(self) -> None:
        """A few market orders of the leader: alone, or in a burst some milliseconds apart."""
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            self._market_order("leader", share=Decimal(self._chance.randrange(1, 35)) / 100)
            self.done["leader orders"] += 1
            self._pause(0.004, 0.05)

    def _market_order(self, account: str, *, share: Decimal, client_order_id: str = "") -> None:
        balances = self._truth()["accounts"][account]["balances"]
        quote, base = (Decimal(balances.get(asset, {}).get("free", "0")) for asset in ("USDT", "BTC"))
        order: dict[str, Any] = {
            "account": account,
            **({"client_order_id": client_order_id} if client_order_id else {}),
        }
        # Towards what it has more of, so that neither runs out.
        if self._chance.random() < (Decimal("0.75") if quote > base * 64_000 else Decimal("0.25")):
            order |= {
                "side": "BUY",
                "quote_quantity": format((quote * share).quantize(Decimal("0.01"), ROUND_DOWN), "f"),
            }
        else:
            order |= {"side": "SELL", "quantity": format((base * share).quantize(Decimal("0.00001"), ROUND_DOWN), "f")}
        self._call("/sim/order", order, may_refuse=True)

    def _withdraw(self, account: str, asset: str) -> None:
        free = Decimal(self._truth()["accounts"][account]["balances"].get(asset, {}).get("free", "0"))
        part = Decimal(self._chance.randrange(1, 300)) / 1000
        amount = (free * part).quantize(Decimal("0.00000001"), ROUND_DOWN)
        self._call(
            "/sim/deposit", {"account": account, "asset": asset, "amount": format(-amount, "f")}, may_refuse=True
        )

    def _limit_order(self, account: str) -> None:
        side, price = self._chance.choice((("BUY", "60000"), ("SELL", "70000"), ("BUY", "66000"), ("SELL", "62000")))
        order = self._call(
            "/sim/order",
            {"account": account, "side": side, "quantity": "0.01", "price": price},
            may_refuse=True,
        )
        self._pause(0.0, 0.5)
        if order and order.get("status") in ("NEW", "PARTIALLY_FILLED"):
            self._call("/sim/cancel", {"account": account, "order_id": int(order["order_id"])}, may_refuse=True)

    def _arm_order_fault(self) -> None:
        exchange = self._chance.choice(("binance", "bitget"))
        name, params = self._chance.choice(ORDER_FAULTS[exchange])
        account = f"{exchange}-{self._chance.randrange(1, 4)}" if self._chance.random() < 0.8 else None
        self._arm(name, exchange, account=account, count=1, params=params)

    def _arm(
        self, name: str, exchange: str, *, account: str | None, count: int, params: Mapping[str, Any] = {}
    ) -> None:
        body = {"name": name, "exchange": exchange, "count": count, "params": dict(params)}
        self._call("/sim/faults", {**body, **({"account": account} if account else {})})
        self.done["faults"] += 1

    def _drop(self, how: str, exchange: str, account: str | None) -> None:
        self._call("/sim/drop", {"how": how, "exchange": exchange, **({"account": account} if account else {})})
        self.done["dropped sockets"] += 1

    # --- waiting and looking ---

    def _ready(self) -> None:
        """Bring everything back: the engine runs, nothing is halted, everybody trades, the leader is heard."""
        self._call("/sim/keys", {"account": "leader", "revoked": False})
        for account in self._ids:
            self._call("/sim/keys", {"account": account, "revoked": False, "ip_listed": True, "can_trade": True})
        with self.trader() as trader:
            self._keys_given_back(trader)
            if not trader.status(with_followers=False).running:
                self._patiently(trader.start_copying)
            for copy in trader.list_copies(undecided=True):
                with suppress(CopytradeError):  # asked about in another way, or not to be decided like this
                    if copy.state == "NEEDS_PERSON":
                        self._settle_by_hand(trader, copy)
                    elif self._chance.random() < 0.3:
                        trader.copy_now(copy.id, by="drill")
                        self.done["copied now"] += 1
                    else:
                        trader.leave_copy(copy.id, by="drill")
            self._wait(lambda: self._calm(trader), READY_SEC, "the engine did not become ready")

    def _settle_by_hand(self, trader: RemoteCopyTrader, copy: CopyView) -> None:
        """Do what a person does who looks at the exchange's own pages."""
        name = next(name for name, id in self._ids.items() if id == copy.account_id)
        orders = self._truth()["accounts"][name]["orders"]
        there = [each for each in orders if each["client_order_id"][6:26] == copy.id and Decimal(each["executed_base"])]
        order_id = there[0]["order_id"] if there else ""
        trader.settle_copy(copy.id, executed=bool(there), exchange_order_id=order_id, by="drill")
        self.done["settled by hand"] += 1

    def _calm(self, trader: RemoteCopyTrader) -> bool:
        status = trader.status()
        return not status.unsettled and self._healthy(status)

    def _healthy(self, status: StatusView) -> bool:
        heard = status.leader is not None and status.leader.connected
        active = all(each.state is AccountState.ACTIVE for each in status.followers)
        return heard and active and not status.halts and status.starting is None

    def _keys_given_back(self, trader: RemoteCopyTrader) -> None:
        for account in trader.list_accounts():
            if account.state is not AccountState.ACTIVE:
                self._patiently(partial(self._verified, trader, account.id))

    def _verified(self, trader: RemoteCopyTrader, account_id: str) -> None:
        view = trader.verify_account(account_id)
        if not view.ok:
            raise ConfigError(f"the simulated account is not verified: {view.error}")

    def _settle(self) -> None:
        """Wait until nothing is under way any more."""

        def settled() -> bool:
            try:
                with self.trader() as trader:
                    # Decided first, unsettled after it: an order that is decided in between has open copies.
                    if not self._all_decided(trader) or any(gap.is_open for gap in trader.list_gaps(1)):
                        return False
                    status = trader.status(with_followers=False)
                    return not status.unsettled and status.leader is not None and status.leader.connected
            except EngineNotRunning:
                assert self._engine is not None
                if self._engine.has_ended:
                    raise ConfigError(f"the engine has ended by itself ({self._engine.process.returncode})") from None
                return False

        self._wait(settled, SETTLE_SEC, "it did not settle")

    def _all_decided(self, trader: RemoteCopyTrader) -> bool:
        books = [book_json(book, rows=False) for book in trader.list_events(1000, with_copies=False)]
        orders = self._truth()["accounts"]["leader"]["orders"]
        return all(book_of(order, books) is not None for order in orders if order["type"] == "MARKET")

    def _look(self, this: Round) -> None:
        with self.trader() as trader:
            books = [book_json(book) for book in trader.list_events(200)]
            halts = [
                halt
                for halt in trader.status(with_followers=False).halts
                if halt.kind.startswith(("thread:", "journal"))
            ]
        self._tag = self._tag or next(
            (row["client_order_id"][2:6] for b in books for row in b["copies"] if row["attempts"]), ""
        )
        truth = self._truth()
        requests = call_json(f"{self._admin}/sim/requests")["requests"]
        began = min(this.began_ms.values())
        problems = findings(books, truth, [each for each in requests if each["t_ms"] >= began - 5000], this, self._tag)
        problems += [f"halted: {halt.reason}" for halt in halts]
        self._decisions |= {book["id"]: book["state"] for book in books}
        self._states |= {row["id"]: row["state"] for book in books for row in book["copies"]}
        self.orders, self.copies = Counter(self._decisions.values()), Counter(self._states.values())
        if problems:
            (self._folder / "truth.json").write_text(json.dumps(truth, indent=1))
            (self._folder / "books.json").write_text(dumps_exact(books, indent=1))
        self.found += [f"round {self.rounds}: {problem}" for problem in problems]
        copied = self.orders[LeaderOrderState.COPIED]
        self._console.print(
            f"round {self.rounds} ({self._theme}): {copied} copied orders so far, {len(problems)} findings"
        )

    def look_for_secrets(self) -> None:
        """No key of anybody stands in a file that the engine wrote."""
        keys_of_all = [
            value
            for exchange in ("binance", "bitget")
            for keys in [*self._sims[exchange]["followers"], self._sims[exchange].get("leader") or {}]
            for name, value in keys.items()
            if name in ("api_key", "api_secret", "passphrase")
        ]
        for path in self._folder.rglob("*"):
            if path.is_file() and path.suffix != ".key":
                text = path.read_bytes().decode("latin-1")
                shown = secrets_in(text, keys_of_all)
                self.found += [f"{path.name} holds the secret {each}" for each in shown]
                self.found += [f"{path.name} holds a signature" for _ in signatures_in(text)]

    # --- helpers ---

    def _now(self) -> dict[str, int]:
        return {exchange: market["now_ms"] for exchange, market in self._truth()["markets"].items()}

    def _truth(self) -> dict[str, Any]:
        truth: dict[str, Any] = call_json(f"{self._admin}/sim/truth")
        return truth

    def _call(
        self, path: str, body: Mapping[str, Any] | None, *, method: str | None = None, may_refuse: bool = False
    ) -> dict[str, Any]:
        try:
            return dict(call_json(f"{self._admin}{path}", body, method))
        except urllib.error.HTTPError as error:
            if may_refuse:
                return {}
            raise ConfigError(f"the simulators refuse {path} {dict(body or {})}: {error.read().decode()}") from None

    def _patiently(self, action: Callable[[], Any]) -> None:
        """Do it, again and again while an exchange does not answer, for a minute at most."""
        last: list[CopytradeError] = []

        def done() -> bool:
            try:
                action()
            except CopytradeError as error:
                last[:] = [error]
                return False
            return True

        self._wait(done, READY_SEC, "it could not be done", last)

    def _wait(
        self, condition: Callable[[], bool], seconds: float, what: str, last: list[CopytradeError] | None = None
    ) -> None:
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while time.monotonic() < deadline:
            if condition():
                return
            pause.wait(0.3)
        why = f": {last[0].message}" if last else f": {self._state()}"
        raise ConfigError(f"{what} within {seconds:.0f} s{why}")

    def _state(self) -> str:
        """What stands in the way, for whoever looks into it."""
        try:
            with self.trader() as trader:
                status = trader.status()
                open_rows = [
                    copy
                    for state in ("PLANNED", "SUBMITTING", "ACKED", "UNKNOWN", "NOT_SENT")
                    for copy in trader.list_copies(state=state)
                ]
        except CopytradeError as error:
            return error.message
        rows = [f"{copy.account_name} {copy.state} {copy.reason}" for copy in open_rows]
        accounts = [f"{each.name} {each.state} {each.error}" for each in status.followers if each.state != "ACTIVE"]
        leader = status.leader and (status.leader.connected, status.leader.gap_since, status.leader.error)
        return f"halts {[halt.reason for halt in status.halts]}, leader {leader}, accounts {accounts}, copies {rows}"

    def _pause(self, least: float, most: float) -> None:
        threading.Event().wait(least + (most - least) * self._chance.random())


def _summary(run: Drill) -> Table:
    table = Table(title=f"{run.rounds} rounds", show_header=False)
    for name, count in sorted(run.done.items()):
        table.add_row(name, str(count))
    for state, count in sorted(run.orders.items()):
        table.add_row(f"leader orders {state}", str(count))
    for state, count in sorted(run.copies.items()):
        table.add_row(f"copies {state}", str(count))
    table.add_row("findings", str(len(run.found)))
    return table
