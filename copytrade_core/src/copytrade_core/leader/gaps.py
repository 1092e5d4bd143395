"""Up to when everything was heard of the leader, and the reading of what was not.

A gap begins when no connection to the leader's events is alive, when the engine was not listening, when the balance
changed without an event, or when an order turns up that no connection told of. It is in the journal from its
beginning: one that a crash leaves open is taken up by the next run, from where it began. It is closed when the
orders were listed, listed again a while later (the list comes from a database that lags), and all that was found
is decided. What its orders do not explain of the leader's balances is told to a person.

All of it runs on the watcher's thread, but for what asks the exchange.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from ..clock import NS_PER_MS, NS_PER_SEC, Clock, wall_text
from ..connector import Connector
from ..copying.plan import Leader
from ..errors import AuthenticationFailed, CopytradeError, JournalError
from ..exchanges import Exchanges, OpenExchange
from ..feed import Feed
from ..model import BalanceSnapshot, OrderReport, Symbol
from ..store import book as rows
from ..store.journal import Journal
from ..views import GapOutcome
from ..workers import Mailbox
from .ledger import BalanceLedger

log = logging.getLogger(__name__)

PROOF_SEC = 6.0
REMEMBER_EVERY_SEC = 5.0
READ_EVERY_SEC = 45.0
UNEXPLAINED_SEC = 3.0  # for the stream to tell of what REST's balances show already
UNTOLD_SEC = 1.0  # for the stream to tell of an order that was placed while the orders were read
LOOK_BACK_MS = 5 * 60 * 1000
LOOK_AGAIN_SEC = 10.0  # the listing comes from a database that may lag
LOOKS = 6  # at most, while the balances are not explained by what was found
LONGEST_MS = 24 * 3600 * 1000  # what is found in a longer gap is never copied by itself
RETRY_SEC = (0.5, 1.0, 2.0, 5.0, 10.0)

NOT_LISTENING = ("not_listening", "the engine was not listening to the leader")
NO_CONNECTION = ("no_connection", "no connection to the leader's events was alive")
SILENT = ("silent_stream", "the leader's balance changed without an event")
UNHEARD = ("unheard_order", "an order was found that no connection had told of")
CLOCK_PUT_BACK = ("clock_put_back", "the exchange's clock was put back")


class Hearing(Protocol):
    """What the watcher does with what is found. On its own thread."""

    def proofs(self) -> list[int]:
        """Return the monotonic time of each connection's last proof of life."""

    def is_unheard(self, report: OrderReport) -> bool:
        """Whether nothing at all is known of an order."""

    def take_orders(self, orders: Iterable[OrderReport], source: str, gap_id: int | None = None) -> None: ...

    def take_snapshot(self, snapshot: BalanceSnapshot) -> None: ...

    def has_undecided(self, gap_id: int) -> bool:
        """Whether an order that was found in this gap waits to be decided."""

    def hold_back(self, gap_id: int | None) -> None:
        """Count what was heard and is not decided yet among what is found in this gap: its age is the gap's doing."""

    def subscribe_anew(self) -> None: ...

    def show(self, **changes: Any) -> None: ...

    def begin_anew(self) -> None:
        """Forget all figures: none of them can be put in order with later ones."""

    def heard(self) -> None:
        """Events are being heard, or it is plain that they cannot be."""


@dataclass(slots=True, eq=False)
class _Gap:
    id: int
    from_ms: int
    to_ms: int | None = None
    looks: int = 0  # whole readings since the leader is heard again
    is_last_look_due: bool = False
    is_read: bool = False


