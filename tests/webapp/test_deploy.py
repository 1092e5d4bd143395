"""The files of deploy/ as they are, around a real panel: nginx with TLS in front, gunicorn on a Unix socket behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from changing_engine import Engine
from copytrade_core.control.server import ControlServer
from memory_exchange import until
from panel_process import Browser, free_port, running_panel

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
MISSING = [name for name, found in {"nginx": NGINX, "openssl": shutil.which("openssl")}.items() if not found]
if MISSING and os.environ.get("COPYTRADE_REQUIRE_NGINX"):
    raise RuntimeError(f"needed here and missing: {', '.join(MISSING)}")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A server's certificate that it signed itself, and a client authority with one client."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", folder=folder)  # fmt: skip
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=our clients", folder=folder)
    openssl("req", *key[:-2], "-keyout", "client.key", "-out", "client.csr", "-subj", "/CN=office", folder=folder)
    openssl("x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "client.crt", folder=folder)  # fmt: skip
    return folder


def nginx_config(folder, certificates, port, panel_socket, client_certificates):
    """Return deploy/nginx.conf with this test's addresses in it, inside the smallest nginx.conf around it."""
    site = (DEPLOY / "nginx.conf").read_text()
    for place, here in {
        "unix:/run/copytrade-panel/panel.sock": f"unix:{panel_socket}",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "copytrade.example.org": "localhost",
        "/etc/ssl/certs/copytrade.crt": str(certificates / "server.crt"),
        "/etc/ssl/private/copytrade.key": str(certificates / "server.key"),
        "/etc/copytrade/client-ca.crt": str(certificates / "ca.crt"),
        "/var/log/nginx/copytrade.log": str(folder / "access.log"),
        # The port is a test's; a real site has 443, which no browser names.
        "$host;": f"localhost:{port};",
    }.items():
        assert place in site, place
        site = site.replace(place, here)
    if client_certificates:
        site, count = re.subn(r"# (ssl_(?:client_certificate|verify_client) )", r"\1", site)
        assert count == 2
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;\n"
        f"{'user root;' if os.geteuid() == 0 else ''} events {{ worker_connections 512; }}\n"
        f"http {{ {temporary}\n{site} }}\n"
    )


@pytest.fixture
def site(tmp_path, certificates, request):
    """nginx, gunicorn and an engine, with the environment of deploy/copytrade.env as far as it goes."""
    client_certificates = getattr(request, "param", False)
    engine, data_dir, port = Engine(), tmp_path / "data", free_port()
    data_dir.mkdir(mode=0o700)
    environ = {"PANEL_PUBLIC_URL": f"https://localhost:{port}", "PANEL_BEHIND_PROXY": "on"}
    if client_certificates:
        environ |= {"APP_MODE": "device_whitelist", "TLS_CLIENT_CA": str(certificates / "ca.crt")}
    config = tmp_path / "nginx.conf"
    config.write_text(nginx_config(tmp_path, certificates, port, tmp_path / "panel.sock", client_certificates))
    with ExitStack() as stack:
        stack.enter_context(ControlServer(engine, data_dir))
        panel = stack.enter_context(running_panel(data_dir, f"unix:{tmp_path}/panel.sock", **environ))
        nginx = subprocess.Popen([NGINX, "-c", config, "-e", tmp_path / "error.log", "-p", tmp_path])
        stack.callback(nginx.wait, 10)
        stack.callback(nginx.terminate)
        browser = Browser(f"https://localhost:{port}", verify=str(certificates / "server.crt"))
        stack.callback(browser.close)
        until(lambda: _answers(browser), 10)
        yield SimpleNamespace(
            engine=engine, panel=panel, browser=browser, folder=tmp_path, certificates=certificates, data_dir=data_dir
        )


def _answers(browser):
    try:
        return browser.call("GET", "/livez").status_code == 200
    except requests.ConnectionError:
        return False


