"""Registered devices: proofs that are old, stolen, bent or of somebody else; certificates claimed by a header."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from changing_engine import Engine
from client_certificate import certificate
from copytrade_webapp.access.secret import PanelSecret
from copytrade_webapp.access.store import MOST_PENDING, DeviceKind
from copytrade_webapp.settings import AppMode
from panel_client import API, HERE, Device, b64, panel_stage

URL = f"http://{HERE}{API}"


@pytest.fixture
def stage(tmp_path):
    with panel_stage(tmp_path / "data", Engine(), mode=AppMode.DEVICE_WHITELIST) as stage:
        yield stage


@pytest.fixture
def page(stage):
    """A page on an approved device."""
    page = stage.page()
    assert page.enrol(stage.store.add_enrolment_code()).json["state"] == "APPROVED"
    assert page.take_token().status_code == 200
    assert page.call("GET", f"{API}/gaps").status_code != 401
    return page


def ask(page, *, proof=None, token=None, method="GET", path="/devices", **headers):
    """Call with this proof and token in place of the page's own."""
    own = page.device.headers(method, f"http://{HERE}{API}{path}")
    if proof is not None:
        own["DPoP"] = proof
    if token is not None:
        own["Authorization"] = f"DPoP {token}"
    return page.call(method, f"{API}{path}", headers={**own, **headers})


def is_problem(answer, status, kind):
    assert (answer.status_code, answer.json.get("kind")) == (status, kind), answer.text
    assert answer.headers["DPoP-Nonce"]


# --- the way in ---


def test_a_device_waits_until_somebody_approves_it(stage, page):
    other = stage.page()
    is_problem(other.call("GET", f"{API}/devices"), 401, "device_proof_required")
    assert other.enrol().json["state"] == "PENDING"
    is_problem(other.take_token(), 403, "device_pending")
    (pending,) = [each for each in page.call("GET", f"{API}/devices").json["items"] if each["state"] == "PENDING"]
    # It cannot let itself in.
    is_problem(other.call("POST", f"{API}/devices/{pending['id']}/approve"), 401, "device_proof_required")

    assert page.call("POST", f"{API}/devices/{pending['id']}/approve").json["state"] == "APPROVED"

    assert other.take_token().json["expires_in"] == 300
    listed = other.call("GET", f"{API}/devices").json["items"]
    assert {each["last_address"] for each in listed} == {"127.0.0.1"}
    assert [each["approved_by"] for each in listed] == ["device code", "小王, 办公室"]
    assert other.call("PATCH", f"{API}/devices/{pending['id']}", {"name": "笔记本"}).json["name"] == "笔记本"
    whats = [what for _, what, _ in stage.audit()]
    assert whats.count("device_enrolled") == 2 and whats[-2:] == ["device_approved", "device_renamed"]


@pytest.mark.parametrize("code", ["made-up", "login", "used"])
def test_no_other_code_approves_a_device(stage, code):
    if code == "login":
        code = stage.store.add_login_code()
    elif code == "used":
        code = stage.store.add_enrolment_code()
        assert stage.page().enrol(code).json["state"] == "APPROVED"
    answer = stage.page().enrol(code)
    is_problem(answer, 422, "code_invalid")
    assert answer.json["errors"][0]["field"] == "code"


def test_a_device_code_runs_out_after_thirty_days(stage):
    code = stage.store.add_enrolment_code()
    stage.clock.move(minutes=30 * 24 * 60 + 1)
    page = stage.page()
    page.device = Device()
    page.call("GET", f"{API}/session")
    proof = page.device.proof("POST", f"{URL}/devices/enrol", claims={"iat": stage.clock.wall_ms() // 1000})
    answer = page.call("POST", f"{API}/devices/enrol", {"name": "a", "code": code}, headers={"DPoP": proof})
    is_problem(answer, 422, "code_invalid")


def test_a_key_alone_is_nobody_and_a_stranger_cannot_even_enrol(stage):
    stranger = stage.page(log_in=False)
    stranger.device = Device()
    for method, path, body in [("POST", "/devices/enrol", {"name": "a"}), ("POST", "/devices/token", None)]:
        is_problem(stranger.call(method, f"{API}{path}", body), 401, "login_required")


def test_a_device_is_registered_before_only_devices_get_in(tmp_path):
    with panel_stage(tmp_path / "data", Engine()) as stage:
        page = stage.page()
        assert page.enrol().json["state"] == "PENDING"


def test_a_page_that_enrols_twice_at_once_is_one_device(stage):
    pages = [stage.page() for _ in range(6)]
    device = Device()
    for page in pages:
        page.device = device
        page.call("GET", f"{API}/session")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda page: page.call("POST", f"{API}/devices/enrol", {"name": "a"}), pages))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == len(stage.store.list_devices()) == 1


