"""The same sockets over TLS, where reading and writing share one OpenSSL object."""

import queue
import ssl
import subprocess
import threading

import certifi
import pytest

from copytrade_binance.connector import BinanceExchange
from copytrade_core.errors import StreamInterrupted
from copytrade_core.model import OrderAck
from fake_binance import FakeWsApi, a_buy, a_context, credentials, recorded, wait_until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=a -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.fixture
def secure(certificate):
    fake = FakeWsApi(certificate[1])
    yield fake
    fake.close()


@pytest.fixture
def exchange(secure):
    opened = BinanceExchange(a_context(rest="http://127.0.0.1:1", ws_api=secure.url))
    yield opened
    opened.close()


def filled(line, request):
    return recorded("order_full") | {"clientOrderId": request["params"]["newClientOrderId"]}


def test_a_burst_over_tls_is_answered_while_more_is_being_written(exchange, secure, certificate, gate, monkeypatch):
    monkeypatch.setattr(certifi, "where", lambda: str(certificate[0]))
    secure.on["order.place"] = filled
    exchange.warm_up([])
    wait_until(lambda: exchange.gateway.ready == 2)
    outcomes = queue.Queue()

    def burst(first):
        orders = [
            exchange.open_connector(f"f{n}", credentials(n)).prepare_market_order(a_buy(f"ct-{n}"))
            for n in range(first, first + 40)
        ]
        exchange.gateway.submit(orders, gate, lambda prepared, outcome: outcomes.put(outcome))

    threads = [threading.Thread(target=burst, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(isinstance(outcomes.get(timeout=5), OrderAck) for _ in range(120))


def test_no_socket_is_opened_to_whom_nobody_vouches_for(exchange, secure, gate):
    stream = exchange.open_user_stream(lambda frame: None, "leader-a")

    with pytest.raises(StreamInterrupted) as caught:
        stream.add(exchange.open_connector("f1", credentials()))

    stream.stop()
    assert "certificate" in caught.value.message
    assert secure.requests.empty()
