"""One table: Bitget's code -> our error. Classified by the body's ``code``; of the HTTP statuses only a server's
failure (5xx) and a redirection count, which prove nothing whatever code comes with them.

Hold it against https://www.bitget.com/api-doc/spot/error-code/restapi ,
https://www.bitget.com/api-doc/uta/error-code/restapi and, for the sockets,
https://www.bitget.com/api-doc/spot/error-code/websocket . A code that is not in the table is
`OutcomeUnknown`: the exchange's codes change, and a guess could double an order.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from copytrade_core.errors import (
    AuthenticationFailed,
    BelowMinimum,
    ClockSkewed,
    DuplicateOrderId,
    ExchangeError,
    InsufficientBalance,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    StreamInterrupted,
)

EXCHANGE = "bitget"
SUCCESS = "00000"

MODE_CODES = frozenset({"40084", "40085", "25245", "40115", "40128"})
CLASSIC_ACCOUNT_CODES = frozenset({"40084", "25245"})  # "this is no unified account"
UNIFIED_ACCOUNT_CODES = frozenset({"40085", "40128"})  # "this is no classic account"
DEMO_LIMIT_CODES = frozenset({"40081", "40105", "40110", "22030"})
PERMISSION_CODES = frozenset({"40014", "40025", "40040", "25620"})
NOT_FOUND_CODES = frozenset({"43001", "40109", "40768", "45057", "25204"})

Make = Callable[[str, str], ExchangeError]  # (sentence, code) -> error


def _plain(error: type[ExchangeError], kind: str) -> Make:
    return lambda sentence, code: error(sentence, kind=kind, exchange=EXCHANGE, code=code)


def _auth(kind: str, *, ours: bool = False) -> Make:
    return lambda sentence, code: AuthenticationFailed(sentence, kind=kind, exchange=EXCHANGE, code=code, ours=ours)


def _limited(sentence: str, code: str) -> ExchangeError:
    return RateLimited(sentence, retry_after_sec=1.0, whole_address=False, exchange=EXCHANGE, code=code)


_TABLE: tuple[tuple[str, Make, str], ...] = (
    # codes, what the engine may do next, what a trader is told
    ("40001 40002 40003 40011", _auth("invalid_key", ours=True), "the request lacked a part of its sign-in"),
    ("40006 40037 40041", _auth("invalid_key"), "Bitget does not know this API key"),
    ("40009", _auth("wrong_secret", ours=True), "the API secret does not fit the API key"),
    # Seen for a moment with a right passphrase: the engine asks once more before it disables anybody.
    ("40012 40036", _auth("wrong_passphrase"), "the passphrase does not fit the API key"),
    (
        "40013 40016 40022 40023 40024 40026 40031 40710 40752 40760 25005 25006 25007 70227",
        _auth("account_blocked"),
        "Bitget has restricted, frozen or closed this account",
    ),
    ("40014 40025 40040 25620", _auth("no_trade_permission"), "the API key lacks a permission that this needs"),
    ("40068 40061", _auth("account_blocked"), "Bitget does not let this sub-account do that"),
    ("40199", _auth("account_blocked"), "Bitget does not let its lead traders trade by API"),
    ("40018 40038", _auth("ip_not_allowed"), "the API key does not allow this server's IP address"),
    ("22010", _auth("ip_not_allowed"), "Bitget wants the API key bound to this server's IP address"),
    ("40099", _auth("wrong_environment"), "the API key belongs to the other environment: production or demo"),
    (
        "40000 40035 40100 40101 40103 40104 40111",
        _auth("region", ours=True),
        "Bitget does not serve this account from here: region or identity check",
    ),
    ("429 25004 70228", _limited, "too many requests; Bitget asks to slow down"),
    (
        "40005 40008 40078 40004 40911 40079",
        _plain(ClockSkewed, "clock_skewed"),
        "Bitget found the request's time outside its window",
    ),
    (
        " ".join(sorted(MODE_CODES)),
        _plain(NotSent, "account_mode_changed"),
        "the account is of another kind than was thought: classic or unified",
    ),
    (" ".join(sorted(DEMO_LIMIT_CODES)), _plain(OrderRejected, "not_in_demo"), "Bitget's demo does not offer this"),
    (
        "40010 40725 45001 40015 40908 40910 25000 25001 25003 45023 43002 43003 70229",
        _plain(OutcomeUnknown, "outcome_unknown"),
        "Bitget failed in the middle of the request",
    ),
    (
        "40200 41114 43115 43119 43120 25101 25102 25103 25106",
        _plain(OrderRejected, "market_closed"),
        "the pair is closed, in maintenance or not open yet",
    ),
    ("45110 22034", _plain(BelowMinimum, "below_minimum"), "the order is worth less than Bitget's minimum"),
    (
        "43006 43007 43010 43027 43037 43038 43041 43042 45111 45112 45113 45114 25207 25208",
        _plain(OrderRejected, "size_out_of_range"),
        "the order is smaller or larger than Bitget allows",
    ),
    ("43011 43125 45035 45115", _plain(OrderRejected, "precision"), "the order's size has too many decimals"),
    (
        "40017 40019 40020 40034 40724 41101 41103 25200 40304 40305 30032",
        _plain(OrderRejected, "bad_parameter"),
        "Bitget did not understand the order",
    ),
    (
        "43008 43009 43039 43040 25205 25206 70220 25209 25210",
        _plain(OrderRejected, "market_condition"),
        "the market moved too far or has too little liquidity",
    ),
    ("43005 43128 40723 40761 25211", _plain(OrderRejected, "too_many_orders"), "too many orders are open"),
    (
        "43122 70221 70222 70224 70225 25213 25214 25215 25216 25243",
        _plain(OrderRejected, "purchase_cap"),
        "Bitget caps how much of this coin the account may buy",
    ),
    (
        "22004 25013 40102 42016 25100",
        _plain(OrderRejected, "symbol_not_tradable"),
        "the pair cannot be traded by API",
    ),
    (
        "43012 40754 45002 50020 25202 40762",
        _plain(InsufficientBalance, "insufficient_balance"),
        "the account does not hold enough for this order",
    ),
    (
        "43118 45034 50060 40786 40708 25212",
        _plain(DuplicateOrderId, "duplicate_order_id"),
        "an order with this id is open already",
    ),
    # An answer for reads; on a place-order it makes no sense, and what makes no sense is unknown.
    (" ".join(sorted(NOT_FOUND_CODES)), _plain(OutcomeUnknown, "order_not_found"), "Bitget does not know this order"),
)

CODES: dict[str, tuple[Make, str]] = {code: (make, text) for codes, make, text in _TABLE for code in codes.split()}

_SOCKET_CODES: dict[str, tuple[str, str]] = {
    "30005": ("stream_interrupted", "the login on the socket failed"),
    "30006": ("rate_limited", "too many messages on the socket"),
    "30007": ("rate_limited", "too many messages on the socket; it will be closed"),
    "30011": ("invalid_key", "the socket did not accept the API key"),
    "30012": ("wrong_passphrase", "the socket did not accept the passphrase"),
    "30013": ("clock_skewed", "the socket found the login's time wrong"),
    "30014": ("clock_skewed", "the socket found the login's time expired"),
    "30015": ("wrong_secret", "the socket did not accept the signature"),
}
SOCKET_AUTH_CODES = frozenset({"30005", "30011", "30012", "30015"})  # to be confirmed over REST


def refusal(code: str, words: str) -> ExchangeError:
    """Return the error for an answer of Bitget's that is not a success.

    :param words: the exchange's own ``msg``; needed to tell the meanings of 40808 apart, and quoted.
    """
    if code == "40808" and ("checkScale" in words or "checkBDScale" in words):
        make, sentence = CODES["43011"]
    elif code in CODES:
        make, sentence = CODES[code]
    else:
        make, sentence = _plain(OutcomeUnknown, "outcome_unknown"), "Bitget answered with a code that is not known here"
    said = quoted(words)
    return make(f"{sentence} ({code}: {said})" if said else f"{sentence} ({code})", code)


def socket_refusal(code: str, words: str) -> StreamInterrupted:
    """Return the error for a socket's ``event: error``. Key faults are only suspected: REST confirms them."""
    kind, sentence = _SOCKET_CODES.get(code, ("stream_interrupted", "the socket refused a request"))
    return StreamInterrupted(f"{sentence} ({code}: {quoted(words)})", kind=kind, exchange=EXCHANGE, code=code)


def unreadable(what: str) -> OutcomeUnknown:
    """Return the error for an answer that does not have the shape it should have."""
    return OutcomeUnknown(f"Bitget's answer cannot be read: {what}", kind="unreadable_answer", exchange=EXCHANGE)


def quoted(words: str) -> str:
    """Return the exchange's words fit to be shown: one short line, and nothing that could be a key."""
    printable = re.sub(r"[^ -~]", " ", words)
    return re.sub(r"[A-Za-z0-9+/=_-]{20,}", "...", printable)[:120].strip()
