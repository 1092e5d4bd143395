"""The simulator's orders: checks in Bitget's order, the fill after the acknowledgement, lists, fees and faults."""

from __future__ import annotations

import http.client
import json
import random
import time
from decimal import Decimal

import pytest

from bitget_wire import WireClient, wait_until
from copytrade_bitget.sim import BitgetSimulator
from copytrade_core.sim import running_simulators
from copytrade_core.sim.ledger import total


@pytest.fixture
def sims():
    with running_simulators(followers={"bitget": 2}, factories={"bitget": BitgetSimulator}) as running:
        running.tidy()
        running.call(lambda: running.world.untidiness["bitget"].set({"fill_min_ms": 20, "fill_max_ms": 40}))
        running.call(lambda: running.simulators["bitget"].configure({"enforced": False}))
        yield running


@pytest.fixture(params=["classic", "unified"])
def client(sims, request):
    number = 0 if request.param == "classic" else 1
    return WireClient(sims["bitget"]["rest"], sims["bitget"]["followers"][number])


@pytest.fixture
def classic(sims):
    return WireClient(sims["bitget"]["rest"], sims["bitget"]["followers"][0])


@pytest.fixture
def unified(sims):
    return WireClient(sims["bitget"]["rest"], sims["bitget"]["followers"][1])


def account_of(client):
    return "bitget-2" if client.unified else "bitget-1"


def executed(sims, client):
    return sims.truth(account_of(client))["orders"]


def either(client, classic, unified):
    return unified if client.unified else classic


# -- taking in ---------------------------------------------------------------------------------------------------------


def test_an_acknowledgement_holds_ids_only_and_the_fill_comes_later(sims, client):
    sims.call(lambda: sims.world.untidiness["bitget"].set({"fill_min_ms": 150, "fill_max_ms": 150}))
    reply = client.place("buy", "250.12", "ct1")

    assert reply.data == {"orderId": reply.data["orderId"], "clientOid": "ct1"}
    row = client.found("clientOid=ct1")
    assert row["status" if not client.unified else "orderStatus"] in ("live", "new")
    assert executed(sims, client) == []
    assert client.final(f"orderId={reply.data['orderId']}")["clientOid"] == "ct1"
    assert len(executed(sims, client)) == 1


def test_sending_a_filled_orders_id_again_executes_again(sims, client):
    for _ in range(2):
        assert client.place("buy", "25", "same").code == "00000"
        wait_until(lambda: not sims.world.accounts[account_of(client)].open_orders)

    assert [order["client_order_id"] for order in executed(sims, client)] == ["same", "same"]


def test_an_id_is_refused_while_an_order_with_it_is_open(sims, client):
    sims.arm("slow_fill", account=account_of(client), params={"seconds": 30})
    client.place("buy", "25", "open")

    assert client.place("buy", "25", "open").code == either(client, "43118", "25212")
    assert len(sims.world.accounts[account_of(client)].orders) == 1


@pytest.mark.parametrize(
    ("change", "classic_code", "unified_code"),
    [
        ({"symbol": "BTCUSDC"}, "40034", "25100"),
        ({"symbol": None}, "40019", "40019"),
        ({"side": "hold"}, "40020", "25200"),
        ({"orderType": "stop"}, "40020", "25200"),
        ({"size": None}, "40019", "40019"),
        ({"size": "1e2"}, "40020", "25200"),
        ({"size": "-25"}, "40020", "25200"),
        ({"size": "0.00"}, "43011", "25200"),
        ({"size": 25}, "40020", "40020"),
        ({"clientOid": "x" * 33}, "40305", "25200"),
        ({"clientOid": "汉"}, "40305", "25200"),
        ({"size": "25.123456789"}, "40808", "40808"),
        ({"side": "sell", "size": "0.1234567"}, "40808", "40808"),
        ({"size": "0.99"}, "45110", "45110"),
        ({"side": "sell", "size": "0.000015"}, "45110", "45110"),
        ({"size": "999999"}, "43012", "25202"),
        ({"side": "sell", "size": "99"}, "43012", "25202"),
    ],
)
def test_a_wrong_ticket_is_refused_by_its_code_and_changes_nothing(sims, client, change, classic_code, unified_code):
    change = {("qty" if client.unified and name == "size" else name): value for name, value in change.items()}
    ticket = {name: value for name, value in (client.ticket("buy", "25") | change).items() if value is not None}
    before = sims.truth(account_of(client))
    path = "/api/v3/trade/place-order" if client.unified else "/api/v2/spot/trade/place-order"

    reply = client.post(path, ticket)

    assert (reply.status, reply.code, reply.data) == (400, either(client, classic_code, unified_code), None)
    assert sims.truth(account_of(client)) == before


