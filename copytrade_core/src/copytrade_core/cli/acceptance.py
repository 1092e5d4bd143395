"""``copytrade acceptance``: walk an owner through accepting a running system on the exchanges' test systems."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import ROUND_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import click

from ..api import TraderApi
from ..clock import Clock, wall_text
from ..errors import CopytradeError, OutcomeUnknown
from ..model import AccountId, Environment, Side
from ..redaction import redactor
from ..views import (
    AccountState,
    AccountView,
    LeaderOrderState,
    LeaderOrderView,
    LeaderView,
    VerifyView,
    book_json,
    plain_fraction,
)
from .acceptance_checks import Point, balance_problems, book_problems, latency_point, points_json, report
from .credentials import ask_credentials, find_exchange, read_fields
from .leader_orders import EXCHANGE, ORIGINS, LeaderOrders
from .output import amount, bad, book_table, good, print_json, say, show, warn
from .session import Command, Failure, InputError, Session, as_json, confirm, make_sure, pass_session

LEAST_QUOTE = Decimal(12)  # an order of each follower: above the minimum of both exchanges
LEAST_SHARE = Decimal("0.01")
MOST_SHARE = Decimal("0.5")
BOOK_SEC = 90
BY_HAND_SEC = 900
BALANCE_SEC = 15.0
STOP_LIMIT_MS = 1000
SENT_LIMIT_MS = 1000
INSTEAD = "give the leader's key with --leader-file, or place its orders yourself with --by-hand"


@click.command(cls=Command)
@click.option(
    "--leader-file",
    type=click.File(encoding="utf-8"),
    help="The leader's api_key and api_secret as JSON (-: standard input).",
)
@click.option("--by-hand", is_flag=True, help="Place the leader's orders yourself, when asked to.")
@click.option("--yes", is_flag=True, help="Do not ask before orders are placed.")
@click.option(
    "--report", "report_file", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the report."
)
@as_json
@pass_session
def acceptance(
    session: Session, leader_file: IO[str] | None, by_hand: bool, yes: bool, report_file: Path | None, as_json: bool
) -> None:
    """Accept a running engine on test networks: four small orders of the leader, every copy of them checked.

    Never on production accounts. Tries start, stop and pause, a buy and a sale, on every exchange, and writes a report.
    The engine gives no key out: the leader's is typed, or read from a file, and forgotten. Exit code 0 only if
    every point passed.
    """
    if leader_file is not None and by_hand:
        raise InputError("--leader-file and --by-hand exclude each other")
    if as_json and not (yes and leader_file is not None):
        raise InputError("--json asks nothing: it needs --yes and --leader-file")
    engine = session.engine
    leader, accounts = _test_systems(engine)
    orders = None if by_hand else _leader_orders(session, leader, leader_file, asks=not yes)
    where = ", ".join(sorted({_where(leader), *map(_where, accounts)}))
    if not yes:
        make_sure(f"Four small market orders follow, and their copies, on {where}. Go on?", "say --yes")
    written = wall_text(Clock().wall_ms())
    target = report_file or Path(f"acceptance-{written[:19].replace(':', '').replace('-', '')}Z.md")
    walk = Walk(engine, session, orders, quiet=as_json)
    descriptor = _create(target)  # before the first order: afterwards is too late to find out
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        try:
            walk.run(leader)
        finally:
            points, books = walk.points, walk.books
            file.write(report(written, str(session.settings.symbol), accounts, points, books) + "\n")
    passed = all(point.passed for point in points)
    if as_json:
        shown = {"passed": passed, "points": points_json(points), "orders": [book_json(book) for book in books]}
        print_json({**shown, "report": str(target)})
    else:
        say()
        say(f"{good('PASSED') if passed else bad('NOT PASSED')}; the report is in {target}")
    if not passed:
        raise click.exceptions.Exit(1)


class Walk:
    """The points one after the other. Copying and pauses are put back at the end to what they were."""

    def __init__(self, engine: TraderApi, session: Session, orders: LeaderOrders | None, *, quiet: bool) -> None:
        """:param orders: places the leader's orders; None: a person does."""
        self._engine = engine
        self._base, self._quote = session.base, session.quote
        self._orders = orders
        self._base_step = Decimal("0.00001") if orders is None else orders.base_step()
        self._quiet = quiet
        self._checks: dict[str, VerifyView] = {}
        self.points: list[Point] = []
        self.books: list[LeaderOrderView] = []

    def run(self, leader: LeaderView) -> None:
        """Try everything; what goes wrong is a point that did not pass."""
        status = self._engine.status()
        halts = ", ".join(halt.reason for halt in status.halts)
        self._point("Engine · 引擎", not halts, f"halted: {halts}" if halts else f"runs since {status.engine_since}")
        heard = leader.error or f"{leader.exchange} {leader.env}, {leader.connections} connections"
        self._point("Leader heard · 主账户", leader.connected, heard)
        followers = self._followers()
        if halts or not leader.connected or not followers:
            return
        paused = followers[-1]
        try:
            self._stopped(followers)
            bought = self._copied(Side.BUY, followers)
            if bought is not None:
                self._copied(Side.SELL, followers)
            self._paused(paused, followers)
            self._books(followers)
            self.points.append(latency_point(self.books, SENT_LIMIT_MS))
            self._tell(self.points[-1])
        except CopytradeError as error:
            self._point("The walk · 流程", False, error.message)
        finally:
            self._engine.resume_account(paused.id)
            (self._engine.start_copying if status.running else self._engine.stop_copying)()

    # --- the points ---

    def _followers(self) -> list[AccountView]:
        """Verify every account; return those that take part."""
        for account in self._engine.list_accounts():
            found = self._checks[account.id] = self._engine.verify_account(account.id)
            seen = f"{account.exchange} {account.env}: {found.error}"
            if found.ok:
                free = f"{amount(found.free_quote)} {self._quote}, {amount(found.free_base)} {self._base} free"
                seen = ", ".join(
                    (f"{account.exchange} {account.env}: {free}", *(warning.text for warning in found.warnings))
                )
            self._point(f"Key of {account.name} · 密钥", found.ok, seen)
        active = [each for each in self._engine.list_accounts() if each.state is AccountState.ACTIVE]
        for exchange in self._engine.list_exchanges():
            names = ", ".join(each.name for each in active if each.exchange == exchange.id)
            self._point(f"Followers on {exchange.name} · 跟单账户", bool(names), names or "none is active")
        return active

    def _stopped(self, followers: Sequence[AccountView]) -> None:
        began = time.monotonic_ns()
        running = self._engine.stop_copying()
        took_ms = (time.monotonic_ns() - began) // 1_000_000
        self._point("Stop · 停止", not running and took_ms <= STOP_LIMIT_MS, f"done after {took_ms} ms")
        book = self._trade(Side.BUY, followers)
        ignored = book is not None and book.state is LeaderOrderState.IGNORED and not book.copies
        self._point("Nothing is copied while stopped · 停止期间不跟单", ignored, _told(book))
        running = self._engine.start_copying()
        self._point("Start · 开始", running and self._engine.status().running, "running")

    def _copied(self, side: Side, followers: Sequence[AccountView]) -> LeaderOrderView | None:
        before = {each.id: self._engine.verify_account(each.id) for each in followers}
        book = self._trade(side, followers)
        name = "Buy · 买入" if side is Side.BUY else "Sell · 卖出"
        if book is None:
            self._point(f"{name} copied", False, _told(None))
            return None
        for exchange in dict.fromkeys(each.exchange for each in followers):
            ids = [each.id for each in followers if each.exchange == exchange]
            problems = book_problems(book, ids)
            self._point(f"{name} copied on {exchange}", not problems, "; ".join(problems) or _told(book))
        problems = self._balances(book, before)
        detail = "; ".join(problems) or f"{len(before)} balances at the exchanges fell by exactly the fills"
        self._point(f"{name}: balances · 余额", not problems, detail)
        return book

    def _balances(self, book: LeaderOrderView, before: Mapping[AccountId, VerifyView]) -> list[str]:
        """Ask the exchanges what each follower has now; they may need a moment after the last fill."""
        problems: dict[AccountId, list[str]] = {each: ["not asked yet"] for each in before}
        end = time.monotonic() + BALANCE_SEC
        while any(problems.values()) and time.monotonic() < end:
            for account_id in [each for each, found in problems.items() if found]:
                after = self._engine.verify_account(account_id)
                problems[account_id] = balance_problems(book, before[account_id], after, account_id)
            if any(problems.values()):
                threading.Event().wait(1)
        return [problem for found in problems.values() for problem in found]

    def _paused(self, paused: AccountView, followers: Sequence[AccountView]) -> None:
        state = self._engine.pause_account(paused.id).state
        self._point("Pause · 暂停", state is AccountState.PAUSED, f"{paused.name} is {state}")
        others = [each for each in followers if each.id != paused.id]
        book = self._trade(Side.BUY, others or followers)
        ids = [each.id for each in others]
        problems = ["no closed book"] if book is None else book_problems(book, ids, [paused.id])
        self._point("A paused account is left out · 暂停账户不跟单", not problems, "; ".join(problems) or _told(book))
        state = self._engine.resume_account(paused.id).state
        self._point("Resume · 恢复", state is AccountState.ACTIVE, f"{paused.name} is {state}")

    def _books(self, followers: Collection[AccountView]) -> None:
        """Read every order and copy back, each in the other way than before."""
        problems = []
        for book in self.books:
            again = self._engine.get_event(book.id)
            if (again.share, again.copies) != (book.share, book.copies):
                problems.append(f"order {book.order_id} reads differently now")
        shown = {copy.id: copy for book in self.books for copy in book.copies}
        for account in followers:
            found = {copy.id: copy for copy in self._engine.list_copies(account.id)}
            mine = [copy for copy in shown.values() if copy.account_id == account.id]
            problems += [f"{account.name}: copy {copy.id} differs" for copy in mine if found.get(copy.id) != copy]
        # The simulators and the exchanges number the orders of one exchange, not of all together.
        sent = [copy for copy in shown.values() if copy.exchange_order_id]
        numbers = [(copy.exchange, copy.exchange_order_id) for copy in sent]
        if len(numbers) != len(set(numbers)):
            problems.append("one order of an exchange stands in two rows")
        detail = "; ".join(problems) or f"{len(self.books)} orders and {len(shown)} copies, read back alike"
        self._point("Closed books · 账本", not problems and bool(self.books), detail)

    # --- the leader's orders ---

    def _trade(self, side: Side, followers: Sequence[AccountView]) -> LeaderOrderView | None:
        """Have the leader place one order; return its closed book, all rows final, or None if none came."""
        size = self._size(side, followers)
        after = max((int(book.id) for book in self._engine.list_events(limit=1)), default=0)
        if self._orders is None:
            unit = self._quote if side is Side.BUY else self._base
            say(f"Now place, as the leader: a market {side} of about {amount(size)} {unit}. Waiting for it ...")
            book = self._wait(lambda each: int(each.id) > after and each.side is side, BY_HAND_SEC)
        else:
            client_order_id = f"acceptance-{secrets.token_hex(8)}"
            try:
                (self._orders.buy if side is Side.BUY else self._orders.sell)(size, client_order_id)
            except OutcomeUnknown as error:
                # It may have been placed; nothing is sent again, and the engine will hear of it if it was.
                warn(error.message)
            book = self._wait(lambda each: each.client_order_id == client_order_id, BOOK_SEC)
        if book is not None:
            self.books.append(book)
            if not self._quiet:
                show(book_table(book))
        return book

    def _size(self, side: Side, followers: Sequence[AccountView]) -> Decimal:
        """Return a small amount whose share is enough for the poorest follower's minimum."""
        leader = self._engine.get_leader()
        asset = self._quote if side is Side.BUY else self._base
        balances = leader.balances if leader is not None else ()
        free = next((each.free for each in balances if each.asset == asset), Decimal(0))
        least, unit = LEAST_QUOTE, Decimal("0.01")
        if side is Side.SELL:
            traded = next(book for book in reversed(self.books) if book.filled_base)
            least = LEAST_QUOTE * traded.filled_base / traded.filled_quote
            unit = self._base_step
        names = {each.name: self._engine.get_account(each.id).balance(asset) for each in followers}
        poorest = min((balance.free if balance else Decimal(0) for balance in names.values()), default=Decimal(0))
        if min(free, poorest) * MOST_SHARE < least:
            raise CopytradeError(f"leader and followers each need at least {amount(least / MOST_SHARE)} free {asset}")
        share = max(Fraction(LEAST_SHARE), Fraction(least) / Fraction(free), Fraction(least) / Fraction(poorest))
        steps = plain_fraction(share * Fraction(free) / Fraction(unit), 8).to_integral_value(ROUND_UP)
        return steps * unit

    def _wait(self, is_it: Callable[[LeaderOrderView], bool], timeout_sec: float) -> LeaderOrderView | None:
        changed = threading.Event()
        end = self._engine.subscribe(lambda _: changed.set())
        try:
            deadline = time.monotonic() + timeout_sec
            while time.monotonic() < deadline:
                changed.clear()
                for book in self._engine.list_events(limit=20):
                    if is_it(book) and all(copy.state.is_final for copy in book.copies):
                        return book
                changed.wait(1)
        finally:
            end()
        return None

    def _point(self, name: str, passed: bool, detail: str) -> None:
        self.points.append(Point(name=name, passed=passed, detail=detail))
        self._tell(self.points[-1])

    def _tell(self, point: Point) -> None:
        if not self._quiet:
            say(f"{good('✓') if point.passed else bad('✗')} {point.name}: {point.detail}")


