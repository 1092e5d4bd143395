import pytest

from copytrade_bitget import errors
from copytrade_bitget.errors import CODES, refusal, socket_refusal
from copytrade_core.errors import (
    AuthenticationFailed,
    BelowMinimum,
    ClockSkewed,
    DuplicateOrderId,
    InsufficientBalance,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)


@pytest.mark.parametrize(
    ("code", "error", "kind"),
    [
        ("40006", AuthenticationFailed, "invalid_key"),
        ("40009", AuthenticationFailed, "wrong_secret"),
        ("40012", AuthenticationFailed, "wrong_passphrase"),
        ("40013", AuthenticationFailed, "account_blocked"),
        ("40014", AuthenticationFailed, "no_trade_permission"),
        ("40018", AuthenticationFailed, "ip_not_allowed"),
        ("40099", AuthenticationFailed, "wrong_environment"),
        ("40104", AuthenticationFailed, "region"),
        ("429", RateLimited, "rate_limited"),
        ("40008", ClockSkewed, "clock_skewed"),
        ("40078", ClockSkewed, "clock_skewed"),
        ("40085", NotSent, "account_mode_changed"),
        ("40081", OrderRejected, "not_in_demo"),
        ("40010", OutcomeUnknown, "outcome_unknown"),
        ("40725", OutcomeUnknown, "outcome_unknown"),
        ("45001", OutcomeUnknown, "outcome_unknown"),
        ("40015", OutcomeUnknown, "outcome_unknown"),
        ("40200", OrderRejected, "market_closed"),
        ("45110", BelowMinimum, "below_minimum"),
        ("43011", OrderRejected, "precision"),
        ("43012", InsufficientBalance, "insufficient_balance"),
        ("40762", InsufficientBalance, "insufficient_balance"),
        ("43118", DuplicateOrderId, "duplicate_order_id"),
        ("25212", DuplicateOrderId, "duplicate_order_id"),
        ("40109", OutcomeUnknown, "order_not_found"),
        ("99999", OutcomeUnknown, "outcome_unknown"),
        ("", OutcomeUnknown, "outcome_unknown"),
    ],
)
def test_a_code_says_what_the_engine_may_do_next(code, error, kind):
    found = refusal(code, "words")

    assert type(found) is error
    assert (found.kind, found.code, found.exchange) == (kind, code, "bitget")


def test_no_code_stands_in_the_table_twice():
    codes = [code for codes, _, _ in errors._TABLE for code in codes.split()]

    assert len(codes) == len(set(codes)) == len(CODES)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("Parameter verification exception checkBDScale error value=0.1234567 checkScale=6", OrderRejected),
        ("Parameter verification exception", OutcomeUnknown),
    ],
)
def test_40808_means_precision_only_when_it_says_so(words, error):
    assert type(refusal("40808", words)) is error


@pytest.mark.parametrize("code", ["40009", "40104", "40001"])
def test_causes_that_may_be_ours_are_marked(code):
    assert refusal(code, "").ours


@pytest.mark.parametrize("code", ["40006", "40037", "40012", "40018"])
def test_causes_that_are_the_customers_are_not_marked(code):
    assert not refusal(code, "").ours


def test_the_exchanges_words_are_quoted_without_anything_like_a_key():
    error = refusal("40037", "Apikey bg_0123456789abcdef0123456789abcdef does not exist\n中")

    assert "bg_0123" not in str(error)
    assert "does not exist" in str(error)
    assert str(error).isprintable()


def test_a_sockets_refusal_of_a_key_is_only_a_suspicion():
    error = socket_refusal("30011", "Invalid ACCESS_KEY")

    assert error.kind == "invalid_key"
    assert not isinstance(error, AuthenticationFailed)
    assert error.code in errors.SOCKET_AUTH_CODES
