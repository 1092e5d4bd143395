"""Bitget's signature: base64 of HMAC-SHA256 over what is sent, byte for byte.

Source: https://www.bitget.com/api-doc/common/signature
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from copytrade_core.model import Credentials


class Signer:
    """Signs for one account. Holds the secrets; prints none."""

    def __init__(self, credentials: Credentials) -> None:
        self._api_key = credentials["api_key"]
        self._passphrase = credentials["passphrase"]
        self._keyed = hmac.new(credentials["api_secret"].encode(), digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return "<Signer>"

    def sign(self, text: str) -> str:
        # Copying the keyed state spares hashing the secret once more for every order of a burst.
        digest = self._keyed.copy()
        digest.update(text.encode())
        return base64.b64encode(digest.digest()).decode("ascii")

    def headers(self, timestamp_ms: int, method: str, target: str, body: str) -> dict[str, str]:
        """Return the headers that authenticate one request; *target* is the path with its raw query."""
        return {
            "ACCESS-KEY": self._api_key,
            "ACCESS-SIGN": self.sign(f"{timestamp_ms}{method}{target}{body}"),
            "ACCESS-TIMESTAMP": str(timestamp_ms),
            "ACCESS-PASSPHRASE": self._passphrase,
        }

    def login(self, timestamp_sec: int) -> dict[str, str]:
        """Return the argument of a socket's login. Seconds: REST alone signs milliseconds."""
        return {
            "apiKey": self._api_key,
            "passphrase": self._passphrase,
            "timestamp": str(timestamp_sec),
            "sign": self.sign(f"{timestamp_sec}GET/user/verify"),
        }
