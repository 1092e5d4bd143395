import json
import threading
import time
from dataclasses import replace
from decimal import Decimal as D
from itertools import pairwise

import pytest

from copytrade_bitget.signing import Signer
from copytrade_core.clock import Clock, ExchangeClock
from copytrade_core.connector import ExchangeContext
from copytrade_core.errors import (
    AuthenticationFailed,
    ClockSkewed,
    ConfigError,
    DuplicateOrderId,
    InsufficientBalance,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    UnknownExchange,
)
from copytrade_core.model import (
    AccountId,
    ClientOrderId,
    Credentials,
    Environment,
    KeyPermissions,
    MarketOrder,
    OrderStatus,
    Side,
    Symbol,
)

SYMBOL = Symbol("BTC", "USDT")
SETTINGS = "/api/v3/account/settings"
V2 = "/api/v2/spot"


def buy(client_order_id="ct0001", amount="25.10"):
    return MarketOrder(
        symbol=SYMBOL, side=Side.BUY, client_order_id=ClientOrderId(client_order_id), quote_amount=D(amount)
    )


def sell(quantity="0.000012", client_order_id="ct0001"):
    return MarketOrder(
        symbol=SYMBOL, side=Side.SELL, client_order_id=ClientOrderId(client_order_id), base_quantity=D(quantity)
    )


@pytest.fixture
def classic(bitget, helpers, payload):
    """The exchange answers as to the key of a classic account."""
    empty = helpers.answer({"code": "00000", "msg": "", "requestTime": 1, "data": []})
    bitget.on(SETTINGS, helpers.answer(payload("wrong_mode_classic_key"), 400))
    bitget.on(f"{V2}/account/info", helpers.answer(payload("classic_info")))
    bitget.on(f"{V2}/account/assets", helpers.answer(payload("classic_assets")))
    bitget.on(f"{V2}/trade/place-order", helpers.answer(payload("classic_placed")))
    bitget.on(f"{V2}/trade/orderInfo", empty)
    bitget.on(f"{V2}/trade/unfilled-orders", empty)
    bitget.on(f"{V2}/trade/history-orders", empty)
    bitget.on(f"{V2}/trade/fills", helpers.answer(payload("classic_fills")))
    return bitget


@pytest.fixture
def unified(bitget, helpers, payload):
    """The exchange answers as to the key of a unified account."""
    empty = helpers.answer(payload("unified_no_list"))
    wrong = helpers.answer(payload("wrong_mode_unified_key"), 400)
    bitget.on(SETTINGS, helpers.answer(payload("unified_settings")))
    bitget.on("/api/v3/account/info", helpers.answer(payload("unified_info")))
    bitget.on("/api/v3/account/assets", helpers.answer(payload("unified_assets")))
    bitget.on("/api/v3/trade/place-order", helpers.answer(payload("classic_placed")))
    bitget.on("/api/v3/trade/order-info", helpers.refusal("25204", "Order does not exist"))
    bitget.on("/api/v3/trade/unfilled-orders", empty)
    bitget.on("/api/v3/trade/history-orders", empty)
    bitget.on("/api/v3/trade/fills", helpers.answer(payload("unified_fills")))
    for path in ("account/info", "account/assets", "trade/place-order", "trade/orderInfo"):
        bitget.on(f"{V2}/{path}", wrong)
    return bitget


def changed(raw, **fields):
    document = json.loads(raw)
    document["data"] = document["data"] | fields
    return document


# --- opening ----------------------------------------------------------------------------------------------


def context(environment=Environment.PROD, **endpoints):
    clock = Clock()
    return ExchangeContext(
        environment=environment,
        symbol=SYMBOL,
        clock=clock,
        exchange_clock=ExchangeClock(clock),
        endpoints=endpoints,
    )


def test_the_test_environment_is_refused_with_the_right_name():
    from copytrade_bitget.connector import BitgetExchange

    with pytest.raises(UnknownExchange, match="demo"):
        BitgetExchange(context(Environment.TEST))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1/v2", "127.0.0.1:80"])
def test_an_endpoint_that_is_no_origin_is_refused(url):
    from copytrade_bitget.connector import BitgetExchange

    with pytest.raises(ConfigError, match="rest"):
        BitgetExchange(context(rest=url))