def test_devices_that_nobody_approves_do_not_pile_up(stage):
    for number in range(MOST_PENDING):
        stage.store.add_device(DeviceKind.WEBCRYPTO, "a", f"thumbprint {number}")
    is_problem(stage.page().enrol(), 409, "conflict")


# --- proofs ---


def test_a_proof_is_good_once(page):
    proof = page.device.proof("GET", f"{URL}/devices", page.device.token)
    assert ask(page, proof=proof).status_code == 200
    is_problem(ask(page, proof=proof), 401, "device_proof_invalid")


def test_a_call_without_a_proof_or_without_a_token_is_refused(page):
    missing = page.call("GET", f"{API}/devices", without=("DPoP",))
    is_problem(missing, 401, "device_proof_required")
    is_problem(page.call("GET", f"{API}/devices", without=("Authorization",)), 401, "device_proof_required")
    bearer = page.call("GET", f"{API}/devices", headers={"Authorization": f"Bearer {page.device.token}"})
    is_problem(bearer, 401, "token_invalid")
    program = page.stage.program()
    is_problem(program.call("GET", f"{API}/devices"), 401, "device_proof_required")
    is_problem(program.call("GET", f"{API}/nothing"), 401, "device_proof_required")


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"htm": "POST"}, "device_proof_invalid"),
        ({"htm": "get"}, "device_proof_invalid"),
        ({"htm": None}, "device_proof_invalid"),
        ({"htm": ["GET"]}, "device_proof_invalid"),
        ({"htu": f"{URL}/tokens"}, "device_proof_invalid"),
        ({"htu": f"https://evil.example{API}/devices"}, "device_proof_invalid"),
        ({"htu": f"{URL}/devices?"}, "device_proof_invalid"),
        ({"htu": None}, "device_proof_invalid"),
        ({"htu": [f"{URL}/devices"]}, "device_proof_invalid"),
        ({"htu": {}}, "device_proof_invalid"),
        ({"ath": None}, "device_proof_invalid"),
        ({"ath": b64(b"0" * 32)}, "device_proof_invalid"),
        ({"ath": "\ud800"}, "device_proof_invalid"),
        ({"ath": 5}, "device_proof_invalid"),
        ({"jti": None}, "device_proof_invalid"),
        ({"jti": ""}, "device_proof_invalid"),
        ({"jti": 5}, "device_proof_invalid"),
        ({"iat": None}, "device_proof_invalid"),
        ({"iat": "now"}, "device_proof_invalid"),
        ({"iat": 1.5}, "device_proof_invalid"),
        ({"iat": True}, "device_proof_invalid"),
        ({"iat": 10**400}, "device_clock"),
        ({"iat": 0}, "device_clock"),
        ({"nonce": None}, "use_dpop_nonce"),
        ({"nonce": "made-up"}, "use_dpop_nonce"),
        ({"nonce": "\ud800"}, "use_dpop_nonce"),
        ({"nonce": []}, "use_dpop_nonce"),
    ],
    ids=str,
)
def test_a_proof_of_something_else_is_refused(page, claims, kind):
    is_problem(ask(page, proof=page.device.proof("GET", f"{URL}/devices", page.device.token, claims=claims)), 401, kind)
    assert ask(page).status_code == 200


