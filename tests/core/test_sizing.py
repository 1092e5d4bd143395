"""The sums: held against arithmetic on whole numbers that shares no code with them."""

from decimal import ROUND_DOWN, Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from copytrade_core.copying.sizing import copied_share, follower_size, share_of
from copytrade_core.model import Side, Symbol, SymbolRules

D = Decimal
SATOSHI = 10**8
STEPS = ["0.00000001", "0.01", "0.00001", "1", "5", "0.005", "0.25", "100"]

amounts = st.integers(0, 10**20)  # counted in units of 1e-8
shares = st.fractions(min_value=Fraction(1, 10**12), max_value=1)


def units(amount: int) -> Decimal:
    """Return *amount* hundred-millionths, exactly, by moving the point in its text."""
    text = f"{amount:09d}"
    return D(f"{text[:-8]}.{text[-8:]}")


def rules(*, base_step: str = "0.00001", quote_step: str = "0.01") -> SymbolRules:
    return SymbolRules(
        symbol=Symbol("BTC", "USDT"), exchange_symbol="BTCUSDT", base_step=D(base_step), quote_step=D(quote_step)
    )


def test_the_worked_case_comes_out_to_the_last_digit():
    share = share_of(D("1000.00") + D("1499.87"), D("10000"))

    assert share == Fraction(249987, 1000000)
    size = follower_size(share, D("1234.56789012"), rules(quote_step="0.00000001"), Side.BUY)
    assert format(size.sendable, "f") == "308.62592314"
    # 249987 × 123456789012 = 30862592314742... : the same by whole numbers alone.
    assert size.computed == Fraction(249987 * 123456789012, 10**6 * 10**8)


@given(share=shares, free=amounts, step=st.sampled_from(STEPS), side=st.sampled_from(Side))
@example(share=Fraction(1), free=10**20, step="0.00000001", side=Side.BUY)
@example(share=Fraction(1, 3), free=1, step="0.00000001", side=Side.SELL)
def test_a_size_is_the_largest_multiple_of_the_step_that_the_share_allows(share, free, step, side):
    size = follower_size(share, units(free), rules(base_step=step, quote_step=step), side)

    step_units = int(D(step) * SATOSHI)
    oracle = share.numerator * free // share.denominator // step_units * step_units
    assert size.sendable == units(oracle)
    assert size.computed == Fraction(share.numerator * free, share.denominator * SATOSHI)
    assert size.step == D(step)


@given(first=shares, second=shares, free=amounts)
def test_a_larger_share_never_makes_a_smaller_order(first, second, free):
    low, high = sorted((first, second))

    def spent(share):
        return follower_size(share, units(free), rules(), Side.BUY).sendable

    assert spent(low) <= spent(high) <= units(free)


@given(share=shares, free=st.integers(10**28, 10**36))
def test_no_balance_is_so_large_that_its_size_is_rounded_up(share, free):
    size = follower_size(share, units(free), rules(base_step="0.00000001"), Side.SELL)

    assert Fraction(size.sendable) <= share * Fraction(units(free))
    assert Fraction(size.sendable) == Fraction(share.numerator * free // share.denominator, SATOSHI)


@pytest.mark.parametrize(
    ("side", "sendable"),
    [pytest.param(Side.BUY, "12.34", id="buy-by-the-quote-step"), pytest.param(Side.SELL, "12.345", id="sell-by-base")],
)
def test_a_buy_is_cut_to_the_quote_step_and_a_sale_to_the_base_step(side, sendable):
    size = follower_size(Fraction(1), D("12.3459"), rules(base_step="0.001", quote_step="0.01"), side)

    assert size.sendable == D(sendable)


@pytest.mark.parametrize("free", ["0", "-0", "-12.5", "0.00999999"])
def test_what_is_less_than_one_step_is_nothing(free):
    assert follower_size(Fraction(1), D(free), rules(), Side.BUY).sendable == 0


def test_a_tiny_share_is_too_small_rather_than_one_step():
    assert follower_size(Fraction(1, 10**6), D("5000"), rules(), Side.BUY).sendable == 0


def test_a_step_that_is_no_power_of_ten_is_kept_to():
    assert follower_size(Fraction(1, 2), D("0.0299"), rules(base_step="0.005"), Side.SELL).sendable == D("0.010")
    assert follower_size(Fraction(1), D("14.9"), rules(base_step="5"), Side.SELL).sendable == D("10")


@given(amount=amounts, before=amounts)
def test_a_share_is_exact_and_more_than_nothing_and_at_most_all(amount, before):
    share = share_of(units(amount), units(before))

    if 0 < amount <= before:
        assert share == Fraction(amount, before)
        assert 0 < share <= 1
    else:
        assert share is None


@pytest.mark.parametrize(
    ("amount", "before"),
    [
        pytest.param("0", "10", id="nothing-filled"),
        pytest.param("-1", "10", id="less-than-nothing"),
        pytest.param("1", "0", id="nothing-free"),
        pytest.param("1", "-5", id="less-than-nothing-free"),
        pytest.param("10.00000001", "10", id="more-than-there-was"),
    ],
)
def test_what_cannot_be_a_share_is_none(amount, before):
    assert share_of(D(amount), D(before)) is None


@given(share=shares)
def test_a_sale_of_all_but_dust_is_a_sale_of_all_and_a_buy_never_is(share):
    assert copied_share(share, Side.BUY) == share
    assert copied_share(share, Side.SELL) == (1 if share * 1000 >= 999 else share)


@pytest.mark.parametrize(
    ("share", "copied"),
    [
        pytest.param("0.9995", "1", id="99.95-percent-is-all"),
        pytest.param("0.999", "1", id="99.9-percent-is-all"),
        pytest.param("0.99899999", "0.99899999", id="just-below-is-not"),
        pytest.param("1", "1", id="all-is-all"),
    ],
)
def test_the_dust_limit_stands_at_three_nines(share, copied):
    assert copied_share(Fraction(share), Side.SELL) == Fraction(copied)


def test_selling_all_leaves_a_follower_less_than_one_step():
    free = D("0.123456789")

    size = follower_size(copied_share(Fraction(9995, 10000), Side.SELL), free, rules(), Side.SELL)

    assert size.sendable == free.quantize(D("0.00001"), rounding=ROUND_DOWN)
    assert free - size.sendable < D("0.00001")
