"""Logs without secrets: a filter for handlers, and the one line format.

The first line of defence is elsewhere (exceptions are wrapped without URL or body). This is the last: it knows
the secrets that were loaded and the shapes that secrets have, and cleans message, arguments and tracebacks.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
SHORTEST = 6  # shorter secrets would blot out ordinary words; the named patterns still catch them

_NAMES = (
    r"x-mbx-apikey|access-(?:key|sign|passphrase)|(?:api|secret|access|private)[-_ ]?key|api[-_]?secret|apikey|"
    r"signature|sign|secret|pass(?:phrase|word)|authorization|listen[-_]?key|token|cookie"
)
_NAMED = re.compile(
    rf"""(?P<name>(?<![a-z0-9])(?:{_NAMES})(?:\\?["'])?\s*(?:[=:]|(?<=["'])\s*,)\s*)"""
    r"""(?!\[redacted)(?P<value>b?\\?(?P<quote>["']).*?(?P=quote)|(?:(?:bearer|basic)\s+)?[^\s"'&,;)\]}\\]+)""",
    re.IGNORECASE,
)
_RUN = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_QUIET = ("urllib3", "requests", "websocket", "websockets", "asyncio")

# Everything that could start a new line, move the cursor or turn the writing direction in a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROLS |= {
    code: f"\\u{code:04x}" for code in (*range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
_CONTROLS |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_TRACEBACK_CONTROLS = {code: text for code, text in _CONTROLS.items() if code not in (ord("\n"), ord("\t"))}


class Redactor(logging.Filter):
    """Attach to handlers, not to loggers: a logger's filter does not see what its children log."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._secrets: tuple[str, ...] = ()

    def register(self, *secrets: str) -> None:
        """Blot out *secrets* from now on, also URL-quoted, JSON-escaped, and line by line where there are lines."""
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        with self._lock:
            if forms.issubset(self._secrets):
                return
            # Longest first: where one secret contains another, nothing of the longer may remain.
            self._secrets = tuple(sorted(forms.union(self._secrets), key=len, reverse=True))

    def clean(self, text: str) -> str:
        """Return *text* without registered secrets and without what looks like one."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        text = _NAMED.sub(rf"\g<name>{REDACTED}", text)
        return _RUN.sub(_clean_run, text)

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:  # a wrong format string must neither lose the line nor print the arguments elsewhere
            message = f"{record.msg!s} {record.args!r}"
        record.msg, record.args = self.clean(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.clean(record.exc_text)
        record.exc_info = None  # a later handler would print the exception anew
        if record.stack_info:
            record.stack_info = self.clean(record.stack_info)
        return True


redactor = Redactor()  # the process's one: the vault registers what it decrypts


class LineFormatter(logging.Formatter):
    """``2026-11-22T13:05:07.123Z WARNING copytrade_core.engine [thread] message``: one line, UTC, controls escaped.

    A traceback follows on lines of its own, indented, so that none of them can pass for an entry.
    """

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = f"{time} {record.levelname} {record.name} [{record.threadName}] {record.getMessage()}"
        lines = [head.translate(_CONTROLS)]
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        for more in (record.exc_text, record.stack_info):
            if more:
                lines += [f"    {line}" for line in more.translate(_TRACEBACK_CONTROLS).split("\n")]
        return "\n".join(lines)


def install_logging(level: str = "INFO", stream: IO[str] | None = None, file: Path | None = None) -> Redactor:
    """Send all loggers to *stream* (default: standard error) and, if given, to *file*; return the process's redactor.

    May be called again: the handlers of the call before are closed. Handlers that others put on the root logger
    stay and are given the redactor. Exceptions that end a thread or the program are logged, not printed.

    :param file: written with mode 0600, kept to 5 older files of 10 MB each.
    """
    root = logging.getLogger()
    ours: list[logging.Handler] = [_StreamHandler(stream or sys.stderr)]
    if file is not None:
        ours.append(_FileHandler(file, maxBytes=10_000_000, backupCount=5, encoding="utf-8"))
    for handler in root.handlers[:]:
        if isinstance(handler, (_StreamHandler, _FileHandler)):
            root.removeHandler(handler)
            handler.close()
    for handler in ours:
        handler.setFormatter(LineFormatter())
        root.addHandler(handler)
    for handler in root.handlers:
        handler.addFilter(redactor)  # adding it twice is adding it once
    root.setLevel(level)
    for name in _QUIET:  # at DEBUG they print requests, headers and frames
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread_death
    return redactor


class _StreamHandler(logging.StreamHandler[Any]):
    pass


class _FileHandler(RotatingFileHandler):
    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=_open_private)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).critical("the program ended with %s", kind.__name__, exc_info=(kind, error, traceback))


def _log_thread_death(death: threading.ExceptHookArgs) -> None:
    if issubclass(death.exc_type, SystemExit):
        return
    name = death.thread.name if death.thread else "unknown"
    error = death.exc_value or death.exc_type()
    logging.getLogger(__name__).critical(
        "the thread %s died of %s", name, death.exc_type.__name__, exc_info=(death.exc_type, error, death.exc_traceback)
    )


def _forms(secret: str) -> Iterable[str]:
    for text in (secret, *(line.strip() for line in secret.splitlines())):
        if not text.startswith("-----"):  # PEM armour is no secret
            yield from (text, quote(text, safe=""), quote_plus(text), json.dumps(text)[1:-1], repr(text)[1:-1])


def _clean_run(match: re.Match[str]) -> str:
    run = match[0]
    text = _HEX.sub(REDACTED, run)
    if text != run:
        return text
    # Base64 has slashes as paths have; a path's parts are short, or lack one of digit, upper and lower case.
    for part in run.split("/"):
        classes = [any(map(test, part)) for test in (str.isdigit, str.isupper, str.islower)]
        if (len(part) >= 20 and all(classes)) or (len(part) >= 40 and classes[0] and any(classes[1:])):
            return REDACTED
    return run
