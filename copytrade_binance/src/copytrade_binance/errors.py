"""One table: Binance's code -> our error. Codes are stable, messages vary: classified by code, and by message
only for -1013 and -2010.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/errors.md and, for the HTTP statuses,
rest-api.md (HTTP Return Codes) beside it.
"""

from __future__ import annotations

import re
from typing import Any

from copytrade_core.errors import (
    AuthenticationFailed,
    BelowMinimum,
    ClockSkewed,
    DuplicateOrderId,
    ExchangeError,
    InsufficientBalance,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    StreamInterrupted,
)

EXCHANGE = "binance"
_BAD_KEY = (
    "Binance refused the key: it was deleted, belongs to another environment, does not list this machine's "
    "address, or lacks the permission"
)

# Every code whose meaning is "not executed", or that says so of a read. A code that is not here proves nothing.
CODES: dict[int, tuple[type[ExchangeError], str, str]] = {
    -1002: (AuthenticationFailed, "no_trade_permission", "the key may not do this"),
    -1020: (OrderRejected, "bad_parameter", "Binance does not support this operation"),
    -1021: (ClockSkewed, "clock_skewed", "our clock and Binance's differ too much"),
    -1022: (AuthenticationFailed, "wrong_secret", "the signature does not fit the key: the secret is wrong"),
    **dict.fromkeys(
        (*range(-1106, -1099), -1108, *range(-1117, -1113), -1128, -1130, -1131, -1194),
        (OrderRejected, "bad_parameter", "Binance did not understand a parameter of the request"),
    ),
    -1111: (OrderRejected, "precision", "the size has more decimals than the symbol allows"),
    -1112: (OrderRejected, "no_liquidity", "there are no orders on the book"),
    -1121: (OrderRejected, "unknown_symbol", "Binance does not know this symbol"),
    -1122: (OrderRejected, "unknown_symbol", "the symbol is in no state for this"),
    -2008: (AuthenticationFailed, "invalid_key", _BAD_KEY),
    -2013: (OrderRejected, "order_not_found", "Binance knows no such order"),
    -2014: (AuthenticationFailed, "invalid_key", "this is no Binance API key"),
    -2015: (AuthenticationFailed, "invalid_key", _BAD_KEY),
    -2026: (OrderRejected, "order_archived", "the order ended unfilled long ago and is archived"),
    -2035: (StreamInterrupted, "already_subscribed", "this account's events already run on this connection"),
    -2036: (StreamInterrupted, "not_subscribed", "this account's events do not run on this connection"),
    -2039: (OrderRejected, "bad_parameter", "the two ids name different orders"),
    -2042: (StreamInterrupted, "connection_used_up", "the connection can take no further subscription"),
}
# Said of an order these mean nothing, so nothing may be concluded from them.
_READS_ONLY = frozenset((-2013, -2026, -2035, -2036, -2042))

NEW_ORDER_REJECTED = -2010
# The words of -2010, first match wins.
REJECTIONS: tuple[tuple[str, type[ExchangeError], str, str], ...] = (
    ("insufficient balance", InsufficientBalance, "insufficient_balance", "the free balance does not cover the order"),
    ("duplicate order", DuplicateOrderId, "duplicate_order_id", "an order with this id is open already"),
    ("market is closed", OrderRejected, "market_closed", "the symbol is not being traded"),
    ("not support", OrderRejected, "market_orders_closed", "the symbol takes no market orders of this kind"),
    ("disabled on this account", AuthenticationFailed, "account_blocked", "Binance has blocked this on the account"),
    ("may not place", AuthenticationFailed, "account_blocked", "Binance does not let the account place orders"),
    ("symbol is not permitted", OrderRejected, "symbol_not_permitted", "the account may not trade this symbol"),
    ("symbol is restricted", OrderRejected, "symbol_not_permitted", "the account may not trade this symbol"),
    ("trading is not enabled", OrderRejected, "exchange_not_trading", "Binance has switched trading off for now"),
    ("liquidity is less", OrderRejected, "no_liquidity", "the book is too thin for this order"),
    ("symbol minimum quantity", OrderRejected, "no_liquidity", "the book is too thin for this order"),
    ("zero or less", BelowMinimum, "below_minimum", "the order is too small"),
)
_BELOW = ("MIN_NOTIONAL", "NOTIONAL")


