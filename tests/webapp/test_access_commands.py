"""The command line for tokens and devices, on the database of a panel that may run."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from changing_engine import Engine
from copytrade_core.cli.main import main
from copytrade_webapp.access.store import DeviceKind
from copytrade_webapp.settings import AppMode
from panel_client import API, panel_stage


@pytest.fixture
def stage(tmp_path):
    with panel_stage(tmp_path / "data", Engine()) as stage:
        yield stage


def run(stage, *arguments, code=0):
    data_dir = str(stage.panel.settings.data_dir)
    result = CliRunner().invoke(main, ["--data-dir", data_dir, *arguments], env={"DATA_DIR": None})
    assert result.exit_code == code, result.output
    return result.output


def test_a_token_is_named_by_the_beginning_of_its_id_if_that_is_one_tokens(stage):
    ids = [json.loads(run(stage, "tokens", "add", name, "--json"))["id"] for name in ("one", "two")]

    assert run(stage, "tokens", "list").split()[:2] == ["ID", "State"]
    assert f"Token {ids[0]} is revoked" in run(stage, "tokens", "revoke", ids[0][:-1])
    run(stage, "tokens", "revoke", "", code=2)
    assert "revoked" not in next(line for line in run(stage, "tokens", "list").splitlines() if ids[1] in line)


def test_a_token_is_shown_once_and_lets_in_until_it_is_revoked(stage):
    made = json.loads(run(stage, "tokens", "add", "小王的电脑", "--json"))
    page = stage.page(log_in=False)
    assert page.call("POST", f"{API}/session", {"token": made["token"]}).json["name"] == "小王的电脑"

    listed = run(stage, "tokens", "list")
    assert made["id"] in listed and "小王的电脑" in listed and made["token"] not in listed
    assert made["token"] not in run(stage, "tokens", "list", "--json")

    run(stage, "tokens", "revoke", made["id"])
    assert page.call("GET", f"{API}/status").status_code == 401
    assert "revoked" in run(stage, "tokens", "list")
    assert "no token" in run(stage, "tokens", "revoke", made["id"], code=2)
    assert [row[:2] for row in stage.audit() if row[0] == "command line"] == [
        ("command line", "token_added"),
        ("command line", "token_revoked"),
    ]


def test_the_printed_token_is_the_last_line(stage):
    *_, secret = run(stage, "tokens", "add", "robot").split()
    assert stage.store.check_token(secret).name == "robot"


def test_a_login_link_lets_one_browser_in(stage):
    link = run(stage, "tokens", "login-link").strip()
    code = re.fullmatch(r"http://127\.0\.0\.1:8080/login#code=(\S+)", link)[1]
    statuses = [stage.page(log_in=False).call("POST", f"{API}/session", {"code": code}).status_code for _ in range(2)]
    assert statuses == [200, 401]


def test_the_first_device_by_code_and_another_by_approval(tmp_path):
    with panel_stage(tmp_path / "data", Engine(), mode=AppMode.DEVICE_WHITELIST) as stage:
        assert "No device" in run(stage, "devices", "list")
        first, second = stage.page(), stage.page()
        assert first.enrol(run(stage, "devices", "code").strip()).json["state"] == "APPROVED"
        code = json.loads(run(stage, "devices", "code", "--json"))["device_code"]
        waiting = second.enrol().json
        assert waiting["state"] == "PENDING"
        states = {each["id"]: each["state"] for each in json.loads(run(stage, "devices", "list", "--json"))["devices"]}
        assert states[waiting["id"]] == "PENDING"

        assert "approved" in run(stage, "devices", "approve", waiting["id"])
        assert second.take_token().status_code == 200

        assert "revoked" in run(stage, "devices", "revoke", waiting["id"])
        assert second.call("GET", f"{API}/devices").status_code == 401
        assert "no device" in run(stage, "devices", "approve", waiting["id"], code=2)
        assert "no device" in run(stage, "devices", "revoke", "nothing", code=2)
        assert stage.store.use_code("enrolment", code)
        assert "REVOKED" in run(stage, "devices", "list")
        whats = [what for who, what, _ in stage.audit() if who == "command line"]
        assert whats == ["enrolment_code_made", "enrolment_code_made", "device_approved", "device_revoked"]


def test_a_name_draws_nothing_on_the_terminal(stage):
    stage.store.add_device(DeviceKind.WEBCRYPTO, "a\x1b[2J\nb", "thumbprint")
    stage.store.add_token("a\x1b[2J\nb")
    for command in ("devices", "tokens"):
        listed = run(stage, command, "list")
        assert "\x1b" not in listed and listed.splitlines()[-1].count("a [2J b") == 1


@pytest.mark.parametrize("name", ["", " ", "c\x1b[2J\rd", "a\nb", "x" * 65, "\u202e"])
def test_a_name_is_one_that_can_be_read(stage, name):
    run(stage, "tokens", "add", name, code=2)
    assert stage.store.list_tokens() == []


def test_without_a_data_directory_it_says_so_and_makes_none(tmp_path):
    nowhere = tmp_path / "nowhere"
    result = CliRunner().invoke(main, ["--data-dir", str(nowhere), "tokens", "list"])
    assert result.exit_code == 1 and "copytrade init" in result.output
    assert not nowhere.exists()


@pytest.mark.parametrize("state", ["newer", "no database", "unreadable version"])
def test_a_database_that_cannot_be_used_is_told_of(stage, state):
    path = stage.panel.settings.database_path
    stage.store.close()
    if state == "no database":
        path.write_bytes(b"something else entirely, and long enough to be looked at" * 20)
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE meta SET value = ?", ["99" if state == "newer" else "x"])
    output = run(stage, "tokens", "list", code=1)
    assert "panel.db" in output and "unexpected" not in output
