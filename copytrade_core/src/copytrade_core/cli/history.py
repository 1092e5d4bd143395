"""``copytrade status``, ``events``, ``copies``: what is and what was."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from fractions import Fraction

import click

from ..views import (
    CopyView,
    LeaderOrderState,
    LeaderOrderView,
    StatusView,
    book_json,
    copy_json,
    preview_json,
    share_places,
    status_json,
)
from .accounts import pick, print_accounts
from .leader import leader_line
from .output import (
    NOTHING,
    age,
    ago,
    amount,
    bad,
    book_table,
    decisions,
    good,
    local_time,
    percent,
    price,
    print_json,
    print_table,
    reasons,
    say,
    show,
)
from .session import Command, Group, InputError, Session, as_json, pass_session


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        return "the command line"


limit_option = click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first."
)


@click.command(cls=Command)
@as_json
@pass_session
def status(session: Session, as_json: bool) -> None:
    """Show what runs, leader, followers and last orders."""
    view = session.engine.status()
    if as_json:
        print_json(status_json(view))
        return
    _print_summary(view)
    if view.followers:
        say()
        print_accounts(session, view.followers)
    else:
        say()
        say("There are no follower accounts yet; add one with `copytrade accounts add`.")
    if view.recent_events:
        say()
        say("Last orders of the leader")
        _print_orders(session, view.recent_events[:5])


@click.command(cls=Command)
@click.argument("event", metavar="[ID]", required=False)
@limit_option
@as_json
@pass_session
def events(session: Session, event: str | None, limit: int, as_json: bool) -> None:
    """List the leader's orders, or show one.

    With the ID of an order, shows what became of it, follower by follower."""
    if event is not None:
        order = session.engine.get_event(event)
        if as_json:
            print_json(book_json(order))
        else:
            show(book_table(order))
        return
    orders = session.engine.list_events(limit)
    if as_json:
        print_json([book_json(order) for order in orders])
    elif not orders:
        say("The leader has placed no order since it was set.")
    else:
        _print_orders(session, orders)


@click.group(cls=Group, invoke_without_command=True)
@click.option("--account", help="Only of this account: its name, its id, or the beginning of its id.")
@click.option("--state", help="Only in this state: FILLED, FAILED, NEEDS_PERSON ...")
@limit_option
@as_json
@pass_session
@click.pass_context
def copies(
    context: click.Context, session: Session, account: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List copies: one leader order on one follower; or decide about one of them."""
    if context.invoked_subcommand is not None:
        return
    account_id = None if account is None else pick(session, account).id
    found = session.engine.list_copies(account_id, state and state.upper(), limit)
    if as_json:
        print_json([copy_json(copy) for copy in found])
    elif not found:
        say("There are no such copies." if account or state else "Nothing has been copied yet.")
    else:
        columns = ("Time", "Order", "Account", "Side", "State", "Sent", f"Filled {session.base}", "Price")
        print_table(
            columns,
            [
                (
                    local_time(copy.updated),
                    copy.event_id,
                    copy.account_name,
                    copy.side.value,
                    copy.state.value,
                    NOTHING if copy.sent is None else f"{amount(copy.sent)} {copy.size_asset}",
                    amount(copy.filled_base or None, 8),
                    price(copy.average_price),
                )
                for copy in found
            ],
            right=("Order", "Sent", f"Filled {session.base}", "Price"),
            spare=("Price", "Sent"),
        )
        for line in [*reasons(found), *decisions(found)]:
            say(line)


who_option = click.option("--by", default=_user, show_default="your user name", help="Who decides; it is recorded.")


@copies.command("copy-now")
@click.argument("copy", required=False)
@click.option("--event", help="All copies of this leader order that wait for a decision.")
@who_option
@as_json
@pass_session
def copy_now(session: Session, copy: str | None, event: str | None, by: str, as_json: bool) -> None:
    """Copy a FAILED or STALE one now, at the same share of what the follower has now."""
    if (copy is None) == (event is None):
        raise InputError("name one copy, or all of a leader order with --event")
    if event is not None:
        order = session.engine.copy_event_now(event, by)
        if as_json:
            print_json(book_json(order))
        else:
            show(book_table(order))
        return
    _say_copy(session.engine.copy_now(copy or "", by), as_json)


