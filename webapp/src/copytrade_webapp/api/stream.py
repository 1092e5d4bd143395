"""Tickets for the live stream, which is a WebSocket at ``/api/v1/stream``."""

from __future__ import annotations

from typing import Any

from flask import request

from ..access.guard import access_of, principal
from ..access.limits import TICKETS
from ..access.tickets import LIFE_SEC
from ..problems import Problem
from ..schemas.access import Ticket
from .calls import Blueprint
from .documents import problems

blueprint = Blueprint("stream", __name__, url_prefix="/stream", description="The live stream")


@blueprint.post("/ticket")
@problems(blueprint)
@blueprint.response(200, Ticket)
def issue_ticket() -> Any:
    """Give a ticket that opens one live stream from this page within 15 seconds.

    It is shown in the sub-protocols of the WebSocket: ``ct.v1, ticket.<ticket>``."""
    access, asker = access_of(), principal()
    access.limits.take("ticket", asker.label, TICKETS)
    origin = request.headers.get("Origin")
    if origin is None:
        raise Problem(403, "wrong_origin", "the live stream is for pages: say which one in Origin")
    return {"ticket": access.panel.tickets.issue(asker.label, origin), "expires_in": LIFE_SEC}
