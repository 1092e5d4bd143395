"""The simulator's private sockets: signing in, pings, limits, what is pushed, and how pushes go wrong."""

from __future__ import annotations

import itertools
import time
from decimal import Decimal

import pytest
import websocket

from bitget_wire import WireClient, WireSocket, signed_in, wait_until
from copytrade_bitget.sim import BitgetSimulator
from copytrade_core.sim import running_simulators


@pytest.fixture
def sims():
    with running_simulators(followers={"bitget": 2}, factories={"bitget": BitgetSimulator}) as running:
        running.tidy()
        running.call(lambda: running.world.untidiness["bitget"].set({"fill_min_ms": 20, "fill_max_ms": 40}))
        yield running


@pytest.fixture
def classic_keys(sims):
    return sims["bitget"]["followers"][0]


@pytest.fixture
def unified_keys(sims):
    return sims["bitget"]["followers"][1]


@pytest.fixture
def ws(sims):
    return sims["bitget"]["ws"]


@pytest.fixture
def open_socket(ws):
    opened = []

    def connect(path, keys):
        opened.append(WireSocket(ws, path, keys))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def configure(sims, **changes):
    sims.call(lambda: sims.simulators["bitget"].configure(changes))


def client_of(sims, number):
    return WireClient(sims["bitget"]["rest"], sims["bitget"]["followers"][number - 1])


def code(frame):
    return int(frame["code"])


# -- signing in --------------------------------------------------------------------------------------------------------


def test_a_login_succeeds_with_its_code_now_as_a_number_and_now_as_text(open_socket, classic_keys):
    kinds = set()
    for _ in range(12):
        client = open_socket("/v2/ws/private", classic_keys)
        answer = client.login()
        assert (answer["event"], str(answer["code"])) == ("login", "0")
        kinds.add(type(answer["code"]))
        client.close()

    assert kinds == {int, str}


def test_a_login_may_be_dated_in_ms_too(open_socket, classic_keys):
    assert open_socket("/v2/ws/private", classic_keys).login(str(int(time.time() * 1000)))["event"] == "login"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"apiKey": "bg_nobody"}, 30011),
        ({"passphrase": "wrong"}, 30012),
        ({"stamp": "soon"}, 30013),
        ({"stamp": "1700000000"}, 30014),
        ({"sign": "AAAA"}, 30015),
    ],
)
def test_a_refused_login_says_why_and_closes(open_socket, classic_keys, changes, expected):
    client = open_socket("/v2/ws/private", classic_keys)

    answer = client.login(**changes)

    assert (answer["event"], code(answer)) == ("error", expected)
    assert client.receive() is None


def test_nothing_can_be_subscribed_before_the_login(open_socket, classic_keys):
    client = open_socket("/v2/ws/private", classic_keys)
    client.send({"op": "subscribe", "args": [{"instType": "SPOT", "channel": "account", "coin": "default"}]})

    assert code(client.receive()) == 30004


def test_unknown_channels_and_orders_over_the_socket_are_refused(open_socket, classic_keys):
    client = open_socket("/v2/ws/private", classic_keys)
    client.login()
    client.send({"op": "subscribe", "args": [{"instType": "SPOT", "channel": "positions", "instId": "default"}]})
    refused = client.receive()
    assert (code(refused), refused["op"], refused["arg"]["channel"]) == (30001, "subscribe", "positions")

    client.send({"op": "trade", "args": [{"channel": "place-order"}]})
    assert code(client.receive()) == 30003
    client.send("{half")
    assert code(client.receive()) == 30002


def test_a_unified_keys_login_on_the_classic_socket_succeeds_and_nothing_ever_comes(sims, ws, unified_keys):
    with signed_in(ws, unified_keys, "account", "orders", path="/v2/ws/private") as client:
        client_of(sims, 2).place("buy", "25")

        assert client.is_quiet()


