"""What may leave, and when: the rules before the wire (orders.md 1, 2.6, 2.7), asked anew at every attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..accounts.balances import BalanceBook
from ..accounts.service import Follower
from ..clock import NS_PER_SEC, Clock
from ..errors import ClockSkewed, CopytradeError, NotSent
from ..exchanges import Exchanges
from ..halts import Halts
from ..model import BaseQuantity, MarketOrder, QuoteAmount, Side
from ..settings import Settings
from ..store import book as rows
from ..views import CopyState
from .gate import CopyGate
from .jobs import Job
from .lanes import Lane
from .plan import client_order_id
from .sums import sum_of

CLOCK_AGAIN_SEC = 0.2
PREPARE_AGAIN_SEC = 0.2
OTHER_SIDE_WAIT_SEC = 2.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a waiting copy is not sent any more: its final state, kind and sentence, and the sum where there is one."""

    state: CopyState
    kind: str
    reason: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


class Departure:
    """Judges the head of a lane. It changes nothing but the times at which a copy is looked at again."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        exchanges: Exchanges,
        balances: BalanceBook,
        gate: CopyGate,
        halts: Halts,
        install_tag: str,
        copying_since_ms: Callable[[], int],
        held_until_ns: Callable[[str], int],
    ) -> None:
        """
        :param copying_since_ms: when copying was last started, in the time that the leader's orders are dated in.
        :param held_until_ns: until when (monotonic) nothing is sent to an exchange that asked to slow down.
        """
        self._settings = settings
        self._clock = clock
        self._exchanges = exchanges
        self._balances = balances
        self._gate = gate
        self._halts = halts
        self._install_tag = install_tag
        self._copying_since_ms = copying_since_ms
        self._held_until_ns = held_until_ns

    def refusal(self, job: Job, follower: Follower | None) -> Refused | None:
        """Return why a waiting copy is not sent any more: its final state, kind and sentence."""
        was_tried = job.state is CopyState.NOT_SENT
        shut = self._gate.reason(job.account_id)
        if follower is None:
            shut = ("removed", "the account was removed")
        if shut is not None:
            kind, reason = shut
            # What a halt kept in can be copied later by a person; what a person stopped is simply not copied.
            ended = CopyState.FAILED if was_tried or kind == "halted" else CopyState.SKIPPED
            return Refused(ended, kind, reason)
        assert follower is not None
        # A stop or a pause that is over already ends what waited then, too: a rate limit can outlast both.
        ended = CopyState.FAILED if was_tried else CopyState.SKIPPED
        if not job.by_person and job.created_ms <= follower.record.resumed_ms:
            return Refused(ended, "before_resumed", "the leader placed it before this account was resumed")
        if not job.by_person and job.created_ms <= self._copying_since_ms():
            return Refused(ended, "before_started", "the leader placed it before copying was started")
        if (halt := self._halts.of(job.exchange_label)) and not halt.until:
            return Refused(CopyState.FAILED, "halted", halt.reason)
        if self._clock.monotonic_ns() > job.deadline_ns:
            ended = CopyState.FAILED if was_tried else CopyState.STALE
            return Refused(ended, "too_old", self._why_late(follower))
        return None

    @staticmethod
    def _why_late(follower: Follower) -> str:
        if follower.opened.shut_until_ns:
            return "the exchange had shut this machine's address out until the leader's order was too old to be copied"
        if not follower.opened.clock.is_known or follower.opened.rules is None:
            return f"the exchange could not be reached in time ({follower.opened.error or 'no answer'})"
        return "the leader's order had become too old to be copied"

    def must_wait(self, lane: Lane, job: Job, follower: Follower) -> float:
        """Return the seconds after which the head of a lane is to be looked at again; 0: it can go."""
        now = self._clock.monotonic_ns()
        opened = follower.opened
        if not opened.clock.is_known or opened.rules is None or opened.clock.measured_ns < job.clock_refused_ns:
            self._exchanges.remeasure(opened)
            return CLOCK_AGAIN_SEC
        too_old_sec = max((job.deadline_ns - now) / NS_PER_SEC, 0.0) + 0.01
        hold = max(job.not_before_ns, self._held_until_ns(opened.label), opened.shut_until_ns)
        if hold > now:
            return min((hold - now) / NS_PER_SEC, too_old_sec)
        for other in lane.unknown:
            if other.side is job.side or other.state is not CopyState.UNKNOWN:
                # What this one may spend depends on what became of that one. Settling it wakes the lane.
                return too_old_sec
            # An exit must not be missed for it, but what is found out at once is worth the wait.
            settles_ns = other.unknown_ns + int(OTHER_SIDE_WAIT_SEC * NS_PER_SEC)
            if now < settles_ns:
                return min((settles_ns - now) / NS_PER_SEC, too_old_sec)
        return 0.0

    def must_read(self, lane: Lane, job: Job, follower: Follower) -> bool:
        if lane.unknown and not job.read_since_ns:
            # An exit goes on past an unknown of the other side, but only on figures that are newer than it.
            return True
        if self.is_unsure(lane, job, follower):
            return True  # until the exchange states it; the deadline bounds the waiting
        max_age_sec = self._settings.max_balance_age_sec
        # What was read for it is young enough for as long as any figure; it may have waited since.
        was_read = self._clock.monotonic_ns() - job.read_since_ns < max(max_age_sec, 1) * NS_PER_SEC
        return not (job.read_since_ns and was_read) and self._balances.needs_reading(lane.account_id, max_age_sec)

    def is_unsure(self, lane: Lane, job: Job, follower: Follower) -> bool:
        """Whether a figure may count a fill twice, or was never stated: what is pushed may speak of one asset only."""
        asset = self._asset(job, follower)
        is_unknown = self._balances.figure(lane.account_id, asset) is None
        return is_unknown or self._balances.is_doubtful(lane.account_id, asset)

    @staticmethod
    def _asset(job: Job, follower: Follower) -> str:
        """Return the asset that a copy is sized by."""
        rules = follower.opened.rules
        assert rules is not None
        return rules.symbol.quote if job.side is Side.BUY else rules.symbol.base

    def prepare(self, job: Job, follower: Follower) -> rows.Claim | Refused | None:
        """Size a copy and make its order ready, or say why it ends here; ``None``: it must wait."""
        rules = follower.opened.rules
        figure = self._balances.figure(job.account_id, self._asset(job, follower))
        assert rules is not None and figure is not None  # `must_wait` and `must_read` have seen to it
        found = sum_of(job.share, job.side, figure, rules, check_minimums=self._settings.check_minimums)
        if found.refusal is not None:
            if not rules.is_trading:
                self._exchanges.reload_rules(follower.opened)  # it may have opened again by now
            ended = CopyState.FAILED if job.state is CopyState.NOT_SENT else CopyState.SKIPPED
            return Refused(ended, *found.refusal, found.inputs)
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
            return Refused(CopyState.FAILED, error.kind, error.message, found.inputs)
        job.prepared = prepared
        job.known_ms = self._balances.newest_ms(job.account_id)
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
