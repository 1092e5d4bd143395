"""The REST API: one module a resource."""

from __future__ import annotations

from . import (
    accounts,
    copies,
    copying,
    devices,
    events,
    exchanges,
    export,
    leader,
    session,
    status,
    stream,
    tokens,
)

BLUEPRINTS = (
    session.blueprint,
    status.blueprint,
    accounts.blueprint,
    leader.blueprint,
    copying.blueprint,
    events.blueprint,
    copies.blueprint,
    exchanges.blueprint,
    export.blueprint,
    devices.blueprint,
    tokens.blueprint,
    stream.blueprint,
)
