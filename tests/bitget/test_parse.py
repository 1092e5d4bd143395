import json
from decimal import Decimal as D

import pytest

from copytrade_bitget import parse
from copytrade_core.errors import OutcomeUnknown
from copytrade_core.model import BalanceSource, OrderStatus, Side, Symbol

SYMBOL = Symbol("BTC", "USDT")


def data(raw):
    return parse.envelope(raw).data


@pytest.mark.parametrize(("name", "minimum"), [("symbols", "minTradeUSDT"), ("instruments", "minOrderAmount")])
def test_rules_come_from_precisions_and_never_from_the_obsolete_amounts(payload, name, minimum):
    rules = parse.symbol_rules(data(payload(name))[0], SYMBOL, minimum=minimum)

    assert (rules.base_step, rules.quote_step, rules.min_notional) == (D("0.000001"), D("0.01"), D(1))
    assert (rules.min_base, rules.max_base, rules.is_trading) == (D(0), D(0), True)


@pytest.mark.parametrize("word", ["gray", "halt", "offline", "limit_open", "restrictedAPI"])
def test_a_pair_that_is_not_online_is_not_trading(payload, word):
    row = {**data(payload("symbols"))[0], "status": word}

    assert not parse.symbol_rules(row, SYMBOL, minimum="minTradeUSDT").is_trading


def test_classic_balances_are_exact_complete_and_as_old_as_the_pairs_rows(payload):
    answer = parse.envelope(payload("classic_assets"))

    snapshot = parse.classic_balances(answer.data, answer.request_ms, SYMBOL)

    assert snapshot.free("USDT") == D("1234.56789012")
    assert snapshot.free("BTC") == D("0.123")
    assert snapshot.free("SOL") == 0
    assert snapshot.balances[0].locked == D("10.5")
    assert (snapshot.time_ms, snapshot.complete, snapshot.source) == (1695808949100, True, BalanceSource.READ)


def test_an_empty_classic_account_has_the_answers_own_time():
    assert parse.classic_balances([], 42, SYMBOL).time_ms == 42


def test_unified_balances_are_what_is_available(payload):
    answer = parse.envelope(payload("unified_assets"))

    snapshot = parse.unified_balances(answer.data, answer.request_ms)

    assert snapshot.free("USDT") == D("6.19")
    assert snapshot.time_ms == 1740546523001


def test_a_classic_order_reports_what_was_filled_not_what_was_asked(payload):
    order = parse.classic_order(data(payload("classic_order"))[0])

    assert (order.exchange_order_id, order.client_order_id) == ("121", "ct0001")
    assert (order.side, order.is_market, order.status) == (Side.BUY, True, OrderStatus.FILLED)
    assert (order.filled_base, order.filled_quote) == (D("0.0007"), D("9.1"))
    assert (order.created_ms, order.updated_ms) == (1695865232127, 1695865233051)


def test_a_unified_order_reports_what_was_filled_not_what_was_asked(payload):
    order = parse.unified_order(data(payload("unified_order")))

    assert (order.filled_base, order.filled_quote) == (D("0.0372"), D("99.853356"))
    assert (order.status, order.created_ms) == (OrderStatus.FILLED, 1730295766596)


def test_fees_are_positive_whatever_the_family_says(payload):
    classic = parse.classic_fill(data(payload("classic_fills"))[0])
    (unified,) = parse.unified_fills(data(payload("unified_fills"))["list"][0])

    assert (classic.commission, classic.commission_asset) == (D("0.0000007"), "BTC")
    assert (unified.commission, unified.commission_asset) == (D("0.00000744"), "BTC")
    assert (classic.base_quantity, classic.quote_amount) == (D("0.0007"), D("9.1"))
    assert (unified.trade_id, unified.quote_amount) == ("900", D("99.853356"))


def test_a_unified_fee_that_two_coins_share_is_all_there_and_changes_no_size(payload):
    row = data(payload("unified_fills"))["list"][0]
    fees = (("BTC", "0.00000372"), ("BGB", "-0.01"), ("BTC", "0.00000001"), ("USDT", "0"))
    row["feeDetail"] = [{"feeCoin": coin, "fee": fee} for coin, fee in fees]

    fills = parse.unified_fills(row)

    assert [(fill.trade_id, fill.commission, fill.commission_asset) for fill in fills] == [
        ("900", D("0.00000373"), "BTC"),
        ("900/BGB", D("0.01"), "BGB"),
    ]
    assert sum(fill.base_quantity for fill in fills) == D("0.0372")
    assert sum(fill.quote_amount for fill in fills) == D("99.853356")


