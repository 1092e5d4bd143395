"""The signatures as the exchange works them out; written apart from the connector's own, so that each checks the other.

Source: https://www.bitget.com/api-doc/common/signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import unquote_to_bytes


def rest_prehash(timestamp: str, method: str, target: bytes, body: bytes) -> bytes:
    """Return what is signed: the raw query, whatever of it was percent-encoded on the way, and the very bytes sent."""
    path, mark, query = target.partition(b"?")
    return timestamp.encode() + method.upper().encode() + path + mark + unquote_to_bytes(query) + body


def login_prehash(timestamp: str) -> bytes:
    return f"{timestamp}GET/user/verify".encode()


def sign(secret: str, prehash: bytes) -> bytes:
    return base64.b64encode(hmac.new(secret.encode(), prehash, hashlib.sha256).digest())
