"""``copytrade doctor`` and ``copytrade plugins``: what is installed, and is it in order?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import click

from ..errors import CopytradeError, EngineNotRunning
from ..plugins import Plugins
from ..views import Finding
from .output import NOTHING, bad, good, print_json, print_table, say
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
        kind = "warning" if isinstance(error, EngineNotRunning) else "error"
        findings = [
            Finding(check="engine", level=kind, text=error.message, remedy="start it with `copytrade engine`"),
            *local_findings(session),
        ]
    if as_json:
        print_json([{name: getattr(each, name) for name in ("check", "level", "text", "remedy")} for each in findings])
    else:
        for each in findings:
            mark = good("ok") + "      " if each.level == "ok" else click.style(f"{each.level:<8}", fg="yellow")
            mark = bad(f"{each.level:<8}") if each.level == "error" else mark
            say(f"{mark}{each.check}: {each.text}")
            if each.remedy and each.level != "ok":
                say(f"        {each.remedy}")
    if any(each.level == "error" for each in findings):
        raise click.exceptions.Exit(1)


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
            ("Plug-in", "Package", "Version", "Exchanges", "State"),
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
                    each.error or "loaded",
                )
                for each in found.reports
            ],
        )


def local_findings(session: Session) -> Iterator[Finding]:
    """Check what can be checked without an engine; nothing is changed."""
    from ..store.master_key import load_master_key
    from ..store.vault import Vault

    found = Plugins.discover()
    for each in found.reports:
        text = f"{each.distribution} {each.version}" if not each.error else each.error
        yield Finding(check=f"plug-in {each.name}", level="error" if each.error else "ok", text=text)
    if not found.exchanges:
        yield Finding(
            check="plug-ins", level="error", text="no exchange is installed", remedy="pip install copytrade-binance"
        )
    try:
        settings = session.settings
    except CopytradeError as error:
        yield Finding(check="settings", level="error", text=error.message)
        return
    yield Finding(check="settings", level="ok", text=f"data in {settings.data_dir}, trading {settings.symbol}")
    for exchange, environments in settings.endpoints.items():
        for env in environments:
            yield Finding(
                check="endpoints",
                level="warning",
                text=f"{exchange} {env} is replaced by a simulator on this machine",
                remedy="unset COPYTRADE_ENDPOINTS to trade on the exchange itself",
            )
    try:
        status = settings.data_dir.stat()
    except OSError as error:
        yield Finding(
            check="data directory", level="error", text=f"{error.strerror}", remedy="make it with `copytrade init`"
        )
        return
    private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    yield Finding(
        check="data directory",
        level="ok" if private else "error",
        text="for its owner alone" if private else "others can look into it",
        remedy=f"chown it to the engine's user and chmod 700 {settings.data_dir}",
    )
    try:
        key = load_master_key(
            os.environ, found.hook.copytrade_master_key(data_dir=str(settings.data_dir)), settings.data_dir
        )
    except CopytradeError as error:
        yield Finding(check="master key", level="error", text=error.message)
        return
    yield Finding(check="master key", level="ok", text="found")
    try:
        vault = Vault.open(settings.vault_path, key)
    except CopytradeError as error:
        yield Finding(check="vault", level="error", text=error.message)
        return
    yield Finding(check="vault", level="ok", text=f"opens; {len(vault.accounts())} accounts")