def test_the_plug_in_describes_and_opens_bitget_and_nothing_else():
    from copytrade_bitget import plugin
    from copytrade_core.plugins import Plugins

    plugins = Plugins()
    plugins.register(plugin, "bitget")

    assert plugins.reports[0].exchanges == ("bitget",)
    assert [field.name for field in plugins.describe("bitget", "demo").credential_fields] == [
        "api_key",
        "api_secret",
        "passphrase",
    ]
    assert not plugins.describe("bitget").can_lead
    plugins.open_exchange("bitget", context()).close()
    assert plugin.copytrade_open_exchange("binance", context()) is None
    assert plugin.copytrade_open_simulator("binance", None) is None


def test_public_calls_carry_no_key_and_no_demo_header(bitget, exchange, helpers, payload):
    bitget.on("/api/v2/public/time", helpers.answer(b'{"code":"00000","data":{"serverTime":"1688008631614"}}'))
    bitget.on(f"{V2}/public/symbols", helpers.answer(payload("symbols")))

    assert exchange.server_time_ms() == 1688008631614
    assert exchange.rules().exchange_symbol == "BTCUSDT"
    for seen in bitget.seen:
        assert not {name for name in seen.headers if name.startswith("access") or name == "paptrading"}


@pytest.mark.parametrize("code", ["40404", "30032"])
def test_rules_come_from_the_unified_route_should_the_classic_one_go(bitget, exchange, helpers, payload, code):
    bitget.on(f"{V2}/public/symbols", helpers.refusal(code, "gone"))
    bitget.on("/api/v3/market/instruments", helpers.answer(payload("instruments")))

    assert exchange.rules().base_step == D("0.000001")


# --- verify -----------------------------------------------------------------------------------------------


def test_verify_knows_a_classic_account(classic, connector):
    check = connector.verify()

    assert check.uid == "123"
    assert check.balances.free("USDT") == D("1234.56789012")
    assert (check.permissions.can_trade, check.permissions.can_withdraw) == (True, False)
    assert check.warnings == ()
    assert connector.family.name == "classic"


def test_verify_knows_a_unified_account(unified, connector):
    check = connector.verify()

    assert check.uid == "777"
    assert check.balances.free("USDT") == D("6.19")
    assert connector.family.name == "unified"


def test_private_calls_are_signed_over_the_raw_sorted_query_and_marked_as_demo(classic, connector, helpers):
    connector.verify()

    for seen in classic.seen:
        expected = Signer(Credentials(helpers.secrets)).headers(
            int(seen.headers["access-timestamp"]), seen.method, seen.target, seen.body.decode()
        )
        assert seen.headers["access-sign"] == expected["ACCESS-SIGN"]
        assert seen.headers["access-passphrase"] == helpers.secrets["passphrase"]
        assert (seen.headers["paptrading"], seen.headers["locale"]) == ("1", "en-US")


def test_production_calls_are_not_marked_as_demo(classic, exchange_clock, helpers):
    exchange = helpers.open_exchange(classic.url, exchange_clock, Environment.PROD)
    exchange.open_connector(AccountId("a"), Credentials(helpers.secrets)).balances()
    exchange.close()

    assert all("paptrading" not in seen.headers for seen in classic.seen)


@pytest.mark.parametrize(
    ("authorities", "kind"),
    [
        (["stow", "stor", "wwow"], "can_withdraw"),
        (["stow", "stor", "wtow"], "can_transfer"),
        (["trade", "withdraw"], "can_withdraw"),
        (["stor"], "no_trade_permission"),
        (["readonly"], "no_trade_permission"),
        ([], "no_trade_permission"),
    ],
)
def test_verify_refuses_a_classic_key_that_may_do_too_much_or_too_little(
    classic, connector, helpers, payload, authorities, kind
):
    classic.on(f"{V2}/account/info", helpers.answer(changed(payload("classic_info"), authorities=authorities)))

    with pytest.raises(AuthenticationFailed) as caught:
        connector.verify()

    assert caught.value.kind == kind


