"""The panel's app without a server: pages, programs and devices as it sees them, and a clock that a test moves."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask
from joserfc import jws
from joserfc.jwk import ECKey
from jsonschema import Draft202012Validator
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from copytrade_core.clock import Clock
from copytrade_core.errors import EngineNotRunning
from copytrade_webapp.access.guard import Access
from copytrade_webapp.app import create_app
from copytrade_webapp.engine_link import EngineState
from copytrade_webapp.settings import PanelSettings

HERE = "127.0.0.1:8080"
API = "/api/v1"
UNDOCUMENTED = (f"{API}/openapi.json", f"{API}/stream")  # the document itself, and the WebSocket


class MovedClock(Clock):
    """Real time, and what a test adds to it."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_ms = 0

    def move(self, *, minutes: float = 0, seconds: float = 0) -> None:
        self.ahead_ms += round((minutes * 60 + seconds) * 1000)

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms


class Link:
    """The engine's end as the panel sees it: a trader, or none since some time."""

    def __init__(self, trader: Any = None) -> None:
        self.engine = trader

    @property
    def state(self) -> EngineState:
        return EngineState(self.engine is not None, "2026-11-22T12:00:00.000Z")

    @property
    def trader(self) -> Any:
        if self.engine is None:
            raise EngineNotRunning("the engine is not running since 2026-11-22T12:00:00.000Z")
        return self.engine

    def on_event(self, handler: Callable[[Any], None]) -> None: ...

    def on_state(self, watcher: Callable[[Any], None]) -> None: ...

    def stop(self) -> None: ...


class Stage:
    """One app with its parts."""

    def __init__(self, app: Flask, clock: MovedClock, link: Link) -> None:
        self.app, self.clock, self.link = app, clock, link
        self.panel = app.extensions["copytrade"]
        self.store = self.panel.store
        self.access: Access = app.extensions["copytrade_access"]

    def page(self, *, log_in: bool = True, **options: Any) -> Page:
        """Return a browser's page, logged in by a token of its own."""
        page = Page(self, **options)
        if log_in:
            page.log_in()
        return page

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document, which is sent to whoever is logged in."""
        (api,) = self.app.extensions["flask-smorest"]["apis"].values()
        return dict(api["ext_obj"].spec.to_dict())

    def hold_to_the_document(self, answer: TestResponse) -> None:
        """Hold an answer of the API against what the document says of its call."""
        request = answer.request
        try:
            rule, _ = self.app.url_map.bind("").match(request.path, request.method, return_rule=True)
        except HTTPException:
            return
        path = re.sub(r"<([^>]+)>", r"{\1}", rule.rule)
        if not path.startswith(f"{API}/") or path in UNDOCUMENTED or request.method in ("HEAD", "OPTIONS"):
            return
        call = f"{request.method} {path}"
        described = self.document["paths"][path][request.method.lower()]["responses"]
        assert str(answer.status_code) in described, f"{call} does not speak of {answer.status_code}: {answer.text}"
        content = described[str(answer.status_code)]["content"]
        assert answer.mimetype in content, f"{call} does not speak of {answer.mimetype}"
        if answer.mimetype.endswith("json"):
            schema = {**content[answer.mimetype]["schema"], "components": self.document["components"]}
            wrong = [error.message for error in Draft202012Validator(schema).iter_errors(answer.json)]
            assert not wrong, f"{call} answers otherwise than described: {wrong[:3]}"

    def program(self) -> Program:
        return Program(self)

    def audit(self) -> list[tuple[str, str, str]]:
        """Return who did what, oldest first."""
        return [(row.who, row.what, row.detail) for row in reversed(self.store.list_audit(1000))]


@contextmanager
def panel_stage(data_dir: Path, trader: Any = None, **settings: Any) -> Iterator[Stage]:
    """Make an app on *data_dir* in front of *trader*; no thread of it runs."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    clock, link = MovedClock(), Link(trader)
    app = create_app(PanelSettings(data_dir=data_dir, **{"bind": HERE, **settings}), link=link, clock=clock)  # type: ignore[arg-type]
    stage = Stage(app, clock, link)
    try:
        yield stage
    finally:
        stage.panel.patient.shutdown(wait=True)
        stage.store.close()