@copies.command()
@click.argument("copy", required=False)
@click.option("--event", help="All copies of this leader order that wait for a decision.")
@click.option("--share", help="Of an undecided leader order: what this share would copy (0.25, 25% or 1/4).")
@as_json
@pass_session
def preview(session: Session, copy: str | None, event: str | None, share: str | None, as_json: bool) -> None:
    """Show what copy-now, or a share, would send by the balances of this moment. Nothing is sent."""
    if (copy is None) == (event is None) or (share is not None and event is None):
        raise InputError("name one copy, or a leader order with --event and, where it is undecided, --share")
    if event is not None:
        found = session.engine.preview_event(event, None if share is None else _read_share(share))
    else:
        found = [session.engine.preview_copy(copy or "")]
    if as_json:
        shapes = [preview_json(each) for each in found]
        print_json(shapes[0] if event is None else shapes)
        return
    print_table(
        ("Account", "Side", "Share", "Free now", "Age", "Order"),
        [
            (
                each.account_name,
                each.side.value,
                percent(share_places(each.share)),
                NOTHING if each.free_before is None else f"{amount(each.free_before)} {each.size_asset}",
                NOTHING if each.balance_age_ms is None else age(each.balance_age_ms / 1000),
                NOTHING if each.sent is None or not each.can_be_copied else f"{amount(each.sent)} {each.size_asset}",
            )
            for each in found
        ],
        right=("Share", "Free now", "Age", "Order"),
        spare=("Age", "Side"),
    )
    for each in found:
        if not each.can_be_copied:
            say(f"{each.account_name}: {each.reason}")


@copies.command()
@click.argument("copy")
@who_option
@as_json
@pass_session
def leave(session: Session, copy: str, by: str, as_json: bool) -> None:
    """Leave a FAILED or STALE copy as it is."""
    _say_copy(session.engine.leave_copy(copy, by), as_json)


@copies.command()
@click.argument("copy")
@click.option("--executed/--not-executed", required=True, help="What became of its order at the exchange.")
@click.option("--order", default="", help="The exchange's id of the order, if it does not find it by ours.")
@who_option
@as_json
@pass_session
def settle(session: Session, copy: str, executed: bool, order: str, by: str, as_json: bool) -> None:
    """Settle a copy that needs a person. The exchange is asked, and has the last word."""
    _say_copy(session.engine.settle_copy(copy, executed, order, by), as_json)


@copies.command()
@click.argument("event")
@click.argument("share")
@who_option
@as_json
@pass_session
def share(session: Session, event: str, share: str, by: str, as_json: bool) -> None:
    """Give an undecided leader order its SHARE: 0.25, 25% or 1/4; it is copied at once."""
    order = session.engine.decide_share(event, _read_share(share), by)
    if as_json:
        print_json(book_json(order))
    else:
        show(book_table(order))


def _say_copy(copy: CopyView, as_json: bool) -> None:
    if as_json:
        print_json(copy_json(copy))
        return
    decided = f", decided by {copy.decided_by}" if copy.decided_by else ""
    say(f"Copy {copy.id} on {copy.account_name}: {copy.state}{decided}")
    if copy.reason:
        say(copy.reason)


def _read_share(text: str) -> Fraction:
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,18})?%?|[0-9]{1,18}/[0-9]{1,18}", text, re.ASCII):
        raise InputError(f"a share is written like 0.25, 25% or 1/4, not {text!r}")
    try:
        return Fraction(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ZeroDivisionError:
        raise InputError("a share cannot have nothing below its line") from None


def _result(order: LeaderOrderView) -> str:
    """Return what became of a leader's order, by its rows where it has some."""
    counts = order.counts()
    if order.state is not LeaderOrderState.COPIED or counts["ok"] == counts["fanout"]:
        return order.state.value
    if counts["pending"]:
        return "UNDER WAY"
    return "PARTLY COPIED" if counts["ok"] else "NOT COPIED"


def _print_summary(view: StatusView) -> None:
    since = f" since {local_time(view.copying_since)}" if view.copying_since else ""
    say(f"Copying  {good('RUNNING') + since if view.running else bad('STOPPED')}")
    for halt in view.halts:
        say(f"Halted   {bad(halt.reason)} (for {ago(halt.since)}); ends with {halt.ends_when}")
    say(f"Leader   {leader_line(view.leader)}")
    if view.leader is not None and view.leader.gap_since:
        say(f"         {bad('events may be missing')} for {ago(view.leader.gap_since)}; being read back")
    say(f"Engine   running for {ago(view.engine_since)}" if view.engine_since else "Engine   running")
    if view.starting is not None:
        say(f"Accounts {view.starting.ready} of {view.starting.accounts} accounts are ready")
    if view.unsettled:
        say(f"Open     {view.unsettled} copies are still being settled")
    if view.needs_person:
        say(f"Waiting  {bad(f'{view.needs_person} copies need a person')}: copytrade copies --state NEEDS_PERSON")


def _print_orders(session: Session, orders: Sequence[LeaderOrderView]) -> None:
    numbers = ("ID", f"Filled {session.base}", f"For {session.quote}", "Share", "Copied")
    rows = []
    for order in orders:
        counts = order.counts()
        rows.append(
            (
                order.id,
                local_time(order.t),
                order.side.value,
                amount(order.filled_base, 8) if "/" in order.symbol else NOTHING,
                amount(order.filled_quote, 2) if "/" in order.symbol else NOTHING,
                percent(order.share_text),
                f"{counts['ok']} of {counts['fanout']}" if counts["fanout"] else NOTHING,
                _result(order),
            )
        )
    print_table(("ID", "Time", "Side", *numbers[1:], "Result"), rows, right=numbers, spare=(numbers[2],))
    for order in orders:
        if order.reason:
            say(f"{order.id}: {order.reason}")
