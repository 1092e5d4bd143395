"""Every kind of key that Binance makes, from the account that is added to the copy that is filled, on real sockets."""

from __future__ import annotations

import pytest

from copytrade_core.sim import running_simulators
from copytrade_core.views import AccountState, CopyState
from memory_exchange import until
from sim_engine import Setup, engine_on


@pytest.mark.parametrize("leads_with", ["ed25519", "rsa"])
def test_hmac_ed25519_and_rsa_keys_are_verified_and_copy(tmp_path, leads_with):
    with running_simulators(binance_followers=1, seed=5) as sims:
        sims.tidy()
        binance = sims.simulators["binance"]

        def key(account: str, kind: str) -> dict[str, str]:
            return sims.call(lambda: binance.add_credentials(sims.world.accounts[account], kind))

        def opened(account: str, kind: str) -> dict[str, str]:
            return sims.call(lambda: binance.add_credentials(binance.open_account(account, "follower", 2), kind))

        followers = {
            "hmac": dict(sims["binance"]["followers"][0]),
            "ed25519": opened("by-ed25519", "ed25519"),
            "rsa": opened("by-rsa", "rsa"),
        }
        env = sims["binance"]["env"]
        with engine_on(sims, tmp_path / "data") as trader:
            for name, fields in followers.items():
                account = trader.add_account(name, "binance", env, fields)
                assert account.state is AccountState.ACTIVE, account.error
                found = trader.verify_account(account.id)
                assert found.ok, found.error
                # Outside of prod Binance does not say what else a key may do: the person is told.
                assert [warning.kind for warning in found.warnings] == ["key_withdraw_unknown"]
            leader = trader.set_leader("binance", env, key("leader", leads_with))
            assert leader.connected, leader.error
            trader.start_copying()
            setup = Setup(sims, trader, tmp_path / "data")

            bought = setup.book(setup.leader_buys("5000"))
            sold = setup.book(setup.leader_sells("0.02"))

            for book in (bought, sold):
                assert {copy.account_name: copy.state for copy in book.copies} == dict.fromkeys(
                    followers, CopyState.FILLED
                )
            assert setup.problems() == []
            assert all("PRIVATE KEY" not in event.text for event in trader.list_feed())
            # Streams sign, too: figures come by push, and not by reading alone.
            assert until(lambda: all(account.pushed for account in trader.list_accounts()))


def test_a_key_of_another_pair_is_refused_with_its_reason(tmp_path):
    with running_simulators(binance_followers=1, seed=6) as sims:
        sims.tidy()
        binance = sims.simulators["binance"]
        one, other = (
            sims.call(lambda kind=kind: binance.add_credentials(sims.world.accounts["binance-1"], kind))
            for kind in ("ed25519", "rsa")
        )
        with engine_on(sims, tmp_path / "data") as trader:
            mixed = {"api_key": one["api_key"], "api_secret": other["api_secret"]}

            account = trader.add_account("mixed", "binance", sims["binance"]["env"], mixed)

            assert (account.state, account.error_kind) == (AccountState.DISABLED, "wrong_secret")
