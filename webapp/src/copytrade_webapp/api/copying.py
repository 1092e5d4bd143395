"""Starting and stopping."""

from __future__ import annotations

from flask import Response

from ..access.guard import access_of, require_fresh
from ..schemas import trading as schema
from .answers import answer, engine
from .calls import Blueprint
from .documents import ENGINE, problems

blueprint = Blueprint("copying", __name__, url_prefix="/copy", description="Starting and stopping")


@blueprint.post("/start")
@problems(blueprint, *ENGINE, 409, 422)
@blueprint.response(200, schema.Running)
def start_copying() -> Response:
    """Copy what the leader places from now on."""
    require_fresh()
    running = engine().start_copying()
    access_of().note("copying_started")
    return answer({"running": running})


@blueprint.post("/stop")
@problems(blueprint, *ENGINE)
@blueprint.response(200, schema.Running)
def stop_copying() -> Response:
    """Stop; answers when no new order can leave. What is in flight is still settled."""
    running = engine().stop_copying()
    access_of().note("copying_stopped")
    return answer({"running": running})
