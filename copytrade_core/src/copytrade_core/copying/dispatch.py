"""From PLANNED to the wire: one lane a follower, all lanes at once.

One thread (``dispatcher``) owns every lane and every job, so nothing here needs a lock. What is slow is done
elsewhere and posts its answer back: the journal's writer, the gateways, the settler, the readers of balances.
A lane works in the leader's order: the next copy is sized when the one before it is final and booked.

What may leave is judged in `departure`, what an answer means in `answers`, what is found out later in `settled`;
`states` names every move.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

from sqlalchemy import Row

from ..accounts.balances import BalanceBook
from ..accounts.service import AccountService, Follower
from ..clock import NS_PER_SEC, Clock
from ..connector import Gate, PreparedOrder
from ..errors import CopytradeError, JournalError, OutcomeUnknown, RateLimited
from ..exchanges import Exchanges, OpenExchange
from ..feed import Feed
from ..halts import Halts
from ..latencies import Latencies
from ..model import AccountId, ClientOrderId, OrderAck, OrderReport
from ..settings import Settings
from ..store import book as rows
from ..store.journal import Journal
from ..views import CopyState
from ..workers import Mailbox, OnDeath
from .answers import Answers
from .departure import Departure, Refused
from .gate import CopyGate
from .jobs import Job
from .lanes import Lane, Lanes
from .plan import client_order_id, is_id_of
from .record import Record
from .settled import Settled
from .states import MAX_ATTEMPTS, Move

log = logging.getLogger(__name__)

ANSWER_DEADLINE_SEC = 20.0  # a gateway answers within 15 s; this catches one that does not
READ_AGAIN_SEC = 0.5
GIVEN_UP_KEPT = 10_000  # first attempts; a report of one comes soon or never


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
        self._clock = clock
        self._journal = journal
        self._accounts = accounts
        self._gate = gate
        self._install_tag = install_tag
        self._is_draining = False
        self._given_up: dict[str, Job] = {}  # first attempts in whose place a second one was made
        self._mailbox = Mailbox("dispatcher", clock, on_death)
        self._readers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="size-reader")
        self._lanes = Lanes()
        self._record = Record(
            clock=clock,
            journal=journal,
            feed=feed,
            symbol=settings.symbol,
            on_failed=lambda error: self._mailbox.post(_raise, error),
        )
        self._settled = Settled(
            settings=settings,
            clock=clock,
            journal=journal,
            exchanges=exchanges,
            accounts=accounts,
            balances=balances,
            feed=feed,
            lanes=self._lanes,
            record=self._record,
            mailbox=self._mailbox,
            on_death=on_death,
        )
        self._settler = self._settled.settler
        self._answers = Answers(
            clock=clock,
            exchanges=exchanges,
            accounts=accounts,
            gate=gate,
            halts=halts,
            feed=feed,
            lanes=self._lanes,
            record=self._record,
            settled=self._settled,
        )
        self._departure = Departure(
            settings=settings,
            clock=clock,
            exchanges=exchanges,
            balances=balances,
            gate=gate,
            halts=halts,
            install_tag=install_tag,
            copying_since_ms=copying_since_ms,
            held_until_ns=self._answers.held_until_ns,
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
        if not self._settled.heard(client_id) or client_id in self._given_up:
            self._mailbox.post(self._spoke, account_id, client_id)

    @property
    def latencies(self) -> Latencies:
        return self._settled.latencies

    def drain(self, timeout_sec: float) -> bool:
        """Launch nothing more and wait, at most *timeout_sec*, until nothing is on the wire unanswered.

        Copies that wait stay as they are on disk; the next run judges them. Returns whether all were answered.
        """
        self._is_draining = True
        idle = threading.Event()

        def look() -> None:
            if any(lane.active and lane.active.state is CopyState.SUBMITTING for lane in self._lanes):
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
                by_person=bool(row.asked_by),
                looks_first=True,
                state=CopyState(row.state),
                attempts=row.attempts,
                exchange_order_id=row.exchange_order_id,
                latency_ms=dict(row.latency_ms),
            )
            self._mailbox.post(self._take_up, job)

    # --- lanes ---

    def _queue(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._lanes.queue(job)

    def _look_again(self, account_id: AccountId | None) -> None:
        lanes = self._lanes if account_id is None else [self._lanes.of(account_id)]
        self._lanes.wake(*(lane for lane in lanes if lane.waiting))

    def _take_up(self, job: Job) -> None:
        if job.state in (CopyState.PLANNED, CopyState.NOT_SENT):
            self._lanes.queue(job)
        elif job.state is not CopyState.NEEDS_PERSON:
            if job.state is CopyState.SUBMITTING:
                reason = "the engine stopped before the answer came"
                self._record.move(job, Move.RESTARTED, CopyState.UNKNOWN, kind="restarted", reason=reason)
                self._record.evidence(job, "unknown", reason)
            self._settled.ask_about(job, accepted=job.state is CopyState.ACKED)

    # --- from PLANNED to the wire ---

    def _launch_ready(self) -> None:
        """Size, claim and send everything that can go now, all followers in one burst."""
        if self._is_draining:
            return
        lanes = self._lanes.take_ready()
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
            job.move(Move.CLAIMED, CopyState.SUBMITTING)
            job.attempts = claim.n
            self._given_up.update(dict.fromkeys(self._ids(job, claim.n - 1), job))
            while len(self._given_up) > GIVEN_UP_KEPT:
                del self._given_up[next(iter(self._given_up))]
            assert job.prepared is not None
            bursts.setdefault(follower.opened, []).append(job.prepared)
            self._mailbox.later(ANSWER_DEADLINE_SEC, self._answers.overdue, lane, job, claim.n)
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
        self._mailbox.post(self._answers.answered, prepared, outcome, self._clock.monotonic_ns())

    def _pump(self, lane: Lane, batch: list[tuple[Lane, Job, Follower, rows.Claim]]) -> None:
        """Bring the head of a lane as far as it goes now: refused, waiting, reading, or into the batch."""
        while lane.waiting and lane.active is None and not lane.is_reading:
            job = lane.waiting[0]
            follower = self._accounts.get(lane.account_id)
            if refused := self._departure.refusal(job, follower):
                self._refuse(lane, job, refused)
                continue
            assert follower is not None
            if wait_sec := self._departure.must_wait(lane, job, follower):
                self._mailbox.later(wait_sec, self._lanes.wake, lane)
                return
            if job.looks_first:
                self._look_first(lane, job, follower)
                return
            if self._departure.must_read(lane, job, follower):
                self._read(lane, job, follower)
                return
            claim = self._departure.prepare(job, follower)
            if isinstance(claim, Refused):
                self._refuse(lane, job, claim)
            if not isinstance(claim, rows.Claim):
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
        self._lanes.wake(lane)
        if error is not None:
            wait_sec = error.retry_after_sec if isinstance(error, RateLimited) else READ_AGAIN_SEC
            job.not_before_ns = self._clock.monotonic_ns() + int(wait_sec * NS_PER_SEC)
            return
        job.looks_first = False
        if found is None or job not in lane.waiting:
            return
        if found.client_order_id in self._ids(job, job.attempts):
            self._settled.shows(job, found.client_order_id)
        else:
            reason = f"the exchange shows its order {found.exchange_order_id}, which this journal does not know of"
            self._refuse(lane, job, Refused(CopyState.FAILED, "sent_before", reason))
            self._on_forgotten(reason)

    def _ids(self, job: Job, attempts: int) -> list[ClientOrderId]:
        return [client_order_id(self._install_tag, job.copy_id, n) for n in range(1, attempts + 1)]

    def _spoke(self, account_id: AccountId, client_id: str) -> None:
        """A stream told of an order that nobody asks about: does its answer say, or will it, that there is none?"""
        if doubled := self._given_up.pop(client_id, None):
            self._settled.doubled(doubled, client_id)
        if self._settled.heard(client_id):
            return  # it has come to be asked about meanwhile
        lane = self._lanes.of(account_id)
        for job in (lane.active, *lane.waiting):
            if job is None or not is_id_of(client_id, self._install_tag, job.copy_id):
                continue
            if job.state is CopyState.SUBMITTING:
                job.is_heard = True
            elif job.state is CopyState.NOT_SENT:
                self._settled.shows(job, client_id)
            return

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
        self._lanes.wake(lane)
        now = self._clock.monotonic_ns()
        if error is None:
            follower = self._accounts.get(lane.account_id)
            if follower and self._departure.is_unsure(lane, job, follower):
                job.not_before_ns = now + int(READ_AGAIN_SEC * NS_PER_SEC)
            job.read_since_ns = now
        else:
            wait_sec = error.retry_after_sec if isinstance(error, RateLimited) else READ_AGAIN_SEC
            job.not_before_ns = now + int(wait_sec * NS_PER_SEC)

    def _refuse(self, lane: Lane, job: Job, refused: Refused) -> None:
        """End a copy of which nothing is (any more) on the wire."""
        lane.waiting.remove(job)
        cause = Move.GIVEN_UP if job.state is CopyState.NOT_SENT else Move.REFUSED
        self._record.move(job, cause, refused.state, kind=refused.kind, reason=refused.reason, **refused.inputs)
        self._record.publish(job, refused.kind, refused.reason, computed=refused.inputs.get("computed"))


def _as_ours(error: Exception) -> CopytradeError:
    if isinstance(error, CopytradeError):
        return error
    log.error("a connector failed with %s", type(error).__name__)
    return OutcomeUnknown(f"the connector failed with {type(error).__name__}", kind="plugin_bug")


def _raise(error: BaseException) -> None:
    """Have the dispatcher's thread end with *error*, which halts the engine: what is on record is not the truth."""
    raise error
