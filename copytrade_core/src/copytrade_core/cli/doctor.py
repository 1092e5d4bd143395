"""``copytrade doctor`` and ``copytrade plugins``: what is installed, and is it in order?"""

from __future__ import annotations

import os
import textwrap

import click

from ..errors import CopytradeError, EngineNotRunning
from ..kinds import remedy
from ..plugins import Plugins
from ..views import Finding, finding_json
from .output import NOTHING, print_json, print_table, say, screen_width, with_local_times
from .session import Command, Session, as_json, pass_session


@click.command(cls=Command)
@as_json
@pass_session
def doctor(session: Session, as_json: bool) -> None:
    """Check everything that can be checked. Exit code 1 if something must be mended.

    Asks the engine; if it is not running, checks what can be seen from here.
    """
    try:
        findings = session.engine.doctor()
    except CopytradeError as error:
        level = "warning" if isinstance(error, EngineNotRunning) else "error"
        findings = [
            Finding(check="engine", level=level, kind=error.kind, text=error.message, remedy=remedy(error.kind, "en")),
            *local_findings(session),
        ]
    if as_json:
        print_json([finding_json(each) for each in findings])
    else:
        for each in findings:
            _print_finding(each)
    if any(each.level == "error" for each in findings):
        raise click.exceptions.Exit(1)


def _print_finding(each: Finding) -> None:
    mark = click.style(f"{each.level:<9}", fg={"ok": "green", "warning": "yellow"}.get(each.level, "red"))
    width = max(20, screen_width() - 9)
    lines = textwrap.wrap(f"{each.check}: {with_local_times(each.text)}", width, break_on_hyphens=False)
    for number, line in enumerate(lines):
        say(f"{' ' * 9 if number else mark}{line}")
    if each.remedy:
        # In one piece, however long: it may hold a command that is to be copied.
        say(f"         → {each.remedy}")


@click.command(cls=Command)
@as_json
def plugins(as_json: bool) -> None:
    """List the installed plug-ins.

    Says what is wrong with those that do not load. Needs no engine."""
    found = Plugins.discover()
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "distribution": each.distribution,
                    "version": each.version,
                    "exchanges": each.exchanges,
                    "error": each.error,
                }
                for each in found.reports
            ]
        )
    elif not found.reports:
        say("No plug-in is installed; install one, for example copytrade-binance.")
    else:
        print_table(
            ("Plug-in", "Package", "Version", "Exchanges", "Works"),
            [
                (
                    each.name,
                    each.distribution,
                    each.version,
                    ", ".join(
                        f"{exchange} ({', '.join(found.exchanges[exchange].environments)})"
                        for exchange in each.exchanges
                    )
                    or NOTHING,
                    each.error or "yes",
                )
                for each in found.reports
            ],
            spare=("Version", "Package"),
        )


def local_findings(session: Session) -> list[Finding]:
    """Check what can be checked without an engine; nothing is changed."""
    from ..diagnosis import examine_plugins, examine_without_engine

    found = Plugins.discover()
    try:
        settings = session.settings
    except CopytradeError:  # it is why no engine could be asked, and told as that
        return list(examine_plugins(found))
    return list(examine_without_engine(settings, found, os.environ))