class GapRecovery:
    """Knows up to when everything was heard, and reads what was not."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        exchanges: Exchanges,
        feed: Feed,
        leader: Leader,
        opened: OpenExchange,
        connector: Connector,
        symbol: Symbol,
        ledger: BalanceLedger,
        mailbox: Mailbox,
        ask: Callable[..., None],
        hearing: Hearing,
    ) -> None:
        """:param ask: runs what asks the exchange on a pool."""
        self._clock = clock
        self._journal = journal
        self._exchanges = exchanges
        self._feed = feed
        self._leader = leader
        self._opened = opened
        self._connector = connector
        self._assets = (symbol.quote, symbol.base)
        self._ledger = ledger
        self._mailbox = mailbox
        self._ask = ask
        self._hearing = hearing
        self.is_caught_up = False  # all up to now is known: orders may be decided
        self.leading_since_ms = 0  # exchange time; what was placed before is none of ours
        self._gap: _Gap | None = None
        self._gap_is_due = False  # an earlier run heard the leader, and closed its gaps
        self._up: set[str] = set()  # the streams that are subscribed
        self._outages = 0
        self._is_reading = False
        self._read_again = False
        self._failures = 0
        self._with_fills: dict[tuple[str, int], OrderReport] = {}  # what was read of orders not taken in yet
        self._since_ms = 0  # exchange time up to which a connection was proven alive
        self._agreed_ms = 0  # exchange time up to which the exchange's balances bore out what was heard
        self._remembered_ns = 0
        self._compared_ns = 0
        self._is_mismatched = False
        self._begins_anew = False  # the next reading is the ground of all that follows

    @property
    def gap_id(self) -> int | None:
        """The journal's row of the gap that is being read; ``None``: there is none."""
        return None if self._gap is None else self._gap.id

    @property
    def is_reading(self) -> bool:
        """Whether it is being asked what was missed: until then what is known may lack it."""
        return self._is_reading

    @property
    def is_too_long(self) -> bool:
        """Whether the gap is so long that what is found in it is only listed."""
        gap = self._gap
        if gap is None:
            return False
        until_ms = gap.to_ms or self._now_ms() or gap.from_ms
        return until_ms - gap.from_ms > LONGEST_MS

    def known_since_ms(self) -> int:
        """Return the exchange time from which on an earlier run may have left something; 0: there was none."""
        leader, label = self._leader, self._leader.label
        with self._journal.reading() as connection:
            proof = int(rows.recall(connection, f"proof:{label}") or 0)
            agreed = int(rows.recall(connection, f"agreed:{label}") or proof)
            self.leading_since_ms = int(rows.recall(connection, f"leading:{label}") or 0)
            left_open = rows.open_gap(connection, leader.exchange, leader.environment.value, leader.uid)
        if proof < self.leading_since_ms:  # it did not lead since then, or nothing was heard of it yet
            self._since_ms = self._agreed_ms = self.leading_since_ms
            if left_open is not None:
                self._journal.submit(lambda connection: rows.close_gap(connection, left_open.id, GapOutcome.LEFT, {}))
            return proof
        self._since_ms, self._agreed_ms = proof, agreed
        if left_open is None:
            self._gap_is_due = True
            return min(proof, agreed)
        from_ms = int(left_open.from_ms)
        self._gap = _Gap(left_open.id, from_ms)
        return min(proof, agreed, from_ms)

    def begin(self) -> None:
        """Take up an earlier run's gap, or begin the one since that run; after `known_since_ms`."""
        leader = self._leader
        where = (leader.exchange, leader.environment.value, leader.uid)
        self._journal.submit(lambda connection: rows.leave_other_gaps(connection, *where))
        if not self._since_ms:
            self._since_ms = self._agreed_ms = self._now_ms() or 0
        elif self._gap_is_due:
            self._begin_gap(NOT_LISTENING, self._since_ms)

    def connection_up(self, stream: str) -> None:
        self._up.add(stream)
        # What happened before a subscription is never delivered: ask, each time, whatever the other one heard.
        self.catch_up()

    def connection_down(self, stream: str) -> None:
        if stream not in self._up:
            return
        self._up.discard(stream)
        if not self._up:
            self._lost()

    def tick(self) -> None:
        """Watch the proofs of life and, now and then, the balances."""
        now = self._clock.monotonic_ns()
        if self.is_caught_up:
            self._watch_proof(now)
        if self.is_caught_up and now - self._compared_ns > READ_EVERY_SEC * NS_PER_SEC:
            self._compared_ns = now
            self._ask(self._read_to_compare)

    def remember(self) -> None:
        """Have the journal know up to when all was heard."""
        if not self._since_ms:
            return
        self._remembered_ns = self._clock.monotonic_ns()
        facts = {f"proof:{self._leader.label}": self._since_ms, f"agreed:{self._leader.label}": self._agreed_ms}

        def write(connection: Any) -> None:
            for key, value in facts.items():
                rows.remember(connection, key, str(value))

        self._journal.submit(write)

    def close_if_done(self) -> None:
        """Close the gap once it was read and everything found in it is decided."""
        gap = self._gap
        if gap is None or not gap.is_read or self._is_reading or self._hearing.has_undecided(gap.id):
            return
        unexplained = {asset: self._ledger.unexplained(asset, gap.from_ms) for asset in self._assets}
        left = {asset: amount for asset, amount in unexplained.items() if amount}
        if left and gap.looks < LOOKS:
            gap.is_read = False
            self._mailbox.later(LOOK_AGAIN_SEC, self._look_again, gap, self._outages)
            return
        outcome = GapOutcome.IN_FULL
        if left:
            outcome = GapOutcome.UNEXPLAINED
        elif None in unexplained.values():
            outcome = GapOutcome.UNCHECKED
        try:
            view = self._journal.write(lambda connection: rows.close_gap(connection, gap.id, outcome, left))
        except JournalError:
            return  # halted; the next run takes it up
        self._gap = None
        figures: dict[str, Any] = {
            "gap_id": view.id,
            "since": view.since,
            "until": view.until,
            "from_ms": gap.from_ms,
            "to_ms": gap.to_ms,
            "found": view.found,
            "copied": view.copied,
            "missed": view.missed,
            "ignored": view.ignored,
            "outcome": outcome.value,
            "in_full": outcome is GapOutcome.IN_FULL,
            "reason_kind": view.reason_kind,
            "reason": view.reason,
        }
        text = (
            f"the leader's orders from {view.since} to {view.until} were read: {view.found} had not been heard, "
            f"{view.copied} of them were copied, {view.missed} missed"
        )
        self._feed.publish("gap", text, what="gap_read", **figures)
        if left:
            amounts = ", ".join(f"{format(amount, 'f')} {asset}" for asset, amount in left.items())
            self._feed.alarm(
                f"what became of the leader's balance from {view.since} to {view.until} is not explained by its "
                f"orders: {amounts}",
                what="gap_unexplained",
                **figures | {"amounts": amounts},
            )

    # --- losing and finding ---

    def _now_ms(self) -> int | None:
        return self._opened.clock.now_ms() if self._opened.clock.is_known else None

    def _is_proven(self) -> bool:
        now = self._clock.monotonic_ns()
        return any(now - proof <= PROOF_SEC * NS_PER_SEC for proof in self._hearing.proofs())

    def _watch_proof(self, now: int) -> None:
        proofs = self._hearing.proofs()
        if proofs and now - max(proofs) <= PROOF_SEC * NS_PER_SEC:
            exchange_now = self._now_ms()
            if exchange_now is not None:
                self._since_ms = exchange_now - (now - max(proofs)) // NS_PER_MS
            if now - self._remembered_ns > REMEMBER_EVERY_SEC * NS_PER_SEC:
                self.remember()
            return
        self._lost()
        self._catch_up_when_proven()

    def clock_put_back(self) -> None:
        """The exchange's clock was put back: what it says now bears earlier stamps than what it said before.

        Orders are held back until orders and balances were read, and all earlier figures forgotten.
        """
        self._begins_anew = True
        self._lost(CLOCK_PUT_BACK)
        self._catch_up_when_proven()

    def _lost(self, reason: tuple[str, str] = NO_CONNECTION) -> None:
        """Nothing proves that we hear: orders are held back until the gap has been read."""
        self._outages += 1
        if self.is_caught_up and reason is NO_CONNECTION:
            text = "the leader is not heard: no connection to its events is alive"
            self._feed.alarm(text, what="leader_not_heard")
        self.is_caught_up = False
        self._hearing.show(gap_since=wall_text(self._clock.wall_ms()))
        if self._gap is None:
            self._begin_gap(reason, self._since_ms)
        else:
            self._gap.to_ms, self._gap.looks, self._gap.is_last_look_due, self._gap.is_read = None, 0, False, False
        self._hearing.hold_back(self.gap_id)

    def _begin_gap(self, reason: tuple[str, str], from_ms: int) -> None:
        leader = self._leader
        row = (leader.exchange, leader.environment.value, leader.uid, from_ms, *reason)
        try:
            gap_id = self._journal.write(lambda connection: rows.begin_gap(connection, *row))
        except JournalError:
            return  # halted
        self._gap = _Gap(gap_id, from_ms)

    def _catch_up_when_proven(self) -> None:
        if self.is_caught_up:
            return
        if self._is_proven() and not (self._begins_anew and self._now_ms() is None):
            self.catch_up()
        else:
            self._mailbox.later(0.2, self._catch_up_when_proven)

    # --- reading ---

    def catch_up(self) -> None:
        """Read from the exchange what may not have been heard."""
        if self._is_reading:
            self._read_again = True
            return
        self._is_reading = True
        gap = self._gap
        since_ms = min(self._since_ms, self._agreed_ms, self._since_ms if gap is None else gap.from_ms)
        is_last = gap is not None and gap.is_last_look_due
        self._ask(self._read, since_ms - LOOK_BACK_MS, self._outages, is_last)

    def _read(self, since_ms: int, outages: int, is_last: bool) -> None:
        try:
            self._exchanges.ready(self._opened)
            started_ms = self._opened.clock.now_ms()
            # Where the clock was put back, since_ms may be yet to come, and says nothing of how long ago it was.
            is_known = not self._opened.clock.is_yet_to_come(since_ms + LOOK_BACK_MS)
            look_back_ms = LOOK_BACK_MS if is_known else LONGEST_MS
            # The orders first: whatever fills between the two reads is in the balance and comes by stream besides.
            orders = self.read_orders(min(since_ms, started_ms - look_back_ms))
            snapshot = self._connector.balances(urgent=True)
        except CopytradeError as error:
            self._mailbox.post(self._unread, error)
        else:
            self._mailbox.post(self._take, started_ms, outages, is_last, snapshot, orders)

    def read_orders(self, since_ms: int) -> list[OrderReport]:
        """List the leader's orders, with the fills of those that nothing is known of. On the pool."""
        found = []
        for report in self._connector.list_orders(since_ms):
            if _is_filled_market_order(report) and self._hearing.is_unheard(report):
                # A long gap's orders can be more than the budget holds: the next try goes on from here.
                key = (report.exchange_order_id, report.created_ms)
                if key not in self._with_fills:
                    told = self._connector.find_order(report.client_order_id, report.exchange_order_id)
                    self._with_fills[key] = told or report
                report = self._with_fills[key]
            found.append(report)
        return found

    def take_found(self, orders: Sequence[OrderReport]) -> None:
        """Fold in what was listed; an order that no connection told of is a gap by itself."""
        unheard = [report for report in orders if _is_filled_market_order(report) and self._hearing.is_unheard(report)]
        if unheard and self._gap is None:
            self._begin_gap(UNHEARD, min(report.created_ms for report in unheard))
            if self._gap is not None:
                self._look_again_later()
        self._hearing.take_orders(orders, "gap", self.gap_id)
        self._with_fills.clear()

    def _unread(self, error: CopytradeError) -> None:
        self._is_reading = False
        self._hearing.show(error_kind=error.kind, error=error.message)
        if isinstance(error, AuthenticationFailed):
            self._hearing.heard()
        pause = RETRY_SEC[min(self._failures, len(RETRY_SEC) - 1)]
        self._failures += 1
        self._mailbox.later(pause, self.catch_up)

    def _take(
        self, started_ms: int, outages: int, is_last: bool, snapshot: BalanceSnapshot, orders: list[OrderReport]
    ) -> None:
        self._is_reading = False
        self._failures = 0
        if outages == self._outages:
            # What was placed since, the streams tell of; this is only quicker. If they do not, it is read again.
            early = [report for report in orders if report.created_ms >= started_ms]
            orders = [report for report in orders if report.created_ms < started_ms]
            if any(self._hearing.is_unheard(report) for report in early):
                self._mailbox.later(UNTOLD_SEC, self.catch_up)
        is_anew = self._begins_anew
        if is_anew:
            if outages != self._outages or self._now_ms() is None:
                self._catch_up_when_proven()  # this reading is of a time that comes twice
                return
            self._begins_anew = False
            self._hearing.begin_anew()
        self.take_found(orders)
        # An order placed between the two reads is in the balance and not in the list. A stream that lives tells of it;
        # one that does not must not have it forgotten with the balance that is taken over here.
        is_unexplained = self._differs(snapshot)
        self._hearing.take_snapshot(snapshot)
        if outages != self._outages:
            # Nothing was heard for a while since this reading began: it says nothing of that while.
            self._read_again = False
            self._catch_up_when_proven()
            return
        self.is_caught_up = True
        self._since_ms = started_ms if is_anew else max(self._since_ms, started_ms)
        self._hearing.show(gap_since="", error_kind="", error="")
        if not is_unexplained:
            self._agreed_ms = started_ms
        self._note_look(is_last)
        self._hearing.heard()
        self.remember()
        if self._read_again:
            self._read_again = False
            self.catch_up()
        elif is_unexplained:
            self._mailbox.later(UNEXPLAINED_SEC, self.catch_up)

    def _note_look(self, is_last: bool) -> None:
        gap = self._gap
        if gap is None:
            return
        if gap.to_ms is None:
            gap.to_ms = to_ms = self._now_ms() or gap.from_ms
            self._journal.submit(lambda connection: rows.heard_again(connection, gap.id, to_ms))
            self._look_again_later()
        elif is_last:
            gap.is_last_look_due = False
            gap.is_read = True
            gap.looks += 1

    def _look_again_later(self) -> None:
        self._mailbox.later(LOOK_AGAIN_SEC, self._look_again, self._gap, self._outages)

    def _look_again(self, gap: _Gap, outages: int) -> None:
        if gap is self._gap and outages == self._outages:
            gap.is_last_look_due = True
            self.catch_up()

    # --- comparing ---

    def _read_to_compare(self) -> None:
        """Hold REST's balances against the ledger: a stream can go silent while its socket stays open."""
        started_ms = self._now_ms()
        try:
            snapshot = self._connector.balances(urgent=True)
        except CopytradeError:
            return
        self._mailbox.post(self._compare, started_ms, snapshot)

    def _compare(self, started_ms: int | None, snapshot: BalanceSnapshot) -> None:
        """REST is newer and says something else: wait three seconds for the stream, then treat it as a gap."""
        if not self._differs(snapshot):
            self._is_mismatched = False
            self._agreed_ms = started_ms or self._agreed_ms
            self._hearing.take_snapshot(snapshot)
        elif not self._is_mismatched:
            self._is_mismatched = True
            self._mailbox.later(UNEXPLAINED_SEC, self._ask, self._read_to_compare)
        else:
            self._is_mismatched = False
            text = "the leader's balance changed without an event: its orders are being read"
            self._feed.alarm(text, what="leader_balance_unexplained")
            if self._gap is None:
                self._begin_gap(SILENT, self._agreed_ms)
            self.is_caught_up = False
            self._hearing.show(gap_since=wall_text(self._clock.wall_ms()))
            self.catch_up()
            self._ask(self._hearing.subscribe_anew)

    def _differs(self, snapshot: BalanceSnapshot) -> bool:
        """Whether REST is newer than all that was heard and says something else."""
        for asset in self._assets:
            newest, stated = self._ledger.newest(asset), snapshot.free(asset)
            if newest is not None and snapshot.time_ms > newest.time_ms and stated != self._ledger.free(asset):
                return True
        return False


def _is_filled_market_order(report: OrderReport) -> bool:
    return report.is_market and report.status.is_final and report.filled_base > Decimal(0)
