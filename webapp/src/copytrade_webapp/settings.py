"""What an operator may set of the panel, read once from the environment and checked before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from copytrade_core.errors import ConfigError
from copytrade_core.settings import Settings

DEFAULT_BIND = "127.0.0.1:8080"
SHORTEST_SECRET = 32  # characters
_NUMBER_RE = re.compile(r"[0-9]{1,8}")


class AppMode(StrEnum):
    """Who gets in."""

    OPEN = "open"  # whoever has an access token
    DEVICE_WHITELIST = "device_whitelist"  # and, besides, a registered device


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSettings:
    """The settings of one panel."""

    data_dir: Path
    symbol: str = "BTC/USDT"
    mode: AppMode = AppMode.OPEN
    bind: str = DEFAULT_BIND  # host:port, or unix:/path
    # Where browsers find the panel (https://panel.example.org); empty: at the address it is bound to.
    public_url: str = ""
    # The proxy in front, whose X-Forwarded-* and client-certificate headers count; none: nobody's do.
    behind_proxy: bool = False
    tls_client_ca: Path | None = None
    jwt_secret: str = field(default="", repr=False)  # empty: made once and kept beside panel.db
    ws_heartbeat_sec: float = 30
    session_idle_sec: int = 12 * 3600
    session_absolute_sec: int = 30 * 86_400
    threads: int = 160
    most_sockets: int = 100  # of threads: the rest stays free for HTTP

    def __post_init__(self) -> None:
        if not 0 < self.most_sockets <= self.threads - 40:
            raise ConfigError(
                f"PANEL_THREADS is {self.threads} and PANEL_MOST_SOCKETS {self.most_sockets}: at least 40 threads must "
                "stay free for requests"
            )

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, data_dir: Path | None = None
    ) -> PanelSettings:
        """Return the settings that *environ* asks for. :raises ConfigError: a variable is wrong; it is named."""
        engine = Settings.from_environment(environ)
        mode = environ.get("APP_MODE") or AppMode.OPEN
        if mode not in tuple(AppMode):
            raise ConfigError(f"APP_MODE must be {' or '.join(AppMode)}, not {mode!r}")
        secret = environ.get("JWT_SECRET", "")
        if secret and len(secret) < SHORTEST_SECRET:
            raise ConfigError(f"JWT_SECRET is shorter than {SHORTEST_SECRET} characters")
        certificate = environ.get("TLS_CLIENT_CA", "")
        if certificate and not Path(certificate).is_file():
            raise ConfigError(f"TLS_CLIENT_CA names {certificate!r}, which is no file")
        public_url = _public_url(environ.get("PANEL_PUBLIC_URL", ""))
        bind = environ.get("PANEL_BIND") or DEFAULT_BIND
        check_bind(bind)
        if not public_url and bind.startswith(("unix:", "0.0.0.0:", "[::]:")):
            # It answers to its own name alone, and there it has none.
            raise ConfigError(
                f"PANEL_BIND is {bind}: say in PANEL_PUBLIC_URL under which address browsers find the panel"
            )
        behind_proxy = _switch(environ, "PANEL_BEHIND_PROXY")
        if certificate and not (behind_proxy and mode == AppMode.DEVICE_WHITELIST):
            # Whoever sets it must not believe that certificates are asked for when they are not.
            raise ConfigError(
                "TLS_CLIENT_CA needs APP_MODE=device_whitelist, and a proxy in front that checks the certificates: "
                "PANEL_BEHIND_PROXY=on (deploy/nginx.conf shows how)"
            )
        return cls(
            data_dir=data_dir if data_dir is not None else engine.data_dir,
            symbol=str(engine.symbol),
            mode=AppMode(mode),
            bind=bind,
            public_url=public_url,
            behind_proxy=behind_proxy,
            tls_client_ca=Path(certificate) if certificate else None,
            jwt_secret=secret,
            ws_heartbeat_sec=engine.ws_heartbeat_sec,
            session_idle_sec=_number(environ, "PANEL_SESSION_IDLE_SEC", 12 * 3600),
            session_absolute_sec=_number(environ, "PANEL_SESSION_SEC", 30 * 86_400),
            threads=_number(environ, "PANEL_THREADS", 160),
            most_sockets=_number(environ, "PANEL_MOST_SOCKETS", 100),
        )

    @property
    def database_path(self) -> Path:
        """Tokens, sessions, devices and the audit; nothing of it opens an exchange account."""
        return self.data_dir / "panel.db"

    @property
    def address_path(self) -> Path:
        """Where the panel that runs says where it is found; not there while none does."""
        return self.data_dir / "panel.addr"

    @property
    def base(self) -> str:
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2]

    @property
    def url(self) -> str:
        """Where browsers find the panel."""
        return self.public_url or f"http://{self.bind}"


def _public_url(given: str) -> str:
    """Return it as browsers write it in ``Host`` and ``Origin``."""
    url = given.rstrip("/").lower()
    if url and not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", url):
        raise ConfigError(f"PANEL_PUBLIC_URL must look like https://panel.example.org, not {given!r}")
    return url.removesuffix(":443" if url.startswith("https:") else ":80")


def check_bind(bind: str) -> None:
    """:raises ConfigError: *bind* is no address to listen on."""
    host, _, port = bind.rpartition(":")
    if bind.startswith("unix:/"):
        return
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"PANEL_BIND must be host:port or unix:/path, not {bind!r}")


def _switch(environ: Mapping[str, str], variable: str) -> bool:
    text = environ.get(variable, "").lower()
    if text not in ("", "on", "off"):
        raise ConfigError(f"{variable} must be on or off, not {text!r}")
    return text == "on"


def _number(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable) or str(default)
    if not _NUMBER_RE.fullmatch(text) or int(text) == 0:
        raise ConfigError(f"{variable} must be a whole number above 0, not {text!r}")
    return int(text)
