"""One engine per data directory, whatever became of the one before."""

import os
import signal
import subprocess
import sys

import pytest

from copytrade_core.errors import AlreadyRunning, ConfigError
from copytrade_core.store.lock import LOCK_FILE, DataDirLock

HOLD = """
import sys
from copytrade_core.store.lock import DataDirLock
with DataDirLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_runs(tmp_path, holder):
    with pytest.raises(AlreadyRunning, match=str(holder.pid)):
        DataDirLock(tmp_path).acquire()


def test_a_killed_engine_leaves_no_lock_behind(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    with DataDirLock(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_the_lock_ends_with_its_block_and_excludes_within_one_process(tmp_path):
    with DataDirLock(tmp_path) as held:
        with pytest.raises(AlreadyRunning, match=str(os.getpid())):
            DataDirLock(tmp_path).acquire()
        with pytest.raises(AlreadyRunning):
            held.acquire()
    with DataDirLock(tmp_path):
        pass


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(KeyError), DataDirLock(tmp_path):
        raise KeyError
    with DataDirLock(tmp_path):
        pass


def test_the_file_is_private_and_never_deleted(tmp_path):
    with DataDirLock(tmp_path) as lock:
        assert (tmp_path / LOCK_FILE).stat().st_mode & 0o777 == 0o600
    lock.release()
    assert (tmp_path / LOCK_FILE).exists()


def test_a_missing_directory_is_named_and_not_made(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.*copytrade init"):
        DataDirLock(tmp_path / "nowhere").acquire()
    assert not (tmp_path / "nowhere").exists()
