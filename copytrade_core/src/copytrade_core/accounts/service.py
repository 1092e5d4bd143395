"""The followers: added, verified, paused, watched. What a person wishes is in the vault; this brings it to life."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from ..clock import NS_PER_SEC, Clock, ExchangeClock
from ..connector import Connector, StreamDown, StreamFrame, StreamUp, UserStream
from ..copying.gate import CopyGate
from ..errors import (
    AuthenticationFailed,
    ClockSkewed,
    Conflict,
    CopytradeError,
    ExchangeError,
    InvalidRequest,
    NotFound,
    RateLimited,
)
from ..exchanges import Exchanges, OpenExchange
from ..feed import Feed
from ..model import (
    AccountId,
    BalanceChange,
    BalanceSnapshot,
    Credentials,
    Environment,
    ExecutionReport,
    KeyPermissions,
)
from ..plugins import Plugins
from ..settings import Settings
from ..store.vault import AccountRecord, Disabled, LeaderRecord, Vault
from ..views import AccountState, VerifyView
from ..workers import OnDeath, Ticker
from .balances import BalanceBook
from .key_rights import key_warnings, refuse_excess
from .others import tag_of

PAUSED = ("paused", "the account is paused")

log = logging.getLogger(__name__)

NAME_LIMIT = 80
FIELD_LIMIT = 8192
VERIFY_RETRY_SEC = 30.0
PROGRESS_SEC = 5.0  # between two events that tell how far the start has come
THREADS = 8  # an exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """One follower as the engine uses it; replaced, never changed."""

    record: AccountRecord
    opened: OpenExchange
    connector: Connector = field(repr=False)
    not_verified: str = ""  # why the exchange could not be asked about its key yet

    @property
    def id(self) -> AccountId:
        return self.record.id

    @property
    def state(self) -> AccountState:
        return state_of(self.record)

    @property
    def refusal(self) -> tuple[str, str] | None:
        """Kind and sentence of why nothing is sent for it now; ``None`` while it is ACTIVE."""
        if self.record.disabled is not None:
            return self.record.disabled.kind, self.record.disabled.message
        if self.record.status != "VERIFIED":
            return "not_verified", self.not_verified or "the exchange has not been asked about this account's key yet"
        if self.record.paused:
            return PAUSED
        return None


def state_of(record: AccountRecord) -> AccountState:
    """Return the state that is shown: the exchange's refusal hides a person's pause."""
    if record.disabled is not None or record.status != "VERIFIED":
        return AccountState.DISABLED
    return AccountState.PAUSED if record.paused else AccountState.ACTIVE


class AccountService:
    """Owns the followers' connectors, their streams, and the polling behind them. Thread-safe."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        plugins: Plugins,
        vault: Vault,
        exchanges: Exchanges,
        book: BalanceBook,
        gate: CopyGate,
        feed: Feed,
        on_death: OnDeath,
        on_order: Callable[[AccountId, ExecutionReport], None],
        on_change: Callable[[AccountId], None],
        on_verified: Callable[[AccountId, OpenExchange, KeyPermissions], None],
        has_unsettled: Callable[[AccountId], bool],
        leader_clock: Callable[[], ExchangeClock | None],
    ) -> None:
        """
        :param on_order: told each order report of a follower's stream; it only enqueues.
        :param on_change: told when an account's state changed: its waiting copies look again.
        :param on_verified: told what the key of an account may do, as a good verify found it.
        :param has_unsettled: whether a copy of the account is not final; its key is then sealed, not forgotten.
        :param leader_clock: of the leader's exchange, by which its orders are dated; ``None``: not known, or no leader.
        """
        self._settings = settings
        self._clock = clock
        self._plugins = plugins
        self._vault = vault
        self._install_tag = vault.install_tag
        self._exchanges = exchanges
        self._book = book
        self._gate = gate
        self._feed = feed
        self._on_order = on_order
        self._on_change = on_change
        self._on_verified = on_verified
        self._has_unsettled = has_unsettled
        self._leader_clock = leader_clock
        self._lock = threading.RLock()  # guards the two maps; never held over I/O
        self._gate_lock = threading.Lock()  # one change of the gate at a time
        self._held: set[AccountId] = set()  # paused, and not (yet) remembered to be
        self._followers: dict[AccountId, Follower] = {}
        self._streams: dict[OpenExchange, UserStream | None] = {}
        self._verify_due_ns: dict[AccountId, int] = {}
        self._round_sec: dict[str, float] = {}  # how long reading every account of an exchange once takes
        self._reading: set[AccountId] = set()
        self._beginning: set[AccountId] = set()  # whose first subscription has not come to an end yet
        self._read_due_ns: dict[AccountId, int] = {}  # those whom the budget sent back, and when they come again
        self._disabling: set[AccountId] = set()
        self._tried_ns: dict[AccountId, int] = {}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="accounts")
        self._pools: dict[str, ThreadPoolExecutor] = {}  # by exchange: one that hangs holds up no other
        self._told_ready: int | None = None
        self._told_ns = 0
        self._has_begun = False  # every account has been ready once
        self._poller = Ticker("balance-poller", clock, on_death, self._poll)
        self._stopping = False

    # --- life ---

    def start(self) -> None:
        """Open every account of the vault; streams and first balances come in the background."""
        for record in self._vault.accounts():
            try:
                self._install(record, begins=True)
            except CopytradeError as error:
                self._feed.alarm(
                    f"the account {record.name} cannot be opened: {error.message}",
                    what="account_not_opened",
                    name=record.name,
                    account_id=record.id,
                    reason_kind=error.kind,
                    reason=error.message,
                )
        self._poller.start()
        self.warm_up()

    def stop(self) -> None:
        self._stopping = True
        self._poller.stop()
        for stream in self._open_streams():
            stream.stop()
        with self._lock:
            pools = [self._pool, *self._pools.values()]
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            follower.connector.close()

    # --- looking ---

    def all(self) -> list[Follower]:
        with self._lock:
            return list(self._followers.values())

    def get(self, account_id: str) -> Follower | None:
        with self._lock:
            return self._followers.get(AccountId(account_id))

    def find(self, account_id: str) -> Follower:
        """:raises NotFound: there is no such account."""
        found = self.get(account_id)
        if found is None:
            raise NotFound(f"there is no account {account_id}", field="id")
        return found

    def ready(self) -> tuple[int, int]:
        """Return how many accounts are ready, and of how many: those that the exchange has not refused.

        Ready: verified, its balances known, and its events pushed, or not to be had for now.
        """
        wanted = [follower for follower in self.all() if follower.record.disabled is None]
        with self._lock:
            beginning = set(self._beginning)
        ready = sum(
            follower.record.status == "VERIFIED" and follower.id not in beginning and self._book.is_known(follower.id)
            for follower in wanted
        )
        return ready, len(wanted)

    def poll_sec(self, follower: Follower) -> float | None:
        """Seconds between two reads of this account's balances at the present number of accounts."""
        with self._lock:
            round_sec = self._round_sec.get(follower.opened.label)
        return None if round_sec is None else round(self._every_sec(follower.id, round_sec), 1)

    def settling_connector(self, account_id: str, key_fingerprint: str) -> Connector | None:
        """Return a connector that can look up what was sent with that key, also of a removed account."""
        live = self.get(account_id)
        if live is not None and live.record.key_fingerprint == key_fingerprint:
            return live.connector
        for sealed in self._vault.sealed():
            if sealed.account_id == account_id and sealed.key_fingerprint == key_fingerprint:
                opened = self._exchanges.get(sealed.exchange, sealed.environment)
                return opened.exchange.open_connector(sealed.account_id, self._vault.sealed_credentials(sealed.id))
        return live.connector if live is not None else None

    def settled(self, account_id: str) -> None:
        """Nothing of the account is under way any more: forget old keys of it that were kept for settling."""
        if any(sealed.account_id == account_id for sealed in self._vault.sealed()):
            self._pool.submit(_logged, self._drop_sealed, account_id)

    # --- what a person asks ---

    def add(self, name: str, exchange: str, env: str, fields: Mapping[str, str]) -> AccountRecord:
        """Store a follower. :raises InvalidRequest: what is wrong with it; ``field`` names the input."""
        credentials = self.checked_credentials(exchange, env, fields)
        name = checked_name(name)

        def once_each(accounts: Iterable[AccountRecord], leaders: Iterable[LeaderRecord]) -> None:
            refuse_name(name, accounts)
            for record in accounts:
                if record.exchange == exchange and record.key_fingerprint == credentials.fingerprint:
                    raise Conflict(
                        f"this key is in use by the account {record.name}", field="api_key", kind="duplicate_key"
                    )
            if any(leader.key_fingerprint == credentials.fingerprint for leader in leaders):
                raise Conflict("this is the leader's key: it cannot follow itself", field="api_key", kind="leader_key")

        record = self._vault.add_account(
            AccountRecord(
                id=AccountId(str(uuid.uuid4())),
                name=name,
                exchange=exchange,
                environment=Environment(env),
                created_wall_ms=self._clock.wall_ms(),
            ),
            credentials,
            once_each,
        )
        self._install(record)
        self._tell(record, "account_added", f"the account {name} was added")
        return record

    def update(
        self, account_id: str, version: int, name: str | None, fields: Mapping[str, str] | None
    ) -> AccountRecord:
        """Rename an account or replace its key. A new key must belong to the same account at the exchange."""
        follower = self.find(account_id)
        record = follower.record
        credentials = None
        if fields is not None:
            credentials = self.checked_credentials(record.exchange, record.environment, fields)
            check = follower.opened.exchange.open_connector(record.id, credentials)
            self._exchanges.ready(follower.opened)
            found = check.verify()
            refuse_excess(found.permissions)
            uid = found.uid
            if record.uid is not None and uid != record.uid:
                raise Conflict(
                    "this key belongs to another account at the exchange: add it as an account of its own",
                    field="api_key",
                    kind="other_account",
                )
            if self._has_unsettled(record.id):
                self._vault.seal_credentials(record.id)
        changes = {} if name is None else {"name": checked_name(name)}

        def once_each(accounts: Iterable[AccountRecord], _: Iterable[LeaderRecord]) -> None:
            if changes:
                refuse_name(changes["name"], (each for each in accounts if each.id != account_id))

        record = self._vault.update_account(record.id, version, credentials, once_each, **changes)
        if credentials is None:
            self._replace(record)
            return record
        self._remove_runtime(record.id)
        self._install(record)
        self.verify(record.id)
        return self.find(account_id).record

    def remove(self, account_id: str) -> None:
        """Forget an account. What it has in flight is still settled, with its key sealed until then."""
        follower = self.find(account_id)
        self._gate.shut(follower.id, "removed", "the account was removed")
        if self._has_unsettled(follower.id):
            self._vault.seal_credentials(follower.id)
        self._vault.remove_account(follower.id)
        self._remove_runtime(follower.id)
        self._take_free_place(follower.opened)
        self._on_change(follower.id)
        self._tell(follower.record, "account_removed", f"the account {follower.record.name} was removed")

    def pause(self, account_id: str) -> None:
        """Returns when no new order of this account can leave."""
        follower = self.find(account_id)
        # First of all: it holds even where it cannot be remembered.
        with self._gate_lock:
            self._held.add(follower.id)
            self._gate.shut(follower.id, *PAUSED)
        self._replace(self._vault.update_account(follower.id, None, paused=True))
        with self._gate_lock:
            self._held.discard(follower.id)
        self._tell(follower.record, "account_paused", f"{follower.record.name} was paused")

    def resume(self, account_id: str) -> None:
        """Copy to this account again, from orders on that the leader places after this moment."""
        follower = self.find(account_id)
        clock = self._dating_clock(follower.opened)
        resumed_ms = clock.latest_ms()
        resumed = self._vault.update_account(follower.id, None, paused=False, resumed_ms=resumed_ms)
        with self._gate_lock:
            self._held.discard(follower.id)
        self._replace(resumed)
        self._tell(follower.record, "account_resumed", f"{follower.record.name} was resumed")
        clock.wait_until_past(resumed_ms)  # whoever sees this return may count on the next order

    def verify(self, account_id: str) -> VerifyView:
        """Ask the exchange about the key now; a good answer ends DISABLED, a refusal begins it."""
        follower = self.find(account_id)
        symbol = self._settings.symbol
        # This is the asking that was due: a second one later could lift what the exchange says in between.
        self._verify_due_ns.pop(follower.id, None)
        began_ns = self._clock.monotonic_ns()
        try:
            self._exchanges.ready(follower.opened)
            check = follower.connector.verify()
            refuse_excess(check.permissions)
            refuse_other_owner(follower.record, check.uid, self._vault.accounts(), self._vault.leaders())
        except AuthenticationFailed as error:
            self.disable(follower.id, error.kind, error.message)
            return VerifyView(ok=False, error_kind=error.kind, error=error.message)
        except CopytradeError as error:
            if isinstance(error, ClockSkewed):
                self._exchanges.remeasure(follower.opened)  # or it would be said again for up to a minute
            again_sec = (
                min(error.retry_after_sec, VERIFY_RETRY_SEC) if isinstance(error, RateLimited) else VERIFY_RETRY_SEC
            )
            self._verify_due_ns[follower.id] = self._clock.monotonic_ns() + int(again_sec * NS_PER_SEC)
            with self._lock:
                if (known := self._followers.get(follower.id)) is not None:
                    self._followers[follower.id] = replace(known, not_verified=f"not verified yet: {error.message}")
            return VerifyView(ok=False, error_kind=error.kind, error=error.message)
        self._stated(follower, check.balances)
        # By the vault: what was disabled while the exchange was being asked is lifted, too.
        was_shut = AccountState.DISABLED in (follower.state, state_of(self._vault.account(follower.id)))
        # What the leader placed while the exchange refused this account is not made up for.
        changes: dict[str, Any] = {"resumed_ms": self._dating_clock(follower.opened).latest_ms()} if was_shut else {}
        try:
            record = self._vault.update_account(
                follower.id,
                None,
                # Once more, with nobody changing anything: keys of one account may be verified in one moment.
                check=lambda *known: refuse_other_owner(follower.record, check.uid, *known),
                uid=check.uid,
                disabled=None,
                status="VERIFIED",
                **changes,
            )
        except NotFound:
            raise NotFound(f"the account {account_id} was removed meanwhile", field="id") from None
        except AuthenticationFailed as error:
            self.disable(follower.id, error.kind, error.message)
            return VerifyView(ok=False, error_kind=error.kind, error=error.message)
        self._replace(record)
        self._on_verified(record.id, follower.opened, check.permissions)
        if was_shut:
            self._tell(record, "account_verified", f"{record.name} is verified")
            pushed_since_ns = self._book.pushed_since_ns(record.id)
            if pushed_since_ns is None:
                self._submit(follower.opened, self._subscribe, record.id)
            elif pushed_since_ns > began_ns:
                self.read_soon(record.id)  # what happened between the answer and the subscription nobody told
            self.warm_up()
        return VerifyView(
            ok=True,
            uid=check.uid,
            free_base=check.balances.free(symbol.base),
            free_quote=check.balances.free(symbol.quote),
            warnings=(*key_warnings(check.permissions, follower.opened, at_verify=True), *check.warnings),
        )

    # --- what the exchange says ---

    def disable(self, account_id: AccountId, kind: str, message: str) -> None:
        """Trade no more for an account that the exchange refuses, until a good verify or a new key."""
        follower = self.get(account_id)
        if follower is None or (follower.record.disabled and follower.record.disabled.kind == kind):
            return
        disabled = Disabled(kind=kind, message=message, since_ms=self._clock.wall_ms())
        try:
            self._replace(self._vault.update_account(account_id, None, disabled=disabled))
        except NotFound:
            return
        self._feed.alarm(
            f"{follower.record.name} was disabled: {message}",
            what="account_disabled",
            name=follower.record.name,
            account_id=account_id,
            reason_kind=kind,
            reason=message,
        )

    def met(self, account_id: AccountId, client_order_id: str, created_ms: int) -> None:
        """Take notice of an order on an account: one of another installation disables it. Returns at once."""
        tag = tag_of(client_order_id)
        if tag is not None and tag != self._install_tag and not self._stopping:
            self._pool.submit(_logged, self._disable_shared, account_id, tag, created_ms)

    def _disable_shared(self, account_id: AccountId, tag: str, created_ms: int) -> None:
        with self._lock:
            follower = self._followers.get(account_id)
            # What was there before the account came here, or was verified again, is history.
            if follower is None or created_ms <= follower.record.resumed_ms or account_id in self._disabling:
                return
            self._disabling.add(account_id)  # an order has several reports, and one alarm is enough
        try:
            self.disable(
                account_id,
                "second_installation",
                f"another installation of copytrade (its orders begin with ct{tag}) trades on this account, too: "
                "remove the account there, then verify it here",
            )
        finally:
            with self._lock:
                self._disabling.discard(account_id)

    def suspect(self, account_id: AccountId, delay_sec: float) -> None:
        """Ask the exchange again before believing a refusal that may be passing."""
        self._verify_due_ns[account_id] = self._clock.monotonic_ns() + int(delay_sec * NS_PER_SEC)

    def read(self, account_id: AccountId, *, urgent: bool = True) -> None:
        """Read an account's balances now, before all polling. :raises ExchangeError: they could not be had."""
        follower = self.find(account_id)
        try:
            self._stated(follower, follower.connector.balances(urgent=urgent))
        except AuthenticationFailed as error:
            self.disable(account_id, error.kind, error.message)
            raise

    def _stated(self, follower: Follower, snapshot: BalanceSnapshot) -> None:
        # A figure that nothing changed bears the stamp of its last change: the clock may have been put back since.
        time_ms = follower.opened.clock.not_after_now(snapshot.time_ms)
        self._book.state(follower.id, replace(snapshot, time_ms=time_ms))

    def read_soon(self, account_id: AccountId) -> None:
        """Read an account's balances in the background; a failure is left to the next poll."""
        with self._lock:
            follower = self._followers.get(account_id)
            if follower is None or account_id in self._reading or self._stopping:
                return
            self._reading.add(account_id)
        self._submit(follower.opened, self._read_quietly, account_id)

    def warm_up(self) -> None:
        """Have each exchange open what the next burst will need."""
        by_exchange: dict[OpenExchange, list[Connector]] = {}
        for follower in self.all():
            if follower.state is not AccountState.DISABLED:
                by_exchange.setdefault(follower.opened, []).append(follower.connector)
        for opened, connectors in by_exchange.items():
            self._submit(opened, opened.exchange.warm_up, connectors)

    def checked_credentials(self, exchange: str, env: str, fields: Mapping[str, str]) -> Credentials:
        """Check *fields* against what the exchange's plug-in asks for.

        :raises InvalidRequest: a field is missing, unknown, empty or too long; ``field`` names it.
        :raises UnknownExchange: no plug-in has this exchange or environment.
        """
        description = self._plugins.describe(exchange, env)
        known = {field.name: field for field in description.credential_fields}
        for name in fields:
            if name not in known:
                raise InvalidRequest(f"{description.name} has no field {name!r}", field=name, kind="unknown_field")
        values: dict[str, str] = {}
        for name, wanted in known.items():
            value = fields.get(name, "")
            if not isinstance(value, str) or len(value) > FIELD_LIMIT:
                raise InvalidRequest(f"{name} is not a text of reasonable length", field=name)
            value = value.strip()
            if not value and wanted.required:
                raise InvalidRequest(f"{description.name} needs {name}", field=name, kind="missing_field")
            if "\x00" in value or (not wanted.multiline and not value.isprintable()):
                raise InvalidRequest(f"{name} holds characters that no key has", field=name)
            if value:
                values[name] = value
        return Credentials(values)

    # --- inside ---

    def _tell(self, record: AccountRecord, what: str, text: str, **data: Any) -> None:
        self._feed.publish("account", text, what=what, name=record.name, account_id=record.id, **data)

    def _submit(self, opened: OpenExchange, work: Callable[..., Any], *arguments: Any) -> None:
        with self._lock:
            pool = self._pools.get(opened.label)
            if pool is None:
                pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix=f"accounts-{opened.label}")
                self._pools[opened.label] = pool
        pool.submit(_logged, work, *arguments)

    def _install(self, record: AccountRecord, *, begins: bool = False) -> None:
        """Open an account. *begins*: the engine starts; otherwise whoever adds an account verifies it at once."""
        opened = self._exchanges.get(record.exchange, record.environment)
        connector = opened.exchange.open_connector(record.id, self._vault.credentials(record.id))
        follower = Follower(record=record, opened=opened, connector=connector)
        with self._lock:
            self._followers[record.id] = follower
        self._sync_gate(record.id)
        if record.disabled is not None:
            return
        if record.status != "VERIFIED" and not begins:
            self._verify_due_ns.setdefault(record.id, self._clock.monotonic_ns() + int(VERIFY_RETRY_SEC * NS_PER_SEC))
            return
        with self._lock:
            self._beginning.add(record.id)
        self._submit(follower.opened, self._subscribe, record.id)

    def _replace(self, record: AccountRecord) -> None:
        with self._lock:
            old = self._followers.get(record.id)
            if old is None:
                return  # removed
            if old.record.version <= record.version:  # else a later change has overtaken this one
                self._followers[record.id] = Follower(record=record, opened=old.opened, connector=old.connector)
        self._sync_gate(record.id)
        self._on_change(record.id)

    def _sync_gate(self, account_id: AccountId) -> None:
        """Open or shut the gate by the newest record, whoever of several that change it comes here last."""
        with self._gate_lock:
            follower = self.get(account_id)
            if follower is None:
                return
            refusal = follower.refusal or (PAUSED if follower.id in self._held else None)
            if refusal is None:
                self._gate.open(follower.id)
            else:
                self._gate.shut(follower.id, *refusal)

    def _remove_runtime(self, account_id: AccountId) -> None:
        with self._lock:
            follower = self._followers.pop(account_id, None)
            stream = self._streams.get(follower.opened) if follower else None
            self._beginning.discard(account_id)
        if stream is not None:
            stream.remove(account_id)
        self._verify_due_ns.pop(account_id, None)
        self._tried_ns.pop(account_id, None)
        self._read_due_ns.pop(account_id, None)
        self._book.forget(account_id)

    def _take_free_place(self, opened: OpenExchange) -> None:
        """Have an account that is only polled pushed, if the one that left made room for it."""
        for other in self.all():
            wants = other.opened is opened and other.state is not AccountState.DISABLED
            if wants and other.id not in self._beginning and not self._book.is_pushed(other.id):
                self._submit(opened, self._subscribe, other.id)
                return

    def _open_streams(self) -> Iterable[UserStream]:
        with self._lock:
            return [stream for stream in self._streams.values() if stream is not None]

    def _stream(self, opened: OpenExchange) -> UserStream | None:
        with self._lock:
            if opened not in self._streams:
                self._streams[opened] = opened.exchange.open_user_stream(self._on_frame, "followers")
            return self._streams[opened]

    def _subscribe(self, account_id: AccountId) -> None:
        """Have an account's events pushed; what was there before is read when the stream says that it is up.

        One that is not verified yet is verified then: that reads its balances, too.
        """
        try:
            self._add_to_stream(account_id)
        finally:
            with self._lock:
                self._beginning.discard(account_id)
        follower = self.get(account_id)
        if follower is not None and follower.record.disabled is None and follower.record.status != "VERIFIED":
            self._verify_due_ns[account_id] = 0

    def _add_to_stream(self, account_id: AccountId) -> None:
        follower = self.get(account_id)
        if follower is None or self._stopping:
            return
        try:
            self._exchanges.ready(follower.opened)
            stream = self._stream(follower.opened)
            if stream is not None:
                stream.add(follower.connector)
        except AuthenticationFailed as error:
            self.disable(account_id, error.kind, error.message)
            return
        except ExchangeError as error:
            # The stream keeps trying by itself; until it is up the account is polled.
            self._tell(
                follower.record,
                "account_polled",
                f"{follower.record.name} is polled for now: {error.message}",
                reason_kind=error.kind,
                reason=error.message,
            )
        if self.get(account_id) is None and (stream := self._streams.get(follower.opened)):
            stream.remove(account_id)  # it was removed meanwhile

    def _on_frame(self, frame: StreamFrame) -> None:
        """Take one pushed event in; on the stream's thread, so nothing here may block."""
        event = frame.event
        if isinstance(event, BalanceSnapshot):
            if (follower := self.get(frame.account_id)) is not None:
                self._stated(follower, event)
        elif isinstance(event, BalanceChange):
            self._book.change(frame.account_id, event)
        elif isinstance(event, ExecutionReport):
            self.met(frame.account_id, event.client_order_id, event.created_ms)
            self._on_order(frame.account_id, event)
        elif isinstance(event, StreamUp):
            self._book.stream(frame.account_id, True)
            # Nothing that happened before is delivered later. Of an account without a good key verifying reads it.
            if (follower := self.get(frame.account_id)) and follower.state is not AccountState.DISABLED:
                self.read_soon(frame.account_id)
        elif isinstance(event, StreamDown):
            self._book.stream(frame.account_id, False)

    def _read_quietly(self, account_id: AccountId) -> None:
        try:
            self.read(account_id, urgent=False)
        except RateLimited as error:
            self._read_due_ns[account_id] = self._clock.monotonic_ns() + int(error.retry_after_sec * NS_PER_SEC)
        except CopytradeError as error:
            log.debug("the balances of %s could not be read: %s", account_id, error.message)  # their age grows, shown
        finally:
            with self._lock:
                self._tried_ns[account_id] = self._clock.monotonic_ns()
                self._reading.discard(account_id)

    def _poll(self) -> float:
        """Read the accounts whose turn it is, as often as each exchange's budget allows."""
        now = self._clock.monotonic_ns()
        for account_id, due in list(self._verify_due_ns.items()):
            known = self.get(account_id)
            if due <= now and self._verify_due_ns.pop(account_id, None) is not None and known is not None:
                self._submit(known.opened, self._verify_quietly, account_id)
        by_exchange: dict[OpenExchange, list[AccountId]] = {}
        for follower in self.all():
            if follower.state is not AccountState.DISABLED:
                by_exchange.setdefault(follower.opened, []).append(follower.id)
        wait = self._settings.balance_poll_sec
        for opened, account_ids in by_exchange.items():
            cost_sec = opened.exchange.balance_read_cost_sec()
            round_sec = cost_sec * len(account_ids)
            with self._lock:
                self._round_sec[opened.label] = round_sec
            for account_id in account_ids:
                # A read that failed has had its turn, too: an exchange that is down is not asked all the time.
                turn_ns = max(self._book.read_ns(account_id), self._tried_ns.get(account_id, 0))
                every_sec = self._every_sec(account_id, round_sec)
                if (due_ns := self._read_due_ns.get(account_id)) is not None:
                    if due_ns <= now:
                        self._read_due_ns.pop(account_id, None)
                        self.read_soon(account_id)
                elif account_id in self._beginning:
                    continue  # it is read when it is subscribed
                elif not turn_ns or now - turn_ns >= every_sec * NS_PER_SEC:
                    self.read_soon(account_id)
            wait = min(wait, max(cost_sec, 0.05))
        if not self._has_begun:
            self._tell_progress(now)
            wait = min(wait, 0.25)  # what is due for verifying comes between two rounds
        return wait

    def _tell_progress(self, now: int) -> None:
        """Say how far the start has come, now and then and when all accounts are ready."""
        ready, accounts = self.ready()
        self._has_begun = ready == accounts
        pause_ns = PROGRESS_SEC * NS_PER_SEC
        if not accounts or ready == self._told_ready or (not self._has_begun and now - self._told_ns < pause_ns):
            return
        self._told_ready, self._told_ns = ready, now
        text = f"{ready} of {accounts} accounts are ready"
        self._feed.publish("engine", text, what="accounts_ready", ready=ready, accounts=accounts)

    def _every_sec(self, account_id: AccountId, round_sec: float) -> float:
        """Return how often an account is read: half as often as the budget allows while its balances are pushed."""
        return max(self._settings.balance_poll_sec, round_sec * (2 if self._book.is_pushed(account_id) else 1))

    def _verify_quietly(self, account_id: AccountId) -> None:
        with contextlib.suppress(NotFound):  # removed meanwhile
            try:
                self.verify(account_id)
            except Exception:  # a plug-in's bug, or a vault that cannot be written: asked again, not given up
                again_ns = self._clock.monotonic_ns() + int(VERIFY_RETRY_SEC * NS_PER_SEC)
                self._verify_due_ns.setdefault(account_id, again_ns)
                raise

    def _drop_sealed(self, account_id: str) -> None:
        if self._has_unsettled(AccountId(account_id)):
            return
        for sealed in self._vault.sealed():
            if sealed.account_id == account_id:
                self._vault.drop_sealed(sealed.id)

    def _dating_clock(self, opened: OpenExchange) -> ExchangeClock:
        """Return the clock by which the leader's orders are dated."""
        clock = self._leader_clock()
        if clock is None:
            self._exchanges.ready(opened)
            clock = opened.clock
        return clock


