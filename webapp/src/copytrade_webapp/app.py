"""`create_app`: extensions, blueprints, error handlers; no logic."""

from __future__ import annotations

from flask import Flask, Response, g
from flask_bootstrap import Bootstrap5
from flask_smorest import Api
from werkzeug.exceptions import HTTPException

from copytrade_core.clock import Clock

from .access.guard import init_access
from .access.store import PanelStore
from .access.tickets import Tickets
from .api import BLUEPRINTS
from .engine_link import EngineLink
from .exact_json import ExactJson
from .health import init_health
from .hub import LiveHub
from .live import init_live
from .pages import init_pages
from .panel import Panel
from .problems import from_http, init_problems
from .schemas.base import ExactNumber, ProblemDocument
from .settings import PanelSettings

API_TITLE = "copytrade"
API_VERSION = "v1"
LARGEST_BODY = 64 * 1024
WAYS_IN = {
    "token": {"type": "http", "scheme": "bearer", "description": "an access token: for programs"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "description": "of POST /session: for pages, which show `X-CSRF-Token` and their origin with each change",
    },
}


class ProblemApi(Api):  # type: ignore[misc]
    """flask-smorest with one kind of error for everything: problem documents."""

    ERROR_SCHEMA = ProblemDocument
    DEFAULT_ERROR_RESPONSE_NAME = None  # each call lists its answers: "anything else" would hide a forgotten one

    def handle_http_exception(self, error: HTTPException) -> Response:
        return from_http(error)


def create_app(
    settings: PanelSettings | None = None, *, link: EngineLink | None = None, clock: Clock | None = None
) -> Flask:
    """Return the panel's app; ``panel.panel_of(app).start()`` brings it to life.

    :raises ConfigError: a setting is wrong.
    """
    settings = settings or PanelSettings.from_environment()
    link = link or EngineLink(settings.data_dir)
    store = PanelStore(settings.database_path, clock)

    def in_force(label: str) -> bool:
        return store.in_force(label, settings.session_idle_sec, settings.session_absolute_sec)

    hub = LiveHub(link, settings.symbol, in_force=in_force)
    panel = Panel(settings, link, hub, store, Tickets())
    # Its own route serves the static files, by the version of what they hold (`pages`).
    app = Flask("copytrade_webapp", static_folder=None, static_url_path="/static")
    app.json = ExactJson(app)
    app.config.update(
        API_TITLE=API_TITLE,
        API_VERSION=API_VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api/v1",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={"security": [{"token": []}, {"session": []}]},
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        BOOTSTRAP_SERVE_LOCAL=True,
        SESSION_COOKIE_NAME="unused",  # Flask's own sessions are not: ours are kept on the server
    )
    app.extensions["copytrade"] = panel
    init_problems(app)

    @app.before_request
    def remember_link() -> None:
        g.engine_link = link

    init_access(app, panel)
    init_live(app, panel.hub, panel.tickets, settings)
    Bootstrap5(app)
    init_pages(app, settings)
    init_health(app, panel)
    api = ProblemApi(app)
    cookie = app.extensions["copytrade_access"].cookie_name
    api.register_field(ExactNumber, "number", None)
    for name, scheme in WAYS_IN.items():
        api.spec.components.security_scheme(name, scheme | ({"name": cookie} if name == "session" else {}))
    for blueprint in BLUEPRINTS:
        api.register_blueprint(blueprint, url_prefix=f"/api/v1{blueprint.url_prefix or ''}")
    _name_assets(api, settings)
    return app


def _name_assets(api: Api, settings: PanelSettings) -> None:
    """Describe the fields that are named after the pair's assets."""
    schemas = api.spec.components.schemas
    for asset in (settings.quote, settings.base):
        free = {"type": ["number", "null"]}
        schemas["AccountRow"]["properties"] |= {
            f"free{asset}": free,
            f"free{asset}_age_sec": {"type": ["number", "null"]},
            f"free{asset}_source": {"type": ["string", "null"]},
        }
        schemas["LeaderState"]["properties"] |= {f"free{asset}": free}
        schemas["Verified"]["properties"] |= {f"free{asset}": free}
