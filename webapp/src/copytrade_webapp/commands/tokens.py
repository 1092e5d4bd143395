"""``copytrade tokens``: who may log in to the panel."""

from __future__ import annotations

import click
from marshmallow import ValidationError

from copytrade_core.cli.output import print_json, say
from copytrade_core.cli.session import Group, Session, as_json, pass_session
from copytrade_core.errors import InvalidRequest

from ..api.tokens import token_json
from ..schemas.base import Name
from .panel import new_login_link, running_url
from .store import moment, panel_store


@click.group(cls=Group)
def tokens() -> None:
    """Access tokens of the panel: one for each person and each program."""


@tokens.command("add")
@click.argument("name")
@as_json
@pass_session
def add(session: Session, name: str, as_json: bool) -> None:
    """Make a token called NAME and print it, this once."""
    try:
        name = Name(required=True).deserialize(name)
    except ValidationError:
        raise InvalidRequest("a name has 1 to 64 characters, all of them printable", field="name") from None
    with panel_store(session) as (store, _):
        token_id, secret = store.add_token(name)
        store.note("command line", "token_added", name)
    if as_json:
        print_json({"id": token_id, "name": name, "token": secret})
    else:
        say(f"Access token {name} ({token_id}), shown this once:")
        say(secret)


@tokens.command("list")
@as_json
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the tokens and when each was last used."""
    with panel_store(session) as (store, _):
        found = store.list_tokens()
    if as_json:
        print_json({"tokens": [token_json(token) for token in found]})
        return
    if found:
        say(f"{'ID':<{len(found[0].id)}}  {'State':<28}  Name")
    for token in found:
        state = "revoked" if token.revoked_ms is not None else f"last used {moment(token.last_used_ms)}"
        say(f"{token.id}  {state:<28}  {token.name}")
    if not found:
        say("There is no token yet; make one with: copytrade tokens add NAME")


@tokens.command("revoke")
@click.argument("token_id", metavar="ID")
@pass_session
def revoke(session: Session, token_id: str) -> None:
    """Revoke the token ID, or the one whose id begins so: its sessions end with their next call."""
    with panel_store(session) as (store, _):
        # One that is revoked already does not make a beginning ambiguous.
        begins = [each.id for each in store.list_tokens() if each.id.startswith(token_id) and each.revoked_ms is None]
        if token_id and len(begins) > 1 and token_id not in begins:
            raise InvalidRequest(f"{token_id!r} could be several tokens: {', '.join(begins)}", field="id")
        if token_id and len(begins) == 1:
            token_id = begins[0]
        store.revoke_token(token_id)
        store.note("command line", "token_revoked", token_id)
    say(f"Token {token_id} is revoked.")


@tokens.command("login-link")
@pass_session
def login_link(session: Session) -> None:
    """Print a link that logs one browser in, once, within ten minutes."""
    with panel_store(session) as (_, settings):
        # The name that browsers know goes first; else the running panel knows its address better than we do.
        say(new_login_link(settings, settings.public_url or running_url(settings)))
