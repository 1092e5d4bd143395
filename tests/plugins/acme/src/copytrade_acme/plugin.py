"""The hooks of the Acme plug-in; this is what its entry point names."""

from __future__ import annotations

from collections.abc import Sequence

from copytrade_core import CredentialField, Environment, Exchange, ExchangeContext, ExchangeDescription, hookimpl

from .connector import AcmeExchange


@hookimpl
def copytrade_describe_exchanges() -> Sequence[ExchangeDescription]:
    return [
        ExchangeDescription(
            id="acme",
            name="Acme",
            name_zh="艾克米",
            environments=(Environment.TEST,),
            credential_fields=(
                CredentialField(name="api_key", label="API key", label_zh="API Key"),
                CredentialField(name="api_secret", label="Secret", label_zh="密钥"),
                CredentialField(name="pin", label="PIN", label_zh="PIN 码"),
            ),
            capabilities=frozenset({"key_permissions"}),
        )
    ]


@hookimpl
def copytrade_open_exchange(exchange: str, context: ExchangeContext) -> Exchange | None:
    return AcmeExchange(context) if exchange == "acme" else None
