"""The leader's own market orders, for ``copytrade acceptance``: a few signed calls that share no code with the plug-in.

The engine never gives a key out, so whoever wants to place orders with it brings it along again. One connection a call,
no proxy of the environment, no redirect; an order is written once and never again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..errors import ExchangeError, OrderRejected, OutcomeUnknown
from ..model import Environment, Symbol

# https://developers.binance.com/docs/binance-spot-api-docs/testnet, .../demo-mode. Production is left out on purpose.
ORIGINS: Final = {
    Environment.TEST: "https://testnet.binance.vision",
    Environment.DEMO: "https://demo-api.binance.com",
}
TIMEOUT_SEC = 15
EXCHANGE = "binance"
UNKNOWN_CODES = (-1000, -1001, -1006, -1007)  # their documentation: the order may have been executed


class LeaderOrders:
    """Places market orders on Binance's spot test systems with the leader's key."""

    def __init__(self, origin: str, symbol: Symbol, api_key: str, api_secret: str) -> None:
        self._origin = urlsplit(origin)
        self._symbol = f"{symbol.base}{symbol.quote}"
        self._key = api_key
        self._secret = api_secret

    def uid(self) -> str:
        """Return the account's number. :raises ExchangeError: the key is refused, or there is no answer."""
        return str(self._signed("GET", "/api/v3/account", {"omitZeroBalances": "true"})["uid"])

    def base_step(self) -> Decimal:
        """Return the step of a market order's base quantity."""
        rules = self._call("GET", f"/api/v3/exchangeInfo?symbol={self._symbol}", b"", {})["symbols"][0]
        steps = [Decimal(each["stepSize"]) for each in rules["filters"] if "LOT_SIZE" in each["filterType"]]
        return max(steps)  # MARKET_LOT_SIZE may be nought: then LOT_SIZE counts

    def buy(self, quote_amount: Decimal, client_order_id: str) -> None:
        """:raises OrderRejected: it was not placed. :raises OutcomeUnknown: it may have been; never to be repeated."""
        self._order({"side": "BUY", "quoteOrderQty": format(quote_amount, "f")}, client_order_id)

    def sell(self, base_quantity: Decimal, client_order_id: str) -> None:
        """Like `buy`, sized in base."""
        self._order({"side": "SELL", "quantity": format(base_quantity, "f")}, client_order_id)

    def _order(self, order: Mapping[str, str], client_order_id: str) -> None:
        parameters = {"symbol": self._symbol, "type": "MARKET", **order, "newClientOrderId": client_order_id}
        self._signed("POST", "/api/v3/order", parameters)

    def _signed(self, method: str, path: str, parameters: Mapping[str, str]) -> Any:
        # Its own time, so that this machine's clock need not be right.
        now = self._call("GET", "/api/v3/time", b"", {})["serverTime"]
        payload = urlencode({**parameters, "timestamp": str(now), "recvWindow": "10000"})
        payload += "&signature=" + quote(_signature(self._secret, payload.encode()), safe="")
        headers = {"X-MBX-APIKEY": self._key}
        if method == "GET":
            return self._call(method, f"{path}?{payload}", b"", headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self._call(method, path, payload.encode(), headers)

    def _call(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Any:
        is_tls = self._origin.scheme == "https"
        opened = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = opened(self._origin.hostname or "", self._origin.port, timeout=TIMEOUT_SEC)
        try:
            connection.request(method, target, body=body or None, headers=dict(headers))
            response = connection.getresponse()
            status, answer = response.status, json.loads(response.read(), parse_float=Decimal)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Without its text: it may quote the request.
            raise OutcomeUnknown(
                f"no answer of the leader's exchange ({type(error).__name__})", exchange=EXCHANGE
            ) from None
        finally:
            connection.close()
        if 200 <= status < 300:
            return answer
        code = answer.get("code") if isinstance(answer, dict) else None
        if status >= 500 or code in UNKNOWN_CODES:
            raise OutcomeUnknown(f"the leader's exchange answered HTTP {status}", exchange=EXCHANGE)
        kind: type[ExchangeError] = OrderRejected if method == "POST" else ExchangeError
        raise kind(f"the leader's exchange refused it: {answer.get('msg', 'without a word')}", code=str(code))


def _signature(secret: str, payload: bytes) -> str:
    if not secret.lstrip().startswith("-----BEGIN"):
        return hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()
    try:
        key = load_pem_private_key(secret.strip().encode(), None)
    except (ValueError, TypeError):
        raise ExchangeError("the leader's private key cannot be read", exchange=EXCHANGE) from None
    if isinstance(key, Ed25519PrivateKey):
        return base64.b64encode(key.sign(payload)).decode()
    if isinstance(key, RSAPrivateKey):
        return base64.b64encode(key.sign(payload, PKCS1v15(), SHA256())).decode()
    raise ExchangeError("the leader's private key is neither Ed25519 nor RSA", exchange=EXCHANGE)
