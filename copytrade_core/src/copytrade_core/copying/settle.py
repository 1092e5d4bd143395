"""Turn "accepted" and "nobody knows" into what really happened, by asking the exchange.

An order is found by its client id. That it is absent is proven only after its fence (the time from which the request
can no longer be executed), by two look-ups at least five seconds apart and the listing of the account's orders. A
look-up that fails proves nothing. What cannot be decided by the deadline needs a person.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..clock import NS_PER_SEC, Clock, ExchangeClock
from ..connector import Connector
from ..errors import AuthenticationFailed, CopytradeError, OutcomeUnknown, RateLimited
from ..model import ClientOrderId, ExchangeOrderId, OrderReport
from ..workers import OnDeath, Ticker
from .jobs import Job

ACKED_PAUSES_SEC = (0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.0, 2.0, 2.0, 5.0)
UNKNOWN_PAUSES_SEC = (0.3, 0.7, 1.0, 2.0, 3.0, 5.0)
LOOKUPS_APART_SEC = 5.0
LISTING_MARGIN_MS = 60_000
LATE_LOOK_SEC = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAttempt:
    """What is known of one attempt on the wire."""

    client_order_id: ClientOrderId
    timestamp_ms: int
    fence_ms: int


@dataclass(slots=True, eq=False)
class Case:
    """One copy that is being asked about. One look-up at a time touches it."""

    job: Job
    connector: Connector
    exchange_clock: ExchangeClock
    attempts: tuple[SentAttempt, ...]  # newest last
    accepted: bool  # the exchange has said that it took the order
    exchange_order_id: ExchangeOrderId | None = None
    asked: int = 0
    first_answer_ns: int = 0  # when a look-up was first let through; the deadline counts from here
    opened_ns: int = 0
    absent_ns: list[int] = field(default_factory=list)  # when look-ups left, after the fence, that found nothing
    late: bool = False  # settled as absent; this is the later look that would prove it wrong
    ticket: int = 0  # the one entry of the schedule that counts; earlier ones are void
    busy: bool = False
    nudged: bool = False
    heard: bool = False  # the account's stream told of it: it exists, whatever look-ups say
    closed: bool = False

    @property
    def fence_ms(self) -> int:
        return max(attempt.fence_ms for attempt in self.attempts)


class Settler:
    """Asks about copies until they are settled; tells the dispatcher through callbacks that only enqueue."""

    def __init__(
        self,
        *,
        clock: Clock,
        deadline_sec: float,
        on_death: OnDeath,
        on_found: Callable[[Job, OrderReport, bool], None],
        on_open: Callable[[Job, OrderReport], None],
        on_absent: Callable[[Job], None],
        on_undecided: Callable[[Job, str], None],
        on_evidence: Callable[[Job, str, str], None],
        on_listed: Callable[[Job, OrderReport], None] = lambda job, report: None,
        newest_connector: Callable[[Job], Connector | None] = lambda job: None,
    ) -> None:
        """
        :param on_found: the order is final, with all its fills; True where it had been thought absent.
        :param on_open: the order exists and is not final yet.
        :param on_absent: absence is proven.
        :param on_undecided: the deadline has passed; the text says what is missing.
        :param on_evidence: kind and text of what a look-up said.
        :param on_listed: told every order, also of others, that a listing of the account shows.
        :param newest_connector: with the account's present key: any of its keys may ask, and the old one may be gone.
        """
        self._clock = clock
        self._deadline_ns = int(deadline_sec * NS_PER_SEC)
        self._on_found = on_found
        self._on_open = on_open
        self._on_absent = on_absent
        self._on_undecided = on_undecided
        self._on_evidence = on_evidence
        self._on_listed = on_listed
        self._newest_connector = newest_connector
        self._lock = threading.Lock()
        self._due: list[tuple[int, int, Case]] = []
        self._order = itertools.count(1)
        self._by_client_id: dict[str, Case] = {}
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="settle")
        self._ticker = Ticker("settler", clock, on_death, self._round)
        self._stopping = False

    def start(self) -> None:
        self._ticker.start()

    def stop(self) -> None:
        self._stopping = True
        self._ticker.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def open(self, case: Case) -> None:
        """Begin asking about a copy."""
        case.opened_ns = self._clock.monotonic_ns()
        with self._lock:
            for attempt in case.attempts:
                self._by_client_id[attempt.client_order_id] = case
        self._schedule(case, (ACKED_PAUSES_SEC if case.accepted else UNKNOWN_PAUSES_SEC)[0])

    def nudge(self, client_order_id: str) -> bool:
        """A stream spoke of this order: ask now. False: nobody asks about it (any more)."""
        with self._lock:
            case = self._by_client_id.get(client_order_id)
            if case is None or case.closed:
                return False
            case.heard = case.nudged = True
        if not case.busy:
            self._schedule(case, 0)
        return True

    def look_now(self, client_order_id: str) -> bool:
        """There is a sign, but no proof, that this order exists: ask now. False: nobody asks about it (any more)."""
        with self._lock:
            case = self._by_client_id.get(client_order_id)
        if case is None or case.closed:
            return False
        if not case.busy:
            self._schedule(case, 0)
        return True

    @property
    def open_cases(self) -> int:
        with self._lock:
            return len({id(case) for case in self._by_client_id.values() if not case.late})

    # --- inside ---

    def _schedule(self, case: Case, pause_sec: float) -> None:
        due = self._clock.monotonic_ns() + int(pause_sec * NS_PER_SEC)
        with self._lock:
            case.ticket = next(self._order)
            heapq.heappush(self._due, (due, case.ticket, case))
        self._ticker.wake()

    def _round(self) -> float:
        now = self._clock.monotonic_ns()
        with self._lock:
            ready: list[Case] = []
            while self._due and self._due[0][0] <= now:
                _, ticket, case = heapq.heappop(self._due)
                if ticket == case.ticket and not case.closed and not case.busy and not self._stopping:
                    case.busy = True
                    ready.append(case)
            # The budget may not last for all: what a stream spoke of is there to be read, then the oldest goes first.
            for case in sorted(ready, key=lambda case: (not case.heard, case.attempts[0].timestamp_ms)):
                self._pool.submit(self._ask_safely, case)
            return (self._due[0][0] - now) / NS_PER_SEC if self._due else 60.0

    def _ask_safely(self, case: Case) -> None:
        try:
            self._ask(case)
        except CopytradeError as error:
            # No answer is no evidence: only the time of the next question changes.
            self._on_evidence(case.job, "lookup_failed", f"{error.kind}: {error.message}")
            if isinstance(error, AuthenticationFailed):
                case.connector = self._newest_connector(case.job) or case.connector
            if not isinstance(error, RateLimited) and not case.first_answer_ns:
                case.first_answer_ns = self._clock.monotonic_ns()
            pause = error.retry_after_sec if isinstance(error, RateLimited) else 0.0
            self._again(case, pause)
        except Exception as error:  # a plug-in's bug must not end the asking
            self._on_evidence(case.job, "lookup_failed", f"{type(error).__name__} in the connector")
            case.first_answer_ns = case.first_answer_ns or self._clock.monotonic_ns()
            self._again(case, 0.0)

    def _ask(self, case: Case) -> None:
        case.nudged = False
        # The fence is held against the question's time: a slow answer may tell of a moment before it.
        asked_ns = self._clock.monotonic_ns()
        past_fence = case.exchange_clock.is_known and case.exchange_clock.now_ms() > case.fence_ms
        report = self._look_up(case)
        case.first_answer_ns = case.first_answer_ns or self._clock.monotonic_ns()
        if report is not None:
            self._found(case, report)
        elif case.accepted:
            # The exchange gave it an id: it exists, and shows later.
            self._again(case, 0.0)
        else:
            self._not_found(case, asked_ns, past_fence)

    def _look_up(self, case: Case) -> OrderReport | None:
        for attempt in reversed(case.attempts):
            report = case.connector.find_order(attempt.client_order_id, case.exchange_order_id)
            if report is None:
                continue
            if report.client_order_id not in {each.client_order_id for each in case.attempts}:
                # Of the exchange's own ids one may be another order's; only ours can tell.
                raise OutcomeUnknown("the answer is about another order", kind="unreadable_answer")
            return report
        return None

    def _found(self, case: Case, report: OrderReport) -> None:
        if not case.accepted:
            kind = "found_late" if case.late else "found"
            self._on_evidence(case.job, kind, f"order {report.exchange_order_id} is {report.status}")
        if report.status.is_final and (report.fills_complete or not report.filled_base):
            self._close(case)
            self._on_found(case.job, report, case.late)
            return
        if not case.accepted:
            case.accepted = True
            case.exchange_order_id = report.exchange_order_id
            case.asked = 0
            if not case.late:
                self._on_open(case.job, report)
        self._again(case, 0.0)

    def _not_found(self, case: Case, asked_ns: int, past_fence: bool) -> None:
        self._on_evidence(
            case.job, "not_found", "after the fence" if past_fence else "before the fence: proves nothing"
        )
        if case.late and not case.heard:
            self._close(case)
        elif past_fence and not case.heard:
            if not case.absent_ns or asked_ns - case.absent_ns[-1] >= LOOKUPS_APART_SEC * NS_PER_SEC:
                case.absent_ns.append(asked_ns)
            if len(case.absent_ns) >= 2:
                self._prove_absence(case)
            else:
                self._again(case, LOOKUPS_APART_SEC)
        else:
            self._again(case, 0.0)

    def _prove_absence(self, case: Case) -> None:
        """The last step of the proof: no order of the account carries one of our ids."""
        ours = {attempt.client_order_id for attempt in case.attempts}
        since_ms = min(attempt.timestamp_ms for attempt in case.attempts) - LISTING_MARGIN_MS
        for report in case.connector.list_orders(since_ms):
            self._on_listed(case.job, report)
            if report.client_order_id in ours:
                case.exchange_order_id = report.exchange_order_id
                self._on_evidence(case.job, "listed", f"order {report.exchange_order_id}")
                self._found(case, report)
                return
        if case.heard:
            self._again(case, 0.0)
            return
        self._on_evidence(case.job, "absent", "not found twice after the fence, and not listed")
        self._on_absent(case.job)
        case.late = True
        case.first_answer_ns = 0  # the late looks have a deadline of their own
        case.busy = False
        self._schedule(case, 0.0 if case.nudged else LATE_LOOK_SEC)

    def _again(self, case: Case, pause_sec: float) -> None:
        now = self._clock.monotonic_ns()
        case.busy = False
        exists = case.accepted or case.heard
        if case.first_answer_ns and now - case.first_answer_ns > self._deadline_ns:
            self._close(case)
            if exists or not case.late:
                what = "the exchange knows the order but does not show it" if exists else "the look-ups did not answer"
                self._on_undecided(case.job, what)
            return
        if case.late and not exists:
            pause_sec = max(pause_sec, LATE_LOOK_SEC)
        pauses = ACKED_PAUSES_SEC if case.accepted else UNKNOWN_PAUSES_SEC
        pause = 0.0 if case.nudged else max(pause_sec, pauses[min(case.asked, len(pauses) - 1)])
        case.asked += 1
        self._schedule(case, pause)

    def _close(self, case: Case) -> None:
        case.closed = True
        case.busy = False
        with self._lock:
            for attempt in case.attempts:
                self._by_client_id.pop(attempt.client_order_id, None)
