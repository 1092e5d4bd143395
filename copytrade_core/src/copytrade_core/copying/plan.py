"""From a leader order to its closed book: one row for each follower, written before anything is sent."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..accounts.service import Follower
from ..clock import Clock
from ..leader.fold import FoldedOrder
from ..model import ClientOrderId, Environment, Side, Symbol
from ..views import CopyState, LeaderOrderState

COPY_ID_LENGTH = 20

# The leader's order id and when the order was created: ids restart when a test network is reset.
OrderIdentity = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Whose orders are copied."""

    exchange: str
    environment: Environment
    uid: str

    @property
    def label(self) -> str:
        return f"{self.exchange}/{self.environment}/{self.uid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided of one leader order."""

    state: LeaderOrderState
    reason_kind: str = ""
    reason: str = ""
    share: Fraction | None = None
    balance_asset: str = ""
    balance_before: Decimal | None = None
    balance_how: str = ""
    estimates: dict[str, str] = field(default_factory=dict)


def copy_id_of(secret: bytes, leader: Leader, symbol: Symbol, identity: OrderIdentity, follower_id: str) -> str:
    """Return the id of an order's copy on one follower: the same after any restart, and it tells outsiders nothing.

    20 characters of base32; the order's creation time is in it because order ids restart with a test network.
    """
    parts = (
        leader.exchange,
        leader.environment.value,
        leader.uid,
        str(symbol),
        identity[0],
        str(identity[1]),
        follower_id,
    )
    digest = hashlib.sha256(secret + "\x1f".join(parts).encode()).digest()
    return base64.b32encode(digest).decode()[:COPY_ID_LENGTH].lower()


def copy_id_again(secret: bytes, copy_id: str, ordinal: int) -> str:
    """Return the id of the *ordinal*-th copy that takes the place of the failed copy *copy_id*."""
    digest = hashlib.sha256(secret + f"{copy_id}\x1f{ordinal}".encode()).digest()
    return base64.b32encode(digest).decode()[:COPY_ID_LENGTH].lower()


def client_order_id(tag: str, copy_id: str, attempt: int) -> ClientOrderId:
    """Return the id that an attempt is sent with: at most 32 characters of letters, digits and a hyphen."""
    return ClientOrderId(f"ct{tag}{copy_id}-{attempt}")


def is_id_of(client_id: str, tag: str, copy_id: str) -> bool:
    """Return whether an attempt of this copy is sent with this client order id."""
    return client_id.rpartition("-")[0] == f"ct{tag}{copy_id}"


def order_row(
    leader: Leader, symbol: Symbol, order: FoldedOrder, decision: Decision, wall_ms: int, heard_exchange_ms: int | None
) -> dict[str, Any]:
    """Return the row of a leader order."""
    return {
        "exchange": leader.exchange,
        "env": leader.environment.value,
        "leader_uid": leader.uid,
        # Another pair's amounts are not of our assets: it is named as the exchange names it.
        "symbol": order.exchange_symbol if decision.reason_kind == "other_symbol" else str(symbol),
        "order_id": order.exchange_order_id,
        "created_ms": order.created_ms,
        "client_order_id": order.client_order_id,
        "side": order.side.value,
        "order_type": order.order_type,
        "status": order.status.value,
        "filled_base": order.filled_base,
        "filled_quote": order.filled_quote,
        "transaction_ms": order.last.time_ms,
        "heard_wall_ms": wall_ms,
        "heard_exchange_ms": heard_exchange_ms,
        "source": order.source,
        "state": decision.state.value,
        "reason_kind": decision.reason_kind,
        "reason": decision.reason,
        "balance_asset": decision.balance_asset,
        "balance_before": decision.balance_before,
        "balance_how": decision.balance_how,
        "estimates": decision.estimates,
        "share": decision.share,
        "gap_id": order.gap_id,
    }


def copy_rows(
    secret: bytes,
    leader: Leader,
    symbol: Symbol,
    identity: OrderIdentity,
    side: Side,
    late: tuple[str, str] | None,
    followers: Iterable[Follower],
    clock: Clock,
) -> list[dict[str, Any]]:
    """Return one row a follower: PLANNED, or SKIPPED or STALE with the reason.

    :param late: kind and sentence of why the order is too old to be copied; ``None``: it is not.
    """
    rows = []
    for follower in followers:
        state, kind, reason = CopyState.PLANNED, "", ""
        if follower.refusal is not None:
            state, (kind, reason) = CopyState.SKIPPED, follower.refusal
        elif identity[1] <= follower.record.resumed_ms:
            state, kind = CopyState.SKIPPED, "before_resumed"
            reason = "the leader placed it before this account was added or resumed"
        elif late is not None:
            state, (kind, reason) = CopyState.STALE, late
        rows.append(
            {
                "id": copy_id_of(secret, leader, symbol, identity, follower.id),
                "account_id": follower.id,
                "account_name": follower.record.name,
                "exchange": follower.record.exchange,
                "env": follower.record.environment.value,
                "side": side.value,
                "state": state.value,
                "reason_kind": kind,
                "reason": reason,
                "size_asset": symbol.quote if side is Side.BUY else symbol.base,
                "updated_wall_ms": clock.wall_ms(),
            }
        )
    return rows
