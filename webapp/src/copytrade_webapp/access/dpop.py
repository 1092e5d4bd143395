"""Proof that a browser holds its registered key, for each call (RFC 9449), and the short-lived tokens tied to it.

It proves "the same browser profile", not "the same machine": who copies the profile's files copies the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey

from copytrade_core.clock import Clock

from ..problems import Problem
from .secret import PanelSecret

TOKEN_SEC = 300
# How far the browser's clock may be off: the nonce, not the time, says that a proof is fresh.
CLOCK_SLACK_SEC = 300
NONCE_SEC = 300  # a nonce is good for this long at least, and twice as long at most
MOST_PROOFS = 200_000  # remembered at once; more than this in ten minutes is an attack
LONGEST_PROOF = 4096
AUDIENCE = "copytrade-panel"
TOKEN_TYPE = "at+jwt"
PROOF_TYPE = "dpop+jwt"
# What strange input makes of the library and of us; the last comes of JSON that is nested without end.
_UNREADABLE = (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that held: whose key made it."""

    thumbprint: str  # RFC 7638, SHA-256


class DeviceProofs:
    """Checks proofs and issues tokens. Replays are remembered in memory: one process serves the panel. Thread-safe.

    A new process remembers none, and so takes no proof that was made for another: its nonces are its own.
    """

    def __init__(self, secret: PanelSecret, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._token_key = OctKey.import_key(secret.key("device-token"))
        self._nonce_key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._seen: dict[bytes, float] = {}

    def nonce(self) -> str:
        """Return what the next proofs must carry."""
        return self._nonce_of(self._window())

    def issue(self, device_id: str, thumbprint: str) -> str:
        """Return an access token of a device, good for five minutes and only together with a proof of its key."""
        now = self._now_sec()
        claims = {
            "aud": AUDIENCE, "sub": device_id, "iat": now, "exp": now + TOKEN_SEC, "cnf": {"jkt": thumbprint}
        }  # fmt: skip
        return jwt.encode({"alg": "HS256", "typ": TOKEN_TYPE}, claims, self._token_key)

    def check_token(self, token: str) -> tuple[str, str]:
        """Return the device's id and its key's thumbprint. :raises Problem: 401."""
        try:
            decoded = jwt.decode(token, self._token_key, algorithms=["HS256"])
            claims = decoded.claims
            good = (
                decoded.header.get("typ") == TOKEN_TYPE
                and claims.get("aud") == AUDIENCE
                and int(claims["exp"]) > self._now_sec()
            )
            device_id, thumbprint = str(claims["sub"]), str(claims["cnf"]["jkt"])
        except _UNREADABLE:
            good, device_id, thumbprint = False, "", ""
        if not good:
            raise Problem(
                401, "device_token_invalid", "the device's token is no good or has run out; ask for a new one"
            )
        return device_id, thumbprint

    def check(self, proof: str, method: str, urls: frozenset[str], token: str = "") -> Proof:
        """Return whose key made this proof for this very call.

        :param urls: the addresses by which this call may be known, without query.
        :param token: the access token that the call shows besides; the proof must be about it.
        :raises Problem: 401; kind ``use_dpop_nonce`` where only the nonce is missing or too old.
        """
        header, claims = self._opened(proof)
        if claims.get("htm") != method or str(claims.get("htu")) not in urls:
            raise _bad("is for another call")
        if token and not _same(str(claims.get("ath", "")), _base64url(hashlib.sha256(token.encode()).digest())):
            raise _bad("is for another token")
        if abs(int(claims["iat"]) - self._now_sec()) > CLOCK_SLACK_SEC:
            raise Problem(401, "device_clock", "this computer's clock is off by more than five minutes: set it right")
        thumbprint = str(header["thumbprint"])
        nonce = str(claims.get("nonce", ""))
        if not any(_same(nonce, self._nonce_of(self._window() - age)) for age in (0, 1)):
            raise Problem(401, "use_dpop_nonce", "the proof must carry the nonce that this answer gives")
        self._remember(hashlib.sha256(f"{thumbprint}:{claims['jti']}".encode(errors="replace")).digest())
        return Proof(thumbprint)

    def _opened(self, proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the header's key's thumbprint and the claims of a proof whose signature holds."""
        if len(proof) > LONGEST_PROOF:
            raise _bad("is too long")
        try:
            jwk = dict(jws.extract_compact(proof.encode()).headers()["jwk"])
            if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or "d" in jwk:
                raise _bad("is not of a public P-256 key")
            key = ECKey.import_key({name: str(jwk[name]) for name in ("kty", "crv", "x", "y")})
            signed = jws.deserialize_compact(proof.encode(), key, algorithms=["ES256"])
            if signed.headers().get("typ") != PROOF_TYPE:
                raise _bad("is not of the right type")
            claims = json.loads(signed.payload)
            if not isinstance(claims, dict) or not isinstance(claims.get("jti"), str) or not claims["jti"]:
                raise _bad("names no call")
            if type(claims.get("iat")) is not int:
                raise _bad("says no time")
            return {"thumbprint": key.thumbprint()}, claims
        except _UNREADABLE:
            raise _bad("cannot be read, or its signature does not hold") from None

    def _remember(self, name: bytes) -> None:
        now = time.monotonic()
        with self._lock:
            if name in self._seen and self._seen[name] > now:
                raise _bad("was used before")
            if len(self._seen) >= MOST_PROOFS:
                self._seen = {each: until for each, until in self._seen.items() if until > now}
                if len(self._seen) >= MOST_PROOFS:
                    raise Problem(429, "too_many_requests", "too many calls; wait a few minutes", retry_after_sec=60)
            # Until its nonce is too old, after which it would be refused for that.
            self._seen[name] = now + 2 * NONCE_SEC

    def _window(self) -> int:
        return self._now_sec() // NONCE_SEC

    def _nonce_of(self, window: int) -> str:
        return _base64url(hmac.digest(self._nonce_key, str(window).encode(), "sha256")[:18])

    def _now_sec(self) -> int:
        return self._clock.wall_ms() // 1000


def _bad(what: str) -> Problem:
    return Problem(401, "device_proof_invalid", f"the device's proof {what}")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
