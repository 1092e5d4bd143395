"""`CopyTrader`: the engine, put together. What may be asked of it is in `api`."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from .accounts.balances import BalanceBook
from .accounts.budget import sane_ban_sec
from .accounts.changes import Changes
from .accounts.key_care import LEADER_KEY, Asked, KeyCare
from .accounts.key_rights import key_warnings, refuse_excess
from .accounts.service import AccountService, Follower, state_of
from .api import TraderApi
from .clock import NS_PER_MS, Clock, ExchangeClock, wall_text
from .connector import Connector
from .copying.by_person import SOMEBODY, Decisions
from .copying.dispatch import Dispatcher
from .copying.gate import EVERYBODY, HALT, CopyGate
from .copying.jobs import Job
from .copying.plan import Decision, Leader, copy_rows, order_row
from .copying.reconcile import Reconciler
from .diagnosis import examine
from .errors import Conflict, CopytradeError, EngineHalted, InvalidRequest, JournalError, NotFound
from .exchanges import Exchanges, OpenExchange
from .feed import Feed
from .halts import Halts
from .leader.fold import FoldedOrder
from .leader.watcher import LeaderWatcher
from .model import (
    LEADER,
    AccountId,
    Environment,
    ExecutionReport,
    OrderStatus,
    Side,
)
from .plugins import Plugins
from .settings import Settings
from .store import book as rows
from .store.journal import Journal
from .store.lock import DataDirLock
from .store.master_key import load_master_key
from .store.retention import Retention
from .store.vault import AccountRecord, LeaderRecord, Vault
from .views import (
    AccountChanges,
    AccountState,
    AccountView,
    BudgetView,
    CopyPreview,
    CopyState,
    CopyView,
    ExchangeView,
    FeedEvent,
    Finding,
    GapView,
    Halt,
    LeaderOrderState,
    LeaderOrderView,
    LeaderView,
    MetricsView,
    PluginView,
    RestoredView,
    StartingView,
    StatusView,
    VerifyView,
    plain_fraction,
)
from .workers import Ticker

log = logging.getLogger(__name__)

RECENT = 50
PAGE_LIMIT = 1000
DRAIN_SEC = 15.0


class CopyTrader(TraderApi):
    """One engine on one data directory. `open` it, `start` it, `close` it (it is a context manager, too)."""

    def __init__(
        self, settings: Settings, plugins: Plugins, vault: Vault, lock: DataDirLock, clock: Clock | None = None
    ) -> None:
        """Put the parts together; nothing runs yet. `open` is the usual way here."""
        self._settings = settings
        self._plugins = plugins
        self._vault = vault
        self._data_lock = lock
        self._clock = clock or Clock()
        self._since = wall_text(self._clock.wall_ms())
        self._secret = vault.install_secret
        self._leader_lock = threading.Lock()  # one change of leader at a time
        self._watcher: LeaderWatcher | None = None
        self._switch = threading.Lock()  # start and stop of copying, one at a time
        self._closed = False
        self._gate = CopyGate(self._clock)
        self._halting = threading.Lock()  # one change of the gate at a time, when a halt begins or ends
        self._halts = Halts(self._clock, self._halt_changed)
        self._journal = Journal.in_data_dir(settings.data_dir, settings.database_url, self._journal_broken)
        self._feed = Feed(self._clock, self._journal, plugins)
        retention = Retention(settings, self._clock, self._journal)
        self._retention = Ticker("retention", self._clock, self._thread_died, retention.round)
        self._changes = Changes()
        self._feed.subscribe(self._note_change)
        self._balances = BalanceBook(self._clock, settings.symbol, on_change=self._changes.note)
        self._exchanges = Exchanges(
            settings,
            plugins,
            self._clock,
            self._thread_died,
            self._exchange_changed,
            self._shut_out,
            self._shut_out_left_sec,
        )
        self._accounts = AccountService(
            settings=settings,
            clock=self._clock,
            plugins=plugins,
            vault=vault,
            exchanges=self._exchanges,
            book=self._balances,
            gate=self._gate,
            feed=self._feed,
            on_death=self._thread_died,
            on_order=self._follower_order,
            on_change=self._account_changed,
            on_verified=lambda *found: self._key_care.saw(*found),
            has_unsettled=self._has_unsettled,
            leader_clock=self._leader_clock,
        )
        self._dispatcher = Dispatcher(
            settings=settings,
            clock=self._clock,
            journal=self._journal,
            exchanges=self._exchanges,
            accounts=self._accounts,
            balances=self._balances,
            gate=self._gate,
            halts=self._halts,
            feed=self._feed,
            install_tag=vault.install_tag,
            on_death=self._thread_died,
            copying_since_ms=lambda: self._vault.copying_since_ms,
            on_forgotten=lambda reason: self._reconciler.suspect(reason),
        )
        self._key_care = KeyCare(
            clock=self._clock,
            journal=self._journal,
            feed=self._feed,
            exchanges=self._exchanges,
            accounts=self._accounts,
            leader=self._leader_key,
            on_death=self._thread_died,
        )
        self._decisions = Decisions(
            clock=self._clock,
            journal=self._journal,
            vault=vault,
            accounts=self._accounts,
            balances=self._balances,
            dispatcher=self._dispatcher,
            halts=self._halts,
            feed=self._feed,
            settings=settings,
            secret=self._secret,
            was_restored=lambda: self._reconciler.was_restored,
            is_copying=self._is_copying,
        )
        self._reconciler = Reconciler(
            clock=self._clock,
            journal=self._journal,
            vault=vault,
            accounts=self._accounts,
            exchanges=self._exchanges,
            halts=self._halts,
            feed=self._feed,
            on_death=self._thread_died,
        )

    @classmethod
    def open(
        cls,
        data_dir: Path | str | None = None,
        *,
        settings: Settings | None = None,
        plugins: Plugins | None = None,
        master_key: bytes | None = None,
        clock: Clock | None = None,
    ) -> CopyTrader:
        """Open the engine of a data directory that ``copytrade init`` (or `Vault.create`) has made.

        :param settings: read from the environment where not given; *data_dir* overrides theirs.
        :param plugins: every installed one where not given.
        :param master_key: asked of the plug-ins, then of the environment where not given.
        :raises AlreadyRunning, ConfigError, MasterKeyError, VaultError, JournalError: nothing was changed.
        """
        settings = settings or Settings.from_environment()
        if data_dir is not None:
            settings = replace(settings, data_dir=Path(data_dir))
        plugins = plugins or Plugins.discover()
        lock = DataDirLock(settings.data_dir)
        lock.acquire()
        try:
            if master_key is None:
                answer = plugins.hook.copytrade_master_key(data_dir=str(settings.data_dir))
                master_key = load_master_key(os.environ, answer, settings.data_dir)
            vault = Vault.open(settings.vault_path, master_key)
            return cls(settings, plugins, vault, lock, clock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def connect(cls, data_dir: Path | str | None = None) -> TraderApi:
        """Return a client of the engine that runs on *data_dir*. :raises EngineNotRunning: none does."""
        from .control.client import RemoteCopyTrader  # the engine itself never needs its client

        return RemoteCopyTrader.connect(
            Path(data_dir) if data_dir is not None else Settings.from_environment().data_dir
        )

    def start(self) -> CopyTrader:
        """Start the threads, take up what an earlier run left open, listen to the leader if one is set."""
        self._reconciler.begin()
        if not self._vault.copying:
            self._gate.shut(EVERYBODY, "stopped", "copying is stopped")
        self._feed.start()
        self._exchanges.start()
        self._dispatcher.start()
        self._accounts.start()
        self._retention.start()
        self._reconciler.start()
        self._key_care.start()
        record = self._vault.leader()
        if record is not None:
            try:
                self._watch(record)
            except CopytradeError as error:
                self._feed.alarm(
                    f"the leader cannot be opened: {error.message}",
                    what="leader_not_opened",
                    reason_kind=error.kind,
                    reason=error.message,
                )
        for report in self._plugins.reports:
            if report.error:  # a notifier with a wrong file, say: nobody would miss its silence
                text = f"the plug-in {report.name} does not work: {report.error}"
                self._feed.alarm(text, what="plugin_failed", name=report.name, reason=report.error)
        threading.Thread(target=self._recover, name="recovery", daemon=True).start()
        self._feed.publish("engine", "the engine has started", what="engine_started")
        return self

    def close(self) -> None:
        """Send nothing more, wait for answers that are due, stop every thread. What is open stays so on disk."""
        if self._closed:
            return
        self._closed = True
        self._dispatcher.drain(DRAIN_SEC)
        if self._watcher is not None:
            self._watcher.stop()
        self._reconciler.stop()
        self._key_care.stop()
        self._accounts.stop()
        self._dispatcher.stop()
        self._exchanges.stop()
        self._retention.stop()
        if not self._journal.broken:
            self._feed.publish("engine", "the engine has stopped", what="engine_stopped")
        self._feed.stop()
        self._journal.close()
        self._data_lock.release()

    def __enter__(self) -> CopyTrader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- accounts ---

    def add_account(self, name: str, exchange: str, env: str, credentials: dict[str, str]) -> AccountView:
        record = self._accounts.add(name, exchange, env, credentials)
        self._accounts.verify(record.id)
        return self.get_account(record.id)

    def list_accounts(
        self, limit: int | None = None, after: str | None = None, name: str = "", state: str | None = None
    ) -> list[AccountView]:
        records = list(self._vault.accounts())
        if after is not None:
            place = next((n for n, record in enumerate(records, 1) if record.id == after), None)
            if place is None:
                raise NotFound(f"there is no account {after} (any more): begin the list anew", field="after")
            records = records[place:]
        if state is not None and state not in AccountState.__members__:
            raise InvalidRequest(f"there is no state {state!r}; choose of: {', '.join(AccountState)}", field="state")
        if name:
            records = [record for record in records if name.casefold() in record.name.casefold()]
        if state is not None:
            records = [record for record in records if state_of(record) == state]
        if limit is not None:
            records = records[: _page(limit)]
        with self._journal.reading() as connection:
            last = rows.last_copies_of(connection, {record.id for record in records})
        return [self._account_view(record, last) for record in records]

    def list_changes(self, after: int = 0) -> AccountChanges:
        # First: what changes meanwhile is told twice.
        number, changed, removed = self._changes.since(after) if after else (self._changes.number, frozenset(), ())
        records = [record for record in self._vault.accounts() if not after or record.id in changed]
        with self._journal.reading() as connection:
            last = rows.last_copies_of(connection, {record.id for record in records})
        accounts = tuple(self._account_view(record, last) for record in records)
        return AccountChanges(number=number, accounts=accounts, removed=removed)

    def get_account(self, account_id: str) -> AccountView:
        record = self._accounts.find(account_id).record
        with self._journal.reading() as connection:
            last = rows.last_copies_of(connection, [record.id])
        return self._account_view(record, last)

    def update_account(
        self, account_id: str, version: int, name: str | None = None, credentials: dict[str, str] | None = None
    ) -> AccountView:
        self._accounts.update(account_id, version, name, credentials)
        return self.get_account(account_id)

    def remove_account(self, account_id: str) -> None:
        self._accounts.remove(account_id)

    def pause_account(self, account_id: str) -> AccountView:
        self._accounts.pause(account_id)
        return self.get_account(account_id)

    def resume_account(self, account_id: str) -> AccountView:
        self._accounts.resume(account_id)
        return self.get_account(account_id)

    def verify_account(self, account_id: str) -> VerifyView:
        return self._accounts.verify(account_id)

    # --- leader and copying ---

    def set_leader(self, exchange: str, env: str, credentials: dict[str, str] | None = None) -> LeaderView:
        description = self._plugins.describe(exchange, env)
        if not description.can_lead:
            raise InvalidRequest(f"{description.name} cannot lead; it can follow", field="exchange", kind="cannot_lead")
        environment = Environment(env)
        fields = None
        if credentials is not None:
            fields = self._accounts.checked_credentials(exchange, env, credentials)
        keys = fields or self._vault.leader_credentials(exchange, environment)
        opened = self._exchanges.get(exchange, environment)
        self._exchanges.ready(opened)
        connector = opened.exchange.open_connector(LEADER, keys)
        # A leader's key only has to read. What it must not do, no key of ours may.
        try:
            check = connector.verify(needs_trade=False)
            refuse_excess(check.permissions)
        finally:
            connector.close()
        uid = check.uid

        def no_follower(accounts: Iterable[AccountRecord], _: object = None) -> None:
            for account in accounts:
                if (account.exchange, account.environment, account.uid) == (exchange, environment, uid):
                    raise Conflict(
                        f"this is the account of the follower {account.name}: it cannot follow itself",
                        field="api_key",
                        kind="leader_key",
                    )

        no_follower(self._vault.accounts())
        with self._leader_lock:
            before = self._vault.leader()
            since_ms = None
            if before is None or (before.exchange, before.environment, before.uid) != (exchange, environment, uid):
                # What it placed before is not copied; as with the start of copying, the latest that it can be.
                since_ms = opened.clock.latest_ms()
                leader, value = Leader(exchange=exchange, environment=environment, uid=uid), str(since_ms)
                self._journal.write(lambda connection: rows.remember(connection, f"leading:{leader.label}", value))
            leading = LeaderRecord(exchange=exchange, environment=environment, uid=uid)
            record = self._vault.set_leader(leading, fields, no_follower)
            text = f"the leader is now {opened.label}"
            self._feed.publish("leader", text, what="leader_set", label=opened.label, exchange=exchange, env=env)
            watcher = self._watch(record)
        if asked := self._leader_key():
            self._key_care.saw(asked.id, opened, check.permissions)
        watcher.wait_until_heard()
        if since_ms is not None:
            opened.clock.wait_until_past(since_ms)
        view = watcher.view()
        return replace(
            view,
            warnings=(*key_warnings(check.permissions, opened, at_verify=True, needs_trade=False), *check.warnings),
        )

    def get_leader(self) -> LeaderView | None:
        watcher = self._watcher
        return None if watcher is None else replace(watcher.view(), warnings=self._key_care.leader_warnings())

    def start_copying(self) -> bool:
        with self._switch:
            if self._is_copying():
                return True
            watcher = self._watcher
            if watcher is None:
                raise InvalidRequest("there is no leader yet: set one first", kind="no_leader")
            if halt := self._halts.of_all():
                raise EngineHalted(f"the engine is halted: {halt.reason}; it ends with {halt.ends_when}")
            self._exchanges.ready(watcher.opened)
            # Exchange time, so that "placed before the start" means the same to everybody; the latest that it can be,
            # so that nothing that was placed before is copied.
            exchange_clock = watcher.opened.clock
            since_ms = exchange_clock.latest_ms()
            self._vault.set_copying(True, since_ms)
            self._gate.open(EVERYBODY)
        self._feed.publish("copying", "copying was started", what="copying_started", running=True)
        exchange_clock.wait_until_past(since_ms)  # whoever sees this return may count on the next order
        return True

    def stop_copying(self) -> bool:
        with self._switch:
            if not self._vault.copying:
                return False
            # First of all: it holds even where it cannot be remembered.
            self._gate.shut(EVERYBODY, "stopped", "copying was stopped")
            self._dispatcher.look_again()
            self._vault.set_copying(False, self._vault.copying_since_ms)
        self._feed.publish("copying", "copying was stopped", what="copying_stopped", running=False)
        return False

    def _is_copying(self) -> bool:
        """Whether orders are copied: a stop that could not be remembered is a stop until the next start."""
        return self._vault.copying and not self._gate.is_shut(EVERYBODY)

    # --- looking ---

    def status(self, with_followers: bool = True) -> StatusView:
        with self._journal.reading() as connection:
            recent = rows.order_summaries(connection, rows.latest_orders(RECENT))
            last = rows.last_copies(connection) if with_followers else {}
            open_states = rows.count_states(connection)
        needs_person = open_states.get(CopyState.NEEDS_PERSON, 0)
        needs_person += sum(order.state is LeaderOrderState.UNDECIDED for order in recent)
        ready, accounts = self._accounts.ready()
        return StatusView(
            running=self._is_copying(),
            symbol=str(self._settings.symbol),
            copying_since=wall_text(self._vault.copying_since_ms) if self._is_copying() else "",
            engine_since=self._since,
            halts=self._halts.all(),
            starting=StartingView(ready=ready, accounts=accounts) if ready < accounts else None,
            leader=self.get_leader(),
            followers=tuple(self._account_view(record, last) for record in self._vault.accounts())
            if with_followers
            else (),
            recent_events=tuple(recent),
            unsettled=sum(open_states.values()) - open_states.get(CopyState.NEEDS_PERSON, 0),
            needs_person=needs_person,
        )

    def metrics(self) -> MetricsView:
        with self._journal.reading() as connection:
            copies = rows.count_all_states(connection)
        leader, accounts = self.get_leader(), self._accounts.all()
        oldest: dict[str, float] = {}
        pushed: Counter[str] = Counter()
        for follower in accounts:
            if follower.refusal is None:
                pushed[follower.opened.label] += self._balances.is_pushed(follower.id)
                ages = [balance.age_sec for balance in self._balances.views(follower.id)]
                oldest[follower.opened.label] = max([oldest.get(follower.opened.label, 0.0), *ages])
        final = {state for state in CopyState if state.is_final}
        needs_person = copies.get(CopyState.NEEDS_PERSON, 0)
        return MetricsView(
            running=self._is_copying(),
            halted=bool(self._halts.all()),
            leader_connections=leader.connections if leader else 0,
            unsettled=sum(count for state, count in copies.items() if state not in final) - needs_person,
            needs_person=needs_person,
            journal_queue=self._journal.waiting,
            journal_write_sec=self._journal.last_write_sec,
            copies={state.value: count for state, count in copies.items()},
            accounts=dict(Counter(follower.state.value for follower in accounts)),
            latency=self._dispatcher.latencies.view(),
            budgets=tuple(
                BudgetView(exchange=opened.label, name=name, used=budget.used, limit=budget.limit)
                for opened in self._exchanges.all()
                for name, budget in opened.exchange.budgets().items()
            ),
            oldest_balance_sec=oldest,
            pushed=dict(pushed),
        )

    def list_events(
        self, limit: int = 50, before: str | None = None, with_copies: bool = True
    ) -> list[LeaderOrderView]:
        views = rows.order_views if with_copies else rows.order_summaries
        with self._journal.reading() as connection:
            return views(connection, rows.latest_orders(_page(limit), _number(before)))

    def list_gaps(self, limit: int = 50, before: str | None = None) -> list[GapView]:
        with self._journal.reading() as connection:
            return rows.gap_views(connection, rows.latest_gaps(_page(limit), _number(before)))

    def get_event(self, event_id: str, with_copies: bool = True) -> LeaderOrderView:
        number = _number(event_id)
        views = rows.order_views if with_copies else rows.order_summaries
        with self._journal.reading() as connection:
            found = views(connection, rows.one_order(int(number or 0)))
        if not found:
            raise NotFound(f"there is no event {event_id}", field="id")
        return found[0]

    def list_copies(
        self,
        account_id: str | None = None,
        state: str | None = None,
        limit: int = 100,
        before: str | None = None,
        event_id: str | None = None,
        undecided: bool = False,
    ) -> list[CopyView]:
        if state is not None and state not in CopyState.__members__:
            raise InvalidRequest(f"there is no state {state!r}; choose of: {', '.join(CopyState)}", field="state")
        with self._journal.reading() as connection:
            return rows.copy_views(
                connection, account_id, state, _page(limit), before, _number(event_id), undecided=undecided
            )

    def list_exchanges(self) -> list[ExchangeView]:
        return [
            ExchangeView(
                id=description.id,
                name=description.name,
                name_zh=description.name_zh,
                environments=description.environments,
                can_lead=description.can_lead,
                fields=tuple(
                    {
                        "name": field.name,
                        "label": field.label,
                        "label_zh": field.label_zh,
                        "secret": field.secret,
                        "required": field.required,
                        "multiline": field.multiline,
                    }
                    for field in description.credential_fields
                ),
                capabilities=tuple(sorted(description.capabilities)),
            )
            for description in self._plugins.exchanges.values()
        ]

    def list_plugins(self) -> list[PluginView]:
        return [
            PluginView(
                name=report.name,
                distribution=report.distribution,
                version=report.version,
                exchanges=report.exchanges,
                error=report.error,
            )
            for report in self._plugins.reports
        ]

    def doctor(self) -> list[Finding]:
        return examine(
            settings=self._settings,
            clock=self._clock,
            since=self._since,
            halts=self._halts.all(),
            exchanges=self._exchanges.all(),
            plugins=self._plugins.reports,
            leader=self.get_leader(),
            gap=next((gap for gap in self.list_gaps(1) if gap.is_open), None),
            followers=self._accounts.all(),
            key_warnings={
                "leader": self._key_care.leader_warnings(),
                **{f"account {each.record.name}": self._key_care.warnings(each.id) for each in self._accounts.all()},
            },
            is_copying=self._is_copying(),
            needs_person=self.status(with_followers=False).needs_person,
        )

    # --- what a person decides ---

    def settle_copy(self, copy_id: str, executed: bool, exchange_order_id: str = "", by: str = "") -> CopyView:
        return self._decisions.settle(copy_id, executed, exchange_order_id, by)

    def leave_copy(self, copy_id: str, by: str = "") -> CopyView:
        return self._decisions.leave(copy_id, by)

    def copy_now(self, copy_id: str, by: str = "") -> CopyView:
        return self._decisions.copy_now(copy_id, by)

    def preview_copy(self, copy_id: str) -> CopyPreview:
        return self._decisions.preview(copy_id)

    def preview_event(self, event_id: str, share: Fraction | None = None) -> list[CopyPreview]:
        return self._decisions.preview_order(self.get_event(event_id), share, self._present_leader())

    def copy_event_now(self, event_id: str, by: str = "") -> LeaderOrderView:
        self._decisions.copy_all_now(self.get_event(event_id), by)
        return self.get_event(event_id)

    def decide_share(self, event_id: str, share: Fraction, by: str = "") -> LeaderOrderView:
        self._decisions.share(self.get_event(event_id), share, self._present_leader(), by)
        return self.get_event(event_id)

    def get_restored(self) -> RestoredView | None:
        return self._reconciler.view()

    def reconcile(self, by: str = "") -> RestoredView:
        return self._reconciler.end(by or SOMEBODY)

    def list_feed(self, after: int = 0, limit: int = 200, newest: bool = False) -> list[FeedEvent]:
        return self._feed.since(after, _page(limit), newest=newest)

    def subscribe(self, handler: Callable[[FeedEvent], Any]) -> Callable[[], None]:
        return self._feed.subscribe(handler)

    # --- inside: the leader ---

    def _present_leader(self) -> Leader | None:
        watcher = self._watcher
        return watcher.leader if watcher is not None else None

    def _watch(self, record: LeaderRecord) -> LeaderWatcher:
        """Listen to this leader; the one before is let go first."""
        opened = self._exchanges.get(record.exchange, record.environment)
        credentials = self._vault.leader_credentials(record.exchange, record.environment)
        if self._watcher is not None:
            self._watcher.stop()
        assert record.uid is not None
        self._watcher = LeaderWatcher(
            settings=self._settings,
            clock=self._clock,
            journal=self._journal,
            exchanges=self._exchanges,
            feed=self._feed,
            leader=Leader(exchange=record.exchange, environment=record.environment, uid=record.uid),
            opened=opened,
            connector=opened.exchange.open_connector(LEADER, credentials),
            key_fingerprint=record.key_fingerprint,
            on_death=self._thread_died,
            decided=self._decided,
            copying_since_ms=lambda: self._vault.copying_since_ms if self._is_copying() else None,
        )
        self._watcher.start()
        return self._watcher

    def _decided(self, order: FoldedOrder, decision: Decision) -> int | None:
        """Write a leader order's closed book, and only then hand its copies on. On the leader's thread."""
        watcher = self._watcher
        if watcher is None:
            return None
        leader, symbol = watcher.leader, self._settings.symbol
        now_ns, now_ms = self._clock.monotonic_ns(), watcher.now_ms()
        heard_ns = order.final_heard_ns
        heard_ms = None if now_ms is None or not heard_ns else now_ms - (now_ns - heard_ns) // NS_PER_MS
        heard_after_ms = None if heard_ms is None else heard_ms - order.last.time_ms
        followers: Sequence[Follower] = ()
        if decision.state in (LeaderOrderState.COPIED, LeaderOrderState.STALE):
            followers = self._accounts.all()
        late = (decision.reason_kind, decision.reason) if decision.state is LeaderOrderState.STALE else None
        identity = (order.exchange_order_id, order.created_ms)
        copies = copy_rows(self._secret, leader, symbol, identity, order.side, late, followers, self._clock)
        row = order_row(leader, symbol, order, decision, self._clock.wall_ms(), heard_ms)
        try:
            order_id = self._journal.write(lambda connection: rows.plan(connection, row, copies))
        except IntegrityError:
            return None  # this very order was decided before: nothing is copied twice
        except JournalError:
            return None  # halted; the order is found again after the restart
        self._dispatcher.planned(self._jobs(order_id, order, decision, copies, watcher, now_ns, now_ms))
        self._publish_order(order_id, order, decision, heard_after_ms)
        if heard_after_ms is not None and order.source == "live":
            self._dispatcher.latencies.saw({"heard": max(heard_after_ms, 0)})
        return order_id

    def _jobs(
        self,
        order_id: int,
        order: FoldedOrder,
        decision: Decision,
        copies: Sequence[dict[str, Any]],
        watcher: LeaderWatcher,
        now_ns: int,
        now_ms: int | None,
    ) -> list[Job]:
        limit_ms = watcher.age_limit_sec(order.side, order.source) * 1000
        age_ms = 0 if now_ms is None else now_ms - order.last.time_ms
        deadline_ns = now_ns + int((limit_ms - age_ms) * NS_PER_MS)
        return [
            Job.of_row(
                {**copy, "leader_order_id": order_id},
                share=decision.share,
                created_ms=order.created_ms,
                deadline_ns=deadline_ns,
                heard_ns=order.final_heard_ns,
                looks_first=order.source == "gap",
            )
            for copy in copies
            if copy["state"] == CopyState.PLANNED and decision.share is not None
        ]

    def _publish_order(self, order_id: int, order: FoldedOrder, decision: Decision, age_ms: int | None) -> None:
        share = "" if decision.share is None else f", {float(decision.share):.4%} of the balance before it"
        pair, base = str(self._settings.symbol), self._settings.symbol.base
        missed = f" ({pair})" if decision.state is LeaderOrderState.STALE else ""
        text = f"the leader's {order.side} of {format(order.filled_base, 'f')} {base}{missed}{share}"
        if decision.reason:
            text = f"{text}: {decision.reason}"
        state = decision.state
        data: dict[str, Any] = {
            "what": f"order_{state.lower()}",
            "event_id": str(order_id),
            "state": state.value,
            "side": order.side.value,
            "filled_base": order.filled_base,
            "base": base,
            "share_percent": None if decision.share is None else plain_fraction(decision.share * 100, 4),
            "pair": pair,
            "symbol": order.exchange_symbol,
            "order_type": order.order_type,
            "age_sec": None if age_ms is None else round(age_ms / 1000),
            "reason_kind": decision.reason_kind,
            "reason": decision.reason,
        }
        if state in (LeaderOrderState.UNDECIDED, LeaderOrderState.STALE):
            self._feed.alarm(text, **data)
        else:
            self._feed.publish("leader_order", text, **data)

    # --- inside: what the parts tell ---

    def _recover(self) -> None:
        """Take up what an earlier run left open, once the leader's exchange has told the time."""
        try:
            with self._journal.reading() as connection:
                found = rows.open_copies(connection)
            for row in found:
                with contextlib.suppress(CopytradeError):  # its plug-in is gone: a person is needed for this one
                    self._exchanges.get(row.exchange, Environment(row.env))
            watcher = self._watcher
            if watcher is not None and found:
                try:
                    self._exchanges.ready(watcher.opened)
                except CopytradeError as error:
                    log.warning("the leader's exchange does not answer yet: %s", error.message)
            if found:
                self._dispatcher.recover(found, self._recovered_deadline_ns)
                text = f"{len(found)} copies of an earlier run are being settled"
                self._feed.publish("engine", text, what="copies_recovered", count=len(found))
        except BaseException as error:
            self._thread_died("recovery", error)

    def _recovered_deadline_ns(self, row: Row[Any]) -> int:
        watcher = self._watcher
        now_ms = watcher.now_ms() if watcher is not None else None
        if watcher is None or now_ms is None:
            return 0  # its age cannot be told: too old
        limit_ms = watcher.age_limit_sec(Side(row.side), row.order_source) * 1000
        return self._clock.monotonic_ns() + int((limit_ms - (now_ms - row.transaction_ms)) * NS_PER_MS)

    def _note_change(self, event: FeedEvent) -> None:
        account_id = event.data.get("account_id")
        if account_id and self._accounts.get(account_id) is None:
            self._changes.note_removed(AccountId(account_id))
        elif account_id:
            self._changes.note(AccountId(account_id))

    def _follower_order(self, account_id: AccountId, report: ExecutionReport) -> None:
        # What the exchange refused may be reported, too, and is no order.
        if report.client_order_id.startswith("ct") and report.status is not OrderStatus.REJECTED:
            self._dispatcher.stream_spoke(account_id, report.client_order_id)

    def _account_changed(self, account_id: AccountId) -> None:
        self._changes.note(account_id)
        self._dispatcher.look_again(account_id)

    def _has_unsettled(self, account_id: AccountId) -> bool:
        with self._journal.reading() as connection:
            return rows.has_open_copies(connection, account_id)

    def _leader_key(self) -> Asked | None:
        record = self._vault.leader()
        if record is None:
            return None
        opened = self._exchanges.get(record.exchange, record.environment)

        def connector() -> Connector:
            credentials = self._vault.leader_credentials(record.exchange, record.environment)
            return opened.exchange.open_connector(LEADER, credentials)

        key_id = f"{LEADER_KEY}/{record.id}/{record.key_fingerprint}"
        return Asked(id=key_id, name="the leader", opened=opened, connector=connector, is_leader=True)

    def _leader_clock(self) -> ExchangeClock | None:
        watcher = self._watcher
        return watcher.opened.clock if watcher is not None and watcher.opened.clock.is_known else None

    def _thread_died(self, name: str, error: BaseException) -> None:
        self._halts.begin(
            f"thread:{name}", f"a part of the engine ({name}) failed: {type(error).__name__}", "a restart of the engine"
        )

    def _journal_broken(self, error: JournalError) -> None:
        self._halts.begin("journal", error.message, "a restart of the engine, once the disk is in order")

    def _clock_put_back(self, opened: OpenExchange, leads: bool) -> None:
        """Have all figures of an exchange read anew: none from before has an order with those that come now."""
        if leads and self._watcher is not None:
            self._watcher.clock_put_back()
        if opened.clock.is_known:
            for follower in self._accounts.all():
                if follower.opened is opened:
                    self._balances.begin_anew(follower.id)
                    self._accounts.read_soon(follower.id)
            opened.begun_anew = opened.clock.put_back

    def _exchange_changed(self, opened: OpenExchange) -> None:
        watcher = self._watcher
        leads = watcher is not None and watcher.opened is opened
        kind = f"clock:{opened.label}"
        if opened.jumped_ms:
            jump_ms = round(opened.jumped_ms)
            text = f"the clock towards {opened.label} jumped by {jump_ms} ms"
            self._feed.alarm(text, what="clock_jumped", label=opened.label, jump_ms=jump_ms)
        if opened.clock.put_back > opened.begun_anew:
            self._clock_put_back(opened, leads)
        if opened.clock.is_known:
            self._halts.end(kind)
        elif opened.clock.was_measured:
            self._halts.begin(
                kind,
                f"the time at {opened.label} is not known for certain",
                "two measurements of its clock that agree",
                exchange="" if leads else opened.label,
            )
        self._dispatcher.look_again()

    def _shut_out(self, opened: OpenExchange, seconds: float) -> None:
        kind = f"banned:{opened.label}"
        if not seconds:
            self._halts.end(kind)
            return
        until_ms = self._clock.wall_ms() + round(seconds * 1000)
        until = wall_text(until_ms)
        # A restart in the middle of a ban must not begin by asking, which would make it longer.
        self._journal.submit(lambda connection: rows.remember(connection, rows.SHUT_OUT + opened.label, str(until_ms)))
        reason = f"{opened.label} has shut our address out for sending too much"
        self._halts.begin(kind, reason, f"the ban, at {until}", exchange=opened.label, until=until)
        text = f"{opened.label} has shut our address out: nothing is sent there for {seconds:.0f} s"
        label = opened.label
        self._feed.alarm(text, what="address_banned", label=label, seconds=round(seconds), exchange=label)

    def _shut_out_left_sec(self, label: str) -> float:
        """Return for how long an exchange has still shut us out, as far as an earlier run was told."""
        with self._journal.reading() as connection:
            until_ms = int(rows.recall(connection, rows.SHUT_OUT + label) or 0)
        return sane_ban_sec((until_ms - self._clock.wall_ms()) / 1000)

    def _halt_changed(self, halt: Halt, began: bool) -> None:
        if not halt.exchange:
            with self._halting:  # by what is in force now: another may have begun while this one ended
                if (present := self._halts.of_all()) is not None:
                    self._gate.shut(HALT, "halted", f"the engine is halted: {present.reason}")
                else:
                    self._gate.open(HALT)
        self._dispatcher.look_again()
        if began:
            text = f"halted: {halt.reason}; it ends with {halt.ends_when}"
            self._feed.publish("halt", text, what="halt_began", halt_kind=halt.kind, halt=halt.reason)
        else:
            text = f"no longer halted: {halt.reason}"
            self._feed.publish("engine", text, what="halt_ended", halt_kind=halt.kind, halt=halt.reason)

    # --- inside: views ---

    def _account_view(self, record: AccountRecord, last: dict[str, CopyView]) -> AccountView:
        follower = self._accounts.get(record.id)
        record = follower.record if follower else record  # one moment's record for state and reason alike
        refusal = follower.refusal if follower else None
        if refusal and refusal[0] == "paused":
            refusal = None
        return AccountView(
            id=record.id,
            name=record.name,
            exchange=record.exchange,
            env=record.environment,
            state=state_of(record),
            status=record.status,
            version=record.version,
            paused=record.paused,
            uid=record.uid or "",
            key_fingerprint=record.key_fingerprint,
            error_kind=refusal[0] if refusal else "",
            error=refusal[1] if refusal else "",
            balances=self._balances.views(record.id),
            pushed=self._balances.is_pushed(record.id),
            poll_sec=self._accounts.poll_sec(follower) if follower else None,
            last_copy=last.get(record.id),
            warnings=self._key_care.warnings(record.id),
        )


def _page(limit: int) -> int:
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidRequest(f"a page has 1 to {PAGE_LIMIT} rows", field="limit")
    return limit


def _number(text: str | None) -> str | None:
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFound(f"there is no event {text!r}", field="id")
    return text