def test_the_older_words_for_permissions_are_understood(classic, connector, helpers, payload):
    info = changed(payload("classic_info"), authorities=["trade", "readonly"], ips=[])
    classic.on(f"{V2}/account/info", helpers.answer(info))

    check = connector.verify()

    assert check.permissions.can_trade
    assert check.permissions.ip_restricted is False


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"permissions": ["uta_mgt", "uta_trade", "withdraw"]}, "can_withdraw"),
        ({"permissions": ["uta_mgt", "uta_trade", "transfer"]}, "can_transfer"),
        ({"permType": "read-only"}, "no_trade_permission"),
        ({"permissions": ["uta_mgt"]}, "no_trade_permission"),
        ({"permissions": ["uta_trade"]}, "no_read_permission"),
    ],
)
def test_verify_refuses_a_unified_key_that_may_do_too_much_or_too_little(
    unified, connector, helpers, payload, fields, kind
):
    unified.on("/api/v3/account/info", helpers.answer(changed(payload("unified_info"), **fields)))

    with pytest.raises(AuthenticationFailed) as caught:
        connector.verify()

    assert caught.value.kind == kind


def test_a_key_that_only_reads_is_good_for_a_leader(unified, connector, helpers, payload):
    unified.on("/api/v3/account/info", helpers.answer(changed(payload("unified_info"), permType="read-only")))

    assert connector.verify(needs_trade=False).permissions.can_trade is False


def test_a_unified_account_in_debt_for_a_traded_coin_is_refused(unified, connector, helpers, payload):
    assets = changed(payload("unified_assets"))
    assets["data"]["assets"][0]["debt"] = "0.01"
    unified.on("/api/v3/account/assets", helpers.answer(assets))

    with pytest.raises(AuthenticationFailed, match="owes USDT"):
        connector.verify()


@pytest.mark.parametrize("code", ["40081", "40105", "40110", "22030"])
def test_in_demo_a_route_that_is_missing_is_no_fault_of_the_key(classic, connector, helpers, code):
    classic.on(f"{V2}/account/info", helpers.refusal(code))

    check = connector.verify()

    assert check.uid.startswith("key-")
    assert check.permissions.can_trade is None
    assert check.permissions == KeyPermissions()


@pytest.mark.parametrize(("assets", "family"), [("classic_assets", "classic"), ("wrong_mode_unified_key", "unified")])
def test_in_demo_the_family_is_told_by_the_assets_when_the_settings_are_missing(
    unified, connector, helpers, payload, assets, family
):
    unified.on(SETTINGS, helpers.refusal("40081"))
    unified.on(f"{V2}/account/assets", helpers.answer(payload(assets)))

    assert connector.detect_family().name == family


@pytest.mark.parametrize("code", ["40014", "25620"])
def test_a_unified_key_without_the_management_permission_is_told_so(unified, connector, helpers, code):
    unified.on(SETTINGS, helpers.refusal(code))

    with pytest.raises(AuthenticationFailed, match="management") as caught:
        connector.verify()

    assert caught.value.kind == "no_read_permission"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("40006", "invalid_key"),
        ("40009", "wrong_secret"),
        ("40012", "wrong_passphrase"),
        ("40099", "wrong_environment"),
    ],
)
def test_verify_says_what_is_wrong_with_a_key(unified, connector, helpers, code, kind):
    unified.on(SETTINGS, helpers.refusal(code))

    with pytest.raises(AuthenticationFailed) as caught:
        connector.verify()

    assert caught.value.kind == kind


def test_an_account_that_is_changing_its_kind_is_unknown_for_now(unified, connector, helpers, payload):
    unified.on(SETTINGS, helpers.answer(changed(payload("unified_settings"), accountMode="upgrading")))

    with pytest.raises(OutcomeUnknown):
        connector.detect_family()

    assert connector.family is None


def test_a_read_notices_that_the_account_became_unified(classic, connector, helpers, payload):
    connector.balances()
    classic.on(SETTINGS, helpers.answer(payload("unified_settings")))
    classic.on(f"{V2}/account/assets", helpers.answer(payload("wrong_mode_unified_key"), 400))
    classic.on("/api/v3/account/assets", helpers.answer(payload("unified_assets")))

    assert connector.balances().free("USDT") == D("6.19")
    assert connector.family.name == "unified"


# --- orders -----------------------------------------------------------------------------------------------


def test_an_order_waits_until_the_family_is_known(classic, connector):
    with pytest.raises(NotSent) as caught:
        connector.prepare_market_order(buy())

    assert caught.value.kind == "account_mode"
    assert classic.seen == []


