"""Text for the wire and back: no digit lost, no exponent, no binary fraction; and the views' own sums."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrade_core.codec import dumps_exact, from_wire, to_wire
from copytrade_core.model import (
    AccountId,
    BalanceChange,
    BalanceSnapshot,
    Environment,
    ExecutionReport,
    OrderStatus,
    Side,
)
from copytrade_core.views import (
    CopyState,
    CopyView,
    LeaderOrderState,
    LeaderOrderView,
    book_json,
    plain_fraction,
)
from fakes import D, execution, fill, snapshot

exact = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**20), max_value=10**20)
any_decimal = st.decimals(allow_nan=False, allow_infinity=False)


def over_the_wire(value):
    """Through text, as the socket does it."""
    return json.loads(json.dumps(to_wire(value)))


def copy(number: int, state: CopyState, **changes) -> CopyView:
    return CopyView(
        id=f"c{number}",
        event_id="1",
        account_id=AccountId("a"),
        account_name="Anna",
        exchange="binance",
        env=Environment.TEST,
        side=Side.BUY,
        state=state,
        **changes,
    )


def book(*states: CopyState, share: Fraction | None = Fraction(1, 4), side: Side = Side.BUY) -> LeaderOrderView:
    return LeaderOrderView(
        id="1", t="", exchange="binance", env=Environment.TEST, symbol="BTC/USDT", order_id="7", client_order_id="",
        side=side, order_type="MARKET", status="FILLED", filled_base=D("0.05"), filled_quote=D(2500),
        state=LeaderOrderState.COPIED, share=share, copies=tuple(copy(n, state) for n, state in enumerate(states)),
    )  # fmt: skip


@given(amount=any_decimal)
def test_a_decimal_travels_as_text_without_an_exponent(amount):
    text = to_wire({"amount": amount})["amount"]

    assert isinstance(text, str)
    assert "E" not in text.upper()
    assert Decimal(text) == amount


@given(share=st.fractions())
def test_a_share_travels_exactly(share):
    assert from_wire(over_the_wire(share), Fraction) == share


@given(base=exact, quote=exact, fee=exact)
def test_an_execution_report_comes_back_as_it_was(base, quote, fee):
    trade = fill("t", 1, 2, 3)
    report = execution("7", OrderStatus.PARTIALLY_FILLED, base=base, quote=quote, trade=trade)

    back = from_wire(over_the_wire(report), ExecutionReport)

    assert back == report
    assert type(back.filled_base) is Decimal
    assert back.status is OrderStatus.PARTIALLY_FILLED


def test_balances_come_back_as_they_were():
    for event, kind in (
        (snapshot(5, USDT=("0.00000001", "3"), BTC="1E-8"), BalanceSnapshot),
        (BalanceChange(asset="USDT", free_delta=D("-0.00000001"), time_ms=5), BalanceChange),
        (execution("7", OrderStatus.NEW), ExecutionReport),
    ):
        assert from_wire(over_the_wire(event), kind) == event


def test_a_closed_book_comes_back_as_it_was():
    sent = book(CopyState.FILLED, CopyState.UNKNOWN)

    assert from_wire(over_the_wire([sent]), list[LeaderOrderView]) == [sent]


def test_a_field_that_a_newer_engine_adds_is_tolerated():
    wire = over_the_wire(book())
    wire["something_new"] = 1

    assert from_wire(wire, LeaderOrderView) == book()


@given(amount=any_decimal)
def test_the_api_prints_amounts_as_exact_numbers(amount):
    text = dumps_exact({"amount": amount})

    assert json.loads(text, parse_float=Decimal, parse_int=Decimal)["amount"] == amount
    number = text.removeprefix('{"amount": ').removesuffix("}")
    assert set(number) <= set("-.0123456789")


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0.00000001", "0.00000001"), ("1E-8", "0.00000001"), ("1E+3", "1000"), ("100.10", "100.10"), ("-0", "-0")],
)
def test_an_amount_keeps_its_digits(amount, text):
    assert dumps_exact(D(amount)) == text


@pytest.mark.parametrize("value", [D("NaN"), D("Infinity"), D("-Infinity"), float("nan"), float("inf")])
def test_what_is_no_number_is_no_json_either(value):
    with pytest.raises((ValueError, TypeError)):
        dumps_exact({"amount": value})


def test_what_has_no_place_in_json_is_refused():
    with pytest.raises(TypeError, match="Fraction"):
        dumps_exact({"share": Fraction(1, 3)})


def test_chinese_stays_readable():
    assert dumps_exact({"text": "跟单"}) == '{"text": "跟单"}'


# --- what the views reckon --------------------------------------------------------------------------------

numbers = st.integers(0, 10**40)


@given(numerator=numbers, denominator=st.integers(1, 10**25), places=st.integers(0, 20))
def test_a_fraction_is_cut_never_rounded_up(numerator, denominator, places):
    cut = plain_fraction(Fraction(numerator, denominator), places)

    assert Fraction(cut) == Fraction(numerator * 10**places // denominator, 10**places)


@given(numerator=st.integers(1, 10**30), more=st.integers(0, 10**30))
def test_a_share_is_shown_with_eight_places_cut(numerator, more):
    share = Fraction(numerator, numerator + more)

    shown = book(share=share).share_text

    assert Fraction(shown) == Fraction(share.numerator * 10**8 // share.denominator, 10**8)
    assert shown.as_tuple().exponent == -8


def test_an_undecided_book_shows_no_share():
    assert book(share=None).share_text is None
    assert book_json(book(share=None))["x_percent"] is None


@given(states=st.lists(st.sampled_from(CopyState), max_size=30))
def test_every_row_is_counted_once(states):
    counts = book(*states).counts()

    assert counts["ok"] + counts["fail"] + counts["pending"] == counts["fanout"]
    assert counts["fanout"] + counts["skipped"] == len(states)
    assert counts["ok"] == sum(state in ("FILLED", "PARTLY_FILLED") for state in states)
    assert counts["pending"] == sum(
        state in ("PLANNED", "SUBMITTING", "NOT_SENT", "ACKED", "UNKNOWN", "NEEDS_PERSON") for state in states
    )


def test_only_a_sale_has_a_y():
    assert "y_percent" not in book_json(book())
    assert book_json(book(side=Side.SELL))["y_percent"] == D("0.25000000")
