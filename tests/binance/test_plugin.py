from copytrade_core.connector import CAPABILITIES
from copytrade_core.model import Environment
from copytrade_core.plugins import Plugins
from fake_binance import a_context


def test_the_entry_point_describes_binance():
    plugins = Plugins.discover()

    description = plugins.describe("binance", "demo")

    assert description.name_zh == "币安" and description.can_lead
    assert set(description.environments) == set(Environment)
    assert description.capabilities <= set(CAPABILITIES)
    assert [one.name for one in description.credential_fields] == ["api_key", "api_secret"]


def test_an_exchange_is_opened_without_touching_the_network():
    exchange = Plugins.discover().open_exchange("binance", a_context(Environment.PROD))

    assert exchange.description_id == "binance"
    exchange.close()


def test_the_plugin_leaves_other_exchanges_alone():
    from copytrade_binance import plugin

    assert plugin.copytrade_open_exchange("acme", a_context()) is None
    assert plugin.copytrade_open_simulator("acme", None) is None
