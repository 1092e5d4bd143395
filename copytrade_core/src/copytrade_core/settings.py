"""What an operator may set, read once from the environment and checked before anything starts.

Every field is named like its variable in lower case (``balance_poll_sec`` is ``BALANCE_POLL_SEC``), except
``endpoints``, which comes from the JSON file that ``COPYTRADE_ENDPOINTS`` names. An empty variable counts as unset.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .model import Environment, Symbol

Endpoints = Mapping[str, Mapping[str, Mapping[str, str]]]

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_LONGEST_SEC = 86_400
_MOST_DAYS = 36_500
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
# Matched whole and narrowly: parsers disagree on backslashes, user names and odd spellings of addresses, and a
# URL that one of them reads as loopback and another as a stranger's host would hand him the keys.
_LOOPBACK_URL = re.compile(
    r"(http|ws)://(localhost|\[::1\]|(?P<ipv4>127(\.[0-9]{1,3}){3}))(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~/-]*)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one engine. A value that exists is valid: construction raises `ConfigError` otherwise."""

    data_dir: Path = Path("data")
    symbol: Symbol = field(default_factory=lambda: Symbol("BTC", "USDT"))
    balance_poll_sec: float = 2
    max_copy_age_sec: float = 10
    max_copy_age_backfill_sec: float = 60  # for leader orders that were found in a gap
    max_copy_age_sell_sec: float = 0  # 0 when constructing: as max_copy_age_sec
    max_balance_age_sec: float = 60
    unknown_deadline_sec: float = 120
    ws_heartbeat_sec: float = 30
    journal_frames_days: int = 30  # the leader's raw frames; 0 keeps them for ever
    journal_feed_days: int = 365  # the feed; 0 keeps it for ever
    check_minimums: bool = False
    log_level: str = "INFO"
    # None: SQLite, `journal_path`. Not shown: a database URL carries its password.
    database_url: str | None = field(default=None, repr=False)
    endpoints: Endpoints = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_dir", Path(self.data_dir).expanduser().absolute())
        if self.max_copy_age_sell_sec == 0:
            object.__setattr__(self, "max_copy_age_sell_sec", self.max_copy_age_sec)
        for name in _SECONDS:
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= _LONGEST_SEC):
                raise _not_seconds(name.upper(), value)
        for name in _DAYS:
            if not 0 <= getattr(self, name) <= _MOST_DAYS:
                raise _not_days(name.upper(), getattr(self, name))
        if self.log_level not in _LOG_LEVELS:
            raise ConfigError(f"LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}, not {self.log_level!r}")
        _check_endpoints(self.endpoints)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings that *environ* asks for, defaults elsewhere.

        :raises ConfigError: a variable is wrong; one sentence names it and (but for ``DATABASE_URL``) its value.
        """
        given: dict[str, Any] = {}
        for name in _SECONDS:
            if text := environ.get(name.upper()):
                given[name] = _seconds(name.upper(), text)
        for name in _DAYS:
            if text := environ.get(name.upper()):
                given[name] = _days(name.upper(), text)
        if text := environ.get("DATA_DIR"):
            given["data_dir"] = Path(text)
        if text := environ.get("SYMBOL"):
            given["symbol"] = _symbol(text)
        if text := environ.get("CHECK_MINIMUMS"):
            if text.lower() not in _SWITCH:
                raise ConfigError(f"CHECK_MINIMUMS must be on or off, not {text!r}")
            given["check_minimums"] = _SWITCH[text.lower()]
        if text := environ.get("LOG_LEVEL"):
            given["log_level"] = text.upper()
        if text := environ.get("DATABASE_URL"):
            given["database_url"] = _database_url(text)
        if text := environ.get("COPYTRADE_ENDPOINTS"):
            given["endpoints"] = _read_endpoints(Path(text).expanduser())
        return cls(**given)

    @property
    def vault_path(self) -> Path:
        return self.data_dir / "vault.json"

    @property
    def journal_path(self) -> Path:
        """Where the journal lies as long as `database_url` does not say otherwise."""
        return self.data_dir / "journal.db"

    def endpoints_for(self, exchange: str, environment: Environment) -> dict[str, str]:
        """Return the loopback addresses that replace the exchange's own, by name; empty where none is set."""
        return dict(self.endpoints.get(exchange, {}).get(environment, {}))


_SECONDS = tuple(each.name for each in fields(Settings) if each.name.endswith("_sec"))
_DAYS = tuple(each.name for each in fields(Settings) if each.name.endswith("_days"))


def _not_seconds(variable: str, value: object) -> ConfigError:
    return ConfigError(f"{variable} must be a number of seconds above 0 and up to {_LONGEST_SEC}, not {value!r}")


def _seconds(variable: str, text: str) -> float:
    # float() alone would also take "1e3", "nan", "1_0", blanks and the digits of other scripts.
    value = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < value <= _LONGEST_SEC:
        raise _not_seconds(variable, text)
    return value


def _not_days(variable: str, value: object) -> ConfigError:
    return ConfigError(f"{variable} must be a whole number of days up to {_MOST_DAYS} (0: for ever), not {value!r}")


def _days(variable: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > _MOST_DAYS:
        raise _not_days(variable, text)
    return int(text)


def _symbol(text: str) -> Symbol:
    try:
        if not text.isascii():
            raise ValueError(f"a symbol is written like BTC/USDT, not {text!r}")
        return Symbol.parse(text)
    except ValueError as error:
        raise ConfigError(f"SYMBOL is wrong: {error}") from None


def _database_url(text: str) -> str:
    if not re.match(r"[a-z][a-z0-9+]*://", text):
        raise ConfigError("DATABASE_URL must look like postgresql+psycopg://user@host/database; its value is not shown")
    return text


def _read_endpoints(path: Path) -> Endpoints:
    try:
        endpoints: Endpoints = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"COPYTRADE_ENDPOINTS names {str(path)!r}, which cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"COPYTRADE_ENDPOINTS names {str(path)!r}, which is not JSON: {error}") from None
    return endpoints


def _check_endpoints(endpoints: object) -> None:
    shape = 'COPYTRADE_ENDPOINTS must hold {"exchange": {"environment": {"name": "http://127.0.0.1:port"}}}'
    if not isinstance(endpoints, Mapping):
        raise ConfigError(f"{shape}, not {endpoints!r}")
    for exchange, environments in endpoints.items():
        if not isinstance(environments, Mapping):
            raise ConfigError(f"{shape}; under {exchange!r} it holds {environments!r}")
        for environment, addresses in environments.items():
            if environment not in tuple(Environment):
                known = ", ".join(Environment)
                raise ConfigError(
                    f"COPYTRADE_ENDPOINTS: {exchange!r} has no environment {environment!r}; choose one of: {known}"
                )
            if not isinstance(addresses, Mapping):
                raise ConfigError(f"{shape}; under {exchange!r}, {environment!r} it holds {addresses!r}")
            for name, url in addresses.items():
                if not _is_loopback(url):
                    raise ConfigError(
                        f"COPYTRADE_ENDPOINTS: {exchange}.{environment}.{name} must be an http or ws address on this "
                        f"machine (127.0.0.1, ::1 or localhost), not {url!r}"
                    )


def _is_loopback(url: object) -> bool:
    match = _LOOPBACK_URL.fullmatch(url) if isinstance(url, str) else None
    if match is None or not 0 < int(match["port"] or 80) < 65_536:
        return False
    try:
        return match["ipv4"] is None or IPv4Address(match["ipv4"]).is_loopback
    except AddressValueError:
        return False
