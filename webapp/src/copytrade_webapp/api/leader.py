"""The leader, whose market orders are copied."""

from __future__ import annotations

from typing import Any

from flask import Response

from copytrade_core.errors import AuthenticationFailed, ExchangeError
from copytrade_core.views import leader_json

from ..access.guard import access_of, require_fresh
from ..schemas import trading as schema
from .answers import answer, engine
from .calls import Blueprint
from .documents import BODY, ENGINE, problems

blueprint = Blueprint("leader", __name__, url_prefix="/leader", description="The leader")


@blueprint.get("")
@problems(blueprint, *ENGINE)
@blueprint.response(200, schema.LeaderAnswer)
def show_leader() -> Response:
    """Show the leader and whether it is heard; null where none is set."""
    view = engine().get_leader()
    return answer({"leader": None if view is None else leader_json(view)})


@blueprint.put("")
@blueprint.arguments(schema.NewKeys)
@problems(blueprint, *BODY, *ENGINE, 409)
@blueprint.response(200, schema.Listening)
def set_leader(given: dict[str, Any]) -> Response:
    """Listen to this leader from now on; without key fields, by the key stored before.

    Answers when it is heard, or says why not."""
    require_fresh()
    try:
        view = engine().set_leader(given["exchange"], given["env"], given["credentials"] or None)
    except (AuthenticationFailed, ExchangeError) as error:
        return answer({"listening": False, "leader": None, "error": {"kind": error.kind, "message": error.message}})
    access_of().note("leader_set", f"{view.exchange} {view.env}")
    shape: dict[str, Any] = {"listening": view.connected, "leader": leader_json(view)}
    if not view.connected:
        kind, message = view.error_kind or "not_heard", view.error or "its events are not heard yet"
        shape["error"] = {"kind": kind, "message": message}
    return answer(shape)
