"""Followers that each meet one fault with the same leader order, and a checker that holds the journal to the truth.

All cases of a stage share one engine and one run, so that waiting for a fence costs once and not once a case.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from copytrade_core import CopyTrader, book_json
from copytrade_core.cli.audit import audit
from copytrade_core.redaction import install_logging, redactor
from copytrade_core.sim import RunningSimulators, running_simulators
from copytrade_core.views import AccountState, CopyState, CopyView, LeaderOrderState
from memory_exchange import until
from sim_engine import engine_on

PLACING = ("order.place", "place-order")
BINANCE, CLASSIC, UNIFIED = "binance", "classic", "unified"
SIGNATURE = re.compile(rb"(?i)(?:\bsignature|access-sign)[\"']?\s*[=:]\s*[\"']?[0-9A-Za-z+/%]{40,}")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One follower, what its exchange does to its order, and what must become of the copy."""

    name: str
    on: str
    faults: tuple[tuple[str, dict[str, Any]], ...]
    state: CopyState
    kind: str = ""
    was_unknown: bool = False
    attempts: int = 1
    account: AccountState = AccountState.ACTIVE
    is_lost: bool = False  # nothing was executed although nobody could find that out

    @property
    def id(self) -> str:
        return f"{self.on}: {self.name}"

    @property
    def exchange(self) -> str:
        return BINANCE if self.on == BINANCE else "bitget"

    @property
    def order_executed(self) -> bool:
        ended_as = (CopyState.FILLED, CopyState.PARTLY_FILLED, CopyState.NEEDS_PERSON)
        return self.state in ended_as and not self.is_lost


