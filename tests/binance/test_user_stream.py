import contextlib
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed

from copytrade_binance.api_socket import SocketTimings
from copytrade_binance.connector import BinanceExchange
from copytrade_binance.user_stream import BinanceUserStream, StreamTimings
from copytrade_core.accounts.budget import Budget
from copytrade_core.connector import StreamDown, StreamUp
from copytrade_core.errors import AuthenticationFailed, StreamInterrupted
from copytrade_core.model import BalanceSnapshot, ExecutionReport
from fake_binance import API_KEY, a_context, credentials, recorded, wait_until
from fakes import FakeClock, exchange_clock

QUICK = SocketTimings(connect=1, handshake=1, write=1, probe_every=0.1, probe_answer=0.3)
TIMINGS = StreamTimings(socket=QUICK, answer=1, add=5, overlap=0.2, backoff_first=0.02, backoff_longest=0.1)
SUBSCRIBE = "userDataStream.subscribe.signature"


class Sink:
    def __init__(self):
        self._frames = queue.Queue()
        self.all = []

    def __call__(self, frame):
        self.all.append(frame)
        self._frames.put(frame)

    def take(self, wanted, seconds=5):
        """Return the next frame, which has to be of the type *wanted*."""
        frame = self._frames.get(timeout=seconds)
        assert isinstance(frame.event, wanted), frame.event
        return frame

    @property
    def is_empty(self):
        return self._frames.empty()


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def open_stream(exchange, sink):
    made = []

    def open_one(timings=TIMINGS):
        made.append(BinanceUserStream(exchange, sink, "leader-a", timings))
        return made[-1]

    yield open_one
    for one in made:
        one.stop()
    assert not [one.name for one in threading.enumerate() if one.name.startswith("leader-a")]


@pytest.fixture
def stream(open_stream):
    return open_stream()


@pytest.fixture
def account(exchange):
    return lambda number=1: exchange.open_connector(f"f{number}", credentials(number))


def key(number=1):
    return f"{API_KEY}{number}"


def events():
    return [frame["event"] for frame in recorded("events_market_buy")]


def test_add_returns_once_events_are_delivered(ws_api, stream, sink, account):
    stream.add(account())

    up = sink.take(StreamUp)
    assert (up.account_id, up.connection) == ("f1", "leader-a#1")
    assert stream.last_proof_ns("f1")
    for event in events():
        ws_api.push(key(), event)
    for _ in range(3):
        assert sink.take(ExecutionReport).account_id == "f1"
    position = sink.take(BalanceSnapshot)
    assert '"outboundAccountPosition"' in position.raw and position.received_ns > up.received_ns


def test_a_subscription_is_signed_with_the_accounts_own_key(ws_api, stream, account):
    connector = account(7)
    stream.add(connector)

    params = ws_api.requests.get(timeout=1)["params"]
    signature = params.pop("signature")
    assert signature == connector.signer.frame_params({k: v for k, v in params.items() if k != "apiKey"})["signature"]
    assert params["apiKey"] == key(7)


def test_many_accounts_share_one_socket_and_are_not_mixed_up(ws_api, stream, sink, account):
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: stream.add(account(n)), range(1, 21)))
    assert len(ws_api.lines) == 1
    for _ in range(20):
        sink.take(StreamUp)

    ws_api.push(key(13), events()[-1])
    ws_api.push(key(1), events()[-1])

    assert [sink.take(BalanceSnapshot).account_id for _ in range(2)] == ["f13", "f1"]


def test_beyond_the_cap_another_socket_is_opened(ws_api, stream, account, monkeypatch):
    monkeypatch.setattr(BinanceUserStream, "ACCOUNTS_PER_LINE", 2)

    for number in (1, 2, 3):
        stream.add(account(number))

    assert sorted(len(line.subscriptions) for line in ws_api.lines) == [1, 2]