def test_a_classic_key_cannot_sign_in_on_the_unified_socket(open_socket, classic_keys):
    assert code(open_socket("/v3/ws/private", classic_keys).login()) == 30005


@pytest.mark.parametrize(
    ("flags", "expected"), [({"revoked": True}, 30011), ({"ip_listed": False}, 30005), ({"can_read": False}, 30005)]
)
def test_a_key_that_may_not_read_cannot_sign_in(sims, open_socket, classic_keys, flags, expected):
    key = sims.world.accounts["bitget-1"].keys[0]
    sims.call(lambda: [setattr(key, name, value) for name, value in flags.items()])

    assert code(open_socket("/v2/ws/private", classic_keys).login()) == expected


def test_a_production_key_cannot_sign_in_on_the_demo_socket(sims, open_socket):
    simulator = sims.simulators["bitget"]
    account = sims.call(lambda: simulator.open_account("bitget-prod", "follower", environment="prod"))
    keys = sims.call(lambda: simulator.add_credentials(account))

    assert code(open_socket("/v2/ws/private", keys).login()) == 30005


def test_a_public_socket_answers_ping_and_knows_no_login(open_socket, classic_keys):
    client = open_socket("/v2/ws/public", classic_keys)
    client.send("ping")

    assert client.receive() == "pong"
    assert code(client.login()) == 30003


# -- keeping alive -----------------------------------------------------------------------------------------------------


def test_a_text_ping_is_answered(ws, classic_keys):
    with signed_in(ws, classic_keys) as client:
        client.send("ping")

        assert client.receive() == "pong"


def test_a_socket_without_text_pings_is_closed_though_protocol_pings_come(sims, ws, classic_keys):
    configure(sims, socket_idle_ms=200)
    with signed_in(ws, classic_keys) as client:
        deadline = time.monotonic() + 3
        closed = False
        while not closed and time.monotonic() < deadline:
            client.socket.ping()
            try:
                closed = client.receive(0.05) is None
            except websocket.WebSocketTimeoutException:
                continue
        assert closed


def test_text_pings_keep_a_socket_open(sims, ws, classic_keys):
    configure(sims, socket_idle_ms=250)
    with signed_in(ws, classic_keys) as client:
        for _ in range(4):
            assert not list(client.frames_until_quiet(0.12))
            client.send("ping")
            assert client.receive() == "pong"


def test_a_socket_is_closed_at_its_age(sims, ws, classic_keys):
    configure(sims, socket_age_ms=100)
    with signed_in(ws, classic_keys) as client:
        assert client.receive() is None


def test_an_eleventh_message_within_a_second_closes_the_socket(ws, classic_keys):
    with signed_in(ws, classic_keys) as client:
        for _ in range(10):
            client.send("ping")
        frames = [client.receive() for _ in range(11)]

        assert frames[:9] == ["pong"] * 9
        assert code(frames[9]) == 30007
        assert frames[10] is None


def test_an_address_may_hold_so_many_sockets(sims, open_socket, classic_keys):
    configure(sims, sockets=2)
    open_socket("/v2/ws/private", classic_keys)
    open_socket("/v2/ws/private", classic_keys)

    with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
        open_socket("/v2/ws/private", classic_keys)


def test_an_address_may_open_so_many_sockets_in_five_minutes(sims, open_socket, classic_keys):
    configure(sims, socket_opens=3)
    for _ in range(3):
        open_socket("/v2/ws/private", classic_keys).close()

    with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
        open_socket("/v2/ws/private", classic_keys)


# -- pushes ------------------------------------------------------------------------------------------------------------


def test_a_classic_account_is_pushed_whole_at_first_and_then_what_changed(sims, ws, classic_keys):
    deposit(sims, "bitget-1", "BGB", "3")
    with signed_in(ws, classic_keys, "account") as client:
        snapshot = client.pushes("account", bool)
        assert {row["coin"] for row in snapshot} == {"BTC", "USDT", "BGB"}

        client_of(sims, 1).place("buy", "250.12")
        changed = client.pushes("account", lambda rows: len(rows) >= 2)

    truth = sims.truth("bitget-1")["balances"]
    assert {row["coin"]: Decimal(row["available"]) for row in changed} == {
        coin: Decimal(truth[coin]["free"]) for coin in ("BTC", "USDT")
    }


