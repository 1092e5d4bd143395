"""Copies, and what a person decides about one."""

from __future__ import annotations

from typing import Any

from flask import Response

from copytrade_core.views import copy_json, preview_json

from ..access.guard import access_of, principal
from ..schemas import trading as schema
from .answers import answer, engine, next_after
from .calls import Blueprint
from .documents import BODY, ENGINE, problems

blueprint = Blueprint("copies", __name__, url_prefix="/copies", description="Copies")


@blueprint.get("")
@blueprint.arguments(schema.CopyPage, location="query")
@problems(blueprint, *ENGINE, 404, 422)
@blueprint.response(200, schema.CopyRows)
def list_copies(query: dict[str, Any]) -> Response:
    """List copies, newest first."""
    found = engine().list_copies(
        account_id=query["account"],
        state=query["state"],
        limit=query["limit"],
        before=query["before"],
        event_id=query["event"],
        undecided=query["undecided"],
    )
    return answer({"items": [copy_json(copy) for copy in found], "next": next_after(found, query["limit"])})


@blueprint.get("/<copy_id>/preview")
@problems(blueprint, *ENGINE, 404, 409)
@blueprint.response(200, schema.Preview)
def preview_copy(copy_id: str) -> Response:
    """Show what `copy-now` would send: the sum only, nothing is sent."""
    return answer(preview_json(engine().preview_copy(copy_id)))


@blueprint.post("/<copy_id>/copy-now")
@problems(blueprint, *ENGINE, 404, 409)
@blueprint.response(200, schema.CopyRow)
def copy_now(copy_id: str) -> Response:
    """Copy a failed or stale one now, at the same share of what the follower has now; answers with the new copy."""
    copy = engine().copy_now(copy_id, by=principal().by)
    access_of().note("copied_now", copy_id)
    return answer(copy_json(copy))


@blueprint.post("/<copy_id>/leave")
@problems(blueprint, *ENGINE, 404, 409)
@blueprint.response(200, schema.CopyRow)
def leave_copy(copy_id: str) -> Response:
    """Note that a failed or stale copy is not made up for."""
    copy = engine().leave_copy(copy_id, by=principal().by)
    access_of().note("copy_left", copy_id)
    return answer(copy_json(copy))


@blueprint.post("/<copy_id>/settle")
@blueprint.arguments(schema.Settlement)
@problems(blueprint, *BODY, *ENGINE, 404, 409)
@blueprint.response(200, schema.CopyRow)
def settle_copy(given: dict[str, Any], copy_id: str) -> Response:
    """End a copy that needs a person: as executed (its fills are read from the exchange), or as not executed."""
    copy = engine().settle_copy(copy_id, given["executed"], given["exchange_order_id"], by=principal().by)
    access_of().note("copy_settled", copy_id)
    return answer(copy_json(copy))