def test_a_browser_works_through_the_proxy_with_cookie_and_stream(site):
    site.browser.log_in(site.panel.login_code)

    stream = site.browser.stream(sslopt={"ca_certs": str(site.certificates / "server.crt")})

    (cookie,) = site.browser.http.cookies
    assert cookie.name.startswith("__Host-")
    assert cookie.secure
    assert json.loads(stream.recv())["type"] == "snapshot"
    assert site.browser.call("GET", "/api/v1/status").json()["running"] is True
    stream.close()


def test_the_answer_says_to_come_by_tls_from_now_on(site):
    assert "max-age=" in site.browser.call("GET", "/login").headers["Strict-Transport-Security"]


def test_metrics_are_not_for_the_world_and_no_log_line_carries_a_query(site):
    assert site.browser.call("GET", "/metrics").status_code == 404
    site.browser.call("GET", "/api/v1/status?token=planted-secret-0815")

    access_log = site.folder / "access.log"
    until(lambda: "/api/v1/status" in access_log.read_text(), 5)

    assert "planted-secret-0815" not in access_log.read_text() + site.panel.log()


def test_the_panels_socket_is_for_the_proxys_group_and_its_files_for_nobody(site):
    assert (site.folder / "panel.sock").stat().st_mode & 0o777 == 0o770
    for path in site.data_dir.glob("panel*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("site", [True], indirect=True, ids=["client-certificates"])
def test_a_client_certificate_is_a_device_that_must_be_approved_and_cannot_be_claimed_by_a_header(site, request):
    browser = site.browser
    with_certificate = Browser(browser.url, verify=browser.http.verify)
    request.addfinalizer(with_certificate.close)
    with_certificate.http.cert = (str(site.certificates / "client.crt"), str(site.certificates / "client.key"))
    with_certificate.log_in(site.panel.login_code)
    pending = with_certificate.call("GET", "/api/v1/status")
    assert pending.status_code == 403
    assert pending.json()["kind"] == "device_pending"

    environ = {**os.environ, "DATA_DIR": str(site.data_dir)}
    (device,) = json.loads(subprocess.check_output(_devices("list", "--json"), env=environ))["devices"]
    assert device["state"] == "PENDING"
    subprocess.check_call(_devices("approve", device["id"]), env=environ, stdout=subprocess.DEVNULL)

    assert with_certificate.call("GET", "/api/v1/status").status_code == 200
    # The same session without the certificate, claiming to have shown it.
    browser.http.cookies = with_certificate.http.cookies
    certificate = (site.certificates / "client.crt").read_text()
    claimed = {"X-Client-Verify": "SUCCESS", "X-Client-Cert": requests.utils.quote(certificate, safe="")}
    assert browser.call("GET", "/api/v1/status", **claimed).status_code in (401, 403)


def _devices(*arguments):
    program = (
        "from copytrade_core.cli.main import main; from copytrade_webapp.commands.devices import devices;"
        "main.add_command(devices); main()"
    )
    return [sys.executable, "-c", program, "devices", *arguments]


def test_the_units_are_what_systemd_understands():
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed here")
    units = [DEPLOY / "copytrade-engine.service", DEPLOY / "copytrade-panel.service"]

    said = subprocess.run([verify, "verify", *units], capture_output=True, text=True).stderr

    # That the programs are not installed here is no fault of the units.
    assert [line for line in said.splitlines() if "is not executable" not in line] == []


def test_slow_and_silent_clients_hold_nobody_else_up(site):
    """As many as the panel has threads, and more: gunicorn by itself would stop at that."""
    port = int(site.browser.url.rpartition(":")[2])
    trusting = ssl.create_default_context(cafile=str(site.certificates / "server.crt"))
    half_header = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    half_body = (
        f"POST /api/v1/session HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
        'Content-Length: 500\r\n\r\n{"token": "'
    ).encode()
    with ExitStack() as stack:
        for number in range(240):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            if number % 6 == 0:  # the others never say hello
                wrapped = stack.enter_context(trusting.wrap_socket(raw, server_hostname="localhost"))
                wrapped.sendall(half_body if number % 12 else half_header)

        began = time.monotonic()
        assert site.browser.log_in(site.panel.login_code)["logged_in"]
        assert site.browser.call("GET", "/api/v1/status").json()["running"] is True
        assert time.monotonic() - began < 2