def _logged(work: Callable[..., Any], *arguments: Any) -> None:
    """On a pool, where nobody asks what became of it."""
    try:
        work(*arguments)
    except Exception:
        log.exception("something that was to be done for an account failed")


def refuse_name(name: str, accounts: Iterable[AccountRecord]) -> None:
    """:raises Conflict: one of *accounts* is named so."""
    if any(record.name == name for record in accounts):
        raise Conflict(f"there is an account named {name} already", field="name", kind="duplicate_name")


def refuse_other_owner(
    record: AccountRecord, uid: str, accounts: Iterable[AccountRecord], leaders: Iterable[LeaderRecord]
) -> None:
    """:raises AuthenticationFailed: the account behind *record*'s key is one of these already, or is the leader."""
    place = record.exchange, record.environment
    for other in accounts:
        if other.id != record.id and (other.exchange, other.environment, other.uid) == (*place, uid):
            raise AuthenticationFailed(
                f"this key belongs to the same exchange account as {other.name}", kind="duplicate_account"
            )
    if any((leader.exchange, leader.environment, leader.uid) == (*place, uid) for leader in leaders):
        raise AuthenticationFailed("this is the leader's own account: it cannot follow itself", kind="leader_key")


def checked_name(name: str) -> str:
    """Return a display name without surroundings. :raises InvalidRequest: it is empty, long or unprintable."""
    name = name.strip() if isinstance(name, str) else ""
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise InvalidRequest(f"a name is 1 to {NAME_LIMIT} printable characters", field="name")
    return name
