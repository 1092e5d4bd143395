"""``copytrade panel``: the panel alone, beside an engine that runs elsewhere on this machine."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from gunicorn.app.base import BaseApplication

from copytrade_core.cli.output import print_json, say, warn
from copytrade_core.cli.session import Command, Session, as_json, pass_session
from copytrade_core.errors import ConfigError

from ..access.store import PanelStore
from ..settings import PanelSettings, check_bind


class PanelServer(BaseApplication):  # type: ignore[misc]
    """gunicorn with the panel's own settings, which also serve those who start gunicorn themselves."""

    def __init__(self, when_ready: Any) -> None:
        self._when_ready = when_ready
        super().__init__()

    def load_config(self) -> None:
        from .. import gunicorn_conf

        known = {name: value for name, value in vars(gunicorn_conf).items() if name in self.cfg.settings}
        for name, value in known.items():
            self.cfg.set(name, value)
        self.cfg.set("loglevel", "warning")
        leave_address = self.cfg.when_ready

        def when_ready(server: Any) -> None:
            leave_address(server)
            self._when_ready(server)

        self.cfg.set("when_ready", when_ready)

    def load(self) -> Any:
        from ..wsgi import app

        return app


@click.command(cls=Command)
@click.option("--bind", help="Where to listen: host:port or unix:/path (default: PANEL_BIND, else 127.0.0.1:8080).")
@click.option("--login-link", is_flag=True, help="Print a link that logs one browser in, once, within ten minutes.")
@as_json
@pass_session
def panel(session: Session, bind: str | None, login_link: bool, as_json: bool) -> None:
    """Serve the panel until Ctrl-C or SIGTERM.

    It asks the engine of the same data directory and says since when there is none; put nginx in front of it
    before anybody but this machine can reach it."""
    if bind is not None:
        check_bind(bind)
        os.environ["PANEL_BIND"] = bind
    os.environ["DATA_DIR"] = str(session.settings.data_dir)  # gunicorn's worker reads the environment
    settings = PanelSettings.from_environment()
    if not settings.data_dir.is_dir():
        raise ConfigError(f"{settings.data_dir} is not there; make a new installation with `copytrade init`")
    if not settings.behind_proxy and not settings.bind.startswith(("unix:", "127.", "localhost:", "[::1]:")):
        warn(
            f"the panel listens on {settings.bind} without TLS: whoever is on the way can read tokens and sessions. "
            "Listen on 127.0.0.1 and put nginx in front (deploy/README.md), or come by SSH (docs/windows.md)"
        )
    link = new_login_link(settings) if login_link else ""

    def when_ready(_: Any) -> None:
        if as_json:
            print_json({"ready": True, "pid": os.getpid(), "url": settings.url, "login": link}, indent=None)
        else:
            say(f"The panel is at {settings.url} (process {os.getpid()}); Ctrl-C stops it.")
            if link:
                say(f"Log in, once, within ten minutes: {link}")
        sys.stdout.flush()

    PanelServer(when_ready).run()


def new_login_link(settings: PanelSettings, url: str = "") -> str:
    """Return an address that logs one browser in; its code stands behind the #, which no browser sends to a server.

    :param url: where the panel is, if it was started with another address than *settings* have.
    """
    store = PanelStore(settings.database_path)
    try:
        return f"{url or settings.url}/login#code={store.add_login_code()}"
    finally:
        store.close()


def running_url(settings: PanelSettings) -> str:
    """Return where the panel of this data directory says that it is; empty where none runs."""
    try:
        return settings.address_path.read_text().strip()
    except OSError:
        return ""
