"""The panel as a trader uses it: a real Chromium, a real panel process, a real engine, simulated exchanges."""

from __future__ import annotations

import importlib
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chromium import FLAGS, Watch, chromium, running_chromium, watched_context
from copytrade_core import CopyTrader, Settings, Vault
from copytrade_core.control.server import ControlServer
from copytrade_core.plugins import Plugins
from copytrade_core.sim import RunningSimulators, running_simulators
from memory_exchange import until
from panel_process import RunningPanel, free_port, running_panel
from sim_engine import MASTER_KEY

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ACME = Path(__file__).parents[1] / "plugins" / "acme" / "src"


@dataclass
class Stage:
    """Everything that runs behind the browser."""

    sims: RunningSimulators
    trader: CopyTrader
    control: ControlServer
    panel: RunningPanel
    acme: Any

    def login_link(self) -> str:
        from copytrade_webapp.access.store import PanelStore

        store = PanelStore(self.panel.data_dir / "panel.db")
        try:
            return f"{self.panel.url}/login#code={store.add_login_code()}"
        finally:
            store.close()

    def leader_buys(self, quote: str) -> str:
        return str(self.sims.place("leader", side="BUY", quote=Decimal(quote))["order_id"])


@pytest.fixture(scope="module")
def browser():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def stage(tmp_path, browser, monkeypatch):  # the browser first: without one nothing need be started
    monkeypatch.syspath_prepend(str(ACME))
    with ExitStack() as stack:
        acme = importlib.import_module("copytrade_acme.simulator").AcmeServer().start()
        stack.callback(acme.stop)
        sims = stack.enter_context(running_simulators(binance_followers=2, bitget_followers=2, seed=5))
        sims.tidy()
        endpoints = json.loads(Path(sims["endpoints_file"]).read_text())
        data_dir = tmp_path / "data"
        data_dir.mkdir(mode=0o700)
        settings = Settings(data_dir=data_dir, endpoints={**endpoints, "acme": {"test": {"rest": acme.origin}}})
        Vault.create(settings.vault_path, MASTER_KEY)
        plugins = Plugins.discover()
        plugins.register(importlib.import_module("copytrade_acme.plugin"), "acme")
        trader = stack.enter_context(CopyTrader.open(settings=settings, master_key=MASTER_KEY, plugins=plugins))
        trader.start()
        control = stack.enter_context(ControlServer(trader, data_dir))
        panel = stack.enter_context(running_panel(data_dir, f"127.0.0.1:{free_port()}"))
        yield Stage(sims, trader, control, panel, acme)


@pytest.fixture
def page(stage, browser):
    """A page that is logged in, in Chinese; at the end its console must be clean."""
    with watched_context(browser) as context:
        page = context.new_page()
        page.goto(stage.login_link())
        page.wait_for_url(f"{stage.panel.url}/")
        page.get_by_text("四步开始跟单").or_(page.locator(".accounts .grid-row")).first.wait_for()
        yield page


def fill(page, values):
    for name, value in values.items():
        page.locator(f"dialog [name={name}]").fill(value)


def add_account(page, name, exchange, env, credentials):
    page.locator("#add-account").click()
    page.locator("#field-exchange").select_option(exchange)
    page.locator(f"#env-{env} + span").click()
    fill(page, {"name": name, **credentials})
    page.locator("#save-account").click()


def row_of(page, name):
    return page.locator(".accounts .grid-row").filter(has=page.get_by_role("rowheader", name=name, exact=True))


def keys_of(sims, exchange, number):
    return {name: value for name, value in sims[exchange]["followers"][number].items() if name != "mode"}


def set_up(stage):
    """What the first test does by hand, by the engine, for those that are about something else."""
    for exchange, number in (("binance", 0), ("bitget", 0)):
        stage.trader.add_account(
            f"{exchange} {number + 1}", exchange, stage.sims[exchange]["env"], keys_of(stage.sims, exchange, number)
        )
    assert stage.trader.set_leader("binance", "test", dict(stage.sims["binance"]["leader"])).connected
    stage.trader.start_copying()


