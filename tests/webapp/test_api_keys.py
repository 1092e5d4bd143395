"""What a check of a key says, of every way in which a key can be wrong: at the simulated exchanges, through the API."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from copytrade_core import CopyTrader, Vault
from copytrade_core.control.client import RemoteCopyTrader
from copytrade_core.control.server import ControlServer
from copytrade_core.sim import running_simulators
from memory_exchange import until
from panel_client import API, panel_stage
from sim_engine import MASTER_KEY, settings_for

# Flag of the key or account at the simulator, what it is set to, the kind and a word of what is said of it then.
EXCESS = [("can_withdraw", True, "can_withdraw", "withdraw"), ("can_transfer", True, "can_transfer", "transfer")]
BLOCKED = ("blocked", True, "account_blocked", "account")
NO_TRADE = ("can_trade", False, "no_trade_permission", "may not trade")
WRONG = {
    ("binance", "test", 0): [
        # Binance does not tell these three apart.
        ("revoked", True, "invalid_key", "deleted"),
        ("can_read", False, "invalid_key", "permission"),
        ("ip_listed", False, "invalid_key", "address"),
        NO_TRADE,
        BLOCKED,
    ],
    ("binance", "prod", 1): [*EXCESS, NO_TRADE],
    ("bitget", "demo", 0): [  # classic
        ("revoked", True, "invalid_key", "does not know"),
        ("ip_listed", False, "ip_not_allowed", "IP address"),
        *EXCESS,
        NO_TRADE,
        BLOCKED,
    ],
    ("bitget", "demo", 1): [  # unified
        ("revoked", True, "invalid_key", "does not know"),
        ("can_read", False, "no_read_permission", "permission"),
        ("ip_listed", False, "ip_not_allowed", "IP address"),
        *EXCESS,
        NO_TRADE,
    ],
}


class Stage:
    """The panel in front of an engine on simulators, and a follower of each place, added when it is needed."""

    def __init__(self, sims, program):
        self.sims, self.program = sims, program
        self._ids = {}

    def call(self, method, path, body=None):
        answer = self.program.call(method, f"{API}{path}", body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json

    def keys(self, exchange, number):
        return {name: value for name, value in self.sims[exchange]["followers"][number].items() if name != "mode"}

    def add(self, name, exchange, env, keys):
        return self.call("POST", "/accounts", {"name": name, "exchange": exchange, "env": env, **keys})["account"]

    def account(self, exchange, env, number):
        if (exchange, number) not in self._ids:
            row = self.add(f"{exchange} {number}", exchange, env, self.keys(exchange, number))
            assert row["state"] == "ACTIVE", row
            self._ids[exchange, number] = row["id"]
        return self._ids[exchange, number]

    def switch(self, exchange, number, flag, value):
        def act():
            account = self.sims.world.accounts[f"{exchange}-{number + 1}"]
            for each in [account] if flag == "blocked" else account.keys:
                setattr(each, flag, value)

        self.sims.call(act)

    def verify(self, account_id):
        began = time.monotonic()
        answer = self.call("POST", f"/accounts/{account_id}/verify")
        assert time.monotonic() - began < 10
        return answer


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("engine") / "data"
    data_dir.mkdir(mode=0o700)
    with running_simulators(binance_followers=2, bitget_followers=2, seed=5) as sims:
        sims.tidy()
        sims.call(lambda: setattr(sims.simulators["binance"].settings, "prod_like", True))
        settings = settings_for(sims, data_dir)
        # The same simulators stand for the production environments, too.
        binance, bitget = settings.endpoints["binance"]["test"], settings.endpoints["bitget"]["demo"]
        endpoints = {
            "binance": {"test": binance, "prod": binance},
            "bitget": {"demo": bitget, "prod": bitget},
        }
        Vault.create(settings.vault_path, MASTER_KEY)
        with (
            CopyTrader.open(settings=replace(settings, endpoints=endpoints), master_key=MASTER_KEY) as trader,
            ControlServer(trader, data_dir),
            RemoteCopyTrader.connect(data_dir) as remote,
            panel_stage(tmp_path_factory.mktemp("panel") / "data", remote) as panel,
        ):
            trader.start()
            yield Stage(sims, panel.program())


@pytest.mark.parametrize(
    ("place", "flag", "value", "kind", "word"),
    [(place, *wrong) for place, cases in WRONG.items() for wrong in cases],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_what_is_wrong_about_a_key_is_said_and_when_it_was_mended_it_is_good_again(
    stage, place, flag, value, kind, word
):
    exchange, _, number = place
    account_id = stage.account(*place)
    stage.switch(exchange, number, flag, value)
    try:
        refused = stage.verify(account_id)
        row = stage.call("GET", f"/accounts/{account_id}")
    finally:
        stage.switch(exchange, number, flag, not value)
    mended = stage.verify(account_id)

    assert refused["ok"] is False and refused["error"]["kind"] == kind, refused
    assert word in refused["error"]["message"] and set(refused) == {"ok", "error"}
    assert (row["state"], row["error_kind"], row["error"]) == ("DISABLED", kind, refused["error"]["message"])
    assert mended["ok"] is True and mended["freeUSDT"] > 0 and mended["freeBTC"] > 0
    assert stage.call("GET", f"/accounts/{account_id}")["state"] == "ACTIVE"


@pytest.mark.parametrize(
    ("exchange", "env", "change", "kind", "word"),
    [
        ("binance", "test", {"api_secret": "w" * 64}, "wrong_secret", "secret is wrong"),
        ("binance", "test", {"api_key": "k" * 64}, "invalid_key", "another environment"),
        ("bitget", "demo", {"api_secret": "w" * 64}, "wrong_secret", "secret"),
        ("bitget", "demo", {"passphrase": "not this one"}, "wrong_passphrase", "passphrase"),
        ("bitget", "demo", {"api_key": "k" * 64}, "invalid_key", "does not know"),
        ("bitget", "prod", {}, "wrong_environment", "other environment"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_what_was_mistyped_is_said_when_an_account_is_added_and_nothing_of_it_repeated(
    stage, exchange, env, change, kind, word
):
    keys = {**stage.keys(exchange, 0), **change}
    if keys["api_key"] == stage.keys(exchange, 0)["api_key"] and (exchange, 0) in stage._ids:
        stage.call("DELETE", f"/accounts/{stage._ids.pop((exchange, 0))}")  # no key is taken twice

    row = stage.add("mistyped", exchange, env, keys)
    verified = stage.verify(row["id"])
    stage.call("DELETE", f"/accounts/{row['id']}")

    assert (row["state"], row["error_kind"]) == ("DISABLED", kind)
    assert verified["error"] == {"kind": kind, "message": row["error"]} and word in row["error"]
    assert not any(value in str((row, verified)) for value in keys.values())


@pytest.mark.slow
def test_an_exchange_that_does_not_answer_is_not_waited_for_longer_than_ten_seconds(stage):
    account_id = stage.account("binance", "test", 0)
    stage.sims.arm("no_answer_not_executed", exchange="binance", count=2, params={"on": "any", "seconds": 15})

    refused = stage.verify(account_id)

    assert refused["ok"] is False and refused["error"]["kind"] == "no_answer"
    until(lambda: stage.verify(account_id)["ok"], 60)


@pytest.mark.slow
def test_an_exchange_whose_clock_is_far_off_is_said_and_followed_at_once(stage):
    account_id = stage.account("binance", "test", 0)
    assert stage.verify(account_id)["ok"]
    try:
        stage.sims.call(lambda: stage.sims.world.set_skew("binance", 3_600_000))

        answer = stage.verify(account_id)

        assert answer["error"]["kind"] == "clock_skewed" and "clock" in answer["error"]["message"]
        # No fault of the key: it stays as good as it was.
        assert stage.call("GET", f"/accounts/{account_id}")["state"] == "ACTIVE"
        until(lambda: stage.call("GET", "/status")["halts"], 20)
        until(lambda: not stage.call("GET", "/status")["halts"], 20)
        assert stage.verify(account_id)["ok"]
    finally:
        stage.sims.call(lambda: stage.sims.world.set_skew("binance", 0))