@dataclass
class Stage:
    """Running simulators and an engine, one follower a case; a follower's name is its account's id in the truth."""

    sims: RunningSimulators
    trader: CopyTrader
    data_dir: Path
    secrets: list[str] = field(default_factory=list)
    unclaimed: list[str] = field(default_factory=list)
    is_audited: bool = True  # False where the test changes what the auditor takes for granted: steps, balances

    def add(self, name: str, on: str) -> None:
        """Open an account at the simulated exchange and add it to the engine."""
        exchange = BINANCE if on == BINANCE else "bitget"

        def open_account() -> dict[str, str]:
            simulator = self.sims.simulators[exchange]
            options = {} if on == BINANCE else {"mode": on}
            return simulator.add_credentials(simulator.open_account(name, "follower", **options))

        fields = self.sims.call(open_account)
        fields.pop("mode", None)
        self.secrets += [fields["api_secret"], *([fields["passphrase"]] if "passphrase" in fields else [])]
        view = self.trader.add_account(name, exchange, self.sims[exchange]["env"], fields)
        assert view.state is AccountState.ACTIVE, view.error

    def lead(self) -> None:
        """Set the leader and start copying."""
        keys = dict(self.sims[BINANCE]["leader"])
        self.secrets.append(keys["api_secret"])
        view = self.trader.set_leader(BINANCE, self.sims[BINANCE]["env"], keys)
        assert view.connected, view.error
        assert self.trader.start_copying()
        until(lambda: all(follower.pushed for follower in self.trader.list_accounts()), 20)

    def buy(self, part: str = "0.237") -> str:
        """Have the leader spend *part* of its money; return the order's id."""
        quote = Decimal(part) * Decimal(self.sims.truth("leader")["balances"]["USDT"]["free"])
        return self._place(side="BUY", quote=quote.quantize(Decimal("0.01")))

    def sell(self, part: str = "0.31") -> str:
        quantity = Decimal(part) * Decimal(self.sims.truth("leader")["balances"]["BTC"]["free"])
        return self._place(side="SELL", quantity=quantity.quantize(Decimal("0.00001")))

    def _place(self, **ticket: Any) -> str:
        return str(self.sims.place("leader", **ticket)["order_id"])

    def rows(self, order_id: str) -> dict[str, CopyView]:
        """Return the newest row of each follower for a leader order, by the follower's name; empty: no book yet."""
        for book in self.trader.list_events():
            if book.order_id == order_id:
                assert book.state is LeaderOrderState.COPIED, book.reason
                return {copy.account_name: copy for copy in book.copies}
        return {}

    def settled(self, order_id: str, timeout_sec: float) -> dict[str, CopyView]:
        """Return the rows of a leader order once none is on its way any more."""

        def look() -> dict[str, CopyView]:
            rows = self.rows(order_id)
            done = all(row.state.is_final or row.state is CopyState.NEEDS_PERSON for row in rows.values())
            return rows if done else {}

        return until(look, timeout_sec)

    def row(self, order_id: str, name: str, state: CopyState, timeout_sec: float = 20) -> CopyView:
        """Return a follower's row once it is in *state*."""

        def look() -> CopyView | None:
            row = self.rows(order_id).get(name)
            return row if row is not None and row.state is state else None

        return until(look, timeout_sec)

    def copy(self, copy_id: str, state: CopyState, timeout_sec: float = 20) -> CopyView:
        """Return one copy once it is in *state*."""

        def look() -> CopyView | None:
            wanted = (copy_id, state)
            return next((row for row in self.trader.list_copies(limit=1000) if (row.id, row.state) == wanted), None)

        return until(look, timeout_sec)

    def account(self, name: str) -> Any:
        return next(account for account in self.trader.list_accounts() if account.name == name)

    def opened(self, exchange: str) -> Any:
        """Return an exchange as the engine has it open."""
        return next(one for one in self.trader._exchanges.all() if one.id == exchange)

    def orders_seen(self, name: str | None = None) -> list[str]:
        """Return the client ids of the orders that an exchange was asked to place, in the order of their coming."""
        return [
            seen.client_order_id
            for seen in self.sims.call(lambda: list(self.sims.world.requests))
            if seen.name.endswith(PLACING) and name in (None, seen.account)
        ]

    def order_times(self, name: str) -> list[int]:
        """Return when (exchange time, ms) a follower's orders were seen."""
        return [
            seen.t_ms
            for seen in self.sims.call(lambda: list(self.sims.world.requests))
            if seen.name.endswith(PLACING) and seen.account == name
        ]

    def requests_between(self, exchange: str, first_ms: int, last_ms: int) -> list[str]:
        """Return the requests that an exchange saw in a span of its time."""
        return [
            f"{seen.name} of {seen.account}"
            for seen in self.sims.call(lambda: list(self.sims.world.requests))
            if seen.exchange == exchange and first_ms < seen.t_ms < last_ms
        ]

    def move(self, name: str, asset: str, amount: Decimal) -> None:
        """Deposit to an account, or withdraw a negative amount."""
        account = self.sims.world.accounts[name]
        self.sims.call(lambda: self.sims.world.markets[account.exchange].deposit(account, asset, amount))

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which nothing is supposed to happen."""
        threading.Event().wait(seconds)

    def query(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Read the journal as it is on disk."""
        with closing(sqlite3.connect(f"file:{self.data_dir / 'journal.db'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return list(connection.execute(statement, values))

    def evidence(self, copy_id: str) -> list[str]:
        return [row["kind"] for row in self.query("select kind from evidence where copy_id = ? order by id", copy_id)]

    def alarms(self) -> list[str]:
        return [event.text for event in self.trader.list_feed(limit=1000) if event.kind == "alarm"]

    def balances_agree(self, timeout_sec: float = 15) -> None:
        """Wait until the engine's balances of every follower that is not disabled are the exchange's."""

        def differing() -> list[str]:
            found = []
            for account in self.trader.list_accounts():
                true = self.sims.truth(account.name)["balances"]
                known = {balance.asset: balance.free for balance in account.balances}
                if account.state is not AccountState.DISABLED and any(
                    known.get(asset) != Decimal(true[asset]["free"]) for asset in ("BTC", "USDT")
                ):
                    found.append(f"{account.name}: {known} is known, {true} is true")
            return found

        try:
            until(lambda: not differing(), timeout_sec)
        except AssertionError:
            raise AssertionError("\n".join(differing())) from None

    def watch_claims(self) -> None:
        """From now on look into the journal on disk whenever an exchange sees an order: its row must be there."""
        world, saw = self.sims.world, self.sims.world.saw

        def look_first(exchange: str, account: str, name: str, client_order_id: str = "", status: int = 0) -> None:
            if name.endswith(PLACING) and account:
                found = self.query("select 1 from attempts where client_order_id = ?", client_order_id)
                if not found:
                    self.unclaimed.append(client_order_id)
            saw(exchange, account, name, client_order_id, status)

        world.saw = look_first  # type: ignore[method-assign]

    def problems(self, log: str = "") -> list[str]:
        """Hold the journal against what the exchanges did; return what is wrong, in sentences."""
        truth = self.sims.call(self.sims.world.truth)
        followers = {name: one for name, one in truth["accounts"].items() if one["role"] == "follower"}
        books = [book_json(book) for book in self.trader.list_events(limit=1000)]
        return [
            *(f"I5: {client_id} was seen by the exchange before it was claimed" for client_id in self.unclaimed),
            *self._executed_once(followers),
            *_nothing_lost(truth, books, followers),
            *(_sums(truth, books) if self.is_audited else ()),
            *self._evidence_kept(),
            *self._secrets_shown(log),
        ]

    def _executed_once(self, followers: Mapping[str, Any]) -> list[str]:
        problems = []
        seen = Counter(client_id for client_id in self.orders_seen() if client_id)
        problems += [f"I1: {client_id} was sent {times} times" for client_id, times in seen.items() if times > 1]
        attempts = {
            row["client_order_id"]: row
            for row in self.query(
                "select a.client_order_id, c.leader_order_id, c.account_name, c.state, c.id from attempts a "
                "join copies c on c.id = a.copy_id"
            )
        }
        executed: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for name, account in followers.items():
            for order in account["orders"]:
                attempt = attempts.get(order["client_order_id"])
                if attempt is None:
                    problems.append(
                        f"I2: {name} executed {order['client_order_id']}, of which the journal knows nothing"
                    )
                    continue
                if attempt["account_name"] != name:
                    problems.append(f"I4: {name} executed an order of {attempt['account_name']}")
                executed[attempt["leader_order_id"], name].append(attempt["id"])
                if attempt["state"] not in ("FILLED", "PARTLY_FILLED", "NEEDS_PERSON"):
                    problems.append(f"I2: {name} executed {order['client_order_id']}, its copy is {attempt['state']}")
        problems += [
            f"I1: {name} executed {len(copies)} orders for one of the leader's"
            for (_, name), copies in executed.items()
            if len(copies) > 1
        ]
        return problems

    def _evidence_kept(self) -> list[str]:
        bare = self.query(
            "select c.account_name, c.state, a.outcome from copies c join attempts a on a.copy_id = c.id where "
            "(a.outcome = 'unknown' or c.state in ('UNKNOWN', 'NEEDS_PERSON') or c.reason_kind = 'never_arrived') "
            "and not exists (select 1 from evidence e where e.copy_id = c.id)"
        )
        return [f"I7: {row['account_name']} is {row['state']} ({row['outcome']}) without evidence" for row in bare]

    def _secrets_shown(self, log: str) -> list[str]:
        written = {path.name: path.read_bytes() for path in sorted(self.data_dir.glob("journal.db*"))}
        written["the log"] = log.encode()
        written["the feed"] = json.dumps([event.text + str(event.data) for event in self.trader.list_feed()]).encode()
        problems = [
            f"I6: a secret stands in {where}"
            for where, text in written.items()
            for secret in self.secrets
            if secret.encode() in text
        ]
        return problems + [
            f"I6: a signature stands in {where}" for where, text in written.items() if SIGNATURE.search(text)
        ]


def _nothing_lost(truth: Mapping[str, Any], books: Iterable[Any], followers: Mapping[str, Any]) -> list[str]:
    placed = [order["order_id"] for order in truth["accounts"]["leader"]["orders"] if order["type"] == "MARKET"]
    by_order = {book["order_id"]: book for book in books}
    problems = [f"I2: the leader's order {order} has no book" for order in placed if order not in by_order]
    for book in by_order.values():
        if book["state"] == "COPIED" and (missing := set(followers) - {row["account"] for row in book["copies"]}):
            problems.append(f"I2: the book of {book['order_id']} has no row for {sorted(missing)}")
    return problems


def _sums(truth: Mapping[str, Any], books: Iterable[Any]) -> list[str]:
    """Audit the rows that were executed: each book against a truth of just its own orders."""
    problems = []
    for book in books:
        rows = {row["client_order_id"]: row for row in book["copies"] if row["state"] in ("FILLED", "PARTLY_FILLED")}
        if book["state"] != "COPIED" or not rows:
            continue
        accounts = {}
        for name, account in truth["accounts"].items():
            if account["role"] == "leader":
                mine = [order for order in account["orders"] if order["order_id"] == book["order_id"]]
            else:
                mine = [order for order in account["orders"] if order["client_order_id"] in rows]
            if mine:
                accounts[name] = {**account, "orders": mine}
        executed = {**book, "copies": list(rows.values())}
        problems += [f"I3: {problem}" for problem in audit([executed], {"accounts": accounts})]
    return problems


@contextmanager
def stage(
    data_dir: Path,
    cases: Iterable[Case] = (),
    *,
    followers: Iterable[tuple[str, str]] = (),
    seed: int = 1,
    is_audited: bool = True,
    **settings: Any,
) -> Iterator[Stage]:
    """Run simulators and an engine with *followers* (name, kind), and one for each of *cases*; nothing is armed."""
    with running_simulators(seed=seed) as sims, engine_on(sims, data_dir, **settings) as trader:
        built = Stage(sims, trader, data_dir, is_audited=is_audited)
        built.watch_claims()
        for name, on in (*followers, *((case.name, case.on) for case in cases)):
            built.add(name, on)
        built.lead()
        yield built


def arm(on: Stage, cases: Iterable[Case]) -> None:
    """Arm every case's faults for its own account."""
    for case in cases:
        for name, options in case.faults:
            on.sims.arm(name, exchange=case.exchange, account=case.name, **options)


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Log everything as the programs do, at DEBUG, into a text; what is global is put back."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    text = io.StringIO()
    install_logging("DEBUG", text)
    try:
        yield text
    finally:
        for handler in root.handlers[:]:
            handler.removeFilter(redactor)
        root.handlers[:], level, sys.excepthook, threading.excepthook = kept
        root.setLevel(level)
        logging.captureWarnings(False)
