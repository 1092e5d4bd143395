"""What came of a request, over real sockets: never sent, refused, or nobody knows."""

import contextlib
import datetime
import socket
import ssl
import subprocess
import threading
import time

import pytest

from copytrade_binance import rest as rest_module
from copytrade_binance.connector import BinanceExchange
from copytrade_core.errors import (
    AuthenticationFailed,
    ClockSkewed,
    NotSent,
    OutcomeUnknown,
    RateLimited,
)
from fake_binance import NOW_MS, a_buy, a_context, credentials, ok, recorded

ORDER = "/api/v3/order"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(rest_module, "ANSWER_SEC", 0.3)


def place(connector, gate):
    return connector.place(connector.prepare_market_order(a_buy()), gate)


def test_an_order_is_a_signed_body_and_nothing_in_the_url(rest, connector, gate):
    rest.on[ORDER] = ok(recorded("order_full"))

    ack = place(connector, gate)

    (request,) = rest.requests
    assert (request.method, request.query) == ("POST", "")
    assert request.headers["X-MBX-APIKEY"] == connector.signer.api_key
    body, signature = request.body.rsplit("&signature=", 1)
    assert signature == connector.signer.sign(body)
    assert body.startswith(
        "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=100&newClientOrderId=cp-1-7"
        "&newOrderRespType=FULL&recvWindow=3000&timestamp=1764"
    )
    assert ack.report.fills_complete and gate.passed == 1


def test_a_shut_gate_lets_nothing_leave(rest, connector, gate):
    gate.is_shut = True

    with pytest.raises(NotSent):
        place(connector, gate)

    assert rest.requests == []


def test_the_gate_is_not_held_while_the_answer_is_awaited(rest, connector, gate):
    inside = threading.Event()
    left = threading.Event()

    class Watched:
        def __enter__(self):
            inside.set()

        def __exit__(self, *_):
            left.set()

    gate.passage = lambda prepared: Watched()

    def answer(request):
        assert inside.is_set() and left.wait(2)
        return ok(recorded("order_full"))

    rest.on[ORDER] = answer

    assert place(connector, gate)


# --- N: never left ---


def test_a_refused_connection_is_not_sent(ws_api, gate):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    exchange = BinanceExchange(a_context(rest=f"http://127.0.0.1:{port}", ws_api=ws_api.url))

    with pytest.raises(NotSent) as caught:
        place(exchange.open_connector("a", credentials()), gate)

    assert caught.value.retry and gate.passed == 0


def test_a_host_without_an_address_is_not_sent(ws_api, gate):
    exchange = BinanceExchange(a_context(rest="http://no-such-host.invalid", ws_api=ws_api.url))

    with pytest.raises(NotSent):
        place(exchange.open_connector("a", credentials()), gate)


def test_a_connect_that_hangs_is_not_sent(monkeypatch, ws_api, gate):
    monkeypatch.setattr(rest_module, "CONNECT_SEC", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as first, socket.socket() as more:
        port = server.getsockname()[1]
        first.connect(("127.0.0.1", port))
        more.setblocking(False)
        more.connect_ex(("127.0.0.1", port))
        exchange = BinanceExchange(a_context(rest=f"http://127.0.0.1:{port}", ws_api=ws_api.url))

        with pytest.raises(NotSent):
            place(exchange.open_connector("a", credentials()), gate)


def test_a_certificate_that_nobody_vouches_for_stops_everything(tmp_path, ws_api, gate):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=a -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            taken, _ = server.accept()
            with taken, contextlib.suppress(OSError):
                context.wrap_socket(taken, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        origin = f"https://127.0.0.1:{server.getsockname()[1]}"
        exchange = BinanceExchange(a_context(rest=origin, ws_api=ws_api.url))

        with pytest.raises(NotSent) as caught:
            place(exchange.open_connector("a", credentials()), gate)

        thread.join()
    assert (caught.value.retry, caught.value.kind) == (False, "bad_certificate")
    assert gate.passed == 0


# --- U: nobody knows ---


def say(text):
    def raw(request, connection):
        connection.sendall(text.encode())

    return raw


def reset(request, connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(reset, id="reset"),
        pytest.param(lambda request, connection: connection.shutdown(socket.SHUT_RDWR), id="closed"),
        pytest.param(say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}"), id="short-body"),
        pytest.param(say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), id="html"),
        pytest.param(say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), id="empty"),
        pytest.param(say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"), id="another-shape"),
        pytest.param(say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), id="nothing-in-it"),
        pytest.param(say("garbage\r\n\r\n"), id="no-http"),
    ],
)
def test_an_order_without_a_readable_answer_is_unknown_and_not_sent_twice(rest, connector, gate, raw):
    rest.raw = raw

    with pytest.raises(OutcomeUnknown):
        place(connector, gate)

    assert len(rest.requests) == 1


def test_a_stale_connection_is_not_papered_over_by_a_second_send(rest, connector, gate):
    rest.on[ORDER] = ok(recorded("order_full"))
    place(connector, gate)
    rest.raw = reset

    with pytest.raises(OutcomeUnknown):
        place(connector, gate)

    assert len(rest.requests) == 2


@pytest.mark.parametrize("where", ["head", "body"])
def test_bytes_that_drip_do_not_hold_a_thread_for_ever(rest, connector, gate, quick, where):
    def drip(request, connection):
        head = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
        if where == "body":
            connection.sendall(head.encode())
        try:
            for _ in range(100):
                connection.sendall(b"X")
                time.sleep(0.02)
        except OSError:
            pass

    rest.raw = drip
    started = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        place(connector, gate)

    assert time.monotonic() - started < 1


