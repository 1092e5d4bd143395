"""What all commands share: the data directory, the engine behind it, and where its own options come from."""

from __future__ import annotations

import getpass
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from ..control.client import RemoteCopyTrader
from ..settings import Settings
from .output import printable


class Session:
    """One run of the command line."""

    def __init__(self) -> None:
        self.data_dir: Path | None = None  # None: what the settings say
        self.debug = False

    @cached_property
    def settings(self) -> Settings:
        settings = Settings.from_environment()
        return settings if self.data_dir is None else replace(settings, data_dir=self.data_dir)

    @cached_property
    def engine(self) -> RemoteCopyTrader:
        """The engine, connected when first asked for. :raises EngineNotRunning: there is none."""
        return RemoteCopyTrader.connect(self.settings.data_dir)

    @property
    def base(self) -> str:
        return self.settings.symbol.base

    @property
    def quote(self) -> str:
        return self.settings.symbol.quote

    def close(self) -> None:
        if "engine" in vars(self):
            self.engine.close()


def _remember_data_dir(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Session).data_dir = value


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).debug = True


def shared_options(*, hidden: bool) -> list[click.Parameter]:
    """The options that stand before or after the command, whichever comes to the fingers first."""
    return [
        click.Option(
            ["--data-dir"],
            type=click.Path(file_okay=False, path_type=Path),
            # Only in front: behind a command it would overrule what was said in front of it.
            envvar=None if hidden else "DATA_DIR",
            help="Where vault and journal lie (default: DATA_DIR, else ./data).",
            expose_value=False,
            callback=_remember_data_dir,
            hidden=hidden,
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            help="Show the traceback of an unexpected error.",
            expose_value=False,
            callback=_remember_debug,
            hidden=hidden,
        ),
    ]


class Command(click.Command):
    """A command that also takes the shared options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared_options(hidden=True)


class Group(click.Group):
    command_class = Command


pass_session = click.make_pass_decorator(Session)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Failure(click.ClickException):
    """One red line on standard error; exit code 1."""

    def show(self, file: Any = None) -> None:
        click.secho(f"Error: {printable(self.format_message())}", err=True, fg="red")


class InputError(Failure):
    """What was typed or read from a file cannot be right; exit code 2."""

    exit_code = 2


def ask(text: str, instead: str, **options: Any) -> Any:
    """Return what is typed at a prompt. :raises InputError: nobody can be asked here; *instead* says what to do."""
    with _somebody_there(instead):
        return click.prompt(text, **options)


def confirm(text: str, instead: str) -> bool:
    """Return whether the answer is yes. :raises InputError: nobody can be asked here; *instead* says what to do."""
    with _somebody_there(instead):
        return click.confirm(text, err=True)


def make_sure(text: str, instead: str) -> None:
    """`confirm`, and end the command where the answer is no."""
    if not confirm(text, instead):
        raise click.Abort


@contextmanager
def _somebody_there(instead: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # Without a terminal a key would be echoed, and read from wherever the input comes from.
            warnings.simplefilter("error", getpass.GetPassWarning)
            yield
    except getpass.GetPassWarning:
        raise InputError(f"there is no terminal to type it in: {instead}") from None
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise InputError(f"there is nobody to ask, the input has ended: {instead}") from None
