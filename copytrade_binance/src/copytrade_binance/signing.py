"""Signatures: HMAC-SHA-256, Ed25519 and RSA, over the two serialisations that Binance has.

REST signs the percent-encoded parameters in the order in which they are sent; the WebSocket API signs them
sorted by name and not encoded. Both are in
https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md (Request Security) and
https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-api.md (Request security).
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from copytrade_core.errors import AuthenticationFailed
from copytrade_core.model import Credentials

_HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,256}")  # what may stand in an HTTP header without changing it


class Signer:
    """One key: its public half, and the right to sign with the secret half. Thread-safe."""

    __slots__ = ("_sign", "api_key")

    def __init__(self, api_key: str, sign: Callable[[bytes], str]) -> None:
        self.api_key = api_key
        self._sign = sign

    def __repr__(self) -> str:
        return "Signer(...)"

    @classmethod
    def of(cls, credentials: Credentials) -> Signer:
        """Return the signer of *credentials*; a PEM block as ``api_secret`` is an Ed25519 or RSA private key.

        :raises AuthenticationFailed: the key or the secret cannot be one of Binance.
        """
        api_key, secret = credentials["api_key"].strip(), credentials["api_secret"].strip()
        if not _HEADER_TEXT.fullmatch(api_key):
            raise AuthenticationFailed("this is no Binance API key", kind="invalid_key", exchange="binance")
        if not secret:
            raise AuthenticationFailed("the API secret is empty", kind="wrong_secret", exchange="binance")
        return cls(api_key, _private_key(secret) if "-----BEGIN" in secret else _hmac(secret))

    def sign(self, payload: str) -> str:
        """Return the signature of *payload*: hexadecimal for HMAC, base64 otherwise; not percent-encoded."""
        return self._sign(payload.encode())

    def form(self, params: Mapping[str, str]) -> str:
        """Return *params* as a signed form: a query string, or a body of ``x-www-form-urlencoded``."""
        payload = urlencode(params)
        return f"{payload}&signature={quote(self.sign(payload), safe='')}"

    def frame_params(self, params: Mapping[str, str | int]) -> dict[str, str | int]:
        """Return *params* with key and signature, for a request of the WebSocket API."""
        signed: dict[str, str | int] = dict(params, apiKey=self.api_key)
        signed["signature"] = self.sign("&".join([f"{name}={signed[name]}" for name in sorted(signed)]))
        return signed


def _hmac(secret: str) -> Callable[[bytes], str]:
    keyed = hmac.new(secret.encode(), digestmod="sha256")

    def sign(payload: bytes) -> str:
        digest = keyed.copy()  # the padded key is hashed once, not with every order of a burst
        digest.update(payload)
        return digest.hexdigest()

    return sign


def _private_key(pem: str) -> Callable[[bytes], str]:
    key = None
    # Refused below and not here: the library's error may quote the key.
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(pem.encode(), password=None)
    if isinstance(key, Ed25519PrivateKey):
        return lambda payload, sign=key.sign: base64.b64encode(sign(payload)).decode()  # type: ignore[misc]
    if isinstance(key, RSAPrivateKey):
        return lambda payload, sign=key.sign: base64.b64encode(  # type: ignore[misc]
            sign(payload, PKCS1v15(), SHA256())
        ).decode()
    raise AuthenticationFailed(
        "the API secret is no readable PEM private key (Ed25519 or RSA, PKCS#8, without a password)",
        kind="wrong_secret",
        exchange="binance",
    )