def test_an_order_waits_until_the_clock_is_known(classic, helpers):
    clock = ExchangeClock(Clock())
    exchange = helpers.open_exchange(classic.url, clock)
    connector = exchange.open_connector(AccountId("a"), Credentials(helpers.secrets))
    connector._family = connector._classic

    with pytest.raises(ClockSkewed):
        connector.prepare_market_order(buy())
    exchange.close()


def test_a_classic_buy_is_sized_in_quote_and_bounded_in_time(classic, connector, gate):
    connector.detect_family()

    prepared = connector.prepare_market_order(buy(amount="25.10"))
    ack = connector.place(prepared, gate)

    now = str(prepared.timestamp_ms)
    assert prepared.body == {
        "symbol": "BTCUSDT",
        "side": "buy",
        "orderType": "market",
        "force": "gtc",
        "size": "25.10",
        "clientOid": "ct0001",
        "requestTime": now,
        "receiveWindow": "3000",
    }
    (post,) = classic.posts()
    assert json.loads(post.body) == prepared.body
    assert post.headers["access-timestamp"] == now
    assert prepared.fence_ms == prepared.timestamp_ms + 3000 + 12000
    assert (ack.exchange_order_id, ack.client_order_id, ack.report) == ("1001", "ct0001", None)
    assert gate.passed == 1


def test_a_unified_sell_is_sized_in_base_and_never_on_margin(unified, connector, gate):
    connector.detect_family()

    prepared = connector.prepare_market_order(sell("0.00000001"))
    connector.place(prepared, gate)

    assert prepared.body == {
        "category": "SPOT",
        "symbol": "BTCUSDT",
        "side": "sell",
        "orderType": "market",
        "qty": "0.00000001",
        "clientOid": "ct0001",
    }
    (post,) = unified.posts()
    assert json.loads(post.body) == prepared.body
    assert prepared.fence_ms == prepared.timestamp_ms + 42_000


@pytest.mark.parametrize("client_order_id", ["", "x" * 33, "a b", "a#b", "ü"])
def test_an_id_that_bitget_might_drop_never_leaves(classic, connector, client_order_id):
    connector.detect_family()

    with pytest.raises(NotSent) as caught:
        connector.prepare_market_order(buy(client_order_id))

    assert not caught.value.retry


def test_an_order_made_for_another_key_never_leaves(classic, connector, gate):
    connector.detect_family()
    prepared = replace(connector.prepare_market_order(buy()), key_fingerprint="other")

    with pytest.raises(NotSent):
        connector.place(prepared, gate)

    assert classic.posts() == []


@pytest.mark.parametrize(
    ("code", "words", "error"),
    [
        ("43012", "Insufficient balance", InsufficientBalance),
        ("45110", "less than the minimum amount 1 USDT", OrderRejected),
        ("43118", "clientOrderId duplicate", DuplicateOrderId),
        ("40008", "Request timestamp expired", ClockSkewed),
        ("40014", "Incorrect permissions", AuthenticationFailed),
        ("40010", "Request timed out", OutcomeUnknown),
        ("40725", "service return an error", OutcomeUnknown),
        ("45001", "Unknown error", OutcomeUnknown),
        ("40015", "System is abnormal", OutcomeUnknown),
        ("12345", "a new one", OutcomeUnknown),
        ("429", "Too Many Requests", RateLimited),
    ],
)
def test_a_refused_order_is_classified_by_its_code_and_leaves_once(
    classic, connector, gate, helpers, code, words, error
):
    connector.detect_family()
    classic.on(f"{V2}/trade/place-order", helpers.refusal(code, words))

    with pytest.raises(error) as caught:
        connector.place(connector.prepare_market_order(buy()), gate)

    assert len(classic.posts()) == 1
    assert helpers.secrets["passphrase"] not in repr(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(502, b"<html>Bad Gateway</html>", id="502"),
        pytest.param(403, b"<html>blocked</html>", id="403"),
        pytest.param(200, b"", id="empty"),
        pytest.param(200, b"<html>", id="html"),
        pytest.param(302, b"", id="redirect"),
        pytest.param(500, b'{"code":"43012","msg":"Insufficient balance","data":null}', id="500-with-a-refusal"),
        pytest.param(307, b'{"code":"43012","msg":"Insufficient balance","data":null}', id="307-with-a-refusal"),
        pytest.param(200, b'{"code":"00000","data":null}', id="no-data"),
        pytest.param(200, b'{"code":"00000","data":{"orderId":"1"}}', id="no-client-id"),
        pytest.param(200, b'{"code":"00000","data":{"orderId":"1","clientOid":"other"}}', id="other-id"),
        pytest.param(200, b'{"code":"00000","data":{"orderId":"","clientOid":"ct0001"}}', id="no-order-id"),
    ],
)
def test_an_answer_that_proves_nothing_is_unknown(classic, connector, gate, helpers, status, body):
    connector.detect_family()
    classic.on(f"{V2}/trade/place-order", helpers.answer(body, status))

    with pytest.raises(OutcomeUnknown):
        connector.place(connector.prepare_market_order(buy()), gate)

    assert len(classic.posts()) == 1