def test_an_answer_that_never_comes_is_unknown(rest, connector, gate, quick):
    over = threading.Event()
    rest.raw = lambda request, connection: over.wait(5)

    with pytest.raises(OutcomeUnknown):
        place(connector, gate)

    over.set()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(rest, connector, gate, status):
    rest.on[ORDER] = (status, {"Location": f"{rest.origin}/elsewhere"}, b"")

    with pytest.raises(OutcomeUnknown):
        place(connector, gate)

    assert [request.path for request in rest.requests] == [ORDER]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("content", [b"", b"<html>", b'{"code":-1021,"msg":""}', b'{"code":-2010,"msg":""}'])
def test_a_server_error_is_unknown_whatever_it_says(rest, connector, gate, status, content):
    rest.on[ORDER] = (status, {}, content)

    with pytest.raises(OutcomeUnknown):
        place(connector, gate)


# --- R: refused ---


def http_date(offset_sec):
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=offset_sec)
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"Retry-After": "1"}, 1, id="seconds"),
        pytest.param({"Retry-After": "3600"}, 3600, id="an-hour"),
        pytest.param({"Retry-After": http_date(30), "Date": http_date(0)}, 30, id="a-date"),
        pytest.param({"Retry-After": "soon"}, 60, id="rubbish"),
        pytest.param({"Retry-After": "-5"}, 60, id="negative"),
        pytest.param({"Retry-After": "999999999"}, 259_200, id="absurd"),
        pytest.param({}, 60, id="missing"),
    ],
)
def test_over_the_limit_nothing_more_leaves_until_the_time_is_up(rest, connector, gate, headers, seconds):
    # The stand-in sets its own Date unless one is given first.
    rest.raw = say(
        "HTTP/1.1 429 Too Many\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        + 'Content-Length: 27\r\n\r\n{"code":-1003,"msg":"many"}'
    )

    with pytest.raises(RateLimited) as caught:
        place(connector, gate)
    with pytest.raises(RateLimited):
        place(connector, gate)

    assert caught.value.retry_after_sec == seconds
    assert caught.value.whole_address and not caught.value.banned
    assert len(rest.requests) == 1


def test_a_ban_silences_reads_as_well(rest, connector, gate):
    rest.on[ORDER] = ok({"code": -1003, "msg": "banned"}, 418, Retry_After="120")

    with pytest.raises(RateLimited) as caught:
        place(connector, gate)
    with pytest.raises(RateLimited):
        connector.balances()

    assert caught.value.banned and len(rest.requests) == 1


def test_too_many_orders_of_one_account_slow_nobody_else(rest, connector, gate):
    rest.on[ORDER] = ok({"code": -1015, "msg": "Too many new orders"}, 429, Retry_After="3")
    rest.on["/api/v3/account"] = ok(recorded("account"))

    with pytest.raises(RateLimited) as caught:
        place(connector, gate)

    assert (caught.value.retry_after_sec, caught.value.whole_address) == (3, False)
    assert connector.balances()


def test_the_firewall_and_the_country_are_told_apart(rest, connector, gate):
    rest.on[ORDER] = (403, {}, b"<html>")
    with pytest.raises(RateLimited) as caught:
        place(connector, gate)
    assert (caught.value.kind, caught.value.banned) == ("firewall", True)

    rest.on[ORDER] = ok({"code": 0, "msg": "Service unavailable from a restricted location"}, 451)
    with pytest.raises(AuthenticationFailed) as refused:
        place(connector, gate)
    assert (refused.value.kind, refused.value.ours) == ("region", True)


def test_used_weight_in_the_headers_fills_the_budget(rest, exchange):
    rest.on["/api/v3/time"] = ok({"serverTime": NOW_MS}, X_MBX_USED_WEIGHT_1M="4321")

    assert exchange.server_time_ms() == NOW_MS
    assert exchange.limits.weight.used == 4321


def test_an_unmeasured_clock_prepares_no_order(rest, ws_api):
    context = a_context(rest=rest.origin, ws_api=ws_api.url)
    context.exchange_clock._offset_ms = None
    connector = BinanceExchange(context).open_connector("a", credentials())

    with pytest.raises(ClockSkewed):
        connector.prepare_market_order(a_buy())


# --- secrets and surroundings ---


def test_proxies_and_cookies_are_not_taken(rest, connector, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    rest.on["/api/v3/account"] = ok(recorded("account"), Set_Cookie="a=b")

    connector.balances()
    connector.balances()

    assert rest.requests[1].headers["Cookie"] is None


def test_no_error_and_no_log_line_holds_a_signature(rest, connector, gate, quick, caplog):
    caplog.set_level("DEBUG")
    signatures = []

    def raw(request, connection):
        signatures.append(request.params["signature"])

    rest.raw = raw
    for act in (connector.balances, lambda: place(connector, gate)):
        with pytest.raises(OutcomeUnknown) as caught:
            act()
        error = caught.value
        seen = "".join(map(repr, (error, error.__cause__, error.__context__, vars(error)))) + caplog.text
        assert not any(signature in seen for signature in signatures)
        assert connector.signer.api_key not in seen
    assert len(signatures) == 2


def test_each_request_bears_its_own_accounts_key(rest, exchange):
    rest.on["/api/v3/account"] = ok(recorded("account"))

    for number in (1, 2):
        exchange.open_connector(f"f{number}", credentials(number)).balances()

    assert [request.headers["X-MBX-APIKEY"][-1] for request in rest.requests] == ["1", "2"]
