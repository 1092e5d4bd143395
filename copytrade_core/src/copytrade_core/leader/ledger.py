"""What an account had free, at any moment of the exchange's time.

REST answers "now", which is after the trade or, cached, before an earlier one; a share needs the free balance
*just before* the leader's order. So every statement about a balance is kept with the exchange's own time of it:

- an **absolute** figure (a pushed position, a REST snapshot) with the time ``u`` of the last change in it;
- a **delta** (our reading of a fill, a deposit, a withdrawal) with its time ``T``.

A delta is *in* an absolute figure exactly when ``T <= u``. That one rule keeps a late snapshot from reviving spent
money and a deposit's two events from counting twice. The same ledger serves the followers' live balances.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from ..model import BalanceSnapshot, BalanceSource

KEEP_MS = 2 * 60 * 1000
LATE_PUSH_MS = 60_000  # for so long after a fill a push may still be of the time before it
STAMP_SLACK_MS = 2000
END_OF_MS = 1 << 62
AGREE = Fraction(1, 1000)  # two estimates are "the same" within 0.1 %


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A point in the exchange's order of things: its millisecond, then its execution id within it.

    ``after`` is above 0 for what came behind that execution and has no such id of its own: 1 for a deposit or a
    withdrawal, the order's number for an order that only REST told of.
    """

    time_ms: int
    execution_id: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Absolute:
    time_ms: int
    arrival: int  # our own count of arrivals, to tell "arrived before the order's first report"
    free: Decimal
    locked: Decimal
    source: BalanceSource


@dataclass(frozen=True, slots=True)
class Delta:
    moment: Moment
    free: Decimal
    key: str


@dataclass(frozen=True, slots=True)
class Figure:
    """An absolute figure and how far it reaches: deltas up to ``cut`` are in it, later ones are not."""

    absolute: Absolute
    cut: Moment
    is_exact: bool  # the cut was found by the sum, not only by the stamp
    is_ambiguous: bool = False  # what it locks may be a fill from after its stamp, or an order that rests on the book

    @property
    def free(self) -> Decimal:
        return self.absolute.free


