"""The command line against a trader behind a real local socket."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from copytrade_core.cli import history, output
from copytrade_core.cli import main as main_module
from copytrade_core.cli.main import main
from copytrade_core.codec import dumps_exact
from copytrade_core.control.server import ControlServer
from copytrade_core.errors import Conflict, EngineHalted, InvalidRequest, NotFound, UnknownExchange
from copytrade_core.history_csv import cell
from copytrade_core.model import Environment, KeyWarning, Side
from copytrade_core.views import (
    AccountState,
    AccountView,
    BalanceView,
    CopyPreview,
    CopyState,
    ExchangeView,
    Finding,
    GapOutcome,
    GapView,
    Halt,
    LeaderOrderState,
    LeaderOrderView,
    LeaderView,
    MissingOrder,
    RestoredView,
    StartingView,
    StatusView,
    VerifyView,
    book_json,
    status_json,
)
from fake_trader import FakeTrader, a_copy, an_account

NOW = "2026-11-22T14:35:57.457Z"
API_KEY, API_SECRET, PASSPHRASE = "KEYabcdefghijkl", "SECRETabcdefghijkl", "PASSabcdefghij"

WANG = "6f1c2a3e-1111-2222-3333-444455556666"
ALICE = "7f1c2a3e-1111-2222-3333-444455556666"
ENDS_SOON = KeyWarning(kind="key_expires", text="its key ends in 5 days", data={"days": 5})


def a_field(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "label_zh": "",
        "secret": True,
        "required": True,
        "multiline": False,
        **changes,
    }


BINANCE = ExchangeView(
    id="binance",
    name="Binance",
    name_zh="币安",
    environments=(Environment.PROD, Environment.TEST, Environment.DEMO),
    can_lead=True,
    fields=(a_field("api_key", secret=False), a_field("api_secret", multiline=True)),
    capabilities=(),
)
BITGET = ExchangeView(
    id="bitget",
    name="Bitget",
    name_zh="",
    environments=(Environment.PROD, Environment.DEMO),
    can_lead=False,
    fields=(a_field("api_key", secret=False), a_field("api_secret"), a_field("passphrase")),
    capabilities=(),
)


def a_balance(asset: str, free: str) -> BalanceView:
    return BalanceView(asset=asset, free=Decimal(free), locked=Decimal(0), age_sec=2.4, source="pushed")


def accounts() -> list[AccountView]:
    return [
        an_account(
            1,
            id=WANG,
            name="小王的币安账户",
            balances=(a_balance("USDT", "43210.12345678"), a_balance("BTC", "0.00000001")),
        ),
        an_account(
            2,
            id=ALICE,
            name="Alice",
            exchange="bitget",
            env=Environment.DEMO,
            state=AccountState.DISABLED,
            error="the exchange refused the key",
            balances=(),
            last_copy=None,
        ),
    ]


def an_order(number: int = 17, **changes: Any) -> LeaderOrderView:
    shared = {"event_id": f"{number}", "size_asset": "USDT", "updated": NOW}
    return LeaderOrderView(
        **{
            "id": f"{number}",
            "t": NOW,
            "exchange": "binance",
            "env": Environment.TEST,
            "symbol": "BTC/USDT",
            "order_id": "28",
            "client_order_id": "x",
            "side": Side.BUY,
            "order_type": "MARKET",
            "status": "FILLED",
            "filled_base": Decimal("0.123"),
            "filled_quote": Decimal("12306.41"),
            "state": LeaderOrderState.COPIED,
            "balance_asset": "USDT",
            "balance_before": Decimal("100052.11"),
            "share": Fraction(1230641, 10005211),
            "copies": (
                a_copy(1, account_name="小王的币安账户", sent=Decimal("5314.84518518"), **shared),
                a_copy(2, account_name="=cmd()", state=CopyState.REJECTED, reason="insufficient balance", **shared),
            ),
            **changes,
        }
    )


LEADER = LeaderView(exchange="binance", env=Environment.TEST, connected=True, connections=2, proof_age_sec=1.2)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def trader(data_dir: Path) -> Iterator[FakeTrader]:
    trader = FakeTrader()
    trader.answers = {"list_exchanges": [BINANCE, BITGET], "list_accounts": accounts()}
    with ControlServer(trader, data_dir):
        yield trader


@pytest.fixture
def run(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("SYMBOL", "COPYTRADE_ENDPOINTS", "COPYTRADE_MASTER_KEY", "COPYTRADE_MASTER_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(data_dir.parent / "home"))
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    monkeypatch.delenv("COLUMNS", raising=False)  # as in a pipe, whatever runs the tests

    def run(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=typed, prog_name="copytrade")

    return run


def keys(**fields: Any) -> str:
    return json.dumps({"api_key": API_KEY, "api_secret": API_SECRET, **fields})


def asked(trader: FakeTrader) -> list[tuple[str, dict[str, Any]]]:
    return [trader.calls.get_nowait() for _ in range(trader.calls.qsize())]


def test_status_in_json_is_the_shape_of_the_api_with_exact_numbers(run: Any, trader: FakeTrader) -> None:
    view = StatusView(running=True, leader=LEADER, followers=tuple(accounts()), recent_events=(an_order(),))
    trader.answers["status"] = view

    result = run("status", "--json")

    assert result.exit_code == 0
    assert json.loads(result.output) == json.loads(dumps_exact(status_json(view)))
    assert '"freeBTC": 0.00000001' in result.output
    assert '"freeUSDT": 43210.12345678' in result.output


def test_status_says_how_far_the_start_has_come_and_when_a_ban_ends(run: Any, trader: FakeTrader) -> None:
    until = "2026-11-28T08:40:00.000Z"
    ban = Halt(
        kind="banned:binance/prod",
        reason="binance/prod has shut our address out for sending too much",
        since="2026-11-28T08:38:00.000Z",
        ends_when=f"the ban, at {until}",
        exchange="binance/prod",
        until=until,
    )
    trader.answers["status"] = StatusView(running=True, halts=(ban,), starting=StartingView(ready=172, accounts=200))

    said = " ".join(run("status").output.split())
    told = json.loads(run("status", "--json").output)

    assert "172 of 200 accounts are ready" in said
    assert f"ends with the ban, at {until}" in said
    assert told["starting"] == {"ready": 172, "accounts": 200}
    assert (told["halted"], told["halts"][0]["until"]) == (False, until)


@pytest.mark.parametrize(
    "arguments", [("status",), ("accounts", "list"), ("events",), ("events", "17"), ("copies",)], ids=" ".join
)
def test_tables_fit_100_columns_and_hide_nothing(run: Any, trader: FakeTrader, arguments: Sequence[str]) -> None:
    trader.answers |= {
        "status": StatusView(running=True, leader=LEADER, followers=tuple(accounts()), recent_events=(an_order(),)),
        "list_events": [an_order()],
        "get_event": an_order(),
        "list_copies": list(an_order().copies),
    }

    result = run(*arguments)

    assert result.exit_code == 0, result.output
    assert max(cell_len(line) for line in result.output.splitlines()) <= 100
    assert "…" not in result.output
    assert "\x1b" not in result.output
    shown = "".join(result.output.split())
    for wanted in ("小王的币安账户",) if arguments != ("events",) else ("12306.41",):
        assert wanted in shown or set(wanted) <= set(shown)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "arguments", [("status",), ("accounts", "list"), ("events",), ("events", "17"), ("copies",)], ids=" ".join
)
def test_tables_fit_the_screen_and_name_what_they_leave_out(
    run: Any, trader: FakeTrader, arguments: Sequence[str], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    trader.answers |= {
        "status": StatusView(running=True, leader=LEADER, followers=tuple(accounts()), recent_events=(an_order(),)),
        "list_events": [an_order(), an_order(18, filled_quote=Decimal(100000), filled_base=Decimal("0.5"))],
        "get_event": an_order(),
        "list_copies": list(an_order().copies),
    }

    result = run(*arguments)

    assert result.exit_code == 0, result.output
    assert max(cell_len(line) for line in result.output.splitlines()) <= columns
    assert "Left out" not in result.output or columns == 80
    if arguments == ("events", "17"):
        assert ("Left out at 80 columns: bp, ms, Price" in result.output) == (columns == 80)
    assert "…" not in result.output
    assert "Sent" in result.output or arguments[0] != "events" or len(arguments) == 1  # a sum is never left out


def test_a_columns_amounts_have_the_same_decimals() -> None:
    assert output.even(["1", "0.25", "-", "12.5"]) == ["1.00", "0.25", "-", "12.50"]
    assert output.even(["100", "5"]) == ["100", "5"]
    assert output.even(["12.5 USDT", "0.00012 BTC", "3 USDT"]) == ["12.5 USDT", "0.00012 BTC", "3.0 USDT"]
    assert output.even(["3 of 4", "12 s"]) == ["3 of 4", "12 s"]


def test_times_in_sentences_are_local_ones() -> None:
    assert output.with_local_times("since 2026-03-01T10:00:00.123Z, 3 of 4") == (
        f"since {output.local_time('2026-03-01T10:00:00Z')}, 3 of 4"
    )


def test_a_copy_of_which_nothing_was_filled_shows_no_amount(run: Any, trader: FakeTrader) -> None:
    trader.answers["list_copies"] = [
        replace(copy, filled_base=Decimal(0), average_price=None) for copy in an_order().copies
    ]

    assert "0.00000000" not in run("copies").output


def test_a_closed_book_shows_the_sum_and_why_somebody_failed(run: Any, trader: FakeTrader) -> None:
    trader.answers["get_event"] = an_order()

    text = run("events", "17").output

    assert "12306.41 / 100052.11 USDT free before" in text
    assert "5314.84518518" in text
    assert "REJECTED: insufficient balance (=cmd())" in text
    assert asked(trader) == [("get_event", {"event_id": "17"})]


def test_events_and_copies_in_json_are_the_books(run: Any, trader: FakeTrader) -> None:
    trader.answers |= {"list_events": [an_order()], "list_copies": list(an_order().copies)}

    books = json.loads(run("events", "--json", "--limit", "3").output, parse_float=Decimal)
    rows = json.loads(run("copies", "--json", "--account", "Alice", "--state", "filled").output, parse_float=Decimal)

    assert books[0]["copies"] == rows
    assert books[0]["x_percent"] == book_json(an_order())["x_percent"]
    assert asked(trader) == [
        ("list_events", {"limit": 3}),
        ("list_accounts", {}),
        ("list_copies", {"account_id": ALICE, "state": "FILLED", "limit": 20}),
    ]


@pytest.mark.parametrize("wanted", [WANG, "6F1c", "小王的币安账户"])
def test_an_account_is_named_by_id_beginning_or_name(run: Any, trader: FakeTrader, wanted: str) -> None:
    trader.answers["pause_account"] = accounts()[0]

    result = run("accounts", "pause", wanted, "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["id"] == WANG
    assert asked(trader)[-1] == ("pause_account", {"account_id": WANG})


@pytest.mark.parametrize("wanted", ["nobody", "", "-1"])
def test_an_account_that_is_not_there_is_said_so(run: Any, trader: FakeTrader, wanted: str) -> None:
    result = run("accounts", "pause", "--", wanted)

    assert result.exit_code == 2
    assert f"there is no account {wanted!r}" in result.stderr


def test_a_name_that_two_accounts_bear_is_refused(run: Any, trader: FakeTrader) -> None:
    trader.answers["list_accounts"] = [an_account(1, id=WANG), an_account(2, id=ALICE)]

    result = run("accounts", "remove", "小王", "--yes")

    assert result.exit_code == 2
    assert WANG in result.stderr
    assert ALICE in result.stderr


def test_keys_are_prompted_for_and_not_echoed(run: Any, trader: FakeTrader) -> None:
    trader.answers["add_account"] = accounts()[0]

    result = run("accounts", "add", typed="\n".join(["Bob", "bitget", "demo", API_KEY, API_SECRET, PASSPHRASE, ""]))

    assert result.exit_code == 0, result.output
    assert API_SECRET not in result.output
    assert PASSPHRASE not in result.output
    assert asked(trader)[-1] == (
        "add_account",
        {
            "name": "Bob",
            "exchange": "bitget",
            "env": "demo",
            "credentials": {"api_key": API_KEY, "api_secret": API_SECRET, "passphrase": PASSPHRASE},
        },
    )


def test_a_pem_key_is_read_from_a_file_at_the_prompt(run: Any, trader: FakeTrader, tmp_path: Path) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"
    (tmp_path / "key.pem").write_text(pem)
    trader.answers["set_leader"] = LEADER

    result = run("leader", "set", typed="\n".join(["binance", "test", API_KEY, f"@{tmp_path / 'key.pem'}", ""]))

    assert result.exit_code == 0, result.output
    assert asked(trader)[-1][1]["credentials"]["api_secret"] == pem


@pytest.mark.parametrize("source", ["stdin", "file"])
def test_accounts_are_added_from_json(run: Any, trader: FakeTrader, tmp_path: Path, source: str) -> None:
    trader.answers["add_account"] = accounts()[0]
    text = keys(name="小王", exchange="binance", env="test", api_secret="line\nline\n")
    (tmp_path / "account.json").write_text(text, encoding="utf-8")

    result = run(
        "accounts",
        "add",
        "--json",
        "--file",
        "-" if source == "stdin" else str(tmp_path / "account.json"),
        typed=text if source == "stdin" else None,
    )

    assert result.exit_code == 0, result.output
    answer = json.loads(result.output)
    assert (answer["id"], answer["status"]) == (WANG, "VERIFIED")
    assert asked(trader)[-1][1]["credentials"] == {"api_key": API_KEY, "api_secret": "line\nline\n"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        (f'{{"api_secret": "{API_SECRET}", ', "is not JSON (line 1, column"),
        ("[]", "must hold a JSON object"),
        (keys(name="a", exchange="binance", env="test", api_key=5), "api_key in standard input must be text"),
        (keys(name="a", exchange="binance", env="test", secret="x"), "there is no field 'secret'"),
        (keys(name="a", exchange="binance", env="test", passphrase=PASSPHRASE), "there is no field 'passphrase'"),
        (keys(name="a", exchange="bitget", env="demo"), "the field 'passphrase' is missing"),
        (keys(name="a", exchange="kraken", env="test"), "no plug-in knows the exchange 'kraken'"),
        (keys(exchange="binance", env="test"), "the field 'name' is missing"),
    ],
)
def test_a_wrong_file_is_one_sentence_without_what_it_held(run: Any, trader: FakeTrader, text: str, says: str) -> None:
    result = run("accounts", "add", "--file", "-", typed=text)

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    for secret in (API_KEY, API_SECRET, PASSPHRASE):
        assert secret not in result.output
    assert "add_account" not in [name for name, _ in asked(trader)]


def test_verify_says_ok_or_fails(run: Any, trader: FakeTrader) -> None:
    trader.answers["verify_account"] = VerifyView(
        ok=True,
        uid="1",
        free_base=Decimal("0.123"),
        free_quote=Decimal("50000.0"),
        warnings=(KeyWarning(kind="key_any_address", text="bound to no address"),),
    )
    good = run("accounts", "verify", "Alice", "--json")
    trader.answers["verify_account"] = VerifyView(ok=False, error_kind="wrong_secret", error="the signature is wrong")
    bad = run("accounts", "verify", "Alice", "--json")
    bad_text = run("accounts", "verify", "Alice")

    assert good.exit_code == 0
    shape = json.loads(good.stdout, parse_float=str)
    assert (shape["ok"], shape["freeUSDT"], shape["freeBTC"]) == (True, "50000.0", "0.123")
    assert "Warning: bound to no address" in good.stderr
    assert bad.exit_code == bad_text.exit_code == 1
    assert json.loads(bad.stdout)["error"] == {"kind": "wrong_secret", "message": "the signature is wrong"}
    assert "NOT OK  Alice: the signature is wrong\n        → " in bad_text.output


def test_a_key_is_replaced_at_the_version_seen(run: Any, trader: FakeTrader) -> None:
    trader.answers["update_account"] = accounts()[1]

    result = run("accounts", "set-key", "Alice", "--file", "-", typed=keys(passphrase=PASSPHRASE))

    assert result.exit_code == 0, result.output
    name, arguments = asked(trader)[-1]
    assert (name, arguments["account_id"], arguments["version"]) == ("update_account", ALICE, 1)
    assert arguments["credentials"]["passphrase"] == PASSPHRASE


def test_remove_asks_first(run: Any, trader: FakeTrader) -> None:
    trader.answers["remove_account"] = None

    refused = run("accounts", "remove", "Alice", typed="n\n")
    assert refused.exit_code == 1
    assert "remove_account" not in [name for name, _ in asked(trader)]

    assert run("accounts", "remove", "Alice", typed="y\n").exit_code == 0
    assert asked(trader)[-1] == ("remove_account", {"account_id": ALICE})


def test_a_leader_that_is_not_heard_is_exit_code_1(run: Any, trader: FakeTrader) -> None:
    trader.answers["set_leader"] = LeaderView(
        exchange="binance", env=Environment.TEST, connected=False, error_kind="invalid_key", error="refused"
    )

    result = run("leader", "set", "--json", "--file", "-", typed=keys(exchange="binance", env="test"))

    assert result.exit_code == 1
    answer = json.loads(result.output)
    assert answer["listening"] is False
    assert answer["error"] == {"kind": "invalid_key", "message": "refused"}


def test_the_leader_is_switched_to_stored_keys(run: Any, trader: FakeTrader) -> None:
    trader.answers["set_leader"] = LEADER

    result = run("leader", "set", "--stored", "--exchange", "binance", "--env", "demo", "--json")

    assert json.loads(result.output)["listening"] is True
    assert asked(trader)[-1] == ("set_leader", {"exchange": "binance", "env": "demo", "credentials": None})


def test_gaps_show_what_was_found_in_them_and_how_their_reading_ended(run: Any, trader: FakeTrader) -> None:
    place: dict[str, Any] = {"exchange": "binance", "env": Environment.TEST, "leader_uid": "1"}
    why: dict[str, Any] = {"reason_kind": "no_connection", "reason": "no connection to the leader's events was alive"}
    outcome = GapOutcome.UNEXPLAINED
    figures: dict[str, Any] = {"found": 7, "copied": 4, "missed": 2, "ignored": 1}
    left = {"USDT": Decimal("-12.5")}
    closed = GapView(id="7", since=NOW, until=NOW, outcome=outcome, unexplained=left, **figures, **place, **why)
    trader.answers["list_gaps"] = [GapView(id="8", since=NOW, **place, **why), closed]

    shown = run("leader", "gaps", "--limit", "5").output
    answer = json.loads(run("leader", "gaps", "--before", "9", "--json").output, parse_float=Decimal)

    assert [call for call in asked(trader) if call[0] == "list_gaps"] == [
        ("list_gaps", {"limit": 5, "before": None}), ("list_gaps", {"limit": 20, "before": "9"}),
    ]  # fmt: skip
    assert "not closed yet" in " ".join(shown.split())
    assert "-12.5 USDT" in " ".join(shown.split())
    assert [(each["open"], each["outcome"], each["found"]) for each in answer] == [
        (True, None, 0), (False, "UNEXPLAINED", 7),
    ]  # fmt: skip
    assert answer[1]["unexplained"] == {"USDT": Decimal("-12.5")}


def test_copying_starts_and_stops(run: Any, trader: FakeTrader) -> None:
    trader.answers |= {"start_copying": True, "stop_copying": False}

    assert json.loads(run("copy", "start", "--json").output) == {"running": True}
    assert json.loads(run("copy", "stop", "--json").output) == {"running": False}
    assert "RUNNING" in run("copy", "start").output
    assert "STOPPED" in run("copy", "stop").output


def test_an_error_is_one_red_line_and_exit_code_1(run: Any, trader: FakeTrader) -> None:
    trader.answers["start_copying"] = EngineHalted("the journal cannot be written")

    result = run("copy", "start")

    assert result.exit_code == 1
    assert result.stderr == "Error: the journal cannot be written\n"


def test_an_unexpected_error_shows_no_details_but_for_debug(
    run: Any, trader: FakeTrader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(API_SECRET)

    monkeypatch.setattr("copytrade_core.cli.history.status_json", fail)
    trader.answers["status"] = StatusView(running=False)

    result = run("status", "--json")
    debug = run("--debug", "status", "--json")

    assert result.exit_code == 1
    assert API_SECRET not in result.output
    assert "RuntimeError" in result.stderr
    assert "--debug" in result.stderr
    assert isinstance(debug.exception, RuntimeError)


def test_terminal_tricks_in_names_and_reasons_do_nothing(run: Any, trader: FakeTrader) -> None:
    trader.answers["list_accounts"] = [an_account(1, name="[red]x\x1b]0;t\x07\x1b[2J\r\n"), *accounts()]
    trader.answers["pause_account"] = InvalidRequest("no\x1b[2J\x07")

    listed, failed = run("accounts", "list"), run("accounts", "pause", "Alice")

    assert "[red]x" in listed.output
    for text in (listed.output, failed.output):
        assert not set("\x1b\x07\r") & set(text)


def test_without_an_engine_one_sentence_says_what_to_do(run: Any, data_dir: Path) -> None:
    fresh = run("status")
    (data_dir / "vault.json").touch()
    made = run("status")

    assert fresh.exit_code == made.exit_code == 1
    assert "copytrade init" in fresh.stderr
    assert "start it with `copytrade engine`" in made.stderr


def test_the_data_directory_may_be_named_before_or_after_the_command(
    run: Any, trader: FakeTrader, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(data_dir.parent / "elsewhere"))
    trader.answers["stop_copying"] = False

    assert run("copy", "stop").exit_code == 1
    assert run("--data-dir", str(data_dir), "copy", "stop").exit_code == 0
    assert run("copy", "stop", "--data-dir", str(data_dir)).exit_code == 0
    assert run("status", "--no-such-option").exit_code == 2


def test_doctor_asks_the_engine_and_fails_on_errors(run: Any, trader: FakeTrader) -> None:
    trader.answers["doctor"] = [
        Finding(check="leader", level="ok", text="heard"),
        Finding(check="clock", level="error", text="it jumped", remedy="wait"),
    ]

    result = run("doctor")

    assert result.exit_code == 1
    assert "error    clock: it jumped\n         → wait\n" in result.output
    assert [each["level"] for each in json.loads(run("doctor", "--json").output)] == ["ok", "error"]


def test_doctor_without_an_engine_checks_what_it_can_see(run: Any, data_dir: Path) -> None:
    assert run("init").exit_code == 0
    good = run("doctor", "--json")
    data_dir.chmod(0o755)
    bad = run("doctor", "--json")

    levels = {each["check"]: each["level"] for each in json.loads(good.output)}
    assert levels["engine"] == "warning"
    assert levels["data directory"] == levels["master key"] == levels["vault"] == "ok"
    assert bad.exit_code == 1
    assert {each["check"]: each["level"] for each in json.loads(bad.output)}["data directory"] == "error"


def test_doctors_long_lines_wrap_and_its_remedies_do_not(
    run: Any, trader: FakeTrader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = f"chmod 600 /{'/'.join(['a-long-name'] * 10)}/vault.json"
    trader.answers["doctor"] = [Finding(check="vault.json", level="error", text="it is open " * 12, remedy=command)]

    lines = run("doctor").output.splitlines()

    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1] == f"         → {command}"


@pytest.mark.parametrize("command", [("leader", "set"), ("accounts", "add", "--name", "Bob")], ids=" ".join)
def test_a_wrong_environment_is_said_before_any_key_is_asked_for(run: Any, trader: FakeTrader, command: Any) -> None:
    by_option = run(*command, "--exchange", "binance", "--env", "moon")
    by_file = run(
        *command,
        "--file",
        "-",
        typed=keys(name="Bob", exchange="binance", env="moon")
        if "add" in command
        else keys(exchange="binance", env="moon"),
    )

    for result in (by_option, by_file):
        assert result.exit_code == 2
        assert "has no environment 'moon'; choose one of: " in result.stderr


def test_an_exchange_that_the_engine_does_not_know_is_an_input_error(run: Any, trader: FakeTrader) -> None:
    def refuse(**_: Any) -> None:
        raise UnknownExchange("no plug-in knows the exchange", kind="unknown_environment")

    trader.answers["set_leader"] = refuse

    result = run("leader", "set", "--exchange", "binance", "--env", "test", "--stored")

    assert result.exit_code == 2
    assert "no plug-in knows the exchange" in result.stderr


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (("accounts", "add"), "--file"),
        (("accounts", "add", "--name", "Bob", "--exchange", "binance", "--env", "test"), "--file"),
        (("leader", "set"), "--file"),
        (("accounts", "remove", "Alice"), "--yes"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else each,
)
def test_where_nobody_can_be_asked_a_sentence_says_what_to_give(
    run: Any, trader: FakeTrader, command: Sequence[str], instead: str
) -> None:
    result = run(*command, typed="")

    assert result.exit_code == 2
    assert "there is nobody to ask" in result.stderr
    assert instead in result.stderr


def test_acceptance_that_may_not_ask_says_how_to_give_the_key(run: Any, trader: FakeTrader, tmp_path: Path) -> None:
    trader.answers |= {"get_leader": LEADER, "list_accounts": [an_account(1, name="Anna")]}

    result = run("acceptance", "--yes", "--report", str(tmp_path / "report.md"), typed="")

    assert result.exit_code == 2
    assert "--leader-file" in result.stderr
    assert "Shall this command place" not in result.stderr
    assert not (tmp_path / "report.md").exists()


def test_no_is_not_an_error_of_input(run: Any, trader: FakeTrader) -> None:
    result = run("accounts", "remove", "Alice", typed="n\n")

    assert result.exit_code == 1
    assert [name for name, _ in asked(trader)] == ["list_accounts"]


def test_init_makes_everything_private_and_overwrites_nothing(run: Any, data_dir: Path) -> None:
    result = run("init", "--json")
    made = json.loads(result.output)
    vault, key = Path(made["vault"]), Path(made["master_key"])
    before = vault.read_bytes(), key.read_bytes()

    again = run("init")

    assert result.exit_code == 0
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert key.stat().st_mode & 0o777 == 0o600
    assert not key.is_relative_to(data_dir)
    assert again.exit_code == 1
    assert "nothing was changed" in again.stderr
    assert (vault.read_bytes(), key.read_bytes()) == before
    assert before[1].decode().strip() not in result.output


def test_init_refuses_a_master_key_inside_the_data(run: Any, data_dir: Path) -> None:
    result = run("init", "--key-file", str(data_dir / "master.key"))

    assert result.exit_code == 1
    assert "outside" in result.stderr
    assert list(data_dir.iterdir()) == []


def test_export_streams_pages_and_disarms_formulas(run: Any, trader: FakeTrader, tmp_path: Path) -> None:
    pages = {None: [an_order(17)], "17": [an_order(16, copies=(), state=LeaderOrderState.IGNORED)], "16": []}
    trader.answers["list_events"] = lambda limit, before=None, with_copies=True: pages[before]

    to_screen = run("export")
    to_file = run("export", "--output", str(tmp_path / "out.csv"))
    again = run("export", "--output", str(tmp_path / "out.csv"))

    assert to_screen.exit_code == to_file.exit_code == 0
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == to_screen.output
    rows = list(csv.DictReader(io.StringIO(to_screen.output)))
    assert [(row["order_id"], row["copy_account"]) for row in rows] == [
        ("17", "小王的币安账户"),
        ("17", "'=cmd()"),
        ("16", ""),
    ]
    assert rows[0]["copy_sent"] == "5314.84518518"
    assert again.exit_code == 2
    assert "already" in again.stderr


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("-0.00000001"), "-0.00000001"),
        ("-12.5", "-12.5"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1+cmd", "'-1+cmd"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("小王", "小王"),
        (None, ""),
        ({"BTC": Decimal("0.00000001")}, "0.00000001 BTC"),
    ],
)
def test_cells_are_harmless_and_numbers_stay_numbers(value: Any, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (Decimal("1E-8"), 0, "0.00000001"),
        (Decimal("50000"), 2, "50000.00"),
        (Decimal("0.10"), 0, "0.1"),
        (Decimal("100"), 0, "100"),
        (None, 2, "-"),
    ],
)
def test_amounts_are_plain_and_whole(value: Decimal | None, places: int, text: str) -> None:
    assert output.amount(value, places) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (2.9, "2 s"), (119, "119 s"), (130, "2 min"), (200_000, "2 d")]
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert output.age(seconds) == text


def test_plugins_needs_no_engine(run: Any) -> None:
    result = run("plugins", "--json")

    assert result.exit_code == 0
    assert isinstance(json.loads(result.output), list)


def test_a_command_of_another_package_that_breaks_is_reported_and_the_rest_works(
    run: Any, trader: FakeTrader, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = main_module.GROUP
    found = [
        EntryPoint("panel", "a_module_that_is_not_there:panel", group),
        EntryPoint("hello", "builtins:print", group),
        EntryPoint("hi", f"{__name__}:hi", group),
        EntryPoint("status", "builtins:print", group),
    ]
    monkeypatch.setattr(EntryPoint, "load", lambda entry: {"hi": hi, "hello": print}.get(entry.name) or _missing())
    monkeypatch.setattr(main_module, "entry_points", lambda group: found)
    trader.answers["status"] = StatusView(running=False)

    help_text = run("--help").output
    assert "does not load: ModuleNotFoundError" in help_text
    assert run("hi").output == "hi\n"
    for name in ("panel", "hello"):
        broken = run(name, "--port", "1")
        assert broken.exit_code == 1
        assert f"the command {name!r} does not load" in broken.stderr
    assert run("status").exit_code == 0


@click.command()
def hi() -> None:
    click.echo("hi")


def _missing() -> None:
    raise ModuleNotFoundError("No module named 'a_module_that_is_not_there'")


def test_simulate_without_its_extra_says_what_to_install(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without_aiohttp(name: str, *rest: Any, **named: Any) -> Any:
        if name == "sim.server" or name.endswith(".sim.server"):
            raise ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_aiohttp)

    result = run("simulate")

    assert result.exit_code == 1
    assert 'pip install "copytrade-core[sim]"' in result.stderr


def test_simulate_shows_all_keys(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = {
        "binance": {
            "env": "test",
            "rest": "http://127.0.0.1:9101",
            "ws_api": "ws://127.0.0.1:9101/ws-api/v3",
            "leader": {"api_key": "L" * 64, "api_secret": "M" * 64},
            "followers": [{"api_key": "F" * 64, "api_secret": "G" * 64}],
        },
        "admin": "http://127.0.0.1:9103",
        "endpoints_file": "/tmp/endpoints.json",
    }
    monkeypatch.setattr(
        "copytrade_core.sim.server.simulate_forever", lambda *, on_ready, seed, **given: on_ready(world)
    )

    as_json, as_table = run("simulate", "--json"), run("simulate", "--seed", "7")

    assert json.loads(as_json.output) == world
    assert as_json.output.count("\n") == 1
    shown = "".join(as_table.output.split())
    for key in ("L", "M", "F", "G"):
        assert shown.count(key * 8) >= 1
    assert "COPYTRADE_ENDPOINTS=/tmp/endpoints.json" in shown
    assert "Seed7" in shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(InvalidRequest("there is no state 'FAILD'", field="state"), 2, id="invalid"),
        pytest.param(NotFound("there is no order"), 2, id="not-there"),
        pytest.param(Conflict("somebody decided it first"), 1, id="conflict"),
    ],
)
def test_what_was_asked_wrongly_is_exit_code_2(run: Any, trader: FakeTrader, error: InvalidRequest, code: int) -> None:
    trader.answers["get_event"] = error

    assert run("events", "7").exit_code == code


def test_nothing_that_was_typed_is_logged(run: Any, trader: FakeTrader, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    trader.answers["add_account"] = InvalidRequest("the key is already here", field="api_key")

    result = run("accounts", "add", "--file", "-", typed=keys(name="a", exchange="binance", env="test"))

    assert result.exit_code == 2
    assert "list_exchanges" not in caplog.text, "frames are logged"
    assert API_SECRET not in caplog.text + result.output


@pytest.mark.parametrize(
    ("text", "share"),
    [("0.25", Fraction(1, 4)), ("25%", Fraction(1, 4)), ("1/4", Fraction(1, 4)), ("100%", Fraction(1))],
)
def test_a_share_may_be_written_in_three_ways(text, share):
    assert history._read_share(text) == share


@pytest.mark.parametrize("text", ["-1", "1e-1", "٥", " 5", "5_0", "NaN", "1/0", "", "0x10"])
def test_a_share_that_is_no_plain_number_is_refused(text):
    with pytest.raises(click.ClickException):
        history._read_share(text)


def test_the_sum_is_shown_before_a_copy_is_asked_for(run: Any, trader: FakeTrader) -> None:
    asked = CopyPreview(
        copy_id="c1", event_id="7", account_id="a", account_name="Anna", exchange="binance", env=Environment.TEST,
        side=Side.BUY, share=Fraction(1, 4), size_asset="USDT", free_before=Decimal("1234.5"), balance_age_ms=2400,
        balance_source="pushed", computed=Fraction("308.625"), step=Decimal("0.01"), sent=Decimal("308.62"),
    )  # fmt: skip
    paused = replace(asked, account_name="Bela", reason_kind="paused", reason="the account is paused")
    trader.answers |= {"preview_copy": asked, "preview_event": [asked, paused]}

    one, all_of_it = run("copies", "preview", "c1"), run("copies", "preview", "--event", "7", "--share", "25%")

    assert all(text in one.output for text in ("Anna", "25", "1234.5 USDT", "2 s", "308.62 USDT"))
    assert "Bela: the account is paused" in all_of_it.output
    shape = json.loads(run("copies", "preview", "c1", "--json").output, parse_float=Decimal)
    assert (shape["computed"], shape["share"]) == (Decimal("308.625"), "1/4")
    calls = [trader.calls.get_nowait() for _ in range(trader.calls.qsize())]
    assert ("preview_event", {"event_id": "7", "share": Fraction(1, 4)}) in calls
    assert run("copies", "preview").exit_code == run("copies", "preview", "c1", "--share", "1/4").exit_code == 2


def test_what_should_be_mended_about_a_key_is_listed_with_the_accounts(run: Any, trader: FakeTrader) -> None:
    trader.answers["list_accounts"] = [an_account(1, name="Anna", warnings=(ENDS_SOON,))]

    assert "Anna: its key ends in 5 days" in run("accounts", "list").output
    assert json.loads(run("accounts", "list", "--json").output)[0]["warnings"] == [
        {"kind": "key_expires", "text": "its key ends in 5 days", "days": 5}
    ]


def a_restored_view(**changes: Any) -> RestoredView:
    missing = MissingOrder(
        account_id=ALICE,
        account_name="Alice",
        exchange="bitget",
        env=Environment.DEMO,
        client_order_id="ctabcdaaaaaaaaaaaaaaaaaaaa-1",
        exchange_order_id="1388",
        side=Side.BUY,
        status="FILLED",
        filled_base=Decimal("0.00012"),
        filled_quote=Decimal("7.7"),
        created=NOW,
    )
    view = {"reason": "the journal was restored", "backup_made": NOW, "restored": NOW, "asking": False}
    return RestoredView(**{**view, "orders": (missing,), "not_asked": {"小王": "no answer"}, **changes})


def test_reconcile_shows_what_the_journal_lacks_and_asks(run: Any, trader: FakeTrader) -> None:
    trader.answers |= {"get_restored": a_restored_view(), "reconcile": a_restored_view()}

    refused = run("reconcile", "--by", "olga", typed="n\n")
    assert refused.exit_code == 1
    for wanted in ("the journal was restored", "Alice", "bitget demo", "0.00012", "1388", "小王: no answer"):
        assert wanted in refused.output
    assert asked(trader) == [("get_restored", {})]

    agreed = run("reconcile", "--by", "olga", typed="y\n")
    assert agreed.exit_code == 0
    assert "Reconciled by olga" in agreed.output
    assert asked(trader) == [("get_restored", {}), ("reconcile", {"by": "olga"})]


def test_reconcile_in_json_only_looks_without_yes(run: Any, trader: FakeTrader) -> None:
    trader.answers |= {"get_restored": a_restored_view(), "reconcile": a_restored_view()}

    looked = json.loads(run("reconcile", "--json").output, parse_float=Decimal)
    assert looked["reconciled"] is False
    assert looked["orders"][0]["filled_base"] == Decimal("0.00012")
    assert asked(trader) == [("get_restored", {})]

    assert json.loads(run("reconcile", "--json", "--yes").output)["reconciled"] is True


@pytest.mark.parametrize(
    ("view", "code", "text"),
    [
        pytest.param(None, 0, "There is nothing to reconcile.", id="nothing"),
        pytest.param(a_restored_view(asking=True), 1, "still being asked", id="too-early"),
    ],
)
def test_reconcile_when_there_is_nothing_to_decide(
    run: Any, trader: FakeTrader, view: RestoredView | None, code: int, text: str
) -> None:
    trader.answers["get_restored"] = view

    result = run("reconcile", "--yes")

    assert result.exit_code == code
    assert text in result.output
    assert [name for name, _ in asked(trader)] == ["get_restored"]