def test_precision_is_told_before_value_value_before_balance_and_balance_before_a_duplicate(sims, client):
    sims.arm("slow_fill", account=account_of(client), params={"seconds": 30})
    client.place("buy", "25", "open")

    codes = [client.place("buy", size, "open").code for size in ("0.123456789", "0.5", "999999", "25")]

    assert codes == ["40808", "45110", *either(client, ("43012", "43118"), ("25202", "25212"))]


def test_the_words_of_a_precision_refusal_name_the_scale(classic):
    words = classic.place("sell", "0.1234567").words

    assert words == "Parameter verification exception size checkBDScale error value=0.1234567 checkScale=6"


def test_unified_accounts_do_not_know_size_and_ignore_what_they_do_not_know(sims, unified):
    ticket = unified.ticket("buy", "25") | {"clientoid": "misspelt", "force": "gtc"}
    assert unified.post("/api/v3/trade/place-order", ticket).data["clientOid"] != "misspelt"

    ticket["size"] = ticket.pop("qty")
    assert unified.post("/api/v3/trade/place-order", ticket).words == "Parameter qty cannot be empty"


def test_margin_is_refused(unified):
    assert unified.place("buy", "25", category="MARGIN").code == "25200"


def test_classic_orders_can_say_how_late_they_may_arrive(classic):
    now = int(time.time() * 1000)

    assert classic.place("buy", "25", requestTime=str(now), receiveWindow="3000").code == "00000"
    assert classic.place("buy", "25", requestTime=str(now - 4000), receiveWindow="3000").code == "40078"
    assert classic.place("buy", "25", requestTime=str(now), receiveWindow="60000").code == "40079"


def test_a_halted_pair_takes_no_orders(sims, client):
    sims.arm("pair_status", params={"status": "halt"})

    assert client.place("buy", "25").code == either(client, "41114", "25102")
    assert client.get("/api/v2/spot/public/symbols").data[0]["status"] == "halt"


def test_rules_can_change_under_a_client(sims, client):
    sims.arm("pair_rules", params={"quantity_precision": 4, "min_value": "5"})

    assert client.place("sell", "0.01234").code == "40808"
    assert client.place("buy", "4").code == "45110"
    assert client.place("sell", "0.0123").code == "00000"


# -- fills, fees, money ------------------------------------------------------------------------------------------------


def test_fees_are_negative_in_classic_answers_and_positive_in_unified_ones(sims, classic, unified):
    classic.place("buy", "250.12", "ct1")
    unified.place("buy", "250.12", "ct1")
    old, new = classic.final("clientOid=ct1"), unified.final("clientOid=ct1")
    old_fill = classic.get("/api/v2/spot/trade/fills", f"orderId={old['orderId']}").data[0]
    new_fill = unified.get("/api/v3/trade/fills", f"orderId={new['orderId']}").data["list"][0]

    detail = json.loads(old["feeDetail"], parse_float=Decimal)
    fee = Decimal(executed(sims, classic)[0]["fills"][0]["fee"])
    assert detail["newFees"]["t"] == detail["BTC"]["totalFee"] == -fee
    assert Decimal(old_fill["feeDetail"]["totalFee"]) == -fee
    assert Decimal(new["feeDetail"][0]["fee"]) == Decimal(new_fill["feeDetail"][0]["fee"]) == fee
    assert new["feeDetail"][0]["feeCoin"] == "BTC"


def test_bgb_pays_the_fee_where_the_account_wants_it(sims, classic):
    account = sims.world.accounts["bitget-1"]
    sims.call(lambda: sims.world.markets["bitget"].deposit(account, "BGB", Decimal(10)))
    sims.call(lambda: setattr(account, "fees_in_discount_asset", True))
    classic.place("buy", "250.12", "ct1")

    detail = json.loads(classic.final("clientOid=ct1")["feeDetail"], parse_float=Decimal)
    truth = executed(sims, classic)[0]["fills"][0]
    assert truth["fee_asset"] == "BGB"
    assert (detail["newFees"]["d"], detail["newFees"]["r"]) == (-Decimal(truth["fee"]), 0)


