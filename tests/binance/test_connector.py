import itertools
from decimal import Decimal

import pytest

from copytrade_binance.connector import BinanceExchange
from copytrade_core.errors import AuthenticationFailed, ConfigError, OutcomeUnknown
from copytrade_core.model import Environment, OrderStatus
from fake_binance import NOW_MS, a_buy, a_context, a_sell, credentials, ok, recorded

ACCOUNT = "/api/v3/account"
TEST_ORDER = "/api/v3/order/test"
ORDER = "/api/v3/order"
RIGHTS = "/sapi/v1/account/apiRestrictions"
DAY_MS = 86_400_000


def refused(code, message="", status=400):
    return ok({"code": code, "msg": message}, status)


@pytest.fixture
def on_prod(rest, ws_api):
    exchange = BinanceExchange(a_context(Environment.PROD, rest=rest.origin, ws_api=ws_api.url))
    yield exchange.open_connector("leader", credentials())
    exchange.close()


# --- what is sent ---


def test_a_buy_is_sized_in_quote_and_a_sell_in_base(connector):
    buy = connector.prepare_market_order(a_buy(amount="0.00000001"))
    sell = connector.prepare_market_order(a_sell(quantity="1E-5"))

    assert buy.body["quoteOrderQty"] == "0.00000001" and "quantity" not in buy.body
    assert sell.body["quantity"] == "0.00001" and "quoteOrderQty" not in sell.body
    assert buy.body["timestamp"] == str(buy.timestamp_ms)
    assert buy.fence_ms == buy.timestamp_ms + 3000 + 12_000


def test_a_prepared_order_does_not_show_its_key(connector):
    shown = repr(connector.prepare_market_order(a_buy())) + repr(connector.signer)

    assert connector.signer.api_key not in shown


# --- verify ---


def test_a_key_that_reads_and_trades_is_good(rest, connector):
    rest.on |= {ACCOUNT: ok(recorded("account")), TEST_ORDER: ok({})}

    check = connector.verify()

    assert check.uid == "354937868"
    assert check.balances.free("USDT") == Decimal("1000.00000001")
    assert check.permissions.can_trade and check.permissions.can_withdraw is None
    assert rest.requests[0].params["omitZeroBalances"] == "true"


def test_a_test_order_that_fails_its_filters_proves_the_right_to_trade(rest, connector):
    rest.on |= {ACCOUNT: ok(recorded("account")), TEST_ORDER: refused(-1013, "Filter failure: NOTIONAL")}

    assert connector.verify().permissions.can_trade


@pytest.mark.parametrize(
    ("account", "test_order", "kind"),
    [
        pytest.param(refused(-2015, status=401), ok({}), "invalid_key", id="key-refused-everywhere"),
        pytest.param(None, refused(-2015, status=401), "no_trade_permission", id="key-only-reads"),
        pytest.param(refused(-2014, status=401), ok({}), "invalid_key", id="no-key"),
        pytest.param(refused(-2008), ok({}), "invalid_key", id="deleted"),
        pytest.param(refused(-1022), ok({}), "wrong_secret", id="wrong-secret"),
    ],
)
def test_a_bad_key_is_refused_for_its_reason(rest, connector, account, test_order, kind):
    rest.on |= {ACCOUNT: account or ok(recorded("account")), TEST_ORDER: test_order}

    with pytest.raises(AuthenticationFailed) as caught:
        connector.verify()

    assert caught.value.kind == kind


def test_an_account_that_may_not_trade_is_blocked(rest, connector):
    rest.on[ACCOUNT] = ok(recorded("account") | {"canTrade": False})

    with pytest.raises(AuthenticationFailed) as caught:
        connector.verify()

    assert caught.value.kind == "account_blocked"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"enableWithdrawals": True}, "can_withdraw"),
        ({"enableInternalTransfer": True}, "can_transfer"),
        ({"permitsUniversalTransfer": True}, "can_transfer"),
        ({"enableSpotAndMarginTrading": False}, "no_trade_permission"),
        ({"enableReading": False}, "no_read_permission"),
    ],
)
def test_on_prod_a_key_with_too_many_or_too_few_rights_is_refused(rest, on_prod, changes, kind):
    rest.on |= {ACCOUNT: ok(recorded("account")), RIGHTS: ok(recorded("api_restrictions") | changes)}

    with pytest.raises(AuthenticationFailed) as caught:
        on_prod.verify()

    assert caught.value.kind == kind


def test_a_key_that_works_everywhere_or_ends_soon_is_told_of(rest, on_prod):
    rights = recorded("api_restrictions") | {
        "ipRestrict": False,
        "tradingAuthorityExpirationTime": NOW_MS + 3 * DAY_MS + 60_000,
    }
    rest.on |= {ACCOUNT: ok(recorded("account")), RIGHTS: ok(rights)}

    found = on_prod.verify().permissions

    assert (found.ip_restricted, found.expires_ms) == (False, NOW_MS + 3 * DAY_MS + 60_000)