def test_a_429_without_json_is_a_refusal(classic, connector, gate, helpers):
    connector.detect_family()
    classic.on(f"{V2}/trade/place-order", helpers.answer(b"slow down", 429, "Retry-After: 7\r\n"))

    with pytest.raises(RateLimited) as caught:
        connector.place(connector.prepare_market_order(buy()), gate)

    assert (caught.value.retry_after_sec, caught.value.whole_address) == (7.0, False)


def test_a_time_to_wait_may_be_a_date_which_is_held_against_the_exchanges_own(classic, connector, helpers):
    connector.detect_family()
    headers = "Date: Wed, 01 Dec 2027 00:00:00 GMT\r\nRetry-After: Wed, 01 Dec 2027 00:00:42 GMT\r\n"
    classic.on(f"{V2}/account/assets", helpers.answer(b"slow down", 429, headers))

    with pytest.raises(RateLimited) as caught:
        connector.balances()

    assert caught.value.retry_after_sec == 42


def test_what_bitget_says_is_left_of_a_second_is_believed(classic, connector, helpers, payload):
    connector.detect_family()
    # Another program reads this account, too: of ten calls a second one is left.
    classic.on(f"{V2}/account/assets", helpers.answer(payload("classic_assets"), 200, "x-mbx-used-remain-limit: 1\r\n"))
    began = time.monotonic()

    connector.balances()
    connector.balances()
    assert time.monotonic() - began < 0.9
    connector.balances()  # has to wait for the next second

    assert time.monotonic() - began > 1


def test_an_address_that_was_shut_out_is_told_to_the_host(classic, exchange_clock, helpers):
    told = []
    exchange = helpers.open_exchange(classic.url, exchange_clock, on_shut_out=told.append)
    for path in (f"{V2}/account/assets", f"{V2}/trade/orderInfo", f"{V2}/account/info"):
        classic.on(path, helpers.refusal("429"))
    for number in range(4):
        with pytest.raises(RateLimited):
            exchange.open_connector(AccountId(f"account-{number}"), Credentials(helpers.secrets)).balances()
    exchange.close()

    assert told == [300]


def test_several_routes_refused_for_rate_shut_the_address_for_five_minutes(classic, exchange, helpers):
    for path in (f"{V2}/account/assets", f"{V2}/trade/orderInfo", f"{V2}/account/info"):
        classic.on(path, helpers.refusal("429"))
    connectors = [exchange.open_connector(AccountId(f"account-{n}"), Credentials(helpers.secrets)) for n in range(4)]
    errors = []
    for connector in connectors:
        with pytest.raises(RateLimited) as caught:
            connector.balances()
        errors.append(caught.value)

    assert [error.whole_address for error in errors] == [False, False, True, True]
    assert errors[2].retry_after_sec == 300
    assert errors[3].banned
    assert len(classic.asked(f"{V2}/account/assets")) == 3


def test_an_order_refused_for_the_account_mode_was_not_sent_and_the_next_one_fits(
    classic, connector, gate, helpers, payload
):
    connector.detect_family()
    prepared = connector.prepare_market_order(buy())
    classic.on(f"{V2}/trade/place-order", helpers.answer(payload("wrong_mode_unified_key"), 400))
    classic.on(SETTINGS, helpers.answer(payload("unified_settings")))

    with pytest.raises(NotSent) as caught:
        connector.place(prepared, gate)

    assert (caught.value.kind, caught.value.retry) == ("account_mode_changed", True)
    assert "qty" in connector.prepare_market_order(buy()).body


