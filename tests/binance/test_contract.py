"""Binance keeps the contract, against the simulated exchange: with both kinds of keys, on prod and the test network."""

from __future__ import annotations

import pytest

from copytrade_binance import plugin
from copytrade_binance.sim import BinanceSimulator
from copytrade_core import Environment
from copytrade_core.sim import running_simulators
from copytrade_core.testing import ConnectorContract
from copytrade_core.testing.simulated import SimulatedExchange


class FakeBinance(SimulatedExchange):
    def limits_the_rate(self, retry_after_sec):
        self.arm("minus_1003", params={"retry_after": str(retry_after_sec)})


@pytest.fixture
def sims():
    with running_simulators(followers={"binance": 1}, factories={"binance": BinanceSimulator}) as sims:
        yield sims


class TestBinanceContract(ConnectorContract):
    """An HMAC key on prod, where Binance tells what a key may do."""

    @pytest.fixture
    def fake_exchange(self, sims):
        sims.call(lambda: sims.simulators["binance"].configure({"prod_like": True}))
        (credentials,) = sims["binance"]["followers"]
        fake = FakeBinance(sims, plugin, "binance", "binance-1", credentials)
        fake.environment = Environment.PROD
        return fake


class TestBinanceTestNetworkContract(ConnectorContract):
    """An Ed25519 key on the test network."""

    # Nothing tells there whether a key can withdraw.
    test_a_key_that_can_withdraw_is_refused = None

    @pytest.fixture
    def fake_exchange(self, sims):
        simulator, account = sims.simulators["binance"], sims.world.accounts["binance-1"]
        credentials = sims.call(lambda: simulator.add_credentials(account, "ed25519"))
        return FakeBinance(sims, plugin, "binance", "binance-1", credentials)
