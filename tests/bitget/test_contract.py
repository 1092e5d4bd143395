"""Both families of Bitget accounts keep the contract, against the simulated exchange."""

from __future__ import annotations

import pytest

from copytrade_bitget import plugin
from copytrade_bitget.sim import BitgetSimulator
from copytrade_core.sim import running_simulators
from copytrade_core.testing import ConnectorContract
from copytrade_core.testing.simulated import SimulatedExchange


class FakeBitget(SimulatedExchange):
    def limits_the_rate(self, retry_after_sec):
        self.arm("rate_limited", params={"retry_after": str(retry_after_sec)})


@pytest.fixture
def sims():
    with running_simulators(followers={"bitget": 2}, factories={"bitget": BitgetSimulator}) as sims:
        # Orders fill after they were acknowledged all the same, only sooner.
        sims.call(lambda: sims.world.untidiness["bitget"].set({"fill_min_ms": 5, "fill_max_ms": 40}))
        yield sims


def fake_bitget(sims, mode):
    number, keys = next(
        (number, keys) for number, keys in enumerate(sims["bitget"]["followers"], 1) if keys["mode"] == mode
    )
    credentials = {name: keys[name] for name in ("api_key", "api_secret", "passphrase")}
    return FakeBitget(sims, plugin, "bitget", f"bitget-{number}", credentials)


class TestClassicBitgetContract(ConnectorContract):
    @pytest.fixture
    def fake_exchange(self, sims):
        return fake_bitget(sims, "classic")


class TestUnifiedBitgetContract(ConnectorContract):
    @pytest.fixture
    def fake_exchange(self, sims):
        return fake_bitget(sims, "unified")
