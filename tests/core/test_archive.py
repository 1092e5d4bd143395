"""Backups while the engine writes, and restoring them: whole, private, never over anything."""

from __future__ import annotations

import io
import json
import sqlite3
import stat
import tarfile
import threading
from pathlib import Path

import pytest

from copytrade_core.errors import ConfigError, CopytradeError, JournalError, MasterKeyError, VaultError
from copytrade_core.store import archive, book
from copytrade_core.store.archive import back_up, restore
from copytrade_core.store.journal import Journal
from copytrade_core.store.master_key import create_master_key
from copytrade_core.store.vault import Vault
from memory_exchange import MASTER_KEY, until

NOW = 1_795_000_000_000


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    Vault.create(path / "vault.json", MASTER_KEY)
    return path


@pytest.fixture
def journal(data_dir: Path):
    journal = Journal.in_data_dir(data_dir, None, lambda error: None)
    yield journal
    journal.close()


@pytest.fixture
def backup(data_dir: Path, journal: Journal, tmp_path: Path) -> Path:
    journal.write(lambda connection: book.remember(connection, "word", "kept"))
    path = tmp_path / "backup.tar.gz"
    back_up(data_dir, path, NOW)
    return path


def word(data_dir: Path) -> str | None:
    journal = Journal.in_data_dir(data_dir, None, lambda error: None)
    try:
        with journal.reading() as connection:
            return book.recall(connection, "word")
    finally:
        journal.close()


def repacked(source: Path, target: Path, change) -> Path:
    """Write *source* again with its members changed by *change* (a dict of name to bytes)."""
    with tarfile.open(source) as old:
        members = {member.name: old.extractfile(member).read() for member in old.getmembers()}
    change(members)
    with tarfile.open(target, "w:gz") as new:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return target


def test_what_was_backed_up_comes_back(backup, data_dir, tmp_path):
    target = tmp_path / "new" / "data"

    made = restore(target, backup, NOW + 1, MASTER_KEY)

    assert made.made_wall_ms == NOW
    assert (target / "vault.json").read_bytes() == (data_dir / "vault.json").read_bytes()
    assert word(target) == "kept"
    assert sorted(path.name for path in target.iterdir() if "-" not in path.name) == [
        "engine.lock",
        "journal.db",
        "vault.json",
    ]


def test_a_restored_journal_says_that_it_is_one(backup, tmp_path):
    restore(tmp_path / "new", backup, NOW + 1, MASTER_KEY)

    with sqlite3.connect(tmp_path / "new" / "journal.db") as connection:
        (mark,) = connection.execute("SELECT value FROM meta WHERE key = 'restored'").fetchone()
    connection.close()
    assert json.loads(mark) == {"made_wall_ms": NOW, "restored_wall_ms": NOW + 1, "open": True}


def test_everything_is_for_its_owner_alone(backup, tmp_path):
    restore(tmp_path / "new", backup, NOW, MASTER_KEY)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [backup, *(tmp_path / "new").iterdir()]}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_neither_the_master_key_nor_anything_else_is_packed(backup):
    with tarfile.open(backup) as packed:
        assert sorted(packed.getnames()) == ["journal.db", "manifest.json", "vault.json"]
        text = b"".join(packed.extractfile(name).read() for name in packed.getnames())
    assert MASTER_KEY not in text


def test_a_backup_made_while_the_journal_is_written_is_of_one_moment(data_dir, journal, tmp_path):
    """Two facts are always changed together; no backup may hold one without the other."""
    stop = threading.Event()
    written = threading.Semaphore(0)

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1

            def both(connection, text=f"{number} " + "x" * 20_000) -> None:
                book.remember(connection, "first", text)
                book.remember(connection, "second", text)

            journal.write(both)
            written.release()

    writer = threading.Thread(target=write, name="test-writer")
    writer.start()
    seen = []
    try:
        for number in range(5):
            assert written.acquire(timeout=10)
            back_up(data_dir, tmp_path / f"{number}.tar.gz", NOW)
            restore(tmp_path / f"restored-{number}", tmp_path / f"{number}.tar.gz", NOW, MASTER_KEY)
            with sqlite3.connect(tmp_path / f"restored-{number}" / "journal.db") as connection:
                facts = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('first', 'second')"))
            connection.close()
            seen.append(facts["first"])
            assert facts["first"] == facts["second"]
    finally:
        stop.set()
        writer.join()
    assert len(set(seen)) > 1


