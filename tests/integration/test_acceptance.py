"""The acceptance walk on simulators: a real engine behind its socket, the leader's orders signed by the command."""

from __future__ import annotations

import json
from contextlib import contextmanager
from decimal import Decimal

import pytest
from click.testing import CliRunner

from copytrade_core.cli import acceptance as module
from copytrade_core.cli.main import main
from copytrade_core.control.server import ControlServer
from copytrade_core.sim import running_simulators
from copytrade_core.views import AccountState
from sim_engine import add_everybody, engine_on


@contextmanager
def served(data_dir, sims):
    """An engine with everybody added, as a process beside the command would have it."""
    with engine_on(sims, data_dir) as trader:
        add_everybody(trader, sims)
        server = ControlServer(trader, data_dir)
        server.start()
        try:
            yield trader
        finally:
            server.stop()
            server.join()


@pytest.fixture
def accept(tmp_path, monkeypatch):
    """Run the command against the engine in ``tmp_path / "data"``."""

    def run(sims, *arguments, keys=None, typed=None):
        monkeypatch.setenv("COPYTRADE_ENDPOINTS", sims["endpoints_file"])
        monkeypatch.chdir(tmp_path)
        leader = tmp_path / "leader.json"
        leader.write_text(json.dumps(keys or sims["binance"]["leader"]))
        chosen = [str(leader) if word == "LEADER" else word for word in arguments]
        return CliRunner().invoke(main, ["--data-dir", str(tmp_path / "data"), "acceptance", *chosen], input=typed)

    return run


def executed(sims, who):
    return len(sims.truth(who)["orders"])


@pytest.mark.slow
def test_a_sound_system_is_accepted_on_both_exchanges_and_left_as_it_was(tmp_path, accept):
    with (
        running_simulators(binance_followers=2, bitget_followers=2, seed=4) as sims,
        served(tmp_path / "data", sims) as trader,
    ):
        trader.stop_copying()

        done = accept(sims, "--leader-file", "LEADER", "--yes", "--json", "--report", "report.md")

        answer = json.loads(done.stdout)
        assert [point for point in answer["points"] if not point["passed"]] == []
        assert (done.exit_code, answer["passed"], done.stderr) == (0, True, "")
        assert [(order["type"], order["state"]) for order in answer["orders"]] == [
            ("BUY", "IGNORED"), ("BUY", "COPIED"), ("SELL", "COPIED"), ("BUY", "COPIED"),
        ]  # fmt: skip
        assert trader.status().running is False
        assert {account.state for account in trader.list_accounts()} == {AccountState.ACTIVE}
        assert executed(sims, "leader") == 4
        assert sorted(executed(sims, f"{exchange}-{n}") for exchange in ("binance", "bitget") for n in (1, 2)) == [
            2, 3, 3, 3,
        ]  # fmt: skip
        report = (tmp_path / "report.md").read_text(encoding="utf-8")
        assert "**PASSED · 通过**" in report
        assert "| ✗ |" not in report
        secret = sims["binance"]["leader"]["api_secret"]
        assert secret not in report + done.output
        assert (tmp_path / "report.md").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_an_exchange_without_a_follower_is_a_point_that_did_not_pass(tmp_path, accept):
    with (
        running_simulators(binance_followers=1, bitget_followers=1, seed=4) as sims,
        served(tmp_path / "data", sims) as trader,
    ):
        trader.pause_account(trader.list_accounts()[-1].id)

        done = accept(sims, "--leader-file", "LEADER", "--yes", "--report", "report.md")

        assert done.exit_code == 1
        assert "✗ Followers on Bitget · 跟单账户: none is active" in done.output
        assert "NOT PASSED; the report is in report.md" in done.output
        assert "**NOT PASSED · 未通过**" in (tmp_path / "report.md").read_text(encoding="utf-8")
        assert trader.status().running is True


@pytest.mark.slow
def test_the_owner_may_place_the_orders(tmp_path, accept, monkeypatch):
    with (
        running_simulators(binance_followers=1, bitget_followers=1, seed=4) as sims,
        served(tmp_path / "data", sims),
    ):
        said = []

        def say(text=""):
            """Do what is asked for, as the owner would in the exchange's own app."""
            said.append(text)
            if text.startswith("Now place"):
                number, unit = text.partition("about ")[2].split()[:2]
                size = Decimal(number)
                ticket = {"side": "BUY", "quote": size} if unit == "USDT." else {"side": "SELL", "quantity": size}
                sims.place("leader", **ticket)

        monkeypatch.setattr(module, "say", say)

        done = accept(sims, "--by-hand", "--report", "report.md", typed="y\n")

        assert done.exit_code == 0, (said, done.output)
        assert sum(text.startswith("Now place") for text in said) == 4


def test_nothing_is_placed_with_a_key_of_another_account_without_a_yes_or_on_production(tmp_path, accept):
    with (
        running_simulators(binance_followers=1, bitget_followers=0, seed=4) as sims,
        served(tmp_path / "data", sims),
    ):
        strangers = accept(sims, "--leader-file", "LEADER", "--yes", keys=sims["binance"]["followers"][0])
        unwilling = accept(sims, "--leader-file", "LEADER", typed="n\n")
        wrong = accept(sims, "--leader-file", "LEADER", "--yes", keys={"api_key": "x", "api_secret": "SECRETSECRET"})
        half = accept(sims, "--json", "--yes")
        (tmp_path / "there.md").write_text("mine")
        there = accept(sims, "--leader-file", "LEADER", "--yes", "--report", "there.md")

        assert "not of the account that the engine listens to" in strangers.output
        assert "Aborted" in unwilling.output
        assert "the leader's exchange refused it" in wrong.output
        assert "SECRETSECRET" not in wrong.output
        assert "needs --yes and --leader-file" in half.output
        assert "cannot be written" in there.output
        assert (tmp_path / "there.md").read_text() == "mine"
        assert [done.exit_code for done in (strangers, unwilling, wrong, half, there)] == [2, 1, 1, 2, 2]
        assert executed(sims, "leader") == 0
        assert list(tmp_path.glob("acceptance-*")) == []
