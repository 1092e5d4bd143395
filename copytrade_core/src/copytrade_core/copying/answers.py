"""What an answer means (orders.md 2.5, 2.6): for its copy, its account, and everybody at that exchange."""

from __future__ import annotations

from collections import deque

from ..accounts.service import AccountService
from ..clock import NS_PER_SEC, Clock
from ..connector import PreparedOrder
from ..errors import (
    AuthenticationFailed,
    ClockSkewed,
    CopytradeError,
    InsufficientBalance,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from ..exchanges import Exchanges
from ..feed import Feed
from ..halts import Halts
from ..model import AccountId, OrderAck
from ..views import CopyState
from .gate import CopyGate
from .jobs import Job
from .lanes import Lane, Lanes
from .record import Record
from .settled import SHOWN_TEXT, Settled
from .states import MAX_ATTEMPTS, Move

CONFIRM_REFUSAL_SEC = 30.0
OURS_WINDOW_SEC = 60.0
OURS_ACCOUNTS = 3


class Answers:
    """Takes in what gateways answer. On the dispatcher's thread."""

    def __init__(
        self,
        *,
        clock: Clock,
        exchanges: Exchanges,
        accounts: AccountService,
        gate: CopyGate,
        halts: Halts,
        feed: Feed,
        lanes: Lanes,
        record: Record,
        settled: Settled,
    ) -> None:
        self._clock = clock
        self._exchanges = exchanges
        self._accounts = accounts
        self._gate = gate
        self._halts = halts
        self._feed = feed
        self._lanes = lanes
        self._record = record
        self._settled = settled
        self._holds: dict[str, int] = {}  # exchange label -> monotonic ns until which nothing is sent there
        self._ours: deque[tuple[int, str, AccountId]] = deque()

    def held_until_ns(self, label: str) -> int:
        """Return until when (monotonic) nothing is sent to an exchange, as it asked; 0: nothing holds."""
        return self._holds.get(label, 0)

    def answered(self, prepared: PreparedOrder, outcome: OrderAck | CopytradeError, at_ns: int) -> None:
        lane = self._lanes.of(prepared.account_id)
        job = lane.active
        left_ns = self._gate.left_ns(prepared.order.client_order_id)
        if job is None or job.prepared is not prepared or job.state is not CopyState.SUBMITTING:
            return  # answered before, or given up as overdue: the settler asks
        if left_ns is not None:
            job.clocked("sent", left_ns)
        outcome = _believed(outcome, prepared, has_left=left_ns is not None, is_heard=job.is_heard)
        if isinstance(outcome, OrderAck):
            job.clocked("accepted", at_ns)
            self._accepted(job, outcome)
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
            self._turned_down(job, outcome)
            self._refused_key(job, outcome)
        elif isinstance(outcome, OrderRejected):
            self._turned_down(job, outcome)
            if job.by_person and isinstance(outcome, InsufficientBalance):
                self._settled.look_for_earlier(job)
            if follower := self._accounts.get(job.account_id):
                self._exchanges.reload_rules(follower.opened)
        else:
            self._unknown(job, outcome)

    def _accepted(self, job: Job, ack: OrderAck) -> None:
        job.exchange_order_id = ack.exchange_order_id
        report = ack.report
        if report is not None and report.status.is_final and (report.fills_complete or not report.filled_base):
            self._settled.book(job, Move.EXECUTED, report)
            return
        self._record.accepted(job, ack)
        self._record.publish(job, "fills_awaited", "accepted; its fills are being read")
        self._settled.ask_about(job, accepted=True)

    def _not_sent(self, lane: Lane, job: Job, error: CopytradeError, *, retry: bool, wait_sec: float) -> None:
        """The attempt did not reach the matching engine: once more, if that can still be in time."""
        now = self._clock.monotonic_ns()
        in_time = now + int(wait_sec * NS_PER_SEC) <= job.deadline_ns
        if not (retry and job.attempts < MAX_ATTEMPTS and in_time):
            self._record.answer(job, Move.NOT_AGAIN, CopyState.FAILED, "not_sent", error)
            self._settled.finished(job, error.kind, error.message)
            return
        self._record.answer(job, Move.ONCE_MORE, CopyState.NOT_SENT, "not_sent", error)
        job.not_before_ns = now + int(wait_sec * NS_PER_SEC)
        self._lanes.give_back(lane, job)

    def _unknown(self, job: Job, error: CopytradeError) -> None:
        self._record.answer(job, Move.UNANSWERED, CopyState.UNKNOWN, "unknown", error)
        self._record.evidence(job, "unknown", f"{error.kind}: {error.message}")  # its row will say how it ended
        self._record.publish(job, error.kind, f"not known yet, the exchange is being asked: {error.message}")
        self._settled.ask_about(job, accepted=False)
        if job.is_heard and job.prepared is not None:
            self._settled.heard(job.prepared.order.client_order_id)

    def overdue(self, lane: Lane, job: Job, attempt: int) -> None:
        if lane.active is job and job.state is CopyState.SUBMITTING and job.attempts == attempt:
            self._unknown(job, OutcomeUnknown("no answer came in time", kind="no_answer"))

    def _turned_down(self, job: Job, error: CopytradeError) -> None:
        self._record.answer(job, Move.TURNED_DOWN, CopyState.REJECTED, "refused", error)
        self._settled.finished(job, error.kind, error.message)

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
