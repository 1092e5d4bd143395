"""``copytrade accounts``: the follower accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import click

from ..kinds import remedy
from ..views import AccountState, AccountView, CopyView, account_json, warnings_json
from .credentials import (
    USE_FILE,
    ask_credentials,
    check_environment,
    choose_exchange,
    find_exchange,
    key_file,
    read_fields,
    split_credentials,
)
from .output import NOTHING, age, ago, amount, bad, good, print_json, print_table, say, warn
from .session import Group, InputError, Session, as_json, ask, make_sure, pass_session


@click.group(cls=Group)
def accounts() -> None:
    """Add, look at, pause and remove follower accounts.

    An account is named by its name, its id, or the beginning of its id.
    """


account_argument = click.argument("account", metavar="ACCOUNT")


@accounts.command()
@click.option("--name", help="What to call the account.")
@click.option("--exchange", help="binance, bitget ...")
@click.option("--env", help="prod, test or demo.")
@key_file
@as_json
@pass_session
def add(
    session: Session, name: str | None, exchange: str | None, env: str | None, file: IO[str] | None, as_json: bool
) -> None:
    """Add a follower and verify its key at once.

    Asks for what is missing; keys are typed hidden. With --file, a JSON object
    {"name", "exchange", "env", "api_key", "api_secret", "passphrase"} (the last where the exchange has one).
    """
    exchanges = session.engine.list_exchanges()
    if file is not None:
        given = {"name": name, "exchange": exchange, "env": env}
        fields = {key: value for key, value in given.items() if value is not None} | read_fields(file)
        chosen = find_exchange(exchanges, fields.get("exchange", ""))
        credentials = split_credentials(fields, chosen, ("name", "exchange", "env"))
        name, env = fields["name"], fields["env"]
        check_environment(chosen, env)
    else:
        name = name or ask("Name 名称", USE_FILE)
        chosen, env = choose_exchange(exchanges, exchange, env)
        credentials = ask_credentials(chosen)
    account = session.engine.add_account(name, chosen.id, env, credentials)
    if as_json:
        print_json(account_json(account, session.base, session.quote))
    else:
        _say_added(session, account)
    if account.state is AccountState.DISABLED:
        raise click.exceptions.Exit(1)  # it is stored, and the exchange does not agree to its key


def _say_added(session: Session, account: AccountView) -> None:
    say(f"Added {account.name} ({account.exchange} {account.env}), id {account.id}")
    _say_state(session, account)
    if account.state is AccountState.DISABLED:
        say(f"Give it another key with `copytrade accounts set-key {account.id[:8]}`, or remove it.")


@accounts.command("list")
@as_json
@pass_session
def list_accounts(session: Session, as_json: bool) -> None:
    """List all follower accounts."""
    found = session.engine.list_accounts()
    if as_json:
        print_json([account_json(account, session.base, session.quote) for account in found])
    elif not found:
        say("There are no follower accounts yet; add one with `copytrade accounts add`.")
    else:
        print_accounts(session, found, with_id=True)


@accounts.command()
@account_argument
@as_json
@pass_session
def verify(session: Session, account: str, as_json: bool) -> None:
    """Ask the exchange now whether an account's key is good. Exit code 1 if it is not."""
    found = pick(session, account)
    result = session.engine.verify_account(found.id)
    if as_json:
        shape: dict[str, object] = {"ok": result.ok}
        if result.ok:
            shape |= {f"free{session.quote}": result.free_quote, f"free{session.base}": result.free_base}
        else:
            shape["error"] = {"kind": result.error_kind, "message": result.error}
        print_json({**shape, "uid": result.uid, "warnings": warnings_json(result.warnings)})
    elif result.ok:
        free = f"{amount(result.free_quote, 2)} {session.quote}, {amount(result.free_base)} {session.base}"
        say(f"{good('OK')}  {found.name}: {free} free")
    else:
        say(f"{bad('NOT OK')}  {found.name}: {result.error}")
        if todo := remedy(result.error_kind, "en"):
            say(f"        → {todo}")
    for warning in result.warnings:
        warn(warning.text)
    if not result.ok:
        raise click.exceptions.Exit(1)


@accounts.command()
@account_argument
@as_json
@pass_session
def pause(session: Session, account: str, as_json: bool) -> None:
    """Copy nothing more to an account. Returns when no new order of it can leave."""
    _changed(session, session.engine.pause_account(pick(session, account).id), "is paused", as_json)


@accounts.command()
@account_argument
@as_json
@pass_session
def resume(session: Session, account: str, as_json: bool) -> None:
    """Copy to an account again, from the leader's next order on."""
    _changed(session, session.engine.resume_account(pick(session, account).id), "is no longer paused", as_json)


