"""Access tokens: one for each person and each program."""

from __future__ import annotations

from typing import Any

from copytrade_core.clock import wall_text

from ..access.guard import access_of, require_fresh
from ..access.store import Token
from ..schemas.access import AuditQuery, AuditRows, MadeToken, NewToken, TokenRow, TokenRows
from .answers import next_after
from .calls import Blueprint
from .documents import BODY, problems

blueprint = Blueprint("tokens", __name__, url_prefix="/tokens", description="Access tokens, and who did what")


@blueprint.get("")
@problems(blueprint)
@blueprint.response(200, TokenRows)
def list_tokens() -> Any:
    """List the tokens, revoked ones included; no call shows a secret again."""
    return {"items": [token_json(token) for token in access_of().store.list_tokens()]}


@blueprint.post("")
@blueprint.arguments(NewToken)
@problems(blueprint, *BODY)
@blueprint.response(201, MadeToken)
def add_token(given: dict[str, str]) -> Any:
    """Make a token; its secret is in this answer and in no other."""
    require_fresh()
    access = access_of()
    token_id, secret = access.store.add_token(given["name"])
    access.note("token_added", given["name"])
    return {"id": token_id, "name": given["name"], "token": secret}


@blueprint.delete("/<token_id>")
@problems(blueprint, 404)
@blueprint.response(200, TokenRow)
def revoke_token(token_id: str) -> Any:
    """Revoke a token: its sessions and live streams end at once."""
    require_fresh()
    access = access_of()
    ended = access.store.revoke_token(token_id)
    access.end_streams(f"token:{token_id}", *(f"session:{each}" for each in ended))
    revoked = next(token for token in access.store.list_tokens() if token.id == token_id)
    access.note("token_revoked", revoked.name)
    return token_json(revoked)


@blueprint.get("/audit")
@blueprint.arguments(AuditQuery, location="query")
@problems(blueprint, 422)
@blueprint.response(200, AuditRows)
def list_audit(query: dict[str, Any]) -> Any:
    """Say who logged in and did what with access, newest first."""
    rows = access_of().store.list_audit(query["limit"], query["before"])
    items = [
        {"id": row.id, "t": wall_text(row.t_ms), "who": row.who, "what": row.what, "detail": row.detail,
         "address": row.address}
        for row in rows
    ]  # fmt: skip
    return {"items": items, "next": next_after(rows, query["limit"])}


def token_json(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "created": wall_text(token.created_ms),
        "last_used": None if token.last_used_ms is None else wall_text(token.last_used_ms),
        "revoked": None if token.revoked_ms is None else wall_text(token.revoked_ms),
    }