@pytest.mark.parametrize(
    ("word", "filled", "status"),
    [
        ("live", "0", OrderStatus.NEW),
        ("live", "", OrderStatus.NEW),
        ("new", "0.1", OrderStatus.PARTIALLY_FILLED),
        ("partially_filled", "0.1", OrderStatus.PARTIALLY_FILLED),
        ("cancelled", "0", OrderStatus.CANCELED),
        ("canceled", "0.1", OrderStatus.CANCELED),
    ],
)
def test_statuses(payload, word, filled, status):
    row = {**data(payload("classic_order"))[0], "status": word, "baseVolume": filled}

    order = parse.classic_order(row)

    assert order.status is status
    assert order.fills_complete == (status.is_final and not order.filled_base)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "exploded"),
        ("baseVolume", None),
        ("baseVolume", "NaN"),
        ("baseVolume", "٥"),
        ("baseVolume", "1_0"),
        ("baseVolume", " 1"),
        ("baseVolume", "1e999"),
        ("baseVolume", "9" * 400),
        ("baseVolume", True),
        ("quoteVolume", ""),
        ("orderId", ""),
        ("cTime", "soon"),
        ("side", "hold"),
    ],
)
def test_an_order_that_cannot_be_read_is_no_evidence(payload, field, value):
    with pytest.raises(OutcomeUnknown):
        parse.classic_order({**data(payload("classic_order"))[0], field: value})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>502</html>",
        b'{"code":"00000","data":NaN}',
        b"[1]",
        b'"x"',
        b'{"msg":"x"}',
        b'{"code":',
        b"[" * 9999,
    ],
)
def test_what_is_not_an_envelope_is_unknown(raw):
    with pytest.raises(OutcomeUnknown) as caught:
        parse.envelope(raw)

    assert caught.value.kind == "unreadable_answer"


def test_numbers_in_json_stay_exact():
    assert parse.amount(parse.document('{"x": 0.10000000000000000001}'), "x") == D("0.10000000000000000001")
    assert parse.amount(parse.document('{"x": 1e-7}'), "x") == D("0.0000001")


def test_a_classic_account_push_is_one_snapshot_for_each_time(payload):
    older, newer = parse.classic_account_push(parse.document(payload("push_classic_account")))

    assert (older.time_ms, older.free("BTC"), older.free("USDT")) == (1697092295400, D("0.5"), None)
    assert (newer.time_ms, newer.free("USDT"), newer.complete) == (1697092295506, D(100000), False)
    assert newer.source is BalanceSource.PUSHED


def test_a_unified_account_push_leaves_coins_in_debt_out(payload):
    (snapshot,) = parse.unified_account_push(parse.document(payload("push_unified_account")))

    assert (snapshot.free("USDT"), snapshot.free("ETH"), snapshot.time_ms) == (D("6.19"), None, 1740546523244)


def test_a_classic_order_push_brings_its_fill_and_the_sum_of_all(payload):
    (report,) = parse.classic_order_push(parse.document(payload("push_classic_orders")))

    assert (report.client_order_id, report.exchange_symbol, report.order_type) == ("ct1", "BTCUSDT", "MARKET")
    assert (report.status, report.filled_base) == (OrderStatus.PARTIALLY_FILLED, D("0.0003"))
    assert report.filled_quote == D("0.0003") * D("26256.0")
    assert (report.fill.trade_id, report.fill.commission) == ("1", D("0.00000018"))
    assert (report.created_ms, report.transaction_ms) == (1695797773257, 1695797773286)


def test_a_classic_order_push_without_a_fill_has_none(payload):
    message = json.loads(payload("push_classic_orders"))
    row = message["data"][0]
    for name in ("fillPrice", "tradeId", "baseVolume", "fillTime", "fillFee", "fillFeeCoin"):
        del row[name]
    row |= {"status": "live", "accBaseVolume": "0.0000", "priceAvg": ""}

    (report,) = parse.classic_order_push(message)

    assert (report.status, report.fill, report.filled_quote) == (OrderStatus.NEW, None, 0)


def test_a_unified_order_push_tells_spot_orders_only(payload):
    (report,) = parse.unified_order_push(parse.document(payload("push_unified_order")))

    assert (report.side, report.filled_base, report.filled_quote) == (Side.SELL, D("0.0372"), D("99.853356"))
    assert report.fill is None