@accounts.command()
@account_argument
@click.argument("name")
@as_json
@pass_session
def rename(session: Session, account: str, name: str, as_json: bool) -> None:
    """Call an account NAME."""
    found = pick(session, account)
    changed = session.engine.update_account(found.id, found.version, name=name)
    _changed(session, changed, f"is the new name of {found.name}", as_json)


@accounts.command("set-key")
@account_argument
@key_file
@as_json
@pass_session
def set_key(session: Session, account: str, file: IO[str] | None, as_json: bool) -> None:
    """Replace an account's key, and verify the new one.

    With --file, a JSON object {"api_key", "api_secret", "passphrase"} (the last where the exchange has one).
    """
    found = pick(session, account)
    exchange = find_exchange(session.engine.list_exchanges(), found.exchange)
    credentials = ask_credentials(exchange) if file is None else split_credentials(read_fields(file), exchange, ())
    changed = session.engine.update_account(found.id, found.version, credentials=credentials)
    _changed(session, changed, "has a new key", as_json)


@accounts.command()
@account_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_session
def remove(session: Session, account: str, yes: bool, as_json: bool) -> None:
    """Remove an account and its key. Its history stays."""
    found = pick(session, account)
    if not yes:
        make_sure(f"Remove {found.name} ({found.exchange} {found.env}, id {found.id})?", "say --yes")
    session.engine.remove_account(found.id)
    if as_json:
        print_json({"id": found.id, "removed": True})
    else:
        say(f"{found.name} is removed.")


def pick(session: Session, wanted: str) -> AccountView:
    """Return the one account that *wanted* names: an id, a name, or the beginning of an id."""
    found = session.engine.list_accounts()
    for matches in (
        [account for account in found if account.id == wanted],
        [account for account in found if account.name == wanted],
        [account for account in found if wanted and account.id.startswith(wanted.lower())],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = ", ".join(account.id for account in matches)
            raise InputError(f"{wanted!r} could be several accounts; use one of the ids {ids}")
    raise InputError(f"there is no account {wanted!r}; `copytrade accounts list` shows them")


def print_accounts(session: Session, found: Sequence[AccountView], *, with_id: bool = False) -> None:
    """Print accounts as a table, and below it what is wrong with whom."""
    amounts = (f"Free {session.quote}", f"Free {session.base}")
    ids = _short_ids([account.id for account in found])
    rows = []
    for account in found:
        quote, base = account.balance(session.quote), account.balance(session.base)
        rows.append(
            (
                *((ids[account.id],) if with_id else ()),
                account.name,
                f"{account.exchange} {account.env}",
                account.state.value,
                amount(quote.free if quote else None, 2),
                amount(base.free if base else None, 8),
                age(max((each.age_sec for each in (quote, base) if each), default=None)),
                _kept(account),
                _last_copy(account.last_copy, with_age=not with_id),
            )
        )
    columns = (*(("ID",) if with_id else ()), "Name", "Exchange", "State", *amounts, "Age", "Balances", "Last copy")
    print_table(columns, rows, right=(*amounts, "Age"), spare=("Last copy", "Balances", "Age", "Exchange"))
    for account in found:
        if account.error:
            say(f"{bad(account.state.value)}  {account.name}: {account.error}")
    if with_id:  # the status, which is read often, does not repeat them
        for account in found:
            for warning in account.warnings:
                warn(f"{account.name}: {warning.text}")


def _kept(account: AccountView) -> str:
    """Return how the balances are kept fresh: by pushes, or by reading them every so often."""
    if account.pushed:
        return "pushed"
    return NOTHING if account.poll_sec is None else f"read each {age(account.poll_sec)}"


def _last_copy(copy: CopyView | None, *, with_age: bool) -> str:
    if copy is None:
        return NOTHING
    return f"{copy.side} {copy.state}, {ago(copy.updated)}" if with_age else f"{copy.side} {copy.state}"


def _short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return for each id its beginning, long enough to tell it from all others."""
    length = 8
    while len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return {each: each[:length] for each in ids}


def _changed(session: Session, account: AccountView, what: str, as_json: bool) -> None:
    if as_json:
        print_json(account_json(account, session.base, session.quote))
        return
    say(f"{account.name} {what}.")
    _say_state(session, account)


def _say_state(session: Session, account: AccountView) -> None:
    if account.state is AccountState.ACTIVE:
        quote, base = account.balance(session.quote), account.balance(session.base)
        free = ", ".join(f"{amount(each.free, 2)} {each.asset}" for each in (quote, base) if each)
        say(f"{good(account.state.value)}  {free + ' free' if free else 'balances are not known yet'}")
    else:
        reason = account.error or ("nothing is copied to it until `accounts resume`" if account.paused else "")
        say(f"{bad(account.state.value)}  {reason}")
