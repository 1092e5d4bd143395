"""From PLANNED to the wire and on: one lane a follower, all lanes at once.

One thread (``dispatcher``) owns every lane and every job, so nothing here needs a lock. What is slow is done
elsewhere and posts its answer back: the journal's writer, the gateways, the settler, the readers of balances.
A lane works in the leader's order: the next copy is sized when the one before it is final and booked.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, Row

from ..accounts.balances import BalanceBook
from ..accounts.service import AccountService, Follower
from ..clock import NS_PER_SEC, Clock
from ..connector import Gate, PreparedOrder
from ..errors import (
    AuthenticationFailed,
    ClockSkewed,
    CopytradeError,
    InsufficientBalance,
    JournalError,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from ..exchanges import Exchanges, OpenExchange
from ..feed import Feed
from ..halts import Halts
from ..latencies import Latencies
from ..model import (
    AccountId,
    BaseQuantity,
    ClientOrderId,
    ExchangeOrderId,
    MarketOrder,
    OrderAck,
    OrderReport,
    OrderStatus,
    QuoteAmount,
    Side,
)
from ..settings import Settings
from ..store import book as rows
from ..store.journal import Journal
from ..views import CopyState, plain_fraction
from ..workers import Mailbox, OnDeath
from .gate import CopyGate
from .jobs import Job
from .plan import client_order_id, is_id_of
from .settle import Case, SentAttempt, Settler
from .states import MAX_ATTEMPTS
from .sums import sum_of

log = logging.getLogger(__name__)

ANSWER_DEADLINE_SEC = 20.0  # a gateway answers within 15 s; this catches one that does not
READ_AGAIN_SEC = 0.5
CLOCK_AGAIN_SEC = 0.2
PREPARE_AGAIN_SEC = 0.2
OTHER_SIDE_WAIT_SEC = 2.0
CONFIRM_REFUSAL_SEC = 30.0
OURS_WINDOW_SEC = 60.0
OURS_ACCOUNTS = 3
SHOWN_TEXT = "the exchange shows an order that it had refused, or that never seemed to have left"


@dataclass(slots=True, eq=False)
class Lane:
    """One follower's copies, in the leader's order."""

    account_id: AccountId
    waiting: deque[Job] = field(default_factory=deque)
    active: Job | None = None  # claimed, or accepted and being read back
    unknown: list[Job] = field(default_factory=list)  # being asked about
    is_reading: bool = False


class Dispatcher:
    """Sizes, claims, sends and books copies."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        exchanges: Exchanges,
        accounts: AccountService,
        balances: BalanceBook,
        gate: CopyGate,
        halts: Halts,
        feed: Feed,
        install_tag: str,
        on_death: OnDeath,
        copying_since_ms: Callable[[], int],
        on_forgotten: Callable[[str], None],
    ) -> None:
        """
        :param copying_since_ms: when copying was last started, in the time that the leader's orders are dated in.
        :param on_forgotten: told that an exchange shows an order of ours which the journal does not know of.
        """
        self._on_forgotten = on_forgotten
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._exchanges = exchanges
        self._accounts = accounts
        self._balances = balances
        self._gate = gate
        self._halts = halts
        self._feed = feed
        self._install_tag = install_tag
        self._copying_since_ms = copying_since_ms
        self._lanes: dict[AccountId, Lane] = {}
        self._ready: set[Lane] = set()
        self._holds: dict[str, int] = {}  # exchange label -> monotonic ns until which nothing is sent there
        self._is_draining = False
        self._ours: deque[tuple[int, str, AccountId]] = deque()
        self.latencies = Latencies()
        self._mailbox = Mailbox("dispatcher", clock, on_death)
        self._readers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="size-reader")
        self._settler = Settler(
            clock=clock,
            deadline_sec=settings.unknown_deadline_sec,
            on_death=on_death,
            on_found=lambda *answer: self._mailbox.post(self._found, *answer),
            on_open=lambda *answer: self._mailbox.post(self._open, *answer),
            on_absent=lambda *answer: self._mailbox.post(self._absent, *answer),
            on_undecided=lambda *answer: self._mailbox.post(self._undecided, *answer),
            on_evidence=self._evidence,
            on_listed=lambda job, report: accounts.met(job.account_id, report.client_order_id, report.created_ms),
            newest_connector=lambda job: getattr(accounts.get(job.account_id), "connector", None),
        )

    # --- from other threads ---

    def start(self) -> None:
        self._settler.start()
        self._mailbox.start(after_each_batch=self._launch_ready)

    def stop(self) -> None:
        """Send nothing more; the settler ends, what is unknown stays so in the journal."""
        self._settler.stop()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._mailbox.stop()

    def planned(self, jobs: Sequence[Job]) -> None:
        """Take the PLANNED rows of a leader order whose book is on disk."""
        self._mailbox.post(self._queue, list(jobs))

    def look_again(self, account_id: AccountId | None = None) -> None:
        """A gate opened or shut: waiting copies of the account (or of all) are judged anew."""
        self._mailbox.post(self._look_again, account_id)

    def stream_spoke(self, account_id: AccountId, client_id: str) -> None:
        """A follower's stream told of an order of ours."""
        if not self._settler.nudge(client_id):
            self._mailbox.post(self._spoke, account_id, client_id)

    def drain(self, timeout_sec: float) -> bool:
        """Launch nothing more and wait, at most *timeout_sec*, until nothing is on the wire unanswered.

        Copies that wait stay as they are on disk; the next run judges them. Returns whether all were answered.
        """
        self._is_draining = True
        idle = threading.Event()

        def look() -> None:
            if any(lane.active and lane.active.state is CopyState.SUBMITTING for lane in self._lanes.values()):
                self._mailbox.later(0.05, look)
            else:
                idle.set()

        self._mailbox.post(look)
        return self._clock.wait(idle, timeout_sec)

    @property
    def unsettled(self) -> int:
        return self._settler.open_cases

    def recover(self, found: Sequence[Row[Any]], deadline_ns: Callable[[Row[Any]], int]) -> None:
        """Take up every copy that an earlier run left open. A claim without an answer is UNKNOWN, without exception.

        :param deadline_ns: until when (monotonic) a copy that was not sent yet may still be.
        """
        for row in found:
            job = Job.of_row(
                row._mapping,
                share=row.share if row.share is not None else Fraction(0),
                created_ms=row.created_ms,
                deadline_ns=deadline_ns(row),
                by_person=row.ordinal > 1,
                looks_first=True,
                state=CopyState(row.state),
                attempts=row.attempts,
                exchange_order_id=row.exchange_order_id,
                latency_ms=dict(row.latency_ms),
            )
            self._mailbox.post(self._take_up, job)

    # --- lanes ---

    def _lane(self, account_id: AccountId) -> Lane:
        lane = self._lanes.get(account_id)
        if lane is None:
            lane = self._lanes[account_id] = Lane(account_id)
        return lane

    def _queue(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            lane = self._lane(job.account_id)
            lane.waiting.append(job)
            self._ready.add(lane)

    def _look_again(self, account_id: AccountId | None) -> None:
        lanes = self._lanes.values() if account_id is None else [self._lane(account_id)]
        self._ready.update(lane for lane in lanes if lane.waiting)

    def _take_up(self, job: Job) -> None:
        lane = self._lane(job.account_id)
        if job.state in (CopyState.PLANNED, CopyState.NOT_SENT):
            lane.waiting.append(job)
            self._ready.add(lane)
        elif job.state is not CopyState.NEEDS_PERSON:
            if job.state is CopyState.SUBMITTING:
                reason = "the engine stopped before the answer came"
                self._move(job, CopyState.UNKNOWN, kind="restarted", reason=reason)
                self._evidence(job, "unknown", reason)
            self._ask_about(job, accepted=job.state is CopyState.ACKED)

    # --- from PLANNED to the wire ---

    def _launch_ready(self) -> None:
        """Size, claim and send everything that can go now, all followers in one burst."""
        if self._is_draining:
            return
        lanes, self._ready = self._ready, set()
        gate = self._gate.for_burst()
        batch: list[tuple[Lane, Job, Follower, rows.Claim]] = []
        for lane in lanes:
            self._pump(lane, batch)
        if not batch:
            return
        claims = [claim for *_, claim in batch]
        try:
            wall_ms = self._clock.wall_ms()
            taken = self._journal.write(lambda connection: rows.claim(connection, claims, wall_ms))
        except JournalError:
            return  # halted: nothing leaves; the rows stay PLANNED on disk and are judged after a restart
        bursts: dict[OpenExchange, list[PreparedOrder]] = {}
        for lane, job, follower, claim in batch:
            if claim.copy_id not in taken:
                # The journal knows better (a second engine, a decision by a person): hands off.
                log.error("the copy %s could not be claimed", job.copy_id)
                lane.active = None
                continue
            job.state = CopyState.SUBMITTING
            job.attempts = claim.n
            assert job.prepared is not None
            bursts.setdefault(follower.opened, []).append(job.prepared)
            self._mailbox.later(ANSWER_DEADLINE_SEC, self._overdue, lane, job, claim.n)
        # The exchange that writes all its orders itself goes first: it is done before the others' threads are awake.
        for opened in sorted(bursts, key=lambda opened: not opened.sends_bursts):
            self._submit(opened, bursts[opened], gate)

    def _submit(self, opened: OpenExchange, orders: list[PreparedOrder], gate: Gate) -> None:
        try:
            opened.exchange.gateway.submit(orders, gate, self._on_outcome)
        except Exception as error:  # a gateway's bug: whatever has not been answered is not known
            log.exception("the gateway of %s failed", opened.label)
            failure = OutcomeUnknown(f"the gateway failed with {type(error).__name__}", kind="plugin_bug")
            for prepared in orders:
                self._on_outcome(prepared, failure)

    def _on_outcome(self, prepared: PreparedOrder, outcome: OrderAck | CopytradeError) -> None:
        self._mailbox.post(self._answered, prepared, outcome, self._clock.monotonic_ns())

    def _pump(self, lane: Lane, batch: list[tuple[Lane, Job, Follower, rows.Claim]]) -> None:
        """Bring the head of a lane as far as it goes now: refused, waiting, reading, or into the batch."""
        while lane.waiting and lane.active is None and not lane.is_reading:
            job = lane.waiting[0]
            follower = self._accounts.get(lane.account_id)
            if refusal := self._refusal(job, follower):
                lane.waiting.popleft()
                self._refuse(job, *refusal)
                continue
            assert follower is not None
            if wait_sec := self._must_wait(lane, job, follower):
                self._mailbox.later(wait_sec, self._wake, lane)
                return
            if job.looks_first:
                self._look_first(lane, job, follower)
                return
            if self._must_read(lane, job, follower):
                self._read(lane, job, follower)
                return
            claim = self._prepare(lane, job, follower)
            if claim is None:
                continue
            lane.waiting.popleft()
            lane.active = job
            batch.append((lane, job, follower, claim))

    def _look_first(self, lane: Lane, job: Job, follower: Follower) -> None:
        """Ask whether this copy was sent before: a journal that was put back by hand does not know, its ids do."""
        lane.is_reading = True
        ids = self._ids(job, MAX_ATTEMPTS)

        def look() -> None:
            found: OrderReport | None = None
            error: CopytradeError | None = None
            try:
                found = next(filter(None, map(follower.connector.find_order, ids)), None)
            except Exception as failure:  # a plug-in's bug must not leave the lane waiting for ever
                error = _as_ours(failure)
            self._mailbox.post(self._looked, lane, job, found, error)

        self._readers.submit(look)

    def _looked(self, lane: Lane, job: Job, found: OrderReport | None, error: CopytradeError | None) -> None:
        lane.is_reading = False
        self._ready.add(lane)
        if error is not None:
            wait_sec = error.retry_after_sec if isinstance(error, RateLimited) else READ_AGAIN_SEC
            job.not_before_ns = self._clock.monotonic_ns() + int(wait_sec * NS_PER_SEC)
            return
        job.looks_first = False
        if found is None or job not in lane.waiting:
            return
        if found.client_order_id in self._ids(job, job.attempts):
            self._shows(lane, job, found.client_order_id)
        else:
            lane.waiting.remove(job)
            reason = f"the exchange shows its order {found.exchange_order_id}, which this journal does not know of"
            self._refuse(job, CopyState.FAILED, "sent_before", reason)
            self._on_forgotten(reason)

    def _ids(self, job: Job, attempts: int) -> list[ClientOrderId]:
        return [client_order_id(self._install_tag, job.copy_id, n) for n in range(1, attempts + 1)]

    def _spoke(self, account_id: AccountId, client_id: str) -> None:
        """A stream told of an order that nobody asks about: does its answer say, or will it, that there is none?"""
        lane = self._lanes.get(account_id)
        if lane is None:
            return
        for job in (lane.active, *lane.waiting):
            if job is None or not is_id_of(client_id, self._install_tag, job.copy_id):
                continue
            if job.state is CopyState.SUBMITTING:
                job.is_heard = True
            elif job.state is CopyState.NOT_SENT:
                self._shows(lane, job, client_id)
            return

    def _shows(self, lane: Lane, job: Job, client_id: str) -> None:
        """A copy that waits for its second attempt is at the exchange already: nothing more of it is sent."""
        lane.waiting.remove(job)
        self._move(job, CopyState.UNKNOWN, kind="shown_after_all", reason=SHOWN_TEXT)
        self._evidence(job, "unknown", SHOWN_TEXT)
        self._publish(job, "shown_after_all", SHOWN_TEXT)
        self._ask_about(job, accepted=False)
        self._settler.nudge(client_id)

    def _wake(self, lane: Lane) -> None:
        # Not `self._ready.add` itself: the set is another one by the time the timer is due.
        self._ready.add(lane)

    def _refusal(self, job: Job, follower: Follower | None) -> tuple[CopyState, str, str] | None:
        """Return why a waiting copy is not sent any more: its final state, kind and sentence."""
        was_tried = job.state is CopyState.NOT_SENT
        shut = self._gate.reason(job.account_id)
        if follower is None:
            shut = ("removed", "the account was removed")
        if shut is not None:
            kind, reason = shut
            # What a halt kept in can be copied later by a person; what a person stopped is simply not copied.
            ended = CopyState.FAILED if was_tried or kind == "halted" else CopyState.SKIPPED
            return ended, kind, reason
        assert follower is not None
        # A stop or a pause that is over already ends what waited then, too: a rate limit can outlast both.
        ended = CopyState.FAILED if was_tried else CopyState.SKIPPED
        if not job.by_person and job.created_ms <= follower.record.resumed_ms:
            return ended, "before_resumed", "the leader placed it before this account was resumed"
        if not job.by_person and job.created_ms <= self._copying_since_ms():
            return ended, "before_started", "the leader placed it before copying was started"
        if (halt := self._halts.of(job.exchange_label)) and not halt.until:
            return CopyState.FAILED, "halted", halt.reason
        if self._clock.monotonic_ns() > job.deadline_ns:
            return CopyState.FAILED if was_tried else CopyState.STALE, "too_old", self._why_late(job, follower)
        return None

    @staticmethod
    def _why_late(job: Job, follower: Follower) -> str:
        if follower.opened.shut_until_ns:
            return "the exchange had shut this machine's address out until the leader's order was too old to be copied"
        if not follower.opened.clock.is_known or follower.opened.rules is None:
            return f"the exchange could not be reached in time ({follower.opened.error or 'no answer'})"
        return "the leader's order had become too old to be copied"

    def _must_wait(self, lane: Lane, job: Job, follower: Follower) -> float:
        """Return the seconds after which the head of a lane is to be looked at again; 0: it can go."""
        now = self._clock.monotonic_ns()
        opened = follower.opened
        if not opened.clock.is_known or opened.rules is None or opened.clock.measured_ns < job.clock_refused_ns:
            self._exchanges.remeasure(opened)
            return CLOCK_AGAIN_SEC
        too_old_sec = max((job.deadline_ns - now) / NS_PER_SEC, 0.0) + 0.01
        hold = max(job.not_before_ns, self._holds.get(opened.label, 0), opened.shut_until_ns)
        if hold > now:
            return min((hold - now) / NS_PER_SEC, too_old_sec)
        for other in lane.unknown:
            if other.side is job.side or other.state is CopyState.ACKED:
                # What this one may spend depends on what became of that one. Settling it wakes the lane.
                return too_old_sec
            # An exit must not be missed for it, but what is found out at once is worth the wait.
            settles_ns = other.unknown_ns + int(OTHER_SIDE_WAIT_SEC * NS_PER_SEC)
            if now < settles_ns:
                return min((settles_ns - now) / NS_PER_SEC, too_old_sec)
        return 0.0

    def _must_read(self, lane: Lane, job: Job, follower: Follower) -> bool:
        if lane.unknown and not job.read_since_ns:
            # An exit goes on past an unknown of the other side, but only on figures that are newer than it.
            return True
        if self._is_unsure(lane, job, follower):
            return True  # until the exchange states it; the deadline bounds the waiting
        max_age_sec = self._settings.max_balance_age_sec
        # What was read for it is young enough for as long as any figure; it may have waited since.
        was_read = self._clock.monotonic_ns() - job.read_since_ns < max(max_age_sec, 1) * NS_PER_SEC
        return not (job.read_since_ns and was_read) and self._balances.needs_reading(lane.account_id, max_age_sec)

    def _is_unsure(self, lane: Lane, job: Job, follower: Follower) -> bool:
        """Whether a figure may count a fill twice, or was never stated: what is pushed may speak of one asset only."""
        asset = self._asset(job, follower)
        is_unknown = self._balances.figure(lane.account_id, asset) is None
        return is_unknown or self._balances.is_doubtful(lane.account_id, asset)

    def _read(self, lane: Lane, job: Job, follower: Follower) -> None:
        lane.is_reading = True

        def read() -> None:
            error: CopytradeError | None = None
            try:
                self._accounts.read(follower.id)
            except Exception as failure:  # a plug-in's bug must not leave the lane waiting for ever
                error = _as_ours(failure)
            self._mailbox.post(self._was_read, lane, job, error)

        self._readers.submit(read)

    def _was_read(self, lane: Lane, job: Job, error: CopytradeError | None) -> None:
        lane.is_reading = False
        self._ready.add(lane)
        now = self._clock.monotonic_ns()
        if error is None:
            follower = self._accounts.get(lane.account_id)
            if follower and self._is_unsure(lane, job, follower):
                job.not_before_ns = now + int(READ_AGAIN_SEC * NS_PER_SEC)
            job.read_since_ns = now
        else:
            wait_sec = error.retry_after_sec if isinstance(error, RateLimited) else READ_AGAIN_SEC
            job.not_before_ns = now + int(wait_sec * NS_PER_SEC)

    @staticmethod
    def _asset(job: Job, follower: Follower) -> str:
        """Return the asset that a copy is sized by."""
        rules = follower.opened.rules
        assert rules is not None
        return rules.symbol.quote if job.side is Side.BUY else rules.symbol.base

    def _prepare(self, lane: Lane, job: Job, follower: Follower) -> rows.Claim | None:
        """Size a copy and make its order ready; ``None``: it ended here, with its sum on record, or must wait."""
        rules = follower.opened.rules
        figure = self._balances.figure(lane.account_id, self._asset(job, follower))
        assert rules is not None and figure is not None  # `_must_wait` and `_must_read` have seen to it
        found = sum_of(job.share, job.side, figure, rules, check_minimums=self._settings.check_minimums)
        if found.refusal is not None:
            lane.waiting.popleft()
            self._refuse(job, CopyState.SKIPPED, *found.refusal, **found.inputs)
            if not rules.is_trading:
                self._exchanges.reload_rules(follower.opened)  # it may have opened again by now
            return None
        sendable = found.size.sendable
        attempt = job.attempts + 1
        order = MarketOrder(
            symbol=rules.symbol,
            side=job.side,
            client_order_id=client_order_id(self._install_tag, job.copy_id, attempt),
            quote_amount=QuoteAmount(sendable) if job.side is Side.BUY else None,
            base_quantity=BaseQuantity(sendable) if job.side is Side.SELL else None,
        )
        try:
            prepared = follower.connector.prepare_market_order(order)
        except CopytradeError as error:
            if isinstance(error, ClockSkewed) or (isinstance(error, NotSent) and error.retry):
                # Something of the account is not known yet; its deadline bounds the waiting.
                job.not_before_ns = self._clock.monotonic_ns() + int(PREPARE_AGAIN_SEC * NS_PER_SEC)
                return None
            lane.waiting.popleft()
            self._refuse(job, CopyState.FAILED, error.kind, error.message, **found.inputs)
            return None
        job.prepared = prepared
        job.key_fingerprint = prepared.key_fingerprint
        job.clocked("planned", self._clock.monotonic_ns())
        return rows.Claim(
            copy_id=job.copy_id,
            n=attempt,
            client_order_id=order.client_order_id,
            body=prepared.body,
            key_fingerprint=prepared.key_fingerprint,
            timestamp_ms=prepared.timestamp_ms,
            recv_window_ms=prepared.recv_window_ms,
            fence_ms=prepared.fence_ms,
            inputs={**found.inputs, "sent": sendable},
        )

    # --- answers ---

    def _answered(self, prepared: PreparedOrder, outcome: OrderAck | CopytradeError, at_ns: int) -> None:
        lane = self._lane(prepared.account_id)
        job = lane.active
        left_ns = self._gate.left_ns(prepared.order.client_order_id)
        if job is None or job.prepared is not prepared or job.state is not CopyState.SUBMITTING:
            return  # answered before, or given up as overdue: the settler asks
        if left_ns is not None:
            job.clocked("sent", left_ns)
        outcome = _believed(outcome, prepared, has_left=left_ns is not None, is_heard=job.is_heard)
        if isinstance(outcome, OrderAck):
            job.clocked("accepted", at_ns)
            self._accepted(lane, job, outcome)
        elif isinstance(outcome, NotSent):
            self._not_sent(lane, job, outcome, retry=outcome.retry, wait_sec=0.0)
            if outcome.kind == "bad_certificate":
                self._halts.begin(
                    f"certificate:{job.exchange_label}",
                    f"{job.exchange_label}: {outcome.message}; somebody may be listening in",
                    "a restart of the engine, once the cause is found",
                    exchange=job.exchange_label,
                )
        elif isinstance(outcome, RateLimited):
            if outcome.whole_address:
                self._hold(job.exchange_label, outcome)
            elif outcome.banned:
                self._feed.alarm(
                    f"{job.account_name}: {outcome.message}",
                    what="request_refused",
                    account=job.account_name,
                    account_id=job.account_id,
                    reason_kind=outcome.kind,
                    reason=outcome.message,
                )
            self._not_sent(lane, job, outcome, retry=not outcome.banned, wait_sec=outcome.retry_after_sec)
        elif isinstance(outcome, ClockSkewed):
            # The same clock would be refused again.
            job.clock_refused_ns = self._clock.monotonic_ns()
            self._not_sent(lane, job, outcome, retry=True, wait_sec=0.0)
        elif isinstance(outcome, AuthenticationFailed):
            self._end(lane, job, CopyState.REJECTED, outcome)
            self._refused_key(job, outcome)
        elif isinstance(outcome, OrderRejected):
            self._end(lane, job, CopyState.REJECTED, outcome)
            if job.by_person and isinstance(outcome, InsufficientBalance):
                self._look_for_earlier(job)
            if follower := self._accounts.get(job.account_id):
                self._exchanges.reload_rules(follower.opened)
        else:
            self._unknown(lane, job, outcome)

    def _accepted(self, lane: Lane, job: Job, ack: OrderAck) -> None:
        job.exchange_order_id = ack.exchange_order_id
        report = ack.report
        if report is not None and report.status.is_final and (report.fills_complete or not report.filled_base):
            self._book(lane, job, report, answer="accepted")
            return
        job.state = CopyState.ACKED
        copy_id, n, wall_ms, latency = job.copy_id, job.attempts, self._clock.wall_ms(), dict(job.latency_ms)

        def write(connection: Connection) -> None:
            rows.answered(connection, copy_id, n, "accepted", "", ack.exchange_order_id)
            rows.move(
                connection,
                copy_id,
                CopyState.ACKED,
                wall_ms,
                exchange_order_id=ack.exchange_order_id,
                latency_ms=latency,
            )

        self._journal.submit(write)
        self._publish(job, "fills_awaited", "accepted; its fills are being read")
        self._ask_about(job, accepted=True)

    def _not_sent(self, lane: Lane, job: Job, error: CopytradeError, *, retry: bool, wait_sec: float) -> None:
        """The attempt did not reach the matching engine: once more, if that can still be in time."""
        now = self._clock.monotonic_ns()
        in_time = now + int(wait_sec * NS_PER_SEC) <= job.deadline_ns
        if not (retry and job.attempts < MAX_ATTEMPTS and in_time):
            self._end(lane, job, CopyState.FAILED, error)
            return
        self._write_answer(
            job, "not_sent", f"{error.kind}: {error.message}", CopyState.NOT_SENT, error.kind, error.message
        )
        job.state = CopyState.NOT_SENT
        job.not_before_ns = now + int(wait_sec * NS_PER_SEC)
        lane.active = None
        lane.waiting.appendleft(job)
        self._ready.add(lane)

    def _unknown(self, lane: Lane, job: Job, error: CopytradeError) -> None:
        self._write_answer(
            job, "unknown", f"{error.kind}: {error.message}", CopyState.UNKNOWN, error.kind, error.message
        )
        job.state = CopyState.UNKNOWN
        self._evidence(job, "unknown", f"{error.kind}: {error.message}")  # its row will say how it ended
        self._publish(job, error.kind, f"not known yet, the exchange is being asked: {error.message}")
        self._ask_about(job, accepted=False)
        if job.is_heard and job.prepared is not None:
            self._settler.nudge(job.prepared.order.client_order_id)

    def _overdue(self, lane: Lane, job: Job, attempt: int) -> None:
        if lane.active is job and job.state is CopyState.SUBMITTING and job.attempts == attempt:
            self._unknown(lane, job, OutcomeUnknown("no answer came in time", kind="no_answer"))

    def _end(self, lane: Lane, job: Job, state: CopyState, error: CopytradeError) -> None:
        """The attempt ended the copy: refused, or not sent and not to be tried again."""
        answer = f"{error.kind} {error.code}: {error.message}".replace(" :", ":")
        self._write_answer(
            job, "refused" if state is CopyState.REJECTED else "not_sent", answer, state, error.kind, error.message
        )
        self._finished(lane, job, state, error.kind, error.message)

    def _write_answer(self, job: Job, outcome: str, answer: str, state: CopyState, kind: str, reason: str) -> None:
        copy_id, n, wall_ms, latency = job.copy_id, job.attempts, self._clock.wall_ms(), dict(job.latency_ms)

        def write(connection: Connection) -> None:
            rows.answered(connection, copy_id, n, outcome, answer)
            rows.move(connection, copy_id, state, wall_ms, reason_kind=kind, reason=reason, latency_ms=latency)

        self._journal.submit(write)

    def _refuse(self, job: Job, state: CopyState, kind: str, reason: str, **inputs: Any) -> None:
        """End a copy of which nothing is (any more) on the wire."""
        self._move(job, state, kind=kind, reason=reason, **inputs)
        self._publish(job, kind, reason, computed=inputs.get("computed"))

    def _move(self, job: Job, state: CopyState, *, kind: str, reason: str, **values: Any) -> Future[bool]:
        copy_id, wall_ms = job.copy_id, self._clock.wall_ms()
        job.state = state
        return self._journal.submit(
            lambda connection: rows.move(connection, copy_id, state, wall_ms, reason_kind=kind, reason=reason, **values)
        )

    # --- settling ---

    def _ask_about(self, job: Job, *, accepted: bool) -> None:
        """Hand a copy to the settler; it keeps its lane's place until the answer is in."""
        lane = self._lane(job.account_id)
        lane.active = job if accepted else None
        if not accepted:
            lane.unknown.append(job)
            job.unknown_ns = self._clock.monotonic_ns()
            self._ready.add(lane)
        sent = self._sent(job)
        connector = self._accounts.settling_connector(job.account_id, job.key_fingerprint)
        opened = self._opened(job)
        if connector is None or opened is None:
            self._undecided(job, "the account and its key are gone")
            return
        self._settler.open(
            Case(
                job=job,
                connector=connector,
                exchange_clock=opened.clock,
                attempts=sent,
                accepted=accepted,
                exchange_order_id=ExchangeOrderId(job.exchange_order_id) if job.exchange_order_id else None,
            )
        )

    def _sent(self, job: Job) -> tuple[SentAttempt, ...]:
        """Return every attempt of a copy that may have reached the exchange, oldest first."""
        if job.attempts == 1 and job.prepared is not None:
            prepared = job.prepared
            only = SentAttempt(
                client_order_id=prepared.order.client_order_id,
                timestamp_ms=prepared.timestamp_ms,
                fence_ms=prepared.fence_ms,
            )
            return (only,)
        with self._journal.reading() as connection:
            found = rows.attempts_of(connection, job.copy_id)
        job.key_fingerprint = found[-1].key_fingerprint
        return tuple(
            SentAttempt(
                client_order_id=ClientOrderId(row.client_order_id),
                timestamp_ms=row.timestamp_ms,
                fence_ms=row.fence_ms,
            )
            for row in found
        )

    def _opened(self, job: Job) -> OpenExchange | None:
        return next((opened for opened in self._exchanges.all() if opened.label == job.exchange_label), None)

    def _found(self, job: Job, report: OrderReport, was_late: bool) -> None:
        lane = self._lane(job.account_id)
        if was_late:
            self._feed.alarm(
                f"an order of {job.account_name} that seemed never to have arrived was executed after all",
                what="copy_found_late",
                account=job.account_name,
                copy_id=job.copy_id,
                account_id=job.account_id,
            )
        self._book(lane, job, report, answer="found")

    def _open(self, job: Job, report: OrderReport) -> None:
        """An unknown order exists but is not final: from here on it is an accepted one."""
        job.exchange_order_id = report.exchange_order_id
        self._move(job, CopyState.ACKED, kind="", reason="", exchange_order_id=report.exchange_order_id)

    def _absent(self, job: Job) -> None:
        reason = "the order never reached the exchange"
        self._move(job, CopyState.FAILED, kind="never_arrived", reason=reason)
        self._finished(self._lane(job.account_id), job, CopyState.FAILED, "never_arrived", reason)

    def _undecided(self, job: Job, what: str) -> None:
        reason = f"it could not be found out whether the order was executed: {what}"
        self._move(job, CopyState.NEEDS_PERSON, kind="undecided", reason=reason)
        lane = self._lane(job.account_id)
        self._release(lane, job)
        self._feed.alarm(
            f"{job.account_name}: {reason}",
            what="copy_undecided",
            account=job.account_name,
            copy_id=job.copy_id,
            account_id=job.account_id,
        )

    def _evidence(self, job: Job, kind: str, text: str) -> None:
        copy_id, wall_ms = job.copy_id, self._clock.wall_ms()
        self._journal.submit(lambda connection: rows.note(connection, copy_id, wall_ms, kind, text))

    def _book(self, lane: Lane, job: Job, report: OrderReport, *, answer: str) -> None:
        """Write an order's final state; the lane goes on when it is on disk."""
        state, kind, reason = final_state(report)
        job.clocked("final", self._clock.monotonic_ns())
        symbol = self._settings.symbol
        self._balances.fills(job.account_id, report.exchange_order_id, job.side, symbol, report.fills)
        copy_id, n, wall_ms, latency = job.copy_id, job.attempts, self._clock.wall_ms(), dict(job.latency_ms)

        def write(connection: Connection) -> bool:
            rows.answered(connection, copy_id, n, answer, "", report.exchange_order_id)
            return rows.executed(connection, copy_id, state, report, wall_ms, latency, reason_kind=kind, reason=reason)

        def written(done: Future[bool]) -> None:
            if done.exception() is None:
                self._mailbox.post(self._finished, lane, job, state, kind, reason, report)

        self._journal.submit(write).add_done_callback(written)

    def _finished(
        self, lane: Lane, job: Job, state: CopyState, kind: str, reason: str, report: OrderReport | None = None
    ) -> None:
        job.state = state
        self.latencies.saw(job.latency_ms)
        self._release(lane, job)
        if report is not None and report.filled_base:
            self._accounts.read_soon(job.account_id)  # the exchange's own word on what the fills left
        if not lane.unknown and lane.active is None:
            self._accounts.settled(job.account_id)
        self._publish(job, kind, reason, report)

    def _release(self, lane: Lane, job: Job) -> None:
        if lane.active is job:
            lane.active = None
        if job in lane.unknown:
            lane.unknown.remove(job)
        self._ready.add(lane)

    # --- what an answer means beyond its own copy ---

    def _look_for_earlier(self, job: Job) -> None:
        """Money is missing for a copy that took a failed one's place: that one may have been executed after all."""
        with self._journal.reading() as connection:
            earlier = rows.earlier_copies(connection, job.copy_id)
        for row in earlier:
            lost = Job.of_row(
                row._mapping,
                share=job.share,
                created_ms=job.created_ms,
                deadline_ns=0,
                state=CopyState(row.state),
                attempts=row.attempts,
            )
            sent = self._sent(lost)
            connector = self._accounts.settling_connector(lost.account_id, lost.key_fingerprint)
            opened = self._opened(lost)
            if connector is None or opened is None or self._settler.look_now(sent[-1].client_order_id):
                continue
            case = Case(
                job=lost, connector=connector, exchange_clock=opened.clock, attempts=sent, accepted=False, late=True
            )
            self._settler.open(case)

    def _refused_key(self, job: Job, error: AuthenticationFailed) -> None:
        """Disable the account, unless the refusal may be passing, or is our own fault."""
        if not error.ours:
            if error.kind == "wrong_passphrase":
                self._accounts.suspect(job.account_id, CONFIRM_REFUSAL_SEC)
            else:
                self._accounts.disable(job.account_id, error.kind, error.message)
            return
        now = self._clock.monotonic_ns()
        self._ours.append((now, job.exchange_label, job.account_id))
        while now - self._ours[0][0] > OURS_WINDOW_SEC * NS_PER_SEC:
            self._ours.popleft()
        met = {account for _, label, account in self._ours if label == job.exchange_label}
        if len(met) >= OURS_ACCOUNTS:
            self._halts.begin(
                f"refused:{job.exchange_label}",
                f"{job.exchange_label} refuses the signature or the address of {len(met)} accounts at once: "
                f"the fault is here, not in their keys ({error.message})",
                "a restart of the engine, once the cause is mended",
                exchange=job.exchange_label,
            )
        else:
            self._accounts.suspect(job.account_id, 1.0)

    def _hold(self, label: str, error: RateLimited) -> None:
        until = self._clock.monotonic_ns() + int(error.retry_after_sec * NS_PER_SEC)
        self._holds[label] = max(until, self._holds.get(label, 0))
        if error.banned:
            self._exchanges.shut_out(label, error.retry_after_sec)

    def _publish(
        self,
        job: Job,
        kind: str,
        reason: str,
        report: OrderReport | None = None,
        computed: Fraction | None = None,
    ) -> None:
        symbol = self._settings.symbol
        data: dict[str, Any] = {
            "what": "copy_moved",
            "copy_id": job.copy_id,
            "event_id": str(job.leader_order_id),
            "account_id": job.account_id,
            "account": job.account_name,
            "side": job.side.value,
            "state": job.state.value,
            "reason_kind": kind,
            "reason": reason,
            "filled_base": report.filled_base if report else None,
            "filled_quote": report.filled_quote if report else None,
        }
        if computed is not None:
            asset = symbol.quote if job.side is Side.BUY else symbol.base
            data |= {"computed": plain_fraction(computed, 12), "asset": asset}
        text = f"{job.account_name} {job.side} {job.state}" + (f": {reason}" if reason else "")
        self._feed.publish("copy", text, **data)


def _believed(
    outcome: OrderAck | CopytradeError, prepared: PreparedOrder, *, has_left: bool, is_heard: bool
) -> OrderAck | CopytradeError:
    """Return an attempt's outcome, or that it is not known where the answer contradicts what is known besides."""
    if isinstance(outcome, OrderAck):
        ids = {outcome.client_order_id, outcome.report.client_order_id if outcome.report else outcome.client_order_id}
        if ids != {prepared.order.client_order_id}:
            return OutcomeUnknown("the answer is about another order", kind="unreadable_answer")
    elif is_heard:
        return OutcomeUnknown(f"{SHOWN_TEXT} ({outcome.message})", kind="shown_after_all")
    elif isinstance(outcome, NotSent) and has_left and not outcome.code:
        # Only the exchange's own answer, which has a code, can say that of an order whose bytes were handed over.
        return OutcomeUnknown(f"the order had left when it failed: {outcome.message}", kind="no_answer")
    return outcome


def _as_ours(error: Exception) -> CopytradeError:
    if isinstance(error, CopytradeError):
        return error
    log.error("a connector failed with %s", type(error).__name__)
    return OutcomeUnknown(f"the connector failed with {type(error).__name__}", kind="plugin_bug")


def final_state(report: OrderReport) -> tuple[CopyState, str, str]:
    """Return the state, kind and sentence that a final order ends its copy in; what was filled counts."""
    if report.status is OrderStatus.FILLED:
        return CopyState.FILLED, "", ""
    if report.filled_base > 0:
        return CopyState.PARTLY_FILLED, "partly_filled", "the order book ran out before all of it was filled"
    return CopyState.REJECTED, "nothing_filled", "the exchange took the order and ended it with nothing filled"
