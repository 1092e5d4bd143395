import inspect
import queue
import threading
import time
from decimal import Decimal

import pytest

from copytrade_binance import gateway as gateway_module
from copytrade_binance.api_socket import SocketTimings
from copytrade_binance.gateway import BinanceGateway
from copytrade_core.copying.gate import CopyGate
from copytrade_core.errors import (
    AuthenticationFailed,
    InsufficientBalance,
    NotSent,
    OutcomeUnknown,
    RateLimited,
)
from copytrade_core.model import OrderAck
from fake_binance import a_buy, credentials, ok, recorded, wait_until

QUICK = SocketTimings(connect=1, handshake=1, write=0.3, probe_every=0.1, probe_answer=0.3)


class Outcomes:
    """Collects what came of each order, and minds that nothing comes twice."""

    def __init__(self):
        self._found = queue.Queue()

    def __call__(self, prepared, outcome):
        self._found.put((prepared.order.client_order_id, outcome))

    def take(self, count, seconds=5):
        found = [self._found.get(timeout=seconds) for _ in range(count)]
        assert len(dict(found)) == count
        assert self._found.empty()
        return dict(found)


@pytest.fixture
def outcomes():
    return Outcomes()


@pytest.fixture
def warm(exchange, ws_api, monkeypatch):
    monkeypatch.setattr(gateway_module, "BACKOFF_SEC", (0.02, 0.1))
    made = BinanceGateway(exchange, QUICK)
    made.warm(2)
    wait_until(lambda: made.ready == 2 and len(ws_api.lines) == 2)
    yield made
    made.stop()


@pytest.fixture
def orders(exchange):
    def make(count, first=0):
        return [
            exchange.open_connector(f"f{n}", credentials(n)).prepare_market_order(a_buy(f"ct-{n}", "25.00"))
            for n in range(first, first + count)
        ]

    return make


def filled(line, request):
    return recorded("order_full") | {"clientOrderId": request["params"]["newClientOrderId"]}


def test_each_frame_bears_its_accounts_key_and_signature(ws_api, warm, orders, gate, outcomes):
    ws_api.on["order.place"] = filled
    batch = orders(5)

    warm.submit(batch, gate, outcomes)

    assert all(isinstance(one, OrderAck) and one.report.fills_complete for one in outcomes.take(5).values())
    requests = [ws_api.requests.get(timeout=1)["params"] for _ in batch]
    for prepared in batch:
        (params,) = [one for one in requests if one["newClientOrderId"] == prepared.order.client_order_id]
        signature = params.pop("signature")
        assert params == {**prepared.body, "apiKey": prepared.connector.signer.api_key}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        assert signature == prepared.connector.signer.sign(payload)
    assert gate.passed == 5


def test_answers_may_come_in_any_order(ws_api, warm, orders, gate, outcomes):
    held = []
    all_there = threading.Event()

    def answer_backwards(line, request):
        held.append((line, request))
        if len(held) == 6:
            for its_line, one in reversed(held):
                its_line.send({"id": one["id"], "status": 200, "result": filled(its_line, one)})
            all_there.set()

    ws_api.on["order.place"] = answer_backwards

    warm.submit(orders(6), gate, outcomes)

    assert {one.client_order_id for one in outcomes.take(6).values()} == {f"ct-{n}" for n in range(6)}


def test_one_accounts_refusal_does_not_disturb_the_others(ws_api, warm, orders, gate, outcomes):
    answers = {
        "ct-0": (400, {"code": -2010, "msg": "Account has insufficient balance for requested action."}),
        "ct-1": (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}),
        "ct-2": (500, {"code": -1007, "msg": "Timeout"}),
        "ct-3": (400, {"code": -4711, "msg": "new"}),
    }
    ws_api.on["order.place"] = lambda line, request: (
        answers.get(request["params"]["newClientOrderId"]) or filled(line, request)
    )

    warm.submit(orders(5), gate, outcomes)

    found = outcomes.take(5)
    assert [type(found[f"ct-{n}"]) for n in range(5)] == [
        InsufficientBalance,
        AuthenticationFailed,
        OutcomeUnknown,
        OutcomeUnknown,
        OrderAck,
    ]


def test_a_shut_gate_lets_no_frame_leave(ws_api, warm, orders, gate, outcomes):
    gate.is_shut = True

    warm.submit(orders(3), gate, outcomes)

    assert all(isinstance(one, NotSent) for one in outcomes.take(3).values())
    assert ws_api.requests.empty()


