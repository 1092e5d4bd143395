import json
import logging
import queue
import threading
from dataclasses import dataclass, field, replace

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from copytrade_bitget import private_socket
from copytrade_bitget.private_socket import Pulse
from copytrade_bitget.signing import Signer
from copytrade_core.connector import StreamDown, StreamUp
from copytrade_core.errors import AuthenticationFailed, StreamInterrupted
from copytrade_core.model import AccountId, BalanceSnapshot, Credentials, ExecutionReport

SETTINGS = "/api/v3/account/settings"
QUICK = Pulse(connect=2, ping=0.05, pong=0.3, look=0.05, first_retry=0.02, longest_retry=0.1)


@dataclass
class FakeSockets:
    """Bitget's private sockets: signs in, acknowledges, answers ``ping``, pushes what the test says."""

    login: dict = field(default_factory=lambda: {"event": "login", "code": 0, "connId": "x"})
    before_ack: list = field(default_factory=list)
    answers_ping: bool = True
    acknowledges: bool = True
    paths: list = field(default_factory=list)
    received: list = field(default_factory=list)
    open: list = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self):
        quiet = logging.getLogger("fake-bitget-sockets")
        quiet.disabled = True
        self._server = serve(self._serve, "127.0.0.1", 0, logger=quiet)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self):
        for connection in list(self.open):
            connection.close()
        self._server.shutdown()
        self._thread.join()

    def push(self, raw):
        self.open[-1].send(raw)

    def _serve(self, connection):
        with self.changed:
            self.paths.append(connection.request.path)
            self.open.append(connection)
            self.changed.notify_all()
        try:
            for raw in connection:
                with self.changed:
                    self.received.append(raw)
                    self.changed.notify_all()
                self._answer(connection, raw)
        except ConnectionClosed:
            pass
        finally:
            with self.changed:
                self.open.remove(connection)
                self.changed.notify_all()

    def _answer(self, connection, raw):
        if raw == "ping":
            if self.answers_ping:
                connection.send("pong")
            return
        message = json.loads(raw)
        if message["op"] == "login":
            connection.send(json.dumps(self.login))
            if self.login["event"] == "error":
                connection.close()
        elif self.acknowledges:
            for early in self.before_ack:
                connection.send(early)
            for topic in message["args"]:
                connection.send(json.dumps({"event": "subscribe", "arg": topic}))


@pytest.fixture
def sockets():
    fake = FakeSockets()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def exchange(bitget, sockets, exchange_clock, helpers, payload):
    bitget.on(SETTINGS, helpers.answer(payload("wrong_mode_classic_key"), 400))
    bitget.on("/api/v2/spot/account/assets", helpers.answer(payload("classic_assets")))
    bitget.on("/api/v3/account/assets", helpers.answer(payload("unified_assets")))
    opened = helpers.open_exchange(bitget.url, exchange_clock, ws=sockets.url)
    opened._stream_address.pulse = QUICK
    yield opened
    opened.close()


@pytest.fixture
def frames():
    return queue.Queue()


@pytest.fixture
def stream(exchange, frames):
    opened = exchange.open_user_stream(frames.put, "followers")
    yield opened
    opened.stop()


def events(frames, *kinds):
    """Return the next frames, which must bring *kinds* in this order."""
    found = [frames.get(timeout=5) for _ in kinds]
    assert [type(frame.event) for frame in found] == list(kinds)
    return found


def test_a_classic_account_signs_in_and_hears_balances_and_orders(
    stream, sockets, connector, frames, helpers, payload, exchange_clock
):
    stream.add(connector)
    sockets.push(payload("push_classic_account").decode())
    sockets.push(payload("push_classic_orders").decode())

    up, _, balance, order = events(frames, StreamUp, BalanceSnapshot, BalanceSnapshot, ExecutionReport)
    assert up.account_id == balance.account_id == connector.account_id
    assert balance.event.free("USDT") == 100000
    assert order.event.client_order_id == "ct1"
    assert json.loads(order.raw) == json.loads(payload("push_classic_orders"))
    assert sockets.paths == ["/v2/ws/private"]
    login, subscribe = [json.loads(raw) for raw in sockets.received if raw != "ping"]
    sent = login["args"][0]
    assert sent == Signer(Credentials(helpers.secrets)).login(int(sent["timestamp"]))
    assert abs(int(sent["timestamp"]) - exchange_clock.now_ms() / 1000) < 5
    assert [topic["channel"] for topic in subscribe["args"]] == ["account", "orders"]
    assert stream.last_proof_ns(connector.account_id) is not None


def test_a_unified_account_uses_the_unified_socket(stream, sockets, bitget, connector, frames, helpers, payload):
    bitget.on(SETTINGS, helpers.answer(payload("unified_settings")))

    stream.add(connector)
    sockets.push(payload("push_unified_account").decode())
    sockets.push(payload("push_unified_order").decode())

    _, balance, order = events(frames, StreamUp, BalanceSnapshot, ExecutionReport)
    assert balance.event.time_ms == 1740546523244
    assert order.event.filled_base > 0
    assert sockets.paths == ["/v3/ws/private"]


@pytest.mark.parametrize("code", [0, "0", "00000"])
def test_the_login_is_acknowledged_by_a_number_or_a_text(stream, sockets, connector, code):
    sockets.login = {"event": "login", "code": code}

    stream.add(connector)

    assert stream.last_proof_ns(connector.account_id)


