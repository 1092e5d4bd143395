"""Answers with exact amounts, and what calls share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app

from copytrade_core.api import TraderApi

from ..exact_json import dumps
from ..panel import panel_of


def answer(value: Any, status: int = 200) -> Response:
    """Return *value* as JSON; its shape is the core's own (`copytrade_core.views`), described by the call's schema."""
    return Response(dumps(value), status=status, content_type="application/json")


def next_after(found: Sequence[Any], limit: int) -> str | None:
    """Return after (or before) which id the next page begins; ``None``: this was the last one."""
    return found[-1].id if len(found) == limit else None


def engine() -> TraderApi:
    """The engine, now. :raises EngineNotRunning: it is not there."""
    return panel_of().link.trader


def assets() -> tuple[str, str]:
    """Return the base and the quote asset, after which some fields are named."""
    settings = panel_of(current_app).settings
    return settings.base, settings.quote
