import pytest

from copytrade_binance.errors import CODES, http_error
from copytrade_core.errors import (
    AuthenticationFailed,
    BelowMinimum,
    ClockSkewed,
    DuplicateOrderId,
    InsufficientBalance,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)


def of(code, message="", *, status=400, for_order=True):
    return http_error(status, {"code": code, "msg": message}, for_order=for_order)


@pytest.mark.parametrize("for_order", [True, False], ids=["order", "read"])
@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007, -1008, -1016, -9999, 0, None, "x", True])
def test_codes_that_prove_nothing_are_unknown(code, for_order):
    assert type(of(code, for_order=for_order)) is OutcomeUnknown


@pytest.mark.parametrize("code", [-2013, -2026, -2035, -2036, -2042, -2011])
def test_codes_that_no_order_can_meet_prove_nothing_of_an_order(code):
    assert type(of(code)) is OutcomeUnknown


@pytest.mark.parametrize("body", [None, [], "text", {}, {"code": "-2010"}])
def test_a_refusal_without_a_code_is_unknown(body):
    assert type(http_error(400, body, for_order=True)) is OutcomeUnknown


@pytest.mark.parametrize("code", sorted(CODES))
def test_no_code_of_the_table_makes_a_server_error_definite(code):
    assert type(of(code, status=503)) is OutcomeUnknown


@pytest.mark.parametrize(
    ("message", "error", "kind"),
    [
        ("Account has insufficient balance for requested action.", InsufficientBalance, "insufficient_balance"),
        ("Duplicate order sent.", DuplicateOrderId, "duplicate_order_id"),
        ("Market is closed.", OrderRejected, "market_closed"),
        ("Market orders are not supported for this symbol.", OrderRejected, "market_orders_closed"),
        (
            "Quote order qty market orders are not support for this symbol.",
            OrderRejected,
            "market_orders_closed",
        ),
        ("This action is disabled on this account.", AuthenticationFailed, "account_blocked"),
        ("This account may not place or cancel orders.", AuthenticationFailed, "account_blocked"),
        ("This symbol is not permitted for this account.", OrderRejected, "symbol_not_permitted"),
        ("This symbol is restricted for this account.", OrderRejected, "symbol_not_permitted"),
        ("Rest API trading is not enabled.", OrderRejected, "exchange_not_trading"),
        ("WebSocket API trading is not enabled.", OrderRejected, "exchange_not_trading"),
        ("Order book liquidity is less than `LOT_SIZE` filter minimum quantity.", OrderRejected, "no_liquidity"),
        ("Price * QTY is zero or less.", BelowMinimum, "below_minimum"),
        ("Something that nobody has seen yet.", OrderRejected, "rejected"),
    ],
)
def test_a_rejection_is_told_by_its_words(message, error, kind):
    found = of(-2010, message)

    assert (type(found), found.kind) == (error, kind)


@pytest.mark.parametrize(
    ("code", "message", "error", "kind"),
    [
        (-1013, "Filter failure: NOTIONAL", BelowMinimum, "below_minimum"),
        (-1013, "Filter failure: MIN_NOTIONAL", BelowMinimum, "below_minimum"),
        (-1013, "Filter failure: LOT_SIZE", OrderRejected, "filter"),
        (-1013, "", OrderRejected, "filter"),
        (-1111, "", OrderRejected, "precision"),
        (-1100, "", OrderRejected, "bad_parameter"),
        (-1112, "", OrderRejected, "no_liquidity"),
        (-1121, "", OrderRejected, "unknown_symbol"),
        (-1021, "", ClockSkewed, "clock_skewed"),
        (-1002, "", AuthenticationFailed, "no_trade_permission"),
        (-1022, "", AuthenticationFailed, "wrong_secret"),
        (-2008, "", AuthenticationFailed, "invalid_key"),
        (-2014, "", AuthenticationFailed, "invalid_key"),
        (-2015, "", AuthenticationFailed, "invalid_key"),
        (-1003, "", RateLimited, "rate_limited"),
        (-1015, "", RateLimited, "rate_limited"),
    ],
)
def test_a_refused_order_says_what_may_be_done_next(code, message, error, kind):
    found = of(code, message)

    assert (type(found), found.kind, found.code) == (error, kind, str(code))


def test_only_a_wrong_signature_may_be_our_own_fault():
    assert of(-1022).ours
    assert not any(of(code).ours for code in (-2008, -2014, -2015))


def test_what_the_exchange_wrote_is_not_repeated():
    assert "<script>" not in of(-2010, "<script>").message + of(-1013, "Filter failure: <script>").message
