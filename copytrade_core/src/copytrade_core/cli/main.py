"""The command ``copytrade``: its own commands, those of other packages, and how errors end it."""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from ..errors import Conflict, CopytradeError, EngineNotRunning, InvalidRequest, UnknownExchange
from .acceptance import acceptance
from .accounts import accounts
from .copying import copy
from .doctor import doctor, plugins
from .engine import engine, init
from .export import export
from .history import copies, events, status
from .keeping import backup, reconcile, restore, rotate_key
from .leader import leader
from .session import Failure, InputError, Session, shared_options
from .simulate import simulate

GROUP = "copytrade.commands"
# Loaded when asked for, like those of other packages: it brings the whole engine and the simulators along.
_OWN = {name: EntryPoint(name, f"copytrade_core.cli.{name}:{name}", GROUP) for name in ("demo", "drill")}


class Copytrade(click.Group):
    """Adds the commands of other packages, loaded one by one when asked for, and turns errors into sentences."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *_entry_points()})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None or (entry_point := _entry_points().get(name)) is None:
            return own
        try:
            command = entry_point.load()
            if not isinstance(command, click.Command):
                raise TypeError(f"{entry_point.value} is no click command")
        except Exception as error:  # whatever a stranger's module does at import must not stop the others
            return _broken(entry_point, error)
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        finally:
            _flush_quietly()

    def invoke(self, context: click.Context) -> Any:
        session = context.ensure_object(Session)
        context.call_on_close(session.close)
        try:
            return super().invoke(context)
        except CopytradeError as error:
            if session.debug:
                raise
            # A conflict is of the present state: what was asked may be right a moment later.
            asked_wrongly = isinstance(error, (UnknownExchange, InvalidRequest)) and not isinstance(error, Conflict)
            failure = InputError if asked_wrongly else Failure
            raise failure(_sentence(error, session)) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            # A closed pipe (| head) is click's to end quietly.
            if session.debug or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            # Without its text: that was not written for people, and nobody checked it for secrets.
            raise Failure(
                f"something unexpected went wrong ({type(error).__name__}); run it with --debug for the traceback"
            ) from None


def _flush_quietly() -> None:
    """Write what is left now: the interpreter would complain on its way out when the reader (| head) has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _entry_points() -> dict[str, EntryPoint]:
    others = {each.name: each for each in sorted(entry_points(group=GROUP), key=lambda entry: entry.value)}
    return {**others, **_OWN}


def _broken(entry_point: EntryPoint, error: Exception) -> click.Command:
    owner = f" of {entry_point.dist.name}" if entry_point.dist else ""
    reason = f"{type(error).__name__}: {error}"

    @click.command(
        entry_point.name,
        short_help=f"(does not load: {reason})",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1)
    def broken(arguments: tuple[str, ...]) -> None:
        raise Failure(f"the command {entry_point.name!r}{owner} does not load: {reason}")

    return broken


def _sentence(error: CopytradeError, session: Session) -> str:
    if isinstance(error, EngineNotRunning):
        if not session.settings.vault_path.exists():
            return f"{error.message}; make a new installation with `copytrade init`, or name another with --data-dir"
        return f"{error.message}; start it with `copytrade engine`"
    return error.message


@click.group(
    cls=Copytrade,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A new installation: copytrade init, then copytrade up, and the rest in the browser (by copytrade-webapp). "
    "Without it: copytrade engine; beside it copytrade leader set, copytrade accounts add, copytrade copy start.",
)
@click.version_option(package_name="copytrade-core", prog_name="copytrade")
def main() -> None:
    """Copy a leader's BTC/USDT market orders to follower accounts."""


main.params += shared_options(hidden=False)
for _command in (
    acceptance,
    accounts,
    backup,
    copies,
    copy,
    doctor,
    engine,
    events,
    export,
    init,
    leader,
    plugins,
    reconcile,
    restore,
    rotate_key,
    simulate,
    status,
):
    main.add_command(_command)

if __name__ == "__main__":
    main()