def test_a_market_buy_leaves_quote_unspent_and_says_what_it_spent(sims, client):
    free = Decimal(client.free("USDT"))
    client.place("buy", "250.12", "ct1")
    row = client.final("clientOid=ct1")

    spent = Decimal(row["cumExecValue" if client.unified else "quoteVolume"])
    assert Decimal("249") < spent < Decimal("250.12")
    assert Decimal(client.free("USDT")) == free - spent
    if client.unified:
        assert (row["qty"], row["amount"]) == ("0", "250.12")
    else:
        assert Decimal(row["size"]) == Decimal("250.12")


def test_money_is_conserved_but_for_fees_whatever_is_traded(sims, classic, unified):
    market, accounts = sims.world.markets["bitget"], list(sims.world.accounts.values())
    before = {coin: total(accounts, coin) for coin in ("BTC", "USDT")}
    draw = random.Random(7)
    for number in range(30):
        client = draw.choice((classic, unified))
        size = f"{draw.uniform(2, 3000):.2f}" if draw.random() < 0.5 else f"{draw.uniform(0.0001, 0.02):.6f}"
        assert client.place("buy" if "." in size and len(size) < 8 else "sell", size, f"c{number}").code == "00000"
    wait_until(lambda: not any(account.open_orders for account in accounts))

    def conserved():
        return {coin: total(accounts, coin) + market.fees[coin] + market.counterparty[coin] for coin in ("BTC", "USDT")}

    assert sims.call(conserved) == before
    assert sum(len(account.orders) for account in accounts) == 30


def test_a_large_order_is_filled_in_several_executions_that_add_up(client):
    client.place("buy", "15000", "big")
    row = client.final("clientOid=big")
    if client.unified:
        fills = client.get("/api/v3/trade/fills", f"orderId={row['orderId']}").data["list"]
        sums = [(row["cumExecQty"], "execQty"), (row["cumExecValue"], "execValue")]
    else:
        fills = client.get("/api/v2/spot/trade/fills", f"symbol=BTCUSDT&orderId={row['orderId']}").data
        sums = [(row["baseVolume"], "size"), (row["quoteVolume"], "amount")]

    assert len(fills) > 1
    for stated, name in sums:
        assert sum(Decimal(fill[name]) for fill in fills) == Decimal(stated)


# -- lists -------------------------------------------------------------------------------------------------------------


def test_lists_are_paged_newest_first(sims, client):
    for number in range(5):
        sims.place(account_of(client), side="BUY", quote=Decimal(25), client_order_id=f"w{number}")

    seen, pages, after = [], 0, ""
    while True:
        if client.unified:
            query = f"category=SPOT&limit=2{after}"
            data = client.get("/api/v3/trade/history-orders", query).data
            rows, after = data["list"] or [], f"&cursor={data['cursor']}"
        else:
            rows = client.get("/api/v2/spot/trade/history-orders", f"symbol=BTCUSDT&limit=2{after}").data
            after = f"&idLessThan={rows[-1]['orderId']}" if rows else ""
        if not rows:
            break
        seen += [row["clientOid"] for row in rows]
        pages += 1

    assert (seen, pages) == (["w4", "w3", "w2", "w1", "w0"], 3)


def test_open_orders_are_listed_apart_and_can_be_cancelled(sims, client):
    free = client.free("USDT")
    price = {"orderType": "limit", "price": "60000"}
    client.place("buy", "0.001", "rests", **price)
    listed = (
        client.get("/api/v3/trade/unfilled-orders", "category=SPOT").data["list"]
        if client.unified
        else client.get("/api/v2/spot/trade/unfilled-orders", "symbol=BTCUSDT").data
    )
    assert [row["clientOid"] for row in listed] == ["rests"]
    assert Decimal(client.free("USDT")) == Decimal(free) - 60

    path = "/api/v3/trade/cancel-order" if client.unified else "/api/v2/spot/trade/cancel-order"
    cancelled = {"symbol": "BTCUSDT", "clientOid": "rests"}
    assert client.post(path, cancelled).data["clientOid"] == "rests"
    assert client.free("USDT") == free
    assert client.post(path, cancelled).code == either(client, "43001", "25204")


