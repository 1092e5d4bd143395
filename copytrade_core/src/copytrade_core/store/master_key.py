"""Where the 32-byte master key comes from, and the keys that are derived from it.

The vault holds keys that can trade other people's money; whoever has both vault and master key has those. So the
master key lies apart from the data, is never invented where data exists, and is refused where it was plainly
not drawn at random.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import os
import secrets
import stat
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import MasterKeyError

KEY_BYTES = 32
VARIABLE = "COPYTRADE_MASTER_KEY"
FILE_VARIABLE = "COPYTRADE_MASTER_KEY_FILE"

_MAKE_ONE = "make one with `copytrade init`, or with `openssl rand -base64 32`"


def load_master_key(
    environ: MutableMapping[str, str], hook_result: bytes | None, data_dir: Path | str | None = None
) -> bytes:
    """Return the master key: the hook's, else the variable's, else the named file's, else the default file's.

    ``COPYTRADE_MASTER_KEY`` is removed from *environ* whatever happens, so that no child process inherits it. (The
    kernel still shows a process's first environment to its own user: a file is the better place.)

    :param hook_result: what `copytrade_master_key` answered; ``None`` where no plug-in did.
    :param data_dir: whose `default_key_path` is tried last; ``None`` leaves that out.
    :raises MasterKeyError: there is none, or it must not be used; the sentence says what to do.
    """
    text = environ.pop(VARIABLE, None)
    if hook_result is not None:
        return check_master_key(hook_result, "the copytrade_master_key hook")
    if text:
        return _decode(text.encode("utf-8", "surrogateescape"), VARIABLE)
    if path := environ.get(FILE_VARIABLE):
        return read_key_file(Path(path).expanduser(), environ)
    looked = ""
    if data_dir is not None:
        default = default_key_path(data_dir)
        if _lies_there(default):
            return read_key_file(default, environ)
        looked = f" (nothing at {default})"
    raise MasterKeyError(
        f"there is no master key{looked}: set {FILE_VARIABLE} to the file that holds it, or {VARIABLE} to its base64 "
        f"text; for a new installation {_MAKE_ONE}"
    )


def default_key_path(data_dir: Path | str) -> Path:
    """Return where `copytrade init` puts the key of *data_dir*: in the user's configuration, outside the data.

    :raises MasterKeyError: there is no such place outside *data_dir*.
    """
    data_dir = Path(data_dir).expanduser().resolve()
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    try:
        path = Path.home() / ".config" / "copytrade" / f"{name}.key"
    except RuntimeError:
        raise MasterKeyError(f"this user has no home directory: set {FILE_VARIABLE}") from None
    if path.is_relative_to(data_dir):
        raise MasterKeyError(f"the master key must lie outside {data_dir}: set {FILE_VARIABLE} to a place elsewhere")
    return path


def create_master_key(path: Path) -> bytes:
    """Write a new random key to *path* (mode 0600, its new directory 0700), durably, and return it.

    :raises MasterKeyError: something is there already (it is left as it is), or the file cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(key) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(temporary)  # unlike a rename, refuses where something is
        finally:
            temporary.unlink()
        sync_directory(path.parent)
    except FileExistsError:
        raise MasterKeyError(f"{path} is there already and is never overwritten; use it, or choose another") from None
    except OSError as error:
        raise MasterKeyError(f"the master key cannot be written to {path}: {error.strerror}") from None
    return key


def read_key_file(path: Path, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the key in *path*: base64 text, readable by its owner alone.

    systemd shows the group bits of its access list on files in ``$CREDENTIALS_DIRECTORY``; that directory is
    private to the service, so they are allowed there.

    :raises MasterKeyError: it cannot be read, others can read it, or it holds no usable key.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(1024)
    except OSError as error:
        raise MasterKeyError(f"the master key file {path} cannot be read: {error.strerror}") from None
    given_by_systemd = environ.get("CREDENTIALS_DIRECTORY") == str(path.parent)
    if stat.S_IMODE(status.st_mode) & (0o007 if given_by_systemd else 0o077):
        raise MasterKeyError(f"the master key file {path} is open to other users; run: chmod 600 {path}")
    return _decode(text, str(path))


def check_master_key(key: bytes, source: str) -> bytes:
    """Return *key* if it may be used. :raises MasterKeyError: its length is wrong or it is not random."""
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        found = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise MasterKeyError(f"the master key from {source} must be {KEY_BYTES} bytes, not {found}; {_MAKE_ONE}")
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    # Chance makes a random key fail one of these less than once in 10**13 draws.
    if len(steps) == 1 or len(set(key)) < 10 or all(0x20 <= byte < 0x7F for byte in key):
        raise MasterKeyError(f"the master key from {source} is a sample or typed text, not random; {_MAKE_ONE}")
    return key


def derive(master: bytes, label: str) -> bytes:
    """Return the 32-byte key for one purpose (HKDF-SHA256, RFC 5869); keys of two labels tell nothing of each other."""
    return HKDF(algorithm=SHA256(), length=32, salt=b"copytrade", info=label.encode()).derive(master)


def sync_directory(path: Path) -> None:
    """Make names made or replaced in *path* survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lies_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # something may be there that we may not see: reading it will say why
        return True
    return True


def _decode(text: bytes, source: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise MasterKeyError(
            f"the master key from {source} is not base64; it is the text of {KEY_BYTES} random bytes: {_MAKE_ONE}"
        ) from None
    return check_master_key(key, source)
