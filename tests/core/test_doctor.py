"""What `doctor` finds wrong, one cause at a time: it names the file, the exchange or the account, and what to do."""

from __future__ import annotations

import base64
import os
import resource
import shutil
from collections import namedtuple

import pytest

from copytrade_core import KeyPermissions, diagnosis, kinds, open_files
from copytrade_core.errors import NotSent
from copytrade_core.plugins import Plugins
from copytrade_core.settings import Settings
from copytrade_core.views import AccountState
from memory_exchange import MASTER_KEY, MemoryExchange, engine, keys, until

GOOD = KeyPermissions(can_read=True, can_trade=True, can_withdraw=False, can_transfer=False, ip_restricted=True)


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    for name in ("leader", "anna"):
        world.open(name, "1000", "0.1").permissions = GOOD
    return world


@pytest.fixture
def trader(world, tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    with engine(world, tmp_path / "data") as trader:
        yield trader


def found(trader, check):
    """The one line about *check*; Chinese must be able to say it, too."""
    (line,) = [line for line in trader.doctor() if line.check == check]
    chinese = kinds.sentence(line.kind, "zh", **line.data)
    assert chinese and "?" not in chinese
    if line.level != "ok":
        assert line.remedy
        assert "?" not in line.remedy + kinds.remedy(line.kind, "zh", **line.data)
    return line


def test_a_new_engine_says_what_is_missing_and_that_the_rest_is_in_order(trader, tmp_path):
    lines = {line.check: line for line in trader.doctor()}

    assert {check for check, line in lines.items() if line.level != "ok"} == {"leader", "copying"}
    assert found(trader, "leader").remedy == "copytrade leader set"
    assert found(trader, "copying").remedy == "copytrade copy start"
    assert found(trader, "data directory").text == f"{tmp_path / 'data'} is for its owner alone"
    assert found(trader, "files").text.startswith("vault.json, journal.db, ")
    assert "MiB free" in found(trader, "disk").text
    assert "open files" in found(trader, "open files").text


def test_an_engine_that_copies_says_where_it_hears_the_leader(world, trader):
    trader.add_account("anna", "memory", "test", keys("anna"))
    trader.set_leader("memory", "test", keys("leader"))
    trader.start_copying()
    until(lambda: trader.get_leader().connections == 2)

    assert [line.check for line in trader.doctor() if line.level != "ok"] == []
    assert found(trader, "leader").text == "memory test, heard on 2 connections"
    assert found(trader, "accounts").text == "1 of 1 take part"
    assert "its clock and this machine's differ by" in found(trader, "memory/test").text


def test_a_refused_account_is_named_with_the_command_that_asks_again(world, trader):
    world.open("王 小", "1", "1").permissions = GOOD
    account = trader.add_account("王 小", "memory", "test", keys("王 小"))
    world.holders["王 小"].permissions = KeyPermissions(can_withdraw=True)
    trader.verify_account(account.id)

    line = found(trader, "account 王 小")

    assert line.level == "error"
    assert line.text == "memory test: the key may withdraw: make one that may only read and trade spot"
    assert line.remedy.endswith("copytrade accounts verify '王 小'")
    assert "可以提现" in kinds.sentence(line.kind, "zh", **line.data)


def test_a_paused_account_is_a_warning_with_the_command_that_resumes_it(trader):
    account = trader.add_account("anna", "memory", "test", keys("anna"))
    trader.pause_account(account.id)

    line = found(trader, "account anna")

    assert (line.level, line.remedy) == ("warning", "copytrade accounts resume anna")


def test_a_halt_is_shown_with_its_since_and_what_ends_it(trader):
    trader._halts.begin("clock:memory/test", "the time is unsure", "two measurements that agree", "memory/test")

    line = found(trader, "engine")

    assert line.level == "error"
    assert line.text.startswith("halted on memory/test since 20")
    assert line.text.endswith(": the time is unsure")
    assert line.remedy == "ends with two measurements that agree"
    assert "NTP" in kinds.remedy(line.kind, "zh", **line.data)


def test_files_that_others_can_read_are_named(trader, tmp_path):
    data = tmp_path / "data"
    (data / "vault.json").chmod(0o644)
    (data / "journal.db").chmod(0o640)
    data.chmod(0o755)

    assert found(trader, "vault.json").remedy == f"chmod 600 {data / 'vault.json'}"
    assert found(trader, "journal.db").level == "error"
    assert f"chmod 700 {data}" in found(trader, "data directory").remedy


def test_a_key_file_that_others_can_read_is_named(trader, tmp_path, monkeypatch):
    key_file = tmp_path / "master.key"
    key_file.touch(0o644)
    key_file.chmod(0o644)
    monkeypatch.setenv("COPYTRADE_MASTER_KEY_FILE", str(key_file))

    assert found(trader, "master.key").remedy == f"chmod 600 {key_file}"


def test_a_disk_that_is_nearly_full_is_an_error(trader, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40 - 2**20, 2**20))

    line = found(trader, "disk")

    assert (line.level, line.data["free_mib"]) == ("error", "1")


