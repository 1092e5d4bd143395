"""Who gets in, in a real browser: tokens, one-time links, the fresh proof, registered devices, and being shut out."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
import requests

from changing_engine import Engine
from chromium import running_chromium, watched_context
from copytrade_core.control.server import ControlServer
from copytrade_core.views import ExchangeView
from copytrade_webapp.access.store import PanelStore
from memory_exchange import until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def engine():
    engine = Engine()
    engine.answers["list_exchanges"] = lambda: [
        ExchangeView(
            id="binance",
            name="Binance",
            name_zh="币安",
            environments=("test",),
            can_lead=True,
            fields=({"name": "api_key", "label": "API key", "label_zh": "API Key", "secret": True, "required": True},),
            capabilities=(),
        )
    ]
    engine.answers["list_events"] = lambda before=None, **_: [] if before else list(engine.orders)
    engine.answers["list_plugins"] = list
    engine.answers["list_gaps"] = lambda **_: []
    return engine


@pytest.fixture
def panel(tmp_path, engine, panel_on, request):
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    environ = getattr(request, "param", {})
    with ControlServer(engine, data_dir), panel_on(data_dir, **environ) as panel:
        yield panel


@pytest.fixture
def store(panel):
    store = PanelStore(panel.data_dir / "panel.db")
    yield store
    store.close()


WHITELIST = pytest.mark.parametrize("panel", [{"APP_MODE": "device_whitelist"}], indirect=True)


def show_token(page, panel, token):
    page.goto(f"{panel.url}/login")
    page.locator("#token").fill(token)
    page.locator("#login-button").click()


def forget_proofs(panel):
    """Let it be long ago that any session showed its token."""
    with closing(sqlite3.connect(panel.data_dir / "panel.db")) as connection, connection:
        assert connection.execute("UPDATE sessions SET proved_ms = 0").rowcount == 1


def has_figures(page):
    page.locator(".accounts .grid-row").first.wait_for()
    page.locator("#run-state", has_text="运行中").wait_for()


def test_a_wrong_token_is_told_of_and_a_good_one_lets_in(panel, store, browser):
    _, token = store.add_token("小王的电脑")
    with watched_context(browser) as context:
        page = context.new_page()
        page.goto(panel.url)
        page.wait_for_url("**/login")
        show_token(page, panel, "ctp_wrong")
        page.locator("#token-error", has_text="访问令牌无效").wait_for()
        show_token(page, panel, token)
        has_figures(page)
        page.locator("#menu-button").click()
        page.locator("#who", has_text="小王的电脑").wait_for()
        assert token not in page.content()
        page.locator("#menu-logout").click()
        page.wait_for_url("**/login")
        page.goto(panel.url)
        page.wait_for_url("**/login")


def test_a_link_lets_in_once_and_its_code_leaves_the_address_line(panel, store, browser):
    link = f"{panel.url}/login#code={store.add_login_code()}"
    with watched_context(browser) as context:
        page = context.new_page()
        page.goto(link)
        has_figures(page)
        assert "code" not in page.url
    with watched_context(browser) as context:
        page = context.new_page()
        page.goto(link)
        page.locator("#entry-error", has_text="有误、已用过或已过期").wait_for()
        assert page.locator("#with-token").is_visible() and "code" not in page.url


def test_a_link_that_is_opened_where_one_logs_in_lets_in(panel, store, browser):
    with watched_context(browser) as context:
        page = context.new_page()
        page.goto(f"{panel.url}/login")
        page.locator("#with-token").wait_for()
        page.goto(f"{panel.url}/login#code={store.add_login_code()}")  # only what stands behind the # changes
        has_figures(page)


def test_power_asks_for_the_token_again_when_it_was_shown_long_ago(panel, store, browser):
    _, token = store.add_token("admin")
    with watched_context(browser) as context:
        page = context.new_page()
        show_token(page, panel, token)
        has_figures(page)
        forget_proofs(panel)
        page.locator("#menu-button").click()
        page.locator("#menu-tokens").click()
        page.locator("dialog [name=name]").fill("程序")
        page.get_by_role("button", name="新建令牌").click()
        page.get_by_role("heading", name="请确认身份").wait_for()
        page.locator("#field-token").fill("ctp_wrong")
        page.get_by_role("button", name="继续").click()
        page.locator("#field-token-error:visible").wait_for()
        page.locator("#field-token").fill(token)
        page.get_by_role("button", name="继续").click()
        secret = page.locator("dialog .once").inner_text()
        assert store.check_token(secret).name == "程序"


def test_a_revoked_token_ends_the_page_that_it_opened(panel, store, browser):
    token_id, token = store.add_token("小王")
    _, other = store.add_token("admin")
    with watched_context(browser) as context:
        page = context.new_page()
        show_token(page, panel, token)
        has_figures(page)
        answer = requests.delete(
            f"{panel.url}/api/v1/tokens/{token_id}", headers={"Authorization": f"Bearer {other}"}, timeout=10
        )
        assert answer.status_code == 200
        page.wait_for_url("**/login")
        page.locator("#entry-error", has_text="登录已结束").wait_for()


@WHITELIST
def test_devices_are_registered_approved_and_revoked(panel, store, browser):
    _, token = store.add_token("admin")
    code = store.add_enrolment_code()
    with watched_context(browser) as first, watched_context(browser) as second:
        # The first device, by the code that the installation printed.
        page = first.new_page()
        show_token(page, panel, token)
        page.get_by_role("heading", name="登记此设备").wait_for()
        page.locator("#device-name").fill("办公室")
        page.locator("#device-code").fill(code)
        page.locator("#enrol button").click()
        has_figures(page)

        # The second waits until the first approves it.
        other = second.new_page()
        show_token(other, panel, token)
        other.locator("#device-name").fill("家里")
        other.locator("#enrol button").click()
        other.get_by_role("heading", name="等待批准").wait_for()
        command = other.locator("#approve-command").inner_text()
        assert re.fullmatch(r"copytrade devices approve \S+", command)
        page.locator("#menu-button").click()
        page.locator("#menu-devices").click()
        row = page.locator("dialog .list-row", has_text="家里")
        row.get_by_text(command.split()[-1], exact=True).wait_for()
        row.get_by_role("button", name="批准").click()
        row.get_by_text("已批准").wait_for()
        has_figures(other)

        # Renamed, then revoked: its live figures end at once, and it does not get in again.
        row.get_by_role("button", name="重命名 家里").click()
        page.locator("dialog [name=name]").fill("家里的电脑")
        page.get_by_role("button", name="保存").click()
        row = page.locator("dialog .list-row", has_text="家里的电脑")
        row.get_by_role("button", name="撤销…").click()
        page.get_by_role("button", name="撤销 家里的电脑").click()
        row.get_by_text("已撤销").wait_for()
        other.wait_for_url("**/login")
        other.goto(panel.url)
        other.wait_for_url("**/login")
        show_token(other, panel, token)
        other.get_by_text("此设备已被撤销").wait_for()
        page.keyboard.press("Escape")
        has_figures(page)


@WHITELIST
def test_a_registered_device_gets_in_again_by_its_own_key(panel, store, browser):
    _, token = store.add_token("admin")
    code = store.add_enrolment_code()
    with watched_context(browser) as context:
        page = context.new_page()
        show_token(page, panel, token)
        page.locator("#device-code").fill(code)
        page.locator("#enrol button").click()
        has_figures(page)
        page.locator("#menu-button").click()
        page.locator("#menu-logout").click()
        page.wait_for_url("**/login")
        show_token(page, panel, token)
        has_figures(page)
        assert until(lambda: len(store.list_devices()) == 1)

        # A file, too, is only given to the device's proof, which a plain link does not carry.
        page.locator("#menu-button").click()
        page.locator("#menu-export").click()
        page.locator("#export-from").fill("2026-11-01")
        with page.expect_download() as download:
            page.get_by_role("button", name="保存 CSV 文件").click()
        assert download.value.suggested_filename.startswith("copytrade-2026-11-01-")
        assert download.value.path().read_bytes().startswith(b"\xef\xbb\xbf")
        extractable = page.evaluate(
            """new Promise((resolve) => {
                const open = indexedDB.open("copytrade-device", 1);
                open.onsuccess = () => {
                    const get = open.result.transaction("keys").objectStore("keys").get("device");
                    get.onsuccess = () => resolve(get.result.privateKey.extractable);
                };
            })"""
        )
        assert extractable is False
