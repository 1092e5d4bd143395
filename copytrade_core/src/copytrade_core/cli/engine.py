"""``copytrade init`` and ``copytrade engine``."""

from __future__ import annotations

import os
import signal
import threading
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError, CopytradeError, VaultError
from ..plugins import Plugins
from .output import print_json, say
from .session import Command, Session, as_json, pass_session


@click.command(cls=Command)
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), help="Where to put the master key.")
@as_json
@pass_session
def init(session: Session, key_file: Path | None, as_json: bool) -> None:
    """Make a data directory, a master key and a vault.

    The master key is put outside of the data directory. Nothing is ever overwritten."""
    from ..store.master_key import FILE_VARIABLE, VARIABLE, create_master_key, default_key_path, load_master_key
    from ..store.vault import Vault

    settings = session.settings
    data_dir, vault = settings.data_dir, settings.vault_path
    for present in (vault, settings.journal_path):
        if present.exists() or present.is_symlink():
            raise VaultError(f"{present} is there already; nothing was changed")
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"DATA_DIR {str(data_dir)!r} cannot be made: {error.strerror}") from None

    plugins = Plugins.discover()
    from_plugin = plugins.hook.copytrade_master_key(data_dir=str(data_dir))
    default = default_key_path(data_dir) if key_file is None else key_file.expanduser().absolute()
    if default.is_relative_to(data_dir):
        raise ConfigError(f"the master key must lie outside {data_dir}, so that a copy of the data opens nothing")
    if from_plugin is not None:
        where = "a plug-in"
    elif os.environ.get(VARIABLE):
        where = f"the variable {VARIABLE}"
    elif os.environ.get(FILE_VARIABLE):
        where = os.environ[FILE_VARIABLE]
    else:
        where = str(default)
        if key_file is not None or not default.exists():
            create_master_key(default)
        os.environ[FILE_VARIABLE] = where
    Vault.create(vault, load_master_key(os.environ, from_plugin, data_dir))
    noted = _others_make_ready(plugins, data_dir)

    if as_json:
        print_json({"data_dir": str(data_dir), "vault": str(vault), "master_key": where, **noted})
        return
    say(f"Data directory  {data_dir}")
    say(f"Vault           {vault}")
    say(f"Master key      {where}")
    for name, text in noted.items():
        say(f"{name.replace('_', ' ').capitalize():<16}{text}")
    say()
    if noted:
        names = " and ".join(name.replace("_", " ") for name in noted)
        say(f"Note down the {names} now: they are not shown again.")
    say("Keep a copy of the master key apart from the data: without it the vault cannot be opened.")
    if where != str(default_key_path(data_dir)) and where == str(default):
        say(f"Set {FILE_VARIABLE}={where} before you start the engine.")
    if any(each.name == "up" for each in entry_points(group="copytrade.commands")):
        say("Next: copytrade up; open the link that it prints, and go on in the browser.")
        say("Without a browser: copytrade engine; then, beside it, copytrade leader set and copytrade accounts add.")
    else:
        say("Next: copytrade engine; then, beside it, copytrade leader set and copytrade accounts add.")


def _others_make_ready(plugins: Plugins, data_dir: Path) -> dict[str, str]:
    noted: dict[str, str] = {}
    for implementation in plugins.hook.copytrade_on_init.get_hookimpls():
        try:
            # Whoever needs no parameter takes none.
            answer: Any = implementation.function(*([str(data_dir)] if implementation.argnames else []))
            noted.update(answer)
        except CopytradeError as error:
            raise ConfigError(
                f"{data_dir} was made, but the plug-in {implementation.plugin_name} says: {error.message}"
            ) from None
    return noted


@click.command(cls=Command)
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), help="Also log to this file.")
@as_json
@pass_session
def engine(session: Session, log_file: Path | None, as_json: bool) -> None:
    """Run the engine until Ctrl-C or SIGTERM.

    Logs go to standard error."""
    from ..control.server import ControlServer
    from ..open_files import raise_limit
    from ..redaction import install_logging
    from ..trader import CopyTrader

    settings = session.settings
    install_logging(settings.log_level, file=log_file)
    stop = threading.Event()

    def ask_to_stop(number: int, _: Any) -> None:
        # Who asks twice does not want to wait; what was written is safe, and the rest is settled at the next start.
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    trader = CopyTrader.open(settings.data_dir, settings=settings)
    try:
        raise_limit(len(trader.list_accounts()))
        trader.start()
        server = ControlServer(trader, settings.data_dir)
        server.start()
        try:
            if as_json:
                print_json({"ready": True, "pid": os.getpid(), "socket": server.address}, indent=None)
            else:
                say(f"The engine is ready (process {os.getpid()}, {settings.data_dir}); Ctrl-C stops it.")
            stop.wait()
        finally:
            server.stop()
    finally:
        trader.close()  # which also ends the calls that the server was still answering
    server.join()
