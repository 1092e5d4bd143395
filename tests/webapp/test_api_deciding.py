"""What a person decides, through the API: copying again, leaving, settling, giving a share; and who it was."""

from __future__ import annotations

import threading
from decimal import Decimal
from types import SimpleNamespace

import pytest
import simplejson

from copytrade_core import BalanceSource, NotSent, OutcomeUnknown, Side
from copytrade_core.control.client import RemoteCopyTrader
from copytrade_core.control.server import ControlServer
from copytrade_core.views import CopyState
from memory_exchange import MemoryExchange, closed_book, engine, keys, until
from panel_client import API, panel_stage

D = Decimal
BY = "program"


@pytest.fixture
def world():
    world = MemoryExchange()
    world.open("leader", "10000", "1")
    world.open("anna", "1000", "0.5")
    world.open("bela", "500", "0.25")
    return world


@pytest.fixture
def stage(world, tmp_path):
    data_dir = tmp_path / "data"
    with (
        engine(world, data_dir, unknown_deadline_sec=1) as trader,
        ControlServer(trader, data_dir),
        RemoteCopyTrader.connect(data_dir) as remote,
        panel_stage(tmp_path / "panel", remote) as panel,
    ):
        for name in ("anna", "bela"):
            trader.add_account(name, "memory", "test", keys(name))
        assert trader.set_leader("memory", "test", keys("leader")).connected
        trader.start_copying()
        program = panel.program()

        def call(method, path, body=None, status=200):
            answer = program.call(method, f"{API}{path}", body)
            assert answer.status_code == status, answer.text
            return simplejson.loads(answer.text, use_decimal=True)

        yield SimpleNamespace(trader=trader, call=call, panel=panel, program=program, world=world)


def failed_buy(stage):
    """The leader buys for a tenth of what is free, and nothing reaches the exchange. Returns the closed book."""

    def fail(world, holder, prepared):
        raise NotSent("no connection")

    stage.world.on_place = fail
    order = stage.world.leader_trades("leader", Side.BUY, quote="1000")
    book = closed_book(stage.trader, order.exchange_order_id)
    assert [copy.state for copy in book.copies] == [CopyState.FAILED] * 2
    stage.world.on_place = MemoryExchange.execute
    return stage.call("GET", f"/events/{book.id}")


def undecided_buy(stage):
    """An order of which nobody can say how much was free before it."""
    leader = stage.world.holders["leader"]
    order = stage.world.fill(leader, Side.BUY, quote=D(100))
    leader.usdt = D("777")  # what is pushed after it fits nothing that was told before ...
    contradicting = leader.snapshot(BalanceSource.PUSHED, complete=False)
    leader.usdt = D("600")  # ... and what is read then fits neither
    stage.world.push("leader", *stage.world.reports(order), contradicting)
    return until(lambda: next((e for e in stage.call("GET", "/events")["items"] if e["state"] == "UNDECIDED"), None))


def lost_buy(stage):
    """The leader buys; what became of the copies cannot be found out. Returns one of them."""

    def lose(world, holder, prepared):
        world.lookups_fail = OutcomeUnknown("no answer")
        world.execute(holder, prepared)
        raise OutcomeUnknown("the answer was lost")

    stage.world.on_place = lose
    stage.world.leader_trades("leader", Side.BUY, quote="1000")
    until(lambda: len(stage.call("GET", "/copies?state=NEEDS_PERSON")["items"]) == 2, 20)
    stage.world.on_place = MemoryExchange.execute
    return stage.call("GET", "/copies?undecided=true")["items"][0]


def final(stage, copy_id):
    def look():
        copy = next(each for each in stage.call("GET", "/copies")["items"] if each["id"] == copy_id)
        return copy if CopyState(copy["state"]).is_final else None

    return until(look)


def sent(stage):
    return {name: len(stage.world.holders[name].orders) for name in ("anna", "bela")}


def refused(stage, method, path, body=None):
    """Return kind and sentence of a refusal that changes nothing."""
    before = sent(stage), stage.call("GET", "/copies")
    document = stage.call(method, path, body, status=409)
    assert (sent(stage), stage.call("GET", "/copies")) == before
    return document["kind"], document["detail"]


def test_what_is_shown_before_is_what_is_sent_and_it_is_sent_once(stage):
    book = failed_buy(stage)
    first, second = book["copies"]
    assert (first["account"], first["open"]) == ("anna", True)

    preview = stage.call("GET", f"/copies/{first['id']}/preview")
    assert sent(stage) == {"anna": 0, "bela": 0}
    again = stage.call("POST", f"/copies/{first['id']}/copy-now")

    copy = final(stage, again["id"])
    assert (copy["state"], copy["asked_by"], copy["sent"]) == ("FILLED", BY, preview["sent"])
    assert preview["sent"] == D("100") and preview["x_percent"] == D("0.1") and preview["share"] == "1/10"
    assert sent(stage) == {"anna": 1, "bela": 0}
    for path in ("copy-now", "leave"):
        kind, detail = refused(stage, "POST", f"/copies/{first['id']}/{path}")
        assert kind and detail
    assert refused(stage, "GET", f"/copies/{first['id']}/preview")[0]
    assert [each["id"] for each in stage.call("GET", "/copies?undecided=true")["items"]] == [second["id"]]