def test_a_push_before_the_last_acknowledgement_comes_after_stream_up(stream, sockets, connector, frames, payload):
    sockets.before_ack = [payload("push_classic_account").decode()]

    stream.add(connector)

    events(frames, StreamUp, BalanceSnapshot, BalanceSnapshot)


def test_the_text_ping_is_sent_and_its_pong_is_proof(stream, sockets, connector):
    stream.add(connector)
    first = stream.last_proof_ns(connector.account_id)

    with sockets.changed:
        assert sockets.changed.wait_for(lambda: sockets.received.count("ping") >= 4, timeout=5)
    assert stream.last_proof_ns(connector.account_id) > first


def test_a_silent_socket_is_replaced(stream, sockets, connector, frames):
    stream.add(connector)
    sockets.answers_ping = False

    _, down = events(frames, StreamUp, StreamDown)
    sockets.answers_ping = True

    assert "silent" in down.event.reason
    events(frames, StreamUp)
    assert stream.last_proof_ns(connector.account_id)


def test_a_closed_socket_is_opened_again_under_another_name(stream, sockets, connector, frames):
    stream.add(connector)
    sockets.open[-1].close()

    first, _, second = events(frames, StreamUp, StreamDown, StreamUp)

    assert first.connection != second.connection
    assert sum('"subscribe"' in raw for raw in sockets.received) == 2


def test_a_push_that_cannot_be_read_takes_the_stream_down_honestly(stream, sockets, connector, frames):
    stream.add(connector)
    sockets.push('{"arg":{"channel":"account"},"data":[{"coin":"BTC","available":"NaN"}]}')

    events(frames, StreamUp, StreamDown, StreamUp)


def test_channels_that_nobody_asked_for_are_passed_over(stream, sockets, connector, frames, payload):
    stream.add(connector)
    sockets.push('{"arg":{"channel":"fill"},"data":[{}]}')
    sockets.push(payload("push_classic_orders").decode())

    events(frames, StreamUp, ExecutionReport)


def test_a_change_of_family_changes_the_socket(stream, sockets, bitget, connector, frames, helpers, payload):
    stream.add(connector)
    bitget.on(SETTINGS, helpers.answer(payload("unified_settings")))

    connector.detect_family()

    events(frames, StreamUp, StreamDown, StreamUp)
    assert sockets.paths == ["/v2/ws/private", "/v3/ws/private"]


def test_a_key_that_the_socket_refuses_is_given_up_only_if_rest_refuses_it_too(
    stream, sockets, bitget, connector, helpers
):
    sockets.login = {"event": "error", "code": "30011", "msg": "Invalid ACCESS_KEY"}
    with pytest.raises(StreamInterrupted):
        stream.add(connector)
    stream.remove(connector.account_id)
    bitget.on("/api/v2/spot/account/assets", helpers.refusal("40006", "Invalid ACCESS_KEY"))

    with pytest.raises(AuthenticationFailed) as caught:
        stream.add(connector)

    assert caught.value.kind == "invalid_key"
    assert stream.last_proof_ns(connector.account_id) is None


def test_when_the_first_attempt_fails_it_keeps_trying(stream, sockets, connector, frames):
    sockets.login = {"event": "error", "code": 30014, "msg": "expired"}
    with pytest.raises(StreamInterrupted) as caught:
        stream.add(connector)
    sockets.login = {"event": "login", "code": 0}

    assert caught.value.kind == "clock_skewed"
    events(frames, StreamUp)


def test_an_address_has_so_many_sockets_and_no_more(exchange, stream, connector, helpers, frames, monkeypatch):
    monkeypatch.setattr(private_socket, "MAX_SOCKETS", 1)
    stream.add(connector)
    other = exchange.open_connector(AccountId("another"), Credentials(helpers.secrets))
    second = exchange.open_user_stream(frames.put, "second")

    with pytest.raises(StreamInterrupted) as caught:
        second.add(other)
    stream.remove(connector.account_id)
    second.add(other)
    second.stop()

    assert caught.value.kind == "no_socket_left"


def test_a_removed_account_delivers_nothing_and_leaves_no_thread(stream, sockets, connector, frames):
    stream.add(connector)
    events(frames, StreamUp)

    stream.remove(connector.account_id)

    with sockets.changed:
        assert sockets.changed.wait_for(lambda: not sockets.open, timeout=5)
    assert frames.empty()
    assert stream.last_proof_ns(connector.account_id) is None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("followers-")]
    stream.remove(AccountId("unknown"))


def test_a_socket_is_replaced_before_its_day_is_over_without_a_gap(exchange, stream, sockets, connector, frames):
    exchange._stream_address.pulse = replace(QUICK, rotate=0.3)
    stream.add(connector)

    with sockets.changed:
        assert sockets.changed.wait_for(lambda: len(sockets.paths) >= 3, timeout=10)

    events(frames, StreamUp)
    assert frames.empty()


def test_a_socket_that_never_acknowledges_is_not_up(exchange, stream, sockets, connector):
    exchange._stream_address.pulse = replace(QUICK, connect=0.2)
    sockets.acknowledges = False

    with pytest.raises(StreamInterrupted):
        stream.add(connector)

    assert stream.last_proof_ns(connector.account_id) is None


def test_proxies_from_the_environment_are_ignored(stream, connector, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    stream.add(connector)
