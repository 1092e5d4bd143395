"""Backups: vault and journal of one data directory in one file, and putting them back.

The vault's keys are encrypted in it as they are on the disk; the master key is never in it. A restored journal is
marked, because orders may have been sent since the backup was made: see `copying.reconcile`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..clock import wall_text
from ..errors import ConfigError, JournalError, VaultError
from .book import RESTORED
from .lock import LOCK_FILE, DataDirLock
from .master_key import sync_directory
from .schema import VERSION
from .vault import JOURNAL_FILE, Vault

FORMAT = "copytrade-backup"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
VAULT_FILE = "vault.json"
_STAGING = ".restore"
_SMALL = 2**20
_CHUNK = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup says of itself."""

    made_wall_ms: int
    accounts: int
    sizes: dict[str, int]


def back_up(data_dir: Path, target: Path, wall_ms: int) -> Backup:
    """Write vault and journal of *data_dir* to the new file *target* (mode 0600); an engine may run meanwhile.

    :raises ConfigError: something is at *target*, or it cannot be written.
    :raises VaultError, JournalError: one of them is not there or is damaged; no backup was made.
    """
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} is there already and is never overwritten")
    try:
        staging = Path(tempfile.mkdtemp(prefix=".copytrade-backup-", dir=target.parent))
    except OSError as error:
        raise ConfigError(f"the backup cannot be written to {target.parent}: {error.strerror}") from None
    try:
        # The journal first: so the vault is never older than what the journal knows of it.
        _copy_journal(data_dir / JOURNAL_FILE, staging / JOURNAL_FILE)
        accounts = _copy_vault(data_dir / VAULT_FILE, staging / VAULT_FILE)
        files = (staging / VAULT_FILE, staging / JOURNAL_FILE)
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "made_wall_ms": wall_ms,
            "made": wall_text(wall_ms),
            "accounts": accounts,
            "files": {file.name: {"sha256": _digest(file), "size": file.stat().st_size} for file in files},
        }
        packed = staging / "packed"
        with (
            _synced(_new_file(packed)) as out,
            tarfile.open(fileobj=out, mode="w:gz", compresslevel=3) as archive,
        ):
            text = json.dumps(manifest, indent=1).encode()
            archive.addfile(_member(MANIFEST, len(text), wall_ms), io.BytesIO(text))
            for file in files:
                with file.open("rb") as content:
                    archive.addfile(_member(file.name, file.stat().st_size, wall_ms), content)
        packed.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise ConfigError(f"the backup {target} cannot be written: {error.strerror or type(error).__name__}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _said_by(manifest)


def restore(data_dir: Path, source: Path, wall_ms: int, master_key: bytes | None) -> Backup:
    """Put the backup *source* into *data_dir*, which must be empty or not there yet.

    :param master_key: proves every byte of the vault; without it only the archive's own sums are compared.
    :raises ConfigError: *source* is no whole backup, or *data_dir* holds something. Nothing is in place then.
    :raises MasterKeyError, VaultError, JournalError: what is in it cannot be used. Nothing is in place then.
    """
    with _opened(source) as archive:
        manifest = _manifest(archive, source)
        made_here = not data_dir.exists()
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"DATA_DIR {str(data_dir)!r} cannot be made: {error.strerror}") from None
        try:
            with DataDirLock(data_dir):
                _unpack(archive, manifest, data_dir, source, wall_ms, master_key)
        except BaseException:
            if made_here:
                shutil.rmtree(data_dir, ignore_errors=True)
            raise
    return _said_by(manifest)


