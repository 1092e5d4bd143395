"""The guard before every call: which name the panel was asked under, who asks, from which page, on which device."""

from __future__ import annotations

import hmac
import logging
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flask import Flask, Response, current_app, g, request

from ..hub import REVOKED
from ..problems import Problem
from ..settings import AppMode, PanelSettings
from .certificates import address_of, network_of, shown_certificate
from .dpop import DeviceProofs
from .headers import init_headers
from .limits import LOGINS, LOGINS_OF_ALL, RateLimits
from .once import Once
from .origins import allowed_hosts, allowed_origins
from .secret import PanelSecret
from .store import Device, DeviceKind, DeviceState, PanelStore, Session

if TYPE_CHECKING:
    from ..panel import Panel

log = logging.getLogger(__name__)

API = "/api/v1"
STREAM = f"{API}/stream"
# Reachable before anybody is known: to become somebody.
OPEN_CALLS = frozenset({("GET", f"{API}/session"), ("POST", f"{API}/session"), ("DELETE", f"{API}/session")})
# With a session and a key, before the device is approved.
BEFORE_APPROVAL = frozenset({("POST", f"{API}/devices/enrol"), ("POST", f"{API}/devices/token")})
ALIVE = frozenset({"/livez", "/readyz"})  # asked under any name: by load balancers, by address
HEALTH = frozenset({"/metrics", "/api/status"})
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FRESH_SEC = 30 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks."""

    kind: str  # token: a program; session: a browser
    name: str  # of the token
    token_id: str
    session_id: str = ""
    proved_ms: int = 0
    bound_to: str = ""  # the device that the session was last used on
    device: Device | None = None

    @property
    def by(self) -> str:
        """Who is recorded as having decided."""
        return f"{self.name}, {self.device.name}" if self.device else self.name

    @property
    def label(self) -> str:
        """By what its live streams are found when it is shut out."""
        own = f"session:{self.session_id}" if self.session_id else f"token:{self.token_id}"
        return f"{own}/device:{self.device.id}" if self.device else own


class Access:
    """What the calls on sessions, tokens and devices work with."""

    def __init__(self, app: Flask, panel: Panel) -> None:
        self.settings: PanelSettings = panel.settings
        self.store: PanelStore = panel.store
        self.panel = panel
        secret = PanelSecret(panel.settings.jwt_secret, panel.settings.data_dir / "panel.key")
        self.proofs = DeviceProofs(secret, panel.store.clock)
        self._csrf_key = secret.key("csrf")
        self.once = Once()
        self.limits = RateLimits()

    @property
    def address(self) -> str:
        """The address that the present call comes from."""
        return address_of(request, self.settings)

    @property
    def is_whitelist(self) -> bool:
        return self.settings.mode is AppMode.DEVICE_WHITELIST

    @property
    def cookie_name(self) -> str:
        # The prefix makes browsers refuse the cookie from anywhere but this host over TLS.
        return "__Host-copytrade" if self.is_secure else "copytrade_session"

    @property
    def is_secure(self) -> bool:
        return self.settings.url.startswith("https:")

    def csrf(self, session_id: str) -> str:
        """Return what a page must show with each change that it makes in this session."""
        return hmac.digest(self._csrf_key, session_id.encode(), "sha256").hex()

    def session(self) -> Session | None:
        cookie = request.cookies.get(self.cookie_name, "")
        if not cookie:
            return None
        return self.store.find_session(cookie, self.settings.session_idle_sec, self.settings.session_absolute_sec)

    def set_cookie(self, response: Response, cookie: str) -> None:
        response.set_cookie(
            self.cookie_name,
            cookie,
            max_age=self.settings.session_absolute_sec,
            secure=self.is_secure,
            httponly=True,
            samesite="Strict",
            path="/",
        )

    def drop_cookie(self, response: Response) -> None:
        response.delete_cookie(self.cookie_name, path="/", secure=self.is_secure, httponly=True, samesite="Strict")

    def note(self, what: str, detail: str = "", who: str = "") -> None:
        """Record who did what, for the administrator."""
        asker = g.get("principal")
        self.store.note(who or (asker.by if asker else ""), what, detail, self.address)

    def end_streams(self, *labels: str) -> None:
        """Close the live streams of whoever was shut out: a session, a token or a device, as in `Principal.label`."""

        def is_chosen(label: str) -> bool:
            return not set(labels).isdisjoint(label.split("/"))

        self.panel.tickets.drop_where(is_chosen)
        self.panel.hub.close_where(lambda viewer: is_chosen(viewer.label), REVOKED, "revoked")

    def count_guess(self) -> None:
        """Count a token or code that was none. Whoever shows a good one is never shut out by anybody's guesses.

        :raises Problem: 429, there were too many, from there or from everywhere.
        """
        self.limits.check("logins", "", LOGINS_OF_ALL)
        self.limits.take("login", network_of(self.address), LOGINS)
        self.limits.count("logins", "", LOGINS_OF_ALL)

    def keep_to(self, asker: Principal, device_id: str) -> None:
        """Tie a session to the device that it is used on. :raises Problem: 401, it is tied to another, and ended."""
        if not asker.session_id or asker.bound_to == device_id:
            return
        if asker.bound_to:
            self.store.end_session(asker.session_id)
            self.end_streams(f"session:{asker.session_id}")
            self.note("session_on_other_device", who=asker.name)
            raise Problem(401, "login_required", "this session was begun on another device: log in here")
        self.store.bind_session(asker.session_id, device_id)

    def urls(self) -> frozenset[str]:
        """Return the addresses by which the present call may be known to a browser."""
        return frozenset(f"{origin}{request.path}" for origin in allowed_origins(self.settings))

    def proof(self, token: str = "") -> str:
        """Return the thumbprint of the key that proves itself with this call. :raises Problem: 401."""
        given = request.headers.get("DPoP", "")
        if not given:
            raise Problem(
                401, "device_proof_required", "this panel serves registered devices only: show the device's proof"
            )
        return self.proofs.check(given, request.method, self.urls(), token).thumbprint


def init_access(app: Flask, panel: Panel) -> None:
    """Put the guard before every call, and the headers on every answer."""
    access = Access(app, panel)
    app.extensions["copytrade_access"] = access
    init_headers(app, panel.settings)
    access.once.init(app)

    @app.before_request
    def check() -> Response | None:
        path = request.path
        # Not request.host, which makes one up where there is none.
        host = request.headers.get("Host", "")
        if path in ALIVE or (path in HEALTH and _is_loopback(host)):
            return None
        if host not in allowed_hosts(panel.settings):
            # A name that somebody else pointed here would be a page of his with our answers.
            raise Problem(421, "wrong_host", f"the panel is at {panel.settings.url}")
        if path in HEALTH or not path.startswith("/api/") or path == STREAM:
            return None
        g.principal = None
        if _is_change() and (origin := request.headers.get("Origin")) is not None:
            _check_origin(origin, panel.settings)
        if (request.method, path) in OPEN_CALLS:
            return None
        found = _who(access)
        g.principal = _with_device(access, found) if access.is_whitelist else found
        return access.once.begin()

    @app.after_request
    def give_nonce(response: Response) -> Response:
        # In the open mode, too: devices are registered before only they get in.
        if request.path.startswith(f"{API}/"):
            response.headers["DPoP-Nonce"] = access.proofs.nonce()
        return response


def access_of() -> Access:
    """Return what the present app's access works with."""
    found: Access = current_app.extensions["copytrade_access"]
    return found


