import socket
import ssl
import threading
import time

import pytest

from copytrade_bitget import transport
from copytrade_bitget.transport import Transport
from copytrade_core.errors import NotSent, OutcomeUnknown

PATH = "/order"


@pytest.fixture
def http(bitget):
    opened = Transport(bitget.url, connections=8)
    yield opened
    opened.close()


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(transport, "READ_TIMEOUT_SEC", 0.2)
    monkeypatch.setattr(transport, "DEADLINE_SEC", 0.5)


def post(http, **how):
    return http.send("POST", PATH, {"ACCESS-SIGN": "planted-signature"}, b"{}", **how)


def test_the_body_and_the_query_leave_exactly_as_given(bitget, http, helpers):
    bitget.on(PATH, helpers.answer(b"ok"))

    http.send("POST", f"{PATH}?b=1&a=x,y", {"X": "1"}, b'{"a":1}')

    assert (bitget.seen[0].target, bitget.seen[0].body) == (f"{PATH}?b=1&a=x,y", b'{"a":1}')


def test_connections_are_kept_alive(bitget, http, helpers):
    bitget.on(PATH, helpers.answer(b"ok"))

    for _ in range(5):
        post(http)

    assert bitget.connections == 1


def test_a_connection_that_closes_after_reading_is_unknown_and_the_post_leaves_once(bitget, http, helpers):
    bitget.on(PATH, helpers.answer(b"ok"), None)
    post(http)

    with pytest.raises(OutcomeUnknown):
        post(http)

    assert len(bitget.posts()) == 2
    assert bitget.connections == 1


def test_a_fresh_connection_that_closes_after_reading_is_unknown_and_the_post_leaves_once(bitget, http):
    bitget.on(PATH, None)

    with pytest.raises(OutcomeUnknown):
        post(http)

    assert len(bitget.posts()) == 1


def test_a_reset_after_reading_is_unknown_and_the_post_leaves_once(bitget, http):
    def reset(seen, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    bitget.on(PATH, reset)

    with pytest.raises(OutcomeUnknown):
        post(http)

    assert len(bitget.posts()) == 1


def test_a_refused_connection_was_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    http = Transport(f"http://127.0.0.1:{port}", connections=1)

    with pytest.raises(NotSent) as caught:
        post(http)

    assert (caught.value.retry, caught.value.kind) == (True, "cannot_connect")


def test_an_unknown_host_was_not_sent():
    http = Transport("http://nowhere.invalid", connections=1)

    with pytest.raises(NotSent) as caught:
        post(http)

    assert caught.value.retry


def test_a_connection_that_is_never_taken_was_not_sent(monkeypatch):
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_SEC", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):  # more than the backlog holds, so that the next one's handshake hangs
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        http = Transport(f"http://127.0.0.1:{full.getsockname()[1]}", connections=1)

        with pytest.raises(NotSent) as caught:
            post(http)

        for filler in fillers:
            filler.close()
    assert caught.value.kind == "connect_timeout"


def test_a_bad_certificate_was_not_sent_and_is_not_tried_again(tmp_path):
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection, pytest.raises(OSError):
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        http = Transport(f"https://127.0.0.1:{listener.getsockname()[1]}", connections=1)

        with pytest.raises(NotSent) as caught:
            post(http)

        thread.join()
    assert (caught.value.retry, caught.value.kind) == (False, "bad_certificate")


def test_an_answer_that_does_not_come_is_unknown(bitget, http, hurried):
    released = threading.Event()
    bitget.on(PATH, lambda seen, connection: released.wait(5) and None)

    with pytest.raises(OutcomeUnknown) as caught:
        post(http)

    released.set()
    assert caught.value.kind == "no_answer"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"])
def test_an_answer_that_drips_is_unknown_at_the_deadline(bitget, http, hurried, head):
    stopped = threading.Event()

    def drip(seen, connection):
        connection.sendall(head)
        while not stopped.wait(0.05):
            connection.sendall(b"x")

    bitget.on(PATH, drip)
    began = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        post(http)

    stopped.set()
    assert 0.4 < time.monotonic() - began < 2


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", id="short-body"),
        pytest.param(b"rubbish\r\n\r\n", id="no-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", id="not-gzip"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (transport.MAX_ANSWER_BYTES + 1), id="too-long"),
    ],
)
def test_a_broken_answer_is_unknown_and_the_post_leaves_once(bitget, http, raw):
    def send_and_close(seen, connection):
        connection.sendall(raw)

    bitget.on(PATH, send_and_close)

    with pytest.raises(OutcomeUnknown) as caught:
        post(http)

    assert len(bitget.posts()) == 1
    assert "planted" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(bitget, http, helpers, status):
    bitget.on(PATH, helpers.answer(b"", status, f"Location: {bitget.url}/elsewhere\r\n"))

    assert post(http).status == status
    assert len(bitget.seen) == 1


def test_cookies_are_not_sent_back(bitget, http, helpers):
    bitget.on(PATH, helpers.answer(b"ok", 200, "Set-Cookie: a=b\r\n"))

    post(http)
    post(http)

    assert "cookie" not in bitget.seen[1].headers


def test_the_environments_proxies_are_ignored(bitget, http, helpers, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    bitget.on(PATH, helpers.answer(b"ok"))

    assert post(http).body == b"ok"


def test_the_passage_is_left_before_the_answer_comes(bitget, http, helpers, gate):
    inside_while_answering = []

    def slow(seen, connection):
        deadline = time.monotonic() + 5
        while gate.inside.is_set() and time.monotonic() < deadline:
            time.sleep(0.001)
        inside_while_answering.append(gate.inside.is_set())
        return helpers.answer(b"ok")

    bitget.on(PATH, slow)

    post(http, passage=gate.passage(None))

    assert inside_while_answering == [False]
    assert gate.passed == 1


def test_a_shut_gate_lets_no_byte_out(bitget, http, helpers):
    class Shut:
        def __enter__(self):
            raise NotSent("stopped", retry=False, kind="stopped")

        def __exit__(self, *_):
            return None

    bitget.on(PATH, helpers.answer(b"ok"))

    with pytest.raises(NotSent) as caught:
        post(http, passage=Shut())
    assert caught.value.kind == "stopped"

    post(http)
    assert len(bitget.seen) == 1


def test_the_keeper_goes_round_while_an_order_takes_the_freshest(bitget, http, helpers):
    ports = []

    def note(seen, connection):
        ports.append(connection.getpeername()[1])
        return helpers.answer(b"ok")

    bitget.on(PATH, note)

    for _ in range(6):
        http.send("GET", PATH, {}, keep_open=3)
    post(http)

    assert len(set(ports)) == bitget.connections == 3
    assert ports[0:3] == ports[3:6]
    assert ports[6] == ports[5]


def self_signed(folder):
    from datetime import UTC, datetime, timedelta
    from ipaddress import IPv4Address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "self-signed.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_over_tls_an_order_passes_the_gate_too(tmp_path, monkeypatch, gate):
    certificate = self_signed(tmp_path)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    posts = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as secure:
                for _ in range(2):
                    received = b""
                    while not received.endswith(b"\r\n\r\n{}"):
                        received += secure.recv(4096)
                    posts.append(received)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=serve)
        thread.start()
        http = Transport(f"https://127.0.0.1:{listener.getsockname()[1]}", connections=1)

        bodies = [post(http, passage=gate.passage(None)).body for _ in range(2)]

        thread.join()
        http.close()
    assert bodies == [b"ok", b"ok"]
    assert len(posts) == gate.passed == 2