@dataclass(slots=True)
class _Asset:
    absolutes: list[Absolute] = field(default_factory=list)  # by time_ms, then arrival
    deltas: list[Delta] = field(default_factory=list)  # by moment
    keys: set[str] = field(default_factory=set)
    known: list[Figure] = field(default_factory=list)  # those of `figures` that still hold
    stale_from_ms: int = END_OF_MS  # figures from here on have to be found anew

    def figures(self) -> list[Figure]:
        """Return the absolute figures in the order of what they hold."""
        if self.stale_from_ms < END_OF_MS:
            found = [figure for figure in self.known if figure.absolute.time_ms < self.stale_from_ms]
            for absolute in self.absolutes[bisect_left(self.absolutes, self.stale_from_ms, key=_time_of) :]:
                before = next((each for each in reversed(found) if each.absolute.time_ms < absolute.time_ms), None)
                # Two figures of one millisecond may have arrived in the wrong order.
                insort(found, self._reach(absolute, before), key=lambda figure: (figure.cut, figure.absolute.arrival))
            self.known, self.stale_from_ms = found, END_OF_MS
        return self.known

    def told_of(self, time_ms: int) -> None:
        """Have the figures from *time_ms* on found anew: what was told since may be in them."""
        self.stale_from_ms = min(self.stale_from_ms, time_ms)

    def _reach(self, absolute: Absolute, before: Figure | None) -> Figure:
        """Find out which deltas a figure holds: the stamp says so to the millisecond, the sum exactly.

        Several orders can share a millisecond with a figure from between them, and an exchange may stamp a
        balance a moment before the fill that caused it. From the figure before it, add one delta after the other:
        where the sum is the figure, it reaches that far.
        """
        whole = Figure(absolute, Moment(absolute.time_ms, END_OF_MS), is_exact=False)
        if before is None:
            return whole
        # An order in flight freezes what it may take: then the whole of free and locked tells what the free part hides.
        old, stamp = before.absolute, absolute.time_ms
        cut = self._sums_up(before.cut, old.free, stamp, absolute.free)
        if cut is not None and (cut.time_ms <= stamp or absolute.locked == old.locked):
            return Figure(absolute, cut, is_exact=True)
        of_all = self._sums_up(before.cut, old.free + old.locked, stamp, absolute.free + absolute.locked)
        if cut is None:
            return whole if of_all is None else Figure(absolute, of_all, is_exact=True)
        is_ambiguous = of_all is not None and of_all.time_ms <= stamp
        return Figure(absolute, cut, is_exact=True, is_ambiguous=is_ambiguous)

    def _sums_up(self, since: Moment, amount: Decimal, stamp: int, target: Decimal) -> Moment | None:
        """Return up to which delta *amount* becomes *target*; ``None``: at none near *stamp*."""
        deltas = self.deltas[bisect_right(self.deltas, since, key=_moment_of) :]
        amount += sum((delta.free for delta in deltas if delta.moment.time_ms < stamp), Decimal(0))
        same = [delta for delta in deltas if delta.moment.time_ms == stamp]
        found = Moment(stamp, -1 if same else END_OF_MS) if amount == target else None
        for delta in same:
            amount += delta.free
            found = delta.moment if amount == target else found
        for delta in deltas:
            if found is None and stamp < delta.moment.time_ms <= stamp + STAMP_SLACK_MS:
                amount += delta.free
                found = delta.moment if amount == target else None
        return found

    def after(self, cut: Moment) -> Decimal:
        return sum((delta.free for delta in self.deltas[bisect_right(self.deltas, cut, key=_moment_of) :]), Decimal(0))

    def forget_before(self, horizon_ms: int) -> None:
        while len(self.absolutes) > 2 and self.absolutes[1].time_ms < horizon_ms:
            gone = self.absolutes.pop(0)
            self.known = [figure for figure in self.known if figure.absolute is not gone]
        while self.deltas and self.deltas[0].moment.time_ms < min(horizon_ms, self.absolutes[0].time_ms):
            self.keys.discard(self.deltas.pop(0).key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """The free balance before one order, worked out in three ways (``None`` where there is no ground for it).

    ``latest`` (A): the last absolute figure from before the order. ``replayed`` (C): that figure and all known
    deltas up to the order. ``undone`` (B): the first figure from after it, with the order itself taken back;
    ``undone_again``: the same from another, later figure (a snapshot that was asked for because the others differ).
    It is there only where the first one is of the order's own millisecond: two figures from later would agree on
    whatever else happened in between, and a lock placed right after the order would pass for one before it.
    """

    latest: Decimal | None
    replayed: Decimal | None
    undone: Decimal | None
    undone_again: Decimal | None = None

    def as_text(self) -> dict[str, str]:
        """Return the figures for the journal, under the names that the closed book shows."""
        pairs = (
            ("latest", self.latest),
            ("replayed", self.replayed),
            ("undone", self.undone),
            ("undone_again", self.undone_again),
        )
        return {name: format(value, "f") for name, value in pairs if value is not None}


class BalanceLedger:
    """The time-indexed free balances of one account. Not thread-safe: its owner's thread or lock guards it."""

    def __init__(self, *tracked: str) -> None:
        """Keep a ledger; of the *tracked* assets a complete snapshot that leaves them out says "zero"."""
        self._assets = {name: _Asset() for name in tracked}
        self._arrivals = 0

    def forget_all(self) -> None:
        """Forget every figure and delta: what is stated next is the ground of all that follows."""
        self._assets = {name: _Asset() for name in self._assets}

    @property
    def arrivals(self) -> int:
        """How many absolute figures have arrived; taken at an order's first report it dates that report."""
        return self._arrivals

    def state(self, snapshot: BalanceSnapshot) -> bool:
        """Take absolute figures in; return whether they told anything newer than what was known.

        A snapshot that is older than the newest absolute figure of an asset stays in history only.
        """
        self._arrivals += 1
        figures = {balance.asset: (balance.free, balance.locked) for balance in snapshot.balances}
        if snapshot.complete:
            for name in self._assets:
                figures.setdefault(name, (Decimal(0), Decimal(0)))
        is_news = False
        for name, (free, locked) in figures.items():
            asset = self._assets.setdefault(name, _Asset())
            newest = asset.absolutes[-1].time_ms if asset.absolutes else -1
            is_news = is_news or snapshot.time_ms >= newest
            entry = Absolute(snapshot.time_ms, self._arrivals, free, locked, snapshot.source)
            insort(asset.absolutes, entry, key=lambda absolute: (absolute.time_ms, absolute.arrival))
            asset.told_of(snapshot.time_ms)
            asset.forget_before(asset.absolutes[-1].time_ms - KEEP_MS)
        return is_news

    def change(self, key: str, moment: Moment, deltas: Mapping[str, Decimal]) -> bool:
        """Take one event's deltas of free balances in; return False where *key* was known already."""
        is_new = False
        for name, free in deltas.items():
            asset = self._assets.setdefault(name, _Asset())
            if key in asset.keys:
                continue
            is_new = True
            asset.keys.add(key)
            insort(asset.deltas, Delta(moment, free, key), key=_moment_of)
            asset.told_of(moment.time_ms - STAMP_SLACK_MS)  # an earlier stamp may belong to it
        return is_new

    def free(self, name: str) -> Decimal | None:
        """Return the free balance now: the newest absolute figure and every delta that is not in it."""
        asset = self._assets.get(name)
        if asset is None or not asset.absolutes:
            return None
        newest = asset.figures()[-1]
        return newest.free + asset.after(newest.cut)

    def newest(self, name: str) -> Absolute | None:
        """Return the newest absolute figure of an asset, as it arrived."""
        asset = self._assets.get(name)
        return asset.figures()[-1].absolute if asset and asset.absolutes else None

    def newest_ms(self) -> int:
        """Return the latest stamp of all that is known, of figures and of what changed since; 0: nothing is."""
        stamps = [absolute.time_ms for asset in self._assets.values() for absolute in asset.absolutes[-1:]]
        stamps += [delta.moment.time_ms for asset in self._assets.values() for delta in asset.deltas[-1:]]
        return max(stamps, default=0)

    def has_deltas_after_newest(self, name: str) -> bool:
        """Whether `free` is worked out from fills rather than stated by the exchange."""
        asset = self._assets.get(name)
        if asset is None or not asset.absolutes:
            return False
        cut = asset.figures()[-1].cut
        return any(delta.moment > cut for delta in asset.deltas)

    def unexplained(self, name: str, since_ms: int) -> Decimal | None:
        """Return what of the free balance's change since *since_ms* is in no delta that was told of.

        ``None``: there is no figure from before that time, or none yet that holds all that was told of. What an order
        on the book locks or frees is no change where free and locked together are explained.
        """
        asset = self._assets.get(name)
        figures = asset.figures() if asset is not None else []
        earlier = [figure for figure in figures if figure.absolute.time_ms <= since_ms]
        if asset is None or not earlier or self.has_deltas_after_newest(name):
            return None
        old, new = earlier[-1], figures[-1]
        told = sum((delta.free for delta in asset.deltas if old.cut < delta.moment <= new.cut), Decimal(0))
        left = new.free - old.free - told
        return left if left + new.absolute.locked - old.absolute.locked else Decimal(0)

    def is_doubtful(self, name: str) -> bool:
        """Whether `free` may not be what can be spent, so that it is to be read before it is used.

        It may count a fill twice: as spent, and as what the newest figure shows as locked. Or that figure was pushed
        and is not what was known and the fills of late sum up to: an exchange that stamps a push when it leaves, and
        sends it late, gives money back that was spent.
        """
        asset = self._assets.get(name)
        if asset is None or not asset.absolutes:
            return False
        *earlier, newest = asset.figures()
        if newest.absolute.locked > 0 and self.has_deltas_after_newest(name):
            return True
        if not earlier or newest.is_exact or newest.absolute.source is not BalanceSource.PUSHED:
            return False
        since_ms = newest.absolute.time_ms - LATE_PUSH_MS
        return any(delta.moment.time_ms >= since_ms for delta in asset.deltas)

    def before(
        self, name: str, *, created_ms: int, first: Moment, last: Moment, own: Decimal, first_arrival: int
    ) -> Estimates:
        """Estimate the free balance of *name* just before an order.

        :param created_ms: when the order was created; absolute figures from that millisecond on may hold it.
        :param first: the moment of its first known report; deltas before it belong to earlier events.
        :param last: the moment of its last fill.
        :param own: what the order itself did to the free balance (negative: it spent).
        :param first_arrival: `arrivals` when its first report came.
        """
        asset = self._assets.get(name, _Asset())
        figures, deltas = asset.figures(), asset.deltas
        # By its stamp alone a figure of the order's millisecond may hold the order already.
        earlier = (
            f
            for f in reversed(figures)
            if not f.is_ambiguous and (f.cut < first if f.is_exact else f.absolute.time_ms < created_ms)
        )
        anchor = arrived = next(earlier, None)
        while arrived is not None and arrived.absolute.arrival > first_arrival:
            arrived = next(earlier, None)
        since_anchor = figures[bisect_right(figures, anchor.cut, key=_cut_of) :] if anchor is not None else []
        if any(f.is_ambiguous and f.absolute.time_ms < created_ms for f in since_anchor):
            anchor = arrived = None  # a lock from before the order, or its own: only figures from after it tell
        start = bisect_left(deltas, first, key=_moment_of)
        replayed = None
        if anchor is not None:
            told = deltas[bisect_right(deltas, anchor.cut, key=_moment_of) : start]
            replayed = anchor.free + sum((delta.free for delta in told), Decimal(0))
        # What is from before a millisecond is no word on what the second order in it found.
        comes_second = start > 0 and deltas[start - 1].moment.time_ms == first.time_ms
        # Of figures of one millisecond that only their stamps place, the last to arrive can hold all of it. One that is
        # stamped before the order and has its sum all the same proves nothing: an equal order's report may be missing.
        later = [f for f in figures[bisect_left(figures, last, key=_cut_of) :] if f.absolute.time_ms >= created_ms]
        whole = {figure.absolute.time_ms: figure.free for figure in later if not figure.is_exact}
        later = [f for f in later if not f.is_ambiguous and (f.is_exact or whole[f.absolute.time_ms] == f.free)]
        # Everything known from the order on and up to a later figure is in that figure: take it all back.
        since = deltas[bisect_right(deltas, last, key=_moment_of) :]
        undone = [
            figure.free - own - sum((d.free for d in since if d.moment <= figure.cut), Decimal(0)) for figure in later
        ]
        is_of_its_own_time = len(later) > 1 and later[0].absolute.time_ms == last.time_ms
        return Estimates(
            latest=arrived.free if arrived is not None and not comes_second else None,
            replayed=replayed,
            undone=undone[0] if undone else None,
            undone_again=undone[-1] if is_of_its_own_time else None,
        )


def _time_of(absolute: Absolute) -> int:
    return absolute.time_ms


def _moment_of(delta: Delta) -> Moment:
    return delta.moment


def _cut_of(figure: Figure) -> Moment:
    return figure.cut


def agree(one: Decimal, other: Decimal) -> bool:
    """Whether two balances give shares within 0.1 % of each other."""
    return abs(Fraction(one) - Fraction(other)) <= AGREE * max(abs(Fraction(one)), abs(Fraction(other)))


def choose(estimates: Estimates) -> tuple[Decimal, str] | None:
    """Return the balance to reckon with and how it was found; ``None``: the estimates contradict each other.

    The replayed figure stands by itself or where the one from after the order confirms it; it is the latest
    figure wherever nothing happened in between. The latest figure alone stands where only it is confirmed, and
    the undone one where two statements from after the order agree: then a push from before it was lost.
    """
    latest, replayed, undone, again = estimates.latest, estimates.replayed, estimates.undone, estimates.undone_again
    if replayed is not None and (undone is None or agree(replayed, undone)):
        return replayed, "latest" if replayed == latest else "replayed"
    if latest is not None and undone is not None and agree(latest, undone):
        return latest, "latest"
    if undone is not None and again is not None and agree(undone, again):
        return undone, "undone"
    return None
