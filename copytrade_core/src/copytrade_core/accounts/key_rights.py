"""What a key may do: what no key of ours may, and what should be mended although it may still trade."""

from __future__ import annotations

from ..errors import AuthenticationFailed
from ..exchanges import OpenExchange
from ..kinds import sentence
from ..model import Environment, KeyPermissions, KeyWarning

DAY_MS = 24 * 3600 * 1000
EXPIRY_WARNING_DAYS = 14


def excess_of(permissions: KeyPermissions) -> tuple[str, str] | None:
    """Return kind and sentence of what no key of ours may do."""
    if permissions.can_withdraw:
        return "can_withdraw", "the key may withdraw: make one that may only read and trade spot"
    if permissions.can_transfer:
        return "can_transfer", "the key may transfer: make one that may only read and trade spot"
    return None


def refuse_excess(permissions: KeyPermissions) -> None:
    """:raises AuthenticationFailed: the key may do what no key of ours may, whether its plug-in minds or not."""
    if excess := excess_of(permissions):
        kind, text = excess
        raise AuthenticationFailed(text, kind=kind)


def days_left(permissions: KeyPermissions, opened: OpenExchange) -> int | None:
    """Return the whole days for which the key still works; ``None`` where it does not end, or nobody can say."""
    if permissions.expires_ms is None or not opened.clock.is_known:
        return None
    return max(0, (permissions.expires_ms - opened.clock.now_ms()) // DAY_MS)


def key_warnings(
    permissions: KeyPermissions, opened: OpenExchange, *, at_verify: bool = False, needs_trade: bool = True
) -> tuple[KeyWarning, ...]:
    """Return what should be mended, or seen to, about a key that may still trade.

    :param at_verify: also what a test network does not tell of its keys; a real exchange's silence is always told.
    """
    found: list[KeyWarning] = []
    if permissions.ip_restricted is False:
        found.append(_warning("key_any_address"))
    if (days := days_left(permissions, opened)) is not None and days < EXPIRY_WARNING_DAYS:
        found.append(_warning("key_expires", days=days))
    if at_verify or opened.environment is Environment.PROD:
        if needs_trade and permissions.can_trade is None:
            found.append(_warning("key_trade_unknown"))
        if permissions.can_withdraw is None or permissions.can_transfer is None:
            found.append(_warning("key_withdraw_unknown"))
    return tuple(found)


def _warning(kind: str, **data: int) -> KeyWarning:
    return KeyWarning(kind=kind, text=sentence(kind, "en", **data), data=dict(data))
