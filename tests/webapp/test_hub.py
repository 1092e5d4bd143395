"""The picture that all open panels share: a snapshot first, then what is new, at each viewer's own pace."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from decimal import Decimal
from types import SimpleNamespace

import pytest

from changing_engine import Engine, an_order
from copytrade_core.control.server import ControlServer
from copytrade_core.errors import JournalError
from copytrade_core.views import AccountState, BalanceView, CopyState
from copytrade_webapp import hub as module
from copytrade_webapp.engine_link import EngineLink, EngineState
from copytrade_webapp.hub import LiveHub
from fake_trader import FakeTrader, a_copy, an_account
from memory_exchange import until


@pytest.fixture
def stage(tmp_path):
    """An engine behind its socket, and a hub that follows it."""
    engine, data_dir = Engine(), tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    with ExitStack() as stack:
        link = EngineLink(data_dir)
        hub = LiveHub(link, "BTC/USDT")

        def serve():
            server = ControlServer(engine, data_dir)
            server.start()
            stack.callback(server.close)
            return server

        server = serve()
        hub.start()
        link.start()
        stack.callback(link.stop)
        stack.callback(hub.stop)
        yield SimpleNamespace(engine=engine, hub=hub, link=link, server=server, serve=serve)


class Page:
    """What a browser keeps of the messages, and the messages themselves."""

    def __init__(self, hub, label="session:1"):
        self.hub, self.viewer = hub, hub.join(label)
        self.messages, self.accounts, self.events = [], {}, {}
        self.status, self.engine, self.undecided, self.feed = None, {}, [], []

    def read(self):
        for text in self.hub.take(self.viewer):
            message = json.loads(text)
            assert message["seq"] == len(self.messages) + 1
            self.messages.append(message)
            match message["type"]:
                case "snapshot":
                    self.accounts, self.events, self.feed = {}, {}, []
                    self.status, self.engine = message["status"], message["engine"]
                case "accounts":
                    self.accounts |= {row["id"]: row for row in message["accounts"]}
                case "removed":
                    for each in message["ids"]:
                        self.accounts.pop(each, None)
                case "events":
                    self.events |= {row["id"]: row for row in message["events"]}
                case "undecided":
                    self.undecided = message["undecided"]
                case "feed":
                    self.feed += message["feed"]
                case "engine":
                    self.engine = message["engine"]
                case "status":
                    self.status = message["status"]
        return self

    def until(self, condition):
        return until(lambda: condition(self.read()), 10)


@pytest.fixture
def page(stage):
    shown = Page(stage.hub)
    shown.until(lambda page: len(page.accounts) == 3 and page.events)
    return shown


def test_a_viewer_begins_with_everything_and_amounts_are_texts(page):
    assert page.status["running"] is True
    assert page.engine["connected"] is True
    assert page.accounts["account-1"]["freeUSDT"] == "0.00000001"
    assert page.events["1"]["filled_quote"] == "6400"
    assert "copies" not in page.events["1"]


def test_only_the_account_that_changed_is_sent(stage, page):
    before = len(page.messages)

    stage.engine.change(1, state=AccountState.PAUSED, paused=True)

    page.until(lambda page: page.accounts["account-1"]["state"] == "PAUSED")
    sent = [row["id"] for message in page.messages[before:] for row in message.get("accounts", ())]
    assert set(sent) == {"account-1"}


def test_many_changes_while_a_viewer_is_slow_become_its_latest_state(stage, page):
    other = Page(stage.hub, "session:2")
    for round_ in range(20):
        stage.engine.change(2, name=f"name {round_}")
    other.until(lambda page: page.accounts.get("account-2", {}).get("name") == "name 19")
    before = len(page.messages)

    page.read()

    rows = [row["name"] for message in page.messages[before:] for row in message.get("accounts", ())]
    assert rows == ["name 19"]


def test_a_removed_account_goes(stage, page):
    stage.engine.remove(0)

    page.until(lambda page: set(page.accounts) == {"account-1", "account-2"})


def test_a_leader_order_appears_with_its_feed_entry_and_what_waits_for_a_person(stage, page):
    stage.engine.orders.append(an_order(2, tally={"FAILED": 1}))
    stage.engine.undecided = [a_copy(1, event_id="2", state=CopyState.FAILED, is_open=True)]

    stage.engine.tell("copy", event_id="2", account_id="account-1", state="FAILED")

    page.until(lambda page: "2" in page.events and page.feed)
    assert page.events["2"]["fail"] == 1
    assert [copy["id"] for copy in page.undecided] == ["copy-1"]
    assert page.feed[-1]["data"]["state"] == "FAILED"


def test_an_engine_that_goes_is_told_with_since_when_and_its_return_is_a_new_picture(stage, page):
    stage.server.close()

    page.until(lambda page: page.engine["connected"] is False)
    assert page.engine["since"].endswith("Z")

    stage.engine.accounts = {"account-7": an_account(7)}
    stage.engine.changed = {"account-7": 1}
    stage.serve()
    page.until(lambda page: page.engine["connected"] and set(page.accounts) == {"account-7"})


def test_figures_age_while_nothing_changes(stage, page, monkeypatch):
    balance = BalanceView(asset="USDT", free=Decimal(5), locked=Decimal(0), age_sec=2.5, source="read")
    stage.engine.change(0, balances=(balance,))
    page.until(lambda page: page.accounts["account-0"]["freeUSDT"] == "5")
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 60)

    late = Page(stage.hub, "session:3").read()

    assert 62.5 <= late.accounts["account-0"]["freeUSDT_age_sec"] <= 63.5


def test_a_thousand_accounts_come_in_messages_that_stay_small(stage, page):
    for number in range(1000):
        stage.engine.change(number, name="一个很长的名字" * 4)
    page.until(lambda page: len(page.accounts) == 1000)

    late = Page(stage.hub, "session:4").read()

    assert len(late.accounts) == 1000
    assert max(len(json.dumps(message, ensure_ascii=False).encode()) for message in late.messages) < 65_536


def test_the_viewers_of_a_revoked_device_are_closed_and_no_others(stage, page):
    other = Page(stage.hub, "session:2/device:7")

    closed = stage.hub.close_where(lambda viewer: viewer.label.endswith("/device:7"), 4401, "revoked")

    assert closed == 1
    assert other.viewer.closing.is_set()
    assert other.viewer.close_with == (4401, "revoked")
    assert not page.viewer.closing.is_set()


def test_who_missed_more_of_the_feed_than_is_kept_gets_a_new_picture(stage, page):
    for _ in range(module.FEED_SHOWN * 2 + 5):
        stage.engine.tell("leader")
    until(lambda: page.viewer.needs_snapshot, 10)

    page.until(lambda page: page.feed and page.feed[-1]["seq"] == stage.engine.seq)

    assert sum(message["type"] == "snapshot" for message in page.messages) >= 2


def test_an_engine_that_fails_one_answer_is_asked_for_everything_again(stage, page):
    def fail(**_):
        stage.engine.answers["get_event"] = lambda event_id, **_: an_order(int(event_id))
        raise JournalError("the disk is full")

    stage.engine.answers["get_event"] = fail
    stage.engine.orders.append(an_order(2))

    stage.engine.tell("leader_order", event_id="2")

    page.until(lambda page: "2" in page.events)


def test_another_engine_is_shown_anew_also_when_nobody_saw_the_first_one_go():
    first, second = Engine(), Engine()
    first.number = 50
    second.accounts, second.changed = {"account-7": an_account(7)}, {"account-7": 1}
    link = SimpleNamespace(state=EngineState(True, "2026-11-22T12:00:00.000Z"), trader=first, on_event=id, on_state=id)
    hub = LiveHub(link, "BTC/USDT")
    hub.start()
    try:
        shown = Page(hub)
        shown.until(lambda page: len(page.accounts) == 3)

        link.trader, link.state = second, EngineState(True, "2026-11-22T12:00:01.000Z")

        shown.until(lambda page: set(page.accounts) == {"account-7"})
    finally:
        hub.stop()


def test_the_link_goes_on_after_an_error_that_nobody_foresaw(tmp_path):
    tries = []

    def connect(data_dir):
        tries.append(data_dir)
        if len(tries) == 1:
            raise ValueError("the address file holds a port that is no number")
        return Connected()

    link = EngineLink(tmp_path, connect)
    link.start()
    try:
        until(lambda: link.state.connected)
    finally:
        link.stop()


class Connected(FakeTrader):
    def wait_lost(self, timeout_sec):
        return threading.Event().wait(timeout_sec)


def test_what_is_in_the_picture_already_is_not_told_once_more(stage, page):
    stage.engine.tell("copy")
    page.until(lambda page: [row["seq"] for row in page.feed] == [1])

    stage.engine.seq = 0
    stage.engine.tell("copy")  # it waited in the queue while the picture was taken
    stage.engine.tell("copy")

    page.until(lambda page: page.feed[-1]["seq"] == 2)
    assert [row["seq"] for row in page.feed] == [1, 2]
    assert [row["seq"] for row in Page(stage.hub, "session:5").read().feed] == [1, 2]
