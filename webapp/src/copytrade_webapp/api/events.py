"""Leader orders and their closed books."""

from __future__ import annotations

from typing import Any

from flask import Response

from copytrade_core.views import book_json, copy_json, preview_json

from ..access.guard import access_of, principal
from ..schemas import trading as schema
from .answers import answer, engine, next_after
from .calls import Blueprint
from .documents import BODY, ENGINE, problems

blueprint = Blueprint("events", __name__, url_prefix="/events", description="Leader orders and their closed books")


@blueprint.get("")
@blueprint.arguments(schema.Page, location="query")
@problems(blueprint, *ENGINE, 404, 422)
@blueprint.response(200, schema.EventSummaries)
def list_events(query: dict[str, Any]) -> Response:
    """List leader orders, newest first, without their rows."""
    found = engine().list_events(query["limit"], query["before"], with_copies=False)
    items = [book_json(order, rows=False) for order in found]
    return answer({"items": items, "next": next_after(found, query["limit"])})


@blueprint.get("/<event_id>")
@blueprint.arguments(schema.EventQuery, location="query")
@problems(blueprint, *ENGINE, 404, 422)
@blueprint.response(200, schema.Event)
def show_event(query: dict[str, bool], event_id: str) -> Response:
    """Show one closed book, row by row."""
    return answer(book_json(engine().get_event(event_id, query["rows"]), rows=query["rows"]))


@blueprint.get("/<event_id>/copies")
@blueprint.arguments(schema.Page, location="query")
@problems(blueprint, *ENGINE, 404, 422)
@blueprint.response(200, schema.CopyRows)
def list_copies_of(query: dict[str, Any], event_id: str) -> Response:
    """List the rows of one closed book, in pages."""
    trader = engine()
    trader.get_event(event_id, with_copies=False)
    found = trader.list_copies(event_id=event_id, limit=query["limit"], before=query["before"])
    return answer({"items": [copy_json(copy) for copy in found], "next": next_after(found, query["limit"])})


@blueprint.get("/<event_id>/preview")
@blueprint.arguments(schema.PreviewQuery, location="query")
@problems(blueprint, *ENGINE, 404, 409, 422)
@blueprint.response(200, schema.Previews)
def preview_event(query: dict[str, Any], event_id: str) -> Response:
    """Show what `copy-now` would send, or an undecided order at this share: sums only, nothing is sent."""
    found = engine().preview_event(event_id, query["share"])
    return answer({"items": [preview_json(preview) for preview in found]})


@blueprint.post("/<event_id>/copy-now")
@problems(blueprint, *ENGINE, 404, 409)
@blueprint.response(200, schema.Event)
def copy_event_now(event_id: str) -> Response:
    """Copy every failed or stale copy of this order now, at the same share of what each follower has now."""
    book = engine().copy_event_now(event_id, by=principal().by)
    access_of().note("event_copied_now", event_id)
    return answer(book_json(book))


@blueprint.post("/<event_id>/share")
@blueprint.arguments(schema.GivenShare)
@problems(blueprint, *BODY, *ENGINE, 404, 409)
@blueprint.response(200, schema.Event)
def decide_share(given: dict[str, Any], event_id: str) -> Response:
    """Give an undecided order its share, exactly, and copy it now."""
    book = engine().decide_share(event_id, given["share"], by=principal().by)
    access_of().note("share_given", event_id)
    return answer(book_json(book))