def strange_proofs(device):
    """Yield proofs that are none, by what is strange about them."""
    token, url = device.token, f"{URL}/devices"
    jwk = device.key.as_dict(private=False)
    good = device.proof("GET", url, token)
    head, body, signature = good.split(".")
    yield "alg none", device.proof("GET", url, token, header={"alg": "none"})
    unsigned = b64(json.dumps({"typ": "dpop+jwt", "alg": "none", "jwk": jwk}).encode())
    yield "alg none, unsigned", f"{unsigned}.{body}."
    for alg in ("HS256", "RS256", "ES384", "ES256K", "EdDSA", "", None, 5, ["ES256"], "es256"):
        yield f"alg {alg}", device.proof("GET", url, token, header={"alg": alg})
    for typ in ("JWT", "dpop", "", None, 5, "at+jwt"):
        yield f"typ {typ}", device.proof("GET", url, token, header={"typ": typ})
    yield "private part", device.proof("GET", url, token, header={"jwk": device.key.as_dict(private=True)})
    other = ECKey.generate_key("P-256").as_dict(private=False)
    yield "other key's signature", device.proof("GET", url, token, header={"jwk": other})
    p384 = Device(ECKey.generate_key("P-384"))
    yield "other curve", p384.proof("GET", url, token, header={"jwk": p384.key.as_dict(private=False)})
    yield "other curve under its name", device.proof("GET", url, token, header={"jwk": {**jwk, "crv": "P-384"}})
    yield "no point of the curve", device.proof("GET", url, token, header={"jwk": {**jwk, "x": b64(b"\1" * 32)}})
    yield "empty point", device.proof("GET", url, token, header={"jwk": {**jwk, "x": "", "y": ""}})
    yield "long point", device.proof("GET", url, token, header={"jwk": {**jwk, "x": b64(b"\1" * 900)}})
    yield "RSA", device.proof("GET", url, token, header={"jwk": RSAKey.generate_key(2048).as_dict(private=False)})
    yield "symmetric", device.proof("GET", url, token, header={"jwk": {"kty": "oct", "k": b64(b"k" * 32)}})
    for odd in (None, 5, "text", [], {}, {"kty": "EC"}, {"kty": ["EC"], "crv": "P-256"}):
        yield f"jwk {odd!r:.20}", device.proof("GET", url, token, header={"jwk": odd})
    yield "kid and x5c only", device.proof("GET", url, token, header={"jwk": None, "kid": "1", "x5c": ["a"]})
    yield "critical extension", device.proof("GET", url, token, header={"crit": ["b64"], "b64": False})
    for claims in ([], "text", 5, None):
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}
        yield f"claims {claims!r}", device.signed_as_said(header, claims)
    deep, huge = "[" * 1400, "9" * 2900
    for name, text in [("open", deep), ("closed", deep + "]" * 1400), ("inside", f'{{"jwk":{deep}'), ("9", huge)]:
        yield f"deep or huge, {name}", f"{b64(text.encode())}.{body}.{signature}"
    yield "cut", good[:-10]
    yield "no signature", f"{head}.{body}."
    yield "two parts", f"{head}.{body}"
    yield "five parts", f"{good}.a.b"
    yield "flattened", json.dumps({"protected": head, "payload": body, "signature": signature})
    yield "not base64", "!.!.!"
    yield "no text", "\xff\xfe"
    yield "long", f"{head}.{body}.{'A' * 5000}"
    yield "two proofs", f"{good}, {good}"


def test_a_strange_proof_is_refused_and_nothing_breaks(page):
    tried = list(strange_proofs(page.device))
    assert len(tried) > 40
    for name, proof in tried:
        answer = ask(page, proof=proof)
        assert (answer.status_code, answer.json["kind"]) == (401, "device_proof_invalid"), name
    assert ask(page).status_code == 200


