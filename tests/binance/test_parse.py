import contextlib
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from copytrade_binance import parse
from copytrade_core.connector import PreparedOrder
from copytrade_core.errors import OutcomeUnknown
from copytrade_core.model import (
    Balance,
    BalanceChange,
    BalanceSource,
    ClientOrderId,
    MarketOrder,
    OrderStatus,
    QuoteAmount,
    Side,
    Symbol,
)

DATA = Path(__file__).parent.parent / "data" / "binance"
BTC_USDT = Symbol("BTC", "USDT")


def recorded(name):
    return parse.loads((DATA / f"{name}.json").read_text())


@pytest.fixture
def prepared():
    order = MarketOrder(
        symbol=BTC_USDT,
        side=Side.BUY,
        client_order_id=ClientOrderId("cp-1-7"),
        quote_amount=QuoteAmount(Decimal(100)),
    )
    return PreparedOrder(
        account_id="a",
        order=order,
        body={"symbol": "BTCUSDT", "side": "BUY"},
        timestamp_ms=0,
        recv_window_ms=3000,
        fence_ms=0,
        key_fingerprint="",
        connector=None,
    )


# --- numbers ---


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        ("0.00000001", "0.00000001"),
        ("1e-7", "0.0000001"),
        (Decimal("0.1"), "0.1"),
        (25, "25"),
        ("-0.5", "-0.5"),
        ("-0", "0"),
        ("12345678901234567890.12345678", "12345678901234567890.12345678"),
    ],
)
def test_an_amount_is_exact(value, exact):
    assert format(parse.amount(value), "f") == exact


@pytest.mark.parametrize(
    "value",
    ["", " 1", "1_000", "٥", "NaN", "Infinity", "1,5", "0x1", "1" * 400, 10**400, None, True, 1.5, "1e99", [], {}],
)
def test_what_is_no_sane_number_is_refused(value):
    with pytest.raises(OutcomeUnknown):
        parse.amount(value)


@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]", "[-Infinity]", "<html>", ""])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        parse.loads(text)


# --- rules ---


def test_zero_in_a_lot_filter_means_no_rule():
    rules = parse.rules(recorded("exchange_info"), BTC_USDT, "BTCUSDT")

    assert (rules.base_step, rules.quote_step) == (Decimal("0.00001"), Decimal("0.00000001"))
    assert (rules.min_base, rules.max_base) == (Decimal("0.00001"), Decimal("141.67845966"))
    assert rules.min_notional == 5
    assert rules.is_trading


@pytest.mark.parametrize(
    ("lot", "market", "step"), [("0.01", "0.1", "0.1"), ("0.02", "0.05", "0.1"), ("5", "0.5", "5"), ("0", "0.1", "0.1")]
)
def test_both_lot_filters_bind_a_market_order(lot, market, step):
    payload = recorded("exchange_info")
    by_type = {row["filterType"]: row for row in payload["symbols"][0]["filters"]}
    by_type["LOT_SIZE"]["stepSize"], by_type["MARKET_LOT_SIZE"]["stepSize"] = lot, market

    assert parse.rules(payload, BTC_USDT, "BTCUSDT").base_step == Decimal(step)


@pytest.mark.parametrize("status", ["HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY", "SOMETHING_NEW"])
def test_a_symbol_trades_only_in_the_state_trading(status):
    payload = recorded("exchange_info")
    payload["symbols"][0]["status"] = status

    assert not parse.rules(payload, BTC_USDT, "BTCUSDT").is_trading


def test_a_minimum_that_market_orders_are_spared_does_not_count():
    payload = recorded("exchange_info")
    for row in payload["symbols"][0]["filters"]:
        if row["filterType"] == "NOTIONAL":
            row["applyMinToMarket"] = False

    assert parse.rules(payload, BTC_USDT, "BTCUSDT").min_notional == 0


