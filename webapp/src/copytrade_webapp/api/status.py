"""The whole picture, and what the engine says of itself."""

from __future__ import annotations

from typing import Any

from flask import Response

from copytrade_core import kinds
from copytrade_core.views import feed_json, finding_json, gap_json, restored_json, status_json

from ..access.guard import access_of, principal, require_fresh
from ..panel import panel_of
from ..schemas import trading as schema
from .answers import answer, engine, next_after
from .calls import Blueprint
from .documents import ENGINE, problems

blueprint = Blueprint("status", __name__, description="The whole picture")


@blueprint.get("/status")
@problems(blueprint, *ENGINE)
@blueprint.response(200, schema.Status)
def show_status() -> Response:
    """Show everything at once: running, halts, leader, followers, the last 50 leader orders."""
    state = panel_of().link.state
    shape = status_json(engine().status())
    return answer({**shape, "engine": {"connected": state.connected, "since": state.since}})


@blueprint.get("/feed")
@blueprint.arguments(schema.FeedPage, location="query")
@problems(blueprint, *ENGINE, 422)
@blueprint.response(200, schema.FeedEntries)
def list_feed(query: dict[str, Any]) -> Response:
    """List what happened after a number, oldest first."""
    found = engine().list_feed(query["after"], query["limit"], query["newest"])
    return answer({"items": [feed_json(each) for each in found], "next": found[-1].seq if found else query["after"]})


@blueprint.get("/gaps")
@blueprint.arguments(schema.Page, location="query")
@problems(blueprint, *ENGINE, 404, 422)
@blueprint.response(200, schema.Gaps)
def list_gaps(query: dict[str, Any]) -> Response:
    """List when the leader was not heard, and what was found afterwards, newest first."""
    found = engine().list_gaps(query["limit"], query["before"])
    return answer({"items": [gap_json(gap) for gap in found], "next": next_after(found, query["limit"])})


@blueprint.get("/restored")
@problems(blueprint, *ENGINE)
@blueprint.response(200, schema.RestoredAnswer)
def show_restored() -> Response:
    """Show what must be reconciled after a backup was put back; null where nothing must."""
    found = engine().get_restored()
    return answer({"restored": None if found is None else restored_json(found)})


@blueprint.post("/reconcile")
@problems(blueprint, *ENGINE, 409)
@blueprint.response(200, schema.Restored)
def reconcile() -> Response:
    """Answer for what `restored` shows; the engine may trade again."""
    require_fresh()
    found = engine().reconcile(by=principal().by)
    access_of().note("reconciled")
    return answer(restored_json(found))


@blueprint.get("/doctor")
@problems(blueprint, *ENGINE)
@blueprint.response(200, schema.Findings)
def show_findings() -> Response:
    """Check the installation."""
    return answer({"items": [finding_json(each) for each in engine().doctor()]})


@blueprint.get("/kinds")
@blueprint.arguments(schema.Language, location="query")
@problems(blueprint, 422)
@blueprint.response(200, schema.KindTable)
def list_kinds(query: dict[str, str]) -> Response:
    """Return what each ``kind`` says in a language.

    ``%(name)s`` is a figure; a part in brackets goes where one is missing."""
    zh = query["lang"] == "zh"
    table = {
        name: {"sentence": kind.zh if zh else kind.en, "remedy": kind.do_zh if zh else kind.do_en}
        for name, kind in kinds.all_kinds().items()
    }
    return answer({"lang": query["lang"], "kinds": table})
