from __future__ import annotations

from collections.abc import Iterator

import pytest

from copytrade_binance.connector import BinanceConnector, BinanceExchange
from copytrade_core.model import AccountId
from fake_binance import FakeRest, FakeWsApi, OpenGate, a_context, credentials


@pytest.fixture
def rest() -> Iterator[FakeRest]:
    fake = FakeRest()
    yield fake
    fake.close()


@pytest.fixture
def ws_api() -> Iterator[FakeWsApi]:
    fake = FakeWsApi()
    yield fake
    fake.close()


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
def exchange(rest: FakeRest, ws_api: FakeWsApi) -> Iterator[BinanceExchange]:
    opened = BinanceExchange(a_context(rest=rest.origin, ws_api=ws_api.url))
    yield opened
    opened.close()


@pytest.fixture
def connector(exchange: BinanceExchange) -> BinanceConnector:
    return exchange.open_connector(AccountId("follower-1"), credentials())