def test_all_copies_of_an_order_are_copied_now_but_those_that_were_left(stage):
    book = failed_buy(stage)
    anna, bela = book["copies"]

    left = stage.call("POST", f"/copies/{bela['id']}/leave")
    assert (left["decided_by"], left["open"]) == (BY, False) and left["decided_at"]
    (preview,) = stage.call("GET", f"/events/{book['id']}/preview")["items"]
    assert (preview["account"], preview["reason_kind"]) == ("anna", "")
    after = stage.call("POST", f"/events/{book['id']}/copy-now")

    assert after["id"] == book["id"] and len(after["copies"]) == 3
    (new,) = (each for each in after["copies"] if each["id"] not in (anna["id"], bela["id"]))
    assert final(stage, new["id"])["sent"] == preview["sent"]
    assert sent(stage) == {"anna": 1, "bela": 0}
    assert stage.call("GET", "/copies?undecided=true")["items"] == []
    assert ("program", "event_copied_now", book["id"]) in stage.panel.audit()


def test_a_copy_is_not_made_while_copying_is_stopped(stage):
    book = failed_buy(stage)
    stage.call("POST", "/copy/stop")

    preview = stage.call("GET", f"/copies/{book['copies'][0]['id']}/preview")
    kind, detail = refused(stage, "POST", f"/copies/{book['copies'][0]['id']}/copy-now")

    assert preview["reason_kind"] == "copying_stopped" and preview["sent"] == D("100")
    assert kind and "stopped" in detail


def test_a_double_click_copies_once(stage):
    book = failed_buy(stage)
    path = f"{API}/copies/{book['copies'][0]['id']}/copy-now"
    answers = []

    def click():
        answers.append(stage.program.call("POST", path, headers={"Idempotency-Key": "click"}))

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.data for answer in answers}) == 1
    final(stage, answers[0].json["id"])
    assert sent(stage) == {"anna": 1, "bela": 0}


@pytest.mark.parametrize("text", ["0.2", "1/5"])
def test_a_share_is_given_exactly_and_once(stage, text):
    event = undecided_buy(stage)
    path = f"/events/{event['id']}"
    assert event["share"] is None and event["x_percent"] is None and event["reason"]
    assert stage.call("GET", f"{path}/preview", status=422)["errors"][0]["field"] == "share"
    previews = {each["account"]: each["sent"] for each in stage.call("GET", f"{path}/preview?share={text}")["items"]}

    stage.call("POST", f"{path}/share", {"share": text})

    book = until(lambda: _filled(stage.call("GET", path)))
    assert (book["state"], book["share"], book["x_percent"]) == ("COPIED", "1/5", D("0.2"))
    assert {copy["account"]: copy["sent"] for copy in book["copies"]} == previews == {"anna": D(200), "bela": D(100)}
    assert {copy["asked_by"] for copy in book["copies"]} == {BY}
    assert refused(stage, "POST", f"{path}/share", {"share": "1/2"})[0]
    assert refused(stage, "GET", f"{path}/preview?share=1/2")[0]


def _filled(book):
    return book if book["copies"] and all(copy["state"] == "FILLED" for copy in book["copies"]) else None


def test_a_copy_that_needs_a_person_is_settled_by_what_the_exchange_shows(stage):
    copy = lost_buy(stage)
    path = f"/copies/{copy['id']}/settle"
    assert stage.call("GET", "/status")["needs_person"] == 2
    assert stage.call("POST", path, {"executed": False}, status=502)["detail"]  # it cannot be asked
    stage.world.lookups_fail = None

    kind, detail = refused(stage, "POST", path, {"executed": False})
    assert kind and "the exchange shows" in detail
    settled = stage.call("POST", path, {"executed": True})

    assert (settled["state"], settled["decided_by"]) == ("FILLED", BY)
    assert settled["filled_quote"] > 0 and settled["decided_at"]
    assert refused(stage, "POST", path, {"executed": True})[0]
    assert stage.call("GET", "/status")["needs_person"] == 1


def test_a_copy_that_is_settled_as_not_executed_can_be_made_up_for(stage):
    copy = lost_buy(stage)
    stage.world.lookups_fail = None
    stage.world.hidden.add(copy["client_order_id"])

    settled = stage.call("POST", f"/copies/{copy['id']}/settle", {"executed": False})

    assert (settled["state"], settled["open"]) == ("FAILED", True) and BY in settled["reason"]
    assert copy["id"] in {each["id"] for each in stage.call("GET", "/copies?undecided=true")["items"]}
