"""`copytrade rotate-key`, also where the process is killed in the middle of it: a real process, a real SIGKILL."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from copytrade_core.errors import MasterKeyError
from copytrade_core.model import Credentials, Environment
from copytrade_core.store.lock import DataDirLock
from copytrade_core.store.master_key import create_master_key, default_key_path, read_key_file
from copytrade_core.store.vault import AccountRecord, Vault

CREDENTIALS = Credentials({"api_key": "key-of-anna", "api_secret": "secret-of-anna"})

# Runs the command, but SIGKILLs the process where the wanted call is made for the wanted time.
KILLED_AT = """
import os, signal, sys
name, when, after = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
real, calls = getattr(os, name), []
def dying(*arguments, **options):
    calls.append(1)
    if len(calls) != when:
        return real(*arguments, **options)
    if after:
        real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, name, dying)
from copytrade_core.cli.main import main
main(sys.argv[4:])
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "master.key"


@pytest.fixture
def environ(tmp_path: Path, data_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COPYTRADE_")}
    return {**kept, "HOME": str(tmp_path / "home"), "DATA_DIR": str(data_dir)}


def make_vault(data_dir: Path, key: bytes) -> None:
    vault = Vault.create(data_dir / "vault.json", key)
    record = AccountRecord(id="anna", name="anna", exchange="bitget", environment=Environment.DEMO)
    vault.add_account(record, CREDENTIALS)


def opens(data_dir: Path, key: bytes) -> bool:
    try:
        return Vault.open(data_dir / "vault.json", key).credentials("anna") == CREDENTIALS
    except MasterKeyError:
        return False


def run(environ: dict[str, str], *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "copytrade_core.cli.main", "rotate-key", *arguments]
    return subprocess.run(command, env=environ, input=typed, capture_output=True, text=True, timeout=30)


def killed(environ: dict[str, str], call: str, *arguments: str) -> None:
    command = [sys.executable, "-c", KILLED_AT, *call.split(), "rotate-key", "--yes", *arguments]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


# os.link puts the new key beside the old one; the first os.replace is the vault's, the second the key file's.
POINTS = ["link 1 before", "link 1 after", "replace 1 before", "replace 1 after", "replace 2 before", "replace 2 after"]


@pytest.mark.parametrize("call", POINTS)
def test_a_rotation_that_was_killed_is_completed_by_the_next(data_dir, key_file, environ, call):
    old = create_master_key(key_file)
    make_vault(data_dir, old)
    environ["COPYTRADE_MASTER_KEY_FILE"] = str(key_file)

    killed(environ, call)
    keys = [read_key_file(path) for path in key_file.parent.iterdir() if not path.name.endswith(".tmp")]
    assert any(opens(data_dir, key) for key in keys), "no key on the disk opens the vault"
    again = run(environ, "--yes")

    assert again.returncode == 0, again.stderr
    assert str(key_file) in again.stdout
    assert opens(data_dir, read_key_file(key_file))
    assert not opens(data_dir, old)
    assert not key_file.with_name("master.key.new").exists()


@pytest.mark.parametrize("call", [point for point in POINTS if point.endswith("after")])
def test_a_key_from_a_variable_moves_to_a_file_also_when_killed(data_dir, key_file, environ, call):
    old = create_master_key(key_file.with_name("in-the-variable"))
    make_vault(data_dir, old)
    environ["COPYTRADE_MASTER_KEY"] = base64.b64encode(old).decode()

    killed(environ, call, "--key-file", str(key_file))
    again = run(environ, "--yes", "--key-file", str(key_file))

    assert again.returncode == 0, again.stderr
    assert f"COPYTRADE_MASTER_KEY_FILE={key_file}" in again.stdout
    assert "take it out of the engine's environment" in again.stdout
    assert opens(data_dir, read_key_file(key_file))
    assert not opens(data_dir, old)
    assert environ["COPYTRADE_MASTER_KEY"] not in again.stdout + again.stderr


def test_the_default_place_is_found_and_kept(data_dir, environ, monkeypatch):
    monkeypatch.setenv("HOME", environ["HOME"])
    old = create_master_key(default_key_path(data_dir))
    make_vault(data_dir, old)

    assert run(environ, "--yes").returncode == 0

    new = read_key_file(default_key_path(data_dir))
    assert new != old
    assert opens(data_dir, new)


def test_nothing_changes_without_consent(data_dir, key_file, environ):
    old = create_master_key(key_file)
    make_vault(data_dir, old)
    environ["COPYTRADE_MASTER_KEY_FILE"] = str(key_file)

    refused = run(environ, typed="n\n")

    assert refused.returncode == 1
    assert "Backups made so far open with the present master key alone" in refused.stderr
    assert read_key_file(key_file) == old
    assert opens(data_dir, old)


def test_the_key_of_a_running_engine_is_left_alone(data_dir, key_file, environ):
    old = create_master_key(key_file)
    make_vault(data_dir, old)
    environ["COPYTRADE_MASTER_KEY_FILE"] = str(key_file)

    with DataDirLock(data_dir):
        refused = run(environ, "--yes")

    assert refused.returncode == 1
    assert f"another engine (process {os.getpid()})" in refused.stderr
    assert "stop it first, then try again" in refused.stderr
    assert opens(data_dir, old)


def test_another_key_at_the_new_place_is_never_overwritten(data_dir, key_file, environ):
    old = create_master_key(key_file.with_name("in-the-variable"))
    other = create_master_key(key_file)
    make_vault(data_dir, old)
    environ["COPYTRADE_MASTER_KEY"] = base64.b64encode(old).decode()

    refused = run(environ, "--yes", "--key-file", str(key_file))

    assert refused.returncode == 1
    assert "never overwritten" in refused.stderr
    assert read_key_file(key_file) == other
    assert opens(data_dir, old)


def test_the_new_key_never_lies_beside_the_data(data_dir, key_file, environ):
    old = create_master_key(key_file)
    make_vault(data_dir, old)
    environ["COPYTRADE_MASTER_KEY"] = base64.b64encode(old).decode()

    refused = run(environ, "--yes", "--key-file", str(data_dir / "master.key"))

    assert refused.returncode == 1
    assert "must lie outside" in refused.stderr
    assert opens(data_dir, old)
