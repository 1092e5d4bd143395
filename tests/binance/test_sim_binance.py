"""The simulated Binance, asked over real sockets: signatures, order of checks, orders, limits, faults."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import ccxt
import pytest
import requests
import websocket
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from copytrade_binance.sim import BinanceSimulator
from copytrade_binance.sim_rules import is_signed
from copytrade_core.sim import RunningSimulators, SimKey, running_simulators

# The example key of Binance's own documentation.
DOC_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
DOC_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
HMAC_VECTORS = [
    (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    (
        "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1"
        "&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    ),
    (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
    ),
    (f"apiKey={DOC_KEY}&timestamp=1649729878532", "1cf54395b336b0a9727ef27d5d98987962bc47aca6e13fe978612d0adee066ed"),
    (
        f"apiKey={DOC_KEY}&price=0.10000000&quantity=1.00000000&recvWindow=5000&side=BUY&symbol=１２３４５６"
        "&timeInForce=GTC&timestamp=1645423376532&type=LIMIT",
        "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
    ),
]


class Client:
    """Signs as the documentation says, with nothing of the package under test."""

    def __init__(self, sims: RunningSimulators, keys: dict[str, str]) -> None:
        self.sims = sims
        self.origin = sims["binance"]["rest"]
        self.key, self.secret = keys["api_key"], keys["api_secret"]

    def sign(self, payload: str) -> str:
        if "BEGIN" in self.secret:
            private: Any = load_pem_private_key(self.secret.encode(), None)
            return base64.b64encode(private.sign(payload.encode())).decode()
        return hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    def now(self) -> int:
        return self.sims.call(lambda: self.sims.world.now_ms("binance"))

    def rest(self, method: str, path: str, **params: Any) -> requests.Response:
        query = urlencode({**params, "timestamp": params.get("timestamp", self.now())})
        url = f"{self.origin}{path}?{query}&signature={quote(self.sign(query), safe='')}"
        return requests.request(method, url, headers={"X-MBX-APIKEY": self.key}, timeout=5, allow_redirects=False)

    def buy(self, amount: str = "25", **params: Any) -> requests.Response:
        fixed = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": amount}
        return self.rest("POST", "/api/v3/order", **fixed, **params)

    def frame(self, method: str, id_: Any = 1, **params: Any) -> str:
        signed = {**params, "apiKey": self.key, "timestamp": self.now()}
        payload = "&".join(f"{name}={signed[name]}" for name in sorted(signed))
        return json.dumps({"id": id_, "method": method, "params": {**signed, "signature": self.sign(payload)}})


@pytest.fixture
def sims() -> Iterator[RunningSimulators]:
    with running_simulators(factories={"binance": BinanceSimulator}, binance_followers=2, seed=5) as running:
        running.tidy()
        yield running


@pytest.fixture
def leader(sims: RunningSimulators) -> Client:
    return Client(sims, sims["binance"]["leader"])


@pytest.fixture
def follower(sims: RunningSimulators) -> Client:
    return Client(sims, sims["binance"]["followers"][0])


@pytest.fixture
def connect(sims: RunningSimulators) -> Iterator[Callable[[], websocket.WebSocket]]:
    opened: list[websocket.WebSocket] = []

    def open_one() -> websocket.WebSocket:
        opened.append(websocket.create_connection(sims["binance"]["ws_api"], timeout=5))
        return opened[-1]

    yield open_one
    for one in opened:
        one.shutdown()


def ask(socket: websocket.WebSocket, frame: str) -> dict[str, Any]:
    """Send a request and return its reply, whatever events come before."""
    socket.send(frame)
    wanted = json.loads(frame)["id"]
    while True:
        message: dict[str, Any] = json.loads(socket.recv())
        if "status" in message and message["id"] == wanted:
            return message


def events(socket: websocket.WebSocket, count: int) -> list[dict[str, Any]]:
    got: list[dict[str, Any]] = []
    while len(got) < count:
        message = json.loads(socket.recv())
        if "event" in message:
            got.append(message["event"])
    return got


def error_of(answer: requests.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["code"]


# -- signatures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("payload", "signature"), HMAC_VECTORS)
def test_documented_hmac_signatures_are_accepted_and_no_others(payload: str, signature: str) -> None:
    key = SimKey(api_key=DOC_KEY, secret=DOC_SECRET)
    assert is_signed(key, payload.encode(), signature)
    assert is_signed(key, payload.encode(), signature.upper())
    assert not is_signed(key, payload.encode() + b"0", signature)


def test_documented_ed25519_signature_is_accepted() -> None:
    body = base64.b64decode("MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u")
    private: Any = load_der_private_key(body, None)
    key = SimKey(api_key=DOC_KEY, kind="ed25519", public_key=private.public_key())
    message = "\x01".join(("A", "EXAMPLE", "SPOT", "1", "20240627-11:17:25.223")).encode()
    signature = "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
    assert is_signed(key, message, signature)
    assert not is_signed(key, message + b"x", signature)
    assert not is_signed(key, message, "not base64")


def test_rest_signs_the_raw_query_followed_by_the_raw_body(follower: Client) -> None:
    query = f"symbol=BTCUSDT&side=BUY&timestamp={follower.now()}"
    body = "type=MARKET&quoteOrderQty=25"
    url = f"{follower.origin}/api/v3/order?{query}&signature={follower.sign(query + body)}"
    headers = {"X-MBX-APIKEY": follower.key, "Content-Type": "application/x-www-form-urlencoded"}
    assert requests.post(url, data=body, headers=headers, timeout=5).json()["status"] == "FILLED"


def test_what_was_signed_unencoded_and_sent_encoded_is_refused(follower: Client) -> None:
    payload = f"symbol=１２３&timestamp={follower.now()}"
    url = f"{follower.origin}/api/v3/order?{quote(payload, safe='=&')}&signature={follower.sign(payload)}"
    answer = requests.get(url, headers={"X-MBX-APIKEY": follower.key}, timeout=5)
    assert error_of(answer) == (400, -1022)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_asymmetric_keys_trade(sims: RunningSimulators, kind: str) -> None:
    admin = sims["admin"] + "/sim/accounts"
    keys = requests.post(admin, json={"account": "binance-1", "key_kind": kind}, timeout=5).json()
    client = Client(sims, keys)
    if kind == "rsa":
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        private: Any = load_pem_private_key(keys["api_secret"].encode(), None)
        client.sign = lambda payload: base64.b64encode(  # type: ignore[method-assign]
            private.sign(payload.encode(), PKCS1v15(), SHA256())
        ).decode()
    assert client.buy().json()["status"] == "FILLED"


# -- the order of checks --------------------------------------------------------------------------------------------


def test_the_first_thing_wrong_is_the_one_that_is_said(sims: RunningSimulators, follower: Client) -> None:
    path = "/api/v3/order"
    late = follower.now() - 60_000
    unknown = Client(sims, {"api_key": "k" * 64, "api_secret": "x"})
    malformed = Client(sims, {"api_key": "short", "api_secret": "x"})
    wrong_secret = Client(sims, {"api_key": follower.key, "api_secret": "x"})
    assert error_of(malformed.rest("POST", path, timestamp=late)) == (401, -2014)
    assert error_of(unknown.rest("POST", path, timestamp=late)) == (401, -2015)
    assert error_of(wrong_secret.rest("POST", path, timestamp=late)) == (400, -1021)
    assert error_of(wrong_secret.rest("POST", path)) == (400, -1022)
    assert error_of(follower.rest("POST", path)) == (400, -1102)
    assert error_of(follower.buy("4.99")) == (400, -1013)
    assert error_of(follower.buy("9999999")) == (400, -2010)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "BTCEUR"}, -1121),
        ({"side": "HOLD"}, -1117),
        ({"type": "WISH"}, -1116),
        ({"quoteOrderQty": "1e2"}, -1100),
        ({"quoteOrderQty": "25.123456789"}, -1111),
        ({"quoteOrderQty": ""}, -1105),
        ({"quantity": "0.001"}, -1128),
        ({"timeInForce": "GTC"}, -1106),
        ({"newClientOrderId": "no.dots"}, -1100),
        ({"newClientOrderId": "x" * 37}, -1100),
        ({"colour": "red"}, -1104),
        ({"recvWindow": "60001"}, -1131),
    ],
)
def test_malformed_orders_are_refused(follower: Client, params: dict[str, str], code: int) -> None:
    fixed = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "25"}
    answer = follower.rest("POST", "/api/v3/order", **{**fixed, **params})
    assert error_of(answer) == (400, code)
    assert not follower.sims.truth("binance-1")["orders"]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"quantity": "0.000001"}, "LOT_SIZE"),
        ({"quantity": "0.0010001"}, "LOT_SIZE"),
        ({"quantity": "200"}, "MARKET_LOT_SIZE"),
        ({"quantity": "0.00001"}, "NOTIONAL"),
    ],
)
def test_filters(follower: Client, params: dict[str, str], name: str) -> None:
    answer = follower.rest("POST", "/api/v3/order", symbol="BTCUSDT", side="SELL", type="MARKET", **params)
    assert error_of(answer) == (400, -1013)
    assert answer.json()["msg"] == f"Filter failure: {name}"


@pytest.mark.parametrize(("ahead", "status"), [(900, 200), (1500, 400), (-4500, 200), (-5500, 400)])
def test_timestamp_may_be_a_second_ahead_and_a_window_behind(follower: Client, ahead: int, status: int) -> None:
    answer = follower.rest("GET", "/api/v3/account", timestamp=follower.now() + ahead)
    assert answer.status_code == status


# -- orders and what is read back ---------------------------------------------------------------------------------


def test_full_reply_query_trades_account_and_truth_agree(follower: Client) -> None:
    reply = follower.buy("5000.5", newClientOrderId="cp-1-7").json()
    assert [len(reply["fills"]), reply["status"], reply["origQuoteOrderQty"]] == [2, "FILLED", "5000.50000000"]
    query = follower.rest("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="cp-1-7").json()
    trades = follower.rest("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=reply["orderId"]).json()
    truth = follower.sims.truth("binance-1")
    order = truth["orders"][-1]
    spent = sum(Decimal(one["price"]) * Decimal(one["qty"]) for one in reply["fills"])
    assert Decimal(query["cummulativeQuoteQty"]) == spent == Decimal(order["executed_quote"])
    assert sum(Decimal(one["quoteQty"]) for one in trades) == spent
    assert sum(Decimal(one["commission"]) for one in trades) == sum(Decimal(one["fee"]) for one in order["fills"])
    account = follower.rest("GET", "/api/v3/account", omitZeroBalances="true").json()
    free = {one["asset"]: Decimal(one["free"]) for one in account["balances"]}
    assert free["USDT"] == Decimal(order["free_quote_before"]) - spent
    assert set(free) == {"USDT", "BTC"}


def test_client_id_of_a_filled_order_executes_again(follower: Client) -> None:
    first, second = (follower.buy(newClientOrderId="same").json() for _ in range(2))
    assert first["status"] == second["status"] == "FILLED"
    assert first["orderId"] != second["orderId"]
    assert len(follower.sims.truth("binance-1")["orders"]) == 2


def test_client_id_of_an_open_order_is_refused(follower: Client) -> None:
    limit = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    answer = follower.rest(
        "POST", "/api/v3/order", **limit, quantity="0.01", price="60000", newClientOrderId="resting"
    ).json()
    assert (answer["status"], answer["fills"]) == ("NEW", [])
    duplicate = follower.buy(newClientOrderId="resting")
    assert (error_of(duplicate), duplicate.json()["msg"]) == ((400, -2010), "Duplicate order sent.")
    assert len(follower.rest("GET", "/api/v3/openOrders", symbol="BTCUSDT").json()) == 1
    cancelled = follower.rest("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=answer["orderId"]).json()
    assert cancelled["status"] == "CANCELED"
    assert Decimal(follower.sims.truth("binance-1")["balances"]["USDT"]["locked"]) == 0


def test_order_test_checks_and_does_nothing(follower: Client) -> None:
    fixed = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}
    assert follower.rest("POST", "/api/v3/order/test", **fixed, quoteOrderQty="9999999").json() == {}
    assert error_of(follower.rest("POST", "/api/v3/order/test", **fixed, quoteOrderQty="1")) == (400, -1013)
    assert not follower.sims.truth("binance-1")["orders"]


def test_unmodified_ccxt_client_trades_and_reads_back(sims: RunningSimulators) -> None:
    keys = sims["binance"]["followers"][1]
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
    client = ccxt.binance({"apiKey": keys["api_key"], "secret": keys["api_secret"], "options": options})
    try:
        client.urls["api"]["public"] = client.urls["api"]["private"] = sims["binance"]["rest"] + "/api/v3"
        balance = client.fetch_balance()
        opening = sims.truth("binance-2")["opening"]
        assert balance["free"]["USDT"] == pytest.approx(float(opening["USDT"]))
        bought = client.create_order("BTC/USDT", "market", "buy", None, None, {"quoteOrderQty": "250.5"})
        sold = client.create_order("BTC/USDT", "market", "sell", 0.01)
        for order in (bought, sold):
            assert client.fetch_order(order["id"], "BTC/USDT")["status"] == "closed"
        assert {one["order"] for one in client.fetch_my_trades("BTC/USDT")} == {bought["id"], sold["id"]}
    finally:
        client.session.close()
    assert [one["side"] for one in sims.truth("binance-2")["orders"]] == ["BUY", "SELL"]


def test_listen_keys_are_gone_and_the_wallet_api_is_not_on_the_test_network(follower: Client) -> None:
    gone = requests.post(f"{follower.origin}/api/v3/userDataStream", timeout=5)
    assert (gone.status_code, gone.headers["Content-Type"].split(";")[0]) == (410, "text/html")
    path = "/sapi/v1/account/apiRestrictions"
    assert follower.rest("GET", path).status_code == 404
    follower.sims.call(lambda: follower.sims.simulators["binance"].configure({"prod_like": True}))
    assert follower.rest("GET", path).json()["enableWithdrawals"] is False


# -- limits ---------------------------------------------------------------------------------------------------------


def test_over_the_weight_limit_429_then_418_for_all_of_the_address(sims: RunningSimulators, follower: Client) -> None:
    sims.call(lambda: sims.simulators["binance"].configure({"weight_limit": 50, "ban_after": 2, "ban_sec": 60}))
    to_the_minute_ms = 60_000 - follower.now() % 60_000
    sims.call(lambda: sims.world.set_skew("binance", to_the_minute_ms))  # so that no minute turns in between
    answers = [follower.rest("GET", "/api/v3/account") for _ in range(6)]
    statuses = [one.status_code for one in answers]
    assert statuses == [200, 200, 429, 429, 418, 418]
    assert answers[0].headers["X-MBX-USED-WEIGHT-1M"] == "20"
    limited = next(one for one in answers if one.status_code == 429)
    assert 1 <= int(limited.headers["Retry-After"]) <= 60
    assert limited.json()["code"] == -1003
    assert statuses[-1] == 418
    assert answers[-1].json()["data"]["retryAfter"] > follower.now()
    assert follower.buy().status_code == 418


def test_whoever_goes_on_after_too_many_requests_or_connections_is_banned_and_loses_its_sockets(
    sims: RunningSimulators, follower: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    binance = sims.simulators["binance"]
    to_the_minute_ms = 60_000 - follower.now() % 60_000
    sims.call(lambda: sims.world.set_skew("binance", to_the_minute_ms))
    sims.call(lambda: binance.configure({"connections_limit": 2, "ban_after": 2, "ban_sec": 60}))
    socket = connect()
    connect()
    statuses = []
    for _ in range(4):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            connect()
        statuses.append(refused.value.status_code)
    with pytest.raises((websocket.WebSocketException, OSError)):
        socket.recv()

    assert statuses == [429, 429, 418, 418]
    assert follower.rest("GET", "/api/v3/account").status_code == 418
    assert sims.call(lambda: binance.limits.bans) == 1


def test_requests_are_counted_besides_their_weight(sims: RunningSimulators, follower: Client) -> None:
    sims.call(lambda: sims.simulators["binance"].configure({"raw_requests_limit": 3}))
    answers = [follower.buy() for _ in range(4)]  # orders weigh nothing
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 300


def test_accepted_orders_weigh_nothing_and_filled_ones_do_not_count(follower: Client) -> None:
    follower.sims.call(lambda: follower.sims.simulators["binance"].configure({"orders_10s": 3}))
    answers = [follower.buy() for _ in range(8)]
    assert [one.status_code for one in answers] == [200] * 8
    assert {one.headers["X-MBX-USED-WEIGHT-1M"] for one in answers} == {"0"}
    assert {one.headers["X-MBX-ORDER-COUNT-10S"] for one in answers} == {"1"}


def test_unfilled_orders_are_limited_per_account(sims: RunningSimulators, follower: Client) -> None:
    sims.call(lambda: sims.simulators["binance"].configure({"orders_1d": 2}))
    limit = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}
    statuses = [follower.rest("POST", "/api/v3/order", **limit, price="60000").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert error_of(follower.buy()) == (429, -1015)
    assert Client(sims, sims["binance"]["followers"][1]).buy().status_code == 200


# -- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "account_status", "order_error"),
    [
        ({"revoked": True}, 401, (401, -2015)),
        ({"ip_listed": False}, 401, (401, -2015)),
        ({"can_trade": False}, 200, (401, -2015)),
        ({"blocked": True}, 200, (400, -2010)),
    ],
)
def test_key_states(
    sims: RunningSimulators, follower: Client, flags: dict[str, bool], account_status: int, order_error: tuple[int, int]
) -> None:
    requests.post(sims["admin"] + "/sim/keys", json={"account": "binance-1", **flags}, timeout=5).raise_for_status()
    assert follower.rest("GET", "/api/v3/account").status_code == account_status
    assert error_of(follower.buy()) == order_error
    assert Client(sims, sims["binance"]["followers"][1]).buy().status_code == 200


# -- WebSocket API --------------------------------------------------------------------------------------------------


def test_one_socket_carries_the_orders_of_many_keys(
    sims: RunningSimulators, connect: Callable[[], websocket.WebSocket]
) -> None:
    socket = connect()
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "25.00"}
    for number, keys in enumerate(sims["binance"]["followers"], 1):
        reply = ask(socket, Client(sims, keys).frame("order.place", f"r{number}", **order))
        assert (reply["status"], reply["result"]["status"]) == (200, "FILLED")
        assert [one["rateLimitType"] for one in reply["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
        assert len(sims.truth(f"binance-{number}")["orders"]) == 1


def test_market_order_is_told_as_the_documentation_shows(
    sims: RunningSimulators, leader: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    socket = connect()
    assert ask(socket, leader.frame("userDataStream.subscribe.signature"))["result"] == {"subscriptionId": 0}
    order = sims.place("leader", side="BUY", quote=Decimal(5000), client_order_id="web_1")
    *reports, position = events(socket, 4)
    assert [(one["x"], one["X"]) for one in reports] == [
        ("NEW", "NEW"),
        ("TRADE", "PARTIALLY_FILLED"),
        ("TRADE", "FILLED"),
    ]
    assert {one["T"] for one in reports} == {position["u"]} == {order["created_ms"]}
    assert reports[0]["N"] is None
    assert Decimal(reports[-1]["Z"]) == Decimal(order["executed_quote"])
    assert [one["a"] for one in position["B"]] == ["BTC", "BNB", "USDT"]
    balances = sims.truth("leader")["balances"]
    assert Decimal(position["B"][2]["f"]) == Decimal(balances["USDT"]["free"])


def test_deposit_is_told_as_update_and_position(
    sims: RunningSimulators, leader: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    socket = connect()
    ask(socket, leader.frame("userDataStream.subscribe.signature"))
    body = {"account": "leader", "asset": "USDT", "amount": "-0.5"}
    requests.post(sims["admin"] + "/sim/deposit", json=body, timeout=5).raise_for_status()
    update, position = events(socket, 2)
    assert (update["e"], update["d"]) == ("balanceUpdate", "-0.50000000")
    assert [one["a"] for one in position["B"]] == ["USDT"]


def test_subscriptions_are_numbered_from_zero_on_each_connection(
    sims: RunningSimulators, leader: Client, follower: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    for socket in (connect(), connect()):
        ids = [ask(socket, one.frame("userDataStream.subscribe.signature"))["result"] for one in (leader, follower)]
        assert ids == [{"subscriptionId": 0}, {"subscriptionId": 1}]
        again = ask(socket, leader.frame("userDataStream.subscribe.signature"))
        assert (again["status"], again["error"]["code"]) == (400, -2035)
        assert ask(socket, '{"id":7,"method":"session.subscriptions"}')["result"] == ids
        socket.send('{"id":8,"method":"userDataStream.unsubscribe","params":{"subscriptionId":0}}')
        messages = [json.loads(socket.recv()) for _ in range(2)]
        assert {one["event"]["e"] for one in messages if "event" in one} == {"eventStreamTerminated"}
        gone = ask(socket, '{"id":9,"method":"userDataStream.unsubscribe","params":{"subscriptionId":0}}')
        assert gone["error"]["code"] == -2036


def test_session_needs_ed25519_and_ends_with_its_key(
    sims: RunningSimulators, follower: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    socket = connect()
    assert ask(socket, follower.frame("session.logon"))["status"] == 400
    body = {"account": "binance-1", "key_kind": "ed25519"}
    keys = requests.post(sims["admin"] + "/sim/accounts", json=body, timeout=5).json()
    assert ask(socket, Client(sims, keys).frame("session.logon"))["result"]["apiKey"] == keys["api_key"]
    assert ask(socket, '{"id":2,"method":"userDataStream.subscribe"}')["result"] == {"subscriptionId": 0}
    timestamp = follower.now()
    frame = {"id": 3, "method": "account.status", "params": {"timestamp": timestamp}}
    assert ask(socket, json.dumps(frame))["status"] == 200
    requests.post(sims["admin"] + "/sim/keys", json={"account": "binance-1", "revoked": True}, timeout=5)
    socket.send(json.dumps(frame))
    assert json.loads(socket.recv()) | {"rateLimits": 0} == {
        "id": None,
        "status": 401,
        "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
        "rateLimits": 0,
    }


def test_server_pings_and_drops_who_does_not_answer(
    sims: RunningSimulators, connect: Callable[[], websocket.WebSocket]
) -> None:
    short = {"ping_interval_sec": 0.05, "pong_timeout_sec": 0.2}
    sims.call(lambda: sims.simulators["binance"].configure(short))
    socket = connect()
    opcode, frame = socket.recv_data_frame(control_frame=True)  # answers with a pong by itself
    assert opcode == websocket.ABNF.OPCODE_PING
    assert frame.data
    mute = connect()
    mute.pong = lambda payload="": None  # type: ignore[method-assign]
    with pytest.raises((websocket.WebSocketException, OSError)):
        while True:
            mute.recv_data_frame(control_frame=True)


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "executed"),
    [
        ("reply_lost_after_execution", 1),
        ("reply_lost_before_execution", 0),
        ("http_5xx_executed", 1),
        ("http_5xx_not_executed", 0),
        ("minus_1007_executed", 1),
        ("minus_1007_not_executed", 0),
        ("minus_1000_executed", 1),
        ("minus_1008_not_executed", 0),
        ("html_200", 1),
        ("minus_1021", 0),
        ("waf_403", 0),
    ],
)
@pytest.mark.parametrize("wire", ["rest", "ws"])
def test_order_faults_execute_or_not_as_named(
    sims: RunningSimulators,
    follower: Client,
    connect: Callable[[], websocket.WebSocket],
    name: str,
    executed: int,
    wire: str,
) -> None:
    sims.arm(name, account="binance-1", params={"seconds": 0})
    with pytest.raises((requests.RequestException, websocket.WebSocketException, OSError, KeyError, ValueError)):
        if wire == "rest":
            follower.buy().json()["orderId"]
        else:
            order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "25"}
            ask(connect(), follower.frame("order.place", **order))["result"]["orderId"]
    assert len(sims.truth("binance-1")["orders"]) == executed
    assert follower.buy().json()["status"] == "FILLED"


@pytest.mark.parametrize("retry_after", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT", "soon"])
def test_429_says_whatever_it_is_told_to(sims: RunningSimulators, follower: Client, retry_after: str) -> None:
    sims.arm("minus_1003", params={"retry_after": retry_after})
    answer = follower.buy()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, retry_after)


def test_order_not_found_for_a_while_though_executed(sims: RunningSimulators, follower: Client) -> None:
    sims.arm("order_not_found", params={"seconds": 60})
    follower.buy(newClientOrderId="hidden")
    query = follower.rest("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="hidden")
    assert error_of(query) == (400, -2013)
    assert follower.rest("GET", "/api/v3/allOrders", symbol="BTCUSDT").json() == []
    assert len(sims.truth("binance-1")["orders"]) == 1


def test_market_order_may_expire_part_way(sims: RunningSimulators, follower: Client) -> None:
    sims.arm("price_range_expiry", params={"fills": 1})
    reply = follower.buy("5000").json()
    assert (reply["status"], reply["expiryReason"]) == ("EXPIRED", "EXECUTION_RULE_PRICE_RANGE_EXCEEDED")
    assert 0 < Decimal(reply["executedQty"]) < Decimal(reply["origQty"])


def test_stream_disturbances(
    sims: RunningSimulators, leader: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    socket = connect()
    ask(socket, leader.frame("userDataStream.subscribe.signature"))
    sims.arm("server_shutdown", params={"seconds": 60})
    assert json.loads(socket.recv())["event"]["e"] == "serverShutdown"
    sims.arm("silence", account="leader")
    sims.place("leader", side="BUY", quote=Decimal(100), client_order_id="unheard")
    assert ask(socket, '{"id":5,"method":"ping"}')["result"] == {}  # nothing came before it
    sims.arm("abort")
    with pytest.raises((websocket.WebSocketException, OSError)):
        socket.recv()


def test_duplicated_and_reordered_reports(
    sims: RunningSimulators, leader: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    socket = connect()
    ask(socket, leader.frame("userDataStream.subscribe.signature"))
    sims.arm("reports_reordered")
    sims.arm("report_duplicated", count=None)
    sims.arm("position_lost")
    sims.place("leader", side="BUY", quote=Decimal(100), client_order_id="a")
    assert [one["X"] for one in events(socket, 4)] == ["FILLED", "FILLED", "NEW", "NEW"]


def test_untidy_streams_say_nothing_untrue(connect: Any, sims: RunningSimulators, leader: Client) -> None:
    """With everything that may go wrong going wrong, the last position heard is one that was really there."""
    sims.call(
        lambda: sims.world.untidiness["binance"].set(
            {"position_delayed": 0.5, "position_merged": 0.3, "report_duplicated": 0.5, "event_before_reply": 0.5}
        )
    )
    socket = connect()
    ask(socket, leader.frame("userDataStream.subscribe.signature"))
    real = {Decimal(sims.truth("leader")["balances"]["USDT"]["free"])}
    for number in range(20):
        sims.place("leader", side="BUY", quote=Decimal(50), client_order_id=f"a{number}")
        real.add(Decimal(sims.truth("leader")["balances"]["USDT"]["free"]))
    filled: set[int] = set()
    while len(filled) < 20:
        event = json.loads(socket.recv()).get("event", {})
        if event.get("X") == "FILLED":
            filled.add(event["i"])
        if event.get("e") == "outboundAccountPosition":
            assert Decimal(event["B"][2]["f"]) in real


def test_other_pairs_move_the_balances_and_have_their_own_lists(
    sims: RunningSimulators, leader: Client, connect: Callable[[], websocket.WebSocket]
) -> None:
    socket = connect()
    ask(socket, leader.frame("userDataStream.subscribe.signature"))
    order = sims.place("leader", symbol="ETHUSDT", side="BUY", quote=Decimal(100), client_order_id="eth")
    *reports, position = events(socket, 3)
    assert {one["s"] for one in reports} == {"ETHUSDT"}
    assert [one["a"] for one in position["B"]] == ["ETH", "BNB", "USDT"]
    assert leader.rest("GET", "/api/v3/allOrders", symbol="BTCUSDT").json() == []
    trades = leader.rest("GET", "/api/v3/myTrades", symbol="ETHUSDT").json()
    assert sum(Decimal(one["quoteQty"]) for one in trades) == Decimal(order["executed_quote"])
    assert error_of(leader.rest("GET", "/api/v3/order", symbol="BTCUSDT", orderId=order["order_id"])) == (400, -2013)


def test_latency_delays_the_engine_and_its_recv_window_is_checked_again(follower: Client) -> None:
    follower.sims.arm("held_before_engine", params={"seconds": 0.2})
    assert error_of(follower.buy(recvWindow="100")) == (400, -1021)
    assert not follower.sims.truth("binance-1")["orders"]


def test_late_execution_happens_after_the_unknown_answer(follower: Client) -> None:
    follower.sims.arm("late_execution", params={"seconds": 0.1})
    assert error_of(follower.buy(newClientOrderId="late")) == (504, -1007)
    for _ in range(200):
        if follower.rest("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="late").status_code == 200:
            break
    assert [one["client_order_id"] for one in follower.sims.truth("binance-1")["orders"]] == ["late"]


def test_ban_ends_the_sockets_of_the_address(follower: Client, connect: Callable[[], websocket.WebSocket]) -> None:
    socket = connect()
    follower.sims.arm("banned_418")
    assert follower.buy().status_code == 418
    with pytest.raises((websocket.WebSocketException, OSError)):
        socket.recv()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect()
    assert refused.value.status_code == 418