def test_from_an_empty_panel_to_the_first_closed_book(stage, page):
    sims = stage.sims

    # Leader
    page.locator(".guide li.now").get_by_role("button", name="设置主账户").click()
    page.locator("#env-test + span").click()
    page.locator("#save-leader").click()
    page.locator("dialog .invalid-feedback:visible, dialog .note.bad:visible").first.wait_for()  # no key was entered
    fill(page, sims["binance"]["leader"])
    page.locator("#save-leader").click()
    page.locator(".leader .pill.good", has_text="收听中").wait_for()

    # Four kinds of account: two kinds of key on Binance, two kinds of account on Bitget.
    world = sims.world
    pem = sims.call(lambda: sims.simulators["binance"].add_credentials(world.accounts["binance-2"], "ed25519"))
    add_account(page, "币安 HMAC", "binance", "test", keys_of(sims, "binance", 0))
    row_of(page, "币安 HMAC").get_by_text("已启用").wait_for()
    add_account(page, "币安 Ed25519", "binance", "test", pem)
    row_of(page, "币安 Ed25519").get_by_text("已启用").wait_for()
    add_account(page, "Bitget 一", "bitget", "demo", keys_of(sims, "bitget", 0))
    row_of(page, "Bitget 一").get_by_text("已启用").wait_for()
    add_account(page, "Bitget 二", "bitget", "demo", keys_of(sims, "bitget", 1))
    row_of(page, "Bitget 二").get_by_text("已启用").wait_for()

    # The same key again, and the leader's: refused beside the field.
    add_account(page, "又一个", "binance", "test", keys_of(sims, "binance", 0))
    page.locator("dialog .invalid-feedback:visible", has_text="已被另一个跟单账户使用").wait_for()
    fill(page, sims["binance"]["leader"])
    page.locator("#save-account").click()
    page.locator("dialog").get_by_text("不能跟自己的单").wait_for()
    page.keyboard.press("Escape")

    # Start asks once, and says what it will do.
    page.locator("#run-button").click()
    dialog = page.locator("dialog")
    dialog.get_by_role("heading", name="开始跟单：4 个跟单账户将参与交易").wait_for()
    dialog.get_by_role("button", name="为 4 个账户开始跟单").click()
    page.locator("#run-state", has_text="运行中").wait_for()
    assert stage.trader.status().running

    # A leader trade appears, is copied, and its book opens.
    order_id = stage.leader_buys("1000")
    event = page.locator(".events .grid-row").first
    event.get_by_text("买入").wait_for()
    event.get_by_text("已跟单").wait_for()
    book = until(lambda: next((b for b in stage.trader.list_events() if b.order_id == order_id), None))
    assert book.counts()["ok"] == 4
    event.click()
    page.locator(".book-head").get_by_text("4 / 4").wait_for()
    for copy in book.copies:
        page.locator(".book-rows .grid-row").filter(has_text=copy.account_name).click()
        detail = page.locator(".book-detail")
        detail.get_by_role("heading", name=copy.account_name).wait_for()
        text = detail.inner_text()
        for figure in (copy.sent, copy.free_before, copy.step, copy.filled_base, copy.average_price):
            assert f"{figure.normalize():,f}" in text, figure
        assert copy.client_order_id in text and copy.exchange_order_id in text
    page.keyboard.press("Escape")
    row_of(page, "币安 HMAC").get_by_text("买入").wait_for()