def test_when_the_new_family_cannot_be_told_nothing_more_is_prepared(classic, connector, gate, helpers, payload):
    connector.detect_family()
    prepared = connector.prepare_market_order(buy())
    classic.on(f"{V2}/trade/place-order", helpers.answer(payload("wrong_mode_unified_key"), 400))
    classic.on(SETTINGS, helpers.answer(b"<html>", 502))

    with pytest.raises(NotSent):
        connector.place(prepared, gate)
    with pytest.raises(NotSent):
        connector.prepare_market_order(buy())


def test_a_lead_traders_orders_are_paced_to_one_a_second(classic, connector, gate, helpers, payload):
    classic.on(f"{V2}/account/info", helpers.answer(changed(payload("classic_info"), traderType="trader")))

    check = connector.verify()

    assert [warning.kind for warning in check.warnings] == ["lead_trader"]
    connector.place(connector.prepare_market_order(buy()), gate)
    with pytest.raises(RateLimited) as caught:
        connector.place(connector.prepare_market_order(buy()), gate)
    assert caught.value.kind == "budget"


# --- finding ----------------------------------------------------------------------------------------------


def test_a_found_classic_order_comes_with_all_its_fills(classic, connector, helpers, payload):
    classic.on(f"{V2}/trade/orderInfo", helpers.answer(payload("classic_order")))

    report = connector.find_order(ClientOrderId("ct0001"))

    assert report.status is OrderStatus.FILLED
    assert (report.filled_quote, report.fills_complete) == (D("9.1"), True)
    assert [fill.trade_id for fill in report.fills] == ["555"]
    assert classic.asked(f"{V2}/trade/fills")[0].target.endswith("?limit=100&orderId=121&symbol=BTCUSDT")


def test_a_found_unified_order_comes_with_all_its_fills(unified, connector, helpers, payload):
    unified.on("/api/v3/trade/order-info", helpers.answer(payload("unified_order")))
    last = helpers.answer(payload("unified_no_list"))
    unified.on("/api/v3/trade/fills", helpers.answer(payload("unified_fills")), last)

    report = connector.find_order(ClientOrderId("ct1"))

    assert (report.fills_complete, report.fills[0].commission) == (True, D("0.00000744"))


def test_fills_that_do_not_add_up_are_not_called_complete(classic, connector, helpers, payload):
    order = json.loads(payload("classic_order"))
    order["data"][0]["baseVolume"] = "0.0014"
    classic.on(f"{V2}/trade/orderInfo", helpers.answer(order))

    assert not connector.find_order(ClientOrderId("ct0001")).fills_complete


def test_a_cancelled_order_keeps_what_it_filled(classic, connector, helpers, payload):
    order = json.loads(payload("classic_order"))
    order["data"][0]["status"] = "cancelled"
    classic.on(f"{V2}/trade/orderInfo", helpers.answer(order))

    report = connector.find_order(ClientOrderId("ct0001"))

    assert (report.status, report.filled_base) == (OrderStatus.CANCELED, D("0.0007"))
    assert report.fills_complete


@pytest.mark.parametrize("listing", ["unfilled-orders", "history-orders"])
def test_an_order_that_the_look_up_misses_is_found_in_the_lists(classic, connector, helpers, payload, listing):
    order = json.loads(payload("classic_order"))
    order["data"][0]["cTime"] = str(Clock().wall_ms())
    classic.on(f"{V2}/trade/{listing}", helpers.answer(order))

    assert connector.find_order(ClientOrderId("ct0001")).exchange_order_id == "121"


@pytest.mark.parametrize("code", ["40109", "43001", "25204"])
def test_not_found_has_many_codes(classic, connector, helpers, code):
    classic.on(f"{V2}/trade/orderInfo", helpers.refusal(code))

    assert connector.find_order(ClientOrderId("ct0001")) is None
    assert classic.asked(f"{V2}/trade/unfilled-orders")
    assert classic.asked(f"{V2}/trade/history-orders")


def test_a_unified_order_that_is_nowhere_is_none(unified, connector):
    assert connector.find_order(ClientOrderId("ct0001")) is None
    assert unified.asked("/api/v3/trade/history-orders")


@pytest.mark.parametrize("path", ["orderInfo", "unfilled-orders", "history-orders"])
def test_a_look_up_that_fails_is_no_evidence_of_absence(classic, connector, helpers, path):
    classic.on(f"{V2}/trade/{path}", helpers.answer(b"<html>", 502))

    with pytest.raises(OutcomeUnknown):
        connector.find_order(ClientOrderId("ct0001"))


