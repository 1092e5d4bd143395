"""Hears one leader: two connections, every event once, every market order decided once.

One thread (``leader``) owns the fold, the ledger and the queue of orders to be decided. The streams' readers only
post to it; what asks the exchange does so on a pool and posts its answer back. On the way from the final report to
the book there is no request to the exchange, unless the balance's estimates contradict each other.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import Connection

from ..clock import NS_PER_SEC, Clock, wall_text
from ..codec import from_wire
from ..connector import Connector, StreamDown, StreamFrame, StreamUp, UserStream
from ..copying.plan import Decision, Leader
from ..copying.sizing import copied_share, share_of
from ..errors import AuthenticationFailed, CopytradeError, ExchangeError, JournalError
from ..exchanges import Exchanges, OpenExchange
from ..feed import Feed
from ..model import (
    LEADER,
    BalanceChange,
    BalanceSnapshot,
    BalanceSource,
    ExecutionReport,
    OrderReport,
    Side,
    Symbol,
)
from ..settings import Settings
from ..store import book as rows
from ..store.journal import Journal
from ..views import BalanceView, LeaderOrderState, LeaderView
from ..workers import Mailbox, OnDeath
from .fold import Fold, FoldedOrder, Progress
from .gaps import LOOK_BACK_MS, PROOF_SEC, RETRY_SEC, GapRecovery
from .ledger import BalanceLedger, Estimates, Moment, agree, choose

log = logging.getLogger(__name__)

CONNECTIONS = ("leader-a", "leader-b")
CROSS_CHECK_WAIT_SEC = 0.025  # for a figure from after the order to confirm the one from before it
FINAL_WAIT_SEC = 2.0
TICK_SEC = 0.5
REPLAY_MS = 15 * 60 * 1000
REMEMBER_DECIDED_MS = 7 * 24 * 3600 * 1000
HEARD_WAIT_SEC = 15.0
CONFIRM_LATER_NS = 30 * NS_PER_SEC
CONTRADICTED_SEC = 15.0  # a later order's balance may come before its reports: until then it contradicts for that alone
REFUSED_RETRY_SEC = 60.0
RESOLVE_TRIES = 4
PUT_BACK_MS = 250  # reports that overtake each other on the way keep number and stamp alike; this is none of those
NEVER_FINAL_SEC = 120.0
NEVER_FINAL = Decision(
    state=LeaderOrderState.UNDECIDED,
    reason_kind="never_final",
    reason="the exchange never said how the leader's order ended",
)

Event = ExecutionReport | BalanceSnapshot | BalanceChange
EVENT_TYPES: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (ExecutionReport, BalanceSnapshot, BalanceChange)
}


@dataclass(slots=True, eq=False)
class _Pending:
    """A final market order that is not decided yet."""

    order: FoldedOrder
    since_ns: int
    was_resolved: bool = False
    is_resolving: bool = False
    unanswered: int = 0  # times that the exchange was asked and did not answer


@dataclass(slots=True)
class _Unconfirmed:
    """A decided order whose figure from after it has not come: it is checked when it does."""

    order: FoldedOrder
    order_row_id: int
    balance: Decimal
    until_ns: int
    contradicted_ns: int = 0  # since when the figures from after it say otherwise


@dataclass(slots=True)
class _Health:
    """What is shown of the leader. Replaced under the watcher's lock, read by anybody."""

    last_event: str = ""
    gap_since: str = ""
    error_kind: str = ""
    error: str = ""
    balances: tuple[BalanceView, ...] = field(default_factory=tuple)


