"""The local socket, over real sockets: a trader on one side, its remote twin on the other."""

from __future__ import annotations

import json
import os
import queue
import stat
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect, unix_connect

from copytrade_core.control import server as server_module
from copytrade_core.control.client import RemoteCopyTrader
from copytrade_core.control.protocol import Address
from copytrade_core.control.server import ControlServer
from copytrade_core.errors import (
    ConfigError,
    CopytradeError,
    EngineNotRunning,
    InvalidRequest,
    NotFound,
    RateLimited,
)
from copytrade_core.model import Environment, Side
from copytrade_core.views import (
    CopyState,
    FeedEvent,
    LeaderOrderState,
    LeaderOrderView,
    MetricsView,
    StatusView,
    VerifyView,
)
from fake_trader import FakeTrader, a_copy, an_account
from memory_exchange import until

NO_METRICS = MetricsView(
    running=False,
    halted=False,
    leader_connections=0,
    unsettled=0,
    needs_person=0,
    journal_queue=0,
    journal_write_sec=0.0,
    copies={},
    accounts={},
    latency={},
)


@pytest.fixture
def trader() -> FakeTrader:
    return FakeTrader()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture(params=[True, False], ids=["unix", "loopback"])
def server(trader: FakeTrader, data_dir: Path, request: pytest.FixtureRequest) -> Iterator[ControlServer]:
    with ControlServer(trader, data_dir, unix=request.param) as server:
        yield server


@pytest.fixture
def remote(server: ControlServer, data_dir: Path) -> Iterator[RemoteCopyTrader]:
    with RemoteCopyTrader.connect(data_dir) as remote:
        yield remote


def raw(data_dir: Path) -> Any:
    address = Address.read(data_dir)
    assert address is not None
    return unix_connect(address.socket, "ws://localhost/").__enter__()


def test_views_arrive_exactly_as_they_were(remote: RemoteCopyTrader, trader: FakeTrader) -> None:
    order = LeaderOrderView(
        id="event",
        t="2026-11-22T14:00:00.000Z",
        exchange="binance",
        env=Environment.TEST,
        symbol="BTC/USDT",
        order_id="1",
        client_order_id="x",
        side=Side.SELL,
        order_type="MARKET",
        status="FILLED",
        filled_base=Decimal("0.12345678"),
        filled_quote=Decimal("12345.10"),
        state=LeaderOrderState.COPIED,
        share=Fraction(1, 7),
        copies=(a_copy(1), a_copy(2, state=CopyState.SKIPPED)),
    )
    status = StatusView(running=True, followers=(an_account(1),), recent_events=(order,))
    trader.answers = {"status": status, "list_events": [order], "get_leader": None, "remove_account": None}

    assert remote.status() == status
    assert remote.list_events(limit=3, before="x") == [order]
    assert remote.get_leader() is None
    assert remote.remove_account("a") is None
    assert [trader.calls.get(timeout=1) for _ in range(2)][1] == ("list_events", {"limit": 3, "before": "x"})


