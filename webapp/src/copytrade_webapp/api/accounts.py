"""Follower accounts: added, verified, paused, changed, removed. Keys go in and never come out."""

from __future__ import annotations

from concurrent.futures import TimeoutError as TooLate
from typing import Any

from flask import Response

from copytrade_core.views import AccountView, VerifyView, account_json, warnings_json

from ..access.guard import access_of, require_fresh
from ..panel import panel_of
from ..schemas import trading as schema
from .answers import answer, assets, engine, next_after
from .calls import Blueprint
from .documents import BODY, ENGINE, problems

blueprint = Blueprint("accounts", __name__, url_prefix="/accounts", description="Follower accounts")
VERIFY_SEC = 9.5


@blueprint.get("")
@blueprint.arguments(schema.AccountPage, location="query")
@problems(blueprint, *ENGINE, 404, 422)
@blueprint.response(200, schema.AccountRows)
def list_accounts(query: dict[str, Any]) -> Response:
    """List the accounts in the order in which they were added; 404: that of ``after`` was removed meanwhile."""
    found = engine().list_accounts(query["limit"], query["after"], query["q"], query["state"])
    return answer({"items": [row(each) for each in found], "next": next_after(found, query["limit"])})


@blueprint.post("")
@blueprint.arguments(schema.NewAccount)
@problems(blueprint, *BODY, *ENGINE, 409)
@blueprint.response(201, schema.CreatedAccount)
def add_account(given: dict[str, Any]) -> Response:
    """Store a follower, encrypted, and verify its key at once; `account` says what the exchange answered."""
    require_fresh()
    view = engine().add_account(given["name"], given["exchange"], given["env"], given["credentials"])
    access_of().note("account_added", view.name)
    return answer({"id": view.id, "status": "CREATED", "account": row(view)}, 201)


@blueprint.get("/<account_id>")
@problems(blueprint, *ENGINE, 404)
@blueprint.response(200, schema.AccountRow)
def show_account(account_id: str) -> Response:
    """Show one account."""
    return answer(row(engine().get_account(account_id)))


@blueprint.patch("/<account_id>")
@blueprint.arguments(schema.AccountChange)
@problems(blueprint, *BODY, *ENGINE, 404, 409)
@blueprint.response(200, schema.AccountRow)
def change_account(given: dict[str, Any], account_id: str) -> Response:
    """Rename an account or replace its key; 409 ``conflict``: somebody changed it since that ``version``."""
    credentials = given.get("credentials")
    if credentials is not None:
        require_fresh()
    view = engine().update_account(account_id, given["version"], given.get("name"), credentials)
    access_of().note("account_changed" if credentials is None else "account_key_changed", view.name)
    return answer(row(view))


@blueprint.delete("/<account_id>")
@problems(blueprint, *ENGINE, 404)
@blueprint.response(200, schema.RemovedAccount)
def remove_account(account_id: str) -> Response:
    """Forget an account and its key; what it has in flight is still settled."""
    require_fresh()
    name = engine().get_account(account_id).name
    engine().remove_account(account_id)
    access_of().note("account_removed", name)
    return answer({"id": account_id})


@blueprint.post("/<account_id>/pause")
@problems(blueprint, *ENGINE, 404)
@blueprint.response(200, schema.AccountRow)
def pause_account(account_id: str) -> Response:
    """Copy nothing more to this account; answers when no new order of it can leave."""
    view = engine().pause_account(account_id)
    access_of().note("account_paused", view.name)
    return answer(row(view))


@blueprint.post("/<account_id>/resume")
@problems(blueprint, *ENGINE, 404)
@blueprint.response(200, schema.AccountRow)
def resume_account(account_id: str) -> Response:
    """Copy to this account again, from what the leader places after this."""
    view = engine().resume_account(account_id)
    access_of().note("account_resumed", view.name)
    return answer(row(view))


@blueprint.post("/<account_id>/verify")
@problems(blueprint, *ENGINE, 404)
@blueprint.response(200, schema.Verified)
def verify_account(account_id: str) -> Response:
    """Ask the exchange about the key now; answers within ten seconds, also when the exchange does not."""
    trader = engine()
    trader.get_account(account_id)
    waiting = panel_of().patient.submit(trader.verify_account, account_id)
    try:
        return answer(verified(waiting.result(VERIFY_SEC)))
    except TooLate:
        waiting.cancel()  # where it has not begun yet
        message = "the exchange has not answered yet; the account shows what it says once it does"
        return answer({"ok": False, "error": {"kind": "no_answer", "message": message}})


def row(account: AccountView) -> dict[str, Any]:
    base, quote = assets()
    return account_json(account, base, quote)


def verified(view: VerifyView) -> dict[str, Any]:
    if not view.ok:
        return {"ok": False, "error": {"kind": view.error_kind, "message": view.error}}
    base, quote = assets()
    free = {f"free{quote}": view.free_quote, f"free{base}": view.free_base}
    return {"ok": True, **free, "warnings": warnings_json(view.warnings)}