def test_a_clock_that_is_off_is_a_warning(world, trader, monkeypatch):
    trader.add_account("anna", "memory", "test", keys("anna"))
    wall_ms = trader._clock.wall_ms
    monkeypatch.setattr(trader._clock, "wall_ms", lambda: wall_ms() - 60_000)

    line = found(trader, "memory/test")

    assert line.level == "warning"
    assert "NTP" in line.remedy
    assert 59_000 < int(line.data["offset_ms"]) < 61_000


@pytest.fixture
def few_files():
    """Let this process open only so many files for the time of a test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda number: resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_open_files_for_the_accounts_is_an_error(trader, few_files, monkeypatch):
    monkeypatch.setattr(open_files, "EACH_ACCOUNT", 5000)
    trader.add_account("anna", "memory", "test", keys("anna"))
    few_files(1024)

    line = found(trader, "open files")

    assert line.level == "error"
    assert "ulimit -n 5256" in line.remedy


def test_the_limit_of_open_files_is_raised_as_far_as_the_system_lets_us(few_files):
    few_files(300)

    open_files.raise_limit(100)

    assert open_files.allowed() == open_files.wanted(100) == 456


def test_endpoints_on_this_machine_are_a_warning(tmp_path):
    settings = Settings(data_dir=tmp_path, endpoints={"memory": {"test": {"rest": "http://127.0.0.1:1"}}})

    (line,) = [line for line in diagnosis.examine_without_engine(settings, Plugins(), {}) if line.check == "endpoints"]

    assert line.level == "warning"
    assert "memory test" in line.text


# --- without an engine ---


@pytest.fixture
def installed(world, tmp_path):
    """Settings and plug-ins of a data directory with an account, whose engine has ended."""
    (tmp_path / "data").mkdir(mode=0o700)
    with engine(world, tmp_path / "data") as trader:
        trader.add_account("anna", "memory", "test", keys("anna"))
        assert trader.list_accounts()[0].state is AccountState.ACTIVE
    plugins = Plugins()
    plugins.register(world, "memory")
    return Settings(data_dir=tmp_path / "data"), plugins


def environ() -> dict[str, str]:
    return {"COPYTRADE_MASTER_KEY": base64.b64encode(MASTER_KEY).decode()}


def test_without_an_engine_the_installation_and_its_exchanges_clocks_are_looked_at(installed):
    lines = {line.check: line for line in diagnosis.examine_without_engine(*installed, environ())}

    assert {line.level for line in lines.values()} == {"ok"}
    assert lines["vault"].text == "opens; 1 accounts"
    assert "its clock and this machine's differ by" in lines["memory/test"].text
    assert {"settings", "master key", "data directory", "disk", "journal", "open files"} <= lines.keys()


def test_without_an_engine_an_exchange_that_does_not_answer_is_named(installed, world, monkeypatch):
    def no_answer() -> int:
        raise NotSent("the exchange could not be reached", kind="cannot_connect")

    monkeypatch.setattr(world, "now_ms", no_answer)

    (line,) = [line for line in diagnosis.examine_without_engine(*installed, environ()) if line.check == "memory/test"]

    assert (line.level, line.text) == ("error", "the exchange could not be reached")
    assert "memory/test" in line.remedy


def test_without_an_engine_a_wrong_key_is_said_and_the_rest_still_looked_at(installed):
    wrong = {"COPYTRADE_MASTER_KEY": base64.b64encode(os.urandom(32)).decode()}

    lines = {line.check: line for line in diagnosis.examine_without_engine(*installed, wrong)}

    assert lines["vault"].level == "error"
    assert lines["vault"].kind == "master_key"
    assert lines["disk"].level == "ok"


def test_without_a_data_directory_the_command_that_makes_one_is_named(tmp_path):
    settings = Settings(data_dir=tmp_path / "nowhere")

    lines = list(diagnosis.examine_without_engine(settings, Plugins(), {}))

    assert lines[-1].check == "data directory"
    assert "copytrade init" in lines[-1].remedy
