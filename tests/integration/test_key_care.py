"""A right that was added to a key at the simulated exchange is met by the daily question."""

from __future__ import annotations

from copytrade_core.accounts import key_care
from copytrade_core.sim import running_simulators
from copytrade_core.views import AccountState
from memory_exchange import until
from sim_engine import engine_on


def test_bitget_keys_of_both_kinds_that_may_withdraw_by_now_are_disabled(tmp_path, monkeypatch):
    with running_simulators(binance_followers=1, bitget_followers=2, seed=5) as sims:
        sims.tidy()
        with engine_on(sims, tmp_path / "data") as trader:
            for exchange in ("binance", "bitget"):
                for number, keys in enumerate(sims[exchange]["followers"]):
                    fields = {name: value for name, value in keys.items() if name != "mode"}
                    trader.add_account(f"{exchange} {number}", exchange, sims[exchange]["env"], fields)
            until(lambda: {one.state for one in trader.list_accounts()} == {AccountState.ACTIVE}, 40)

        def add_right() -> None:
            for account in sims.world.markets["bitget"].accounts:
                for key in account.keys:
                    key.can_withdraw = True

        sims.call(add_right)
        monkeypatch.setattr(key_care, "START_SEC", 0.0)
        monkeypatch.setattr(key_care, "PAUSE_SEC", 0.05)
        with engine_on(sims, tmp_path / "data") as trader:
            until(lambda: sum(one.error_kind == "can_withdraw" for one in trader.list_accounts()) == 2, 30)

            assert {one.exchange: one.state for one in trader.list_accounts()} == {
                "binance": AccountState.ACTIVE,
                "bitget": AccountState.DISABLED,
            }