def http_error(
    status: int, body: Any, *, for_order: bool, retry_after_sec: float | None = None, where: str = ""
) -> ExchangeError:
    """Return what an answer that is no success means: an HTTP reply, or the same inside a WebSocket frame.

    :param status: the HTTP status, or the frame's ``status``.
    :param body: the decoded body (``code`` and ``msg``), or ``None`` where it could not be read.
    :param for_order: the request was an order; then a code which only reads can meet proves nothing.
    :param retry_after_sec: what the exchange asked us to wait; ``None`` where it did not say.
    :param where: names the request in the message.
    """
    code, message = _code_and_message(body)
    text = str(code) if code is not None else str(status)

    def unknown(sentence: str) -> OutcomeUnknown:
        return OutcomeUnknown(f"{where}: {sentence}" if where else sentence, exchange=EXCHANGE, code=text)

    # A 5xx says nothing about the order, whatever its body claims.
    if status >= 500 or status < 400:
        return unknown(f"Binance answered with status {status} and code {code}; that leaves the outcome open")
    if status == 418:
        return RateLimited(
            "Binance has banned this machine's address for sending too much",
            retry_after_sec=120.0 if retry_after_sec is None else retry_after_sec,
            whole_address=True,
            banned=True,
            kind="banned",
            exchange=EXCHANGE,
            code=text,
        )
    if code == -1015:
        return RateLimited(
            "the account has too many unfilled orders",
            retry_after_sec=10.0 if retry_after_sec is None else retry_after_sec,
            whole_address=False,
            exchange=EXCHANGE,
            code=text,
        )
    if status == 429 or code == -1003:
        return RateLimited(
            "this machine's address has sent too many requests",
            retry_after_sec=60.0 if retry_after_sec is None else retry_after_sec,
            whole_address=True,
            exchange=EXCHANGE,
            code=text,
        )
    if status == 451:
        return AuthenticationFailed(
            "Binance does not serve the country of this machine's address",
            kind="region",
            exchange=EXCHANGE,
            code=text,
            ours=True,
        )
    if status == 403 and code not in CODES:
        return RateLimited(
            "Binance's firewall turned the request away",
            retry_after_sec=60.0 if retry_after_sec is None else retry_after_sec,
            whole_address=False,  # it dislikes single requests too: one of them must not silence everybody
            banned=True,
            kind="firewall",
            exchange=EXCHANGE,
            code=text,
        )
    if code == NEW_ORDER_REJECTED:
        return _rejection(message)
    if code == -1013:
        return _filter_failure(message)
    if code is None or code not in CODES or (for_order and code in _READS_ONLY):
        return unknown(f"Binance answered with status {status} and a code that is not in its list ({code})")
    error, kind, sentence = CODES[code]
    if error is AuthenticationFailed:
        return AuthenticationFailed(sentence, kind=kind, exchange=EXCHANGE, code=text, ours=code == -1022)
    return error(sentence, kind=kind, exchange=EXCHANGE, code=text)


def unreadable(what: str) -> OutcomeUnknown:
    """Return the error for an answer that is not what Binance documents."""
    return OutcomeUnknown(f"Binance's answer cannot be read: {what}", kind="unreadable_answer", exchange=EXCHANGE)


def _code_and_message(body: Any) -> tuple[int | None, str]:
    if not isinstance(body, dict):
        return None, ""
    code, message = body.get("code"), body.get("msg")
    known = isinstance(code, int) and not isinstance(code, bool) and code != 0
    return (code if known else None), (message if isinstance(message, str) else "")


def _rejection(message: str) -> ExchangeError:
    for words, error, kind, sentence in REJECTIONS:
        if words in message.lower():
            return error(sentence, kind=kind, exchange=EXCHANGE, code=str(NEW_ORDER_REJECTED))
    return OrderRejected("Binance refused the order", exchange=EXCHANGE, code=str(NEW_ORDER_REJECTED))


def _filter_failure(message: str) -> ExchangeError:
    found = re.search(r"Filter failure: ([A-Z_]{1,40})", message)
    name = found.group(1) if found else ""
    if name in _BELOW:
        return BelowMinimum(f"the order is below the symbol's smallest value ({name})", exchange=EXCHANGE, code="-1013")
    return OrderRejected(
        f"the size is outside the symbol's rules ({name or 'no rule named'})",
        kind="filter",
        exchange=EXCHANGE,
        code="-1013",
    )
