"""The pages, in two languages: they carry words, never data; the browser asks the API for that."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from babel.messages.pofile import read_po
from flask import Flask, Response, abort, g, make_response, render_template, request, send_from_directory, url_for
from flask_babel import Babel  # type: ignore[import-untyped]
from werkzeug.wrappers import Response as AnyResponse

from .settings import PanelSettings

HERE = Path(__file__).parent
STATIC = HERE / "static"
TRANSLATIONS = HERE / "translations"
LANGUAGE_COOKIE = "copytrade_lang"
# Modules of other pages.
ALONE = frozenset({"login", "offline", "theme"})
YEAR_SEC = 365 * 86_400
# The word in addresses and cookie -> Babel's locale, and what HTML calls it. The first is for those who say nothing.
LOCALES = {"zh": "zh_Hans_CN", "en": "en"}
HTML_LANGUAGES = {"zh": "zh-Hans", "en": "en"}


def init_pages(app: Flask, settings: PanelSettings) -> None:
    """Add the pages, their static files and catalogues, and the parts of an installable app."""
    Babel(
        app,
        default_locale=LOCALES["zh"],
        default_translation_directories=str(TRANSLATIONS),
        locale_selector=lambda: LOCALES[language()],
    )

    @app.context_processor
    def words() -> dict[str, Any]:
        return {
            "lang": language(),
            "html_lang": HTML_LANGUAGES[language()],
            "version": static_version(),
            "modules": module_names(),
            "asset": lambda name: url_for("asset", version=static_version(), name=name),
            "base_asset": settings.base,
            "quote_asset": settings.quote,
            "symbol": settings.symbol,
        }

    @app.after_request
    def remember_language(response: Response) -> Response:
        if g.get("chosen_language"):
            response.set_cookie(
                LANGUAGE_COOKIE,
                g.chosen_language,
                max_age=YEAR_SEC,
                samesite="Lax",
                secure=settings.url.startswith("https:"),
                path="/",
            )
        return response

    @app.get("/")
    def panel() -> AnyResponse:
        return _page("panel.html")

    @app.get("/login")
    def login() -> AnyResponse:
        return _page("login.html")

    @app.get("/offline")
    def offline() -> AnyResponse:
        return _page("offline.html")

    @app.get("/static/<version>/<path:name>")
    def asset(version: str, name: str) -> AnyResponse:
        # The version stands in the path, so that modules which import each other by relative names stay together.
        if version != static_version():
            abort(404)
        response = send_from_directory(STATIC, name, max_age=YEAR_SEC)
        response.cache_control.public = True
        response.cache_control.immutable = True
        return response

    @app.get("/i18n/<lang>.json")
    def catalogue(lang: str) -> AnyResponse:
        if lang not in LOCALES:
            abort(404)
        response = Response(_catalogue_json(lang), mimetype="application/json")
        response.cache_control.no_cache = True
        response.add_etag()
        return response.make_conditional(request)

    @app.get("/manifest.webmanifest")
    def manifest() -> AnyResponse:
        response = Response(json.dumps(_manifest(), ensure_ascii=False), mimetype="application/manifest+json")
        response.cache_control.no_cache = True
        return response

    @app.get("/sw.js")
    def service_worker() -> AnyResponse:
        response = make_response(render_template("sw.js"))
        response.mimetype = "text/javascript"
        response.cache_control.no_cache = True
        return response

    @app.get("/favicon.ico")
    def favicon() -> AnyResponse:
        return send_from_directory(STATIC / "icons", "icon-32.png", max_age=86_400)


def language() -> str:
    """Return ``zh`` or ``en``: what the person chose, else what the browser asks for, else Chinese."""
    asked = request.args.get("lang", "")
    if asked in LOCALES:
        g.chosen_language = asked
        return asked
    kept = request.cookies.get(LANGUAGE_COOKIE, "")
    if kept in LOCALES:
        return kept
    return "en" if request.accept_languages.best_match(["zh", "zh-CN", "zh-Hans", "en"]) == "en" else "zh"


@lru_cache
def static_version() -> str:
    """Return what names this state of everything that browsers keep: it changes with any byte of it."""
    digest = hashlib.sha256()
    for folder in (STATIC, HERE / "templates", TRANSLATIONS):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@lru_cache
def module_names() -> tuple[str, ...]:
    """Return the modules of the panel's page: a browser that knows them all need not find them one by one."""
    paths = sorted((STATIC / "js").rglob("*.js"))
    return tuple(str(path.relative_to(STATIC)) for path in paths if path.stem not in ALONE)


@lru_cache
def _catalogue_json(lang: str) -> str:
    """Return the words for the JavaScript: of the same file as the server's. English is in the sources themselves."""
    path = TRANSLATIONS / LOCALES[lang] / "LC_MESSAGES" / "messages.po"
    words: dict[str, str | list[str]] = {}
    if path.exists():
        with path.open("rb") as file:
            for message in read_po(file, locale=LOCALES[lang]):
                if message.id and message.string and not message.fuzzy:
                    name = message.id[0] if isinstance(message.id, tuple) else message.id
                    words[str(name)] = list(message.string) if isinstance(message.string, tuple) else message.string
    return json.dumps({"lang": lang, "locale": HTML_LANGUAGES[lang], "words": words}, ensure_ascii=False)


def _page(template: str) -> AnyResponse:
    response = make_response(render_template(template))
    response.cache_control.no_cache = True
    response.vary.update(("Cookie", "Accept-Language"))
    return response


def _manifest() -> dict[str, Any]:
    zh = language() == "zh"

    def image(name: str, size: str, **more: str) -> dict[str, str]:
        src = url_for("asset", version=static_version(), name=name)
        return {"src": src, "sizes": size, "type": "image/png", **more}

    def shortcut(name: str, view: str) -> dict[str, Any]:
        return {"name": name, "url": f"/?view={view}", "icons": [image("icons/icon-192.png", "192x192")]}

    return {
        "id": "/",
        "name": "copytrade 跟单" if zh else "copytrade",
        "short_name": "跟单" if zh else "copytrade",
        "description": "把主账户的现货市价单按比例跟到多个账户" if zh else "Copies one account's spot orders to others",
        "lang": HTML_LANGUAGES[language()],
        "dir": "ltr",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "display_override": ["window-controls-overlay", "standalone"],
        "launch_handler": {"client_mode": ["navigate-existing", "auto"]},
        "theme_color": "#12161d",
        "background_color": "#12161d",
        "categories": ["finance"],
        "icons": [
            image("icons/icon-192.png", "192x192", purpose="any"),
            image("icons/icon-512.png", "512x512", purpose="any"),
            image("icons/icon-maskable-512.png", "512x512", purpose="maskable"),
        ],
        "screenshots": [
            image(
                f"img/screenshot-{'zh' if zh else 'en'}.png",
                "1366x768",
                form_factor="wide",
                label="跟单面板" if zh else "The panel",
            )
        ],
        "shortcuts": [
            shortcut("待处理" if zh else "Needs you", "todo"),
            shortcut("主账户订单" if zh else "Leader orders", "events"),
            shortcut("添加跟单账户" if zh else "Add a follower", "add"),
        ],
    }
