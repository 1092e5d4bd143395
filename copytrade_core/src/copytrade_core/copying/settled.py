"""What is not known of a copy, handed to the settler; and what its findings mean (orders.md 2.4, 2.8)."""

from __future__ import annotations

from ..accounts.balances import BalanceBook
from ..accounts.service import AccountService
from ..clock import Clock
from ..exchanges import Exchanges, OpenExchange
from ..feed import Feed
from ..latencies import Latencies
from ..model import ClientOrderId, ExchangeOrderId, OrderReport
from ..settings import Settings
from ..store import book as rows
from ..store.journal import Journal
from ..views import CopyState
from ..workers import Mailbox, OnDeath
from .jobs import Job
from .lanes import Lanes
from .record import Record
from .settle import Case, SentAttempt, Settler
from .states import Move

SHOWN_TEXT = "the exchange shows an order that it had refused, or that never seemed to have left"


class Settled:
    """Opens cases and ends copies. On the dispatcher's thread, but for `heard`."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        exchanges: Exchanges,
        accounts: AccountService,
        balances: BalanceBook,
        feed: Feed,
        lanes: Lanes,
        record: Record,
        mailbox: Mailbox,
        on_death: OnDeath,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._exchanges = exchanges
        self._accounts = accounts
        self._balances = balances
        self._feed = feed
        self._lanes = lanes
        self._record = record
        self._mailbox = mailbox
        self.latencies = Latencies()
        self.settler = Settler(
            clock=clock,
            deadline_sec=settings.unknown_deadline_sec,
            on_death=on_death,
            on_found=lambda *answer: mailbox.post(self._found, *answer),
            on_open=lambda *answer: mailbox.post(self._open, *answer),
            on_absent=lambda *answer: mailbox.post(self._absent, *answer),
            on_undecided=lambda *answer: mailbox.post(self._undecided, *answer),
            on_evidence=record.evidence,
            on_listed=lambda job, report: accounts.met(job.account_id, report.client_order_id, report.created_ms),
            newest_connector=lambda job: getattr(accounts.get(job.account_id), "connector", None),
        )

    def heard(self, client_id: str) -> bool:
        """A stream told of this order: it is asked about at once. False: nobody asks about it. From any thread."""
        return self.settler.nudge(client_id)

    def shows(self, job: Job, client_id: str) -> None:
        """A copy that waits for its second attempt is at the exchange already: nothing more of it is sent."""
        self._lanes.of(job.account_id).waiting.remove(job)
        self._record.move(job, Move.SHOWN, CopyState.UNKNOWN, kind="shown_after_all", reason=SHOWN_TEXT)
        self._record.evidence(job, "unknown", SHOWN_TEXT)
        self._record.publish(job, "shown_after_all", SHOWN_TEXT)
        self.ask_about(job, accepted=False)
        self.heard(client_id)

    def doubled(self, job: Job, client_id: str) -> None:
        """An attempt shows in whose place a second one was made: nothing can undo that, but nobody must miss it."""
        self._record.evidence(job, "doubled", f"the exchange shows {client_id}, after a second attempt was made")
        self._feed.alarm(
            f"{job.account_name}: the first attempt shows at the exchange although it was refused or never left; "
            "a second one was made, and both may have been executed",
            what="copy_doubled",
            account=job.account_name,
            copy_id=job.copy_id,
            account_id=job.account_id,
        )

    def ask_about(self, job: Job, *, accepted: bool) -> None:
        """Hand a copy to the settler; it keeps its lane's place until the answer is in."""
        self._lanes.hold(job, self._clock.monotonic_ns(), accepted=accepted)
        sent = self._sent(job)
        connector = self._accounts.settling_connector(job.account_id, job.key_fingerprint)
        opened = self._opened(job)
        if connector is None or opened is None:
            self._undecided(job, "the account and its key are gone")
            return
        self.settler.open(
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
        if was_late and not report.filled_base:
            # It was there after all, and ended with nothing filled: the row's sums are right, and so is its end.
            self._lanes.release(job)
            return
        if was_late:
            self._feed.alarm(
                f"an order of {job.account_name} that seemed never to have arrived was executed after all",
                what="copy_found_late",
                account=job.account_name,
                copy_id=job.copy_id,
                account_id=job.account_id,
            )
        self.book(job, Move.FOUND_LATE if was_late else Move.FOUND, report)

    def _open(self, job: Job, report: OrderReport) -> None:
        """An unknown order exists but is not final: from here on it is an accepted one."""
        job.exchange_order_id = report.exchange_order_id
        self._record.move(
            job, Move.FOUND_OPEN, CopyState.ACKED, kind="", reason="", exchange_order_id=report.exchange_order_id
        )

    def _absent(self, job: Job) -> None:
        reason = "the order never reached the exchange"
        self._record.move(job, Move.ABSENT, CopyState.FAILED, kind="never_arrived", reason=reason)
        self.finished(job, "never_arrived", reason)

    def _undecided(self, job: Job, what: str) -> None:
        reason = f"it could not be found out whether the order was executed: {what}"
        cause = Move.SHOWN_LATE if job.state is CopyState.FAILED else Move.UNDECIDED
        self._record.move(job, cause, CopyState.NEEDS_PERSON, kind="undecided", reason=reason)
        self._lanes.release(job)
        self._feed.alarm(
            f"{job.account_name}: {reason}",
            what="copy_undecided",
            account=job.account_name,
            copy_id=job.copy_id,
            account_id=job.account_id,
        )

    def book(self, job: Job, cause: Move, report: OrderReport) -> None:
        """Write an order's final state; the lane goes on when it is on disk."""
        self._hold_against_what_was_known(job, report)
        symbol = self._settings.symbol
        self._balances.fills(job.account_id, report.exchange_order_id, job.side, symbol, report.fills)
        self._record.executed(
            job, cause, report, lambda kind, reason: self._mailbox.post(self.finished, job, kind, reason, report)
        )

    def _hold_against_what_was_known(self, job: Job, report: OrderReport) -> None:
        """Fills that are dated before a figure known when their order was sized: the exchange's clock was put back.

        The measurement that shows it comes too late for the account's next copy, whose figures would be from later
        than these fills and seem to hold them. Where a first attempt was found after a second one was made, they are
        read for nothing.
        """
        if all(fill.time_ms >= job.known_ms for fill in report.fills):
            return
        self._balances.begin_anew(job.account_id)
        if opened := self._opened(job):
            self._exchanges.remeasure(opened)

    def finished(self, job: Job, kind: str, reason: str, report: OrderReport | None = None) -> None:
        """A copy has ended, and its end is on disk or on its way there: its lane goes on."""
        self.latencies.saw(job.latency_ms)
        lane = self._lanes.release(job)
        if report is not None and report.filled_base:
            self._accounts.read_soon(job.account_id)  # the exchange's own word on what the fills left
        if not lane.unknown and lane.active is None:
            self._accounts.settled(job.account_id)
        self._record.publish(job, kind, reason, report)

    def look_for_earlier(self, job: Job) -> None:
        """Money is missing for a copy that took a failed one's place: that one may have been executed after all."""
        with self._journal.reading() as connection:
            earlier = rows.earlier_copies(connection, job.copy_id)
        for row in earlier:
            if row.state != CopyState.FAILED:
                continue
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
            if connector is None or opened is None or self.settler.look_now(sent[-1].client_order_id):
                continue
            case = Case(
                job=lost, connector=connector, exchange_clock=opened.clock, attempts=sent, accepted=False, late=True
            )
            self.settler.open(case)