def test_a_verify_that_fails_is_an_answer_and_not_an_error(remote: RemoteCopyTrader, trader: FakeTrader) -> None:
    trader.answers["verify_account"] = VerifyView(ok=False, error_kind="invalid_key", error="refused")

    assert remote.verify_account("a") == VerifyView(ok=False, error_kind="invalid_key", error="refused")


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("the name is taken", field="name"),
        NotFound("there is no such account"),
        RateLimited("slow down", retry_after_sec=3, whole_address=True, exchange="binance", code="-1003"),
        CopytradeError("something", kind="special"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_class_kind_and_details(
    remote: RemoteCopyTrader, trader: FakeTrader, error: CopytradeError
) -> None:
    trader.answers["get_account"] = error

    with pytest.raises(type(error)) as caught:
        remote.get_account("a")

    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert {**vars(error), "kind": error.kind}.items() <= {**vars(caught.value), "kind": caught.value.kind}.items()


def test_a_plugins_own_error_arrives_as_the_nearest_known_one(remote: RemoteCopyTrader, trader: FakeTrader) -> None:
    class Odd(NotFound):
        kind = "odd"

    trader.answers["get_account"] = Odd("odd")

    with pytest.raises(NotFound, match="odd") as caught:
        remote.get_account("a")

    assert caught.value.kind == "odd"


def test_what_was_not_meant_to_be_told_stays_in_the_log(
    remote: RemoteCopyTrader, trader: FakeTrader, caplog: pytest.LogCaptureFixture
) -> None:
    trader.answers["status"] = RuntimeError("a detail")

    with pytest.raises(CopytradeError) as caught:
        remote.status()

    assert "a detail" not in str(caught.value)
    assert caught.value.kind == "internal"
    assert "a detail" in caplog.text


def test_wrong_arguments_are_refused_without_repeating_them(remote: RemoteCopyTrader, trader: FakeTrader) -> None:
    with pytest.raises(TypeError):
        remote.get_account(wrong="a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="credentials must be") as caught:
        remote.add_account("n", "binance", "test", {"api_secret": 123456})  # type: ignore[dict-item]
    assert "123456" not in str(caught.value)
    with pytest.raises(TypeError, match="limit must be int"):
        remote.list_events(limit="all")  # type: ignore[arg-type]
    assert trader.calls.empty()


def test_calls_overlap_and_stop_never_queues_behind_slow_ones(remote: RemoteCopyTrader, trader: FakeTrader) -> None:
    release = threading.Event()

    def slow(account_id: str) -> VerifyView:
        assert release.wait(10)
        return VerifyView(ok=True, uid=account_id)

    trader.answers |= {"verify_account": slow, "stop_copying": False, "get_leader": None, "preview_event": []}
    trader.answers["metrics"] = NO_METRICS
    answers: queue.Queue[str] = queue.Queue()
    threads = [
        threading.Thread(target=lambda number=number: answers.put(remote.verify_account(f"{number}").uid))
        for number in range(server_module.CALLS_AT_ONCE + 4)
    ]
    for thread in threads:
        thread.start()
    for _ in range(server_module.CALLS_AT_ONCE):
        trader.calls.get(timeout=5)

    assert remote.stop_copying() is False
    assert remote.get_leader() is None
    assert remote.preview_event("1") == []
    assert remote.metrics() == NO_METRICS

    release.set()
    assert sorted(answers.get(timeout=5) for _ in threads) == sorted(f"{number}" for number in range(len(threads)))
    for thread in threads:
        thread.join()


def test_stop_is_taken_even_when_too_many_calls_wait(
    remote: RemoteCopyTrader, trader: FakeTrader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CALLS_WAITING", 1)
    release = threading.Event()
    trader.answers |= {
        "verify_account": lambda account_id: release.wait(10) and VerifyView(ok=True),
        "stop_copying": False,
    }
    with RemoteCopyTrader.connect(remote._data_dir) as panel:
        thread = threading.Thread(target=panel.verify_account, args=("a",))
        thread.start()
        trader.calls.get(timeout=5)

        with pytest.raises(CopytradeError, match="too many calls"):
            panel.list_accounts()
        assert panel.stop_copying() is False

        release.set()
        thread.join()


def test_feed_events_reach_everybody_who_subscribed(
    remote: RemoteCopyTrader, trader: FakeTrader, data_dir: Path
) -> None:
    heard: queue.Queue[FeedEvent] = queue.Queue()
    also: queue.Queue[FeedEvent] = queue.Queue()
    end = remote.subscribe(heard.put)
    remote.subscribe(also.put)
    with RemoteCopyTrader.connect(data_dir) as other:
        elsewhere: queue.Queue[FeedEvent] = queue.Queue()
        other.subscribe(elsewhere.put)
        event = FeedEvent(seq=1, t="t", kind="alarm", text="闹钟", data={"n": Decimal("0.00000001")})

        for handler in list(trader.handlers):
            handler(event)

        assert {each.get(timeout=5).seq for each in (heard, also, elsewhere)} == {1}
    end()
    trader.handlers[0](FeedEvent(seq=2, t="t", kind="alarm", text=""))
    assert also.get(timeout=5).seq == 2
    assert heard.empty()


def test_a_client_that_does_not_read_its_feed_is_dropped_and_holds_up_nobody(
    trader: FakeTrader, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "FEED_BACKLOG", 10)
    monkeypatch.setattr(server_module, "SEND_TIMEOUT_SEC", 1)
    big = FeedEvent(seq=1, t="t", kind="alarm", text="x" * 100_000)
    with ControlServer(trader, data_dir), RemoteCopyTrader.connect(data_dir) as good:
        heard: queue.Queue[FeedEvent] = queue.Queue()
        stuck = raw(data_dir)
        stuck.recv_flow_control.acquire()  # reads nothing any more
        stuck.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscribe"}))
        deadline = time.monotonic() + 10
        while not trader.handlers and time.monotonic() < deadline:
            time.sleep(0.01)
        [push] = trader.handlers
        good.subscribe(heard.put)

        started = time.monotonic()
        for _ in range(40):
            push(big)
        took = time.monotonic() - started
        trader.handlers[1](big)

        assert took < 0.5
        assert heard.get(timeout=5) == big
        while len(trader.handlers) > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(trader.handlers) == 1
        stuck.recv_flow_control.release()
        with pytest.raises(ConnectionClosed):
            while True:
                stuck.recv(timeout=5)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", -32700),
        ("[]", -32600),
        ('{"jsonrpc": "2.0", "method": "status"}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "method": "subscribed"}', -32601),
        ('{"jsonrpc": "2.0", "id": 1, "method": "close"}', -32601),
        ('{"jsonrpc": "2.0", "id": 1, "method": "__init__"}', -32601),
        ('{"jsonrpc": "2.0", "id": 1, "method": "get_account", "params": ["a"]}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "get_account", "params": {}}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "get_account", "params": {"account_id": 1}}', -32602),
    ],
)
def test_malformed_calls_get_the_errors_of_json_rpc(trader: FakeTrader, data_dir: Path, sent: str, code: int) -> None:
    with ControlServer(trader, data_dir), raw(data_dir) as connection:
        connection.send(sent)

        assert json.loads(connection.recv(timeout=5))["error"]["code"] == code


def test_a_thousand_accounts_cross_in_one_answer(remote: RemoteCopyTrader, trader: FakeTrader) -> None:
    accounts = [an_account(number) for number in range(1000)]
    trader.answers["list_accounts"] = accounts

    started = time.monotonic()
    answer = remote.list_accounts()

    print(f"1,000 accounts took {time.monotonic() - started:.3f} s")
    assert answer == accounts


def test_an_answer_that_is_too_large_says_so(
    remote: RemoteCopyTrader, trader: FakeTrader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LARGEST_ANSWER", 10_000)
    trader.answers |= {"list_accounts": [an_account(number) for number in range(100)], "stop_copying": False}

    with pytest.raises(CopytradeError, match="too large"):
        remote.list_accounts()

    assert remote.stop_copying() is False


def test_socket_and_address_are_for_the_owner_alone(server: ControlServer, data_dir: Path) -> None:
    address = Address.read(data_dir)
    assert address is not None
    assert address.pid == os.getpid()
    assert stat.S_IMODE((data_dir / "engine.addr").stat().st_mode) == 0o600
    if address.socket:
        assert stat.S_IMODE(Path(address.socket).stat().st_mode) == 0o600


def test_on_loopback_the_token_is_asked_for(trader: FakeTrader, data_dir: Path) -> None:
    with ControlServer(trader, data_dir, unix=False):
        address = Address.read(data_dir)
        assert address is not None
        url = f"ws://127.0.0.1:{address.port}/"

        for headers in ({}, {"Authorization": "Bearer wrong"}):
            with pytest.raises(InvalidStatus), connect(url, additional_headers=headers, proxy=None):
                pass
        shown = {"Authorization": f"Bearer {address.token}", "Origin": "http://localhost"}
        with pytest.raises(InvalidStatus), connect(url, additional_headers=shown, proxy=None):
            pass


def test_a_path_too_long_for_a_socket_works_all_the_same(trader: FakeTrader, tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 30)
    data_dir.mkdir(mode=0o700)
    trader.answers["stop_copying"] = False

    with ControlServer(trader, data_dir) as server, RemoteCopyTrader.connect(data_dir) as remote:
        assert remote.stop_copying() is False
        path = Path(server.address)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    assert not path.parent.exists()


def test_a_directory_that_others_can_change_is_refused(trader: FakeTrader, data_dir: Path) -> None:
    data_dir.chmod(0o777)

    with pytest.raises(ConfigError, match="chmod 700"):
        ControlServer(trader, data_dir).start()


def test_a_dead_engines_socket_is_replaced(trader: FakeTrader, data_dir: Path) -> None:
    (data_dir / "engine.sock").touch()
    trader.answers["stop_copying"] = False

    with ControlServer(trader, data_dir), RemoteCopyTrader.connect(data_dir) as remote:
        assert remote.stop_copying() is False


def test_without_an_engine_the_client_says_since_when(trader: FakeTrader, data_dir: Path) -> None:
    with pytest.raises(EngineNotRunning, match="no engine has run"):
        RemoteCopyTrader.connect(data_dir)
    with ControlServer(trader, data_dir):
        pass
    at = time.time() - 3600
    os.utime(data_dir / "engine.addr", (at, at))

    with pytest.raises(EngineNotRunning, match=time.strftime("last alive at %Y-%m-%d %H:%M:%S", time.localtime(at))):
        RemoteCopyTrader.connect(data_dir)


def test_an_engine_that_goes_away_ends_waiting_and_later_calls(trader: FakeTrader, data_dir: Path) -> None:
    release = threading.Event()
    trader.answers["verify_account"] = lambda account_id: release.wait(10) and VerifyView(ok=True)
    server = ControlServer(trader, data_dir)
    server.start()
    remote = RemoteCopyTrader.connect(data_dir)
    failures: queue.Queue[Exception] = queue.Queue()

    def ask() -> None:
        try:
            remote.verify_account("a")
        except EngineNotRunning as error:
            failures.put(error)

    thread = threading.Thread(target=ask)
    thread.start()
    trader.calls.get(timeout=5)
    assert remote.connected
    server.stop()

    assert "lost" in str(failures.get(timeout=5))
    assert remote.wait_lost(5)
    with pytest.raises(EngineNotRunning):
        remote.status()
    release.set()
    server.join()
    remote.close()
    thread.join()


def test_nothing_is_left_running(trader: FakeTrader, data_dir: Path) -> None:
    before = set(threading.enumerate())
    trader.answers["stop_copying"] = False

    with ControlServer(trader, data_dir), RemoteCopyTrader.connect(data_dir) as remote:
        remote.subscribe(print)
        remote.stop_copying()

    # The library's own threads end by themselves, a moment after their connection.
    until(lambda: set(threading.enumerate()) == before)
    assert trader.handlers == []