def test_a_backup_without_an_engine_leaves_the_files_as_they_are(data_dir, tmp_path):
    Journal.in_data_dir(data_dir, None, lambda error: None).close()
    before = (data_dir / "journal.db").read_bytes()

    back_up(data_dir, tmp_path / "backup", NOW)

    assert (data_dir / "journal.db").read_bytes() == before


def test_a_backup_never_overwrites(backup, data_dir):
    before = backup.read_bytes()

    with pytest.raises(ConfigError, match="never overwritten"):
        back_up(data_dir, backup, NOW)

    assert backup.read_bytes() == before
    assert [path.name for path in backup.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("missing", ["vault.json", "journal.db"])
def test_half_an_installation_is_no_backup(data_dir, tmp_path, missing):
    Journal.in_data_dir(data_dir, None, lambda error: None).close()
    (data_dir / missing).unlink()

    with pytest.raises((VaultError, JournalError)):
        back_up(data_dir, tmp_path / "backup", NOW)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize("name", ["vault.json", "journal.db", "journal.db-wal", "notes.txt"])
def test_nothing_is_put_over_anything(backup, tmp_path, name):
    target = tmp_path / "new"
    target.mkdir()
    (target / name).write_text("here before")

    with pytest.raises(ConfigError, match=name):
        restore(target, backup, NOW, MASTER_KEY)

    assert (target / name).read_text() == "here before"
    assert {path.name for path in target.iterdir()} == {name, "engine.lock"}


def test_what_a_killed_restore_left_is_cleared_away(backup, tmp_path):
    half = tmp_path / "new" / ".restore"
    half.mkdir(parents=True)
    (half / "journal.db").write_text("half of it")

    restore(tmp_path / "new", backup, NOW, MASTER_KEY)

    assert word(tmp_path / "new") == "kept"


def test_without_a_master_key_the_sums_are_compared(backup, tmp_path):
    restore(tmp_path / "new", backup, NOW, None)

    assert Vault.open(tmp_path / "new" / "vault.json", MASTER_KEY).revision == 1


def test_another_master_key_is_refused(backup, tmp_path):
    with pytest.raises(MasterKeyError):
        restore(tmp_path / "new", backup, NOW, create_master_key(tmp_path / "other.key"))

    assert not (tmp_path / "new").exists()


def _flip(name):
    def change(members):
        content = bytearray(members[name])
        content[len(content) // 2] ^= 1
        members[name] = bytes(content)

    return change


def _drop(name):
    return lambda members: members.pop(name)


def _add(name):
    return lambda members: members.update({name: b"surprise"})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_flip("vault.json"), id="vault-flipped"),
        pytest.param(_flip("journal.db"), id="journal-flipped"),
        pytest.param(_drop("journal.db"), id="no-journal"),
        pytest.param(_drop("manifest.json"), id="no-manifest"),
        pytest.param(_add("../outside"), id="a-path-out"),
    ],
)
def test_a_damaged_backup_leaves_nothing_behind(backup, tmp_path, change):
    damaged = repacked(backup, tmp_path / "damaged", change)

    with pytest.raises(CopytradeError):
        restore(tmp_path / "new", damaged, NOW, None)

    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, 0.9])
def test_a_backup_that_was_cut_off_is_refused(backup, tmp_path, cut):
    whole = backup.read_bytes()
    backup.write_bytes(whole[: int(cut * len(whole)) if isinstance(cut, float) else cut])

    with pytest.raises(ConfigError, match="backup"):
        restore(tmp_path / "new", backup, NOW, MASTER_KEY)

    assert not (tmp_path / "new").exists()


def test_a_forged_sum_is_found_by_the_master_key(backup, tmp_path):
    def forge(members):
        _flip("vault.json")(members)
        manifest = json.loads(members["manifest.json"])
        manifest["files"]["vault.json"]["sha256"] = archive.hashlib.sha256(members["vault.json"]).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()

    forged = repacked(backup, tmp_path / "forged", forge)

    with pytest.raises(CopytradeError):
        restore(tmp_path / "new", forged, NOW, MASTER_KEY)

    assert not (tmp_path / "new").exists()


def test_a_directory_with_an_engine_is_left_alone(backup, data_dir, journal):
    from copytrade_core.errors import AlreadyRunning
    from copytrade_core.store.lock import DataDirLock

    with DataDirLock(data_dir), pytest.raises(AlreadyRunning):
        restore(data_dir, backup, NOW, MASTER_KEY)

    assert until(lambda: journal.write(lambda connection: book.recall(connection, "word"))) == "kept"