def test_a_query_of_more_than_thirty_days_is_refused_for_unified_accounts(unified):
    span = f"startTime=1&endTime={31 * 86_400_000}"

    assert unified.get("/api/v3/trade/history-orders", f"category=SPOT&{span}").code == "40020"


def test_an_empty_list_of_a_unified_account_is_null(unified):
    assert unified.get("/api/v3/trade/fills", "orderId=1").data == {"list": None, "cursor": None}


def test_a_look_up_by_client_id_forgets_final_orders_in_time_and_lists_do_not(sims, classic):
    classic.place("buy", "25", "old")
    order_id = classic.final("clientOid=old")["orderId"]
    sims.call(lambda: sims.simulators["bitget"].configure({"client_id_window_ms": 0}))

    wait_until(lambda: classic.found("clientOid=old") is None)
    assert classic.found(f"orderId={order_id}")["status"] == "filled"
    assert [row["clientOid"] for row in classic.get("/api/v2/spot/trade/history-orders").data] == ["old"]


def test_an_order_that_is_not_there_is_told_in_all_the_ways_seen_live(classic, unified):
    answers = [classic.look_up("clientOid=nobody") for _ in range(40)]

    assert {(reply.code, reply.data == []) for reply in answers} == {
        ("00000", True),
        ("40109", False),
        ("43001", False),
    }
    assert unified.look_up("clientOid=nobody").code == "25204"


def test_unified_assets_show_what_is_owed(sims, unified):
    sims.arm("in_debt", account="bitget-2", params={"coin": "USDT", "amount": "12.5"})
    row = next(row for row in unified.get("/api/v3/account/assets").data["assets"] if row["coin"] == "USDT")

    assert row["debt"] == "12.5"
    assert Decimal(row["equity"]) == Decimal(row["balance"]) - Decimal("12.5")


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "orders"),
    [("reply_lost_after_execution", 1), ("reply_lost_before_execution", 0)],
    ids=["after", "before"],
)
def test_a_reply_can_be_lost_on_either_side_of_the_execution(sims, client, fault, orders):
    sims.arm(fault, account=account_of(client))

    with pytest.raises((http.client.HTTPException, ConnectionError)):
        client.place("buy", "25", "lost")

    assert len(sims.world.accounts[account_of(client)].orders) == orders
    assert client.place("buy", "25", "next").code == "00000"


@pytest.mark.parametrize("code", ["40010", "40725", "45001", "40015", "43118", "99999"])
@pytest.mark.parametrize("done", [True, False], ids=["executed", "not-executed"])
def test_an_error_code_can_come_with_and_without_the_order(sims, client, code, done):
    sims.arm("code_executed" if done else "code_not_executed", params={"code": code})

    assert client.place("buy", "25", "maybe").code == code
    assert len(sims.world.accounts[account_of(client)].orders) == done


def test_an_order_can_execute_long_after_the_answer_said_time_out(sims, client):
    sims.arm("executes_late", params={"seconds": 0.2})

    window = {} if client.unified else {"requestTime": str(int(time.time() * 1000)), "receiveWindow": "100"}
    assert client.place("buy", "25", "late", **window).code == "40010"
    assert client.found("clientOid=late") is None
    assert client.final("clientOid=late")["clientOid"] == "late"


def test_gateway_pages_and_empty_answers_come_with_and_without_the_order(sims, classic):
    for name, orders, status in [
        ("http_5xx_executed", 1, 504),
        ("http_5xx_not_executed", 1, 502),
        ("empty_200", 2, 200),
    ]:
        sims.arm(name, params={"status": status})
        with pytest.raises(json.JSONDecodeError):
            classic.place("buy", "25", name)
        assert len(sims.world.accounts["bitget-1"].orders) == orders


def test_too_many_requests_can_be_played_with_any_header(sims, client):
    sims.arm("rate_limited", params={"retry_after": "rubbish"})
    reply = client.place("buy", "25", "slow")

    assert (reply.status, reply.headers["Retry-After"]) == (429, "rubbish")
    assert client.found("clientOid=slow") is None


