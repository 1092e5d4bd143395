"""The REST API in front of a real engine on simulators: every call, exact amounts, and what is refused by name."""

from __future__ import annotations

import csv
import importlib
import io
import re
import threading
import time
from decimal import Decimal
from fractions import Fraction

import pytest
import simplejson
from prometheus_client.parser import text_string_to_metric_families

from acme_plugin import install_acme
from changing_engine import an_order
from copytrade_core import CopyTrader, Settings, Vault
from copytrade_core.control.client import RemoteCopyTrader
from copytrade_core.control.server import ControlServer
from copytrade_core.errors import (
    Conflict,
    CopytradeError,
    ExchangeError,
    InvalidRequest,
    JournalError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
)
from copytrade_core.views import CopyState, VerifyView
from copytrade_webapp.api import accounts as accounts_api
from fake_trader import a_copy, an_account
from memory_exchange import MASTER_KEY, until
from panel_client import API, HERE, panel_stage
from sim_engine import copying

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """An engine that has copied one BUY to three followers, and two accounts of the simulators that nobody added."""
    data_dir = tmp_path_factory.mktemp("engine") / "data"
    with copying(data_dir, binance=2, bitget=1, tidy=True) as setup:
        book = setup.book(setup.leader_buys("1000.01"))
        assert [copy.state for copy in book.copies] == [CopyState.FILLED] * 3
        with ControlServer(setup.trader, data_dir):
            yield setup


@pytest.fixture(scope="module")
def stage(setup, tmp_path_factory):
    """The panel in front of it, over the real socket."""
    with (
        RemoteCopyTrader.connect(setup.data_dir) as trader,
        panel_stage(tmp_path_factory.mktemp("panel") / "data", trader) as stage,
    ):
        stage.client = stage.program()
        yield stage


@pytest.fixture
def call(stage):
    return lambda method, path, body=None, **options: stage.client.call(method, f"{API}{path}", body, **options)


