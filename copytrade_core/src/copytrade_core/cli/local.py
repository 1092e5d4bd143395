"""What a demo or a benchmark on this machine needs: the simulators in a process of their own, and a scripted leader."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from .children import Child, copytrade_command


@contextmanager
def simulators(
    binance_followers: int, bitget_followers: int, seed: int, log: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Run ``copytrade simulate`` in a process of its own; yields what it says of itself.

    :param log: what they complain about (clients that vanish in the middle of a request, say) is added to this file.
    """
    command = copytrade_command("simulate", "--json", "--port", "0")
    command += ["--binance-followers", str(binance_followers), "--bitget-followers", str(bitget_followers)]
    command += ["--seed", str(seed)]
    child = Child("simulators", command, log=log)
    try:
        yield child.ready()
    finally:
        child.end(20)


class ScriptedLeader:
    """The scripted leader: a Binance client of a dozen lines that shares no code with the plug-in."""

    def __init__(self, sims: Mapping[str, Any]) -> None:
        self._rest = sims["binance"]["rest"]
        self._key = sims["binance"]["leader"]["api_key"]
        self._secret = sims["binance"]["leader"]["api_secret"].encode()

    def free(self, asset: str) -> Decimal:
        account = self._call("GET", "/api/v3/account", {})
        return next(Decimal(row["free"]) for row in account["balances"] if row["asset"] == asset)

    def buy(self, quote: Decimal) -> str:
        return self._order({"side": "BUY", "quoteOrderQty": format(quote, "f")})

    def sell(self, base: Decimal) -> str:
        return self._order({"side": "SELL", "quantity": format(base, "f")})

    def _order(self, order: Mapping[str, str]) -> str:
        answer = self._call("POST", "/api/v3/order", {"symbol": "BTCUSDT", "type": "MARKET", **order})
        return str(answer["orderId"])

    def _call(self, method: str, path: str, params: Mapping[str, str]) -> Any:
        signed = urllib.parse.urlencode({**params, "timestamp": str(time.time_ns() // 1_000_000)})
        signed += "&signature=" + hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(
            f"{self._rest}{path}?{signed}", method=method, headers={"X-MBX-APIKEY": self._key}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=15) as answer:
            return json.load(answer)


def call_json(url: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
    """Ask a server on this machine; by *method*, or POST with a *body* and GET without. No proxy is asked."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=15) as answer:
        return json.load(answer)