def strange_tokens(stage, device):
    """Yield access tokens that are none of this device's."""
    good = jwt.decode(device.token, OctKey.import_key(secret(stage).key("device-token")))
    key = OctKey.import_key(secret(stage).key("device-token"))

    def signed(key=key, header=None, **claims):
        kept = {name: value for name, value in ({**good.claims, **claims}).items() if value is not None}
        return jwt.encode({"alg": "HS256", "typ": "at+jwt", **(header or {})}, kept, key)

    yield "no token", ""
    yield "text", "text"
    head, body, _ = device.token.split(".")
    unsigned = b64(json.dumps({"alg": "none", "typ": "at+jwt"}).encode())
    yield "alg none", f"{unsigned}.{body}."
    yield "other purpose's key", signed(OctKey.import_key(secret(stage).key("csrf")))
    yield "other key", signed(OctKey.import_key("k" * 32))
    yield "other type", signed(header={"typ": "JWT"})
    yield "other audience", signed(aud="somebody")
    yield "no audience", signed(aud=None)
    yield "run out", signed(exp=1)
    yield "without end", signed(exp=None)
    yield "strange end", signed(exp="never")
    yield "endless", signed(exp=10**400, cnf=None)
    yield "no device", signed(sub="nobody")
    yield "no key", signed(cnf={})
    yield "other key bound", signed(cnf={"jkt": "somebody"})
    yield "key of another", signed(cnf=5)
    yield "proof as token", device.proof("GET", f"{URL}/devices")
    deep = b64(b"[" * 3000)
    yield "deep", f"{deep}.{body}.{head}"


def secret(stage):
    return PanelSecret("", stage.panel.settings.data_dir / "panel.key")


def test_a_strange_token_is_refused_and_nothing_breaks(stage, page):
    for name, token in strange_tokens(stage, page.device):
        proof = page.device.proof("GET", f"{URL}/devices", token)
        answer = ask(page, proof=proof, token=token)
        assert answer.status_code == 401, name
        assert answer.json["kind"] in ("device_token_invalid", "device_proof_invalid", "device_proof_required"), name
    assert ask(page).status_code == 200


def test_a_stolen_token_is_worth_nothing_without_the_key(stage, page):
    thief = Device()
    thief.nonce = page.device.nonce
    proof = thief.proof("GET", f"{URL}/devices", page.device.token)
    is_problem(ask(page, proof=proof), 401, "device_proof_invalid")
    # Nor with another registered key.
    colleague = stage.page()
    colleague.enrol(stage.store.add_enrolment_code())
    colleague.take_token()
    proof = colleague.device.proof("GET", f"{URL}/devices", page.device.token)
    is_problem(ask(page, proof=proof), 401, "device_proof_invalid")


