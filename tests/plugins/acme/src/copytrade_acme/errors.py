"""One table: Acme's word for an error -> ours. A word that is not here proves nothing about an order."""

from __future__ import annotations

from copytrade_core import (
    AuthenticationFailed,
    BelowMinimum,
    ClockSkewed,
    DuplicateOrderId,
    ExchangeError,
    InsufficientBalance,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)

TABLE: dict[str, tuple[type[ExchangeError], str, str]] = {
    "bad_key": (AuthenticationFailed, "invalid_key", "Acme does not know this API key"),
    "bad_pin": (AuthenticationFailed, "wrong_passphrase", "the PIN does not fit the API key"),
    "bad_signature": (AuthenticationFailed, "wrong_secret", "the secret does not fit the API key"),
    "no_trading": (AuthenticationFailed, "no_trade_permission", "the API key may not trade"),
    "stale": (ClockSkewed, "clock_skewed", "our clock and Acme's differ too much"),
    "no_funds": (InsufficientBalance, "insufficient_balance", "the free balance does not cover the order"),
    "too_small": (BelowMinimum, "below_minimum", "the order is below Acme's smallest"),
    "bad_amount": (OrderRejected, "precision", "the amount has more decimals than Acme takes"),
    "ref_in_use": (DuplicateOrderId, "duplicate_order_id", "an order with this id is open already"),
}


def refusal(status: int, word: str, retry_after: str) -> ExchangeError:
    """Return what an answer that is no success means for what was asked."""
    if word == "slow_down":
        seconds = float(retry_after) if retry_after.isdecimal() else 60.0
        return RateLimited(
            "Acme asks to slow down", retry_after_sec=seconds, whole_address=True, exchange="acme", code=word
        )
    if status >= 500 or word not in TABLE:
        return OutcomeUnknown(
            f"Acme answered with status {status}, which proves nothing", exchange="acme", code=str(status)
        )
    error, kind, sentence = TABLE[word]
    return error(sentence, kind=kind, exchange="acme", code=word)