def principal() -> Principal:
    """Return who asks. Only in calls behind the guard."""
    found: Principal = g.principal
    return found


def require_approved(device: Device) -> None:
    """:raises Problem: 403, the device waits for approval or was revoked."""
    if device.state is DeviceState.PENDING:
        raise Problem(403, "device_pending", "this device waits for approval", device_id=device.id)
    if device.state is DeviceState.REVOKED:
        raise Problem(403, "device_revoked", "this device was revoked")


def require_fresh() -> None:
    """Ask for the token again before what gives power away. :raises Problem: 403 ``reauthenticate``."""
    asker = principal()
    access = access_of()
    if asker.kind == "token" or asker.device is not None:
        return  # the token, or the device's proof, came with this very call
    if access.store.now_ms() - asker.proved_ms > FRESH_SEC * 1000:
        raise Problem(403, "reauthenticate", "show the access token again: it was last shown more than 30 minutes ago")


def _is_loopback(host: str) -> bool:
    """Whether a ``Host`` names this machine: no name server can make it name another."""
    return LOOPBACK.fullmatch(host) is not None


def _is_change() -> bool:
    return request.method not in SAFE


def _check_origin(origin: str, settings: PanelSettings) -> None:
    if origin not in allowed_origins(settings):
        raise Problem(403, "wrong_origin", "changes are only taken from the panel's own pages")