def test_a_socket_that_dies_makes_its_orders_unknown_and_no_others(ws_api, warm, orders, gate, outcomes):
    victim = ws_api.lines[0]

    def die(line, request):
        if line is victim:
            line.cut()
            return None
        return filled(line, request)

    ws_api.on["order.place"] = die

    warm.submit(orders(2), gate, outcomes)

    assert sorted(type(one).__name__ for one in outcomes.take(2).values()) == ["OrderAck", "OutcomeUnknown"]
    wait_until(lambda: warm.ready == 2)


def test_no_answer_in_time_is_unknown_and_a_late_one_is_dropped(ws_api, warm, orders, gate, outcomes, monkeypatch):
    monkeypatch.setattr(gateway_module, "ANSWER_SEC", 0.2)
    late = []
    ws_api.on["order.place"] = lambda line, request: late.append((line, request))

    warm.submit(orders(1), gate, outcomes)
    found = outcomes.take(1)
    line, request = late[0]
    line.send({"id": request["id"], "status": 200, "result": filled(line, request)})
    ws_api.on["order.place"] = filled
    warm.submit(orders(1, first=1), gate, outcomes)

    assert isinstance(found["ct-0"], OutcomeUnknown)
    assert list(outcomes.take(1)) == ["ct-1"]


@pytest.mark.parametrize(
    "result",
    [None, [], "text", {}, {"orderId": 1}, {"clientOrderId": "another", "symbol": "BTCUSDT", "orderId": 1}],
)
def test_an_answer_of_another_shape_is_unknown(ws_api, warm, orders, gate, outcomes, result):
    ws_api.on["order.place"] = lambda line, request: line.send({"id": request["id"], "status": 200, "result": result})

    warm.submit(orders(1), gate, outcomes)

    assert isinstance(outcomes.take(1)["ct-0"], OutcomeUnknown)


def test_a_frame_that_is_no_json_makes_the_socket_suspect(ws_api, warm, orders, gate, outcomes):
    ws_api.on["order.place"] = lambda line, request: line.send("<html>")

    warm.submit(orders(1), gate, outcomes)

    assert isinstance(outcomes.take(1)["ct-0"], OutcomeUnknown)


def test_a_ban_stops_what_has_not_left(exchange, ws_api, warm, orders, gate, outcomes):
    data = {"serverTime": 1_000_000, "retryAfter": 1_060_000}
    ws_api.on["order.place"] = lambda line, request: (418, {"code": -1003, "msg": "banned", "data": data})

    warm.submit(orders(1), gate, outcomes)
    first = outcomes.take(1)["ct-0"]
    warm.submit(orders(2, first=1), gate, outcomes)

    assert (first.banned, first.retry_after_sec) == (True, 60)
    assert all(isinstance(one, RateLimited) for one in outcomes.take(2).values())
    assert ws_api.requests.qsize() == 1
    assert 55 < exchange.limits.weight.blocked_sec <= 60


def test_weight_in_the_answers_fills_the_shared_budget(exchange, ws_api, warm, orders, gate, outcomes):
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 777}]
    ws_api.on["order.place"] = lambda line, request: line.send(
        {"id": request["id"], "status": 200, "result": filled(line, request), "rateLimits": limits}
    )

    warm.submit(orders(1), gate, outcomes)
    outcomes.take(1)

    assert exchange.limits.weight.used >= 777


def test_without_a_socket_orders_go_over_rest(rest, exchange, orders, gate, outcomes):
    rest.on["/api/v3/order"] = lambda request: ok(
        recorded("order_full") | {"clientOrderId": request.params["newClientOrderId"]}
    )

    exchange.gateway.submit(orders(3), gate, outcomes)

    assert all(isinstance(one, OrderAck) for one in outcomes.take(3).values())
    assert len(rest.requests) == 3


def test_a_socket_never_carries_more_than_it_may_lose(ws_api, warm, rest, orders, gate, outcomes, monkeypatch):
    monkeypatch.setattr(gateway_module, "IN_FLIGHT_PER_SOCKET", 2)
    held = []
    ws_api.on["order.place"] = lambda line, request: held.append((line, request))
    rest.on["/api/v3/order"] = lambda request: ok(
        recorded("order_full") | {"clientOrderId": request.params["newClientOrderId"]}
    )

    warm.submit(orders(5), gate, outcomes)

    assert list(outcomes.take(1)) == ["ct-4"]  # over REST: both sockets are full
    wait_until(lambda: len(held) == 4)
    for line, request in held:
        line.send({"id": request["id"], "status": 200, "result": filled(line, request)})
    outcomes.take(4)


