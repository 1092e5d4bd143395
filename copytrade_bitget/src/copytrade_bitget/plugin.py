"""The hooks that this plug-in answers; all that its entry point names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from copytrade_core.connector import Exchange, ExchangeContext
from copytrade_core.hookspecs import hookimpl
from copytrade_core.model import CredentialField, Environment, ExchangeDescription

from .connector import BitgetExchange
from .errors import EXCHANGE

if TYPE_CHECKING:
    from copytrade_core.sim import Simulator, World

DESCRIPTION = ExchangeDescription(
    id=EXCHANGE,
    name="Bitget",
    name_zh="Bitget",
    environments=(Environment.PROD, Environment.DEMO),
    credential_fields=(
        CredentialField(name="api_key", label="API key", label_zh="API Key", secret=False),
        CredentialField(name="api_secret", label="Secret key", label_zh="Secret Key（密钥）"),
        CredentialField(name="passphrase", label="Passphrase", label_zh="Passphrase（口令）"),
    ),
    can_lead=False,
    capabilities=frozenset({"push_balances", "key_permissions"}),
)


@hookimpl
def copytrade_describe_exchanges() -> Sequence[ExchangeDescription]:
    return [DESCRIPTION]


@hookimpl
def copytrade_open_exchange(exchange: str, context: ExchangeContext) -> Exchange | None:
    return BitgetExchange(context) if exchange == EXCHANGE else None


@hookimpl
def copytrade_open_simulator(exchange: str, world: World) -> Simulator | None:
    if exchange != EXCHANGE:
        return None
    from .sim import BitgetSimulator  # needs the extra "sim", which trading does not

    return BitgetSimulator(world)