def _who(access: Access) -> Principal:
    """Return the token or session behind this call. :raises Problem: 401, 403."""
    header = request.headers.get("Authorization", "")
    scheme, _, credential = header.partition(" ")
    if scheme.lower() == "bearer":
        return _by_token(access, credential.strip())
    session = access.session()
    if session is None:
        raise Problem(401, "login_required", "log in first, or show an access token")
    if _is_change():
        check_page(access, session)
    return Principal(
        kind="session",
        name=session.token_name,
        token_id=session.token_id,
        session_id=session.id,
        proved_ms=session.proved_ms,
        bound_to=session.device_id,
    )


def _by_token(access: Access, secret: str) -> Principal:
    token = access.store.check_token(secret) if secret else None
    if token is None:
        access.count_guess()
        raise Problem(401, "token_invalid", "this access token is no good (any more)")
    return Principal(kind="token", name=token.name, token_id=token.id)


def check_page(access: Access, session: Session) -> None:
    """Take a change in a session from our own page alone: a cookie comes along by itself, these two do not.

    :raises Problem: 403.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        raise Problem(403, "wrong_origin", "a change in a session must say which page it comes from")
    _check_origin(origin, access.settings)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "wrong_origin", "changes are only taken from the panel's own pages")
    shown = request.headers.get("X-CSRF-Token", "")
    if not hmac.compare_digest(shown.encode(), access.csrf(session.id).encode()):
        raise Problem(403, "csrf", "this page is out of date: reload it, then do it again")


def _with_device(access: Access, asker: Principal) -> Principal:
    """Return *asker* together with its registered device. :raises Problem: 401 or 403, and why."""
    device = _certificate_device(access)
    if device is None and (request.method, request.path) in BEFORE_APPROVAL:
        return asker  # the call itself checks the proof
    if device is None:
        device = _key_device(access)
    require_approved(device)
    access.store.saw_device(device, access.address)
    access.keep_to(asker, device.id)
    return replace(asker, device=device, bound_to=device.id)


def _certificate_device(access: Access) -> Device | None:
    shown = shown_certificate(request, access.settings)
    if shown is None:
        return None
    fingerprint, name = shown
    # Whoever has no token does not get this far: strangers cannot fill the list.
    return access.store.find_device(fingerprint) or access.store.add_device(DeviceKind.CERTIFICATE, name, fingerprint)


def _key_device(access: Access) -> Device:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "dpop":
        raise Problem(
            401, "device_proof_required", "this panel serves registered devices only: show the device's token"
        )
    device_id, thumbprint = access.proofs.check_token(token.strip())
    if access.proof(token.strip()) != thumbprint:
        raise Problem(401, "device_proof_invalid", "the device's proof is of another key than its token")
    device = access.store.find_device(thumbprint)
    if device is None or device.id != device_id:
        raise Problem(401, "device_token_invalid", "this device is not registered (any more)")
    return device
