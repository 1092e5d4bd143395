"""``copytrade rotate-key``, ``backup``, ``restore`` and ``reconcile``: the keys and the data over the years."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..clock import Clock, wall_text
from ..errors import ConfigError, MasterKeyError
from ..plugins import Plugins
from ..views import RestoredView, restored_json
from .history import who_option
from .output import amount, bad, local_time, print_json, print_table, say, warn
from .session import Command, Failure, Session, as_json, make_sure, pass_session


@click.command("rotate-key", cls=Command)
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to put the new key, if the present one is in a variable.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_session
def rotate_key(session: Session, key_file: Path | None, yes: bool, as_json: bool) -> None:
    """Give the vault a new master key. The engine must not run.

    If it is interrupted, run it again: it goes on where it was."""
    from ..store.lock import DataDirLock
    from ..store.master_key import FILE_VARIABLE, VARIABLE, default_key_path, load_master_key
    from ..store.vault import rotate_key_file

    settings = session.settings
    data_dir = settings.data_dir
    if Plugins.discover().hook.copytrade_master_key(data_dir=str(data_dir)) is not None:
        raise MasterKeyError("the master key comes from a plug-in: only there can a new one be made")
    present, place = None, os.environ.get(FILE_VARIABLE)
    if os.environ.get(VARIABLE):
        present = load_master_key(os.environ, None)
        path = key_file.expanduser().absolute() if key_file is not None else default_key_path(data_dir)
    elif key_file is not None:
        raise MasterKeyError("the present key is in a file: the new one takes its place; leave --key-file out")
    else:
        path = Path(place).expanduser().absolute() if place else default_key_path(data_dir)
        path = path.resolve()  # the key's own file is replaced, not a link to it
    if path.is_relative_to(data_dir.resolve()):
        raise ConfigError(f"the master key must lie outside {data_dir}, so that a copy of the data opens nothing")
    with DataDirLock(data_dir):
        if not yes:
            make_sure(
                "Backups made so far open with the present master key alone. Is a copy of it kept with them, and shall "
                "a new one be made?",
                "say --yes",
            )
        rotate_key_file(settings.vault_path, path, present)
    if as_json:
        print_json({"master_key": str(path)})
        return
    say(f"Master key      {path} (new)")
    say()
    say("Keep a copy of it apart from the data, and make a new backup: older ones open with the old key alone.")
    say("The old key is kept beside it (.old-1, .old-2 ...): destroy it together with such backups.")
    if present is not None:
        say(f"The variable {VARIABLE} holds the old key: take it out of the engine's environment.")
        if path != default_key_path(data_dir):
            say(f"Set {FILE_VARIABLE}={path} before you start the engine.")


@click.command(cls=Command)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@as_json
@pass_session
def backup(session: Session, file: Path, as_json: bool) -> None:
    """Write vault and journal to the new FILE, also while the engine runs.

    The master key is never in it: keep a copy of that elsewhere."""
    from ..store.archive import back_up

    settings = session.settings
    if settings.database_url:
        raise ConfigError(
            f"the journal is in the database of DATABASE_URL: back that up with its own tools, then copy "
            f"{settings.vault_path}"
        )
    made = back_up(settings.data_dir, file.expanduser().absolute(), Clock().wall_ms())
    if as_json:
        print_json({"file": str(file), "made": wall_text(made.made_wall_ms), "accounts": made.accounts, **made.sizes})
        return
    say(f"Backup  {file}: the vault with {made.accounts} accounts, and the journal")
    say("The master key is not in it, and without that it opens for nobody: keep a copy of the key apart from it.")


@click.command(cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
@pass_session
def restore(session: Session, file: Path, as_json: bool) -> None:
    """Put the backup FILE into an empty data directory.

    The engine then trades only when it is known which orders were sent since: `copytrade reconcile`."""
    from ..store.archive import restore as put_back
    from ..store.master_key import FILE_VARIABLE, VARIABLE, default_key_path, load_master_key

    settings = session.settings
    data_dir = settings.data_dir
    if settings.database_url:
        raise ConfigError("the journal is in the database of DATABASE_URL: restore it with that database's own tools")
    key = Plugins.discover().hook.copytrade_master_key(data_dir=str(data_dir))
    named = key is not None or os.environ.get(VARIABLE) or os.environ.get(FILE_VARIABLE)
    if named or default_key_path(data_dir).exists():
        key = load_master_key(os.environ, key, data_dir)
    made = put_back(data_dir, file.expanduser().absolute(), Clock().wall_ms(), key)
    if as_json:
        print_json({"data_dir": str(data_dir), "made": wall_text(made.made_wall_ms), "checked": key is not None})
        return
    say(f"Restored {data_dir} as it was at {local_time(wall_text(made.made_wall_ms))}: {made.accounts} accounts")
    if key is None:
        warn(
            f"there is no master key here, so the vault could not be checked: put it at {default_key_path(data_dir)}, "
            f"or set {FILE_VARIABLE}"
        )
    say("Next: copytrade engine. It asks the exchanges what was sent since then, and trades nothing before that is")
    say("known; copytrade reconcile shows it. Copying stays stopped until copytrade copy start.")


@click.command(cls=Command)
@click.option("--yes", is_flag=True, help="Do not ask.")
@who_option
@as_json
@pass_session
def reconcile(session: Session, yes: bool, by: str, as_json: bool) -> None:
    """Show which orders a restored journal lacks; once you have looked at them, let the engine trade again."""
    found = session.engine.get_restored()
    if found is None:
        if as_json:
            print_json(None)
        else:
            say("There is nothing to reconcile.")
        return
    if not as_json:
        _print_restored(found)
    if found.asking:
        raise Failure("the exchanges are still being asked; see again in a moment")
    if not yes and as_json:
        print_json({**restored_json(found), "reconciled": False})
        return
    if not yes:
        make_sure("Is everything here accounted for, and may the engine trade again?", "say --yes")
    found = session.engine.reconcile(by)
    if as_json:
        print_json({**restored_json(found), "reconciled": True})
    else:
        say(f"Reconciled by {by}. Look at the accounts, then: copytrade copy start")


def _print_restored(found: RestoredView) -> None:
    say(f"{bad('Halted')}  {found.reason}")
    if found.orders:
        columns = ("Time", "Account", "Exchange", "Side", "State", "Filled", "For", "Order")
        print_table(
            columns,
            [
                (
                    local_time(order.created),
                    order.account_name,
                    f"{order.exchange} {order.env}",
                    order.side.value,
                    order.status,
                    amount(order.filled_base, 8),
                    amount(order.filled_quote, 2),
                    order.exchange_order_id,
                )
                for order in found.orders
            ],
            right=("Filled", "For"),
            spare=("For", "Exchange"),
        )
    for name, why in found.not_asked.items():
        say(f"{bad('Not known')}  {name}: {why}")
