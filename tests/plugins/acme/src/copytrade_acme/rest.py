"""Acme over HTTP: signs, sends once, classifies; knows no domain types."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from copytrade_core import Credentials, NotSent, OutcomeUnknown

from .errors import refusal

ANSWER_SEC = 10.0
WINDOW_MS = 5000


class Rest:
    """Acme's requests, each on a connection of its own: slow, and with no stale connection to doubt."""

    def __init__(self, origin: str) -> None:
        self._host = urlsplit(origin).netloc

    def get(self, path: str) -> Any:
        return self._send("GET", path, "", {}, nullcontext())

    def signed_get(self, path: str, credentials: Credentials, time_ms: int) -> Any:
        return self._send("GET", path, "", _signed(credentials, "GET", path, "", time_ms), nullcontext())

    def order(
        self, body: Mapping[str, str], credentials: Credentials, time_ms: int, passage: AbstractContextManager[None]
    ) -> Any:
        """Send an order once, signed as of *time_ms*; *passage* is entered around the write."""
        text = json.dumps(dict(body))
        return self._send("POST", "/orders", text, _signed(credentials, "POST", "/orders", text, time_ms), passage)

    def _send(
        self, method: str, path: str, text: str, headers: Mapping[str, str], passage: AbstractContextManager[None]
    ) -> Any:
        connection = http.client.HTTPConnection(self._host, timeout=ANSWER_SEC)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise NotSent(f"Acme cannot be reached ({type(error).__name__})", exchange="acme") from None
            try:
                with passage:
                    connection.request(method, path, text, dict(headers))
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                # From the first byte on nobody knows whether the order got there.
                raise OutcomeUnknown(f"Acme did not answer ({type(error).__name__})", exchange="acme") from None
        finally:
            connection.close()
        try:
            answer = json.loads(content, parse_float=Decimal)
        except ValueError:
            raise OutcomeUnknown("Acme's answer cannot be read", exchange="acme") from None
        if not isinstance(answer, dict):
            raise OutcomeUnknown("Acme's answer has another shape", exchange="acme")
        if response.status >= 300 and answer.get("error") != "no_such_order":
            raise refusal(response.status, str(answer.get("error")), response.headers.get("Retry-After", ""))
        return answer


def _signed(credentials: Credentials, method: str, path: str, text: str, time_ms: int) -> dict[str, str]:
    message = f"{time_ms}{method}{path}{text}"
    signature = hmac.new(credentials["api_secret"].encode(), message.encode(), hashlib.sha256).hexdigest()
    return {
        "Acme-Key": credentials["api_key"],
        "Acme-Pin": credentials["pin"],
        "Acme-Time": str(time_ms),
        "Acme-Sign": signature,
    }