def test_verifying_a_good_and_a_bad_key_pausing_editing_deleting(stage, page):
    set_up(stage)
    row = row_of(page, "binance 1")
    row.get_by_role("button", name="验证 binance 1").click()
    page.locator(".toast-card", has_text="binance 1：Key 有效").wait_for()

    # Pause and resume.
    row.get_by_role("button", name="暂停 binance 1").click()
    row.get_by_text("已暂停").wait_for()
    row.get_by_role("button", name="恢复 binance 1").click()
    row.get_by_text("已启用").wait_for()

    # Another name; the key stays.
    row.get_by_role("button", name="编辑 binance 1").click()
    page.locator("dialog [name=name]").fill("小王")
    page.locator("#save-account").click()
    row = row_of(page, "小王")
    row.get_by_text("已启用").wait_for()

    # A key that is revoked at the exchange.
    def revoke():
        for key in stage.sims.world.accounts["binance-1"].keys:
            key.revoked = True

    stage.sims.call(revoke)
    row.get_by_role("button", name="验证 小王").click()
    bad = page.locator(".toast-card.bad", has_text="小王：Key 无效")
    bad.wait_for()
    row.get_by_text("已停用").wait_for()

    # A wrong secret for a new account: saved, told, and put right at once.
    keys = keys_of(stage.sims, "binance", 1)
    add_account(page, "小李", "binance", "test", {**keys, "api_secret": "x" * 64})
    note = page.locator("dialog .note.bad", has_text="已保存，但不能交易")
    note.wait_for()
    assert "API Secret" in note.inner_text()
    fill(page, keys)
    page.locator("#save-account").click()
    row_of(page, "小李").get_by_text("已启用").wait_for()

    # Delete asks once and names the account.
    row_of(page, "小李").get_by_role("button", name="删除 小李").click()
    page.locator("dialog").get_by_role("button", name="删除 小李").click()
    row_of(page, "小李").wait_for(state="detached")
    assert {account.name for account in stage.trader.list_accounts()} == {"bitget 1", "小王"}


def test_a_failed_copy_is_told_of_and_copied_now_or_left(stage, page):
    set_up(stage)
    row_of(page, "binance 1").wait_for()

    # Refused by the exchange: told with the reason; there is nothing to make up for.
    stage.sims.arm("minus_2010_closed", account="binance-1", count=1)
    stage.leader_buys("500")
    refusal = page.locator(".toast-card.bad", has_text="binance 1：买入 被拒绝")
    refusal.wait_for()
    refusal.get_by_role("button", name="查看订单").click()
    page.locator(".book-rows .grid-row").filter(has_text="binance 1").get_by_text("被拒绝").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#todo-button").is_hidden()

    # Failed: it did not leave twice.
    stage.sims.arm("minus_1021", account="binance-1", count=2)
    stage.leader_buys("500")
    toast = page.locator(".toast-card.bad", has_text="binance 1：买入 失败")
    toast.wait_for()
    page.locator("#todo-button", has_text="1").wait_for()

    # Copy now: the sum is shown first, and nothing is sent before the person agrees.
    sent_before = len(stage.sims.truth("binance-1")["orders"])
    toast.get_by_role("button", name="立即补跟…").click()
    dialog = page.locator("dialog")
    dialog.locator(".sum .total").first.wait_for()
    assert len(stage.sims.truth("binance-1")["orders"]) == sent_before
    dialog.get_by_role("button", name=re.compile("立即买入")).click()
    until(lambda: len(stage.sims.truth("binance-1")["orders"]) == sent_before + 1)
    page.locator("#todo-button").wait_for(state="hidden")

    # Leave.
    stage.sims.arm("minus_1021", account="binance-1", count=2)
    stage.leader_buys("400")
    page.locator("#todo-button", has_text="1").wait_for()
    page.locator("#todo-button").click()
    page.locator(".todo-row").get_by_role("button", name="不再处理").click()
    page.get_by_text("没有需要处理的事项").wait_for()
    assert all(copy.decided_by for copy in stage.trader.list_copies(state="FAILED"))
    assert stage.trader.list_copies(undecided=True) == []

    # Stop.
    page.locator("#run-button").click()
    page.locator("#run-state", has_text="已停止").wait_for()
    assert not stage.trader.status().running