def test_a_server_error_is_no_evidence_of_absence_whatever_its_code(classic, connector, helpers):
    body = {"code": "40109", "msg": "The data of the order cannot be found", "requestTime": 1, "data": None}
    classic.on(f"{V2}/trade/orderInfo", helpers.answer(body, 503))

    with pytest.raises(OutcomeUnknown, match="503"):
        connector.find_order(ClientOrderId("ct0001"))


def test_an_answer_about_another_order_is_not_taken_for_ours(classic, connector, helpers, payload):
    classic.on(f"{V2}/trade/orderInfo", helpers.answer(payload("classic_order")))

    assert connector.find_order(ClientOrderId("ct9999")) is None


def test_two_orders_with_one_id_are_told_apart_by_nobody(classic, connector, helpers, payload):
    order = json.loads(payload("classic_order"))
    order["data"].append(order["data"][0] | {"orderId": "122"})
    classic.on(f"{V2}/trade/orderInfo", helpers.answer(order))

    with pytest.raises(OutcomeUnknown) as caught:
        connector.find_order(ClientOrderId("ct0001"))

    assert caught.value.kind == "two_orders"


def test_a_list_is_read_to_its_last_page_and_in_order(classic, connector, helpers, payload):
    row = json.loads(payload("classic_order"))["data"][0]
    now = Clock().wall_ms()

    def page(first, count):
        rows = [
            row | {"orderId": str(first - n), "clientOid": f"c{first - n}", "cTime": str(now - 1000 + first - n)}
            for n in range(count)
        ]
        return helpers.answer({"code": "00000", "requestTime": 1, "data": rows})

    classic.on(f"{V2}/trade/history-orders", page(150, 100), page(50, 50))

    found = connector.list_orders(now - 5000)

    assert [int(report.exchange_order_id) for report in found] == list(range(1, 151))
    first, second = classic.asked(f"{V2}/trade/history-orders")
    assert "idLessThan" not in first.target
    assert "idLessThan=51&" in second.target


def test_a_unified_list_is_asked_for_in_spans_of_29_days(unified, connector):
    connector.list_orders(0)

    asked = unified.asked("/api/v3/trade/history-orders")
    spans = [dict(part.split("=") for part in seen.target.partition("?")[2].split("&")) for seen in asked]
    assert len(spans) == 4
    assert all(span["category"] == "SPOT" and span["symbol"] == "BTCUSDT" for span in spans)
    assert all(int(a["endTime"]) == int(b["startTime"]) for a, b in pairwise(spans))


# --- bursts and warmth ------------------------------------------------------------------------------------


def test_warming_up_opens_a_connection_an_account_and_finds_the_families_out(classic, exchange, helpers):
    classic.on("/api/v2/public/time", helpers.answer(b'{"code":"00000","data":{"serverTime":"1"}}'))
    connectors = [exchange.open_connector(AccountId(f"a{n}"), Credentials(helpers.secrets)) for n in range(3)]

    exchange.warm_up(connectors)

    with classic.changed:
        assert classic.changed.wait_for(
            lambda: len(classic.asked("/api/v2/public/time")) >= 3 and all(c.family for c in connectors), timeout=5
        )
    assert classic.connections >= 3


def test_a_burst_leaves_through_the_gateway_and_every_order_has_one_outcome(classic, exchange, helpers, gate):
    def echo(seen, connection):
        body = json.loads(seen.body)
        data = {"orderId": "9" + body["clientOid"][2:], "clientOid": body["clientOid"]}
        return helpers.answer({"code": "00000", "requestTime": 5, "data": data})

    classic.on(f"{V2}/trade/place-order", echo)
    outcomes = {}
    done = threading.Event()

    def on_outcome(prepared, outcome):
        outcomes[prepared.order.client_order_id] = outcome
        if len(outcomes) == 50:
            done.set()

    orders = []
    for n in range(50):
        connector = exchange.open_connector(AccountId(f"a{n}"), Credentials(helpers.secrets))
        connector._family = connector._classic
        orders.append(connector.prepare_market_order(buy(f"ct{n}")))

    exchange.gateway.submit(orders, gate, on_outcome)

    assert done.wait(10)
    assert all(outcomes[f"ct{n}"].exchange_order_id == f"9{n}" for n in range(50))
    assert len(classic.posts()) == gate.passed == 50
