"""Which exchanges there are, and which fields a key has on each: asked of the plug-ins, never written down here."""

from __future__ import annotations

from dataclasses import asdict

from flask import Response

from ..schemas import trading as schema
from .answers import answer, engine
from .calls import Blueprint
from .documents import ENGINE, problems

blueprint = Blueprint("exchanges", __name__, url_prefix="/exchanges", description="Exchanges and plug-ins")


@blueprint.get("")
@problems(blueprint, *ENGINE)
@blueprint.response(200, schema.ExchangeRows)
def list_exchanges() -> Response:
    """List the exchanges and their forms; a plug-in that does not load is shown with its error."""
    trader = engine()
    return answer(
        {
            "items": [asdict(exchange) for exchange in trader.list_exchanges()],
            "plugins": [asdict(plugin) for plugin in trader.list_plugins()],
        }
    )