class Program:
    """Shows a token with each call, and nothing else."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.token_id, self.token = stage.store.add_token("program")
        self.client = stage.app.test_client(use_cookies=False)

    def call(self, method: str, path: str, body: Any = None, /, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        base_url = self.stage.panel.settings.url
        answer = self.client.open(path, method=method, json=body, headers=headers, base_url=base_url, **options)
        self.stage.hold_to_the_document(answer)
        return answer


class Page:
    """A page in a browser: keeps the cookie, shows CSRF token and origin with each change, and a device's proof."""

    def __init__(self, stage: Stage, *, origin: str = f"http://{HERE}", device: Device | None = None) -> None:
        self.stage, self.origin, self.device = stage, origin, device
        self.client = stage.app.test_client()
        self.csrf = ""
        self.token_id, self.token = "", ""

    def log_in(self) -> dict[str, Any]:
        self.token_id, self.token = self.stage.store.add_token("小王")
        answer = self.call("POST", f"{API}/session", {"token": self.token})
        assert answer.status_code == 200, answer.text
        return dict(answer.json or {})

    @property
    def cookie(self) -> str:
        found = self.client.get_cookie(self.stage.access.cookie_name, domain=self.origin.split("/")[2].split(":")[0])
        return found.value if found else ""

    def call(
        self, method: str, path: str, body: Any = None, /, without: tuple[str, ...] = (), **options: Any
    ) -> TestResponse:
        """Call as the page does; headers named in *without* are left out, those in ``headers`` replace its own."""
        headers = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": self.csrf}
        if self.device is not None:
            headers |= self.device.headers(method, self.origin + path.partition("?")[0])
        headers |= options.pop("headers", {})
        for name in without:
            headers.pop(name, None)
        answer = self.client.open(path, method=method, json=body, headers=headers, base_url=self.origin, **options)
        self.stage.hold_to_the_document(answer)
        if answer.is_json and answer.data and isinstance(answer.json, dict) and "csrf" in answer.json:
            self.csrf = answer.json["csrf"]
        if self.device is not None and (nonce := answer.headers.get("DPoP-Nonce")):
            self.device.nonce = nonce
        return answer

    def enrol(self, code: str = "") -> TestResponse:
        """Make a key and have it registered."""
        self.device = self.device or Device()
        self.call("GET", f"{API}/session")  # which gives the nonce
        return self.call("POST", f"{API}/devices/enrol", {"name": "办公室", **({"code": code} if code else {})})

    def take_token(self) -> TestResponse:
        assert self.device is not None
        answer = self.call("POST", f"{API}/devices/token")
        if answer.status_code == 200:
            self.device.token = answer.json["access_token"]  # type: ignore[index]
        return answer


class Device:
    """A browser's key, and the proofs that it makes."""

    def __init__(self, key: ECKey | None = None) -> None:
        self.key = key or ECKey.generate_key("P-256")
        self.nonce, self.token = "", ""

    def headers(self, method: str, url: str) -> dict[str, str]:
        # Calls that make a device known show no token.
        token = "" if url.endswith(("/session", "/devices/enrol", "/devices/token")) else self.token
        return {"DPoP": self.proof(method, url, token), **({"Authorization": f"DPoP {token}"} if token else {})}

    def proof(
        self,
        method: str,
        url: str,
        token: str = "",
        *,
        header: dict[str, Any] | None = None,
        claims: dict[str, Any] | None = None,
    ) -> str:
        """Return a proof; *header* and *claims* replace its own, and ``None`` there leaves one out."""
        own_header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.as_dict(private=False)}
        own_claims = {
            "htm": method, "htu": url, "iat": Clock().wall_ms() // 1000, "jti": str(uuid.uuid4()), "nonce": self.nonce,
        }  # fmt: skip
        if token:
            own_claims["ath"] = b64(hashlib.sha256(token.encode()).digest())
        full_header = {name: value for name, value in (own_header | (header or {})).items() if value is not None}
        full_claims = {name: value for name, value in (own_claims | (claims or {})).items() if value is not None}
        if full_header.get("alg") == "ES256" and header is None:
            return jws.serialize_compact(full_header, json.dumps(full_claims).encode(), self.key)
        return self.signed_as_said(full_header, full_claims)

    def signed_as_said(self, header: Any, claims: Any) -> str:
        """Return a proof whose signature holds for ES256, whatever its header says."""
        text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.private_key.sign(text.encode(), ec.ECDSA(SHA256())))  # type: ignore[union-attr]
        size = (self.key.private_key.curve.key_size + 7) // 8  # type: ignore[union-attr]
        return f"{text}.{b64(r.to_bytes(size) + s.to_bytes(size))}"


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