def test_a_third_plug_in_appears_with_its_own_fields(stage, page):
    keys = stage.acme.open_account("carl", Decimal("0.5"), Decimal("4321.98"))
    page.locator("#add-account").click()
    page.locator("#field-exchange").select_option("acme")
    page.get_by_role("textbox", name="PIN 码").wait_for()
    page.locator("dialog [name=name]").fill("卡尔")
    fill(page, {name: value for name, value in keys.items() if name != "pin"})
    page.locator("#save-account").click()
    page.locator("#field-pin-error", has_text="请填写此项").wait_for()
    fill(page, keys)
    page.locator("#save-account").click()
    row = row_of(page, "卡尔")
    row.get_by_text("已启用").wait_for()
    row.get_by_text("艾克米").wait_for()


def test_nothing_is_left_untranslated_when_the_language_is_switched(stage, page):
    set_up(stage)
    stage.leader_buys("300")
    page.locator(".events .grid-row").first.get_by_text("已跟单").wait_for()
    page.locator("#language").click()
    page.locator("#run-state", has_text="Running").wait_for()
    page.locator(".events .grid-row").first.get_by_text("copied").wait_for()
    english = page.locator("body").inner_text()
    # The exchanges' own Chinese names do not show; the switch back is called by its own.
    assert not re.search(r"[\u4e00-\u9fff]", english), re.findall(r".*[\u4e00-\u9fff].*", english)
    page.locator("#language").click()
    page.locator("#run-state", has_text="运行中").wait_for()
    assert page.locator("html").get_attribute("lang") == "zh-Hans"


def test_the_panel_says_since_when_the_engine_is_gone(stage, page):
    set_up(stage)
    row_of(page, "binance 1").wait_for()
    stage.control.close()
    page.locator(".strip", has_text="引擎没有运行").wait_for()
    assert page.locator("#run-button").is_disabled()


def test_offline_it_says_so_and_comes_back(stage, browser):
    with watched_context(browser) as context:
        page = context.new_page()
        page.goto(stage.login_link())
        page.wait_for_url(f"{stage.panel.url}/")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        until(lambda: page.evaluate("navigator.serviceWorker.controller !== null"))
        context.set_offline(True)
        page.reload()
        page.get_by_role("heading", name="无法连接面板").wait_for()
        page.get_by_role("heading", name="The panel cannot be reached").wait_for()
        assert page.evaluate("document.querySelector('img').naturalWidth") > 0
        assert page.evaluate(
            "caches.keys().then((names) => Promise.all(names.map((name) => caches.open(name).then((c) => c.keys()))))"
            ".then((all) => all.flat().every((request) => !request.url.includes('/api/')))"
        )
        context.set_offline(False)
        page.locator("#run-state", has_text="已停止").wait_for()


def test_it_installs_as_an_app(stage, browser, tmp_path):
    # Not in a usual context of Playwright's: those are incognito, where nothing can be installed.
    context = browser.browser_type.launch_persistent_context(
        str(tmp_path / "profile"), executable_path=chromium(), args=FLAGS, locale="zh-CN"
    )
    try:
        watch = Watch(context)
        page = context.pages[0]
        page.goto(stage.login_link())
        page.wait_for_url(f"{stage.panel.url}/")
        page.locator("#run-state", has_text="已停止").wait_for()
        devtools = context.new_cdp_session(page)
        assert devtools.send("Page.getInstallabilityErrors")["installabilityErrors"] == []
        assert devtools.send("Page.getAppManifest")["errors"] == []
        app_id = devtools.send("Page.getAppId")["appId"]
        assert app_id == f"{stage.panel.url}/"
        devtools.send("PWA.install", {"manifestId": app_id, "installUrlOrBundleUrl": f"{stage.panel.url}/"})
        assert devtools.send("PWA.getOsAppState", {"manifestId": app_id})["badgeCount"] == 0
        assert watch.complaints == []
    finally:
        context.close()
