"""The closed books in the journal: what is written at each point of a copy's life, and how it is read back.

Every function that takes a connection runs inside one of the journal's transactions. A state changes only along
a `copying.states.Move`, which whoever writes it names, checked in the same statement that changes it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Connection,
    Label,
    Row,
    ScalarSelect,
    Select,
    Update,
    bindparam,
    case,
    func,
    literal,
    select,
)

from ..clock import wall_text
from ..codec import to_wire
from ..copying.states import MAX_ATTEMPTS, STARTS, Move
from ..model import AccountId, Environment, Fill, OrderReport, Side
from ..views import CopyState, CopyView, GapOutcome, GapView, LeaderOrderState, LeaderOrderView
from .schema import attempts, copies, evidence, fills, frames, gaps, leader_orders, meta

# What a person may have copied after all: nothing of these was executed.
DECIDABLE = (CopyState.FAILED, CopyState.STALE)
# Named one by one and not as "all but the final ones", so that the index finds them among millions.
OPEN_STATES = tuple(state for state in CopyState if not state.is_final)

# Kinds of evidence that say what a person decided, and when.
ASKED = "asked"
COPIED_AGAIN = "copied_again"
LEFT = "left"
SETTLED = "settled"

LOOKED_UP_ONE_BY_ONE = 200  # accounts; beyond it one pass over the index is quicker
MOST_NAMED = 10_000  # accounts in one statement; SQLite takes three times as many

# Facts for `remember`: that this journal was put back from a backup, and the highest revision of the vault seen.
RESTORED = "restored"
SHUT_OUT = "shut_out:"  # and the exchange's label: until when (wall clock, ms) it has shut our address out
VAULT_REVISION = "vault_revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One attempt, as it must be on disk before its first byte leaves."""

    copy_id: str
    n: int
    client_order_id: str
    body: Mapping[str, str]
    key_fingerprint: str
    timestamp_ms: int
    recv_window_ms: int
    fence_ms: int
    inputs: Mapping[str, Any]  # the columns `CLAIM_INPUTS`


# The inputs of a sum, which a claim writes.
CLAIM_INPUTS = ("free_before", "balance_age_ms", "balance_source", "computed", "step", "sent")
_CLAIM = (
    copies.update()
    .where(copies.c.id == bindparam("of_copy"))
    .values(
        state=bindparam("to_state"),
        attempts=bindparam("to_attempts"),
        client_order_id=bindparam("to_client_order_id"),
        updated_wall_ms=bindparam("to_updated"),
        **{name: bindparam(f"to_{name}") for name in CLAIM_INPUTS},
    )
)


