"""``copytrade leader``: whose orders are copied."""

from __future__ import annotations

from typing import IO, Any

import click

from ..views import GapOutcome, GapView, LeaderView, gap_json, leader_json
from .credentials import (
    ask_credentials,
    check_environment,
    choose_exchange,
    find_exchange,
    key_file,
    read_fields,
    split_credentials,
)
from .output import age, ago, amount, bad, good, local_time, print_json, print_table, say, warn
from .session import Group, InputError, Session, as_json, pass_session


@click.group(cls=Group)
def leader() -> None:
    """Set and show the leader, whose orders are copied."""


@leader.command("set")
@click.option("--exchange", help="binance ...")
@click.option("--env", help="prod, test or demo.")
@click.option("--stored", is_flag=True, help="Switch to the keys stored before for this exchange and environment.")
@key_file
@as_json
@pass_session
def set_leader(
    session: Session, exchange: str | None, env: str | None, stored: bool, file: IO[str] | None, as_json: bool
) -> None:
    """Listen to this leader from now on. Exit code 1 if its events cannot be heard.

    Asks for what is missing; keys are typed hidden. With --file, a JSON object
    {"exchange", "env", "api_key", "api_secret"}.
    """
    if stored and file is not None:
        raise InputError("--stored and --file exclude each other")
    exchanges = session.engine.list_exchanges()
    credentials = None
    if file is not None:
        given = {"exchange": exchange, "env": env}
        fields = {key: value for key, value in given.items() if value is not None} | read_fields(file)
        chosen = find_exchange(exchanges, fields.get("exchange", ""))
        credentials = split_credentials(fields, chosen, ("exchange", "env"))
        env = fields["env"]
        check_environment(chosen, env)
    else:
        chosen, env = choose_exchange([each for each in exchanges if each.can_lead], exchange, env)
        if not stored:
            credentials = ask_credentials(chosen)
    view = session.engine.set_leader(chosen.id, env, credentials)
    if as_json:
        print_json(_leader_json(view))
    else:
        print_leader(session, view)
    if not view.connected:
        raise click.exceptions.Exit(1)


@leader.command()
@as_json
@pass_session
def show(session: Session, as_json: bool) -> None:
    """Show the leader and whether its events are heard."""
    view = session.engine.get_leader()
    if as_json:
        print_json(None if view is None else _leader_json(view))
    elif view is None:
        say("No leader is set; set one with `copytrade leader set`.")
    else:
        print_leader(session, view)


@leader.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@click.option("--before", metavar="ID", help="Only those before this one.")
@as_json
@pass_session
def gaps(session: Session, limit: int, before: str | None, as_json: bool) -> None:
    """List the times in which the leader may not have been heard, and what was found in each."""
    found = session.engine.list_gaps(limit, before)
    if as_json:
        print_json([gap_json(gap) for gap in found])
    elif not found:
        say("The leader has been heard all the time.")
    else:
        figures = ("Found", "Copied", "Missed", "Ignored")
        columns = ("ID", "From", "To", *figures, "Reading", "Began because")
        print_table(columns, map(_gap_row, found), right=figures, spare=("Ignored", "ID"))


def _gap_row(gap: GapView) -> tuple[str, ...]:
    reading = {
        None: "not closed yet",
        GapOutcome.IN_FULL: "in full",
        GapOutcome.UNEXPLAINED: f"not explained: {_amounts(gap)}",
        GapOutcome.UNCHECKED: "not provable: no balance from before it",
        GapOutcome.LEFT: "left: another leader was set",
    }
    figures = (gap.found, gap.copied, gap.missed, gap.ignored)
    times = (local_time(gap.since), local_time(gap.until))
    return gap.id, *times, *map(str, figures), reading[gap.outcome], gap.reason


def _amounts(gap: GapView) -> str:
    return ", ".join(f"{format(change, 'f')} {asset}" for asset, change in gap.unexplained.items())


def leader_line(view: LeaderView | None) -> str:
    """Return the leader in one line."""
    if view is None:
        return "none is set"
    who = f"{view.exchange} {view.env}"
    if not view.connected:
        return f"{who}, {bad('NOT LISTENING')}" + (f": {view.error}" if view.error else "")
    times = "connection" if view.connections == 1 else "connections"
    line = f"{who}, {good('listening')} on {view.connections} {times}"
    if view.proof_age_sec is not None:
        line += f", proven {age(view.proof_age_sec)} ago"
    return line


def print_leader(session: Session, view: LeaderView) -> None:
    say(f"Leader      {leader_line(view)}")
    if view.gap_since:
        say(f"Gap         {bad('events may be missing')} for {ago(view.gap_since)}; being read back")
    if view.last_event:
        say(f"Last event  {ago(view.last_event)} ago")
    for balance in view.balances:
        say(f"{'Free ' + balance.asset:<12}{amount(balance.free, 8 if balance.asset == session.base else 2)}")
    if view.uid:
        say(f"Account     {view.uid}, key {view.key_fingerprint}")
    for warning in view.warnings:
        warn(warning.text)


def _leader_json(view: LeaderView) -> dict[str, Any]:
    error = {"kind": view.error_kind, "message": view.error} if view.error else None
    return {"listening": view.connected, **leader_json(view), "error": error}
