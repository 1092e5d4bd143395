"""The plug-in on the simulated Binance: whatever goes wrong, what we conclude of an order is never untrue."""

import queue
import uuid
from decimal import Decimal

import pytest

from copytrade_binance import gateway as gateway_module
from copytrade_binance import rest as rest_module
from copytrade_binance.api_socket import SocketTimings
from copytrade_binance.connector import BinanceExchange
from copytrade_binance.user_stream import BinanceUserStream, StreamTimings
from copytrade_core.clock import Clock, ExchangeClock
from copytrade_core.connector import ExchangeContext, StreamDown, StreamUp
from copytrade_core.errors import ExchangeError, NotSent, OutcomeUnknown
from copytrade_core.model import AccountId, Credentials, Environment, ExecutionReport, OrderAck, Symbol
from copytrade_core.sim import running_simulators
from fake_binance import a_buy, a_sell, wait_until

FOLLOWERS = 5
ACCOUNT = "binance-1"

# Faults that leave nobody knowing, and the parameters that make them quick.
UNKNOWN = {
    "reply_lost_after_execution": {},
    "reply_lost_before_execution": {},
    "no_answer_executed": {"seconds": 3},
    "no_answer_not_executed": {"seconds": 3},
    "http_5xx_executed": {},
    "http_5xx_not_executed": {},
    "html_200": {},
    "empty_200": {},
    "wrong_shape_200": {},
    "short_body": {},
    "drip": {"seconds_per_byte": 0.2},
    "garbage": {},
    "redirect": {},
    **{
        f"minus_{code}_{how}executed": {"seconds": 0} for code in (1000, 1001, 1006, 1007, 1008) for how in ("", "not_")
    },
}
REFUSED = (
    "minus_2010_balance",
    "minus_2010_blocked",
    "minus_2010_closed",
    "minus_2010_duplicate",
    "minus_2014",
    "minus_2015",
    "waf_403",
    "restricted_451",
)


@pytest.fixture(scope="module")
def sims():
    with running_simulators(binance_followers=FOLLOWERS, bitget_followers=0, seed=11) as running:
        running.tidy()
        yield running


@pytest.fixture
def exchange(sims, monkeypatch):
    monkeypatch.setattr(rest_module, "ANSWER_SEC", 0.4)
    monkeypatch.setattr(gateway_module, "ANSWER_SEC", 0.4)
    clock = Clock()
    exchange = BinanceExchange(
        ExchangeContext(
            environment=Environment.TEST,
            symbol=Symbol("BTC", "USDT"),
            clock=clock,
            exchange_clock=ExchangeClock(clock),
            endpoints={name: sims["binance"][name] for name in ("rest", "ws_api")},
        )
    )
    exchange.context.exchange_clock.measure(exchange.server_time_ms)
    yield exchange
    sims.call(sims.world.faults.clear)
    exchange.close()


@pytest.fixture
def connectors(sims, exchange):
    return [
        exchange.open_connector(AccountId(f"binance-{number}"), Credentials(fields))
        for number, fields in enumerate(sims["binance"]["followers"], start=1)
    ]


@pytest.fixture(params=["sockets", "rest"])
def place(request, exchange, connectors, gate):
    """Place an order over the gateway's sockets, or over REST; return what came of it."""
    if request.param == "sockets":
        exchange.warm_up(connectors)
        wait_until(lambda: exchange.gateway.ready == 2)

    def one(prepared):
        outcomes = queue.Queue()
        exchange.gateway.submit([prepared], gate, lambda prepared, outcome: outcomes.put(outcome))
        return outcomes.get(timeout=5)

    return one


@pytest.fixture
def client_order_id():
    return f"ct-{uuid.uuid4().hex[:16]}"


def executed(sims, client_order_id):
    orders = sims.truth(ACCOUNT)["orders"]
    return [one for one in orders if one["client_order_id"] == client_order_id]


@pytest.mark.parametrize("make", [lambda name: a_buy(name, "51.23456789"), lambda name: a_sell(name, "0.00031")])
def test_what_is_acknowledged_is_what_was_executed(sims, connectors, place, client_order_id, make):
    outcome = place(connectors[0].prepare_market_order(make(client_order_id)))

    assert isinstance(outcome, OrderAck)
    (truth,) = executed(sims, client_order_id)
    assert (outcome.report.filled_base, outcome.report.fills_complete) == (Decimal(truth["executed_base"]), True)


@pytest.mark.parametrize(("fault", "params"), UNKNOWN.items(), ids=UNKNOWN.keys())
def test_an_outcome_that_nobody_knows_is_found_by_asking(sims, connectors, place, client_order_id, fault, params):
    sims.arm(fault, account=ACCOUNT, params=params)

    outcome = place(connectors[0].prepare_market_order(a_buy(client_order_id, "20")))

    truth = executed(sims, client_order_id)
    assert isinstance(outcome, OutcomeUnknown) or (isinstance(outcome, OrderAck) and truth)
    assert len(truth) <= 1
    sims.call(sims.world.faults.clear)
    assert (connectors[0].find_order(client_order_id) is not None) == bool(truth)


@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_is_true(sims, connectors, place, fault, client_order_id):
    sims.arm(fault, account=ACCOUNT)

    outcome = place(connectors[0].prepare_market_order(a_buy(client_order_id, "20")))

    assert isinstance(outcome, ExchangeError) and not isinstance(outcome, OutcomeUnknown | NotSent)
    assert executed(sims, client_order_id) == []


def test_an_order_that_expires_in_part_is_counted_by_what_it_filled(sims, connectors, place, client_order_id):
    sims.arm("partial_then_expired", account=ACCOUNT)

    outcome = place(connectors[0].prepare_market_order(a_buy(client_order_id, "9000")))

    (truth,) = executed(sims, client_order_id)
    assert outcome.report.status == truth["status"] == "EXPIRED"
    assert outcome.report.filled_base == Decimal(truth["executed_base"]) > 0


@pytest.mark.parametrize("disturbance", ["abort", "close", "half_frame", "half_open", "stream_terminated"])
def test_events_are_heard_again_after(sims, exchange, connectors, disturbance):
    frames = queue.Queue()
    stream = BinanceUserStream(exchange, frames.put, "followers", StreamTimings(socket=SocketTimings(probe_every=0.5)))
    try:
        for connector in connectors:
            stream.add(connector)
        for _ in connectors:
            assert isinstance(frames.get(timeout=1).event, StreamUp)

        sims.arm(disturbance, exchange="binance")
        seen = [frames.get(timeout=10) for _ in range(2 * FOLLOWERS)]

        for connector in connectors:
            told = [type(frame.event) for frame in seen if frame.account_id == connector.account_id]
            assert told == [StreamDown, StreamUp]
        sims.place("binance-3", side="BUY", quote=Decimal(20))
        report = frames.get(timeout=2)
        assert isinstance(report.event, ExecutionReport) and report.account_id == "binance-3"
    finally:
        stream.stop()