def _test_systems(engine: TraderApi) -> tuple[LeaderView, list[AccountView]]:
    """Return leader and accounts. :raises Failure: one of them trades real money, or there is no leader."""
    leader, accounts = engine.get_leader(), engine.list_accounts()
    if leader is None:
        raise Failure("no leader is set; set one with `copytrade leader set`")
    real = [each.name for each in accounts if each.env is Environment.PROD]
    if leader.env is Environment.PROD or real:
        names = ", ".join((["the leader"] if leader.env is Environment.PROD else []) + real)
        raise Failure(f"this places orders and is for test systems only; on production: {names}")
    return leader, accounts


def _leader_orders(session: Session, leader: LeaderView, file: IO[str] | None, *, asks: bool) -> LeaderOrders | None:
    """Return what places the leader's orders, or None where the owner does it. :raises InputError: another's key."""
    question = "Shall this command place the leader's orders? It asks for the leader's key. (No: you place them.)"
    if file is None and asks and not confirm(question, INSTEAD):
        return None
    if leader.exchange != EXCHANGE:
        raise InputError(f"orders on {leader.exchange} cannot be placed from here; use --by-hand")
    if file is not None:
        fields: dict[str, str] = read_fields(file)
    else:
        fields = ask_credentials(find_exchange(session.engine.list_exchanges(), leader.exchange), INSTEAD)
    if not fields.get("api_key") or not fields.get("api_secret"):
        raise InputError("the leader's api_key and api_secret are needed")
    redactor.register(fields["api_secret"])
    endpoints: Mapping[str, Any] = session.settings.endpoints_for(EXCHANGE, leader.env)
    origin = endpoints.get("rest") or ORIGINS[leader.env]
    orders = LeaderOrders(origin, session.settings.symbol, fields["api_key"], fields["api_secret"])
    if orders.uid() != leader.uid:
        raise InputError("this key is not of the account that the engine listens to; nothing was placed")
    return orders


def _where(each: AccountView | LeaderView) -> str:
    return f"{each.exchange} {each.env.value}"


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise InputError(f"the report {path} cannot be written: {error.strerror}") from None


def _told(book: LeaderOrderView | None) -> str:
    if book is None:
        return "the leader's order did not arrive, or its copies did not end in time"
    counts = book.counts()
    done = f", {counts['ok']} of {counts['fanout']} copies done" if book.copies else ""
    return f"{book.state}{': ' + book.reason if book.reason else ''}{done}"