class LeaderWatcher:
    """Listens to one leader account until stopped; another leader is another watcher."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        exchanges: Exchanges,
        feed: Feed,
        leader: Leader,
        opened: OpenExchange,
        connector: Connector,
        key_fingerprint: str,
        on_death: OnDeath,
        decided: Callable[[FoldedOrder, Decision], int | None],
        copying_since_ms: Callable[[], int | None],
    ) -> None:
        """
        :param decided: writes the order's closed book and hands its copies on; returns the row's id, ``None`` for an
            order that was decided before.
        :param copying_since_ms: exchange time since when orders are copied; ``None`` while copying is stopped.
        """
        self.leader = leader
        self.opened = opened
        self.key_fingerprint = key_fingerprint
        self._settings = settings
        self._symbol: Symbol = settings.symbol
        self._clock = clock
        self._journal = journal
        self._exchanges = exchanges
        self._feed = feed
        self._connector = connector
        self._decided = decided
        self._copying_since_ms = copying_since_ms
        self._fold = Fold()
        self._ledger = BalanceLedger(self._symbol.quote, self._symbol.base)
        self._pending: list[_Pending] = []
        self._unconfirmed: list[_Unconfirmed] = []
        self._frames: list[tuple[str, StreamFrame]] = []  # with the stream that each came by
        self._heard_by: set[str] = set()  # the connections that anything came by
        self._seen: deque[str] = deque(maxlen=20_000)
        self._seen_set: set[str] = set()
        self._delta_numbers = itertools.count()
        self._newest = Moment(0)  # of the executions told by the stream
        self._begun_ns = 0  # since when the ledger's figures have one order
        self._decided_before: set[tuple[str, int]] = set()
        self._asked_for: set[Any] = set()
        self._is_reading_soon = False
        self._stopping = False
        self._lock = threading.Lock()
        self._health = _Health()
        self._heard = threading.Event()  # listening, or given up
        self._on_death = on_death
        self._mailbox = Mailbox("leader", clock, on_death)
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="leader-ask")
        self._streams: dict[str, UserStream] = {}
        self._gaps = GapRecovery(
            clock=clock,
            journal=journal,
            exchanges=exchanges,
            feed=feed,
            leader=leader,
            opened=opened,
            connector=connector,
            symbol=self._symbol,
            ledger=self._ledger,
            mailbox=self._mailbox,
            ask=self._ask,
            hearing=self,
        )

    # --- from other threads ---

    def start(self) -> None:
        """Replay what is on disk, connect, and catch up; returns at once."""
        self._mailbox.start(after_each_batch=self._work_off)
        self._ask(self._prepare)

    def wait_until_heard(self, timeout_sec: float = HEARD_WAIT_SEC) -> None:
        """Wait until events are heard or it is plain why not, at most *timeout_sec*."""
        self._clock.wait(self._heard, timeout_sec)

    def stop(self) -> None:
        self._stopping = True
        for stream in list(self._streams.values()):
            stream.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if not self._journal.broken:
            self._mailbox.post(self._gaps.remember)
        self._mailbox.stop()
        self._connector.close()

    def clock_put_back(self) -> None:
        """The exchange's clock was put back: hold orders back, and begin anew."""
        self._mailbox.post(self._gaps.clock_put_back)

    def now_ms(self) -> int | None:
        """Return the time at the leader's exchange; ``None`` while it is not known."""
        return self.opened.clock.now_ms() if self.opened.clock.is_known else None

    def view(self) -> LeaderView:
        proofs = self.proofs()
        now = self._clock.monotonic_ns()
        with self._lock:
            health = self._health
        connections = self._proven_connections()
        return LeaderView(
            exchange=self.leader.exchange,
            env=self.leader.environment,
            connected=self._gaps.is_caught_up and connections > 0,
            connections=connections,
            uid=self.leader.uid,
            key_fingerprint=self.key_fingerprint,
            error_kind=health.error_kind,
            error=health.error,
            last_event=health.last_event,
            proof_age_sec=round((now - max(proofs)) / NS_PER_SEC, 1) if proofs else None,
            gap_since=health.gap_since,
            balances=health.balances,
        )

    # --- connecting ---

    def _prepare(self) -> None:
        """Learn the symbol's rules first: without them no report on disk is known to be about our symbol."""
        try:
            self._exchanges.ready(self.opened)
        except CopytradeError as error:
            self.show(error_kind=error.kind, error=error.message)
            self._mailbox.post(self._mailbox.later, RETRY_SEC[2], self._ask, self._prepare)
        else:
            self._mailbox.post(self._begin)

    def _begin(self) -> None:
        if self._stopping:
            return
        self._replay()
        self._gaps.begin()
        self.hold_back(self._gaps.gap_id)  # what was heard, and not decided before the last run ended
        if self._is_from_later():
            self._gaps.clock_put_back()
        for name in CONNECTIONS:
            stream = self.opened.exchange.open_user_stream(partial(self._sink, name), name)
            if stream is None:
                self.show(error_kind="cannot_lead", error=f"{self.leader.exchange} cannot lead: it pushes nothing")
                self.heard()
                return
            self._streams[name] = stream
            self._ask(self._subscribe, stream)
        self._mailbox.later(TICK_SEC, self._tick)

    def _subscribe(self, stream: UserStream) -> None:
        try:
            self._exchanges.ready(self.opened)
            stream.add(self._connector)
        except AuthenticationFailed as error:
            self.show(error_kind=error.kind, error=error.message)
            self._feed.alarm(
                f"the leader's key is refused: {error.message}",
                what="leader_key_refused",
                reason_kind=error.kind,
                reason=error.message,
            )
            self.heard()
            self._mailbox.post(self._mailbox.later, REFUSED_RETRY_SEC, self._ask, self._subscribe, stream)
        except ExchangeError as error:
            self.show(error_kind=error.kind, error=error.message)
            if error.kind != "stream_interrupted" and not self._stopping:
                # Not a stream that keeps trying by itself: the exchange could not even be asked for its time.
                self._mailbox.post(self._mailbox.later, RETRY_SEC[2], self._ask, self._subscribe, stream)

    def _ask(self, action: Callable[..., None], *arguments: Any) -> None:
        """Run what asks the exchange on the pool; a bug in it ends the engine's trading as one in a thread does."""

        def run() -> None:
            try:
                action(*arguments)
            except BaseException as error:
                log.exception("asking the leader's exchange failed")
                self._on_death("leader-ask", error)

        try:
            self._pool.submit(run)
        except RuntimeError:
            if not self._stopping:
                raise

    def _sink(self, stream: str, frame: StreamFrame) -> None:
        self._mailbox.post(self._arrived, stream, frame)

    def _arrived(self, stream: str, frame: StreamFrame) -> None:
        self._frames.append((stream, frame))

    def begin_anew(self) -> None:
        self._begun_ns = self._clock.monotonic_ns()
        self._ledger.forget_all()
        self._newest = Moment(0)  # else what comes now would look as if the clock had been put back once more
        # What REST says may be what it said before: it is taken in all the same.
        read = f"{self.leader.label}:{BalanceSource.READ}:"
        self._seen_set = {key for key in self._seen_set if not key.startswith(read)}

    def heard(self) -> None:
        self._heard.set()

    def proofs(self) -> list[int]:
        found = (stream.last_proof_ns(LEADER) for stream in self._streams.values())
        return [proof for proof in found if proof is not None]

    def _proven_connections(self) -> int:
        now = self._clock.monotonic_ns()
        return sum(now - proof <= PROOF_SEC * NS_PER_SEC for proof in self.proofs())

    # --- hearing ---

    def _work_off(self) -> None:
        """Store what has arrived, then act on it: a frame that is not on disk has not been heard."""
        frames, self._frames = self._frames, []
        events: list[tuple[str, StreamFrame]] = []
        for stream, frame in frames:
            is_first = frame.connection not in self._heard_by
            self._heard_by.add(frame.connection)
            if isinstance(frame.event, StreamUp):
                text = f"{frame.connection} hears the leader"
                self._feed.publish("leader", text, what="leader_connection_up", connection=frame.connection)
                self._gaps.connection_up(stream)
            elif isinstance(frame.event, StreamDown):
                text = f"{frame.connection} is down: {frame.event.reason}"
                down = {"connection": frame.connection, "reason": frame.event.reason}
                self._feed.publish("leader", text, what="leader_connection_down", **down)
                self._gaps.connection_down(stream)
            else:
                if is_first:
                    # A socket that has taken over from another one: that one may have been silent while it lived.
                    self._gaps.connection_up(stream)
                key = self._key(frame.event)
                if key not in self._seen_set:
                    self._see(key)
                    events.append((key, frame))
        if events:
            wall_ms = self._clock.wall_ms()
            stored = [
                rows.frame_row(key, self.leader.label, frame.connection, wall_ms, frame.event, frame.raw)
                for key, frame in events
            ]
            try:
                fresh = self._journal.write(lambda connection: rows.record_frames(connection, stored))
            except JournalError:
                return  # halted; what was heard is found again after the restart
            for key, frame in events:
                if key in fresh:
                    self._take(frame.event, frame.received_ns)
            self.show(last_event=wall_text(wall_ms))
        self._decide_pending()
        self._gaps.close_if_done()

    def _key(self, event: Any) -> str:
        """Return the key under which an event is stored once, however many connections bring it."""
        label = self.leader.label
        if isinstance(event, ExecutionReport):
            return (
                f"{label}:order:{event.exchange_symbol}:{event.exchange_order_id}:{event.created_ms}"
                f":{event.execution_id}:{event.transaction_ms}"
            )
        if isinstance(event, BalanceChange):
            return f"{label}:change:{event.asset}:{event.time_ms}:{format(event.free_delta, 'f')}"
        figures = ",".join(f"{b.asset}={format(b.free, 'f')}/{format(b.locked, 'f')}" for b in event.balances)
        return f"{label}:{event.source}:{event.time_ms}:{figures}"

    def _see(self, key: str) -> None:
        if len(self._seen) == self._seen.maxlen:
            self._seen_set.discard(self._seen[0])
        self._seen.append(key)
        self._seen_set.add(key)

    def _take(self, event: Any, heard_ns: int) -> None:
        if isinstance(event, BalanceSnapshot):
            self._ledger.state(event)
            self._confirm_later()
            self._show_balances()
        elif isinstance(event, BalanceChange):
            self._ledger.change(self._next_delta(), self._moment_of(event), {event.asset: event.free_delta})
            self._show_balances()
        else:
            moment, newest = Moment(event.transaction_ms, event.execution_id), self._newest
            if heard_ns and moment.execution_id > newest.execution_id and moment.time_ms < newest.time_ms - PUT_BACK_MS:
                # Executions are numbered on: what comes later by its number and earlier by its stamp says that the
                # clock was put back. The measurement that shows it comes too late for this order.
                self._exchanges.remeasure(self.opened)
                self._gaps.clock_put_back()
                self._newest = moment
            self._newest = max(self._newest, moment)
            self._progress(self._fold.report(event, heard_ns, self._ledger.arrivals))
            if event.order_type != "MARKET" and not self._is_reading_soon:
                # What an order that rests on the book locks or frees is told by a balance push alone: it may be lost.
                self._is_reading_soon = True
                self._mailbox.later(0.3, self._read_for_resting)

    def _moment_of(self, change: BalanceChange) -> Moment:
        """Place a deposit or withdrawal: within its millisecond it comes after the executions told before it."""
        if change.time_ms != self._newest.time_ms:
            return Moment(change.time_ms)
        return replace(self._newest, after=1)

    def _progress(self, progress: Progress) -> None:
        """Carry the leader's balances forward by what a report newly told, and queue the order if it is final."""
        order = progress.order
        deltas = self._deltas(progress)
        if deltas:
            self._ledger.change(self._next_delta(), progress.moment, deltas)
            self._show_balances()
        if not progress.is_final_now:
            return
        if (order.exchange_order_id, order.created_ms) in self._decided_before:
            return
        refusal = self._not_for_copying(order)
        if refusal is not None:
            self._decided(order, Decision(state=LeaderOrderState.IGNORED, reason_kind=refusal[0], reason=refusal[1]))
            return
        self._pending.append(_Pending(order, self._clock.monotonic_ns()))

    def _deltas(self, progress: Progress) -> dict[str, Decimal]:
        order, symbol = progress.order, self._symbol
        if not self._is_our_symbol(order):
            return {}
        is_buy = order.side is Side.BUY
        deltas: dict[str, Decimal] = {}
        # What an order that rests on the book pays was locked when it was placed, not when it fills.
        pays_from_free = order.order_type == "MARKET"
        if progress.new_base and (is_buy or pays_from_free):
            deltas[symbol.base] = progress.new_base if is_buy else -progress.new_base
        if progress.new_quote and (not is_buy or pays_from_free):
            deltas[symbol.quote] = -progress.new_quote if is_buy else progress.new_quote
        for asset, amount in progress.new_commissions:
            deltas[asset] = deltas.get(asset, Decimal(0)) - amount
        return {asset: delta for asset, delta in deltas.items() if delta}

    def _next_delta(self) -> str:
        return str(next(self._delta_numbers))

    def _is_our_symbol(self, order: FoldedOrder) -> bool:
        rules = self.opened.rules
        return rules is not None and order.exchange_symbol == rules.exchange_symbol

    def _not_for_copying(self, order: FoldedOrder) -> tuple[str, str] | None:
        if not self._is_our_symbol(order):
            return "other_symbol", f"an order in {order.exchange_symbol}; only {self._symbol} is copied"
        if order.order_type != "MARKET":
            return "not_market", f"a {order.order_type} order; only market orders are copied"
        if order.filled_base <= 0:
            return "nothing_filled", "the leader's order ended with nothing filled"
        return None

    # --- deciding ---

    def _decide_pending(self) -> None:
        """Decide the orders that can be, strictly in the leader's order."""
        self._pending.sort(key=lambda pending: pending.order.first)
        while self._pending and self._gaps.is_caught_up:
            pending = self._pending[0]
            if pending.is_resolving or self._waits_for_an_earlier_one(pending):
                return
            decision = self._decide(pending)
            if decision is None:
                return
            self._pending.pop(0)
            order_row_id = self._decided(pending.order, decision)
            self._decided_before.add((pending.order.exchange_order_id, pending.order.created_ms))
            if order_row_id is not None and decision.balance_before is not None and "undone" not in decision.estimates:
                until = self._clock.monotonic_ns() + CONFIRM_LATER_NS
                self._unconfirmed.append(_Unconfirmed(pending.order, order_row_id, decision.balance_before, until))

    def _waits_for_an_earlier_one(self, pending: _Pending) -> bool:
        """An earlier order without its final report is asked for at once: its sum is part of this one's balance."""
        now = self._clock.monotonic_ns()
        if now - pending.since_ns > FINAL_WAIT_SEC * NS_PER_SEC:
            return False
        earlier = [order for order in self._unfinished(now) if order.first < pending.order.first]
        for order in earlier:
            self._ask_for(order)
        if earlier:
            self._mailbox.later(0.05, _nothing)
        return bool(earlier)

    def _decide(self, pending: _Pending) -> Decision | None:
        """Return what becomes of an order; ``None``: not yet."""
        order = pending.order
        asset = self._symbol.quote if order.side is Side.BUY else self._symbol.base
        estimates = self._estimates(order)
        since_ms, refusal = self._placed_before(order)
        if refusal is not None and since_ms is not None and self._has_no_order(since_ms, order.created_ms):
            reason = f"the exchange's clock was put back: nobody knows whether {refusal.reason}"
            return self._undecided(order, asset, estimates, reason)
        if refusal is not None:
            return refusal
        stamps = (order.created_ms, order.last.time_ms)
        if order.first_heard_ns < self._begun_ns and any(map(self.opened.clock.passed_twice, stamps)):
            return self._undecided(order, asset, estimates, "the exchange's clock was put back when it was placed")
        waited_ns = self._clock.monotonic_ns() - pending.since_ns
        if estimates.undone is None and waited_ns < CROSS_CHECK_WAIT_SEC * NS_PER_SEC:
            self._mailbox.later(CROSS_CHECK_WAIT_SEC - waited_ns / NS_PER_SEC, _nothing)
            return None
        chosen = choose(estimates)
        if estimates.undone is None and self._needs_to_be_confirmed(order):
            chosen = None
        if estimates.undone is None and self._gaps.is_reading and not pending.was_resolved:
            chosen = None
        if chosen is None and not pending.was_resolved:
            pending.is_resolving = True
            self._ask(self._resolve, pending)
            return None
        if chosen is None:
            return self._undecided(
                order, asset, estimates, "the figures of the balance before it contradict each other"
            )
        balance, how = chosen
        amount = order.filled_quote if order.side is Side.BUY else order.filled_base
        share = share_of(amount, balance)
        if share is None:
            return self._undecided(order, asset, estimates, "the order is larger than the balance known before it")
        late_kind, late = self._too_late(order)
        return Decision(
            state=LeaderOrderState.STALE if late else LeaderOrderState.COPIED,
            reason_kind=late_kind,
            reason=late,
            share=copied_share(share, order.side),
            balance_asset=asset,
            balance_before=balance,
            balance_how=how,
            estimates=estimates.as_text(),
        )

    def _placed_before(self, order: FoldedOrder) -> tuple[int | None, Decision | None]:
        """Return why an order is from before it would be copied, and since when it would be; ``None``: it is not."""
        since_ms = self._copying_since_ms()
        if order.created_ms <= self._gaps.leading_since_ms:
            since_ms, kind = self._gaps.leading_since_ms, "before_leading"
            reason = "it was placed before this account was set as the leader"
        elif since_ms is None or order.created_ms <= since_ms:
            kind, reason = "copying_stopped", "it was placed while copying was stopped"
        else:
            return since_ms, None
        return since_ms, Decision(state=LeaderOrderState.IGNORED, reason_kind=kind, reason=reason)

    def _has_no_order(self, since_ms: int, time_ms: int) -> bool:
        """Whether the exchange's clock was put back so that nobody knows which of the two was first."""
        clock = self.opened.clock
        return clock.is_yet_to_come(since_ms) or (clock.passed_twice(since_ms) and clock.passed_twice(time_ms))

    def _is_of_another_time(self, time_ms: int) -> bool:
        """Whether something is from before this account led, as far as that is known."""
        since_ms = self._gaps.leading_since_ms
        return time_ms <= since_ms and not self._has_no_order(since_ms, time_ms)

    def _needs_to_be_confirmed(self, order: FoldedOrder) -> bool:
        """Whether the figure from before an order may lack what nobody told of: only one from after it shows that.

        In a gap a deposit may have come; an earlier order's sum is not known before its final report.
        """
        is_after_unknown = any(each.first < order.first for each in self._unfinished(self._clock.monotonic_ns()))
        return order.source == "gap" or is_after_unknown

    def _estimates(self, order: FoldedOrder) -> Estimates:
        is_buy = order.side is Side.BUY
        asset = self._symbol.quote if is_buy else self._symbol.base
        # A fee in the asset that is sized by (BNB fees on BNB/USDT) left the balance with the order.
        own = -(order.filled_quote if is_buy else order.filled_base) - order.commissions.get(asset, Decimal(0))
        return self._ledger.before(
            asset,
            created_ms=order.created_ms,
            first=order.first,
            last=order.last,
            own=own,
            first_arrival=order.first_arrival,
        )

    def _undecided(self, order: FoldedOrder, asset: str, estimates: Estimates, reason: str) -> Decision:
        return Decision(
            state=LeaderOrderState.UNDECIDED,
            reason_kind="share_unknown",
            reason=reason,
            balance_asset=asset,
            estimates=estimates.as_text(),
        )

    def _too_late(self, order: FoldedOrder) -> tuple[str, str]:
        """Return kind and sentence of why an order is not copied any more; empty: it is."""
        if order.gap_id is not None and self._gaps.is_too_long:
            return "gap_too_long", "the leader was not heard for over 24 hours: what was found is not copied by itself"
        now_ms = self.now_ms()
        limit_sec = self.age_limit_sec(order.side, order.source)
        if now_ms is None or now_ms - order.last.time_ms <= limit_sec * 1000:
            return "", ""
        return "too_old", f"the leader's order was {(now_ms - order.last.time_ms) / 1000:.0f} s old when it was found"

    def age_limit_sec(self, side: Side, source: str) -> float:
        """Return how old a leader's order may be and still be copied."""
        if source == "gap":
            return self._settings.max_copy_age_backfill_sec
        return self._settings.max_copy_age_sell_sec if side is Side.SELL else self._settings.max_copy_age_sec

    def _resolve(self, pending: _Pending) -> None:
        """The estimates contradict each other: ask the exchange what else happened, and what there is now."""
        try:
            snapshot = self._connector.balances(urgent=True)
            orders = self._gaps.read_orders(pending.order.created_ms - LOOK_BACK_MS)
        except CopytradeError as error:
            log.warning("the leader's balance could not be checked: %s", error.message)
            self._mailbox.post(self._resolved, pending, None, [])
        else:
            self._mailbox.post(self._resolved, pending, snapshot, orders)

    def _resolved(self, pending: _Pending, snapshot: BalanceSnapshot | None, orders: Iterable[OrderReport]) -> None:
        if snapshot is None and pending.unanswered < RESOLVE_TRIES - 1:
            pending.unanswered += 1
            self._mailbox.later(RETRY_SEC[0], self._ask, self._resolve, pending)
            return
        self._gaps.take_found(list(orders))
        if snapshot is not None:
            self.take_snapshot(snapshot)
        if self._estimates(pending.order).undone is None and pending.unanswered < RESOLVE_TRIES - 1:
            # The exchange answered from before the order: what it reads from lags behind.
            pending.unanswered += 1
            self._mailbox.later(RETRY_SEC[0], self._ask, self._resolve, pending)
            return
        pending.is_resolving = False
        pending.was_resolved = True

    def _confirm_later(self) -> None:
        """A figure from after a decided order has come: hold it against the one that was reckoned with."""
        now = self._clock.monotonic_ns()
        waiting, self._unconfirmed = self._unconfirmed, []
        for item in waiting:
            estimates = self._estimates(item.order)
            if estimates.undone is None:
                if now < item.until_ns:
                    self._unconfirmed.append(item)
                continue
            if not agree(item.balance, estimates.undone):
                item.contradicted_ns = item.contradicted_ns or now
                left_sec = CONTRADICTED_SEC - (now - item.contradicted_ns) / NS_PER_SEC
                if left_sec > 0:
                    self._unconfirmed.append(item)
                    self._mailbox.later(left_sec, self._confirm_later)
                    continue
                self._say_contradicted(item, estimates.undone)
            self._journal.submit(partial(_note_estimates, item.order_row_id, estimates.as_text()))

    def _say_contradicted(self, item: _Unconfirmed, stated: Decimal) -> None:
        asset = self._symbol.quote if item.order.side is Side.BUY else self._symbol.base
        self._feed.alarm(
            f"the leader's {asset} before order {item.order.exchange_order_id} was reckoned as "
            f"{format(item.balance, 'f')}, but what came after it says {format(stated, 'f')}",
            what="leader_balance_contradicted",
            order_id=item.order.exchange_order_id,
            asset=asset,
            reckoned=item.balance,
            stated=stated,
            event_id=str(item.order_row_id),
        )

    # --- what was read from the exchange ---

    def is_unheard(self, report: OrderReport) -> bool:
        rules, identity = self.opened.rules, (report.exchange_order_id, report.created_ms)
        if rules is None or identity in self._decided_before or self._is_of_another_time(report.created_ms):
            return False
        return not self._fold.has_heard_of((rules.exchange_symbol, *identity))

    def hold_back(self, gap_id: int | None) -> None:
        for pending in self._pending:
            pending.order.source, pending.order.gap_id = "gap", gap_id

    def has_undecided(self, gap_id: int) -> bool:
        return any(pending.order.gap_id == gap_id for pending in self._pending)

    def take_orders(self, orders: Iterable[OrderReport], source: str, gap_id: int | None = None) -> None:
        """Fold in what REST tells of orders, oldest first; those that become final by it belong to the gap."""
        rules = self.opened.rules
        assert rules is not None  # nothing is asked about before they are known
        for report in sorted(orders, key=lambda report: (report.updated_ms, report.created_ms)):
            key = (rules.exchange_symbol, report.exchange_order_id, report.created_ms)
            if self._fold.knows(key) or (report.exchange_order_id, report.created_ms) in self._decided_before:
                continue
            if self._is_of_another_time(report.created_ms):
                continue  # from before this account led
            kind = "MARKET" if report.is_market else "LIMIT"
            progress = self._fold.read_back(
                report, rules.exchange_symbol, kind, self._clock.monotonic_ns(), self._ledger.arrivals, source
            )
            if progress.is_final_now and report.is_market and report.filled_base and gap_id is not None:
                progress.order.source, progress.order.gap_id = "gap", gap_id
            self._progress(progress)

    def take_snapshot(self, snapshot: BalanceSnapshot) -> None:
        snapshot = replace(snapshot, time_ms=self.opened.clock.not_after_now(snapshot.time_ms))
        key = self._key(snapshot)
        if key in self._seen_set:
            return
        self._see(key)
        stored = [rows.frame_row(key, self.leader.label, "rest", self._clock.wall_ms(), snapshot, "")]
        try:
            self._journal.write(lambda connection: rows.record_frames(connection, stored))
        except JournalError:
            return
        self._take(snapshot, self._clock.monotonic_ns())

    def _replay(self) -> None:
        """Bring fold and ledger to where the last run left them, from the frames on disk."""
        leader, wall_ms = self.leader, self._clock.wall_ms()
        since_ms = self._gaps.known_since_ms()
        with self._journal.reading() as connection:
            # However long ago that was: it is the ground of what is reckoned over the gap since then.
            heard_ms = rows.newest_frame_ms(connection, leader.label) or wall_ms
            stored = rows.frames_since(connection, leader.label, min(heard_ms, wall_ms) - REPLAY_MS)
            oldest_ms = min(since_ms or wall_ms, heard_ms, wall_ms) - REMEMBER_DECIDED_MS
            self._decided_before = rows.known_orders(
                connection, leader.exchange, leader.environment.value, leader.uid, oldest_ms
            )
        for row in stored:
            self._see(row.dedupe_key)
            self._take(from_wire(row.event, EVENT_TYPES[row.event_type]), 0)

    def _is_from_later(self) -> bool:
        """Whether what was replayed bears stamps that are yet to come: the clock was put back since."""
        newest = (self._ledger.newest(asset) for asset in (self._symbol.quote, self._symbol.base))
        stamps = [self._newest.time_ms, *(figure.time_ms for figure in newest if figure is not None)]
        return any(map(self.opened.clock.is_yet_to_come, stamps))

    # --- watching over it ---

    def _tick(self) -> None:
        if self._stopping:
            return
        self._mailbox.later(TICK_SEC, self._tick)
        now = self._clock.monotonic_ns()
        for order in self._unfinished(now - int(FINAL_WAIT_SEC * NS_PER_SEC)):
            has_waited_long = order.first_heard_ns and now - order.first_heard_ns > NEVER_FINAL_SEC * NS_PER_SEC
            if has_waited_long and self._gaps.is_caught_up:  # else the reading of the gap will tell
                order.done = True
                self._decided(order, NEVER_FINAL)
            else:
                order.first_heard_ns = order.first_heard_ns or now  # replayed: its patience begins now
                self._ask_for(order)
        self._gaps.tick()

    def _ask_for(self, order: FoldedOrder) -> None:
        """Ask REST for an order whose final report has not come."""
        if order.key in self._asked_for:
            return
        self._asked_for.add(order.key)
        self._ask(self._read_order, order)

    def _read_order(self, order: FoldedOrder) -> None:
        report = None
        try:
            report = self._connector.find_order(order.client_order_id, order.exchange_order_id)
        except CopytradeError as error:
            log.warning("the leader's order %s could not be read: %s", order.exchange_order_id, error.message)
        self._mailbox.post(self._order_read, order, report)

    def _unfinished(self, before_ns: int) -> list[FoldedOrder]:
        return [order for order in self._fold.waiting_since(before_ns) if self._is_our_symbol(order)]

    def _order_read(self, order: FoldedOrder, report: OrderReport | None) -> None:
        if report is not None and report.status.is_final and not order.done:
            gap_id = None if self._gaps.is_caught_up else self._gaps.gap_id
            self.take_orders([report], order.source, gap_id)
        self._mailbox.later(1.0, self._asked_for.discard, order.key)

    def _read_for_resting(self) -> None:
        self._is_reading_soon = False
        self._ask(self._read_snapshot)

    def _read_snapshot(self) -> None:
        try:
            self._mailbox.post(self.take_snapshot, self._connector.balances(urgent=True))
        except CopytradeError as error:
            log.info("the leader's balances could not be read: %s", error.message)

    def subscribe_anew(self) -> None:
        """Subscribe anew, one connection after the other: a subscription can be dead while its socket answers."""
        for stream in list(self._streams.values()):
            if not self._stopping:
                self._subscribe(stream)

    # --- showing ---

    def show(self, **changes: Any) -> None:
        with self._lock:
            health = _Health(**{name: getattr(self._health, name) for name in self._health.__dataclass_fields__})
            for name, value in changes.items():
                setattr(health, name, value)
            self._health = health

    def _show_balances(self) -> None:
        found = []
        for asset in (self._symbol.quote, self._symbol.base):
            free, newest = self._ledger.free(asset), self._ledger.newest(asset)
            if free is not None and newest is not None:
                found.append(
                    BalanceView(asset=asset, free=free, locked=newest.locked, age_sec=0, source=newest.source.value)
                )
        self.show(balances=tuple(found))


def _note_estimates(row_id: int, texts: dict[str, str], connection: Connection) -> None:
    rows.set_estimates(connection, row_id, texts)


def _nothing() -> None:
    """Wake the mailbox, so that it looks at its pending orders again."""