def test_a_token_runs_out_after_five_minutes_and_a_nonce_too(stage, page):
    nonce = page.device.nonce
    stage.clock.move(minutes=5, seconds=1)
    now = {"iat": stage.clock.wall_ms() // 1000}
    stale = page.device.proof("GET", f"{URL}/devices", page.device.token, claims=now)
    is_problem(ask(page, proof=stale), 401, "device_token_invalid")

    stage.clock.move(minutes=5)
    page.device.nonce = nonce
    now = {"iat": stage.clock.wall_ms() // 1000, "nonce": nonce}
    old = page.device.proof("POST", f"{URL}/devices/token", claims=now)
    answer = ask(page, method="POST", path="/devices/token", proof=old)
    is_problem(answer, 401, "use_dpop_nonce")
    assert answer.headers["DPoP-Nonce"] != nonce
    now["nonce"] = answer.headers["DPoP-Nonce"]
    new = page.device.proof("POST", f"{URL}/devices/token", claims=now)
    assert ask(page, method="POST", path="/devices/token", proof=new).status_code == 200


def test_a_key_that_nobody_registered_does_not_fill_the_memory(stage):
    page = stage.page()
    page.device = Device()
    page.call("GET", f"{API}/session")
    statuses = [page.call("POST", f"{API}/devices/token").status_code for _ in range(61)]
    assert statuses == [403] * 60 + [429]


def test_the_proof_of_a_device_stands_for_the_token_that_power_wants(stage, page):
    with stage.store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE sessions SET proved_ms = 0")
    assert page.call("POST", f"{API}/tokens", {"name": "robot"}).status_code == 201


def test_a_proof_is_not_good_again_after_the_panel_has_restarted(tmp_path):
    """Which proofs were used is kept in memory alone."""
    settings = {"mode": AppMode.DEVICE_WHITELIST, "jwt_secret": "the same secret before and after 0123456789"}
    with panel_stage(tmp_path / "data", Engine(), **settings) as stage:
        page = stage.page()
        page.enrol(stage.store.add_enrolment_code())
        page.take_token()
        proof = page.device.proof("GET", f"{URL}/devices", page.device.token)
        assert ask(page, proof=proof).status_code == 200
        cookie = page.cookie
    with panel_stage(tmp_path / "data", Engine(), **settings) as stage:
        replayed = stage.page(log_in=False)
        replayed.client.set_cookie("copytrade_session", cookie, domain="127.0.0.1")
        replayed.device = page.device
        is_problem(ask(replayed, proof=proof), 401, "use_dpop_nonce")
        assert ask(replayed).status_code == 200, "with the new nonce it goes on"


def test_a_session_stays_on_its_device(stage, page):
    """A cookie that was copied is worth nothing to somebody else's registered device, and ends."""
    thief = stage.page()
    thief.enrol(stage.store.add_enrolment_code())
    thief.take_token()
    ticket = page.call("POST", f"{API}/stream/ticket").json["ticket"]
    viewer = stage.panel.hub.join(stage.panel.tickets.redeem(ticket, page.origin))
    thief.client.set_cookie("copytrade_session", page.cookie, domain="127.0.0.1")

    is_problem(thief.call("GET", f"{API}/devices"), 401, "login_required")

    assert stage.audit()[-1][:2] == ("小王", "session_on_other_device")
    assert viewer.closing.is_set()
    is_problem(page.call("GET", f"{API}/devices"), 401, "login_required")


@pytest.mark.parametrize("by", ["enrol", "token"])
def test_no_other_device_takes_a_session_over(stage, page, by):
    thief = stage.page()
    if by == "token":
        thief.enrol(stage.store.add_enrolment_code())
    thief.csrf = page.call("GET", f"{API}/session").json["csrf"]
    thief.client.set_cookie("copytrade_session", page.cookie, domain="127.0.0.1")
    thief.device = thief.device or Device()
    thief.device.nonce = page.device.nonce
    code = stage.store.add_enrolment_code()
    known = len(stage.store.list_devices())
    body = {"name": "a", "code": code} if by == "enrol" else None

    is_problem(thief.call("POST", f"{API}/devices/{by}", body), 401, "login_required")

    assert len(stage.store.list_devices()) == known and stage.store.use_code("enrolment", code)
    assert thief.call("GET", f"{API}/session").json["logged_in"] is False


def test_what_a_client_may_do_about_its_proof_is_said_as_the_standard_says_it(page):
    for claims, error in [({"nonce": "old"}, "use_dpop_nonce"), ({"htm": "PUT"}, "invalid_dpop_proof")]:
        proof = page.device.proof("GET", f"{URL}/devices", page.device.token, claims=claims)
        challenge = ask(page, proof=proof).headers["WWW-Authenticate"]
        assert challenge.startswith("DPoP ") and f'error="{error}"' in challenge and 'algs="ES256"' in challenge
    assert page.stage.page(log_in=False).call("GET", f"{API}/devices").headers["WWW-Authenticate"].startswith("Bearer")


# --- the way out ---


@pytest.mark.parametrize("by", ["api", "command line"])
def test_a_revoked_device_is_out_at_once_with_its_sessions_and_streams(stage, page, by):
    admin = stage.page()
    admin.enrol(stage.store.add_enrolment_code())
    admin.take_token()
    tickets = [page.call("POST", f"{API}/stream/ticket").json["ticket"] for _ in range(2)]
    label = stage.panel.tickets.redeem(tickets[0], page.origin)
    viewer = stage.panel.hub.join(label)
    other = stage.panel.hub.join("session:other/device:other")
    device_id = stage.store.find_device(page.device.key.thumbprint()).id
    cookie = page.cookie

    if by == "api":
        assert admin.call("DELETE", f"{API}/devices/{device_id}").json["state"] == "REVOKED"
        assert viewer.closing.is_set() and viewer.close_with[0] == 4401 and not other.closing.is_set()
        assert stage.panel.tickets.redeem(tickets[1], page.origin) is None
    else:
        stage.store.revoke_device(device_id)

    assert not stage.store.in_force(label, 10**6, 10**6)
    is_problem(page.call("GET", f"{API}/devices"), 401, "login_required")
    # Logged in anew, the device itself is refused, with its old token and for a new one.
    assert page.log_in() and page.cookie != cookie
    is_problem(page.call("GET", f"{API}/devices"), 403, "device_revoked")
    is_problem(page.take_token(), 403, "device_revoked")
    is_problem(page.enrol(stage.store.add_enrolment_code()), 409, "device_revoked")
    assert admin.call("GET", f"{API}/devices").status_code == 200


# --- certificates ---


@pytest.fixture
def behind_proxy(tmp_path):
    authority = tmp_path / "ca.crt"
    authority.touch()
    with panel_stage(
        tmp_path / "data", Engine(), mode=AppMode.DEVICE_WHITELIST, behind_proxy=True, tls_client_ca=authority
    ) as stage:
        yield stage


def show(page, text, *, verify="SUCCESS", peer="127.0.0.1", path="/devices", method="GET"):
    headers = {"X-Client-Verify": verify, "X-Client-Cert": text, "X-Forwarded-For": "198.51.100.7"}
    return page.call(method, f"{API}{path}", headers=headers, environ_base={"REMOTE_ADDR": peer})


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", ""])
def test_a_certificate_shown_to_the_proxy_is_a_device(behind_proxy, peer):
    page, text = behind_proxy.page(), certificate("of\u202efice\x1b[2J")
    is_problem(show(page, text, peer=peer), 403, "device_pending")
    (device,) = behind_proxy.store.list_devices()
    assert (device.kind, device.name) == ("certificate", "office[2J")
    behind_proxy.store.approve_device(device.id, "command line")
    assert show(page, text, peer=peer).status_code == 200
    assert behind_proxy.store.list_devices()[0].last_address == "198.51.100.7"
    ticket = show(page, text, peer=peer, method="POST", path="/stream/ticket").json["ticket"]
    label = behind_proxy.panel.tickets.redeem(ticket, page.origin)
    assert label.endswith(f"/device:{device.id}")

    assert behind_proxy.store.revoke_device(device.id), "the session that it used ends with it"
    is_problem(show(page, text, peer=peer), 401, "login_required")
    is_problem(show(behind_proxy.page(), text, peer=peer), 403, "device_revoked")


@pytest.mark.parametrize(
    "claimed",
    [
        {"peer": "203.0.113.9"},
        {"peer": "10.0.0.1"},
        {"verify": "FAILED:self-signed certificate"},
        {"verify": "NONE"},
        {"verify": ""},
        {"verify": "success"},
    ],
    ids=str,
)
def test_a_certificate_that_anybody_else_claims_is_nothing(behind_proxy, claimed):
    is_problem(show(behind_proxy.page(), certificate(), **claimed), 401, "device_proof_required")
    assert behind_proxy.store.list_devices() == []


@pytest.mark.parametrize("text", ["", "text", "%00", "-----BEGIN CERTIFICATE-----", "A" * 8193, "%ff" * 50])
def test_what_is_no_certificate_is_nothing(behind_proxy, text):
    is_problem(show(behind_proxy.page(), text), 401, "device_proof_required")


def test_without_an_authority_or_a_proxy_no_certificate_counts(tmp_path):
    authority = tmp_path / "ca.crt"
    authority.touch()
    for number, settings in enumerate([{"behind_proxy": True}, {"tls_client_ca": authority}]):
        with panel_stage(tmp_path / f"{number}", Engine(), mode=AppMode.DEVICE_WHITELIST, **settings) as stage:
            is_problem(show(stage.page(), certificate()), 401, "device_proof_required")


def test_a_program_shows_its_token_and_a_certificate(behind_proxy):
    program, text = behind_proxy.program(), certificate("robot")
    is_problem(show(program, text), 403, "device_pending")
    behind_proxy.store.approve_device(behind_proxy.store.list_devices()[0].id, "command line")
    assert show(program, text).status_code == 200
    is_problem(show(program, certificate("robot")), 403, "device_pending")


def test_a_stranger_with_a_certificate_fills_no_list(behind_proxy):
    is_problem(show(behind_proxy.page(log_in=False), certificate()), 401, "login_required")
    assert behind_proxy.store.list_devices() == []


def test_a_page_that_asks_many_things_at_once_is_one_certificate(behind_proxy):
    text, pages = certificate(), [behind_proxy.page() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda page: show(page, text), pages))
    assert {answer.status_code for answer in answers} == {403}
    assert len(behind_proxy.store.list_devices()) == 1
