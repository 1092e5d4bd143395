"""The live stream over a real socket: who may follow it, what it says, and how it ends."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import websocket

from changing_engine import Engine
from copytrade_core.control.server import ControlServer
from copytrade_webapp.access.store import PanelStore
from memory_exchange import until
from panel_process import Browser


@pytest.fixture
def stage(tmp_path, panel_on):
    engine, data_dir = Engine(), tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    with ExitStack() as stack:
        stack.enter_context(ControlServer(engine, data_dir))
        panel = stack.enter_context(panel_on(data_dir, WS_HEARTBEAT_SEC="1"))
        browser = Browser(panel.url)
        stack.callback(browser.close)
        browser.log_in(panel.login_code)
        yield SimpleNamespace(engine=engine, panel=panel, browser=browser, data_dir=data_dir)


def read_until(stream, kind, condition=lambda message: True):
    for _ in range(200):
        message = json.loads(stream.recv())
        if message["type"] == kind and condition(message):
            return message
    raise AssertionError(f"no {kind} came")


def refused(browser, **options):
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        browser.stream(**options)
    return caught.value.status_code


def test_a_page_sees_the_picture_and_then_what_changes(stage):
    stream = stage.browser.stream()
    assert stream.subprotocol == "ct.v1"
    # The hub may have greeted before it knew the engine: then the picture comes as a second snapshot.
    read_until(stream, "accounts", lambda message: len(message["accounts"]) == 3)

    stage.engine.change(1, name="renamed")

    message = read_until(stream, "accounts", lambda message: message["accounts"][0]["name"] == "renamed")
    assert [row["id"] for row in message["accounts"]] == ["account-1"]
    stream.close()


def test_a_silent_stream_says_that_it_is_alive(stage):
    stream = stage.browser.stream()

    assert read_until(stream, "beat")["seq"] > 0

    stream.close()


def test_a_ticket_opens_one_stream_and_no_second_one(stage):
    ticket = stage.browser.ticket()
    first = stage.browser.stream(ticket)

    assert refused(stage.browser, ticket=ticket) == 401
    assert refused(stage.browser, ticket="made-up") == 401

    first.close()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_no_page_but_the_panels_own_follows_the_stream(stage, origin):
    assert refused(stage.browser, ticket=stage.browser.ticket(), origin=origin) == 403


def test_a_restart_of_the_panel_ends_the_streams_at_once_with_the_code_for_it(stage):
    stream = stage.browser.stream()
    read_until(stream, "snapshot")

    stage.panel.process.terminate()

    code = None
    while code is None:
        opcode, data = stream.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big")
    assert code == 1012
    assert stage.panel.process.wait(15) == 0


def test_more_windows_than_one_person_has_are_refused_and_requests_still_answered(stage):
    streams = [stage.browser.stream() for _ in range(6)]

    assert refused(stage.browser) == 503
    assert stage.browser.call("GET", "/api/v1/status").status_code == 200

    streams.pop().close()
    until(lambda: _opens(stage.browser), 10)
    for stream in streams:
        stream.close()


def _opens(browser):
    try:
        browser.stream().close()
    except websocket.WebSocketBadStatusException:
        return False
    return True


def test_who_talks_on_the_stream_is_shown_out(stage):
    stream = stage.browser.stream()

    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        for _ in range(40):
            stream.send("hello?")
        while True:
            opcode, data = stream.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                assert int.from_bytes(data[:2], "big") == 1008
                raise websocket.WebSocketConnectionClosedException("closed")


def test_a_logged_out_browser_gets_no_ticket_and_its_stream_ends(stage):
    stream = stage.browser.stream()
    read_until(stream, "snapshot")
    ended = threading.Event()

    def follow():
        try:
            while stream.recv_data()[0] != websocket.ABNF.OPCODE_CLOSE:
                pass
        except websocket.WebSocketException:
            pass
        ended.set()

    follower = threading.Thread(target=follow)
    follower.start()

    assert stage.browser.call("DELETE", "/api/v1/session").status_code in (200, 204)

    assert ended.wait(10)
    follower.join()
    assert stage.browser.call("POST", "/api/v1/stream/ticket").status_code == 401


def test_handshakes_that_fail_use_up_no_streams(stage):
    for _ in range(8):
        answer = stage.browser.call(
            "GET",
            "/api/v1/stream",
            Connection="Upgrade",
            Upgrade="websocket",
            **{"Sec-WebSocket-Protocol": f"ct.v1, ticket.{stage.browser.ticket()}"},  # and neither key nor version
        )
        assert answer.status_code >= 400

    stage.browser.stream().close()


def test_a_token_revoked_on_the_command_line_ends_its_streams(stage):
    store = PanelStore(stage.data_dir / "panel.db")
    stream = stage.browser.stream()
    read_until(stream, "snapshot")

    store.revoke_token(store.list_tokens()[0].id)
    store.close()

    code = None
    while code is None:
        opcode, data = stream.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big")
    assert code == 4401
    assert stage.browser.call("POST", "/api/v1/stream/ticket").status_code == 401
