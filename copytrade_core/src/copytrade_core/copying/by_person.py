"""What a person decides about copies: settle, leave, copy now, give a share. Each is recorded with who and when.

A copy by a person is a new row that takes the failed one's place. It is allowed only where nothing was executed:
after an outcome that was once unknown the exchange is asked again first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Row

from ..accounts.balances import BalanceBook
from ..accounts.service import AccountService
from ..clock import NS_PER_SEC, Clock
from ..connector import Connector
from ..errors import Conflict, CopytradeError, EngineHalted, InvalidRequest, NotFound
from ..feed import Feed
from ..halts import Halts
from ..model import AccountId, ClientOrderId, Environment, ExchangeOrderId, OrderReport, Side
from ..settings import Settings
from ..store import book as rows
from ..store.journal import Journal
from ..store.vault import Vault
from ..views import CopyPreview, CopyState, CopyView, Halt, LeaderOrderState, LeaderOrderView
from .dispatch import Dispatcher
from .jobs import Job
from .plan import Leader, client_order_id, copy_id_again, copy_rows
from .record import final_state
from .sizing import copied_share
from .states import MAX_ATTEMPTS, Move
from .sums import sum_of

BY_PERSON_NS = 30 * NS_PER_SEC  # what a person asks for now is sent within this time or not at all
ASKED_AT_ONCE = 16
SOMEBODY = "a person"
STOPPED = "copying is stopped; start it first"


class Decisions:
    """Carries out what a person decides. Thread-safe: the journal lets each decision be made once."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        vault: Vault,
        accounts: AccountService,
        balances: BalanceBook,
        dispatcher: Dispatcher,
        halts: Halts,
        feed: Feed,
        settings: Settings,
        secret: bytes,
        was_restored: Callable[[], bool],
        is_copying: Callable[[], bool],
    ) -> None:
        """*was_restored*: whether the journal was put back from a backup, and may not know all that was sent."""
        self._clock = clock
        self._journal = journal
        self._vault = vault
        self._accounts = accounts
        self._balances = balances
        self._dispatcher = dispatcher
        self._halts = halts
        self._feed = feed
        self._symbol = settings.symbol
        self._checks_minimums = settings.check_minimums
        self._secret = secret
        self._was_restored = was_restored
        self._is_copying = is_copying

    def settle(self, copy_id: str, executed: bool, exchange_order_id: str, by: str) -> CopyView:
        """See `TraderApi.settle_copy`. The exchange is asked in either case: it has the last word."""
        row = self._row(copy_id)
        if row.state != CopyState.NEEDS_PERSON:
            raise Conflict(_needs_nobody(row), field="id")
        who, wall_ms = by or SOMEBODY, self._clock.wall_ms()
        found = self._look_up(row, exchange_order_id)
        if executed:
            if found is None or not found.status.is_final:
                raise Conflict(
                    "the exchange does not show a final order for it; give the order id that the exchange shows",
                    field="exchange_order_id",
                )
        elif found is not None:
            raise Conflict(f"the exchange shows its order {found.exchange_order_id}", field="executed")

        def write(connection: Connection) -> bool:
            if found is None:
                kind, reason = "settled_by_person", f"settled as not executed by {who}"
                cause, why = Move.SETTLED_AS_NOT_EXECUTED, {"reason_kind": kind, "reason": reason}
                moved = rows.move(connection, copy_id, cause, CopyState.FAILED, wall_ms, **why)
            else:
                state, kind, reason = final_state(found)
                decided = {"reason_kind": kind, "reason": reason, "decided_by": who}
                cause = Move.SETTLED_AS_EXECUTED
                moved = rows.executed(connection, copy_id, cause, state, found, wall_ms, row.latency_ms, **decided)
            if moved:
                rows.note(connection, copy_id, wall_ms, rows.SETTLED, f"by {who}, as {'not ' * (not found)}executed")
            return moved

        if not self._journal.write(write):
            raise Conflict(_needs_nobody(self._row(copy_id)), field="id")
        if found is not None:
            self._accounts.read_soon(AccountId(row.account_id))
        self._accounts.settled(row.account_id)
        self._tell(row, "copy_settled", f"{row.account_name}: settled by {who}", who)
        return self._view(copy_id)

    def leave(self, copy_id: str, by: str) -> CopyView:
        """See `TraderApi.leave_copy`."""
        row = self._row(copy_id)
        who, wall_ms = by or SOMEBODY, self._clock.wall_ms()
        if not self._journal.write(lambda connection: rows.leave(connection, copy_id, who, wall_ms)):
            raise Conflict(_not_open(self._row(copy_id)), field="id")
        self._tell(row, "copy_left", f"{row.account_name}: left as it is by {who}", who)
        return self._view(copy_id)

    def copy_now(self, copy_id: str, by: str) -> CopyView:
        """See `TraderApi.copy_now`."""
        row = self._row(copy_id)
        _check_is_open(row)
        self._check_may_copy(row)
        new_id = copy_id_again(self._secret, copy_id, row.ordinal + 1)
        who, wall_ms = by or SOMEBODY, self._clock.wall_ms()
        if not self._journal.write(lambda connection: rows.copy_again(connection, row, new_id, who, wall_ms)):
            raise Conflict(_not_open(self._row(copy_id)), field="id")
        self._send([{**row._mapping, "id": new_id}], row.share, row.created_ms)
        self._tell(row, "copied_now", f"{row.account_name}: copied now, asked by {who}", who, new_id)
        return self._view(new_id)

    def copy_all_now(self, order: LeaderOrderView, by: str) -> None:
        """`copy_now` for every open copy of *order*; raises the first refusal only where nothing could be copied."""
        wanted = [copy.id for copy in order.copies if copy.is_open]
        if not wanted:
            raise Conflict("no copy of this order waits for a decision", field="id")

        def try_one(copy_id: str) -> CopytradeError | None:
            try:
                self.copy_now(copy_id, by)
            except CopytradeError as error:  # one follower's reason must not keep the others from theirs
                return error
            return None

        # Each may ask its exchange first: one after the other, hundreds would outlast whoever waits for the answer.
        with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE, thread_name_prefix="copy-now") as pool:
            refusals = list(pool.map(try_one, wanted))
        if all(refusals):
            raise next(filter(None, refusals))

    def share(self, order: LeaderOrderView, share: Fraction, leader: Leader | None, by: str) -> None:
        """See `TraderApi.decide_share`."""
        if halt := self._halts.of_all():
            raise EngineHalted(_halted(halt))
        if not self._is_copying():
            # All rows would end SKIPPED, and the share would be spent on them.
            raise Conflict(STOPPED, kind="copying_stopped")
        created_ms, copies, share = self._copies_at(order, share, leader)
        order_id = int(order.id)
        who = by or SOMEBODY
        values = {
            "state": LeaderOrderState.COPIED,
            "share": share,
            "balance_how": "by_person",
            "reason_kind": "share_by_person",
            "reason": f"the share was given by {who}",
        }
        wall_ms = self._clock.wall_ms()
        if not self._journal.write(
            lambda connection: rows.decide_share(connection, order_id, values, copies, who, wall_ms)
        ):
            raise Conflict("this order is not (or no longer) waiting for its share", field="id")
        planned = [copy | {"leader_order_id": order_id} for copy in copies if copy["state"] == CopyState.PLANNED]
        self._send(planned, share, created_ms)
        text = f"the share of order {order.id} was given by {who}"
        self._feed.publish("leader_order", text, what="share_given", event_id=order.id, by=who)

    def _copies_at(
        self, order: LeaderOrderView, share: Fraction, leader: Leader | None
    ) -> tuple[int, list[dict[str, Any]], Fraction]:
        """Return when an order was created, its rows as they would be planned now, and the share that they copy.

        :raises InvalidRequest: that is no share, or the order is not of the present leader.
        """
        if not 0 < share <= 1:
            raise InvalidRequest("a share is above 0 and at most 1", field="share")
        with self._journal.reading() as connection:
            uid, created_ms = rows.leader_and_time(connection, int(order.id))
        if leader != Leader(exchange=order.exchange, environment=order.env, uid=uid):
            raise Conflict("this order is not of the present leader", field="id")
        assert leader is not None
        identity = (order.order_id, created_ms)
        followers = self._accounts.all()
        copies = copy_rows(self._secret, leader, self._symbol, identity, order.side, None, followers, self._clock)
        return created_ms, copies, copied_share(share, order.side)

    def preview(self, copy_id: str) -> CopyPreview:
        """See `TraderApi.preview_copy`."""
        row = self._row(copy_id)
        _check_is_open(row)
        return self._preview(row.share, row, str(row.leader_order_id))

    def preview_order(self, order: LeaderOrderView, share: Fraction | None, leader: Leader | None) -> list[CopyPreview]:
        """See `TraderApi.preview_event`."""
        if order.state is LeaderOrderState.UNDECIDED:
            if share is None:
                raise InvalidRequest("this order waits for a share: say which", field="share")
            _, copies, share = self._copies_at(order, share, leader)
            return [self._preview(share, SimpleNamespace(**copy), order.id) for copy in copies]
        if share is not None:
            raise Conflict("this order is not (or no longer) waiting for its share", field="share")
        with self._journal.reading() as connection:
            found = [rows.one_copy(connection, copy.id) for copy in order.copies if copy.is_open]
        return [self._preview(row.share, row, order.id) for row in found if row is not None]

    def _preview(self, share: Fraction, row: Any, event_id: str) -> CopyPreview:
        """Reckon one copy as it would be sized now. *row*: a failed copy's, or one that is about to be planned."""
        account_id, side = AccountId(row.account_id), Side(row.side)
        preview = CopyPreview(
            copy_id=row.id,
            event_id=event_id,
            account_id=account_id,
            account_name=row.account_name,
            exchange=row.exchange,
            env=Environment(row.env),
            side=side,
            share=share,
            size_asset=row.size_asset,
        )
        refusal = self._refusal(account_id, row.exchange, row.env)
        if refusal is None and row.state == CopyState.SKIPPED:
            refusal = row.reason_kind, row.reason
        follower = self._accounts.get(account_id)
        figure = self._balances.figure(account_id, row.size_asset)
        if follower is None or figure is None or follower.opened.rules is None:
            refusal = refusal or ("not_known_yet", "its balance, or the exchange's rules, are not known yet")
            return replace(preview, reason_kind=refusal[0], reason=refusal[1])
        found = sum_of(share, side, figure, follower.opened.rules, check_minimums=self._checks_minimums)
        kind, reason = refusal or found.refusal or ("", "")
        return replace(preview, **found.inputs, sent=found.size.sendable, reason_kind=kind, reason=reason)

    def _tell(self, row: Row[Any], what: str, text: str, who: str, copy_id: str = "") -> None:
        self._feed.publish(
            "copy",
            text,
            what=what,
            account=row.account_name,
            account_id=row.account_id,
            copy_id=copy_id or row.id,
            by=who,
        )

    def _check_may_copy(self, row: Row[Any]) -> None:
        """Refuse a copy by a person that could not leave, or that could double an order.

        :raises Conflict, EngineHalted: and why.
        """
        if refusal := self._refusal(row.account_id, row.exchange, row.env):
            kind, reason = refusal
            raise EngineHalted(reason) if kind == "halted" else Conflict(f"{row.account_name}: {reason}", kind=kind)
        follower = self._accounts.find(row.account_id)
        found = self._look_up(row, "")
        if found is not None:
            raise Conflict(f"the exchange shows its order {found.exchange_order_id}: it was executed", field="id")
        if self._was_restored():
            self._refuse_what_was_forgotten(row, follower.connector)

    def _refusal(self, account_id: str, exchange: str, env: str) -> tuple[str, str] | None:
        """Return kind and sentence of why nothing can leave for an account now; ``None``: it can."""
        if halt := self._halts.of_all() or self._halts.of(f"{exchange}/{env}"):
            return "halted", _halted(halt)
        if not self._is_copying():
            return "copying_stopped", STOPPED
        follower = self._accounts.get(account_id)
        return ("removed", "the account was removed") if follower is None else follower.refusal

    def _refuse_what_was_forgotten(self, row: Row[Any], connector: Connector) -> None:
        """Ask for every id that a copy, or one in its place, was ever sent with: all follow from the leader's order.

        :raises Conflict: one was sent, and the journal from the backup does not know of it.
        """
        for copy_id in (row.id, copy_id_again(self._secret, row.id, row.ordinal + 1)):
            for attempt in range(1, MAX_ATTEMPTS + 1):
                found = connector.find_order(client_order_id(self._vault.install_tag, copy_id, attempt))
                if found is not None:
                    raise Conflict(
                        f"the exchange shows its order {found.exchange_order_id}, sent after the backup was made: "
                        "leave it as it is",
                        field="id",
                    )

    def _look_up(self, row: Row[Any], exchange_order_id: str) -> OrderReport | None:
        """Ask the exchange for what a copy may have sent; ``None``: there is nothing, or nothing can have been.

        :raises ExchangeError: it did not answer: nothing may be concluded.
        """
        with self._journal.reading() as connection:
            sent = rows.attempts_of(connection, row.id)
        doubtful = [attempt for attempt in sent if attempt.outcome not in ("not_sent", "refused")]
        if not doubtful:
            return None
        connector = self._accounts.settling_connector(row.account_id, doubtful[-1].key_fingerprint)
        if connector is None:
            raise Conflict("the account and its key are gone: nobody can ask the exchange", kind="removed")
        named = ExchangeOrderId(exchange_order_id) if exchange_order_id else None
        for attempt in reversed(doubtful):
            found = connector.find_order(ClientOrderId(attempt.client_order_id), named)
            if found is not None:
                if found.client_order_id != attempt.client_order_id:
                    raise Conflict("that order does not carry this copy's id", field="exchange_order_id")
                return found
        return None

    def _send(self, copies: Sequence[Mapping[str, Any]], share: Fraction, created_ms: int) -> None:
        deadline_ns = self._clock.monotonic_ns() + BY_PERSON_NS
        self._dispatcher.planned(
            [
                # Looked up first: what is decided now may have been sent before the journal was put back.
                Job.of_row(
                    copy, share=share, created_ms=created_ms, deadline_ns=deadline_ns, by_person=True, looks_first=True
                )
                for copy in copies
            ]
        )

    def _row(self, copy_id: str) -> Row[Any]:
        with self._journal.reading() as connection:
            row = rows.one_copy(connection, copy_id)
        if row is None:
            raise NotFound(f"there is no copy {copy_id}", field="id")
        return row

    def _view(self, copy_id: str) -> CopyView:
        return rows.copy_view(self._row(copy_id))


def _check_is_open(row: Row[Any]) -> None:
    if row.state not in rows.DECIDABLE or row.decided_by:
        raise Conflict(_not_open(row), field="id")


def _halted(halt: Halt) -> str:
    return f"the engine is halted: {halt.reason}; it ends with {halt.ends_when}"


def _needs_nobody(row: Row[Any]) -> str:
    return f"the copy is {row.state}: it does not need a person"


def _not_open(row: Row[Any]) -> str:
    if row.state not in rows.DECIDABLE:
        return f"the copy is {row.state}: there is nothing to make up for"
    return f"{row.decided_by} has decided about this copy before"
