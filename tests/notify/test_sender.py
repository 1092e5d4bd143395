"""Delivery over real sockets: each robot's own wire format, retries, bursts, targets that are down."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import queue
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from copytrade_notify import sender as sender_module
from copytrade_notify.config import Target
from copytrade_notify.formats import judge
from copytrade_notify.messages import own_event
from copytrade_notify.sender import Notifier, Sender

SECRET = "SECrobotsecret0123456789"
TOKEN = "TOKENabcdefghij0123456789"


def alarm(text="the leader is not heard", **fields):
    return {"seq": 1, "t": "2026-11-22T14:36:00.000Z", "kind": "alarm", "text": text, **fields}


def a_target(robot, format_="json", path=f"/hook/{TOKEN}", **changes):
    return Target(**{"name": "ops", "format": format_, "url": robot.url + path, "lang": "en", **changes})


class At:
    """A clock that stands still."""

    def wall_ms(self):
        return 1_763_822_160_000


@pytest.fixture
def running(quick):
    """Run a notifier on targets; stopped at the end."""
    started = []

    def run(*targets):
        started.append(Notifier(targets))
        started[-1].start()
        return started[-1]

    yield run
    for notifier in started:
        notifier.stop()


def post(target):
    sender = Sender(target, lambda *_: None, At())
    try:
        return sender.post([alarm()])
    finally:
        sender.stop()


def test_any_webhook_is_posted_text_and_events(robot):
    assert post(a_target(robot, installation="prod-1")).delivered

    posted = robot.next()
    assert posted.path == f"/hook/{TOKEN}"
    assert posted.headers["Content-Type"] == "application/json; charset=utf-8"
    assert posted.body == {
        "installation": "prod-1",
        "text": "copytrade prod-1\n[alarm] 14:36:00Z the leader is not heard",
        "count": 1,
        "events": [alarm()],
    }


def test_dingtalk_is_signed_with_the_time_in_milliseconds_in_the_address(robot):
    robot.refuse(200, b'{"errcode":0,"errmsg":"ok"}')
    assert post(a_target(robot, "dingtalk", f"/robot/send?access_token={TOKEN}", secret=SECRET)).delivered

    posted = robot.next()
    query = parse_qs(urlsplit(posted.path).query)
    signed = hmac.new(SECRET.encode(), f"1763822160000\n{SECRET}".encode(), hashlib.sha256).digest()
    assert query == {
        "access_token": [TOKEN],
        "timestamp": ["1763822160000"],
        "sign": [base64.b64encode(signed).decode()],
    }
    assert posted.body == {
        "msgtype": "text",
        "text": {"content": "copytrade\n[alarm] 14:36:00Z the leader is not heard"},
    }


def test_feishu_is_signed_with_the_time_in_seconds_in_the_body(robot):
    robot.refuse(200, b'{"code":0,"data":{},"msg":"success"}')
    assert post(a_target(robot, "feishu", secret=SECRET)).delivered

    posted = robot.next()
    signed = hmac.new(f"1763822160\n{SECRET}".encode(), b"", hashlib.sha256).digest()
    assert posted.body == {
        "timestamp": "1763822160",
        "sign": base64.b64encode(signed).decode(),
        "msg_type": "text",
        "content": {"text": "copytrade\n[alarm] 14:36:00Z the leader is not heard"},
    }


@pytest.mark.parametrize("format_", ["dingtalk", "feishu"])
def test_a_robot_without_a_secret_is_not_signed(robot, format_):
    assert post(a_target(robot, format_)).delivered

    posted = robot.next()
    assert posted.path == f"/hook/{TOKEN}"
    assert "sign" not in posted.body


def test_wecom_and_telegram_get_their_own_shapes(robot):
    assert post(a_target(robot, "wecom", "/cgi-bin/webhook/send?key=k")).delivered
    assert robot.next().body["text"]["content"].startswith("copytrade\n")

    robot.refuse(200, b'{"ok":true,"result":{}}')
    assert post(a_target(robot, "telegram", "/bot1:a/sendMessage", chat_id="-100")).delivered
    body = robot.next().body
    assert (body["chat_id"], body["text"].partition("\n")[0]) == ("-100", "copytrade")
    assert "parse_mode" not in body  # a reason with an underscore in it is no markup


@pytest.mark.parametrize(
    ("format_", "status", "body", "delivered", "reason", "again"),
    [
        pytest.param("json", 204, b"", True, "", False, id="any-2xx"),
        pytest.param("json", 302, b"", False, "HTTP 302", False, id="redirect"),
        pytest.param("json", 404, b"", False, "HTTP 404", False, id="gone"),
        pytest.param("json", 503, b"", False, "HTTP 503", True, id="overloaded"),
        pytest.param("dingtalk", 200, b'{"errcode":310000,"errmsg":"sign"}', False, "code 310000", False, id="sign"),
        pytest.param("dingtalk", 200, b'{"errcode":130101}', False, "code 130101", False, id="too-fast"),
        pytest.param("feishu", 200, b'{"StatusCode":0,"StatusMessage":"success"}', True, "", False, id="old-feishu"),
        pytest.param("feishu", 400, b'{"code":11232}', False, "HTTP 400, code 11232", False, id="feishu-limited"),
        pytest.param("wecom", 200, b'{"errcode":93000}', False, "code 93000", False, id="wecom-key"),
        pytest.param("wecom", 200, b"<html>", False, "its answer is not the robot's", False, id="a-portal"),
        pytest.param("wecom", 200, b"[0]", False, "its answer is not the robot's", False, id="a-list"),
        pytest.param(
            "telegram", 400, b'{"ok":false,"error_code":400}', False, "HTTP 400, code 400", False, id="telegram-chat"
        ),
    ],
)
def test_an_answer_says_whether_it_was_delivered(format_, status, body, delivered, reason, again):
    verdict = judge(format_, status, "", body)

    assert (verdict.delivered, verdict.reason, verdict.again) == (delivered, reason, again)


@pytest.mark.parametrize(
    ("retry_after", "body", "seconds"),
    [("7", b"", 7), ("", b'{"ok":false,"parameters":{"retry_after":9}}', 9), ("99999", b"", 60), ("soon", b"", 0)],
)
def test_a_wait_that_is_asked_for_is_kept_within_a_minute(retry_after, body, seconds):
    assert judge("telegram", 429, retry_after, body).wait_sec == seconds


def test_a_burst_becomes_one_message_with_a_count(robot, running, monkeypatch):
    monkeypatch.setattr(sender_module, "GATHER_SEC", 0.3)
    notifier = running(a_target(robot))

    for n in range(100):
        notifier.offer({"kind": "copy", "state": "FAILED", "side": "BUY", "reason": "no", "account": f"a{n}"})

    posted = robot.next()
    assert posted.body["count"] == 100
    assert "[copy failed ×100]" in posted.body["text"]
    with pytest.raises(queue.Empty):
        robot.next(0.3)


def test_a_target_hears_only_what_it_asked_for(robot, running):
    notifier = running(a_target(robot, events=frozenset({"halt"})))

    notifier.offer(alarm())
    notifier.offer({"kind": "copy", "state": "FAILED"})
    notifier.offer({"kind": "halt", "text": "halted"})
    notifier.offer({"kind": "engine", "halt_kind": "journal", "text": "no longer halted"})

    assert [event["text"] for event in robot.next().body["events"]] == ["halted", "no longer halted"]


def test_a_passing_failure_is_tried_again(robot, running):
    robot.refuse(500)
    robot.refuse(429, Retry_After="0")
    notifier = running(a_target(robot))

    notifier.offer(alarm())

    assert [robot.next().body["count"] for _ in range(3)] == [1, 1, 1]


def test_a_target_that_is_down_is_logged_once_told_to_the_others_once_and_told_later_what_it_missed(
    robot, running, caplog
):
    caplog.set_level(logging.INFO)
    for _ in range(4):
        robot.refuse(404)
    others = a_target(robot, name="others", path="/others")
    notifier = running(a_target(robot, name="down"), others)
    notifier.senders[1].stop()  # for now the answers are all for the first
    notifier.senders[0].offer(alarm("first"))
    for _ in range(3):
        robot.next()
    notifier.senders[0].offer(alarm("second"))

    delivered = [robot.next(), robot.next()][-1]

    assert [event["text"] for event in delivered.body["events"]] == ["first", "second"]
    told = list(notifier.senders[1]._waiting)
    assert told == [own_event("down", target="down", reason="HTTP 404")]
    lines = [record.getMessage() for record in caplog.records if record.name == sender_module.__name__]
    assert lines[0] == "notices do not reach down: HTTP 404"
    notifier.stop()
    lines = [record.getMessage() for record in caplog.records if record.name == sender_module.__name__]
    assert lines == ["notices do not reach down: HTTP 404", "notices reach down again"]


def test_too_many_that_wait_lose_the_oldest_and_say_so(robot, running, monkeypatch):
    monkeypatch.setattr(sender_module, "WAITING_LIMIT", 5)
    monkeypatch.setattr(sender_module, "GATHER_SEC", 0.3)
    notifier = running(a_target(robot))

    for n in range(8):
        notifier.offer(alarm(f"number {n}"))

    posted = robot.next()
    assert [event["text"] for event in posted.body["events"]] == [f"number {n}" for n in range(3, 8)]
    assert posted.body["text"].endswith("3 older notices were dropped, too many were waiting")


def test_stopping_delivers_what_waits_at_once_and_joins_the_threads(robot):
    before = set(threading.enumerate())
    notifier = Notifier([a_target(robot)])  # with its real, longer rests
    notifier.start()
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"notify-ops"}
    notifier.offer(alarm())

    notifier.stop()

    assert robot.next(0).body["count"] == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "notify-ops"]


def test_nobody_waits_for_a_target_that_does_not_answer(quick):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, says nothing
        target = Target(name="ops", format="json", url=f"http://127.0.0.1:{silent.getsockname()[1]}/", lang="en")
        notifier = Notifier([target])
        notifier.start()
        done = threading.Event()

        def offer():
            for n in range(3000):
                notifier.offer(alarm(f"number {n}"))
            done.set()

        offering = threading.Thread(target=offer, name="offering")
        offering.start()
        assert done.wait(5)
        offering.join()
    notifier.stop()


def test_a_redirect_is_not_followed(robot):
    robot.refuse(307, Location=f"{robot.url}/elsewhere")

    verdict = post(a_target(robot))

    assert (verdict.delivered, verdict.reason) == (False, "HTTP 307")
    assert robot.posted.qsize() == 1


def test_proxies_of_the_environment_are_not_asked(robot, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    assert post(a_target(robot)).delivered


def test_no_address_token_or_secret_is_logged_even_at_debug(robot, running, caplog, config_file, monkeypatch):
    from copytrade_core.redaction import redactor
    from copytrade_notify import plugin

    url = f"http://127.0.0.1:1/robot/send/{TOKEN}?access_token={TOKEN}"  # nobody listens there
    path = config_file({"targets": [{"format": "dingtalk", "url": url, "secret": SECRET}]})
    monkeypatch.setenv("COPYTRADE_NOTIFY", str(path))
    plugin.configured_targets.cache_clear()
    caplog.set_level(logging.DEBUG)
    caplog.handler.addFilter(redactor)
    try:
        told = threading.Event()
        sender = Sender(*plugin.configured_targets(), lambda *_: told.set())
        sender.start()
        sender.offer(alarm())
        assert told.wait(10)
        sender.stop()
        assert post(a_target(robot, path=f"/send?key={TOKEN}")).delivered
    finally:
        caplog.handler.removeFilter(redactor)
        plugin.configured_targets.cache_clear()

    assert "notices do not reach dingtalk-1: ConnectionError" in caplog.text
    assert TOKEN not in caplog.text
    assert SECRET not in caplog.text
