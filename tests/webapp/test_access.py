"""Who gets in: tokens, sessions, pages and what each must show. The hostile tries, and that they come to nothing."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from changing_engine import Engine
from copytrade_core.errors import ConfigError, Conflict, InvalidRequest
from copytrade_core.views import MetricsView
from copytrade_webapp.access import store as store_module
from copytrade_webapp.access import tickets as tickets_module
from copytrade_webapp.access.headers import CONTENT_SECURITY_POLICY
from copytrade_webapp.settings import PanelSettings
from fake_trader import an_account
from memory_exchange import until
from panel_client import API, HERE, Page, panel_stage

DAY_MIN = 24 * 60
WITHOUT_LOGIN = {("GET", f"{API}/session"), ("POST", f"{API}/session"), ("DELETE", f"{API}/session")}
# What gives power away, and so wants the token again when it was shown long ago.
POWER = [
    ("POST", "/accounts", {"name": "a", "exchange": "binance", "env": "test", "api_key": "k", "api_secret": "s"}),
    ("PATCH", "/accounts/a", {"version": 1, "credentials": {"api_key": "k"}}),
    ("DELETE", "/accounts/a", None),
    ("PUT", "/leader", {"exchange": "binance", "env": "test", "api_key": "k", "api_secret": "s"}),
    ("POST", "/copy/start", None),
    ("POST", "/reconcile", None),
    ("POST", "/tokens", {"name": "mine"}),
    ("DELETE", "/tokens/a", None),
    ("PATCH", "/devices/a", {"name": "mine"}),
    ("POST", "/devices/a/approve", None),
    ("DELETE", "/devices/a", None),
]


class Watched(Engine):
    """An engine that answers everything, and notes what it was asked to change."""

    LOOKS = ("get_", "list_", "preview_", "status", "doctor", "metrics")

    def __init__(self):
        super().__init__()
        account = lambda *_, **__: an_account(1)  # noqa: E731
        self.answers |= dict.fromkeys(
            ("get_account", "add_account", "update_account", "pause_account", "resume_account"), account
        )
        self.answers |= {
            "list_accounts": [an_account(number) for number in range(3)],
            "remove_account": None,
            "metrics": MetricsView(
                running=True,
                halted=False,
                leader_connections=2,
                unsettled=0,
                needs_person=0,
                journal_queue=0,
                journal_write_sec=0.001,
                copies={},
                accounts={},
                latency={},
            ),
            "start_copying": True,
            "stop_copying": False,
        }

    def changes(self):
        """Return the calls so far that were more than a look."""
        found = []
        while not self.calls.empty():
            name, _ = self.calls.get()
            if not name.startswith(self.LOOKS):
                found.append(name)
        return found


@pytest.fixture
def engine():
    # The app calls by position, the socket by name.
    class ByPosition(Watched):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name in super().__getattribute__("answers"):
                return lambda *args, **kwargs: self.ask(name, args, kwargs)
            return found

        def ask(self, name, args, kwargs):
            self.calls.put((name, {"args": args, **kwargs}))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer(*args, **kwargs) if callable(answer) else answer

    return ByPosition()


@pytest.fixture
def stage(tmp_path, engine):
    with panel_stage(tmp_path / "data", engine) as stage:
        yield stage


def calls_of(app, *, changing):
    """Yield the method and a path of each call of the API."""
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(f"{API}/") or rule.rule == f"{API}/stream":
            continue
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            if (method != "GET") is changing:
                yield method, path


def is_problem(answer, status, kind=None):
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.content_type == "application/problem+json"
    document = answer.json
    assert {"type", "title", "status", "kind", "detail"} <= set(document)
    assert document["status"] == status and document["detail"]
    assert kind in (None, document["kind"]), document
    return document


# --- without a login ---


def test_nothing_of_the_api_answers_a_stranger_but_what_makes_him_known(stage, engine):
    tried = [*calls_of(stage.app, changing=False), *calls_of(stage.app, changing=True)]
    assert len(tried) > 40 and set(tried) >= WITHOUT_LOGIN
    for method, path in tried:
        if (method, path) not in WITHOUT_LOGIN:
            answer = stage.page(log_in=False).call(method, path, {} if method != "GET" else None)
            is_problem(answer, 401, "login_required")
    for path in ("/nothing", "/accounts/1/nothing", "/../openapi.json", "//accounts", "/openapi.json/"):
        assert stage.page(log_in=False).call("GET", f"{API}{path}").status_code in (308, 401, 404)
    for path in (f"/{API}/status", "/./api/v1/status", "/x/../api/v1/status", "/API/V1/status", "/api%2fv1/status"):
        answer = stage.page(log_in=False).call("GET", path)
        assert answer.status_code in (308, 401, 404) and "running" not in answer.text, path
    assert engine.calls.empty()


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_no_odd_method_gets_around_the_login(stage, method):
    for path in ("/status", "/accounts", "/session"):
        assert stage.page(log_in=False).call(method, f"{API}{path}").status_code in (401, 405)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1:8080.evil.example", "localhost.evil.example", "[::1", "", "a@b"],
)
def test_a_name_that_somebody_else_pointed_here_reaches_nothing(stage, host):
    program = stage.program()
    for path in ("/", "/login", f"{API}/status", f"{API}/session", "/metrics", "/api/status", "/sw.js"):
        answer = program.call("GET", path, headers={"Host": host})
        assert answer.status_code in (400, 421), (path, answer.status_code)


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "127.0.0.1", "localhost"])
def test_another_port_of_this_machine_is_another_panel_and_the_same_for_who_watches_over_it(stage, host):
    program = stage.program()
    for path in ("/", f"{API}/status"):
        is_problem(program.call("GET", path, headers={"Host": host}), 421, "wrong_host")
    for path in ("/metrics", "/api/status", "/livez"):
        assert program.call("GET", path, headers={"Host": host}).status_code == 200


def test_the_panel_answers_to_its_public_name_alone(tmp_path):
    with panel_stage(tmp_path / "data", public_url="https://panel.example.org") as stage:
        page = stage.page(origin="https://panel.example.org")
        assert page.call("GET", f"{API}/session").json["logged_in"]
        answer = page.client.get(f"{API}/session", base_url=f"http://{HERE}")
        is_problem(answer, 421, "wrong_host")


# --- pages ---


def test_each_change_in_a_session_must_come_from_our_page_with_its_token(stage, engine):
    page = stage.page()
    others = [
        ({"without": ("X-CSRF-Token",)}, "csrf"),
        ({"headers": {"X-CSRF-Token": ""}}, "csrf"),
        ({"headers": {"X-CSRF-Token": "0" * 64}}, "csrf"),
        ({"headers": {"X-CSRF-Token": "ü"}}, "csrf"),
        ({"headers": {"X-CSRF-Token": stage.page().csrf}}, "csrf"),  # of another session
        ({"without": ("Origin",)}, "wrong_origin"),
        *(
            ({"headers": {"Origin": origin}}, "wrong_origin")
            for origin in ("null", "", "https://evil.example", "http://127.0.0.1", "http://127.0.0.1:8081",
                           "https://127.0.0.1:8080", "http://127.0.0.1:8080.evil.example", "HTTP://127.0.0.1:8080")
        ),
        *(({"headers": {"Sec-Fetch-Site": site}}, "wrong_origin") for site in ("cross-site", "same-site")),
    ]  # fmt: skip
    tried = [call for call in calls_of(stage.app, changing=True) if call != ("POST", f"{API}/session")]
    assert len(tried) > 20
    for method, path in tried:
        for options, kind in others:
            is_problem(page.call(method, path, {}, **options), 403, kind)
    assert engine.changes() == []
    assert page.call("GET", f"{API}/session").json["logged_in"]


@pytest.mark.parametrize("origin", ["null", "https://evil.example"])
def test_no_other_page_logs_a_browser_in(stage, origin):
    _, token = stage.store.add_token("小王")
    answer = stage.page(log_in=False).call("POST", f"{API}/session", {"token": token}, headers={"Origin": origin})
    is_problem(answer, 403, "wrong_origin")


def test_a_program_needs_neither_and_its_token_is_not_taken_from_elsewhere(stage, engine):
    program = stage.program()
    assert program.call("POST", f"{API}/accounts/1/pause").status_code == 200
    assert engine.changes() == ["pause_account"]
    for query in ("token", "access_token", "Authorization"):
        answer = stage.page(log_in=False).call("GET", f"{API}/status?{query}={program.token}")
        assert answer.status_code == 401
    answer = program.call("GET", f"{API}/status", headers={"Authorization": f"Basic {program.token}"})
    assert answer.status_code == 401


def test_looking_changes_nothing(stage, engine):
    page = stage.page()

    def written():
        with closing(sqlite3.connect(stage.panel.settings.database_path)) as connection:
            return list(connection.iterdump())

    page.call("GET", f"{API}/session")
    before = written()
    for method, path in calls_of(stage.app, changing=False):
        page.call(method, path)
    for path in ("/", "/login", "/offline", "/sw.js", "/manifest.webmanifest", "/livez", "/readyz", "/api/status"):
        assert page.call("GET", path).status_code == 200

    assert engine.changes() == []
    assert written() == before


# --- sessions ---


def test_the_cookie_is_for_this_host_and_no_script(stage):
    stage.store.add_token("小王")
    page = stage.page(log_in=False)
    _, token = stage.store.add_token("小王")
    header = page.call("POST", f"{API}/session", {"token": token}).headers["Set-Cookie"]
    assert header.startswith("copytrade_session=")
    assert "HttpOnly" in header and "SameSite=Strict" in header and "Path=/" in header
    assert "Domain" not in header and "Secure" not in header


def test_the_cookie_under_tls_is_secure_and_pinned_to_the_host(tmp_path):
    origin = "https://panel.example.org"
    with panel_stage(tmp_path / "data", public_url=origin) as stage:
        page = Page(stage, origin=origin)
        _, token = stage.store.add_token("小王")
        answer = page.call("POST", f"{API}/session", {"token": token})
        header = answer.headers["Set-Cookie"]
        assert header.startswith("__Host-copytrade=")
        assert all(word in header for word in ("HttpOnly", "SameSite=Strict", "Path=/", "Secure"))
        assert "Domain" not in header
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        assert "__Host-copytrade=;" in page.call("DELETE", f"{API}/session").headers["Set-Cookie"]


def test_a_session_that_was_foisted_on_a_browser_is_not_the_one_it_logs_in_to(stage):
    page = stage.page(log_in=False)
    page.client.set_cookie("copytrade_session", "chosen-by-somebody-else", domain="127.0.0.1")
    page.log_in()
    assert page.cookie != "chosen-by-somebody-else"

    thief = stage.page()
    page.client.set_cookie("copytrade_session", thief.cookie, domain="127.0.0.1")
    page.log_in()
    assert page.cookie != thief.cookie
    assert thief.call("GET", f"{API}/status").status_code == 401


def test_a_cookie_is_worth_nothing_after_logging_out(stage):
    page = stage.page()
    cookie = page.cookie
    assert page.call("DELETE", f"{API}/session").json == {"logged_in": False, "mode": "open"}
    page.client.set_cookie("copytrade_session", cookie, domain="127.0.0.1")
    assert page.call("GET", f"{API}/status").status_code == 401
    assert page.call("GET", f"{API}/session").json["logged_in"] is False


@pytest.mark.parametrize("by", ["api", "command line"])
def test_a_revoked_token_and_its_sessions_are_worth_nothing(stage, by):
    page, admin = stage.page(), stage.page()
    if by == "api":
        assert admin.call("DELETE", f"{API}/tokens/{page.token_id}").json["revoked"]
    else:
        stage.store.revoke_token(page.token_id)
    is_problem(page.call("GET", f"{API}/status"), 401, "login_required")
    answer = page.call("POST", f"{API}/session", {"token": page.token})
    is_problem(answer, 401, "token_invalid")
    answer = page.call("GET", f"{API}/status", headers={"Authorization": f"Bearer {page.token}"})
    is_problem(answer, 401, "token_invalid")
    assert admin.call("GET", f"{API}/status").status_code == 200


def test_a_session_ends_twelve_hours_after_its_last_use(stage):
    page = stage.page()
    for _ in range(4):
        stage.clock.move(minutes=11.9 * 60)
        assert page.call("GET", f"{API}/status").status_code == 200
    stage.clock.move(minutes=12 * 60 + 1)
    is_problem(page.call("GET", f"{API}/status"), 401, "login_required")
    stage.clock.move(minutes=-24 * 60)
    assert page.call("GET", f"{API}/status").status_code == 401, "what has ended stays ended"


def test_a_session_ends_after_thirty_days_however_much_it_is_used(stage):
    page = stage.page()
    for _ in range(60):
        stage.clock.move(minutes=12 * 60 - 5)
        assert page.call("GET", f"{API}/status").status_code == 200
    stage.clock.move(minutes=60 * 5 + 1)
    assert page.call("GET", f"{API}/status").status_code == 401


def test_the_code_of_a_link_lets_one_browser_in_for_ten_minutes(stage):
    code, late = stage.store.add_login_code(), stage.store.add_login_code()
    assert stage.page(log_in=False).call("POST", f"{API}/session", {"code": code}).status_code == 200
    is_problem(stage.page(log_in=False).call("POST", f"{API}/session", {"code": code}), 401, "code_invalid")
    stage.clock.move(minutes=10, seconds=1)
    is_problem(stage.page(log_in=False).call("POST", f"{API}/session", {"code": late}), 401, "code_invalid")


def test_of_many_who_use_one_code_at_once_one_gets_in(stage):
    code = stage.store.add_login_code()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: stage.page(log_in=False).call("POST", f"{API}/session", {"code": code}), range(8))
        )
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7


def test_a_code_for_one_purpose_is_none_for_another(stage):
    code = stage.store.add_enrolment_code()
    is_problem(stage.page(log_in=False).call("POST", f"{API}/session", {"code": code}), 401, "code_invalid")


def test_what_is_kept_opens_nothing(stage):
    code = stage.store.add_login_code()
    page = stage.page()
    ticket = page.call("POST", f"{API}/stream/ticket").json["ticket"]
    kept = b"".join(path.read_bytes() for path in stage.panel.settings.data_dir.iterdir())
    for secret in (page.token, page.cookie, page.csrf, code, ticket):
        assert len(secret) >= 32 and secret.encode() not in kept
    for path in stage.panel.settings.data_dir.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


# --- the token again ---


@pytest.mark.parametrize(("method", "path", "body"), POWER, ids=[f"{method} {path}" for method, path, _ in POWER])
def test_power_wants_the_token_again_after_half_an_hour(stage, engine, method, path, body):
    page = stage.page()
    stage.clock.move(minutes=30, seconds=1)
    is_problem(page.call(method, f"{API}{path}", body), 403, "reauthenticate")
    assert engine.changes() == []

    document = is_problem(page.call("POST", f"{API}/session/fresh", {"token": "ctp_wrong"}), 422, "token_invalid")
    assert document["errors"][0]["field"] == "token"
    is_problem(page.call(method, f"{API}{path}", body), 403, "reauthenticate")
    assert page.call("POST", f"{API}/session/fresh", {"token": page.token}).status_code == 200
    assert page.call(method, f"{API}{path}", body).status_code != 403


def test_nobody_shows_his_own_token_in_anothers_session(stage):
    """What is done there would be written down as done by the other."""
    page, other = stage.page(), stage.page()
    stage.clock.move(minutes=31)
    answer = page.call("POST", f"{API}/session/fresh", {"token": other.token})
    is_problem(answer, 422, "token_invalid")
    is_problem(page.call("POST", f"{API}/tokens", {"name": "a"}), 403, "reauthenticate")


def test_a_session_that_came_by_a_link_becomes_that_of_the_token_it_shows(stage):
    # A token that anybody names so is not the one behind the links.
    stage.store.add_token("login link")
    page = stage.page(log_in=False)
    page.call("POST", f"{API}/session", {"code": stage.store.add_login_code()})
    token_id, token = stage.store.add_token("小李")
    stage.clock.move(minutes=31)
    is_problem(page.call("POST", f"{API}/tokens", {"name": "a"}), 403, "reauthenticate")

    assert page.call("POST", f"{API}/session/fresh", {"token": token}).json["name"] == "小李"

    assert page.call("POST", f"{API}/tokens", {"name": "a"}).status_code == 201
    assert stage.audit()[-1][:2] == ("小李", "token_added")
    stage.store.revoke_token(token_id)
    assert page.call("GET", f"{API}/status").status_code == 401


@pytest.mark.parametrize("asker", ["page", "program"])
def test_trading_can_be_stopped_while_the_panels_database_cannot_be_written(tmp_path, engine, monkeypatch, asker):
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_SEC", 0.05)
    with panel_stage(tmp_path / "data", engine) as stage:
        who = getattr(stage, asker)()
        stage.clock.move(minutes=2)  # so that its last use is due to be written
        with closing(sqlite3.connect(stage.panel.settings.database_path)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert who.call("POST", f"{API}/copy/stop").json == {"running": False}
            assert who.call("GET", f"{API}/status").status_code == 200
            stranger = stage.page(log_in=False)
            is_problem(stranger.call("POST", f"{API}/session", {"token": "ctp_wrong"}), 401, "token_invalid")
        assert engine.changes() == ["stop_copying"]


def test_what_stops_trading_never_asks_for_it(stage, engine):
    page = stage.page()
    stage.clock.move(minutes=60)
    assert page.call("POST", f"{API}/copy/stop").json == {"running": False}
    assert page.call("POST", f"{API}/accounts/1/pause").status_code == 200


# --- guessing ---


def test_guessing_is_slowed_down_and_who_knows_a_token_still_gets_in(stage):
    _, token = stage.store.add_token("小王")
    guesser = stage.page(log_in=False)
    statuses = [
        guesser.call("POST", f"{API}/session", {"token": f"ctp_guess{number}"}).status_code for number in range(30)
    ]
    assert statuses[:10] == [401] * 10 and set(statuses[10:]) == {429}
    refused = guesser.call("POST", f"{API}/session", {"code": "guess"})
    assert is_problem(refused, 429, "too_many_requests")["retry_after_sec"] > 0
    assert 1 <= int(refused.headers["Retry-After"]) <= 3600
    bearer = guesser.call("GET", f"{API}/status", headers={"Authorization": "Bearer ctp_guess"})
    is_problem(bearer, 429, "too_many_requests")

    assert stage.page(log_in=False).call("POST", f"{API}/session", {"token": token}).status_code == 200
    assert guesser.call("GET", f"{API}/status", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    # Another address has tries of its own.
    other = stage.page(log_in=False).call(
        "POST", f"{API}/session", {"token": "ctp_guess"}, environ_base={"REMOTE_ADDR": "203.0.113.9"}
    )
    assert other.status_code == 401


@pytest.mark.parametrize("behind_proxy", [False, True])
def test_no_header_buys_a_guesser_more_tries(tmp_path, behind_proxy):
    """Nobody's word counts but the proxy's, and of what it passes on only its own: the last."""
    with panel_stage(tmp_path / "data", behind_proxy=behind_proxy) as stage:
        guesser = stage.page(log_in=False)
        peer = "127.0.0.1" if behind_proxy else "203.0.113.9"

        def guess(number):
            said = {"X-Forwarded-For": f"10.0.0.{number}" + (", 198.51.100.7" if behind_proxy else "")}
            said |= {"X-Real-IP": f"10.0.0.{number}", "Forwarded": f"for=10.0.0.{number}"}
            return guesser.call(
                "POST", f"{API}/session", {"token": "ctp_guess"}, headers=said, environ_base={"REMOTE_ADDR": peer}
            ).status_code

        assert [guess(number) for number in range(12)] == [401] * 10 + [429] * 2
        assert {row.address for row in stage.store.list_audit()} == {"198.51.100.7" if behind_proxy else peer}


def guess(page, address, token="ctp_guess"):
    said = {"environ_base": {"REMOTE_ADDR": address}}
    return page.call("POST", f"{API}/session", {"token": token}, **said).status_code


def test_guesses_from_everywhere_are_slowed_down_together_and_push_nothing_out_of_the_audit(stage, monkeypatch):
    monkeypatch.setattr(store_module, "REFUSED_KEPT", 20)
    owner, guesser = stage.page(), stage.page(log_in=False)
    statuses = [guess(guesser, f"198.51.{number // 250}.{number % 250}") for number in range(300)]
    assert statuses == [401] * 120 + [429] * 180

    # From none of these places anybody who knows a token is kept out.
    assert guess(stage.page(log_in=False), "198.51.0.1", owner.token) == 200
    assert owner.call("GET", f"{API}/status").status_code == 200
    whats = [what for _, what, _ in stage.audit()]
    assert whats.count("login_refused") == 20 and whats.count("login") == 2


def test_all_addresses_of_one_ipv6_network_are_one_guesser(stage):
    page = stage.page(log_in=False)
    assert [guess(page, f"2001:db8:1:2:{number}::1") for number in range(12)] == [401] * 10 + [429] * 2
    assert guess(page, "2001:db8:1:3::1") == 401
    assert [guess(page, f"::ffff:203.0.113.{number}") for number in range(12)] == [401] * 12


# --- twice ---


def test_the_same_change_sent_twice_is_done_once(stage, engine):
    page, key = stage.page(), {"Idempotency-Key": "one-click"}
    body = {"name": "a", "exchange": "binance", "env": "test", "api_key": "k", "api_secret": "planted-secret"}
    first = page.call("POST", f"{API}/accounts", body, headers=key)
    second = page.call("POST", f"{API}/accounts", body, headers=key)
    assert (second.status_code, second.data) == (first.status_code, first.data) == (201, first.data)
    assert second.content_type == first.content_type
    assert engine.changes() == ["add_account"]

    is_problem(page.call("POST", f"{API}/accounts", {**body, "name": "b"}, headers=key), 422)
    is_problem(page.call("POST", f"{API}/copy/start", headers=key), 422)
    other = stage.page().call("POST", f"{API}/accounts", body, headers=key)
    assert other.status_code == 201
    assert engine.changes() == ["add_account"]
    assert "planted-secret" not in repr(stage.access.once._answers)


def test_the_same_change_sent_at_once_is_done_once(stage, engine):
    page, go, key = stage.page(), threading.Event(), {"Idempotency-Key": "double-click"}

    def start():
        assert go.wait(10)
        return True

    engine.answers["start_copying"] = start
    headers = {"Cookie": f"copytrade_session={page.cookie}", **key}

    def click(_):
        twin = Page(stage)
        twin.csrf = page.csrf
        twin.client.set_cookie("copytrade_session", page.cookie, domain="127.0.0.1")
        return twin.call("POST", f"{API}/copy/start", headers=headers)

    with ThreadPoolExecutor(4) as pool:
        clicks = [pool.submit(click, number) for number in range(4)]
        until(lambda: not engine.calls.empty(), 5)
        go.set()
        answers = [each.result(10) for each in clicks]
    assert {(answer.status_code, answer.data) for answer in answers} == {(200, b'{"running": true}')}
    assert engine.changes() == ["start_copying"]


def test_what_was_refused_is_refused_again_and_what_broke_is_tried_again(stage, engine):
    page, key = stage.page(), {"Idempotency-Key": "again"}
    engine.answers["start_copying"] = InvalidRequest("set a leader first", kind="no_leader")
    assert [page.call("POST", f"{API}/copy/start", headers=key).status_code for _ in range(2)] == [422, 422]
    assert engine.changes() == ["start_copying"]

    key = {"Idempotency-Key": "broken"}
    engine.answers["start_copying"] = ConfigError("a fault")
    assert page.call("POST", f"{API}/copy/start", headers=key).status_code == 500
    engine.answers["start_copying"] = True
    assert page.call("POST", f"{API}/copy/start", headers=key).status_code == 200
    assert engine.changes() == ["start_copying", "start_copying"]


@pytest.mark.parametrize("name", ["x" * 129, "\x7f"])
def test_a_name_of_a_change_that_is_none_is_refused(stage, engine, name):
    is_problem(stage.program().call("POST", f"{API}/copy/start", headers={"Idempotency-Key": name}), 400)
    assert engine.changes() == []


# --- what answers say of themselves ---


def kinds_of_answers(stage, engine):
    page, stranger = stage.page(), stage.page(log_in=False)
    yield 200, page.call("GET", f"{API}/status")
    yield 200, page.call("GET", "/login")
    yield 200, page.call("GET", "/sw.js")
    yield 200, page.call("GET", "/livez")
    yield 200, page.call("GET", "/metrics")
    yield 401, stranger.call("GET", f"{API}/status")
    yield 403, page.call("POST", f"{API}/copy/start", without=("X-CSRF-Token",))
    yield 404, page.call("GET", f"{API}/nothing")
    yield 404, page.call("GET", "/nothing")
    yield 404, page.call("GET", "/static/old/app.js")
    yield 405, page.call("PUT", f"{API}/status", {})
    yield 413, page.call("POST", f"{API}/accounts", {"name": "x" * 70_000})
    yield 421, page.call("GET", f"{API}/status", headers={"Host": "evil.example"})
    yield 422, page.call("POST", f"{API}/accounts", {})
    yield 426, page.call("GET", f"{API}/stream")
    engine.answers["start_copying"] = Conflict("not now")
    yield 409, page.call("POST", f"{API}/copy/start")
    engine.answers["start_copying"] = ZeroDivisionError("planted-detail")
    yield 500, page.call("POST", f"{API}/copy/start")
    stage.link.engine = None
    yield 503, page.call("GET", f"{API}/status")
    for _ in range(11):
        answer = stranger.call("POST", f"{API}/session", {"token": "ctp_wrong"})
    yield 429, answer


def test_every_answer_says_what_its_page_may_do(stage, engine):
    for status, answer in kinds_of_answers(stage, engine):
        assert answer.status_code == status, answer.text
        headers = answer.headers
        assert headers.getlist("Content-Security-Policy") == [CONTENT_SECURITY_POLICY]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers and "Server" not in headers
        if answer.request.path.startswith("/api/"):
            assert headers["Cache-Control"] == "no-store"
            if status >= 400:
                is_problem(answer, status)
        assert "planted-detail" not in answer.text and "Traceback" not in answer.text


def test_the_policy_lets_nothing_in_but_our_own_files():
    words = {part.split()[0]: part.split()[1:] for part in CONTENT_SECURITY_POLICY.split("; ")}
    assert words["default-src"] == words["frame-ancestors"] == words["base-uri"] == ["'none'"]
    assert words["script-src"] == words["style-src"] == ["'self'"]
    assert "unsafe" not in CONTENT_SECURITY_POLICY and "*" not in CONTENT_SECURITY_POLICY


def test_no_secret_comes_back_or_is_written_down(stage, engine, caplog):
    caplog.set_level(logging.DEBUG)
    page = stage.page()
    secrets = [f"planted-{number}-0815" for number in range(6)]
    engine.answers["add_account"] = ZeroDivisionError("the engine fell over")
    body = {"name": "a", "exchange": "binance", "env": "test", "api_key": secrets[0], "api_secret": secrets[1]}
    answers = [
        page.call("POST", f"{API}/accounts", body),
        page.call("POST", f"{API}/accounts", {**body, "env": 5}),
        page.call("POST", f"{API}/accounts", {**body, "passphrase": 5}),
        page.call("POST", f"{API}/session", {"token": secrets[2]}),
        page.call("POST", f"{API}/session", {"code": secrets[3], "token": secrets[3]}),
        page.call("POST", f"{API}/session/fresh", {"token": secrets[4]}),
        page.call("GET", f"{API}/status", headers={"Authorization": f"Bearer {secrets[5]}"}),
        page.call("GET", f"{API}/tokens"),
        page.call("GET", f"{API}/tokens/audit"),
    ]
    said = "".join(answer.text for answer in answers) + caplog.text
    for secret in [*secrets, page.token, page.cookie]:
        assert secret not in said


def test_who_did_what_is_kept(stage):
    page = stage.page()
    made = page.call("POST", f"{API}/tokens", {"name": "robot"}).json
    page.call("DELETE", f"{API}/tokens/{made['id']}")
    for method, path, body in [
        ("POST", "/accounts", POWER[0][2]), ("PATCH", "/accounts/1", {"version": 1, "name": "b"}),
        ("POST", "/accounts/1/pause", None), ("POST", "/accounts/1/resume", None), ("DELETE", "/accounts/1", None),
        ("POST", "/copy/start", None), ("POST", "/copy/stop", None),
    ]:  # fmt: skip
        assert page.call(method, f"{API}{path}", body).status_code < 300, path
    page.call("POST", f"{API}/session/fresh", {"token": page.token})
    page.call("POST", f"{API}/session", {"token": "ctp_wrong"})
    page.call("DELETE", f"{API}/session")

    whats = [(who, what) for who, what, _ in stage.audit()]
    assert whats == [
        ("小王", "login"), ("小王", "token_added"), ("小王", "token_revoked"), ("小王", "account_added"),
        ("小王", "account_changed"), ("小王", "account_paused"), ("小王", "account_resumed"),
        ("小王", "account_removed"), ("小王", "copying_started"), ("小王", "copying_stopped"), ("小王", "proved"),
        ("somebody", "login_refused"), ("小王", "logout"),
    ]  # fmt: skip
    shown = stage.page().call("GET", f"{API}/tokens/audit?limit=1000").json["items"]
    assert [row["what"] for row in shown][1:] == [what for _, what in reversed(whats)]
    assert {row["address"] for row in shown} == {"127.0.0.1"}


# --- live streams ---


def test_a_ticket_lives_fifteen_seconds_and_for_one_origin(stage, monkeypatch):
    page = stage.page()
    now = [1000.0]
    monkeypatch.setattr(tickets_module.time, "monotonic", lambda: now[0])
    first, second, third = (page.call("POST", f"{API}/stream/ticket").json["ticket"] for _ in range(3))
    assert stage.panel.tickets.redeem(first, "https://evil.example") is None
    assert stage.panel.tickets.redeem(first, page.origin) is None, "it is used up"
    assert stage.panel.tickets.redeem(second, page.origin)
    now[0] += 15
    assert stage.panel.tickets.redeem(third, page.origin) is None


def test_logging_out_ends_the_streams_and_the_tickets_of_this_session_and_no_other(stage):
    page, other = stage.page(), stage.page()
    tickets = [each.call("POST", f"{API}/stream/ticket").json["ticket"] for each in (page, page, other)]
    viewers = [stage.panel.hub.join(stage.panel.tickets.redeem(t, page.origin)) for t in (tickets[0], tickets[2])]
    page.call("DELETE", f"{API}/session")
    assert [viewer.closing.is_set() for viewer in viewers] == [True, False]
    assert viewers[0].close_with[0] == 4401
    assert stage.panel.tickets.redeem(tickets[1], page.origin) is None


def test_a_session_that_has_run_out_is_no_longer_in_force(stage):
    page = stage.page()
    ticket = page.call("POST", f"{API}/stream/ticket").json["ticket"]
    label = stage.panel.tickets.redeem(ticket, page.origin)
    assert stage.panel.hub._in_force(label)
    stage.clock.move(minutes=30 * DAY_MIN + 1)
    assert not stage.panel.hub._in_force(label)


# --- settings ---


@pytest.mark.parametrize(
    ("environ", "what"),
    [
        ({"PANEL_BIND": "unix:/run/panel.sock"}, "PANEL_PUBLIC_URL"),
        ({"PANEL_BIND": "0.0.0.0:8080"}, "PANEL_PUBLIC_URL"),
        ({"PANEL_BIND": "[::]:8080"}, "PANEL_PUBLIC_URL"),
        ({"TLS_CLIENT_CA": "CA"}, "APP_MODE=device_whitelist"),
        ({"TLS_CLIENT_CA": "CA", "APP_MODE": "device_whitelist"}, "PANEL_BEHIND_PROXY=on"),
        ({"TLS_CLIENT_CA": "/nowhere", "APP_MODE": "device_whitelist"}, "no file"),
        ({"JWT_SECRET": "short"}, "JWT_SECRET"),
        ({"APP_MODE": "Device_whitelist"}, "APP_MODE"),
    ],
    ids=str,
)
def test_a_setting_that_would_shut_everybody_out_or_let_more_in_than_meant_is_refused(tmp_path, environ, what):
    (tmp_path / "CA").touch()
    environ = {name: str(tmp_path / value) if value == "CA" else value for name, value in environ.items()}
    with pytest.raises(ConfigError, match=re.escape(what)):
        PanelSettings.from_environment(environ)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Panel.Example.org/", "https://panel.example.org"),
        ("https://panel.example.org:443", "https://panel.example.org"),
        ("http://panel.lan:80", "http://panel.lan"),
        ("https://panel.example.org:8443", "https://panel.example.org:8443"),
    ],
)
def test_the_public_address_is_kept_as_browsers_write_it(tmp_path, given, origin):
    settings = PanelSettings.from_environment({"PANEL_PUBLIC_URL": given, "DATA_DIR": str(tmp_path)})
    assert settings.url == origin
    with panel_stage(tmp_path / "data", public_url=settings.public_url) as stage:
        assert stage.page(origin=origin).call("GET", f"{API}/session").json["logged_in"]
