"""The panel's access over real sockets: what a peer says of itself, and what only the proxy may say of others."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from contextlib import ExitStack, closing
from types import SimpleNamespace

import pytest

from changing_engine import Engine
from client_certificate import certificate
from copytrade_core.control.server import ControlServer
from copytrade_webapp.access.store import PanelStore
from panel_process import free_port, running_panel

PROXY = "127.0.0.1"
STRANGER = "127.0.0.2"  # on this machine, too, but not the address that a proxy comes from
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a second loopback address by itself")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A panel behind a proxy on this machine, for registered devices alone, with one approved certificate."""
    folder = tmp_path_factory.mktemp("site")
    data_dir, authority = folder / "data", folder / "ca.crt"
    data_dir.mkdir(mode=0o700)
    authority.touch()
    environ = {"APP_MODE": "device_whitelist", "PANEL_BEHIND_PROXY": "on", "TLS_CLIENT_CA": str(authority)}
    with ExitStack() as stack:
        stack.enter_context(ControlServer(Engine(), data_dir))
        panel = stack.enter_context(running_panel(data_dir, f"127.0.0.1:{free_port()}", **environ))
        store = PanelStore(data_dir / "panel.db")
        stack.callback(store.close)
        _, token = store.add_token("program")
        host = panel.url.removeprefix("http://")
        site = SimpleNamespace(panel=panel, store=store, token=token, host=host, certificate=certificate())
        assert ask(site, PROXY, **shown(site)) == (403, "device_pending")
        store.approve_device(store.list_devices()[0].id, "test")
        yield site


def shown(site):
    return {"X-Client-Verify": "SUCCESS", "X-Client-Cert": site.certificate}


def ask(site, peer, path="/api/v1/devices", method="GET", body=None, **headers):
    """Return status and kind of the answer to a program at *peer*."""
    headers = {"Authorization": f"Bearer {site.token}", **headers}
    if body is not None:
        headers["Content-Type"] = "application/json"
    host, _, port = site.host.partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=20, source_address=(peer, 0))) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    is_json = answer.headers.get_content_type().endswith("json")
    return answer.status, json.loads(content).get("kind") if is_json else None


def raw(site, request, peer=PROXY):
    """Send bytes as they are; return the status line."""
    host, _, port = site.host.partition(":")
    with socket.create_connection((host, int(port)), 20, (peer, 0)) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode("latin-1"))
        return connection.makefile("rb").readline().decode()


def test_a_program_gets_in_by_token_and_certificate_through_the_proxy_alone(site):
    assert ask(site, PROXY, **shown(site))[0] == 200
    assert ask(site, STRANGER, **shown(site)) == (401, "device_proof_required")
    assert ask(site, STRANGER, **shown(site), **{"X-Forwarded-For": PROXY}) == (401, "device_proof_required")


@pytest.mark.parametrize(
    "lines",
    [
        "X_Client_Verify: SUCCESS\nX_Client_Cert: {}",
        "X-Client_Verify: SUCCESS\nX_Client-Cert: {}",
        "X-Client-Verify: NONE\nX-Client-Verify: SUCCESS\nX-Client-Cert: {}",
        "X-Client-Verify: SUCCESS\nX-Client-Verify: NONE\nX-Client-Cert: {}",
        "X-Client-Verify: SUCCESS\nX-Client-Cert: {0}\nX-Client-Cert: {0}",
        "X-Client-Verify: NONE\nX_Client_Verify: SUCCESS\nX-Client-Cert: {}",
    ],
    ids=range(6),
)
def test_no_spelling_of_the_proxys_headers_says_more_than_the_proxy(site, lines):
    """A proxy sets its own spelling; whatever else a browser sends comes along."""
    said = lines.format(site.certificate)
    status = raw(
        site, f"GET /api/v1/status HTTP/1.1\nHost: {site.host}\nAuthorization: Bearer {site.token}\n{said}\n\n"
    )
    assert status.split()[1] in ("400", "401"), status


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        ("GET /login HTTP/1.1\nHost: evil.example\n\n", ("421",)),
        ("GET http://evil.example/login HTTP/1.1\nHost: evil.example\n\n", ("400", "421")),
        ("GET /login HTTP/1.1\nHost: {host}\nHost: evil.example\n\n", ("400", "421")),
        ("GET /login HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: {host}\n\n", ("421",)),
        ("GET /login HTTP/1.1\nHost: evil.example\nForwarded: host={host}\n\n", ("421",)),
        ("GET /login HTTP/1.1\n\n", ("400", "421")),
        ("GET /login HTTP/1.0\n\n", ("400", "421")),
        ("GET /login HTTP/1.1\nHost: {host}\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil.example\n\n", ("200",)),
    ],
)
def test_the_name_that_counts_is_the_one_that_was_asked(site, request_, statuses):
    assert raw(site, request_.replace("{host}", site.host)).split()[1] in statuses


def test_a_guesser_is_known_by_his_own_address_whatever_he_says(site):
    def guess(peer, said):
        return ask(
            site, peer, "/api/v1/session", "POST", {"token": "ctp_guess"}, Authorization="", **{"X-Forwarded-For": said}
        )[0]

    assert [guess(STRANGER, f"198.51.100.{number}") for number in range(12)] == [401] * 10 + [429] * 2
    # What stands before the proxy's own word was brought along.
    assert guess(PROXY, f"{STRANGER}, 203.0.113.7") == 401
    assert {row.address for row in site.store.list_audit() if row.what == "login_refused"} == {STRANGER, "203.0.113.7"}


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer \x01\x02",
        "Authorization: Bearer " + "a" * 8000,
        "Authorization: DPoP " + "a." * 2000,
        "DPoP: \xff\xfe",
        "Cookie: copytrade_session=" + "a" * 8000,
        "Cookie: copytrade_session=\xff; copytrade_session=b",
        "Authorization: Bearer",
        "Authorization:",
        "Idempotency-Key: " + "\xe9" * 200,
        "Content-Length: -1",
        "Transfer-Encoding: chunked\nContent-Length: 5",
    ],
    ids=range(11),
)
def test_strange_headers_are_refused_and_break_nothing(site, header):
    status = raw(site, f"POST /api/v1/copy/start HTTP/1.1\nHost: {site.host}\nConnection: close\n{header}\n\n0\n\n")
    assert 400 <= int(status.split()[1]) < 500, status
    assert "Traceback" not in site.panel.log()


def test_no_secret_is_in_what_the_panel_says_of_itself(site):
    for path in (f"/api/v1/status?token={site.token}", f"/nothing?{site.token}"):
        ask(site, STRANGER, path)
    assert site.token not in site.panel.log() and site.certificate[30:90] not in site.panel.log()
