"""`copytrade demo`: simulators, an engine and a scripted leader on this machine; no keys, no exchange, no money."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import ROUND_DOWN, Decimal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..api import TraderApi
from ..codec import dumps_exact
from ..control.server import ControlServer
from ..errors import ConfigError, CopytradeError
from ..settings import Settings
from ..store.vault import Vault
from ..trader import CopyTrader
from ..views import AccountState, LeaderOrderView, book_json
from .audit import audit
from .children import Child, copytrade_command, end_properly_when_told
from .local import ScriptedLeader, call_json, simulators
from .output import book_table, say, show

BOOK_SEC = 60
PAUSE_SEC = 4.0


@click.command()
@click.option("--once", is_flag=True, help="Copy one market buy and one market sell, check every sum, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the closed books as JSON.")
@click.option("--binance-followers", default=2, show_default=True, type=click.IntRange(0, 200))
@click.option("--bitget-followers", default=2, show_default=True, type=click.IntRange(0, 90))
@click.option("--panel-port", default=8080, show_default=True, type=click.IntRange(1, 65_535), help="Of the panel.")
@click.option(
    "--seed", default=None, type=int, help="Of the simulators' untidiness; printed, so that a run can be repeated."
)
def demo(
    once: bool, as_json: bool, binance_followers: int, bitget_followers: int, panel_port: int, seed: int | None
) -> None:
    """Show copies happen on this machine: simulated exchanges over their real wire protocols, no keys needed."""
    end_properly_when_told()
    # With --json standard output carries nothing else.
    console = Console(stderr=as_json, highlight=False)
    seed = seed if seed is not None else secrets.randbelow(10**6)
    with tempfile.TemporaryDirectory(prefix="copytrade-demo-") as folder:
        data_dir = Path(folder)
        with (
            console.status("starting the simulated exchanges"),
            simulators(binance_followers, bitget_followers, seed) as sims,
        ):
            console.print(f"Simulated Binance {sims['binance']['rest']}", end="")
            console.print(f" and Bitget {sims['bitget']['rest']}" if sims.get("bitget") else "", end="")
            console.print(f" (seed {seed}); nothing here is real.")
            with _engine(data_dir, sims, console) as trader:
                leader = ScriptedLeader(sims)
                if once:
                    problems = _once(trader, leader, sims, console, as_json)
                    if problems:
                        raise SystemExit(1)
                else:
                    with _panel(data_dir, panel_port, console):
                        _go_on(trader, leader, data_dir, console, random.Random(seed))


@contextmanager
def _engine(data_dir: Path, sims: Mapping[str, Any], console: Console) -> Iterator[TraderApi]:
    """Run an engine with the simulated leader and followers, copying."""
    endpoints = json.loads(Path(sims["endpoints_file"]).read_text())
    settings = Settings(data_dir=data_dir, endpoints=endpoints)
    master_key = secrets.token_bytes(32)  # lives as long as the demo's data
    Vault.create(settings.vault_path, master_key)
    with CopyTrader.open(settings=settings, master_key=master_key) as trader:
        trader.start()
        server = ControlServer(trader, data_dir)
        server.start()
        try:
            with console.status("adding the accounts"):
                add_accounts(trader, sims)
            yield trader
        finally:
            server.stop()


@contextmanager
def _panel(data_dir: Path, port: int, console: Console) -> Iterator[None]:
    """Serve the panel of another package beside the demo, where one is installed."""
    if not entry_points(group="copytrade.commands", name="panel"):
        console.print("No panel is installed (copytrade-webapp); the closed books are printed here.")
        yield
        return
    command = copytrade_command(
        "panel", "--json", "--login-link", "--bind", f"127.0.0.1:{_free_port(port)}", data_dir=data_dir
    )
    with console.status("starting the panel"):
        child = Child("panel", command)
        try:
            told = child.ready()
        except ConfigError as error:
            console.print(f"{error.message}; the closed books are printed here.")
            yield
            return
    try:
        console.print(f"The panel is at [bold]{told['url']}[/bold]; open this link to log in (it works once):")
        # Not wrapped, so that a terminal recognises it whole.
        console.print(f"  {told['login']}", soft_wrap=True)
        yield
    finally:
        child.end(20)


def _free_port(wanted: int) -> int:
    """Return *wanted*, or another port where somebody listens there already."""
    for port in (wanted, 0):
        with socket.socket() as trial, suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
            return int(trial.getsockname()[1])
    return wanted


def add_accounts(trader: TraderApi, sims: Mapping[str, Any]) -> None:
    for exchange in ("binance", "bitget"):
        part = sims.get(exchange) or {"followers": []}
        for number, keys in enumerate(part["followers"], 1):
            fields = {name: value for name, value in keys.items() if name != "mode"}
            mode = f" {keys['mode']}" if "mode" in keys else ""
            view = trader.add_account(f"{exchange.capitalize()}{mode} {number}", exchange, part["env"], fields)
            if view.state is not AccountState.ACTIVE:
                raise ConfigError(f"the simulated account {view.name} was not accepted: {view.error}")
    part = sims["binance"]
    leader = trader.set_leader("binance", part["env"], dict(part["leader"]))
    if not leader.connected:
        raise ConfigError(f"the simulated leader is not heard: {leader.error}")
    trader.start_copying()


def _once(
    trader: TraderApi, leader: ScriptedLeader, sims: Mapping[str, Any], console: Console, as_json: bool
) -> Sequence[str]:
    """Copy a buy and a sell, print their books, and return what an independent reckoning finds wrong."""
    books: list[LeaderOrderView] = []
    with console.status("the leader buys for 12.5 % of its USDT"):
        amount = (leader.free("USDT") / 8).quantize(Decimal("0.01"), rounding=ROUND_DOWN)
        books.append(_closed(trader, leader.buy(amount)))
    with console.status("the leader sells a third of its BTC"):
        amount = (leader.free("BTC") / 3).quantize(Decimal("0.00001"), rounding=ROUND_DOWN)
        books.append(_closed(trader, leader.sell(amount)))
    shapes = [book_json(book) for book in books]
    problems = audit(shapes, call_json(f"{sims['admin']}/sim/truth"))
    if as_json:
        click.echo(dumps_exact(shapes, indent=2))
    else:
        for book in books:
            say()
            show(book_table(book))
        say()
    for problem in problems:
        console.print(f"[red]wrong:[/red] {problem}")
    if not problems:
        rows = sum(len(book.copies) for book in books)
        console.print(f"[green]Every sum is right:[/green] {rows} copies recomputed from the exchanges' own books.")
    return problems


def _go_on(trader: TraderApi, leader: ScriptedLeader, data_dir: Path, console: Console, chance: random.Random) -> None:
    console.print("The leader trades every few seconds; Ctrl-C ends the demo. In another terminal:")
    console.print(f"  {os.path.relpath(sys.argv[0])} --data-dir {data_dir} status")
    turns = 0
    try:
        while True:
            turns += 1
            if turns % 2:
                share = Decimal(chance.randrange(5, 30)) / 100
                amount = (leader.free("USDT") * share).quantize(Decimal("0.01"), rounding=ROUND_DOWN)
                order_id = leader.buy(amount)
            else:
                share = Decimal(chance.randrange(5, 40)) / 100
                amount = (leader.free("BTC") * share).quantize(Decimal("0.00001"), rounding=ROUND_DOWN)
                order_id = leader.sell(amount)
            say()
            show(book_table(_closed(trader, order_id)))
            time.sleep(PAUSE_SEC)
    except KeyboardInterrupt:
        console.print("The demo has ended; its data is gone.")


def _closed(trader: TraderApi, order_id: str) -> LeaderOrderView:
    """Wait for the closed book of a leader order, all rows final."""
    done = threading.Event()
    end = trader.subscribe(lambda event: done.set() if event.kind in ("copy", "leader_order", "alarm") else None)
    try:
        deadline = time.monotonic() + BOOK_SEC
        while time.monotonic() < deadline:
            done.clear()
            for book in trader.list_events(limit=10):
                if book.order_id == order_id and all(copy.state.is_final for copy in book.copies):
                    return book
            done.wait(1)
    finally:
        end()
    raise CopytradeError(f"the copies of the leader's order {order_id} did not end within {BOOK_SEC} s")
