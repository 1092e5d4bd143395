"""The panel's own secret: from it follow the keys that sign what browsers hold. No key of an exchange is near it."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from copytrade_core.errors import ConfigError

KEY_BYTES = 32


class PanelSecret:
    """Derives one key a purpose, so that what one signs is no good for another."""

    def __init__(self, given: str, path: Path) -> None:
        """*given* is JWT_SECRET; where it is empty the secret in the file *path* counts, made on first use.

        :raises ConfigError: the file cannot be made or read.
        """
        self._root = given.encode() if given else _kept(path)

    def key(self, purpose: str) -> bytes:
        """Return the 32 bytes for *purpose*."""
        derive = HKDF(
            algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=f"copytrade-panel/{purpose}".encode()
        )
        return derive.derive(self._root)


def _kept(path: Path) -> bytes:
    try:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)))
                file.flush()
                os.fsync(file.fileno())
        found = base64.b64decode(path.read_bytes(), validate=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}") from None
    if len(found) != KEY_BYTES:
        raise ConfigError(f"{path} does not hold {KEY_BYTES} bytes; remove it, and everybody logs in anew")
    return found