def test_a_half_open_socket_is_noticed_and_replaced(ws_api, warm):
    before = list(ws_api.lines)
    ws_api.silent = True
    wait_until(lambda: not set(before) & set(ws_api.lines))
    ws_api.silent = False

    wait_until(lambda: warm.ready == 2)


def test_a_server_that_is_about_to_go_is_replaced_before_it_does(ws_api, warm, orders, gate, outcomes):
    ws_api.on["order.place"] = filled
    old = list(ws_api.lines)
    for line in old:
        line.send({"event": {"e": "serverShutdown", "E": 1}})
    wait_until(lambda: len(ws_api.lines) == 4 and warm.ready == 2)

    warm.submit(orders(4), gate, outcomes)

    outcomes.take(4)
    assert set(old) <= set(ws_api.lines)


def test_old_sockets_are_rotated(exchange, ws_api, monkeypatch):
    monkeypatch.setattr(gateway_module, "ANSWER_SEC", -0.9)  # retired ones close after 0.1 s
    rotating = BinanceGateway(exchange, SocketTimings(rotate_after=0.3, rotate_jitter=0.05))
    rotating.warm(2)
    first = wait_until(lambda: len(ws_api.lines) == 2 and list(ws_api.lines))

    wait_until(lambda: not set(first) & set(ws_api.lines) and rotating.ready >= 2)

    rotating.stop()


def test_a_peer_that_does_not_read_holds_nobody_for_long(exchange, ws_api, orders, gate, outcomes):
    release = threading.Event()
    ws_api.on["ping"] = lambda line, request: release.wait(10) and {}
    ws_api.on["order.place"] = filled
    stuck = BinanceGateway(exchange, SocketTimings(write=0.3, probe_every=60))
    stuck.warm(2)
    wait_until(lambda: stuck.ready == 2)
    one, answers = stuck._open_sockets()[0], queue.Queue()
    longest = 0.0
    while one.is_open:
        started = time.monotonic()
        one.request("ping", {"padding": "x" * 1_000_000}, lambda *answer: answers.put(answer), timeout_sec=30)
        longest = max(longest, time.monotonic() - started)

    stuck.submit(orders(1), gate, outcomes)

    assert isinstance(outcomes.take(1)["ct-0"], OrderAck)
    assert 0.3 <= longest < 1
    assert isinstance(answers.get(timeout=1)[1], OutcomeUnknown)
    release.set()
    stuck.stop()


def test_stopping_answers_what_is_in_flight_and_sends_nothing_more(ws_api, warm, orders, gate, outcomes, monkeypatch):
    monkeypatch.setattr(gateway_module, "ANSWER_SEC", 0.3)
    ws_api.on["order.place"] = lambda line, request: None
    warm.submit(orders(2), gate, outcomes)

    warm.stop()
    warm.submit(orders(1, first=2), gate, outcomes)

    found = outcomes.take(3)
    assert isinstance(found["ct-0"], OutcomeUnknown) and isinstance(found["ct-1"], OutcomeUnknown)
    assert isinstance(found["ct-2"], NotSent) and not found["ct-2"].retry
    assert not [one.name for one in threading.enumerate() if one.name.startswith("binance-")]


def test_a_burst_of_a_hundred_leaves_at_once(ws_api, warm, orders, gate, outcomes):
    ws_api.on["order.place"] = filled
    warm.submit(orders(10, first=200), gate, outcomes)
    outcomes.take(10)
    batch = orders(100)

    started = time.perf_counter()
    warm.submit(batch, gate, outcomes)
    left = time.perf_counter() - started

    found = outcomes.take(100)
    print(f"100 frames left in {left * 1000:.1f} ms, answered in {(time.perf_counter() - started) * 1000:.0f} ms")
    assert all(one.report.filled_quote == Decimal("99.0049") for one in found.values())
    assert left < 0.5


def test_no_write_lasts_longer_than_a_stop_waits_for_it():
    assert SocketTimings().write < inspect.signature(CopyGate.shut).parameters["wait_sec"].default
