"""Recognise orders of another installation: two that copy to one follower would double everything."""

from __future__ import annotations

import re

# What `copying.plan.client_order_id` makes: 28 characters.
_OURS = re.compile(r"ct([a-z2-7]{4})[a-z2-7]{20}-[12]")


def tag_of(client_order_id: str) -> str | None:
    """Return the tag of the installation that sent an order; ``None``: the id is not one that copytrade makes."""
    found = _OURS.fullmatch(client_order_id)
    return found[1] if found else None