def plan(connection: Connection, order: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int:
    """Write a leader order and all its rows. :raises IntegrityError: this very order was planned before."""
    inserted = connection.execute(leader_orders.insert().values(**order))
    assert inserted.inserted_primary_key is not None
    order_id: int = inserted.inserted_primary_key[0]
    _insert_copies(connection, [{**row, "leader_order_id": order_id} for row in rows])
    return order_id


def _insert_copies(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if not all(row["state"] in STARTS for row in rows):
        raise RuntimeError("a copy begins in another state")
    if rows:
        connection.execute(copies.insert(), list(rows))


def known_orders(
    connection: Connection, exchange: str, env: str, leader_uid: str, since_ms: int
) -> set[tuple[str, int]]:
    """Return (order id, creation time) of the leader's orders that were decided since *since_ms*."""
    table = leader_orders.c
    found = connection.execute(
        select(table.order_id, table.created_ms).where(
            table.exchange == exchange, table.env == env, table.leader_uid == leader_uid, table.created_ms >= since_ms
        )
    )
    return {(row.order_id, row.created_ms) for row in found}


def claim(connection: Connection, claims: Sequence[Claim], wall_ms: int) -> set[str]:
    """Take copies for sending: SUBMITTING and the attempt's row. Returns the ids that could be taken."""
    wanted = {item.copy_id: item for item in claims}
    found = connection.execute(
        select(copies.c.id, copies.c.attempts).where(copies.c.id.in_(wanted), copies.c.state.in_(Move.CLAIMED.sources))
    )
    taken = [wanted[row.id] for row in found if row.attempts == wanted[row.id].n - 1 < MAX_ATTEMPTS]
    if taken:
        # One statement for all followers of a burst: it stands between the leader's report and the orders.
        connection.execute(
            _CLAIM,
            [
                {
                    "of_copy": item.copy_id,
                    "to_state": CopyState.SUBMITTING,
                    "to_attempts": item.n,
                    "to_client_order_id": item.client_order_id,
                    "to_updated": wall_ms,
                    **{f"to_{name}": item.inputs[name] for name in CLAIM_INPUTS},
                }
                for item in taken
            ],
        )
        connection.execute(
            attempts.insert(),
            [
                {
                    "copy_id": item.copy_id,
                    "n": item.n,
                    "client_order_id": item.client_order_id,
                    "body": dict(item.body),
                    "key_fingerprint": item.key_fingerprint,
                    "timestamp_ms": item.timestamp_ms,
                    "recv_window_ms": item.recv_window_ms,
                    "fence_ms": item.fence_ms,
                    "claimed_wall_ms": wall_ms,
                }
                for item in taken
            ],
        )
    return {item.copy_id for item in taken}


def move(connection: Connection, copy_id: str, cause: Move, target: CopyState, wall_ms: int, **values: Any) -> bool:
    """Move a copy to *target* if *cause* leads there from its state; return whether it moved."""
    parameters = {"of_copy": copy_id, "to_updated": wall_ms, **{f"to_{name}": value for name, value in values.items()}}
    return connection.execute(_move(cause, target, tuple(values)), parameters).rowcount == 1


@functools.cache
def _move(cause: Move, target: CopyState, names: tuple[str, ...]) -> Update:
    """Build the statement once: a burst runs it hundreds of times."""
    if target not in cause.targets:
        raise RuntimeError(f"{cause.name} does not lead to {target}")
    return (
        copies.update()
        .where(copies.c.id == bindparam("of_copy"), copies.c.state.in_(sorted(cause.sources)))
        .values(
            state=target.value,
            updated_wall_ms=bindparam("to_updated"),
            **{name: bindparam(f"to_{name}") for name in names},
        )
    )


_ANSWERED = (
    attempts.update()
    .where(attempts.c.copy_id == bindparam("of_copy"), attempts.c.n == bindparam("of_n"))
    .values(
        outcome=bindparam("to_outcome"),
        answer=bindparam("to_answer"),
        exchange_order_id=bindparam("to_exchange_order_id"),
    )
)


def answered(
    connection: Connection, copy_id: str, n: int, outcome: str, answer: str, exchange_order_id: str = ""
) -> None:
    """Note how an attempt ended, or that nobody knows."""
    connection.execute(
        _ANSWERED,
        {
            "of_copy": copy_id,
            "of_n": n,
            "to_outcome": outcome,
            "to_answer": answer[:500],
            "to_exchange_order_id": exchange_order_id,
        },
    )


def note(connection: Connection, copy_id: str, wall_ms: int, kind: str, text: str) -> None:
    """Append a piece of evidence; nothing of it is ever changed."""
    connection.execute(evidence.insert(), {"copy_id": copy_id, "wall_ms": wall_ms, "kind": kind, "text": text[:500]})


def executed(
    connection: Connection,
    copy_id: str,
    cause: Move,
    target: CopyState,
    report: OrderReport,
    wall_ms: int,
    latency: Mapping[str, float],
    **values: Any,
) -> bool:
    """Write an order's final state with all its fills. Returns False where the copy was final already."""
    found = {fill.trade_id: fill for fill in report.fills}  # pages overlap: one may be listed twice
    moved = move(
        connection,
        copy_id,
        cause,
        target,
        wall_ms,
        filled_base=report.filled_base,
        filled_quote=report.filled_quote,
        commissions={asset: format(amount, "f") for asset, amount in commissions(found.values()).items()},
        exchange_order_id=report.exchange_order_id,
        latency_ms=dict(latency),
        **values,
    )
    if moved and found:
        connection.execute(fills.insert(), [{"copy_id": copy_id, **_fill_row(fill)} for fill in found.values()])
    return moved


def commissions(found: Iterable[Fill]) -> dict[str, Decimal]:
    """Return the commission of all *found* fills, by asset."""
    total: dict[str, Decimal] = {}
    for fill in found:
        if fill.commission:
            total[fill.commission_asset] = total.get(fill.commission_asset, Decimal(0)) + fill.commission
    return total


def _fill_row(fill: Fill) -> dict[str, Any]:
    return {name: getattr(fill, name) for name in fill.__dataclass_fields__}


def set_estimates(connection: Connection, order_id: int, estimates: Mapping[str, str]) -> None:
    """Note what came after a leader order was decided."""
    connection.execute(leader_orders.update().where(leader_orders.c.id == order_id).values(estimates=dict(estimates)))


# --- gaps in hearing the leader ---------------------------------------------------------------------------


def begin_gap(
    connection: Connection, exchange: str, env: str, leader_uid: str, from_ms: int, reason_kind: str, reason: str
) -> int:
    """Write a gap that begins, and return its id."""
    inserted = connection.execute(
        gaps.insert().values(
            exchange=exchange,
            env=env,
            leader_uid=leader_uid,
            from_ms=from_ms,
            reason_kind=reason_kind,
            reason=reason,
            outcome="",
        )
    )
    assert inserted.inserted_primary_key is not None
    gap_id: int = inserted.inserted_primary_key[0]
    return gap_id


def heard_again(connection: Connection, gap_id: int, to_ms: int) -> None:
    """Note from when on the leader is heard again."""
    connection.execute(gaps.update().where(gaps.c.id == gap_id).values(to_ms=to_ms))


def close_gap(connection: Connection, gap_id: int, outcome: GapOutcome, unexplained: Mapping[str, Decimal]) -> GapView:
    """End a gap whose orders are all decided, and return it with what became of them."""
    texts = {asset: format(amount, "f") for asset, amount in unexplained.items()}
    connection.execute(gaps.update().where(gaps.c.id == gap_id).values(outcome=outcome.value, unexplained=texts))
    (view,) = gap_views(connection, select(gaps).where(gaps.c.id == gap_id))
    return view


def open_gap(connection: Connection, exchange: str, env: str, leader_uid: str) -> Row[Any] | None:
    """Return the gap of this leader that is not closed."""
    of_leader = (gaps.c.exchange == exchange, gaps.c.env == env, gaps.c.leader_uid == leader_uid)
    return connection.execute(select(gaps).where(gaps.c.outcome == "", *of_leader).order_by(gaps.c.id)).first()


def leave_other_gaps(connection: Connection, exchange: str, env: str, leader_uid: str) -> None:
    """Close the gaps of leaders that are not followed any more."""
    of_leader = (gaps.c.exchange == exchange) & (gaps.c.env == env) & (gaps.c.leader_uid == leader_uid)
    connection.execute(gaps.update().where(gaps.c.outcome == "", ~of_leader).values(outcome=GapOutcome.LEFT.value))


def latest_gaps(limit: int, before: str | None = None) -> Select[Any]:
    """Select gaps, newest first; *before* is the id of the last one seen."""
    statement = select(gaps).order_by(gaps.c.id.desc()).limit(limit)
    return statement.where(gaps.c.id < int(before)) if before else statement


def gap_views(connection: Connection, statement: Select[Any]) -> list[GapView]:
    """Return the gaps that *statement* selects, with what became of the market orders found in each."""
    found = list(connection.execute(statement))
    states: dict[int, Counter[str]] = {gap.id: Counter() for gap in found}
    counted = connection.execute(
        select(leader_orders.c.gap_id, leader_orders.c.state, func.count())
        .where(leader_orders.c.gap_id.in_(states))
        .group_by(leader_orders.c.gap_id, leader_orders.c.state)
    )
    for gap_id, state, count in counted:
        states[gap_id][state] = count
    return [_gap_view(gap, states[gap.id]) for gap in found]


def _gap_view(gap: Row[Any], states: Counter[str]) -> GapView:
    return GapView(
        id=str(gap.id),
        exchange=gap.exchange,
        env=Environment(gap.env),
        leader_uid=gap.leader_uid,
        since=wall_text(gap.from_ms),
        until="" if gap.to_ms is None else wall_text(gap.to_ms),
        reason_kind=gap.reason_kind,
        reason=gap.reason,
        found=states.total(),
        copied=states[LeaderOrderState.COPIED],
        missed=states[LeaderOrderState.STALE] + states[LeaderOrderState.UNDECIDED],
        ignored=states[LeaderOrderState.IGNORED],
        outcome=GapOutcome(gap.outcome) if gap.outcome else None,
        unexplained={asset: Decimal(amount) for asset, amount in gap.unexplained.items()},
    )


# --- the leader's frames ----------------------------------------------------------------------------------


def record_frames(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Write frames whose key is new; return the keys written. What came twice is not in the answer."""
    keys = [row["dedupe_key"] for row in rows]
    known = set(connection.execute(select(frames.c.dedupe_key).where(frames.c.dedupe_key.in_(keys))).scalars())
    fresh = {row["dedupe_key"]: row for row in rows if row["dedupe_key"] not in known}
    if fresh:
        connection.execute(frames.insert(), list(fresh.values()))
    return set(fresh)


def frames_since(connection: Connection, leader: str, wall_ms: int) -> list[Row[Any]]:
    """Return a leader's frames from the first one on that was received since *wall_ms*, in the order of their arrival.

    All of them: one left out because the machine's clock was put back meanwhile would be a change that nobody knows of.
    """
    first = select(func.min(frames.c.id)).where(frames.c.leader == leader, frames.c.received_wall_ms >= wall_ms)
    since = frames.c.id >= first.scalar_subquery()
    return list(connection.execute(select(frames).where(frames.c.leader == leader, since).order_by(frames.c.id)))


def newest_frame_ms(connection: Connection, leader: str) -> int | None:
    """Return when the newest of a leader's frames was received (wall time)."""
    return connection.execute(select(func.max(frames.c.received_wall_ms)).where(frames.c.leader == leader)).scalar()


def remember(connection: Connection, key: str, value: str) -> None:
    """Keep one small fact across restarts."""
    if connection.execute(meta.update().where(meta.c.key == key).values(value=value)).rowcount == 0:
        connection.execute(meta.insert().values(key=key, value=value))


def recall(connection: Connection, key: str) -> str | None:
    """Return what `remember` kept; ``None``: nothing."""
    return connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()


# --- reading ----------------------------------------------------------------------------------------------


def open_copies(connection: Connection) -> list[Row[Any]]:
    """Return every copy that is not final, with its leader order's columns, in the leader's order."""
    orders = leader_orders.c
    statement = (
        select(copies, orders.share, orders.created_ms, orders.transaction_ms, orders.source.label("order_source"))
        .join(leader_orders)
        .where(copies.c.state.in_(OPEN_STATES))
        .order_by(copies.c.leader_order_id, copies.c.id)
    )
    return list(connection.execute(statement))


def has_open_copies(connection: Connection, account_id: str) -> bool:
    """Whether anything of an account was sent and is not settled."""
    unsettled = [state for state in OPEN_STATES if state is not CopyState.PLANNED]
    statement = select(func.count()).where(copies.c.account_id == account_id, copies.c.state.in_(unsettled))
    return bool(connection.execute(statement).scalar())


def attempts_of(connection: Connection, copy_id: str) -> list[Row[Any]]:
    return list(connection.execute(select(attempts).where(attempts.c.copy_id == copy_id).order_by(attempts.c.n)))


def newest_attempt_ms(connection: Connection) -> int | None:
    """Return the exchange time that the newest attempt of all was signed with; ``None``: nothing was ever sent."""
    return connection.execute(select(func.max(attempts.c.timestamp_ms))).scalar()


def known_client_ids(connection: Connection, client_order_ids: Iterable[str]) -> set[str]:
    """Return those of *client_order_ids* that an attempt was made with."""
    statement = select(attempts.c.client_order_id).where(attempts.c.client_order_id.in_(client_order_ids))
    return set(connection.execute(statement).scalars())


def earlier_copies(connection: Connection, copy_id: str) -> list[Row[Any]]:
    """Return the copies in whose place this one stands, of which something was sent."""
    one = select(copies).where(copies.c.id == copy_id).subquery()
    statement = select(copies).where(
        copies.c.leader_order_id == one.c.leader_order_id,
        copies.c.account_id == one.c.account_id,
        copies.c.ordinal < one.c.ordinal,
        copies.c.attempts > 0,
    )
    return list(connection.execute(statement))


def copy_of_client_id(connection: Connection, client_order_id: str) -> Row[Any] | None:
    """Return the copy that an attempt with this client order id belongs to."""
    statement = select(copies).join(attempts).where(attempts.c.client_order_id == client_order_id)
    return connection.execute(statement).first()


def order_views(connection: Connection, statement: Select[Any]) -> list[LeaderOrderView]:
    """Return the leader orders that *statement* selects, with their closed books."""
    orders = list(connection.execute(statement))
    by_order: dict[int, list[Row[Any]]] = {order.id: [] for order in orders}
    rows = connection.execute(
        select(copies, *_decision_times())
        .where(copies.c.leader_order_id.in_(by_order))
        .order_by(copies.c.account_name, copies.c.id)
    )
    for row in rows:
        by_order[row.leader_order_id].append(row)
    return [_order_view(order, by_order[order.id]) for order in orders]


def order_summaries(connection: Connection, statement: Select[Any]) -> list[LeaderOrderView]:
    """Return the leader orders that *statement* selects, with a tally in place of their rows."""
    orders = list(connection.execute(statement))
    tallies: dict[int, dict[str, int]] = {order.id: {} for order in orders}
    counted = connection.execute(
        select(copies.c.leader_order_id, copies.c.state, func.count())
        # All states, by name: then the index alone answers, and no row need be read.
        .where(copies.c.leader_order_id.in_(tallies), copies.c.state.in_(tuple(CopyState)))
        .group_by(copies.c.leader_order_id, copies.c.state)
    )
    for order_id, state, count in counted:
        tallies[order_id][state] = count
    return [replace(_order_view(order, ()), tally=tallies[order.id]) for order in orders]


def _copies_with_sums() -> Select[Any]:
    """Select copies with what a view shows besides: the leader's sums, and when people decided."""
    orders = leader_orders.c
    sums = orders.filled_base.label("leader_base"), orders.filled_quote.label("leader_quote")
    return select(copies, *sums, *_decision_times()).join(leader_orders, copies.c.leader_order_id == orders.id)


def _decision_times() -> tuple[Label[Any], Label[Any]]:
    """Return the columns ``asked_ms`` and ``decided_ms``. Evidence tells the times; it is read only if need be."""

    def newest(kinds: Collection[str]) -> ScalarSelect[Any]:
        found = select(func.max(evidence.c.wall_ms)).where(evidence.c.copy_id == copies.c.id)
        return found.where(evidence.c.kind.in_(kinds)).correlate(copies).scalar_subquery()

    asked = case((copies.c.asked_by != "", newest((ASKED,))), else_=None)
    decided = case((copies.c.decided_by != "", newest((COPIED_AGAIN, LEFT, SETTLED))), else_=None)
    return asked.label("asked_ms"), decided.label("decided_ms")


def latest_orders(limit: int, before: str | None = None) -> Select[Any]:
    """Select leader orders, newest first; *before* is the id of the last one seen."""
    statement = select(leader_orders).order_by(leader_orders.c.id.desc()).limit(limit)
    return statement.where(leader_orders.c.id < int(before)) if before else statement


def one_order(order_id: int) -> Select[Any]:
    return select(leader_orders).where(leader_orders.c.id == order_id)


def copy_views(
    connection: Connection,
    account_id: str | None,
    state: str | None,
    limit: int,
    before: str | None,
    event_id: str | None = None,
    undecided: bool = False,
) -> list[CopyView]:
    """Return copies, newest leader order first."""
    statement = _copies_with_sums().order_by(copies.c.leader_order_id.desc(), copies.c.id).limit(limit)
    if account_id is not None:
        statement = statement.where(copies.c.account_id == account_id)
    if state is not None:
        # Of one account, that account's rows are searched and not all of the state, which may be nearly all there are.
        column = copies.c.state if account_id is None else literal("") + copies.c.state
        statement = statement.where(column == state)
    if event_id is not None:
        statement = statement.where(copies.c.leader_order_id == int(event_id))
    if undecided:
        statement = statement.where(
            (copies.c.state == CopyState.NEEDS_PERSON) | (copies.c.state.in_(DECIDABLE) & (copies.c.decided_by == ""))
        )
    if before is not None:
        anchor = select(copies.c.leader_order_id).where(copies.c.id == before).scalar_subquery()
        statement = statement.where(
            copies.c.leader_order_id <= anchor,  # says nothing new, but where in the index to begin
            (copies.c.leader_order_id < anchor) | (copies.c.id > before),
        )
    return [_copy_view(row, row.leader_base, row.leader_quote) for row in connection.execute(statement)]


def last_copies_of(connection: Connection, account_ids: Collection[str]) -> dict[str, CopyView]:
    """Return the newest copy of each of these accounts: a look into the index for each, however long the journal is."""
    if len(account_ids) > LOOKED_UP_ONE_BY_ONE:
        named = account_ids if len(account_ids) <= MOST_NAMED else None
        return {each: copy for each, copy in last_copies(connection, named).items() if each in account_ids}
    statement = (
        _copies_with_sums()
        .where(copies.c.account_id == bindparam("account"))
        .order_by(copies.c.leader_order_id.desc(), copies.c.ordinal.desc())
        .limit(1)
    )
    found = (connection.execute(statement, {"account": each}).first() for each in account_ids)
    return {row.account_id: _copy_view(row, row.leader_base, row.leader_quote) for row in found if row is not None}


def last_copies(connection: Connection, account_ids: Collection[str] | None = None) -> dict[str, CopyView]:
    """Return each account's newest copy, of all or of these."""
    per_account = select(copies.c.account_id, func.max(copies.c.leader_order_id).label("newest")).group_by(
        copies.c.account_id
    )
    if account_ids is not None:
        per_account = per_account.where(copies.c.account_id.in_(account_ids))
    newest_of = per_account.subquery()
    statement = (
        _copies_with_sums()
        .join(
            newest_of,
            (newest_of.c.account_id == copies.c.account_id) & (newest_of.c.newest == copies.c.leader_order_id),
        )
        .order_by(copies.c.ordinal)  # of a failed copy and the one in its place the later one stays
    )
    return {row.account_id: _copy_view(row, row.leader_base, row.leader_quote) for row in connection.execute(statement)}


def one_copy(connection: Connection, copy_id: str) -> Row[Any] | None:
    """Return a copy with its leader order's share, identity and sums."""
    orders = leader_orders.c
    statement = _copies_with_sums().add_columns(orders.share, orders.created_ms).where(copies.c.id == copy_id)
    return connection.execute(statement).first()


def copy_again(connection: Connection, failed: Row[Any], copy_id: str, by: str, wall_ms: int) -> bool:
    """Write the copy that takes a failed one's place; False where somebody had decided about it before."""
    if not _decide(connection, failed.id, by):
        return False
    row = {
        "id": copy_id,
        "leader_order_id": failed.leader_order_id,
        "account_id": failed.account_id,
        "ordinal": failed.ordinal + 1,
        "account_name": failed.account_name,
        "exchange": failed.exchange,
        "env": failed.env,
        "side": failed.side,
        "state": CopyState.PLANNED,
        "size_asset": failed.size_asset,
        "asked_by": by,
        "updated_wall_ms": wall_ms,
    }
    _insert_copies(connection, [row])
    note(connection, failed.id, wall_ms, COPIED_AGAIN, f"as {copy_id}, asked by {by}")
    note(connection, copy_id, wall_ms, ASKED, f"by {by}, in place of {failed.id}")
    return True


def leave(connection: Connection, copy_id: str, by: str, wall_ms: int) -> bool:
    """Note who decided that a copy is not made up for; False where somebody had decided about it before."""
    if not _decide(connection, copy_id, by):
        return False
    note(connection, copy_id, wall_ms, LEFT, f"by {by}")
    return True


def _decide(connection: Connection, copy_id: str, by: str) -> bool:
    statement = (
        copies.update()
        .where(copies.c.id == copy_id, copies.c.decided_by == "", copies.c.state.in_(DECIDABLE))
        .values(decided_by=by)
    )
    return connection.execute(statement).rowcount == 1


def decide_share(
    connection: Connection,
    order_id: int,
    values: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    by: str,
    wall_ms: int,
) -> bool:
    """Give an undecided leader order its share and its rows; False where it is not undecided (any more)."""
    statement = (
        leader_orders.update()
        .where(leader_orders.c.id == order_id, leader_orders.c.state == LeaderOrderState.UNDECIDED)
        .values(**values)
    )
    if connection.execute(statement).rowcount != 1:
        return False
    _insert_copies(connection, [{**row, "leader_order_id": order_id, "asked_by": by} for row in rows])
    for row in rows:
        note(connection, row["id"], wall_ms, ASKED, f"by {by}, who gave the share")
    return True


def copy_view(row: Row[Any]) -> CopyView:
    """Return the view of a row that `one_copy` found."""
    return _copy_view(row, row.leader_base, row.leader_quote)


def leader_and_time(connection: Connection, order_id: int) -> tuple[str, int]:
    """Return whose order it was, by the exchange's id of the account, and when it was created (exchange time)."""
    wanted = select(leader_orders.c.leader_uid, leader_orders.c.created_ms).where(leader_orders.c.id == order_id)
    leader_uid, created_ms = connection.execute(wanted).one()
    return leader_uid, created_ms


def count_all_states(connection: Connection) -> dict[CopyState, int]:
    """Return how many copies there are in each state, of all times."""
    counted = connection.execute(select(copies.c.state, func.count()).group_by(copies.c.state))
    return {CopyState(state): count for state, count in counted}


def count_states(connection: Connection) -> dict[CopyState, int]:
    """Count the copies that are not final, by state."""
    found = connection.execute(
        select(copies.c.state, func.count()).where(copies.c.state.in_(OPEN_STATES)).group_by(copies.c.state)
    )
    return {CopyState(state): count for state, count in found}


def _order_view(order: Row[Any], rows: Sequence[Row[Any]]) -> LeaderOrderView:
    heard = None if order.heard_exchange_ms is None else order.heard_exchange_ms - order.transaction_ms
    return LeaderOrderView(
        id=str(order.id),
        t=wall_text(order.transaction_ms),
        exchange=order.exchange,
        env=Environment(order.env),
        symbol=order.symbol,
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        side=Side(order.side),
        order_type=order.order_type,
        status=order.status,
        filled_base=order.filled_base,
        filled_quote=order.filled_quote,
        state=LeaderOrderState(order.state),
        reason_kind=order.reason_kind,
        reason=order.reason,
        source=order.source,
        balance_asset=order.balance_asset,
        balance_before=order.balance_before,
        balance_how=order.balance_how,
        estimates=order.estimates,
        share=order.share,
        heard_ms=heard,
        copies=tuple(_copy_view(row, order.filled_base, order.filled_quote) for row in rows),
    )


def _copy_view(row: Row[Any], leader_base: Decimal, leader_quote: Decimal) -> CopyView:
    price = row.filled_quote / row.filled_base if row.filled_base else None
    slippage = None
    if price is not None and leader_base:
        leader_price = leader_quote / leader_base
        worse = price - leader_price if row.side == Side.BUY else leader_price - price
        slippage = (worse / leader_price * 10_000).quantize(Decimal("0.01"))
    return CopyView(
        id=row.id,
        event_id=str(row.leader_order_id),
        account_id=AccountId(row.account_id),
        account_name=row.account_name,
        exchange=row.exchange,
        env=Environment(row.env),
        side=Side(row.side),
        state=CopyState(row.state),
        reason_kind=row.reason_kind,
        reason=row.reason,
        size_asset=row.size_asset,
        free_before=row.free_before,
        balance_age_ms=row.balance_age_ms,
        balance_source=row.balance_source,
        computed=row.computed,
        step=row.step,
        sent=row.sent,
        filled_base=row.filled_base,
        filled_quote=row.filled_quote,
        average_price=None if price is None else price.quantize(Decimal("0.00000001")),
        slippage_bp=slippage,
        commissions={asset: Decimal(amount) for asset, amount in row.commissions.items()},
        client_order_id=row.client_order_id,
        exchange_order_id=row.exchange_order_id,
        attempts=row.attempts,
        latency_ms=row.latency_ms,
        asked_by=row.asked_by,
        asked_at=wall_text(row.asked_ms) if row.asked_ms else "",
        decided_by=row.decided_by,
        decided_at=wall_text(row.decided_ms) if row.decided_ms else "",
        is_open=row.state in DECIDABLE and not row.decided_by,
        updated=wall_text(row.updated_wall_ms),
    )


def frame_row(dedupe_key: str, leader: str, connection: str, wall_ms: int, event: Any, raw: str) -> dict[str, Any]:
    """Return a leader's frame as `record_frames` takes it."""
    return {
        "dedupe_key": dedupe_key,
        "leader": leader,
        "connection": connection,
        "received_wall_ms": wall_ms,
        "event_type": type(event).__name__,
        "event": to_wire(event),
        "raw": raw,
    }
