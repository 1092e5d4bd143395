"""What the simulated Binance checks before an order is one: limits, keys, times, signatures, parameters.

Order of the checks, texts and codes follow https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md,
``errors.md`` and ``filters.md`` there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from copytrade_core.sim import SimAccount, SimKey, World

EXCHANGE = "binance"

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_WHOLE = re.compile(r"[0-9]{1,19}")
_CLIENT_ID = re.compile(r"[a-zA-Z0-9-_]{1,36}")
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000


@dataclass(slots=True)
class Settings:
    """What the admin API may change. Limits are Binance's; a test sets them low, or the times short."""

    weight_limit: int = 6000
    raw_requests_limit: int = 300_000
    connections_limit: int = 300
    orders_10s: int = 100
    orders_1d: int = 200_000
    ban_after: int = 5  # requests sent in spite of a 429, after which the address is banned
    ban_sec: int = 120  # the first ban; each further one is twice as long
    prod_like: bool = False  # whether the wallet API (/sapi) is there
    update_time_equals_u: bool = True  # whether account.updateTime is the `u` of the position event
    ping_interval_sec: float = 20.0
    pong_timeout_sec: float = 60.0
    connection_max_sec: float = 86_400.0
    status: str = "TRADING"
    min_notional: str = "5.00000000"
    base_step: str = "0.00001000"
    max_market_quantity: str = "141.67845966"


