"""What the simulated exchange says when it refuses: codes and words as in Bitget's own tables.

Sources: https://www.bitget.com/api-doc/spot/error-code/restapi, https://www.bitget.com/api-doc/uta/error-code/restapi,
https://www.bitget.com/api-doc/spot/error-code/websocket.
"""

from __future__ import annotations

from typing import Literal

Family = Literal["classic", "unified"]

WORDS: dict[str, str] = {
    "429": "Too Many Requests",
    "22030": "{0} Demo trading mode, can not use:{1}",
    "25006": "Abnormal account status",
    "25100": "Trading pair {0} does not exist",
    "25102": "Trading pair temporarily closed for maintenance",
    "25200": "{0} validation error",
    "25202": "Insufficient balance",
    "25204": "Order does not exist",
    "25209": "Insufficient market liquidity, please try again later",
    "25211": "Exceeds the limit of {0} maximum orders",
    "25212": "Duplicate clientOid",
    "25240": "{0} does not support this operation",
    "25620": "permission denied",
    "30032": "The V1 API has been decommissioned. Please migrate to a newer version.",
    "40001": "ACCESS_KEY cannot be empty",
    "40003": "Signature cannot be empty",
    "40005": "Invalid ACCESS_TIMESTAMP",
    "40006": "Invalid ACCESS_KEY",
    "40007": "Invalid Content_Type",
    "40008": "Request timestamp expired",
    "40009": "sign signature error",
    "40010": "Request timed out",
    "40011": "ACCESS_PASSPHRASE cannot be empty",
    "40012": "apikey/password is incorrect",
    "40014": "Incorrect permissions, need {0}",
    "40015": "System is abnormal, please try again later",
    "40017": "Parameter verification failed {0}",
    "40018": "Invalid IP",
    "40019": "Parameter {0} cannot be empty",
    "40020": "Parameter {0} error",
    "40026": "User is disabled",
    "40034": "Parameter {0} does not exist",
    "40078": "The request exceeds the receive window",
    "40079": "receiveWindow must be less than 60 seconds",
    "40081": "Demo accounts may only use spot order and spot plan order interfaces",
    "40084": "You are in Classic Account mode, and the Unified Account API is not supported at this time",
    "40085": "You are in Unified Account mode, and the Classic Account API is not supported at this time",
    "40099": "exchange environment is incorrect",
    "40105": "Currently Spot Demo trade does not support this feature",
    "40109": "The data of the order cannot be found, please confirm the order number",
    "40110": "Not available in demo trading",
    "40115": "The unified account is undergoing an upgrade (rollback in progress). "
    "This operation is temporarily unavailable. Please try again later.",
    "40305": "Client_oid length is not greater than 50, and cannot be Martian characters",
    "40404": "Request URL NOT FOUND",
    "40725": "service return an error",
    "40805": "Unsupported operation",
    "40808": "Parameter verification exception {0} checkBDScale error value={1} checkScale={2}",
    "41103": "param price scale error error",
    "41114": "The current trading pair is under maintenance, please refer to the official announcement for the opening "
    "time",
    "43001": "The order does not exist",
    "43005": "Exceed the maximum number of orders",
    "43009": "Insufficient depth of the order book",
    "43011": "The parameter does not meet the specification {0} <= 0",
    "43012": "Insufficient balance",
    "43118": "clientOrderId duplicate",
    "45001": "Unknown error",
    "45110": "less than the minimum amount {0} USDT",
}

SOCKET_WORDS: dict[int, str] = {
    30001: "{0} doesn't exist",
    30002: "illegal request",
    30003: "INVALID op:{0}",
    30004: "User not logged in/User must be logged in",
    30005: "Login failed",
    30006: "request too many",
    30007: "request over limit, connection close",
    30011: "Invalid ACCESS_KEY",
    30012: "Invalid ACCESS_PASSPHRASE",
    30013: "Invalid ACCESS_TIMESTAMP",
    30014: "Request timestamp expired",
    30015: "Invalid sign",
    30016: "Parameter error",
}


class Refused(Exception):
    """The exchange refuses a request and has done nothing; ``status`` is the HTTP status of the answer."""

    def __init__(self, code: str, *about: object) -> None:
        self.code = code
        self.words = WORDS.get(code, "error {0}").format(*about, "", "", "")
        self.status = {"429": 429, "40404": 404}.get(code, 400)
        super().__init__(code)


class SocketRefused(Exception):
    """A socket's ``event: error``; with ``closes`` the exchange hangs up afterwards."""

    def __init__(self, code: int, *about: object, closes: bool = False) -> None:
        self.code = code
        self.words = SOCKET_WORDS[code].format(*about)
        self.closes = closes
        super().__init__(str(code))
