"""Everything that may be asked of the system. `CopyTrader` (here) and `RemoteCopyTrader` (over the socket) answer it.

An answer means done, not wished: ``stop_copying`` returns when no new order can leave, ``verify_account`` when the
exchange has answered. Arguments and results are plain values or `views`, so that all of it fits through a
socket unchanged. Every method may raise `CopytradeError`; its ``kind`` survives the socket.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from .views import (
    AccountChanges,
    AccountView,
    CopyPreview,
    CopyView,
    ExchangeView,
    FeedEvent,
    Finding,
    GapView,
    LeaderOrderView,
    LeaderView,
    MetricsView,
    PluginView,
    RestoredView,
    StatusView,
    VerifyView,
)


class TraderApi(ABC):
    # accounts

    @abstractmethod
    def add_account(self, name: str, exchange: str, env: str, credentials: dict[str, str]) -> AccountView:
        """Store a follower, encrypted, and verify it at once; it is ACTIVE or DISABLED with the reason.

        :raises InvalidRequest: a field is wrong (``field`` names it), or the key or account is already here.
        """

    @abstractmethod
    def list_accounts(
        self, limit: int | None = None, after: str | None = None, name: str = "", state: str | None = None
    ) -> list[AccountView]:
        """Return the accounts in the order in which they were added.

        :param limit: at most so many; ``None``: all.
        :param after: the id of the last one seen.
        :param name: only those whose names contain it, in whatever case.
        :raises NotFound: the account *after* is not there any more; begin anew.
        """

    @abstractmethod
    def list_changes(self, after: int = 0) -> AccountChanges:
        """Return the accounts that changed after the change numbered *after*; 0 returns all of them.

        Where many changed, some of them; the others come when the returned number is asked about.
        The numbers begin anew with each engine: after a lost connection ask from 0 again.
        """

    @abstractmethod
    def get_account(self, account_id: str) -> AccountView:
        """:raises NotFound: there is no such account."""

    @abstractmethod
    def update_account(
        self, account_id: str, version: int, name: str | None = None, credentials: dict[str, str] | None = None
    ) -> AccountView:
        """Rename an account or replace its key. :raises Conflict: somebody changed it since *version*."""

    @abstractmethod
    def remove_account(self, account_id: str) -> None: ...

    @abstractmethod
    def pause_account(self, account_id: str) -> AccountView:
        """Returns when no new order of this account can leave."""

    @abstractmethod
    def resume_account(self, account_id: str) -> AccountView:
        """Orders placed by the leader before this are not copied to it."""

    @abstractmethod
    def verify_account(self, account_id: str) -> VerifyView: ...

    # leader and copying

    @abstractmethod
    def set_leader(self, exchange: str, env: str, credentials: dict[str, str] | None = None) -> LeaderView:
        """Listen to this leader from now on; without *credentials*, switch to keys stored before.

        Returns when its events are being heard; a view with ``connected`` False says why not.
        """

    @abstractmethod
    def get_leader(self) -> LeaderView | None: ...

    @abstractmethod
    def start_copying(self) -> bool:
        """Copy what the leader places from now on. Returns True.

        :raises EngineHalted, InvalidRequest: not now, and why.
        """

    @abstractmethod
    def stop_copying(self) -> bool:
        """Returns False when no new order can leave; what is in flight is still settled."""

    # looking

    @abstractmethod
    def status(self, with_followers: bool = True) -> StatusView:
        """Return the whole picture; without the followers it stays small however many there are."""

    @abstractmethod
    def metrics(self) -> MetricsView:
        """Return what is watched over the months: counts, latencies, budgets, ages."""

    @abstractmethod
    def list_events(
        self, limit: int = 50, before: str | None = None, with_copies: bool = True
    ) -> list[LeaderOrderView]:
        """Leader orders with their closed books, newest first; *before* is the id of the last one seen.

        :param with_copies: False leaves the rows out and gives their tally instead.
        """

    @abstractmethod
    def get_event(self, event_id: str, with_copies: bool = True) -> LeaderOrderView:
        """:raises NotFound: there is no such leader order."""

    @abstractmethod
    def list_gaps(self, limit: int = 50, before: str | None = None) -> list[GapView]:
        """Times in which the leader may not have been heard, newest first; *before* is the id of the last one seen."""

    @abstractmethod
    def list_copies(
        self,
        account_id: str | None = None,
        state: str | None = None,
        limit: int = 100,
        before: str | None = None,
        event_id: str | None = None,
        undecided: bool = False,
    ) -> list[CopyView]:
        """Copies, newest first.

        :param undecided: only those that wait for a person: failed or stale and neither left nor copied again, and
            those that need a person.
        """

    @abstractmethod
    def list_exchanges(self) -> list[ExchangeView]: ...

    @abstractmethod
    def list_plugins(self) -> list[PluginView]: ...

    @abstractmethod
    def doctor(self) -> list[Finding]: ...

    @abstractmethod
    def list_feed(self, after: int = 0, limit: int = 200, newest: bool = False) -> list[FeedEvent]:
        """Feed events with a number above *after*, oldest first.

        :param newest: where there are more than *limit*, the newest of them rather than the oldest.
        """

    # what a person decides; *by* says who, for the record

    @abstractmethod
    def settle_copy(self, copy_id: str, executed: bool, exchange_order_id: str = "", by: str = "") -> CopyView:
        """End a copy that needs a person: as executed (the order is read back from the exchange), or as not executed.

        :raises Conflict: it does not need a person; or the exchange says otherwise.
        """

    @abstractmethod
    def leave_copy(self, copy_id: str, by: str = "") -> CopyView:
        """Note that a failed or stale copy is not to be made up for. :raises Conflict: it was decided before."""

    @abstractmethod
    def copy_now(self, copy_id: str, by: str = "") -> CopyView:
        """Copy a failed or stale one now, at the same share of what the follower has now; returns the new copy.

        :raises Conflict: it was decided before, or its order was executed after all.
        """

    @abstractmethod
    def preview_copy(self, copy_id: str) -> CopyPreview:
        """What `copy_now` would send by the figures of this moment, or why it would not. Asks no exchange.

        :raises NotFound, Conflict: there is no such copy, or there is nothing to decide about it.
        """

    @abstractmethod
    def preview_event(self, event_id: str, share: Fraction | None = None) -> list[CopyPreview]:
        """What `copy_event_now` would send; for an undecided order, what `decide_share` would with *share*.

        :raises InvalidRequest: an undecided order needs a share (above 0, at most 1).
        :raises NotFound, Conflict: there is no such order; or it has its share, and none can be given.
        """

    @abstractmethod
    def copy_event_now(self, event_id: str, by: str = "") -> LeaderOrderView:
        """`copy_now` for all copies of a leader order that nobody has decided about."""

    @abstractmethod
    def decide_share(self, event_id: str, share: Fraction, by: str = "") -> LeaderOrderView:
        """Give an undecided leader order its share (above 0, at most 1) and copy it now.

        :raises Conflict: it is not undecided (any more).
        """

    @abstractmethod
    def get_restored(self) -> RestoredView | None:
        """What must be reconciled before anything is traded; ``None``: nothing was restored from a backup."""

    @abstractmethod
    def reconcile(self, by: str = "") -> RestoredView:
        """Record that *by* has seen what `get_restored` shows and has answered for it; the engine may trade again.

        :raises Conflict: there is nothing to reconcile, or the exchanges are still being asked.
        """

    # following along; not through `call`, each side does it in its own way

    @abstractmethod
    def subscribe(self, handler: Callable[[FeedEvent], Any]) -> Callable[[], None]:
        """Call *handler* for each feed event from now on; returns what ends it. *handler* only enqueues."""

    @abstractmethod
    def close(self) -> None: ...