def test_a_partly_filled_order_can_be_cancelled_by_the_exchange(sims, client):
    sims.arm("partial_then_cancelled", account=account_of(client))
    client.place("buy", "15000", "part")
    row = client.final("clientOid=part")

    assert row["orderStatus" if client.unified else "status"] == "cancelled"
    assert row["cancelReason"] == "normal_cancel"
    assert 0 < Decimal(row["cumExecValue" if client.unified else "quoteVolume"]) < 14000


def test_a_thin_book_cancels_what_it_cannot_fill(sims, client):
    sims.call(lambda: setattr(sims.world.markets["bitget"].book, "asks", [(Decimal("64217.39"), Decimal("0.01"))]))
    client.place("buy", "5000", "thin")
    row = client.final("clientOid=thin")

    assert Decimal(row["cumExecQty" if client.unified else "baseVolume"]) == Decimal("0.01")
    assert row["orderStatus" if client.unified else "status"] == "cancelled"


def test_an_order_may_be_found_only_later_while_lists_show_it(sims, client):
    sims.arm("lookup_late", account=account_of(client), params={"seconds": 30})
    client.place("buy", "25", "hidden")
    wait_until(lambda: not sims.world.accounts[account_of(client)].open_orders)

    assert client.found("clientOid=hidden") is None
    if client.unified:
        listed = client.get("/api/v3/trade/history-orders", "category=SPOT").data["list"]
    else:
        listed = client.get("/api/v2/spot/trade/history-orders").data
    assert [row["clientOid"] for row in listed] == ["hidden"]


def test_an_order_may_be_hidden_from_lists_too(sims, classic):
    sims.arm("lookup_late", params={"seconds": 30, "lists": True})
    order_id = classic.place("buy", "25", "hidden").data["orderId"]
    wait_until(lambda: not sims.world.accounts["bitget-1"].open_orders)

    assert classic.get("/api/v2/spot/trade/history-orders").data == []
    assert classic.get("/api/v2/spot/trade/fills", f"orderId={order_id}").data == []


def test_a_switched_account_is_refused_by_its_old_family_before_anything_executes(sims, client):
    sims.arm("account_switched", account=account_of(client))

    assert client.place("buy", "25").code == either(client, "40085", "40084")
    assert sims.world.accounts[account_of(client)].orders == []


def test_an_upgrade_in_progress_refuses_orders(sims, client):
    sims.arm("mode_switching")

    assert client.place("buy", "25").code == "40115"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("json_numbers", "0.000389"), ("exponent", '"3.89e-4"'), ("nan", "NaN"), ("400_digits", f'"{"9" * 400}"')],
)
def test_numbers_can_be_written_strangely(sims, unified, kind, expected):
    unified.place("buy", "25", "odd")
    unified.final("clientOid=odd")
    sims.arm("strange_answer", params={"on": "order-info", "kind": kind})

    assert f'"cumExecQty":{expected},' in unified.look_up("clientOid=odd").text


def test_missing_and_new_fields_and_new_words_can_be_played(sims, unified):
    unified.place("buy", "25", "odd")
    unified.final("clientOid=odd")
    for kind in ("missing_field", "extra_fields", "new_status"):
        sims.arm("strange_answer", params={"on": "order-info", "kind": kind, "field": "cumExecQty"})

    assert "cumExecQty" not in unified.found("clientOid=odd")
    assert "novel" in unified.found("clientOid=odd")
    assert unified.found("clientOid=odd")["orderStatus"] == "reviewing"


def test_a_look_up_can_show_a_second_order_of_the_same_id(sims, classic):
    classic.place("buy", "25", "twin")
    classic.final("clientOid=twin")
    sims.arm("two_orders_shown")

    assert len({row["orderId"] for row in classic.look_up("clientOid=twin").data}) == 2


def test_an_order_that_comes_too_late_is_refused_and_the_fault_is_left_for_the_next(sims, classic):
    sims.arm("garbage")
    late = str(sims.call(lambda: sims.world.now_ms("bitget")) - 4000)
    assert classic.place("buy", "25", "late", requestTime=late, receiveWindow="3000").code == "40078"
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        classic.place("buy", "25", "next")
    assert [one.client_order_id for one in sims.world.accounts[account_of(classic)].orders] == ["next"]
