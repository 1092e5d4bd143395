"""The hooks of the Binance plug-in; this is what its entry point names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from copytrade_core.connector import Exchange, ExchangeContext
from copytrade_core.hookspecs import hookimpl
from copytrade_core.model import CredentialField, Environment, ExchangeDescription

from .connector import BinanceExchange
from .errors import EXCHANGE

if TYPE_CHECKING:
    from copytrade_core.sim import Simulator, World


@hookimpl
def copytrade_describe_exchanges() -> Sequence[ExchangeDescription]:
    return (
        ExchangeDescription(
            id=EXCHANGE,
            name="Binance",
            name_zh="币安",
            environments=(Environment.PROD, Environment.TEST, Environment.DEMO),
            credential_fields=(
                CredentialField(name="api_key", label="API key", label_zh="API Key"),
                CredentialField(
                    name="api_secret",
                    label="API secret, or private key (PEM)",
                    label_zh="API Secret 或私钥（PEM）",
                    multiline=True,
                ),
            ),
            can_lead=True,
            capabilities=frozenset({"push_balances", "burst_orders", "key_permissions", "leads"}),
        ),
    )


@hookimpl
def copytrade_open_exchange(exchange: str, context: ExchangeContext) -> Exchange | None:
    return BinanceExchange(context) if exchange == EXCHANGE else None


@hookimpl
def copytrade_open_simulator(exchange: str, world: World) -> Simulator | None:
    if exchange != EXCHANGE:
        return None
    from .sim import BinanceSimulator  # needs the extra `sim`, which a trading machine does not install

    return BinanceSimulator(world)
