"""What `CopyTrader` answers with: frozen records, the same whether the engine is here or behind its socket.

Times that a person sees are ISO 8601 text in UTC; ages and latencies are numbers with their unit in the name.
`status_json` and `book_json` give the shapes of the REST API and of ``--json``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Context, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from .model import AccountId, KeyWarning, Side
from .model import Environment as Environment


class AccountState(StrEnum):
    """What is shown of an account: DISABLED (the exchange refused it) hides PAUSED (a person's wish)."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"


class CopyState(StrEnum):
    """The states of one copy (orders.md of the exchange facts; `copying/states.py` has the arrows)."""

    PLANNED = "PLANNED"
    SUBMITTING = "SUBMITTING"
    NOT_SENT = "NOT_SENT"  # the first attempt provably did not leave or was refused for rate or clock
    ACKED = "ACKED"
    UNKNOWN = "UNKNOWN"
    FILLED = "FILLED"
    PARTLY_FILLED = "PARTLY_FILLED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    STALE = "STALE"
    NEEDS_PERSON = "NEEDS_PERSON"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES

    @property
    def is_ok(self) -> bool:
        return self in (CopyState.FILLED, CopyState.PARTLY_FILLED)


FINAL_STATES = frozenset(
    {
        CopyState.FILLED,
        CopyState.PARTLY_FILLED,
        CopyState.REJECTED,
        CopyState.FAILED,
        CopyState.SKIPPED,
        CopyState.STALE,
    }
)


class LeaderOrderState(StrEnum):
    """What was decided of one leader order."""

    COPIED = "COPIED"  # a closed book exists; its rows say what became of each follower
    IGNORED = "IGNORED"  # not a market order, another symbol, copying stopped ...: `reason` says
    STALE = "STALE"  # found too late to be copied; its rows are STALE
    UNDECIDED = "UNDECIDED"  # the balance before it could not be established; a person is asked


class GapOutcome(StrEnum):
    """How the reading of a gap ended."""

    IN_FULL = "IN_FULL"  # the orders found in it explain what became of the leader's balances
    UNEXPLAINED = "UNEXPLAINED"  # they do not: a deposit, a transfer, another pair's order ...; a person should look
    UNCHECKED = "UNCHECKED"  # no balance from before it is known: that all was found cannot be proven
    LEFT = "LEFT"  # another leader was set before it was read


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceView:
    asset: str
    free: Decimal
    locked: Decimal
    age_sec: float
    source: str  # pushed, read, fills


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyView:
    """One row of a closed book: one leader order on one follower, with the inputs of its sum."""

    id: str
    event_id: str
    account_id: AccountId
    account_name: str
    exchange: str
    env: Environment
    side: Side
    state: CopyState
    reason_kind: str = ""
    reason: str = ""
    size_asset: str = ""  # quote for a BUY, base for a SELL
    free_before: Decimal | None = None
    balance_age_ms: int | None = None
    balance_source: str = ""
    computed: Fraction | None = None  # share × free_before, exact, before the one rounding
    step: Decimal | None = None
    sent: Decimal | None = None
    filled_base: Decimal = Decimal(0)
    filled_quote: Decimal = Decimal(0)
    average_price: Decimal | None = None
    slippage_bp: Decimal | None = None  # against the leader's average price; positive is worse
    commissions: dict[str, Decimal] = field(default_factory=dict)
    client_order_id: str = ""
    exchange_order_id: str = ""
    attempts: int = 0
    # From the leader's final report heard: planned, sent, accepted, final. Absent steps are missing.
    latency_ms: dict[str, float] = field(default_factory=dict)
    asked_by: str = ""  # who asked for it: to be copied now after the first copy had failed, or by giving the share
    asked_at: str = ""
    decided_by: str = ""  # who decided what becomes of it after it had failed, or what became of it
    decided_at: str = ""
    is_open: bool = False  # failed or stale, and nobody has decided yet: copy now, or leave
    updated: str = ""

    @property
    def share(self) -> Fraction | None:
        """Which part of what was free it was to spend, exactly; ``None`` where there was no sum."""
        return None if self.computed is None or not self.free_before else self.computed / Fraction(self.free_before)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPreview:
    """What a copy that a person is about to ask for would be, by the figures of this moment; nothing is reserved.

    The fields are those of `CopyView`. With a reason it would not be sent; the sum is there all the same where it
    is known. Figures older than the limit are read again before the order is made, which may change the sum.
    """

    copy_id: str  # of the copy that it would take the place of, or of the new one
    event_id: str
    account_id: AccountId
    account_name: str
    exchange: str
    env: Environment
    side: Side
    share: Fraction  # as followers copy it: a sale of all but dust is all
    size_asset: str
    free_before: Decimal | None = None  # free now; None: the exchange has not stated it yet
    balance_age_ms: int | None = None
    balance_source: str = ""
    computed: Fraction | None = None
    step: Decimal | None = None
    sent: Decimal | None = None  # what would be sent: computed, rounded down
    reason_kind: str = ""
    reason: str = ""

    @property
    def can_be_copied(self) -> bool:
        return not self.reason_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderOrderView:
    """One leader order and its closed book."""

    id: str
    t: str
    exchange: str
    env: Environment
    symbol: str
    order_id: str
    client_order_id: str
    side: Side
    order_type: str
    status: str
    filled_base: Decimal
    filled_quote: Decimal
    state: LeaderOrderState
    reason_kind: str = ""
    reason: str = ""
    source: str = "live"  # or gap
    balance_asset: str = ""
    balance_before: Decimal | None = None
    balance_how: str = ""
    estimates: dict[str, str] = field(default_factory=dict)
    share: Fraction | None = None
    heard_ms: float | None = None  # from the exchange's transaction time to our hearing it
    copies: tuple[CopyView, ...] = ()
    tally: dict[str, int] = field(default_factory=dict)  # of its rows by state, where they were left out

    @property
    def share_text(self) -> Decimal | None:
        """The share as a fraction 0-1 of 8 places, rounded down."""
        return None if self.share is None else share_places(self.share)

    def counts(self) -> dict[str, int]:
        """Count the rows: ``fanout`` are those not skipped; ``ok + fail + pending = fanout``."""
        states = self.tally or Counter(copy.state.value for copy in self.copies)
        skipped = states.get(CopyState.SKIPPED, 0)
        fanout = sum(states.values()) - skipped
        ok = sum(count for state, count in states.items() if CopyState(state).is_ok)
        pending = sum(count for state, count in states.items() if not CopyState(state).is_final)
        return {"fanout": fanout, "ok": ok, "fail": fanout - ok - pending, "pending": pending, "skipped": skipped}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    id: AccountId
    name: str
    exchange: str
    env: Environment
    state: AccountState
    status: str  # CREATED until the exchange has once agreed to the key, then VERIFIED
    version: int
    paused: bool
    uid: str = ""
    key_fingerprint: str = ""
    error_kind: str = ""
    error: str = ""
    balances: tuple[BalanceView, ...] = ()
    pushed: bool = False  # balances arrive by stream now; otherwise they are polled
    poll_sec: float | None = None  # how often they are read besides; stretched to stay inside the budget
    last_copy: CopyView | None = None
    warnings: tuple[KeyWarning, ...] = ()  # what should be mended about its key, which may still trade

    def balance(self, asset: str) -> BalanceView | None:
        return next((balance for balance in self.balances if balance.asset == asset), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanges:
    """What became of the accounts since the number that was asked about."""

    number: int  # ask about this one next time
    accounts: tuple[AccountView, ...] = ()
    removed: tuple[AccountId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderView:
    exchange: str
    env: Environment
    connected: bool
    connections: int = 0
    uid: str = ""
    key_fingerprint: str = ""
    error_kind: str = ""
    error: str = ""
    last_event: str = ""
    proof_age_sec: float | None = None
    gap_since: str = ""
    balances: tuple[BalanceView, ...] = ()
    warnings: tuple[KeyWarning, ...] = ()  # what should be mended about its key


@dataclass(frozen=True, slots=True, kw_only=True)
class GapView:
    """A time in which the leader may not have been heard, and what was found in it.

    ``found = copied + missed + ignored``, each as it stands now: an undecided order that a person gives a share moves
    from missed to copied.
    """

    id: str
    exchange: str
    env: Environment
    leader_uid: str
    since: str  # all had been heard up to here
    until: str = ""  # from here on all was heard again; empty: the leader is not heard yet
    reason_kind: str
    reason: str
    found: int = 0  # market orders that had not been heard, or not been decided
    copied: int = 0
    missed: int = 0  # too old when they were found, or undecided: listed, to be copied by a person
    ignored: int = 0  # placed while copying was stopped
    outcome: GapOutcome | None = None  # None: it is still being read
    unexplained: dict[str, Decimal] = field(default_factory=dict)  # what is left of the balances' change, by asset

    @property
    def is_open(self) -> bool:
        return self.outcome is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Why the engine does not trade, since when, and what would end it."""

    kind: str
    reason: str
    since: str
    ends_when: str
    exchange: str = ""  # only there, the others trade on; empty: nothing is traded
    until: str = ""  # when it ends by itself; what waits behind it is sent then, if it is still young enough


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingView:
    """How many accounts are ready: verified, their balances known, their events pushed where they can be."""

    ready: int
    accounts: int  # all that no exchange has refused


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    running: bool  # copying is on
    symbol: str = "BTC/USDT"
    copying_since: str = ""
    engine_since: str = ""
    halts: tuple[Halt, ...] = ()
    starting: StartingView | None = None  # some accounts are not ready yet
    leader: LeaderView | None = None
    followers: tuple[AccountView, ...] = ()
    recent_events: tuple[LeaderOrderView, ...] = ()  # without their rows, which `get_event` has
    unsettled: int = 0
    needs_person: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramView:
    """How many took at most so many seconds (cumulative, by the bound as text), how many there were, and their sum."""

    buckets: dict[str, int]
    count: int
    sum_sec: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """One limit of an exchange: what was used of it in the window that ends now."""

    exchange: str
    name: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsView:
    """What is watched over the months; counters begin with the journal (copies) or the engine (latency)."""

    running: bool
    halted: bool
    leader_connections: int
    unsettled: int
    needs_person: int
    journal_queue: int  # transactions that wait to be written
    journal_write_sec: float  # how long the newest one took, its sync included
    copies: dict[str, int]  # by state
    accounts: dict[str, int]  # by state
    latency: dict[str, HistogramView]  # by step: heard, planned, sent, accepted, final
    budgets: tuple[BudgetView, ...] = ()
    oldest_balance_sec: dict[str, float] = field(default_factory=dict)  # by exchange, of its active followers
    pushed: dict[str, int] = field(default_factory=dict)  # active followers whose events are pushed, by exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyView:
    """What the exchange said of an account's key, now."""

    ok: bool
    uid: str = ""
    free_base: Decimal | None = None
    free_quote: Decimal | None = None
    error_kind: str = ""
    error: str = ""
    warnings: tuple[KeyWarning, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingOrder:
    """An order of ours at an exchange that the journal does not know: it was sent after the backup was made."""

    account_id: AccountId
    account_name: str
    exchange: str
    env: Environment
    client_order_id: str
    exchange_order_id: str
    side: Side
    status: str
    filled_base: Decimal
    filled_quote: Decimal
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredView:
    """What has to be reconciled after vault or journal were put back from a backup."""

    reason: str
    backup_made: str  # empty: only the vault is older than it was
    restored: str
    asking: bool  # the exchanges have not all been asked yet
    orders: tuple[MissingOrder, ...] = ()
    not_asked: dict[str, str] = field(default_factory=dict)  # by account name: why its exchange gave no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """Something that happened, numbered without gaps; the live feed and the alarms."""

    seq: int
    t: str
    kind: str  # copy, leader_order, account, balance, leader, gap, copying, alarm, halt
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeView:
    id: str
    name: str
    name_zh: str
    environments: tuple[Environment, ...]
    can_lead: bool
    fields: tuple[dict[str, Any], ...]
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginView:
    name: str
    distribution: str
    version: str
    exchanges: tuple[str, ...]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `doctor`: ``level`` is ok, warning or error; ``remedy`` says what to do.

    `kinds` says both in other languages, from ``kind`` and its figures in ``data``.
    """

    check: str
    level: str
    text: str
    remedy: str = ""
    kind: str = ""
    data: dict[str, Any] = field(default_factory=dict)


# --- the shapes of the REST API and of --json ------------------------------------------------------------


def book_json(order: LeaderOrderView, *, rows: bool = True) -> dict[str, Any]:
    """Return one closed book as the API shows it; amounts stay `Decimal` for the one encoder to print."""
    share = order.share_text
    shape: dict[str, Any] = {
        "id": order.id,
        "t": order.t,
        "type": order.side.value,
        "x_percent": share,
        **({"y_percent": share} if order.side is Side.SELL else {}),
        **order.counts(),
        "state": order.state.value,
        "reason_kind": order.reason_kind,
        "reason": order.reason,
        "source": order.source,
        "exchange": order.exchange,
        "env": order.env.value,
        "symbol": order.symbol,
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "order_type": order.order_type,
        "status": order.status,
        "filled_base": order.filled_base,
        "filled_quote": order.filled_quote,
        "balance_asset": order.balance_asset,
        "balance_before": order.balance_before,
        "balance_how": order.balance_how,
        "estimates": order.estimates,
        "share": None if order.share is None else f"{order.share.numerator}/{order.share.denominator}",
        "heard_ms": order.heard_ms,
    }
    if rows:
        shape["copies"] = [copy_json(copy) for copy in order.copies]
    return shape


def copy_json(copy: CopyView) -> dict[str, Any]:
    """Return one row of a closed book as the API shows it."""
    return {
        "id": copy.id,
        "event_id": copy.event_id,
        "account_id": copy.account_id,
        "account": copy.account_name,
        "exchange": copy.exchange,
        "env": copy.env.value,
        "side": copy.side.value,
        "state": copy.state.value,
        "reason_kind": copy.reason_kind,
        "reason": copy.reason,
        "x_percent": None if copy.share is None else share_places(copy.share),
        "size_asset": copy.size_asset,
        "free_before": copy.free_before,
        "balance_age_ms": copy.balance_age_ms,
        "balance_source": copy.balance_source,
        "computed": None if copy.computed is None else plain_fraction(copy.computed),
        "step": copy.step,
        "sent": copy.sent,
        "filled_base": copy.filled_base,
        "filled_quote": copy.filled_quote,
        "average_price": copy.average_price,
        "slippage_bp": copy.slippage_bp,
        "commissions": copy.commissions,
        "client_order_id": copy.client_order_id,
        "exchange_order_id": copy.exchange_order_id,
        "attempts": copy.attempts,
        "latency_ms": copy.latency_ms,
        "asked_by": copy.asked_by,
        "asked_at": copy.asked_at,
        "decided_by": copy.decided_by,
        "decided_at": copy.decided_at,
        "open": copy.is_open,
        "updated": copy.updated,
    }


def gap_json(gap: GapView) -> dict[str, Any]:
    """Return a gap as the API shows it."""
    return {
        "id": gap.id,
        "exchange": gap.exchange,
        "env": gap.env.value,
        "since": gap.since,
        "until": gap.until,
        "reason_kind": gap.reason_kind,
        "reason": gap.reason,
        "found": gap.found,
        "copied": gap.copied,
        "missed": gap.missed,
        "ignored": gap.ignored,
        "open": gap.is_open,
        "outcome": None if gap.outcome is None else gap.outcome.value,
        "unexplained": gap.unexplained,
    }


def preview_json(preview: CopyPreview) -> dict[str, Any]:
    """Return what a copy would be as the API shows it; ``x_percent`` is the share as in a closed book."""
    return {
        "copy_id": preview.copy_id,
        "event_id": preview.event_id,
        "account_id": preview.account_id,
        "account": preview.account_name,
        "exchange": preview.exchange,
        "env": preview.env.value,
        "side": preview.side.value,
        "x_percent": share_places(preview.share),
        "share": f"{preview.share.numerator}/{preview.share.denominator}",
        "size_asset": preview.size_asset,
        "free_before": preview.free_before,
        "balance_age_ms": preview.balance_age_ms,
        "balance_source": preview.balance_source,
        "computed": None if preview.computed is None else plain_fraction(preview.computed),
        "step": preview.step,
        "sent": preview.sent,
        "reason_kind": preview.reason_kind,
        "reason": preview.reason,
    }


def restored_json(restored: RestoredView) -> dict[str, Any]:
    """Return what has to be reconciled as the API shows it."""
    return {
        "reason": restored.reason,
        "backup_made": restored.backup_made,
        "restored": restored.restored,
        "asking": restored.asking,
        "orders": [
            {
                "account_id": order.account_id,
                "account": order.account_name,
                "exchange": order.exchange,
                "env": order.env.value,
                "client_order_id": order.client_order_id,
                "exchange_order_id": order.exchange_order_id,
                "side": order.side.value,
                "status": order.status,
                "filled_base": order.filled_base,
                "filled_quote": order.filled_quote,
                "created": order.created,
            }
            for order in restored.orders
        ],
        "not_asked": restored.not_asked,
    }


def share_places(share: Fraction) -> Decimal:
    """Return a share as a fraction 0-1 of 8 places, rounded down."""
    return plain_fraction(share, 8).quantize(Decimal("0.00000001"))


def plain_fraction(value: Fraction, places: int = 16) -> Decimal:
    """Return *value* as a decimal of at most *places* places, cut, never rounded up."""
    scale = 10**places
    # From text and in a context of its own: the ambient one rounds at 28 digits, and not always down.
    return Decimal(f"{value.numerator * scale // value.denominator}E-{places}").normalize(Context(prec=1000))


def account_json(account: AccountView, base: str, quote: str) -> dict[str, Any]:
    """Return one account as the API shows it: ``freeUSDT`` and ``freeBTC`` are named after the symbol's assets."""
    shape: dict[str, Any] = {
        "id": account.id,
        "name": account.name,
        "exchange": account.exchange,
        "env": account.env.value,
        "state": account.state.value,
        "status": account.status,
        "version": account.version,
        "paused": account.paused,
        "error_kind": account.error_kind,
        "error": account.error,
        "warnings": warnings_json(account.warnings),
        "pushed": account.pushed,
        "poll_sec": account.poll_sec,
    }
    for asset in (quote, base):
        balance = account.balance(asset)
        shape[f"free{asset}"] = None if balance is None else balance.free
        shape[f"free{asset}_age_sec"] = None if balance is None else balance.age_sec
        shape[f"free{asset}_source"] = None if balance is None else balance.source
    shape["last_copy"] = None if account.last_copy is None else copy_json(account.last_copy)
    return shape


def warnings_json(warnings: Iterable[KeyWarning]) -> list[dict[str, Any]]:
    """Return what should be mended about a key as the API shows it."""
    return [{"kind": warning.kind, "text": warning.text, **warning.data} for warning in warnings]


def feed_json(event: FeedEvent) -> dict[str, Any]:
    """Return one entry of the feed as the API and the live stream show it."""
    return {name: getattr(event, name) for name in ("seq", "t", "kind", "text", "data")}


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return one line of `doctor` as the API shows it."""
    return {name: getattr(finding, name) for name in ("check", "level", "text", "remedy", "kind", "data")}


def leader_json(leader: LeaderView) -> dict[str, Any]:
    """Return the leader as the API shows it."""
    return {
        "exchange": leader.exchange,
        "env": leader.env.value,
        "uid": leader.uid,
        "key_fingerprint": leader.key_fingerprint,
        "connected": leader.connected,
        "connections": leader.connections,
        "last_event": leader.last_event,
        "proof_age_sec": leader.proof_age_sec,
        "gap_since": leader.gap_since,
        "warnings": warnings_json(leader.warnings),
        "error_kind": leader.error_kind,
        "error": leader.error,
        **{f"free{balance.asset}": balance.free for balance in leader.balances},
    }


def status_json(status: StatusView) -> dict[str, Any]:
    """Return the shape of ``GET /status``."""
    leader = status.leader
    base, _, quote = status.symbol.partition("/")
    return {
        "running": status.running,
        "symbol": status.symbol,
        "copying_since": status.copying_since,
        "engine_since": status.engine_since,
        "halted": any(not halt.exchange for halt in status.halts),
        "halts": [
            {
                "kind": halt.kind,
                "reason": halt.reason,
                "since": halt.since,
                "ends_when": halt.ends_when,
                "exchange": halt.exchange,
                "until": halt.until,
            }
            for halt in status.halts
        ],
        "starting": None
        if status.starting is None
        else {"ready": status.starting.ready, "accounts": status.starting.accounts},
        "leader": None if leader is None else leader_json(leader),
        "followers": [account_json(account, base, quote) for account in status.followers],
        "recent_events": [book_json(order, rows=False) for order in status.recent_events],
        "unsettled": status.unsettled,
        "needs_person": status.needs_person,
    }
