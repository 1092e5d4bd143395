"""One lane a follower: its copies in the leader's order, and which of them holds the place on the wire."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..model import AccountId
from .jobs import Job


@dataclass(slots=True, eq=False)
class Lane:
    """One follower's copies, in the leader's order."""

    account_id: AccountId
    waiting: deque[Job] = field(default_factory=deque)
    active: Job | None = None  # claimed, or accepted and being read back
    unknown: list[Job] = field(default_factory=list)  # being asked about
    is_reading: bool = False


class Lanes:
    """All lanes, and which of them are to be looked at. The dispatcher's thread alone touches them."""

    def __init__(self) -> None:
        self._lanes: dict[AccountId, Lane] = {}
        self._ready: set[Lane] = set()

    def of(self, account_id: AccountId) -> Lane:
        lane = self._lanes.get(account_id)
        if lane is None:
            lane = self._lanes[account_id] = Lane(account_id)
        return lane

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def wake(self, *lanes: Lane) -> None:
        """Have lanes looked at."""
        self._ready.update(lanes)

    def take_ready(self) -> Iterable[Lane]:
        """Return the lanes to be looked at, each once."""
        ready, self._ready = self._ready, set()
        return ready

    def queue(self, job: Job) -> None:
        """Put a copy at the end of its lane."""
        lane = self.of(job.account_id)
        lane.waiting.append(job)
        self.wake(lane)

    def give_back(self, lane: Lane, job: Job) -> None:
        """Put a copy that was on the wire back to the head of its lane, for its second attempt."""
        lane.active = None
        lane.waiting.appendleft(job)
        self.wake(lane)

    def hold(self, job: Job, now_ns: int, *, accepted: bool) -> None:
        """Keep a copy's place while it is asked about: an accepted one's as the active one, which nothing overtakes."""
        lane = self.of(job.account_id)
        if accepted and lane.active in (None, job):
            lane.active = job
            return
        if lane.active is job:
            lane.active = None
        lane.unknown.append(job)
        job.unknown_ns = now_ns
        self.wake(lane)

    def release(self, job: Job) -> Lane:
        """A copy has ended: the next one of its lane may go. Returns the lane."""
        lane = self.of(job.account_id)
        if lane.active is job:
            lane.active = None
        if job in lane.unknown:
            lane.unknown.remove(job)
        self.wake(lane)
        return lane