def test_a_classic_market_order_is_pushed_as_taken_in_and_then_filled(sims, ws, classic_keys):
    with signed_in(ws, classic_keys, "orders", "fill") as client:
        client_of(sims, 1).place("buy", "250.12", "ct1")
        rows = client.pushes("orders", lambda rows: len(rows) >= 2)

    truth = sims.truth("bitget-1")["orders"][0]
    assert [row["status"] for row in rows] == ["live", "filled"]
    assert (rows[0]["accBaseVolume"], "fillPrice" in rows[0]) == ("0.0000", False)
    assert (rows[1]["newSize"], Decimal(rows[1]["accBaseVolume"])) == ("250.12", Decimal(truth["executed_base"]))
    assert Decimal(rows[1]["fillFee"]) == -Decimal(truth["fills"][0]["fee"])


def test_fill_pushes_have_positive_fees_on_both_sockets(sims, ws, classic_keys, unified_keys):
    for number, keys in ((1, classic_keys), (2, unified_keys)):
        with signed_in(ws, keys, "fill") as client:
            client_of(sims, number).place("buy", "25")
            detail = client.pushes("fill", bool)[0]["feeDetail"][0]

            assert Decimal(detail["totalFee" if number == 1 else "fee"]) > 0


def test_a_unified_order_is_created_matched_partly_filled_and_filled(sims, ws, unified_keys):
    with signed_in(ws, unified_keys, "order", "account") as client:
        client_of(sims, 2).place("buy", "15000", "big")
        rows = client.pushes("order", lambda rows: rows and rows[-1]["orderStatus"] == "filled")

    assert [name for name, _ in itertools.groupby(row["orderStatus"] for row in rows)] == [
        "live",
        "new",
        "partially_filled",
        "filled",
    ]
    assert {row["category"] for row in rows} == {"spot"}
    assert Decimal(rows[-1]["cumExecValue"]) == Decimal(sims.truth("bitget-2")["orders"][0]["executed_quote"])


def test_a_unified_account_is_pushed_again_and_again(sims, ws, unified_keys):
    configure(sims, account_push_ms=50)
    with signed_in(ws, unified_keys, "account") as client:
        rows = client.pushes("account", lambda rows: len(rows) >= 4)

    truth = sims.truth("bitget-2")["balances"]
    assert {coin["coin"]: coin["available"] for coin in rows[-1]["coin"]} == {
        coin: held["free"] for coin, held in truth.items()
    }


def test_a_deposit_is_pushed(sims, ws, classic_keys):
    with signed_in(ws, classic_keys, "account") as client:
        client.pushes("account", bool)
        deposit(sims, "bitget-1", "USDT", "12.5")

        assert [row["coin"] for row in client.pushes("account", bool)] == ["USDT"]


def test_an_order_refused_at_entry_is_not_pushed(sims, ws, classic_keys):
    with signed_in(ws, classic_keys, "orders") as client:
        assert client_of(sims, 1).place("buy", "0.5").code == "45110"

        assert client.is_quiet()


# -- how pushes go wrong -----------------------------------------------------------------------------------------------


def test_a_push_may_come_before_the_reply(sims, ws, classic_keys):
    sims.arm("push_before_reply", params={"seconds": 0.3})
    with signed_in(ws, classic_keys, "orders") as client:
        reply = client_of(sims, 1).place("buy", "25", "early")

        assert reply.code == "00000"
        client.socket.settimeout(0.001)
        rows = client.pushes("orders", lambda rows: len(rows) >= 2)
        assert rows[-1]["status"] == "filled"


