"""An unchanged independent client trades on the simulator: ccxt, in Bitget's demo mode, on both account families."""

from __future__ import annotations

from decimal import Decimal

import ccxt
import pytest

from bitget_wire import wait_until
from copytrade_bitget.sim import BitgetSimulator
from copytrade_core.sim import running_simulators

SYMBOL = "BTC/USDT"


@pytest.fixture(scope="module")
def sims():
    with running_simulators(followers={"bitget": 2}, factories={"bitget": BitgetSimulator}) as running:
        yield running


@pytest.fixture(params=["classic", "unified"])
def exchange(sims, request):
    keys = sims["bitget"]["followers"][request.param == "unified"]
    client = ccxt.bitget({"apiKey": keys["api_key"], "secret": keys["api_secret"], "password": keys["passphrase"]})
    client.set_sandbox_mode(True)
    client.urls["api"] = dict.fromkeys(client.urls["api"], sims["bitget"]["rest"])
    yield client
    client.session.close()


def test_it_finds_the_family_loads_the_pair_trades_and_reads_back(sims, exchange):
    exchange.load_markets()
    assert exchange.options["uta"] == (exchange.apiKey == sims["bitget"]["followers"][1]["api_key"])
    account_id = "bitget-2" if exchange.options["uta"] else "bitget-1"
    free = Decimal(str(exchange.fetch_balance()["BTC"]["free"]))
    assert free == Decimal(sims.truth(account_id)["balances"]["BTC"]["free"])

    by_cost = {} if exchange.options["uta"] else {"createMarketBuyOrderRequiresPrice": False}
    bought = exchange.create_order(SYMBOL, "market", "buy", 250.12, None, {"clientOid": "buy1", **by_cost})
    buy = closed(exchange, bought["id"])
    sold = exchange.create_order(SYMBOL, "market", "sell", 0.001, None, {"clientOid": "sell1"})
    sale = closed(exchange, sold["id"])

    orders = {order["client_order_id"]: order for order in sims.truth(account_id)["orders"]}
    assert Decimal(str(buy["filled"])) == Decimal(orders["buy1"]["executed_base"])
    assert Decimal(str(sale["filled"])) == Decimal("0.001")
    assert {trade["order"] for trade in exchange.fetch_my_trades(SYMBOL)} == {bought["id"], sold["id"]}
    assert exchange.fetch_ticker(SYMBOL)["last"] == float(sims.world.markets["bitget"].price)


def test_it_is_told_of_an_insufficient_balance_and_of_a_wrong_secret(sims, exchange):
    # ccxt has no word of its own for the unified code; what it quotes is the exchange's answer.
    with pytest.raises(ccxt.ExchangeError, match=r"43012|25202"):
        exchange.create_order(SYMBOL, "market", "buy", 10_000_000, 1)

    exchange.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        exchange.fetch_balance()


def closed(exchange, order_id):
    def look():
        try:
            order = exchange.fetch_order(order_id, SYMBOL)
        except ccxt.OrderNotFound:
            return None
        return order if order["status"] == "closed" else None

    return wait_until(look)