def test_a_refused_key_is_given_up_and_the_others_go_on(ws_api, stream, sink, account):
    stream.add(account(1))
    accept = ws_api.on[SUBSCRIBE]
    ws_api.on[SUBSCRIBE] = lambda line, request: (
        (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
        if request["params"]["apiKey"] == key(2)
        else accept(line, request)
    )

    with pytest.raises(AuthenticationFailed):
        stream.add(account(2))
    stream.add(account(3))

    assert stream.last_proof_ns("f2") is None
    assert stream.last_proof_ns("f1") and stream.last_proof_ns("f3")
    assert [frame.event for frame in sink.all] == [StreamUp(), StreamUp()]


def test_a_lost_connection_is_down_and_then_up_again(ws_api, stream, sink, account):
    for number in (1, 2):
        stream.add(account(number))
        sink.take(StreamUp)

    ws_api.lines[0].cut()

    assert {sink.take(StreamDown).account_id, sink.take(StreamDown).account_id} == {"f1", "f2"}
    back = [sink.take(StreamUp), sink.take(StreamUp)]
    assert {frame.connection for frame in back} == {"leader-a#2"}
    ws_api.push(key(2), events()[-1])
    assert sink.take(BalanceSnapshot).account_id == "f2"


def test_a_reconnect_numbers_its_subscriptions_anew(ws_api, stream, sink, account):
    for number in (1, 2):
        stream.add(account(number))
        sink.take(StreamUp)
    stream.remove("f1")
    wait_until(lambda: list(ws_api.lines[0].subscriptions) == [1])

    ws_api.lines[0].cut()
    sink.take(StreamDown)
    sink.take(StreamUp)
    assert list(ws_api.lines[0].subscriptions) == [0]
    ws_api.push(key(2), events()[-1])

    assert sink.take(BalanceSnapshot).account_id == "f2"


def test_nothing_of_a_removed_account_is_delivered(ws_api, stream, sink, account):
    stream.add(account(1))
    stream.add(account(2))
    line = ws_api.lines[0]
    stream.remove("f1")
    stream.remove("unknown")
    line.send({"subscriptionId": 0, "event": events()[-1]})
    line.send({"subscriptionId": 1, "event": events()[-1]})

    wait_until(lambda: len(sink.all) == 3)
    assert sink.all[-1].account_id == "f2"


def test_the_last_account_takes_its_socket_along(ws_api, stream, account):
    stream.add(account())

    stream.remove("f1")

    wait_until(lambda: not ws_api.lines)


def test_an_account_whose_key_changed_is_subscribed_anew(ws_api, stream, sink, account, exchange):
    stream.add(account(1))

    stream.add(exchange.open_connector("f1", credentials(2)))

    wait_until(lambda: [list(line.subscriptions.values()) for line in ws_api.lines] == [[key(2)]])
    ws_api.push(key(2), events()[-1])
    wait_until(lambda: isinstance(sink.all[-1].event, BalanceSnapshot))


def test_an_ended_subscription_is_renewed(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    line = ws_api.lines[0]
    line.subscriptions.clear()

    line.send({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})

    sink.take(StreamDown)
    sink.take(StreamUp)
    assert line.subscriptions == {1: key()}


def test_a_subscription_that_binance_does_not_list_is_not_believed(ws_api, stream, sink, account):
    subscribe = ws_api.on[SUBSCRIBE]
    attempts = []

    def forget_the_first(line, request):
        attempts.append(request)
        answer = subscribe(line, request)
        if len(attempts) == 1:
            line.subscriptions.clear()
        return answer

    ws_api.on[SUBSCRIBE] = forget_the_first

    stream.add(account())

    assert len(attempts) == 2
    sink.take(StreamUp)
    assert sink.is_empty


def test_a_subscription_whose_answer_was_lost_is_ended_and_made_anew(ws_api, open_stream, sink, account):
    timings = StreamTimings(socket=QUICK, answer=0.3, add=0.2, backoff_first=0.02, backoff_longest=0.1)
    stream = open_stream(timings)
    subscribe = ws_api.on[SUBSCRIBE]
    ws_api.on[SUBSCRIBE] = lambda line, request: subscribe(line, request) and None

    with pytest.raises(StreamInterrupted):
        stream.add(account())
    ws_api.on[SUBSCRIBE] = subscribe

    sink.take(StreamUp)
    assert list(ws_api.lines[0].subscriptions) != [0]


def test_while_the_exchange_is_away_add_says_so_and_keeps_trying(ws_api, stream, sink, account):
    ws_api.on[SUBSCRIBE] = lambda line, request: line.cut()
    with pytest.raises(StreamInterrupted):
        stream.add(account())

    ws_api.on[SUBSCRIBE] = ws_api.subscribe

    sink.take(StreamUp)


def test_a_half_open_socket_is_noticed(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    ws_api.silent = True

    sink.take(StreamDown, seconds=2)

    assert stream.last_proof_ns("f1") is None
    ws_api.silent = False
    sink.take(StreamUp)


def test_an_error_is_proof_of_life_as_well(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    ws_api.on["ping"] = lambda line, request: (400, {"code": -1000, "msg": "no"})
    before = stream.last_proof_ns("f1")

    wait_until(lambda: stream.last_proof_ns("f1") > before + 1_000_000_000)

    assert sink.is_empty


def test_a_probe_weighs_nothing_while_the_address_is_shut_out(exchange, ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    pings = []
    ws_api.on["ping"] = lambda line, request: pings.append(request) or {}
    exchange.limits.weight.block(60)
    before = stream.last_proof_ns("f1")

    wait_until(lambda: stream.last_proof_ns("f1") > before + 1_000_000_000)

    assert sink.is_empty and len(pings) <= 1


def test_the_successor_is_heard_before_the_old_connection_is_closed(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    old = ws_api.lines[0]

    old.send({"event": {"e": "serverShutdown", "E": 1}})
    wait_until(lambda: sum(len(line.subscriptions) for line in ws_api.lines) == 2)
    ws_api.push(key(), events()[-1])

    assert {sink.take(BalanceSnapshot).connection for _ in range(2)} == {"leader-a#1", "leader-a#2"}
    wait_until(lambda: old not in ws_api.lines)
    ws_api.push(key(), events()[-1])
    assert sink.take(BalanceSnapshot).connection == "leader-a#2"


def test_a_rotation_is_neither_down_nor_up(ws_api, open_stream, sink, account):
    socket = SocketTimings(rotate_after=0.15, rotate_jitter=0.02, probe_every=0.1, probe_answer=0.5)
    stream = open_stream(StreamTimings(socket=socket, overlap=0.05))
    stream.add(account())
    sink.take(StreamUp)

    wait_until(lambda: stream._made >= 6)

    assert sink.is_empty
    # An old one, its successor, and at most one that is just closing.
    assert len([one for one in threading.enumerate() if one.name.startswith("leader-a#")]) <= 3


def test_an_old_connection_stays_while_its_successor_fails(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    old = ws_api.lines[0]
    ws_api.on[SUBSCRIBE] = lambda line, request: line.cut()

    old.send({"event": {"e": "serverShutdown", "E": 1}})
    wait_until(lambda: stream._made >= 4)
    assert old in ws_api.lines and sink.is_empty
    ws_api.on[SUBSCRIBE] = ws_api.subscribe

    wait_until(lambda: old not in ws_api.lines)
    assert sink.is_empty


def test_an_event_that_cannot_be_read_is_a_gap(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    broken = events()[2]
    del broken["Z"]

    ws_api.push(key(), broken)

    assert "Z is missing" in sink.take(StreamDown).event.reason
    sink.take(StreamUp)


def test_events_that_do_not_matter_are_passed_over(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)

    ws_api.push(key(), {"e": "listStatus", "E": 1})
    ws_api.push(key(), {"e": "inventedLater", "E": 1})
    ws_api.push(key(), events()[-1])

    sink.take(BalanceSnapshot)


def test_of_two_hundred_accounts_a_dead_socket_moves_only_its_own_and_they_are_back_within_seconds(
    ws_api, open_stream, sink, account
):
    stream = open_stream(StreamTimings(socket=SocketTimings(), backoff_first=0.02))
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: stream.add(account(n)), range(1, 201)))
    for _ in range(200):
        sink.take(StreamUp)
    assert len(ws_api.lines) == 2

    ws_api.lines[0].cut()

    fallen = {sink.take(StreamDown).account_id for _ in range(100)}
    assert {sink.take(StreamUp).account_id for _ in range(100)} == fallen
    assert len(fallen) == 100
    assert sink.is_empty
    assert len(ws_api.lines) == 2


def test_a_stopped_stream_says_nothing_and_takes_nobody(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)

    stream.stop()

    assert sink.is_empty
    with pytest.raises(StreamInterrupted):
        stream.add(account(2))


def test_connects_stay_below_the_limit_of_the_address(exchange, ws_api, stream, sink, account):
    exchange.limits.connections.limit = 10
    ws_api.on[SUBSCRIBE] = lambda line, request: line.cut()
    with pytest.raises(StreamInterrupted):
        stream.add(account())

    wait_until(lambda: exchange.limits.connections.used == 4)  # followers may use 45 %

    with pytest.raises(StreamInterrupted):
        stream.add(account(2))
    assert exchange.limits.connections.used == 4


def test_a_leaders_connects_stay_below_the_limit_as_well(exchange, ws_api, stream):
    exchange.limits.connections.limit = 10
    ws_api.on[SUBSCRIBE] = lambda line, request: line.cut()
    with pytest.raises(StreamInterrupted):
        stream.add(exchange.open_connector("leader", credentials(1)))

    wait_until(lambda: exchange.limits.connections.used == 8)  # 85 %

    with pytest.raises(StreamInterrupted):
        stream.add(exchange.open_connector("leader", credentials(1)))
    assert exchange.limits.connections.used == 8


# --- for months --------------------------------------------------------------------------------------------


@pytest.fixture
def long_running(rest, ws_api):
    """An exchange whose time stands still until a test lets it pass."""
    clock = FakeClock()
    context = a_context(rest=rest.origin, ws_api=ws_api.url)
    opened = BinanceExchange(replace(context, clock=clock, exchange_clock=exchange_clock(clock)))
    yield opened, clock
    opened.close()


def pass_time(clock, seconds, is_quiet):
    """Let the clock go on in steps; after each, every probe that it made due has been answered."""
    while seconds > 0:
        step = min(seconds, 1800)
        seconds -= step
        clock.advance(step)
        wait_until(is_quiet)


def test_an_old_connection_stays_while_its_successor_does_not_carry_the_account(ws_api, stream, sink, account):
    stream.add(account())
    sink.take(StreamUp)
    old = ws_api.lines[0]
    refused = []
    ws_api.on[SUBSCRIBE] = lambda line, request: refused.append(1) or (500, {"code": -1000, "msg": "An error."})

    old.send({"event": {"e": "serverShutdown", "E": 1}})
    wait_until(lambda: len(refused) >= 8)  # far longer than the two run side by side
    assert old in ws_api.lines
    assert sink.is_empty
    ws_api.on[SUBSCRIBE] = ws_api.subscribe

    wait_until(lambda: old not in ws_api.lines)
    assert sink.is_empty


def test_two_streams_change_their_sockets_half_a_day_apart_before_their_day_is_over(long_running, ws_api, sink):
    exchange, clock = long_running
    timings = StreamTimings(answer=3600, overlap=0.05)  # the overlap alone is told by real time
    streams = [BinanceUserStream(exchange, sink, name, timings) for name in ("leader-a", "leader-b")]
    assert (StreamTimings().overlap, timings.socket.rotate_after) == (60, 23 * 3600)
    try:
        for stream in streams:
            stream.add(exchange.open_connector("leader", credentials(1)))

        def made(after_hours):
            """How many sockets each stream has opened after so many hours."""
            pass_time(clock, after_hours * 3600 - made.at, is_quiet)
            made.at = after_hours * 3600
            return [stream._made for stream in streams]

        def is_quiet():
            sockets = [carrier.socket for stream in streams for line in stream._lines for carrier in line.carriers]
            proven = all(clock.monotonic_ns() == one.last_proof_ns for one in sockets)
            return len(sockets) == 2 and proven and not any(one._probe_id or one.in_flight for one in sockets)

        made.at = 0

        assert [made(10.9), made(12.1), made(22.4), made(23.6), made(33.4), made(35.7)] == [
            [1, 1], [1, 2], [1, 2], [2, 2], [2, 2], [2, 3],
        ]  # fmt: skip
        assert [type(frame.event) for frame in sink.all] == [StreamUp, StreamUp]
    finally:
        for stream in streams:
            stream.stop()


def test_a_probe_goes_out_every_three_seconds_and_is_given_two_for_its_answer(long_running, ws_api, sink):
    exchange, clock = long_running
    pings = []
    ws_api.on["ping"] = lambda line, request: pings.append(request) or {}
    stream = BinanceUserStream(exchange, sink, "leader-a", StreamTimings(backoff_first=0.02))
    try:
        stream.add(exchange.open_connector("leader", credentials(1)))
        sink.take(StreamUp)
        (one,) = (carrier.socket for line in stream._lines for carrier in line.carriers)
        wait_until(lambda: not one.in_flight)
        clock.advance(2.9)
        wait_for_a_look(one)
        assert pings == []
        clock.advance(0.2)
        wait_until(lambda: len(pings) == 1 and not one._probe_id)

        ws_api.silent = True
        clock.advance(3.1)
        wait_until(lambda: one._probe_id)
        clock.advance(1.9)
        wait_for_a_look(one)
        assert sink.is_empty
        clock.advance(0.2)

        assert "no proof of life" in sink.take(StreamDown).event.reason
        ws_api.silent = False
    finally:
        stream.stop()


def wait_for_a_look(one):
    """Wait until the socket's thread has looked at the time once more."""
    looks = []
    probe = one._probe
    one._probe = lambda now: (probe(now), looks.append(now))
    wait_until(lambda: len(looks) >= 2)
    one._probe = probe


@pytest.mark.slow
def test_a_hundred_rotations_under_load_lose_nothing_and_leave_no_thread(exchange, ws_api, sink):
    socket = SocketTimings(rotate_after=0.15, rotate_jitter=0.05, probe_every=0.2, probe_answer=2)
    timings = StreamTimings(socket=socket, overlap=0.1, backoff_first=0.02)
    streams = [BinanceUserStream(exchange, sink, name, timings) for name in ("leader-a", "leader-b")]
    template = events()[2]
    pushed = 0
    try:
        for stream in streams:
            stream.add(exchange.open_connector("leader", credentials(1)))
        while min(stream._made for stream in streams) < 51:
            pushed += 1
            for line in list(ws_api.lines):
                with contextlib.suppress(ConnectionClosed):  # it was just let go
                    line.push(key(), {**template, "I": pushed, "t": pushed})
            threading.Event().wait(0.005)

        def heard(name):
            return {
                frame.event.execution_id
                for frame in list(sink.all)
                if isinstance(frame.event, ExecutionReport) and frame.connection.startswith(name)
            }

        wait_until(lambda: heard("leader-a") == heard("leader-b") == set(range(1, pushed + 1)))
        assert pushed > 500
        assert [type(frame.event) for frame in sink.all if not isinstance(frame.event, ExecutionReport)] == [
            StreamUp, StreamUp,
        ]  # fmt: skip
        names = [thread.name for thread in threading.enumerate()]
        assert len([name for name in names if name.startswith(("leader-a#", "leader-b#"))]) <= 8
    finally:
        for stream in streams:
            stream.stop()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("leader-")]
    assert left == []


@pytest.mark.slow
def test_five_hundred_drops_in_the_time_of_the_limit_stay_below_it_for_all_sockets_together(exchange, ws_api, sink):
    """Five minutes pass in ten seconds; leader, followers and order sockets draw on the one limit."""
    window_sec = 10.0
    exchange.limits.connections = Budget(exchange.context.clock, "Binance", limit=300, window_sec=window_sec)
    opened = []
    serve = ws_api.subscribe

    def drop(line, request):
        serve(line, request)
        line.cut()

    ws_api.on_open = lambda line: opened.append(time.monotonic())
    timings = StreamTimings(socket=SocketTimings(), backoff_first=0.001, backoff_longest=0.002, add=60)
    names = ("leader-a", "leader-b", "followers")
    streams = [BinanceUserStream(exchange, sink, name, timings) for name in names]
    ws_api.on[SUBSCRIBE] = drop
    try:
        for stream, account_id in zip(streams, ("leader", "leader", "f1"), strict=True):
            threading.Thread(
                target=add_quietly, args=(stream, exchange.open_connector(account_id, credentials(1))), daemon=True
            ).start()
        wait_until(lambda: len(opened) >= 250 and time.monotonic() - opened[0] > 2.2 * window_sec, 60)

        within = [sum(start <= each < start + window_sec for each in opened) for start in opened]
        assert 250 <= max(within) <= 300
        assert len(opened) > 500
        ws_api.on[SUBSCRIBE] = serve
        wait_until(lambda: all(stream.last_proof_ns("leader") for stream in streams[:2]), 2 * window_sec)
    finally:
        for stream in streams:
            stream.stop()


def add_quietly(stream, connector):
    with contextlib.suppress(StreamInterrupted):
        stream.add(connector)


def test_a_leader_connects_when_followers_have_used_up_their_share_of_the_connections(exchange, ws_api, sink, account):
    exchange.limits.connections.limit = 20
    timings = StreamTimings(socket=QUICK, answer=1, add=1, backoff_first=0.01, backoff_longest=0.02)
    followers, leader = (BinanceUserStream(exchange, sink, name, timings) for name in ("followers", "leader-a"))
    opened = []
    ws_api.on_open = lambda line: opened.append(time.monotonic())
    ws_api.on[SUBSCRIBE] = lambda line, request: (
        line.cut() if request["params"]["apiKey"] == key(1) else ws_api.subscribe(line, request)
    )
    try:
        add_quietly(followers, account(1))
        wait_until(lambda: time.monotonic() - opened[-1] > 0.5)  # they do not try any more
        assert len(opened) >= 5
        leader.add(exchange.open_connector("leader", credentials(2)))

        assert leader.last_proof_ns("leader")
    finally:
        followers.stop()
        leader.stop()