def _unpack(
    archive: tarfile.TarFile,
    manifest: dict[str, Any],
    data_dir: Path,
    source: Path,
    wall_ms: int,
    master_key: bytes | None,
) -> None:
    # What an earlier restore left when it was killed is ours to clear away.
    there = sorted(path.name for path in data_dir.iterdir() if path.name not in (LOCK_FILE, _STAGING))
    if there:
        raise ConfigError(
            f"{data_dir} is not empty ({', '.join(there[:4])}): a backup is never put over what is there; "
            "move it away, or name another directory with --data-dir"
        )
    staging = data_dir / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        data_dir.chmod(0o700)
        staging.mkdir(mode=0o700)
        for name, stated in manifest["files"].items():
            content = archive.extractfile(name)
            assert content is not None
            with content, _synced(_new_file(staging / name)) as out:
                shutil.copyfileobj(content, out, _CHUNK)
            if _digest(staging / name) != stated["sha256"]:
                raise ConfigError(f"the backup {source} is damaged: its {name} is not what was packed")
        if master_key is not None:
            Vault.open(staging / VAULT_FILE, master_key)
        _mark_restored(staging / JOURNAL_FILE, manifest["made_wall_ms"], wall_ms)
        # The journal first: a vault without it would begin a new one, and forget what was sent.
        for name in (JOURNAL_FILE, VAULT_FILE):
            (staging / name).rename(data_dir / name)
            sync_directory(data_dir)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ConfigError(f"the backup {source} cannot be restored: {error or type(error).__name__}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _copy_journal(journal: Path, copy: Path) -> None:
    if not journal.exists():
        raise JournalError(f"there is no journal at {journal}: an engine has never run here, nothing is to be kept yet")
    _new_file(copy).close()
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as live,
            contextlib.closing(sqlite3.connect(copy)) as kept,
        ):
            live.backup(kept)  # in one step, so of one moment; writers are not kept waiting
            kept.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself
            _check_journal(kept)
    except sqlite3.Error as error:
        raise JournalError(f"the journal {journal} cannot be copied: {error}") from None


def _check_journal(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise JournalError("the journal is damaged")
    stored = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if stored is None or int(stored[0]) > VERSION:
        raise JournalError(f"the journal was written by a newer copytrade (ours knows version {VERSION})")


def _mark_restored(journal: Path, made_wall_ms: int, wall_ms: int) -> None:
    mark = json.dumps({"made_wall_ms": made_wall_ms, "restored_wall_ms": wall_ms, "open": True})
    try:
        with contextlib.closing(sqlite3.connect(journal)) as connection:
            _check_journal(connection)
            with connection:
                connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (RESTORED, mark))
    except sqlite3.Error as error:
        raise JournalError(f"the backup's journal cannot be used: {error}") from None


def _copy_vault(vault: Path, copy: Path) -> int:
    try:
        content = vault.read_bytes()
        document = json.loads(content)
        accounts = len(document["accounts"])
    except FileNotFoundError:
        raise VaultError(f"there is no vault at {vault}; run `copytrade init`") from None
    except (ValueError, LookupError, TypeError):
        raise VaultError(f"the vault {vault} is damaged; `copytrade doctor` says where. No backup was made") from None
    with _new_file(copy) as out:
        out.write(content)
    return accounts


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        archive = tarfile.open(source, "r:gz")  # noqa: SIM115 - closed below; only its opening is guarded
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ConfigError(f"the backup {source} cannot be read: {error}") from None
    with archive:
        yield archive


def _manifest(archive: tarfile.TarFile, source: Path) -> dict[str, Any]:
    """Return what a backup says of itself, and see that it holds just that."""
    try:
        members = {member.name: member for member in archive.getmembers()}
        head = archive.extractfile(MANIFEST) if MANIFEST in members else None
        manifest: dict[str, Any] = json.loads(head.read(_SMALL)) if head is not None else {}
        if manifest.get("format") == FORMAT and manifest["version"] != FORMAT_VERSION:
            raise ConfigError(f"the backup {source} was made by a newer copytrade; install that one")
        whole = (
            manifest.get("format") == FORMAT
            and set(manifest["files"]) == {VAULT_FILE, JOURNAL_FILE}
            and {*manifest["files"], MANIFEST} == set(members)
            and all(member.isreg() for member in members.values())
            and all(members[name].size == stated["size"] for name, stated in manifest["files"].items())
            and isinstance(manifest["made_wall_ms"], int)
        )
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error, tarfile.TarError):
        whole = False
    if not whole:
        raise ConfigError(f"{source} is no whole backup made by `copytrade backup`")
    return manifest


def _said_by(manifest: dict[str, Any]) -> Backup:
    return Backup(
        made_wall_ms=manifest["made_wall_ms"],
        accounts=manifest["accounts"],
        sizes={name: stated["size"] for name, stated in manifest["files"].items()},
    )


def _member(name: str, size: int, wall_ms: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, wall_ms // 1000
    return member


@contextmanager
def _synced(file: IO[bytes]) -> Iterator[IO[bytes]]:
    with file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _new_file(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
