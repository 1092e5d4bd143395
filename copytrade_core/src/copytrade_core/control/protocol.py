"""What server and client of the local socket agree on: the methods, the errors, where the socket is.

JSON-RPC 2.0 over a WebSocket. The methods are those of `TraderApi`, read from its annotations once, so that a
method added there is callable here. ``subscribe`` asks for ``feed`` notifications until the connection ends.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import socket
import typing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import errors
from ..api import TraderApi
from ..codec import from_wire, to_wire
from ..errors import CopytradeError

ADDRESS_FILE = "engine.addr"
SOCKET_FILE = "engine.sock"
LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 108 on Linux and 104 on macOS
HAS_UNIX_SOCKETS = os.name == "posix" and hasattr(socket, "AF_UNIX")

# One closed book of 1,000 followers is about a megabyte.
LARGEST_ANSWER = 128 * 2**20
LARGEST_CALL = 2**20

# The library prints whole frames at DEBUG, and a frame may carry a new account's keys.
frame_log = logging.getLogger(f"{__name__}.frames")
frame_log.setLevel(logging.WARNING)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
OUR_ERROR = -32000


@dataclass(frozen=True, slots=True)
class Method:
    """One method of `TraderApi` as it crosses the socket."""

    name: str
    signature: inspect.Signature  # without self
    hints: dict[str, Any]

    def arguments(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return *params* as the method wants them.

        :raises TypeError: one is missing, unknown or of the wrong type; no value is in the message.
        """
        self.signature.bind(**params)
        return {name: self._argument(name, value) for name, value in params.items()}

    def _argument(self, name: str, value: Any) -> Any:
        wanted = self.hints[name]
        try:
            argument = from_wire(value, wanted)
            # The converter would turn 5 into "5": what does not read back unchanged was of another type.
            fits = to_wire(argument) == value
        except Exception:
            fits = False
        if not fits:
            raise TypeError(f"{name} must be {getattr(wanted, '__name__', None) or wanted}")
        return argument

    def params(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the arguments of a call, by name, as plain JSON values. :raises TypeError: they do not fit."""
        return {name: to_wire(value) for name, value in self.signature.bind(*args, **kwargs).arguments.items()}

    def result(self, value: Any) -> Any:
        wanted = self.hints["return"]
        return None if wanted is type(None) else from_wire(value, wanted)


def _method(name: str) -> Method:
    function = getattr(TraderApi, name)
    signature = inspect.signature(function)
    without_self = list(signature.parameters.values())[1:]
    return Method(name, signature.replace(parameters=without_self), typing.get_type_hints(function))


METHODS: dict[str, Method] = {
    name: _method(name) for name in sorted(TraderApi.__abstractmethods__ - {"subscribe", "close"})
}

_ERRORS: dict[str, type[CopytradeError]] = {
    name: each for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, CopytradeError)
}


def error_to_wire(error: CopytradeError) -> dict[str, Any]:
    """Return *error* as a JSON-RPC error object; its class is the nearest one that the client knows too."""
    known = next(each.__name__ for each in type(error).__mro__ if each.__name__ in _ERRORS)
    details = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float)}
    details.pop("message", None)
    data = {"field": "", **details, "kind": error.kind, "class": known}
    return {"code": OUR_ERROR, "message": error.message, "data": data}


def error_from_wire(wire: dict[str, Any]) -> CopytradeError:
    """Return the exception that `error_to_wire` described; a `CopytradeError` where its class is unknown."""
    data = wire.get("data") or {}
    known = _ERRORS.get(str(data.get("class")), CopytradeError)
    error = known.__new__(known, wire["message"])
    CopytradeError.__init__(error, wire["message"])
    # Not through known.__init__: every class has its own parameters, but all keep them under their names.
    vars(error).update({name: value for name, value in data.items() if name != "class"})
    return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the engine listens: a Unix socket, or a loopback port with a token. Its file is the engine's sign of life.

    The file's time of change is renewed while the engine lives and stays when it is gone, so that everybody can
    say since when.
    """

    pid: int
    socket: str = ""
    port: int = 0
    token: str = ""

    def write(self, data_dir: Path) -> None:
        """Replace the address file of *data_dir* (mode 0600)."""
        path = data_dir / ADDRESS_FILE
        fresh = path.with_name(f"{ADDRESS_FILE}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        with open(fresh, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(asdict(self), file)
        fresh.replace(path)

    @classmethod
    def read(cls, data_dir: Path) -> Address | None:
        """Return what the file says; ``None`` where no engine has ever listened here, or the file is unreadable."""
        try:
            return cls(**json.loads((data_dir / ADDRESS_FILE).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None