class ApiError(Exception):
    """An answer that is no success. ``code`` 0: no JSON body but a gateway's page."""

    def __init__(
        self, status: int, code: int, message: str = "", *, retry_at_ms: int = 0, retry_after: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_at_ms = retry_at_ms
        self.retry_after = retry_after


def bad(code: int, message: str) -> ApiError:
    return ApiError(400, code, message)


def refused_key() -> ApiError:
    return ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")


@dataclass(slots=True)
class _Address:
    minute: int = 0
    weight: int = 0
    heaviest: int = 0  # the weight of its fullest minute so far
    five_minutes: int = 0
    requests: int = 0
    connections: int = 0
    ignored: int = 0
    bans: int = 0
    banned_until_ms: int = 0

    def add(self, weight: int) -> None:
        self.weight += weight
        self.heaviest = max(self.heaviest, self.weight)


@dataclass(slots=True)
class OrderCount:
    """The unfilled orders of one account in the two windows."""

    ten_seconds: int = 0
    day: int = 0
    in_ten_seconds: int = 0
    in_day: int = 0

    def roll(self, now_ms: int) -> None:
        if now_ms // 10_000 != self.ten_seconds:
            self.ten_seconds, self.in_ten_seconds = now_ms // 10_000, 0
        if now_ms // _DAY_MS != self.day:
            self.day, self.in_day = now_ms // _DAY_MS, 0

    def add(self, change: int) -> None:
        self.in_ten_seconds = max(0, self.in_ten_seconds + change)
        self.in_day = max(0, self.in_day + change)


class Limits:
    """Weight by address, unfilled orders by account. All windows are aligned to the exchange's calendar."""

    def __init__(self, world: World, settings: Settings, on_ban: Callable[[str], None] = lambda address: None) -> None:
        """*on_ban* is told the address that was banned just now."""
        self._world = world
        self._settings = settings
        self._on_ban = on_ban
        self._addresses: dict[str, _Address] = {}
        self._orders: dict[str, OrderCount] = {}

    def charge(self, address: str, weight: int) -> None:
        """Count one request. :raises ApiError: 429 over the limit; 418 when 429 was not heeded."""
        now_ms = self._world.now_ms(EXCHANGE)
        one = self._at(address, now_ms)
        if now_ms < one.banned_until_ms:
            raise self._banned(one)
        one.requests += 1
        one.add(weight)
        if one.weight > self._settings.weight_limit:
            raise self._refused(
                address,
                f"Too much request weight used; current limit is {self._settings.weight_limit} request weight per 1"
                " MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
                (one.minute + 1) * _MINUTE_MS,
            )
        if one.requests > self._settings.raw_requests_limit:
            raise self._refused(
                address,
                f"Too many requests; current limit is {self._settings.raw_requests_limit} requests per 5 MINUTE.",
                (one.five_minutes + 1) * 300_000,
            )

    def connect(self, address: str) -> None:
        """Count one connection attempt. :raises ApiError: too many in five minutes, or banned."""
        self.charge(address, 2)
        one = self._addresses[address]
        one.connections += 1
        if one.connections > self._settings.connections_limit:
            raise self._refused(address, "Too many connection attempts.", (one.five_minutes + 1) * 300_000)

    def _refused(self, address: str, words: str, retry_at_ms: int) -> ApiError:
        """Return the 429 of a limit, or the ban of an address that has not heeded several."""
        one = self._addresses[address]
        one.ignored += 1
        if one.ignored > self._settings.ban_after:
            self.ban(address)
            return self._banned(one)
        return ApiError(429, -1003, words, retry_at_ms=retry_at_ms)

    def add_weight(self, address: str, weight: int) -> None:
        """Count weight that is only known afterwards: a failed order costs 1, an accepted one nothing."""
        self._at(address, self._world.now_ms(EXCHANGE)).add(weight)

    def heaviest_minute(self) -> int:
        """Return the weight of the fullest minute that any address has had."""
        return max((one.heaviest for one in self._addresses.values()), default=0)

    @property
    def bans(self) -> int:
        """How often an address was banned."""
        return sum(one.bans for one in self._addresses.values())

    def ban(self, address: str) -> None:
        one = self._at(address, self._world.now_ms(EXCHANGE))
        one.bans += 1
        one.banned_until_ms = self._world.now_ms(EXCHANGE) + self._settings.ban_sec * 1000 * 2 ** (one.bans - 1)
        self._on_ban(address)

    def banned_until_ms(self, address: str) -> int:
        return self._at(address, self._world.now_ms(EXCHANGE)).banned_until_ms

    def used_weight(self, address: str) -> int:
        return self._at(address, self._world.now_ms(EXCHANGE)).weight

    def orders(self, account: SimAccount) -> OrderCount:
        count = self._orders.setdefault(account.id, OrderCount())
        count.roll(self._world.now_ms(EXCHANGE))
        return count

    def admit_order(self, account: SimAccount) -> OrderCount:
        """Return the account's count. :raises ApiError: 429, it has too many unfilled orders."""
        count, settings = self.orders(account), self._settings
        if count.in_ten_seconds >= settings.orders_10s:
            raise ApiError(
                429,
                -1015,
                f"Too many new orders; current limit is {settings.orders_10s} orders per 10 SECOND.",
                retry_at_ms=(count.ten_seconds + 1) * 10_000,
            )
        if count.in_day >= settings.orders_1d:
            raise ApiError(
                429,
                -1015,
                f"Too many new orders; current limit is {settings.orders_1d} orders per 1 DAY.",
                retry_at_ms=(count.day + 1) * _DAY_MS,
            )
        return count

    def _at(self, address: str, now_ms: int) -> _Address:
        one = self._addresses.setdefault(address, _Address())
        if now_ms // _MINUTE_MS != one.minute:
            one.minute, one.weight, one.ignored = now_ms // _MINUTE_MS, 0, 0
        if now_ms // 300_000 != one.five_minutes:
            one.five_minutes, one.requests, one.connections = now_ms // 300_000, 0, 0
        return one

    @staticmethod
    def _banned(one: _Address) -> ApiError:
        return ApiError(
            418,
            -1003,
            f"Way too much request weight used; IP banned until {one.banned_until_ms}. Please use WebSocket Streams for"
            " live updates to avoid bans.",
            retry_at_ms=one.banned_until_ms,
        )


@dataclass(slots=True)
class Call:
    """One request, from REST or from the WebSocket API, before it is believed."""

    params: dict[str, str]
    payload: bytes = b""  # what the client should have signed, byte for byte as it came
    signature: str = ""
    api_key: str = ""
    via: str = "rest"
    address: str = ""
    repeated: bool = False  # some parameter came twice
    session: tuple[SimAccount, SimKey] | None = None  # a logged-on session answers for the key and the signature
    account: SimAccount = field(default=None)  # type: ignore[assignment]  # set by `authenticate`
    key: SimKey = field(default=None)  # type: ignore[assignment]
    order_count: OrderCount | None = None


def authenticate(world: World, call: Call) -> None:
    """Find out whose call it is: key, time, signature, in this order. :raises ApiError: the first that is wrong."""
    if call.api_key or call.session is None:
        if not re.fullmatch(r"[A-Za-z0-9]{64}", call.api_key):
            raise ApiError(401, -2014, "API-key format invalid.")
        found = world.find_key(EXCHANGE, call.api_key)
        if found is None:
            raise refused_key()
        signed = True
    else:
        found, signed = call.session, False
    call.account, call.key = found
    if call.key.revoked or not call.key.ip_listed:
        raise refused_key()
    check_time(world, call)
    if signed:
        if not call.signature:
            raise bad(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        if not is_signed(call.key, call.payload, call.signature):
            raise bad(-1022, "Signature for this request is not valid.")


def check_time(world: World, call: Call) -> None:
    """Compare the call's timestamp and recvWindow with the exchange's time. :raises ApiError: too early or too late."""
    text = call.params.get("timestamp", "")
    if not _WHOLE.fullmatch(text):
        raise bad(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    timestamp_ms = Decimal(text)
    if len(text) > 14:  # microseconds
        timestamp_ms /= 1000
    window = call.params.get("recvWindow", "5000")
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", window):
        raise bad(-1102, "Mandatory parameter 'recvWindow' was not sent, was empty/null, or malformed.")
    if Decimal(window) > 60_000:
        raise bad(-1131, "recvWindow must be less than 60000.")
    now_ms = world.now_ms(EXCHANGE)
    if timestamp_ms >= now_ms + 1000:
        raise bad(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - timestamp_ms > Decimal(window):
        raise bad(-1021, "Timestamp for this request is outside of the recvWindow.")


def is_signed(key: SimKey, payload: bytes, signature: str) -> bool:
    """Return whether *signature* is that of *payload* by *key*."""
    if key.kind == "hmac":
        made = hmac.new(key.secret.encode(), payload, hashlib.sha256).hexdigest()
        return hmac.compare_digest(made.encode(), signature.lower().encode())
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key.public_key, Ed25519PublicKey):
            key.public_key.verify(raw, payload)
        else:
            assert isinstance(key.public_key, RSAPublicKey)
            key.public_key.verify(raw, payload, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def only(call: Call, names: Iterable[str]) -> None:
    """Refuse parameters that the endpoint does not read. :raises ApiError: -1104, or -1101 for one sent twice."""
    if call.repeated:
        raise bad(-1101, "Too many parameters sent for this endpoint.")
    known = {*names, "timestamp", "recvWindow", "signature", "apiKey"}
    unknown = [name for name in call.params if name not in known]
    if unknown:
        read = len(call.params) - len(unknown)
        raise bad(
            -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(call.params)}'."
        )


def required(params: Mapping[str, str], name: str) -> str:
    value = params.get(name)
    if not value:
        raise bad(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def number(params: Mapping[str, str], name: str, precision: int = 8) -> Decimal | None:
    """Return a decimal parameter, or ``None`` when it was not sent. :raises ApiError: malformed, or too precise."""
    text = params.get(name)
    if text is None:
        return None
    if text == "":
        raise bad(-1105, f"Parameter '{name}' was empty.")
    if not _NUMBER.fullmatch(text):
        raise bad(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'.",
        )
    if len(text.partition(".")[2].rstrip("0")) > precision:
        raise bad(-1111, f"Parameter '{name}' has too much precision.")
    value = Decimal(text)
    if value <= 0:
        raise bad(-1013, f"Invalid {name}.")
    return value


def whole(params: Mapping[str, str], name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not _WHOLE.fullmatch(text):
        raise bad(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def client_id(params: Mapping[str, str], name: str) -> str | None:
    text = params.get(name)
    if text is not None and not _CLIENT_ID.fullmatch(text):
        raise bad(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[a-zA-Z0-9-_]{{1,36}}$'.")
    return text


def fmt(amount: Decimal) -> str:
    """Return *amount* as Binance prints it: always 8 decimals."""
    return f"{amount:.8f}"


def error_body(error: ApiError, now_ms: int) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "msg": error.message}
    if error.retry_at_ms:
        body["data"] = {"serverTime": now_ms, "retryAfter": error.retry_at_ms}
    return body