def test_the_weight_limit_is_read():
    assert parse.weight_limit(recorded("exchange_info")) == 6000


# --- accounts ---


def test_an_account_is_complete_and_bears_the_time_of_its_last_change():
    snapshot = parse.account(recorded("account"))

    assert snapshot.free("USDT") == Decimal("1000.00000001")
    assert snapshot.free("ETH") == 0
    assert (snapshot.time_ms, snapshot.source) == (1764000000000, BalanceSource.READ)


def test_a_right_that_is_not_clearly_absent_counts_as_there():
    payload = recorded("api_restrictions") | {"enableWithdrawals": "no"}

    assert parse.restrictions(payload).can_withdraw


# --- orders ---


def test_a_full_reply_carries_fills_that_add_up(prepared):
    ack = parse.order_reply(recorded("order_full"), prepared)

    assert (ack.exchange_order_id, ack.time_ms) == ("51000001", 1764000000105)
    assert ack.report.status is OrderStatus.FILLED
    assert ack.report.fills_complete
    assert sum(fill.quote_amount for fill in ack.report.fills) == ack.report.filled_quote == Decimal("99.0049")


def test_an_ack_reply_says_nothing_of_fills(prepared):
    names = ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")
    full = recorded("order_full")

    ack = parse.order_reply({name: full[name] for name in names}, prepared)

    assert ack.report is None


def test_a_reply_in_state_new_is_no_final_report(prepared):
    payload = recorded("order_full") | {
        "status": "NEW",
        "executedQty": "0.0",
        "cummulativeQuoteQty": "0.0",
        "fills": [],
    }

    assert not parse.order_reply(payload, prepared).report.status.is_final


def test_fills_that_do_not_add_up_are_not_called_complete(prepared):
    payload = recorded("order_full")
    payload["fills"].pop()

    assert not parse.order_reply(payload, prepared).report.fills_complete


@pytest.mark.parametrize(
    "changes",
    [{"clientOrderId": "another"}, {"symbol": "ETHUSDT"}, {"side": "SELL"}],
    ids=["client-id", "symbol", "side"],
)
def test_a_reply_to_another_order_is_no_success(prepared, changes):
    with pytest.raises(OutcomeUnknown):
        parse.order_reply(recorded("order_full") | changes, prepared)


@pytest.mark.parametrize("payload", [[], "text", None, {}, {"clientOrderId": "cp-1-7"}])
def test_a_reply_of_another_shape_is_no_success(prepared, payload):
    with pytest.raises(OutcomeUnknown):
        parse.order_reply(payload, prepared)


def test_a_part_filled_expired_order_counts_what_was_executed(prepared):
    payload = recorded("order_full") | {"status": "EXPIRED", "executedQty": "0.00050000"}
    payload["fills"].pop()

    report = parse.order_reply(payload, prepared).report

    assert (report.status, report.filled_base) == (OrderStatus.EXPIRED, Decimal("0.0005"))
    assert report.fills_complete


def test_a_state_that_binance_invents_later_is_taken_for_unfinished():
    assert parse.order(recorded("order") | {"status": "RESTING"}).status is OrderStatus.PARTIALLY_FILLED


def test_a_quote_amount_that_is_not_available_is_summed_from_the_trades():
    payload = recorded("order") | {"cummulativeQuoteQty": "-1.00000000"}

    assert parse.order(payload, parse.trades(recorded("my_trades"))).filled_quote == Decimal("99.0049")
    with pytest.raises(OutcomeUnknown):
        parse.order(payload)


# --- events ---


def test_the_reports_of_a_market_order_and_then_its_position():
    new, first, last, position = (parse.event(frame["event"]) for frame in recorded("events_market_buy"))

    assert (new.status, new.fill, new.order_type) == (OrderStatus.NEW, None, "MARKET")
    assert (first.status, first.fill.base_quantity) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.0005"))
    assert (last.status, last.filled_quote, last.execution_id) == (OrderStatus.FILLED, Decimal("99.0049"), 90000004)
    assert (last.fill.trade_id, last.fill.commission, last.fill.commission_asset) == (
        "7000002",
        Decimal("0.00000049"),
        "BTC",
    )
    assert not position.complete and position.time_ms == last.transaction_ms
    assert Balance(asset="USDT", free=Decimal("900.9951")) in position.balances


