"""The third plug-in, which knows of the engine only what the documentation says, keeps the contract."""

import importlib
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from copytrade_core import Environment, Side
from copytrade_core.testing import ConnectorContract, ExecutedOrder, FakeExchange

SOURCES = Path(__file__).parent.parent / "plugins" / "acme" / "src"


class FakeAcme(FakeExchange):
    exchange = "acme"
    environment = Environment.TEST

    def __init__(self, acme):
        self.plugin = importlib.import_module("copytrade_acme.plugin")
        self.acme = acme
        self.endpoints = {"rest": acme.origin}
        self.credentials = acme.open_account("contract", Decimal("1.23456789"), Decimal("54321.98765432"))
        (self.account,) = acme.accounts.values()

    def free(self, asset):
        with self.acme.lock:
            return self.account.free[asset]

    def executed_orders(self):
        with self.acme.lock:
            return [
                ExecutedOrder(
                    client_order_id=order["ref"],
                    side=Side(order["side"].upper()),
                    base=Decimal(order["base"]),
                    quote=Decimal(order["quote"]),
                )
                for order in self.account.orders
            ]

    def accepts_then_drops_the_answer(self):
        self.acme.next_order_trouble = "drop_after"

    def drops_before_execution(self):
        self.acme.next_order_trouble = "drop_before"

    def answers_garbage(self):
        self.acme.next_order_trouble = "garbage"

    def limits_the_rate(self, retry_after_sec):
        self.acme.retry_after = retry_after_sec
        self.acme.next_order_trouble = "slow_down"

    def refuses_the_key(self):
        self.account.is_revoked = True

    def skews_the_clock(self, ms):
        self.acme.skew_ms += ms

    def loses_reads(self):
        self.acme.read_trouble = "drop_before"

    def garbles_reads(self):
        self.acme.read_trouble = "garbage"

    def lets_the_key_withdraw(self):
        self.account.rights.append("withdraw")

    def heals(self):
        self.acme.next_order_trouble = self.acme.read_trouble = ""
        self.acme.skew_ms = 0
        self.account.is_revoked = False


@pytest.fixture(scope="module", autouse=True)
def _importable():
    sys.path.insert(0, str(SOURCES))
    yield
    sys.path.remove(str(SOURCES))


@pytest.fixture
def acme():
    server = importlib.import_module("copytrade_acme.simulator").AcmeServer().start()
    yield server
    server.stop()


class TestAcmeContract(ConnectorContract):
    @pytest.fixture
    def fake_exchange(self, acme):
        return FakeAcme(acme)