def exact(answer, status=200):
    """Return an answer's JSON with every number as it stands there."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/json"
    return simplejson.loads(answer.text, use_decimal=True)


def is_problem(answer, status, kind=None, field=None):
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.content_type == "application/problem+json"
    document = answer.json
    assert document["status"] == status and document["detail"] and document["title"]
    assert kind in (None, document["kind"]), document
    if field is not None:
        assert field in [each["field"] for each in document["errors"]], document
    return document


def raw(stage, method, path, data, content_type="application/json", **headers):
    return stage.client.client.open(
        f"{API}{path}", method=method, data=data, content_type=content_type, base_url=f"http://{HERE}",
        headers={"Authorization": f"Bearer {stage.client.token}", **headers},
    )  # fmt: skip


# --- the calls of the requirement, as they are shown there ---


def test_the_status_has_the_shape_that_was_asked_for(call, setup):
    status = exact(call("GET", "/status"))
    assert status["running"] is True
    assert {"exchange", "env", "connected"} <= set(status["leader"]) and status["leader"]["connected"] is True
    assert len(status["followers"]) == 3
    for follower in status["followers"]:
        assert {"id", "exchange", "env", "state", "freeUSDT", "freeBTC"} <= set(follower)
        assert follower["state"] == "ACTIVE" and isinstance(follower["freeUSDT"], Decimal | int)
    (event,) = status["recent_events"]
    assert {"t", "type", "x_percent", "fanout", "ok", "fail"} <= set(event)
    assert RFC3339.fullmatch(event["t"]) and event["type"] == "BUY"
    assert event["ok"] + event["fail"] + event["pending"] == event["fanout"] == 3
    assert 0 < event["x_percent"] < 1 and event["x_percent"].as_tuple().exponent == -8
    assert status["engine"]["connected"] is True


def test_a_book_is_exact_to_the_last_digit(call, setup):
    (summary,) = exact(call("GET", "/events"))["items"]
    book = exact(call("GET", f"/events/{summary['id']}"))
    truth = setup.trader.get_event(summary["id"])
    assert Fraction(book["share"]) == truth.share
    by_id = {copy.id: copy for copy in truth.copies}
    assert {row["id"] for row in book["copies"]} == set(by_id)
    for row in book["copies"]:
        copy = by_id[row["id"]]
        for name in ("free_before", "sent", "filled_base", "filled_quote", "average_price"):
            assert row[name] == getattr(copy, name), name
        assert isinstance(row["commissions"], dict)
    text = call("GET", f"/events/{summary['id']}").text
    assert not re.search("[0-9][eE]", re.sub('"[^"]*"', "", text))
    assert "copies" not in exact(call("GET", f"/events/{summary['id']}?rows=false"))
    pages = []
    before = ""
    while True:
        page = exact(call("GET", f"/events/{summary['id']}/copies?limit=1{before}"))
        pages += [row["id"] for row in page["items"]]
        if page["next"] is None or len(pages) > 5:
            break
        before = f"&before={page['next']}"
    assert sorted(pages) == sorted(by_id)


def test_starting_and_stopping(call, stage, setup):
    assert call("POST", "/copy/stop").data == b'{"running": false}'
    assert setup.trader.status().running is False
    assert call("POST", "/copy/stop").data == b'{"running": false}'
    assert call("POST", "/copy/start").data == b'{"running": true}'
    assert setup.trader.status().running is True


def test_the_leader_is_shown_and_listened_to_again_by_the_stored_key(call, setup):
    assert exact(call("GET", "/leader"))["leader"]["connected"] is True
    call("POST", "/copy/stop")
    env = setup.sims["binance"]["env"]
    answer = exact(call("PUT", "/leader", {"exchange": "binance", "env": env}))
    assert answer["listening"] is True and answer["leader"]["exchange"] == "binance"
    wrong = {**setup.sims["binance"]["leader"], "api_secret": "w" * 64}
    refused = exact(call("PUT", "/leader", {"exchange": "binance", "env": env, **wrong}))
    assert refused["listening"] is False and refused["error"]["kind"] and refused["error"]["message"]
    assert "w" * 64 not in str(refused)
    assert exact(call("PUT", "/leader", {"exchange": "binance", "env": env}))["listening"] is True
    assert call("POST", "/copy/start").status_code == 200


def test_an_account_lives_and_ends(call, stage, setup):
    (row, *_) = exact(call("GET", "/accounts"))["items"]
    assert exact(call("GET", f"/accounts/{row['id']}"))["name"] == row["name"]
    keys = {name: value for name, value in setup.sims["binance"]["followers"][0].items() if name != "mode"}
    first = next(each for each in exact(call("GET", "/accounts"))["items"] if each["name"] == "binance 1")
    assert exact(call("DELETE", f"/accounts/{first['id']}")) == {"id": first["id"]}
    is_problem(call("GET", f"/accounts/{first['id']}"), 404, "not_found")

    made = exact(call("POST", "/accounts", {"name": " 小王 ", "exchange": "binance", "env": first["env"], **keys}), 201)
    assert made["status"] == "CREATED" and made["account"]["name"] == "小王" and made["account"]["state"] == "ACTIVE"
    assert re.fullmatch(r"[0-9a-f-]{36}", made["id"])
    path = f"/accounts/{made['id']}"

    verified = exact(call("POST", f"{path}/verify"))
    assert verified["ok"] is True and {"freeUSDT", "freeBTC", "warnings"} <= set(verified)
    assert exact(call("POST", f"{path}/pause"))["state"] == "PAUSED"
    assert exact(call("POST", f"{path}/resume"))["state"] == "ACTIVE"

    version = exact(call("GET", path))["version"]
    renamed = exact(call("PATCH", path, {"version": version, "name": "小李"}))
    assert renamed["name"] == "小李" and renamed["version"] > version
    is_problem(call("PATCH", path, {"version": version, "name": "小张"}), 409, "conflict")
    assert exact(call("GET", path))["name"] == "小李"
    is_problem(call("PATCH", path, {"version": 1, "credentials": {"pin": "1"}}), 422)
    said = "".join(answer.text for answer in (call("GET", "/accounts"), call("GET", path), call("GET", "/status")))
    for name, value in keys.items():
        assert value not in said, name


def test_a_key_that_is_not_right_is_told_of_in_plain_words(call, setup):
    env = setup.sims["binance"]["env"]
    keys = {"api_key": "n" * 64, "api_secret": "o" * 64}
    made = exact(call("POST", "/accounts", {"name": "wrong", "exchange": "binance", "env": env, **keys}), 201)
    assert made["account"]["state"] == "DISABLED" and made["account"]["error_kind"]
    verified = exact(call("POST", f"/accounts/{made['id']}/verify"))
    assert verified["ok"] is False and verified["error"]["kind"] == made["account"]["error_kind"]
    assert verified["error"]["message"] and "n" * 64 not in str(verified)
    exact(call("DELETE", f"/accounts/{made['id']}"))


# --- what is refused, and which field it names ---

GOOD = {"name": "a", "exchange": "binance", "env": "test", "api_key": "k" * 64, "api_secret": "s" * 64}
PLAIN = {"exchange": "bitget", "env": "demo", "name": "a", "api_key": "k", "api_secret": "s", "passphrase": "p"}


def without(body, *names):
    return {name: value for name, value in body.items() if name not in names}


@pytest.mark.parametrize(
    ("body", "kind", "field"),
    [
        (without(GOOD, "name"), "invalid", "name"),
        (without(GOOD, "exchange"), "invalid", "exchange"),
        (without(GOOD, "env"), "invalid", "env"),
        (without(GOOD, "api_key"), "missing_field", "api_key"),
        (without(GOOD, "api_secret"), "missing_field", "api_secret"),
        ({**GOOD, "api_secret": "   "}, "missing_field", "api_secret"),
        (without(PLAIN, "passphrase"), "missing_field", "passphrase"),
        ({**GOOD, "passphrase": "p"}, "unknown_field", "passphrase"),
        ({**GOOD, "percent": 50}, "invalid", "percent"),
        ({**GOOD, "__proto__": "x"}, "unknown_field", "__proto__"),
        ({**GOOD, "exchange": "nowhere"}, None, "exchange"),
        ({**GOOD, "exchange": "Binance"}, None, "exchange"),
        ({**GOOD, "exchange": "../binance"}, None, "exchange"),
        ({**GOOD, "env": "sandbox"}, None, "env"),
        ({**GOOD, "env": ""}, "invalid", "env"),
        ({**PLAIN, "env": "test"}, None, "env"),
        *(({**GOOD, "name": name}, "invalid", "name") for name in
          ("", "  ", "x" * 81, "a\x00b", "a\nb", "\u202ea", 5, None, True, ["a"], {"a": 1}, 1.5)),
        *(({**GOOD, "api_key": key}, None, "api_key") for key in
          ("k\r\nX-Evil: 1", "k\x00", "k" * 9000, 5, None, True, ["k"], {"k": 1}, "\u202ek")),
        ({**GOOD, "exchange": 5}, "invalid", "exchange"),
        ({**GOOD, "env": ["test"]}, "invalid", "env"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_is_wrong_about_a_new_account_is_named(call, setup, body, kind, field):
    before = len(setup.trader.list_accounts())
    document = is_problem(call("POST", "/accounts", body), 422, kind, field)
    assert "s" * 64 not in str(document)
    assert len(setup.trader.list_accounts()) == before


def test_bitgets_environment_is_told_by_its_name(call):
    assert "demo" in is_problem(call("POST", "/accounts", {**PLAIN, "env": "test"}), 422, field="env")["detail"]


def test_a_key_is_entered_once_and_the_leaders_never_as_a_follower(call, setup):
    env = setup.sims["binance"]["env"]
    keys = {name: value for name, value in setup.sims["binance"]["followers"][1].items() if name != "mode"}
    is_problem(
        call("POST", "/accounts", {"name": "again", "exchange": "binance", "env": env, **keys}),
        422, "duplicate_key", "api_key",
    )  # fmt: skip
    leader = setup.sims["binance"]["leader"]
    is_problem(
        call("POST", "/accounts", {"name": "leader", "exchange": "binance", "env": env, **leader}),
        422, "leader_key", "api_key",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", "/accounts/1", {"name": "a"}, "version"),
        ("PATCH", "/accounts/1", {"version": "1"}, "version"),
        ("PATCH", "/accounts/1", {"version": 1.0}, "version"),
        ("PATCH", "/accounts/1", {"version": True, "name": ""}, "name"),
        ("PATCH", "/accounts/1", {"version": -1}, "version"),
        ("PATCH", "/accounts/1", {"version": 2**64}, "version"),
        ("PATCH", "/accounts/1", {"version": 1, "credentials": {"api_key": 5}}, "credentials.api_key"),
        ("PATCH", "/accounts/1", {"version": 1, "credentials": "k"}, "credentials"),
        ("PATCH", "/accounts/1", {"version": 1, "state": "ACTIVE"}, "state"),
        ("PUT", "/leader", {"exchange": "binance"}, "env"),
        ("PUT", "/leader", {"exchange": "nowhere", "env": "test"}, "exchange"),
        ("PUT", "/leader", {"exchange": "binance", "env": "test", "api_key": 5}, "api_key"),
        ("POST", "/copies/1/settle", {}, "executed"),
        *(("POST", "/copies/1/settle", {"executed": value}, "executed") for value in
          ("true", "yes", 1, 0, None, [], 1.0)),
        ("POST", "/copies/1/settle", {"executed": True, "exchange_order_id": 5}, "exchange_order_id"),
        ("POST", "/copies/1/settle", {"executed": True, "exchange_order_id": "9" * 65}, "exchange_order_id"),
        *(("POST", "/events/1/share", {"share": value}, "share") for value in
          ("0", "-1", "1.0000001", "100", "1e-1", "NaN", "Infinity", "٥", " 1", "0_1", "1/0", "0/1", "3/2", "0.5/2",
           "1/2/3", "", "½", "0x1", 0.5, 1, None, "." + "1" * 5, "0." + "1" * 19)),
        ("POST", "/tokens", {}, "name"),
        ("POST", "/tokens", {"name": "\x1b[2J"}, "name"),
        ("POST", "/tokens", {"name": "a", "id": "b"}, "id"),
        ("POST", "/session", {}, "token"),
        ("POST", "/session", {"token": "a", "code": "b"}, "token"),
        ("POST", "/session", {"token": 5}, "token"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_a_wrong_field_is_named(call, method, path, body, field):
    is_problem(call(method, path, body), 422, field=field)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *((f"{path}?limit={limit}", "limit") for path in ("/accounts", "/events", "/copies", "/feed", "/gaps")
          for limit in ("0", "-1", "1001", "1e2", "abc", "", "99999999999999999999", "1.5")),
        ("/accounts?state=SLEEPING", "state"),
        ("/accounts?colour=red", "colour"),
        ("/copies?state=NO", "state"),
        ("/copies?event=abc", "event"),
        ("/copies?event=-1", "event"),
        ("/copies?undecided=perhaps", "undecided"),
        ("/events/1?rows=perhaps", "rows"),
        ("/events/1/preview?share=2", "share"),
        ("/feed?after=-1", "after"),
        ("/feed?after=99999999999999999999", "after"),
        ("/kinds?lang=fr", "lang"),
        ("/export.csv?from=yesterday", "from"),
        ("/export.csv?from=2026-01-01T00:00:00", "from"),
        ("/export.csv?to=0", "to"),
        ("/tokens/audit?limit=0", "limit"),
        ("/tokens/audit?before=-1", "before"),
        ("/tokens/audit?before=99999999999999999999", "before"),
    ],
)  # fmt: skip
def test_a_wrong_query_is_named(call, path, field):
    is_problem(call("GET", path), 422, field=field)


@pytest.mark.parametrize("where", ["/accounts/{}", "/events/{}", "/events/{}/copies", "/events/{}/preview",
                                   "/copies/{}/preview"])  # fmt: skip
@pytest.mark.parametrize("odd", ["0", "-1", "1e5", "99999999999999999999", "%D9%A5", "%00", "' OR 1=1 --", "{{7*7}}",
                                 "..%2f..%2fetc", "%F0%9F%98%80", "a" * 500, "%ff"])  # fmt: skip
def test_what_is_not_there_is_not_found(call, where, odd):
    is_problem(call("GET", where.format(odd)), 404)


@pytest.mark.parametrize("query", ["/events?before=abc", "/events?before=99999999999999999999", "/gaps?before=x",
                                   "/copies?before=x", "/copies?account=x", "/copies?event=999999999999999999",
                                   "/accounts?after=x", "/accounts?q=%00", "/accounts?q=%ff%25"])  # fmt: skip
def test_a_place_in_a_list_that_is_not_there_breaks_nothing(call, query):
    answer = call("GET", query)
    assert answer.status_code in (200, 404, 422), answer.text
    if answer.status_code == 200:
        assert exact(answer)["items"] == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"not json", 400),
        (b"\xff\xfe", 400),
        (b'{"name": NaN}', 400),
        (b'{"name": Infinity}', 400),
        (b'{"name": "\\ud800"}', 400),
        (b'{"\\udfff": "a"}', 400),
        (b'{"name": ' + b"9" * 5000 + b"}", 400),
        (b'{"name": 1e999999999999999999999999}', 400),
        (b'{"name": 1e999999999}', 422),
        (b"[" * 60_000, 400),
        (b'{"a":' * 10_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b"5", 422),
        (b"{}", 422),
        (b"x" * 65_537, 413),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/accounts"), ("PUT", "/leader"), ("POST", "/tokens"),
                                              ("POST", "/events/1/share")])  # fmt: skip
def test_a_body_that_is_none_is_refused(stage, data, status, method, path):
    is_problem(raw(stage, method, path, data), status)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "",
                                          "text/json", "application/jsonp"])  # fmt: skip
def test_a_body_of_another_type_is_refused(stage, content_type):
    is_problem(raw(stage, "POST", "/tokens", b'{"name": "a"}', content_type), 415)


def test_other_methods_and_places_are_told_apart(call):
    assert set(call("PUT", "/accounts", {}).headers["Allow"].split(", ")) >= {"GET", "POST"}
    is_problem(call("PUT", "/accounts", {}), 405, "method_not_allowed")
    is_problem(call("DELETE", "/status"), 405)
    is_problem(call("GET", "/nothing"), 404, "not_found")
    is_problem(call("POST", "/accounts/1/launch"), 404)


# --- an exchange that does not come with the engine ---


def test_a_third_plug_in_is_in_the_api_without_a_line_of_panel_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install_acme(tmp_path)))
    server = importlib.import_module("copytrade_acme.simulator").AcmeServer().start()
    try:
        keys = server.open_account("carl", Decimal("0.87654321"), Decimal("4321.98765432"))
        data_dir = tmp_path / "engine"
        data_dir.mkdir()
        settings = Settings(data_dir=data_dir, endpoints={"acme": {"test": {"rest": server.origin}}})
        Vault.create(settings.vault_path, MASTER_KEY)
        with (
            CopyTrader.open(settings=settings, master_key=MASTER_KEY) as trader,
            panel_stage(tmp_path / "panel", trader) as stage,
        ):
            trader.start()
            program = stage.program()
            exchanges = exact(program.call("GET", f"{API}/exchanges"))
            (acme,) = [row for row in exchanges["items"] if row["id"] == "acme"]
            assert [field["name"] for field in acme["fields"]] == ["api_key", "api_secret", "pin"] == sorted(keys)
            assert "acme" in [row["name"] for row in exchanges["plugins"]]
            body = {"name": "carl", "exchange": "acme", "env": "test", **keys}
            is_problem(program.call("POST", f"{API}/accounts", without(body, "pin")), 422, "missing_field", "pin")
            is_problem(program.call("POST", f"{API}/accounts", {**body, "passphrase": "p"}), 422, field="passphrase")
            row = exact(program.call("POST", f"{API}/accounts", body), 201)["account"]
            assert (row["state"], row["exchange"]) == ("ACTIVE", "acme")
            verified = exact(program.call("POST", f"{API}/accounts/{row['id']}/verify"))
            assert verified["freeUSDT"] == Decimal("4321.98765432") and verified["freeBTC"] == Decimal("0.87654321")
    finally:
        server.stop()


# --- lists ---


def test_accounts_come_in_pages_and_are_found_by_name_and_state(call):
    everybody = exact(call("GET", "/accounts"))
    assert everybody["next"] is None and len(everybody["items"]) == 3
    found, after = [], ""
    for _ in range(5):
        page = exact(call("GET", f"/accounts?limit=2{after}"))
        found += page["items"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert [row["id"] for row in found] == [row["id"] for row in everybody["items"]]
    assert [row["name"] for row in exact(call("GET", "/accounts?q=BITGET"))["items"]] == ["bitget 1"]
    assert exact(call("GET", "/accounts?state=PAUSED"))["items"] == []


def test_copies_and_the_feed_come_in_pages(call, setup):
    copies = exact(call("GET", "/copies"))
    assert len(copies["items"]) == 3
    first = exact(call("GET", "/copies?limit=2"))
    rest = exact(call("GET", f"/copies?limit=2&before={first['next']}"))
    assert [row["id"] for row in first["items"] + rest["items"]] == [row["id"] for row in copies["items"]]
    assert (
        exact(call("GET", "/copies?state=FAILED"))["items"]
        == exact(call("GET", "/copies?undecided=true"))["items"]
        == []
    )
    account = copies["items"][0]["account_id"]
    assert {row["account_id"] for row in exact(call("GET", f"/copies?account={account}"))["items"]} == {account}
    feed = exact(call("GET", "/feed?limit=2"))
    assert feed["next"] == feed["items"][-1]["seq"]
    assert exact(call("GET", f"/feed?after={feed['next']}&limit=1"))["items"][0]["seq"] > feed["next"]
    newest = exact(call("GET", "/feed?limit=1&newest=true"))["items"]
    assert newest[-1]["seq"] >= max(each["seq"] for each in feed["items"])


def test_the_rest_of_the_looks(call):
    assert exact(call("GET", "/restored")) == {"restored": None}
    assert isinstance(exact(call("GET", "/gaps"))["items"], list)
    assert {row["level"] for row in exact(call("GET", "/doctor"))["items"]} <= {"ok", "warning", "error"}
    english, chinese = (exact(call("GET", f"/kinds?lang={lang}"))["kinds"] for lang in ("en", "zh"))
    assert set(english) == set(chinese) and english != chinese
    exchanges = exact(call("GET", "/exchanges"))
    fields = {row["id"]: [field["name"] for field in row["fields"]] for row in exchanges["items"]}
    assert fields["binance"] == ["api_key", "api_secret"] and "passphrase" in fields["bitget"]
    (bitget,) = [row for row in exchanges["items"] if row["id"] == "bitget"]
    assert "demo" in bitget["environments"] and "test" not in bitget["environments"]
    is_problem(call("POST", "/reconcile"), 409, "not_restored")


# --- the history ---


def test_the_history_is_a_sheet(call, setup):
    answer = call("GET", "/export.csv")
    assert answer.status_code == 200 and answer.content_type == "text/csv; charset=utf-8"
    assert answer.is_streamed and answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))
    (event,) = exact(call("GET", "/events"))["items"]
    copies = {row["id"]: row for row in exact(call("GET", f"/events/{event['id']}"))["copies"]}
    assert {row["copy_id"] for row in rows} == set(copies)
    for row in rows:
        assert Decimal(row["copy_sent"]) == copies[row["copy_id"]]["sent"]
    t = event["t"]
    assert len(call("GET", f"/export.csv?from={t}").data.splitlines()) == 4
    assert len(call("GET", f"/export.csv?to={t}").data.splitlines()) == 1
    assert len(call("GET", "/export.csv?from=2099-01-01T00:00:00%2B08:00").data.splitlines()) == 1
    assert (
        len(call("GET", "/export.csv?from=0001-01-01T00:00:00%2B14:00&to=9999-12-31T23:59:59-11:00").data.splitlines())
        == 4
    )


# --- health ---


def test_health_says_little_and_metrics_can_be_read(stage, call):
    stranger = stage.app.test_client()

    def look(path, **environ):
        return stranger.get(path, base_url=f"http://{HERE}", environ_base=environ)

    assert look("/livez").json == {"status": "ok"} == look("/readyz").json
    short = look("/api/status").json
    assert short == {
        "status": "ok", "engine": short["engine"], "running": True, "halted": False, "leader_connected": True
    }  # fmt: skip
    families = {family.name: family for family in text_string_to_metric_families(look("/metrics").text)}
    assert families["copytrade_engine_up"].samples[0].value == 1
    copies = {sample.labels["state"]: sample.value for sample in families["copytrade_copies"].samples}
    assert copies["FILLED"] == 3
    pushed = families["copytrade_accounts_pushed"].samples
    assert {each.labels["exchange"] for each in pushed} == {"binance/test", "bitget/demo"}
    buckets = [each for each in families["copytrade_latency_seconds"].samples if each.name.endswith("_bucket")]
    assert {"sent", "accepted"} <= {each.labels["step"] for each in buckets}
    for step in {each.labels["step"] for each in buckets}:
        counts = [each.value for each in buckets if each.labels["step"] == step]
        assert counts == sorted(counts)
    assert look("/metrics", REMOTE_ADDR="203.0.113.9").status_code == 404


def test_metrics_do_not_go_through_the_proxy(tmp_path):
    with panel_stage(tmp_path / "data", behind_proxy=True) as stage:
        client = stage.app.test_client()
        here = {"base_url": f"http://{HERE}"}
        assert client.get("/metrics", **here).status_code == 200
        assert client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}, **here).status_code == 404


# --- without an engine, and what it may answer ---


@pytest.fixture
def alone(tmp_path):
    with panel_stage(tmp_path / "data") as stage:
        yield stage


def test_without_an_engine_it_says_since_when(alone):
    program = alone.program()
    for method, path, body in [
        ("GET", "/status", None), ("GET", "/accounts", None), ("POST", "/accounts", GOOD), ("GET", "/leader", None),
        ("PUT", "/leader", GOOD), ("POST", "/copy/start", None), ("POST", "/copy/stop", None), ("GET", "/events", None),
        ("GET", "/events/1", None), ("GET", "/copies", None), ("GET", "/exchanges", None), ("GET", "/export.csv", None),
        ("POST", "/accounts/1/verify", None), ("GET", "/doctor", None), ("GET", "/feed", None), ("GET", "/gaps", None),
    ]:  # fmt: skip
        if path == "/leader" and method == "PUT":
            body = without(GOOD, "name")
        document = is_problem(program.call(method, f"{API}{path}", body), 503, "engine_not_running")
        assert document["since"] == "2026-11-22T12:00:00.000Z"
    assert program.call("GET", "/readyz").status_code == 503
    assert program.call("GET", "/livez").status_code == 200
    assert program.call("GET", "/api/status").json["engine"] == {
        "connected": False,
        "since": "2026-11-22T12:00:00.000Z",
    }
    assert "copytrade_engine_up 0.0" in program.call("GET", "/metrics").text
    assert program.call("GET", f"{API}/kinds").status_code == 200
    assert program.call("GET", f"{API}/tokens").status_code == 200


class Says:
    """An engine that answers one thing."""

    def __init__(self, **answers):
        self._answers = answers

    def __getattr__(self, name):
        answer = self._answers[name]

        def method(*args, **kwargs):
            if isinstance(answer, Exception):
                raise answer
            return answer(*args, **kwargs) if callable(answer) else answer

        return method


@pytest.mark.parametrize(
    "amount", ["0.00000001", "0.1", "0.3", "1E-18", "12345678901234567890.123456789012345678", "1E+3"]
)
def test_an_amount_is_printed_as_it_is(alone, amount):
    account = an_account(0)
    (balance,) = account.balances
    alone.link.engine = Says(
        get_account=an_account(0, balances=(type(balance)(**{**as_dict(balance), "free": Decimal(amount)}),)),
        list_copies=[
            a_copy(free_before=Decimal(amount), computed=Fraction(1, 3), commissions={"BNB": Decimal(amount)})
        ],
    )
    program = alone.program()
    plain = format(Decimal(amount), "f")
    assert f'"freeUSDT": {plain},' in program.call("GET", f"{API}/accounts/1").text
    text = program.call("GET", f"{API}/copies").text
    assert f'"free_before": {plain},' in text and f'"BNB": {plain}}}' in text
    assert Decimal(simplejson.loads(text, use_decimal=True)["items"][0]["computed"]) <= Fraction(1, 3)


def as_dict(view):
    return {name: getattr(view, name) for name in view.__dataclass_fields__}


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", '=cmd|"/c calc"!A1'])
def test_the_history_holds_no_formula(alone, name):
    order = an_order(7, tally={"FILLED": 1}, copies=(a_copy(account_name=name, slippage_bp=Decimal("-1.5")),))
    alone.link.engine = Says(list_events=lambda limit, before, **_: [] if before else [order])
    text = alone.program().call("GET", f"{API}/export.csv").data.decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["copy_account"] == f"'{name}"
    assert row["copy_slippage_bp"] == "-1.5", "a number stays one"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotFound("there is none", field="id"), 404, "not_found"),
        (Conflict("not now"), 409, "conflict"),
        (InvalidRequest("no", field="name", kind="duplicate_name"), 422, "duplicate_name"),
        (ExchangeError("the exchange did not answer"), 502, None),
        (RateLimited("too many", retry_after_sec=7.2, whole_address=False), 503, None),
        (CopytradeError("too many calls at once; try again", kind="busy"), 503, "busy"),
        (CopytradeError("the engine has not answered", kind="no_answer"), 503, "no_answer"),
        (OutcomeUnknown("the exchange has not answered", kind="no_answer"), 502, "no_answer"),
        (JournalError("the journal cannot be written"), 503, "journal"),
        (CopytradeError("something", kind="internal"), 500, "internal"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_engine_refuses_comes_as_a_problem(alone, error, status, kind):
    alone.link.engine = Says(pause_account=error)
    answer = alone.program().call("POST", f"{API}/accounts/1/pause")
    is_problem(answer, status, kind)
    assert (answer.headers.get("Retry-After") == "7") == isinstance(error, RateLimited)


def test_a_check_of_a_key_answers_in_time_also_where_the_exchange_does_not(alone, monkeypatch):
    assert accounts_api.VERIFY_SEC < 10
    monkeypatch.setattr(accounts_api, "VERIFY_SEC", 0.2)
    go, begun = threading.Event(), []

    def hangs(account_id):
        begun.append(account_id)
        assert go.wait(30)
        return VerifyView(ok=True)

    alone.link.engine = Says(get_account=an_account(1), verify_account=hangs)
    program = alone.program()
    for number in range(20):  # more than are asked at once
        start = time.monotonic()
        answer = program.call("POST", f"{API}/accounts/{number}/verify")
        assert exact(answer)["error"]["kind"] == "no_answer" and exact(answer)["ok"] is False
        assert time.monotonic() - start < 5
    go.set()
    until(lambda: alone.panel.patient._work_queue.empty(), 5)
    assert len(begun) == 16, "what nobody waits for any more is not asked"
    alone.link.engine = Says(
        get_account=an_account(1), verify_account=VerifyView(ok=False, error_kind="wrong_secret", error="no")
    )
    assert exact(program.call("POST", f"{API}/accounts/1/verify"))["error"] == {"kind": "wrong_secret", "message": "no"}