def test_a_canceled_order_is_known_by_its_own_id():
    event = recorded("events_market_buy")[0]["event"] | {"x": "CANCELED", "X": "CANCELED", "c": "of-cancel", "C": "own"}

    assert parse.event(event).client_order_id == "own"


def test_self_trade_prevention_is_no_fill():
    event = recorded("events_market_buy")[1]["event"] | {"x": "TRADE_PREVENTION", "l": "0.0"}

    assert parse.event(event).fill is None


def test_deposits_and_locks_change_what_is_free():
    deposit = {"e": "balanceUpdate", "E": 1, "a": "BTC", "d": "-1.5", "T": 7}
    lock = {"e": "externalLockUpdate", "E": 1, "a": "BTC", "d": "2", "T": 8}

    assert parse.event(deposit) == BalanceChange(asset="BTC", free_delta=Decimal("-1.5"), time_ms=7)
    assert parse.event(lock) == BalanceChange(asset="BTC", free_delta=Decimal(-2), time_ms=8)


def test_events_that_do_not_matter_are_passed_over():
    assert parse.event({"e": "listStatus"}) is None
    assert parse.event({"e": "somethingNew"}) is None


@pytest.mark.parametrize("name", ["i", "z", "Z", "X", "S", "T", "O", "I", "o", "s"])
def test_a_report_without_a_required_field_is_refused(name):
    event = dict(recorded("events_market_buy")[2]["event"])
    del event[name]

    with pytest.raises(OutcomeUnknown):
        parse.event(event)


def test_extra_fields_are_tolerated():
    event = recorded("events_market_buy")[2]["event"]

    assert parse.event(event | {"zz": [1]}) == parse.event(event)


def test_numbers_may_come_as_json_numbers():
    event = recorded("events_market_buy")[2]["event"]
    as_numbers = parse.loads(json.dumps(event).replace('"0.00099000"', "0.00099000"))

    assert replace(parse.event(as_numbers)) == parse.event(event)


def nasty_variants(payload):
    """Every variant of *payload* with one value, at any depth, replaced by something out of place."""
    yield from (None, [], {}, "x", -1, True, [None])
    if isinstance(payload, dict):
        for name, value in payload.items():
            for variant in nasty_variants(value):
                yield payload | {name: variant}
    elif isinstance(payload, list):
        for index, value in enumerate(payload):
            for variant in nasty_variants(value):
                yield [*payload[:index], variant, *payload[index + 1 :]]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("account", parse.account),
        ("account", parse.can_trade),
        ("account", parse.uid),
        ("api_restrictions", parse.restrictions),
        ("order", parse.order),
        ("my_trades", parse.trades),
        ("exchange_info", lambda payload: parse.rules(payload, BTC_USDT, "BTCUSDT")),
        ("exchange_info", parse.weight_limit),
    ],
)
def test_whatever_is_out_of_place_is_read_or_refused_but_never_crashes(name, read):
    payload = recorded(name)
    for variant in nasty_variants(payload):
        with contextlib.suppress(OutcomeUnknown):
            read(variant)


def test_no_misshapen_order_reply_crashes(prepared):
    for variant in nasty_variants(recorded("order_full")):
        with contextlib.suppress(OutcomeUnknown):
            parse.order_reply(variant, prepared)


def test_no_misshapen_event_crashes():
    for frame in recorded("events_market_buy"):
        for variant in nasty_variants(frame["event"]):
            with contextlib.suppress(OutcomeUnknown):
                parse.event(variant)
