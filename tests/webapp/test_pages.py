"""The pages: words in two languages, no data, nothing inline, and the parts of an installable app."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

import copytrade_webapp
from copytrade_webapp.app import create_app
from copytrade_webapp.pages import static_version
from copytrade_webapp.panel import panel_of
from copytrade_webapp.settings import PanelSettings

SOURCES = Path(copytrade_webapp.__file__).parent
STATIC = SOURCES / "static"
HOST = "127.0.0.1:8080"
PAGES = ["/", "/login", "/offline"]


@pytest.fixture
def client(tmp_path):
    app = create_app(PanelSettings(data_dir=tmp_path))
    with app.test_client() as client:
        yield client
    panel_of(app).store.close()


def get(client, path, **headers):
    return client.get(path, headers={"Host": HOST, **headers}, buffered=True)


@pytest.mark.parametrize("path", PAGES)
def test_pages_need_no_login_and_have_nothing_inline(client, path):
    page = get(client, path)

    assert page.status_code == 200
    assert page.cache_control.no_cache
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page.text)
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert get(client, address).status_code == 200, address


def test_no_source_sets_a_style_attribute_or_markup():
    """What the content policy would refuse, or what would let a name from an exchange become markup."""
    for path in STATIC.rglob("*.js"):
        banned = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text()
        )
        assert not banned, f"{path.name}: {banned}"


def test_only_api_fetches_and_only_live_opens_a_socket():
    fetching = {path.name for path in STATIC.rglob("*.js") if re.search(r"\bfetch\(", path.read_text())}
    opening = {path.name for path in STATIC.rglob("*.js") if "new WebSocket" in path.read_text()}

    assert fetching == {"api.js"}
    assert opening == {"live.js"}


def test_every_module_is_checked_and_its_imports_exist():
    for path in STATIC.joinpath("js").rglob("*.js"):
        text = path.read_text()
        assert text.startswith("// @ts-check") or path.name == "theme.js", path.name
        for imported in re.findall(r'from "(\.[^"]+)"|^import "(\.[^"]+)"', text, re.MULTILINE):
            assert (path.parent / (imported[0] or imported[1])).is_file(), f"{path.name} imports {imported}"


@pytest.mark.parametrize(
    ("asked", "header", "cookie", "html"),
    [
        pytest.param("", "", "", "zh-Hans", id="says-nothing"),
        pytest.param("", "zh-CN,zh;q=0.9,en;q=0.8", "", "zh-Hans", id="browser-chinese"),
        pytest.param("", "en-GB,en;q=0.9", "", "en", id="browser-english"),
        pytest.param("", "fr-FR", "", "zh-Hans", id="browser-other"),
        pytest.param("", "en", "zh", "zh-Hans", id="cookie-wins"),
        pytest.param("en", "zh", "zh", "en", id="choice-wins"),
        pytest.param("xx", "en", "", "en", id="unknown-choice"),
    ],
)
def test_the_language_is_what_the_person_wants(client, asked, header, cookie, html):
    if cookie:
        client.set_cookie("copytrade_lang", cookie, domain="127.0.0.1")

    page = get(client, f"/?lang={asked}" if asked else "/", **({"Accept-Language": header} if header else {}))

    assert f'<html lang="{html}"' in page.text
    assert ("开始跟单" in page.text) == (html == "zh-Hans")


def test_a_chosen_language_is_remembered(client):
    answer = get(client, "/login?lang=en", **{"Accept-Language": "zh"})

    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("copytrade_lang=en;") and "SameSite=Lax" in cookie and "Secure" not in cookie


def test_the_cookie_is_secure_behind_tls(tmp_path):
    app = create_app(PanelSettings(data_dir=tmp_path, public_url="https://panel.example.org"))
    with app.test_client() as client:
        answer = client.get("/login?lang=en", headers={"Host": "panel.example.org"})
    panel_of(app).store.close()

    assert "Secure" in answer.headers["Set-Cookie"]


def test_static_files_are_kept_for_ever_under_a_name_that_changes(client):
    good = get(client, f"/static/{static_version()}/js/app.js")

    assert good.status_code == 200 and good.content_type.startswith("text/javascript")
    assert good.cache_control.immutable and good.cache_control.max_age > 10_000_000
    assert get(client, "/static/000000000000/js/app.js").status_code == 404
    assert get(client, "/static/js/app.js").status_code == 404
    for outside in ("../settings.py", "%2e%2e/settings.py", "..%2fsettings.py", "js/../../settings.py"):
        assert get(client, f"/static/{static_version()}/{outside}").status_code == 404


def test_the_catalogue_for_the_browser(client):
    chinese = get(client, "/i18n/zh.json")

    assert chinese.json["locale"] == "zh-Hans"
    assert chinese.json["words"]["Start copying"] == "开始跟单"
    assert isinstance(chinese.json["words"]["%(num)s copy did not work"], list)
    assert get(client, "/i18n/en.json").json["words"] == {}
    assert get(client, "/i18n/fr.json").status_code == 404
    assert get(client, "/i18n/zh.json", **{"If-None-Match": chinese.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_manifest_says_what_an_installation_needs(client, lang):
    answer = get(client, f"/manifest.webmanifest?lang={lang}")
    manifest = json.loads(answer.text)

    assert answer.content_type == "application/manifest+json"
    assert manifest["id"] == manifest["start_url"] == manifest["scope"] == "/"
    assert manifest["display_override"] == ["window-controls-overlay", "standalone"]
    purposes = {(icon["sizes"], icon["purpose"]) for icon in manifest["icons"]}
    assert purposes == {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")}
    [wide] = manifest["screenshots"]
    assert wide["form_factor"] == "wide"
    for image in [*manifest["icons"], wide]:
        png = get(client, image["src"]).data
        assert "x".join(map(str, struct.unpack(">II", png[16:24]))) == image["sizes"]
    for shortcut in manifest["shortcuts"]:
        assert get(client, shortcut["url"]).status_code == 200


def test_the_service_worker_keeps_no_data(client):
    answer = get(client, "/sw.js")

    assert answer.content_type.startswith("text/javascript") and answer.cache_control.no_cache
    assert static_version() in answer.text
    assert "/api/" not in answer.text
    parts = json.loads(re.search(r"const PARTS = (\[.*?\]);", answer.text).group(1))
    for part in parts:
        assert (STATIC / part).is_file(), part


def test_the_offline_page_loads_all_that_it_needs_from_the_cache(client):
    """Every module that it imports, at any depth, is among the files that the service worker keeps."""
    parts = json.loads(re.search(r"const PARTS = (\[.*?\]);", get(client, "/sw.js").text).group(1))
    wanted, found = {"js/offline.js"}, set()
    while wanted:
        name = wanted.pop()
        found.add(name)
        for imported in re.findall(r'from "(\.[^"]+)"', (STATIC / name).read_text()):
            inner = str(((STATIC / name).parent / imported).resolve().relative_to(STATIC.resolve()))
            if inner not in found:
                wanted.add(inner)

    assert found <= set(parts)
    page = get(client, "/offline").text
    assert {address.split("/", 3)[3] for address in re.findall(r'"(/static/[^"]+)"', page)} <= set(parts)
    assert "无法连接面板" in page and "The panel cannot be reached" in page
