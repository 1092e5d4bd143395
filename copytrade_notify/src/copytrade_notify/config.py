"""Where notices go, read once from a private JSON file and checked before anything is sent.

Errors name the target and the field, never a value: addresses carry tokens.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from copytrade_core.errors import ConfigError
from copytrade_core.kinds import LANGUAGES

from .formats import FORMATS
from .messages import CATEGORIES

VARIABLE = "COPYTRADE_NOTIFY"
DEFAULT_EVENTS = ("alarm", "halt", "copy_failed")
NEEDED = {"telegram": ("chat_id",)}
TAKEN = {"dingtalk": ("secret",), "feishu": ("secret",), "telegram": ("chat_id",)}

# Matched narrowly: what two parsers read differently could send a token to a stranger.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~:/?&=%+,@-]*)?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One robot or webhook, and what it wants to hear."""

    name: str
    format: str
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    chat_id: str = ""
    lang: str = "zh"
    events: frozenset[str] = frozenset(DEFAULT_EVENTS)
    installation: str = ""  # put in front of each message, to tell several engines apart

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be logged: the address, and every part of it that may be a token."""
        parts = urlsplit(self.url)
        tokens = [piece.removeprefix("bot") for piece in parts.path.split("/") if len(piece) >= 16]
        tokens += [value for _, value in parse_qsl(parts.query)]
        return tuple(each for each in (self.url, self.secret, *tokens) if each)


def read_targets(path: Path) -> tuple[Target, ...]:
    """Return the targets that the file at *path* names.

    :raises ConfigError: it cannot be read, others can read it, or something in it is wrong.
    """
    given = _read(path)
    if not isinstance(given, dict) or not isinstance(given.get("targets"), list) or not given["targets"]:
        raise ConfigError(f'{VARIABLE}: {path} must hold {{"targets": [{{"format": ..., "url": ...}}, ...]}}')
    shared = {name: value for name, value in given.items() if name != "targets"}
    if unknown := sorted(set(shared) - {"lang", "events", "installation"}):
        raise ConfigError(f"{VARIABLE}: there is no setting {unknown[0]!r}")
    targets: list[Target] = []
    for number, each in enumerate(given["targets"], 1):
        if not isinstance(each, dict):
            raise ConfigError(f"{VARIABLE}: target {number} must be an object")
        targets.append(_target(number, {**shared, **each}))
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise ConfigError(f"{VARIABLE}: two targets have the same name")
    return tuple(targets)


def _read(path: Path) -> Any:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is refused, not waited for
        with os.fdopen(descriptor, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077:
                raise ConfigError(f"{VARIABLE}: {path} holds tokens and must be for its owner alone: chmod 600 {path}")
            return json.load(file, parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"{VARIABLE} names {str(path)!r}, which cannot be read: {error.strerror}") from None
    except ValueError:  # of text or JSON; its message may quote the file
        raise ConfigError(f"{VARIABLE} names {str(path)!r}, which is not JSON") from None


def _target(number: int, given: Mapping[str, Any]) -> Target:
    format_ = given.get("format")
    name = given.get("name", f"{format_}-{number}")
    where = f"{VARIABLE}: target {number}"
    if not isinstance(format_, str) or format_ not in FORMATS:
        raise ConfigError(f"{where}: format must be one of {', '.join(FORMATS)}")
    own = {"name", "format", "url", "lang", "events", "installation", *TAKEN.get(format_, ())}
    for key, value in given.items():
        if key not in own:
            raise ConfigError(f"{where}: {format_} takes no {key!r}")
        if key != "events" and not (isinstance(value, str) and value.isprintable()):
            raise ConfigError(f"{where}: {key} must be text in quotes")
    for key in ("url", *NEEDED.get(format_, ())):
        if not given.get(key):
            raise ConfigError(f"{where}: {key} is missing")
    if not _is_safe(given["url"]):
        raise ConfigError(f"{where}: url must be an https address (http only on this machine)")
    if given.get("lang", "zh") not in LANGUAGES:
        raise ConfigError(f"{where}: lang must be one of {', '.join(LANGUAGES)}")
    events = given.get("events", DEFAULT_EVENTS)
    if not isinstance(events, list | tuple) or not events or any(each not in CATEGORIES for each in events):
        raise ConfigError(f"{where}: events must be a list of {', '.join(CATEGORIES)}")
    return Target(**{**given, "name": name, "events": frozenset(events)})


def _is_safe(url: str) -> bool:
    match = _URL.fullmatch(url)
    if match is None:
        return False
    if match["scheme"] == "https" or match["host"] in ("localhost", "[::1]"):
        return True
    try:
        return IPv4Address(match["host"]).is_loopback
    except AddressValueError:
        return False
