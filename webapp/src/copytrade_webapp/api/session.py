"""Logging in and out: a browser shows its token, or the code of a link, once, and has a session from then on."""

from __future__ import annotations

from typing import Any

from flask import make_response
from flask.typing import ResponseReturnValue

from copytrade_core.clock import wall_text

from ..access.guard import FRESH_SEC, access_of, check_page, principal
from ..access.store import REFUSED, Session
from ..problems import Problem
from ..schemas.access import LogIn, Proof, SessionState
from .calls import Blueprint
from .devices import device_json
from .documents import BODY, problems

blueprint = Blueprint("session", __name__, url_prefix="/session", description="Logging in and out")


@blueprint.get("")
@blueprint.doc(security=[])
@problems(blueprint)
@blueprint.response(200, SessionState)
def show_session() -> Any:
    """Say whether this browser is logged in."""
    return _state(access_of().session())


@blueprint.post("")
@blueprint.doc(security=[])
@blueprint.arguments(LogIn)
@problems(blueprint, *BODY)
@blueprint.response(200, SessionState)
def log_in(given: dict[str, str]) -> ResponseReturnValue:
    """Begin a session by an access token or a one-time code; a new one, whatever the browser had before."""
    access = access_of()
    if given["token"]:
        token = access.store.check_token(given["token"])
        token_id = token.id if token else ""
    else:
        token_id = access.store.token_of_links() if access.store.use_code("login", given["code"]) else ""
    if not token_id:
        access.count_guess()
        access.note(REFUSED, who="somebody")
        if given["token"]:
            raise Problem(401, "token_invalid", "this access token is no good (any more)")
        raise Problem(401, "code_invalid", "this link was used before, or is older than ten minutes")
    if (old := access.session()) is not None:
        access.store.end_session(old.id)
        access.end_streams(f"session:{old.id}")
    _, cookie = access.store.add_session(token_id)
    session = access.store.find_session(cookie, access.settings.session_idle_sec, access.settings.session_absolute_sec)
    if session is None:
        raise Problem(401, "token_invalid", "this access token was revoked just now")
    access.note("login", who=session.token_name)
    response = make_response(_state(session))
    access.set_cookie(response, cookie)
    return response


@blueprint.post("/fresh")
@blueprint.arguments(Proof)
@problems(blueprint, *BODY)
@blueprint.response(200, SessionState)
def prove(given: dict[str, str]) -> Any:
    """Show the access token again, so that keys, devices and the like may be changed for the next 30 minutes."""
    access, asker = access_of(), principal()
    if asker.kind != "session":
        raise Problem(422, "invalid", "a call by access token needs no other proof")
    token, session = access.store.check_token(given["token"]), access.session()
    if token is None:
        access.count_guess()
        raise Problem(422, "token_invalid", "this access token is no good (any more)", field="token")
    if session is None or not access.store.prove_session(session, token):
        raise Problem(422, "token_invalid", "somebody else is logged in here: show the same token again", field="token")
    access.note("proved", who=token.name)
    return _state(access.session())


@blueprint.delete("")
@blueprint.doc(security=[])
@problems(blueprint)
@blueprint.response(200, SessionState)
def log_out() -> ResponseReturnValue:
    """End the session of this browser, and its live streams."""
    access = access_of()
    session = access.session()
    if session is not None:
        check_page(access, session)
        access.store.end_session(session.id)
        access.end_streams(f"session:{session.id}")
        access.note("logout", who=session.token_name)
    response = make_response(_state(None))
    access.drop_cookie(response)
    return response


def _state(session: Session | None) -> dict[str, Any]:
    access = access_of()
    mode = access.settings.mode.value
    if session is None:
        return {"logged_in": False, "mode": mode}
    device = access.store.get_device(session.device_id) if session.device_id else None
    return {
        "logged_in": True,
        "mode": mode,
        "name": session.token_name,
        "csrf": access.csrf(session.id),
        "device": device_json(device) if device else None,
        "fresh_until": wall_text(session.proved_ms + FRESH_SEC * 1000),
    }