def test_pushes_can_be_lost_and_repeated(sims, ws, classic_keys):
    with signed_in(ws, classic_keys, "orders", "account") as client:
        sims.arm("account_push_lost", account="bitget-1")
        sims.arm("push_duplicated", account="bitget-1")
        client_of(sims, 1).place("buy", "25")
        rows = client.pushes("orders", lambda rows: len(rows) >= 3)

        assert [row["status"] for row in rows] == ["live", "live", "filled"]
        assert client.is_quiet()


def test_pushes_can_come_in_reverse_order(sims, ws, unified_keys):
    with signed_in(ws, unified_keys, "order") as client:
        sims.arm("pushes_reordered")
        sims.place("bitget-2", side="BUY", quote=Decimal(25))
        rows = client.pushes("order", lambda rows: len(rows) >= 3)

    assert [row["orderStatus"] for row in rows] == ["filled", "new", "live"]


def test_by_default_pushes_are_untidy(ws, sims, classic_keys):
    def trade():
        sims.world.untidiness["bitget"].set(
            {"report_duplicated": 0.3, "report_lost": 0.2, "position_lost": 0.3, "delay_max_ms": 30}
        )
        account, market = sims.world.accounts["bitget-1"], sims.world.markets["bitget"]
        for number in range(60):
            market.place(account, side="BUY", quote=Decimal(25), client_order_id=f"w{number}")

    filled, positions = [], 0
    with signed_in(ws, classic_keys, "orders", "account") as client:
        client.pushes("account", bool)
        sims.call(trade)
        for frame in client.frames_until_quiet():
            if frame["arg"]["channel"] == "account":
                positions += 1
            else:
                filled += [row["clientOid"] for row in frame["data"] if row["status"] == "filled"]

    assert len(set(filled)) < 60 and len(filled) > len(set(filled)), "some are lost, some come twice"
    assert 20 < positions < 60


def test_a_silent_socket_answers_pings_and_pushes_nothing(sims, ws, classic_keys):
    with signed_in(ws, classic_keys, "orders") as client:
        sims.arm("silent", account="bitget-1")
        client_of(sims, 1).place("buy", "25")
        client.send("ping")

        assert client.receive() == "pong"
        assert client.is_quiet()


def test_a_half_open_socket_answers_nothing_any_more(sims, ws, classic_keys):
    with signed_in(ws, classic_keys, "orders") as client:
        sims.arm("half_open")
        client.send("ping")
        client.socket.ping()

        assert client.is_quiet()


@pytest.mark.parametrize("how", ["abort", "close"])
def test_sockets_can_be_cut_and_opened_again(sims, ws, classic_keys, how):
    with signed_in(ws, classic_keys, "account") as client:
        client.pushes("account", bool)
        sims.arm(how, exchange="bitget")
        assert client.receive() is None

    wait_until(lambda: not sims.simulators["bitget"].sockets.of(None))
    with signed_in(ws, classic_keys, "account") as client:
        assert client.pushes("account", bool)


def test_a_login_and_a_subscription_can_be_refused(sims, open_socket, classic_keys):
    sims.arm("login_refused", account="bitget-1", params={"code": 30012})
    assert code(open_socket("/v2/ws/private", classic_keys).login()) == 30012

    sims.arm("subscribe_refused", account="bitget-1")
    client = open_socket("/v2/ws/private", classic_keys)
    client.login()
    assert code(client.subscribe("account")[0]) == 30001


def test_a_handshake_can_hang(sims, ws, classic_keys):
    sims.arm("handshake_hangs", params={"seconds": 5})

    with pytest.raises(websocket.WebSocketTimeoutException):
        websocket.create_connection(ws + "/v2/ws/private", timeout=0.2)


def deposit(sims, account_id, coin, amount):
    sims.call(lambda: sims.world.markets["bitget"].deposit(sims.world.accounts[account_id], coin, Decimal(amount)))