def test_a_restriction_that_is_missing_from_the_answer_is_not_taken_for_harmless(rest, on_prod):
    rights = recorded("api_restrictions")
    del rights["enableWithdrawals"]
    rest.on |= {ACCOUNT: ok(recorded("account")), RIGHTS: ok(rights)}

    with pytest.raises(OutcomeUnknown):
        on_prod.verify()


# --- look-ups ---


def test_a_final_order_comes_back_with_all_its_fills(rest, connector):
    rest.on |= {ORDER: ok(recorded("order")), "/api/v3/myTrades": ok(recorded("my_trades"))}

    report = connector.find_order("cp-1-7")

    assert report.fills_complete and len(report.fills) == 2
    assert rest.requests[0].params["origClientOrderId"] == "cp-1-7"
    assert rest.requests[1].params["orderId"] == "51000001"


def test_trades_that_have_not_all_arrived_are_not_called_complete(rest, connector):
    rest.on |= {ORDER: ok(recorded("order")), "/api/v3/myTrades": ok(recorded("my_trades")[:1])}

    assert not connector.find_order("cp-1-7").fills_complete


def test_no_such_order_is_none_but_an_error_is_no_evidence(rest, connector):
    rest.on[ORDER] = refused(-2013, "Order does not exist.")
    assert connector.find_order("cp-1-7") is None

    for answer in (refused(-2013, status=500), refused(-1000), refused(-9999), (404, {}, b"<html>")):
        rest.on[ORDER] = answer
        with pytest.raises(OutcomeUnknown):
            connector.find_order("cp-1-7")


def test_an_archived_order_ended_unfilled(rest, connector):
    rest.on[ORDER] = refused(-2026, "Order was canceled or expired")

    report = connector.find_order("cp-1-7")

    assert (report.status, report.filled_base, report.fills_complete) == (OrderStatus.EXPIRED, 0, True)


class Orders:
    """``allOrders`` over a list of (id, time), with Binance's rules for spans and pages."""

    def __init__(self, orders):
        self.orders = sorted(orders)
        self.row = recorded("order")

    def __call__(self, request):
        params = request.params
        if "orderId" in params:
            assert "startTime" not in params
            found = [one for one in self.orders if one[0] >= int(params["orderId"])]
        else:
            start, end = int(params["startTime"]), int(params["endTime"])
            assert 0 <= end - start <= DAY_MS
            found = [one for one in self.orders if start <= one[1] <= end]
        page = found[: int(params["limit"])]
        return ok([self.row | {"orderId": number, "time": at, "updateTime": at} for number, at in page])


def test_orders_are_listed_over_several_days_and_only_from_the_time_asked(rest, connector):
    days = [NOW_MS - 4 * DAY_MS, NOW_MS - 3 * DAY_MS, NOW_MS - 2 * DAY_MS - 1, NOW_MS - DAY_MS, NOW_MS]
    rest.on["/api/v3/allOrders"] = Orders(zip(itertools.count(1), days, strict=False))

    found = connector.list_orders(NOW_MS - 3 * DAY_MS)

    assert [row.exchange_order_id for row in found] == ["2", "3", "4", "5"]


def test_orders_of_one_millisecond_do_not_fall_between_two_pages(rest, connector):
    rest.on["/api/v3/allOrders"] = Orders([(number, NOW_MS - 5000) for number in range(1, 2501)])

    found = connector.list_orders(NOW_MS - 60_000)

    assert [int(row.exchange_order_id) for row in found] == list(range(1, 2501))
    assert len(rest.requests) == 3


# --- the exchange ---


def test_rules_come_with_the_limit_that_the_exchange_states(rest, exchange):
    payload = recorded("exchange_info")
    payload["rateLimits"][0]["limit"] = 1200
    rest.on["/api/v3/exchangeInfo"] = ok(payload)

    assert exchange.rules().exchange_symbol == "BTCUSDT"
    assert exchange.limits.weight.limit == 1200
    assert rest.requests[0].params == {"symbol": "BTCUSDT"}


@pytest.mark.parametrize("endpoints", [{"rest": "ftp://x"}, {"rest": "http://"}, {"ws_api": "http://x"}])
def test_a_malformed_endpoint_is_refused(endpoints):
    with pytest.raises(ConfigError):
        BinanceExchange(a_context(**endpoints))


def test_one_read_of_balances_costs_its_share_of_the_minute(exchange):
    assert exchange.balance_read_cost_sec() == pytest.approx(0.5)


def test_another_order_than_the_one_asked_for_is_no_answer(rest, connector):
    rest.on[ORDER] = ok(recorded("order"))

    with pytest.raises(OutcomeUnknown):
        connector.find_order("cp-1-8", "51000001")


@pytest.mark.parametrize("payload", [[], None, {}, {"canTrade": True}, "text", {"canTrade": True, "balances": [1]}])
def test_an_account_of_another_shape_is_no_answer(rest, connector, payload):
    rest.on |= {ACCOUNT: ok(payload), TEST_ORDER: ok({})}

    with pytest.raises(OutcomeUnknown):
        connector.verify()
