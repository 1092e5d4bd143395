"""What a page does with what changes: a thousand figures, none for a while, a newer page, what a person decides."""

from __future__ import annotations

import itertools
import os
import queue
import re
import shutil
import sys
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import copytrade_webapp
from changing_engine import Engine, an_order
from chromium import running_chromium, watched_context
from copytrade_core.control.server import ControlServer
from copytrade_core.model import Side
from copytrade_core.views import BalanceView, CopyPreview, CopyState, FeedEvent, LeaderOrderState
from copytrade_webapp.access.store import PanelStore
from fake_trader import a_copy
from memory_exchange import until
from panel_process import free_port, running_panel

pytestmark = pytest.mark.browser
PACKAGE = Path(copytrade_webapp.__file__).parent
MANY = 1000
# The browser itself notes that nobody listened.
UNREACHABLE = "WebSocket connection to"


@pytest.fixture(scope="module")
def browser():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def engine():
    engine = Engine()
    for name in ("list_exchanges", "list_plugins"):
        engine.answers[name] = list
    engine.answers["list_gaps"] = lambda **_: []
    return engine


@pytest.fixture
def data_dir(tmp_path, engine):
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    with ControlServer(engine, data_dir):
        yield data_dir


@pytest.fixture
def panel(data_dir, panel_on):
    with panel_on(data_dir) as panel:
        yield panel


@pytest.fixture
def page(panel, browser):
    with watched_context(browser) as context:
        page = context.new_page()
        enter(page, panel)
        yield page


def enter(page, panel):
    store = PanelStore(panel.data_dir / "panel.db")
    page.goto(f"{panel.url}/login#code={store.add_login_code()}")
    store.close()
    page.locator("#run-state", has_text="运行中").wait_for()


def asked(engine, name):
    """Return with what the engine was asked to do *name*."""

    def look():
        try:
            while True:
                method, arguments = engine.calls.get_nowait()
                if method == name:
                    return arguments
        except queue.Empty:
            return None

    return until(look)


def alarm(seq, label, t="2026-11-22T12:00:00.000Z"):
    data = {"what": "clock_jumped", "label": label, "jump_ms": "1400"}
    return FeedEvent(seq=seq, t=t, kind="alarm", text="it happened", data=data)


def shown(page):
    return page.locator(".accounts .grid-row:not([inert]) .name").all_inner_texts()


def balance(amount):
    return (BalanceView(asset="USDT", free=Decimal(amount), locked=Decimal(0), age_sec=0.1, source="pushed"),)


@pytest.mark.parametrize("many", [MANY])
def test_a_thousand_live_accounts(engine, data_dir, panel, browser, many):
    for number in range(many):
        engine.change(number, name=f"账户 {number}", balances=balance(f"{number}.00000001"))
    with watched_context(browser) as context:
        page = context.new_page()
        enter(page, panel)
        page.locator("#accounts-count", has_text="1,000").wait_for()

        top = page.locator('.accounts [aria-rowindex="2"]')

        # Only the rows that are seen exist.
        assert page.locator(".accounts .grid-row").count() < 60
        assert shown(page)[0] == "账户 0"
        page.locator(".accounts .grid-scroll").evaluate("(element) => { element.scrollTop = element.scrollHeight; }")
        page.get_by_role("rowheader", name="账户 999", exact=True).wait_for()
        assert page.locator(".accounts .grid-row").count() < 60

        # Sorted by amounts exactly; the tail's digits count.
        page.get_by_role("columnheader", name="可用 USDT").get_by_role("button").click()
        page.get_by_role("columnheader", name="可用 USDT").get_by_role("button").click()
        page.locator(".accounts .grid-scroll").evaluate("(element) => { element.scrollTop = 0; }")
        top.get_by_text("账户 999", exact=True).wait_for()
        engine.change(7, name="账户 7", balances=balance("1000.00000002"))
        top.get_by_text("账户 7", exact=True).wait_for()

        # Searched, and gone.
        page.locator("#search").fill("账户 77")
        page.locator("#accounts-count", has_text="11 / 1,000").wait_for()
        engine.remove(770)
        page.locator("#accounts-count", has_text="10 / 999").wait_for()


def test_without_the_panel_it_says_so_and_goes_on_when_it_is_back(engine, data_dir, browser):
    bind = f"127.0.0.1:{free_port()}"
    with watched_context(browser, expected=UNREACHABLE) as context:
        page = context.new_page()
        with running_panel(data_dir, bind) as panel:
            enter(page, panel)
        page.locator(".strip", has_text="实时数据中断").wait_for()
        assert page.locator("#run-button").is_disabled()
        engine.change(1, name="回来以后")
        with running_panel(data_dir, bind):
            page.locator(".strip").wait_for(state="detached", timeout=30_000)
            page.get_by_role("rowheader", name="回来以后").wait_for()
            assert page.locator("#run-button").is_enabled()
        page.close()


def test_without_an_engine_nothing_is_said_to_be_empty(engine, tmp_path, panel_on, browser):
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    with ControlServer(Engine(), data_dir):
        pass  # there was one once
    not_known = re.compile("暂时无法得知")
    with panel_on(data_dir) as panel, watched_context(browser) as context:
        page = context.new_page()
        ticket = "**/api/v1/stream/ticket"
        page.route(ticket, lambda route: route.abort())
        page.goto(f"{panel.url}/login#code={panel.login_code}")
        page.locator(".strip", has_text="实时数据中断").wait_for()
        page.unroute(ticket)
        page.locator(".strip", has_text="引擎没有运行").locator("span", has_text=re.compile("^自 .*[0-9]")).wait_for()
        page.locator(".leader .quiet", has_text=not_known).wait_for()
        for place in (".accounts .grid-empty", ".events .grid-empty"):
            page.locator(place, has_text=not_known).wait_for()
        assert page.locator("#accounts-count").inner_text() == "–"
        for tab in ("todo", "alarms", "gaps"):
            page.locator(f"#tab-{tab}").click()
            page.locator(f"#panel-{tab}", has_text=not_known).wait_for()

        # It comes: all appears in the page as it stands.
        engine.answers["list_feed"] = lambda **_: [alarm(3, "bitget")]
        with ControlServer(engine, data_dir):
            page.locator("#run-state", has_text="运行中").wait_for()
            page.locator("#panel-gaps", has_text="没有断线").wait_for()
            page.locator("#tab-alarms").click()
            page.locator(".alarm", has_text="bitget").wait_for()
            page.locator("#tab-todo").click()
            page.get_by_text("没有需要处理的事项").wait_for()
            page.locator("#set-leader").wait_for()
            page.locator("#tab-events").click()
            page.locator(".events .grid-row").wait_for()
            assert len(shown(page)) == 3

        # Another one comes in its place, from a backup say: what only the first one knew is gone.
        other = Engine()
        other.answers |= engine.answers | {"list_feed": lambda **_: [alarm(3, "binance", t="2026-11-22T13:00:00.000Z")]}
        other.answers["list_events"] = lambda **_: [an_order(2, tally={"FILLED": 7})]
        other.answers["list_changes"] = other._changes
        other.remove(1)
        with ControlServer(other, data_dir):
            page.locator("#accounts-count", has_text="2").wait_for()
            page.locator(".events .grid-row:not([inert])", has_text="7").wait_for()
            assert page.locator(".events .grid-row:not([inert])").count() == 1
            page.locator("#tab-alarms").click()
            page.locator(".alarm", has_text="币安").or_(page.locator(".alarm", has_text="binance")).wait_for()
            assert page.locator(".alarm").count() == 1
        page.close()


def test_a_new_version_is_offered_and_loaded(data_dir, browser, tmp_path):
    bind = f"127.0.0.1:{free_port()}"
    newer = tmp_path / "newer"
    shutil.copytree(PACKAGE, newer / "copytrade_webapp", ignore=shutil.ignore_patterns("__pycache__"))
    with (newer / "copytrade_webapp" / "static" / "css" / "base.css").open("a") as file:
        file.write("\n/* newer */\n")
    with watched_context(browser, expected=UNREACHABLE) as context:
        page = context.new_page()
        with running_panel(data_dir, bind) as panel:
            enter(page, panel)
            until(lambda: page.evaluate("navigator.serviceWorker.controller !== null"))
            before = page.locator("meta[name=version]").get_attribute("content")
        path = os.pathsep.join([str(newer), *(each for each in sys.path if each)])
        with running_panel(data_dir, bind, PYTHONPATH=path):
            page.locator(".strip", has_text="有新版本").get_by_role("button", name="重新加载").click(timeout=30_000)
            page.locator(f'meta[name=version]:not([content="{before}"])').wait_for(state="attached")
            page.locator("#run-state", has_text="运行中").wait_for()
            kept = page.evaluate("caches.keys()")
            assert len(kept) == 1 and before not in kept[0]
            page.close()


@pytest.mark.parametrize("executed", [True, False])
def test_a_copy_that_needs_a_person_is_settled(engine, page, executed):
    copy = a_copy(
        1, event_id="1", state=CopyState.NEEDS_PERSON, reason_kind="undecided", is_open=True, sent=Decimal("308.62"),
        size_asset="USDT", client_order_id="ct7k2a0123456789abcdefghij-1",
    )  # fmt: skip
    engine.undecided = [copy]
    engine.answers["settle_copy"] = lambda **_: replace(copy, state=CopyState.FILLED, is_open=False)
    engine.tell("copy", event_id="1")
    page.locator("#todo-button", has_text="1").click()
    page.get_by_role("button", name="处理…").click()
    dialog = page.locator("dialog")
    dialog.get_by_text("ct7k2a0123456789abcdefghij-1").wait_for()
    dialog.get_by_text("买入 308.62 USDT").wait_for()
    assert dialog.locator(".btn-primary").is_disabled()  # neither is taken for granted
    if executed:
        dialog.get_by_text("已成交", exact=True).click()
        dialog.locator("[name=exchange_order_id]").fill("8812345")
        dialog.get_by_role("button", name="按已成交处理").click()
    else:
        dialog.get_by_text("没有成交", exact=True).click()
        dialog.get_by_role("button", name="按未成交处理").click()

    given = asked(engine, "settle_copy")
    assert (given["copy_id"], given["executed"]) == ("copy-1", executed)
    assert given["exchange_order_id"] == ("8812345" if executed else "")
    assert given["by"]
    page.get_by_text("没有需要处理的事项").wait_for()


def test_a_share_is_given_after_its_sums_were_seen(engine, page):
    order = an_order(
        2, state=LeaderOrderState.UNDECIDED, reason_kind="balances_disagree", side=Side.SELL,
        estimates={"latest": "4.2", "undone": "3.9"}, tally={},
    )  # fmt: skip
    engine.orders.append(order)
    engine.answers["preview_event"] = lambda **_: []
    engine.answers["decide_share"] = lambda **_: replace(order, state=LeaderOrderState.COPIED, share=Fraction(1, 4))
    engine.tell("leader_order", event_id="2")
    page.locator("#todo-button", has_text="1").click()
    page.get_by_role("button", name="给出比例…").click()
    dialog = page.locator("dialog")
    dialog.get_by_text("4.2").wait_for()
    dialog.locator("[name=share]").fill("125 %")
    dialog.get_by_role("button", name="查看计算").click()
    dialog.locator("#field-share-error", has_text="不超过 100%").wait_for()
    dialog.locator("[name=share]").fill("25 %")
    dialog.get_by_role("button", name="查看计算").click()
    dialog.get_by_text("各跟单账户现在将下单").wait_for()
    assert asked(engine, "preview_event")["share"] == Fraction(1, 4)
    dialog.get_by_role("button", name="立即按此比例跟单").click()

    assert asked(engine, "decide_share")["share"] == Fraction(1, 4)
    page.locator("#todo-button").wait_for(state="hidden")


def a_preview(number, **changes):
    return CopyPreview(
        **{
            "copy_id": f"copy-{number}", "event_id": "1", "account_id": f"account-{number}",
            "account_name": f"账户 {number}", "exchange": "binance", "env": "test", "side": Side.BUY,
            "share": Fraction(1, 4), "size_asset": "USDT", **changes,
        }
    )  # fmt: skip


def test_what_would_not_be_sent_is_not_counted_as_a_copy(engine, page):
    reckoned = {"free_before": Decimal(1000), "computed": Fraction(250), "step": Decimal("0.01"), "sent": Decimal(250)}
    small = a_preview(2, **reckoned, reason_kind="below_minimum", reason="too small")
    previews = [a_preview(1, **reckoned), small, a_preview(3, reason_kind="not_known_yet", reason="not known yet")]
    engine.undecided = [
        a_copy(number, event_id="1", state=CopyState.FAILED, reason_kind="never_arrived", is_open=True)
        for number in (1, 2, 3)
    ]
    engine.answers["preview_event"] = lambda **_: previews
    engine.answers["preview_copy"] = lambda **_: small
    engine.answers["copy_all_now"] = lambda **_: engine.orders[0]
    engine.tell("copy", event_id="1")
    page.locator("#todo-button", has_text="3").click()
    everybody = page.get_by_role("button", name="全部补跟（3）…")
    dialog = page.locator("dialog")

    # One is sure, one is tried, one is not.
    everybody.click()
    dialog.get_by_role("heading", name="现在为 1 个账户补跟？").wait_for()
    dialog.get_by_text("另有 1 个数据暂时未知的账户").wait_for()
    dialog.get_by_role("button", name="立即为 1 个账户补跟").wait_for()
    page.keyboard.press("Escape")

    # Where nothing would leave there is nothing to agree to.
    page.locator(".todo-row").nth(1).get_by_role("button", name="立即补跟…").click()
    dialog.get_by_role("heading", name="小王 现在无法补跟").wait_for()
    assert dialog.locator("footer button").all_inner_texts() == ["关闭"]
    dialog.locator("footer button").click()
    del previews[0], previews[-1]
    everybody.click()
    dialog.get_by_role("heading", name="现在没有可以补跟的账户").wait_for()
    assert dialog.locator("footer button").all_inner_texts() == ["关闭"]


def test_an_open_book_ends_as_the_last_of_a_burst_left_it(engine, page):
    def becomes(state, reason=""):
        copy = a_copy(1, event_id="1", state=state, reason_kind=reason)
        engine.orders[0] = an_order(1, tally={}, copies=(copy,))
        engine.tell("copy", event_id="1")

    becomes(CopyState.SUBMITTING)
    page.locator(".events .grid-row").click()
    book = page.locator(".book-rows .grid-row")
    book.get_by_text("发送中").wait_for()
    # Each comes within a second of the question before it; the last two count alike.
    becomes(CopyState.ACKED)
    book.get_by_text("已接单").wait_for()
    becomes(CopyState.FAILED, "never_arrived")
    until(lambda: page.evaluate("document.querySelector('.events .num.bad')?.textContent") == "1")
    becomes(CopyState.FAILED, "halted")
    page.locator(".book-detail", has_text="引擎已停机").wait_for()


def test_alarms_are_shown_until_they_are_seen(engine, page):
    jump = alarm(1, "bitget")
    engine.answers["list_feed"] = lambda **_: [jump]
    engine.tell("alarm", **jump.data)
    page.locator(".toast-card.warn", has_text="相对 bitget 的时间跳变了 1400 毫秒").or_(
        page.locator("#tab-alarms", has_text="1")
    ).first.wait_for()
    page.locator("#tab-alarms", has_text="1").click()
    page.locator(".alarm", has_text="请开启 NTP 时间同步").wait_for()
    page.get_by_role("button", name="全部标为已读").click()
    page.locator("#tab-alarms .count").wait_for(state="hidden")
    page.reload()
    page.locator("#run-state", has_text="运行中").wait_for()
    page.locator("#tab-alarms").click()
    page.locator(".alarm.seen").wait_for()
    assert page.locator("#tab-alarms .count").is_hidden()


def test_everything_can_be_reached_by_keyboard(page):
    wanted = {"run-button", "language", "theme", "menu-button", "search", "state-filter", "add-account", "tab-events"}
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert wanted <= reached
    page.locator("#menu-button").focus()
    page.keyboard.press("Enter")
    page.locator("#menu-settings").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="设置").wait_for()
    page.keyboard.press("Escape")
    page.locator("#tab-events").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-todo"


def test_every_control_has_a_name(page):
    """As a screen reader hears it."""
    page.locator("#menu-button").click()
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input:not([hidden]), select, textarea, a")].filter((element) => {
            const named = (element.getAttribute("aria-labelledby") ?? "").split(" ");
            const texts = [...(element.labels ?? []), ...named.map((id) => document.getElementById(id)), element];
            const own = (element.getAttribute("aria-label") ?? "") + element.title;
            return !(own + texts.map((each) => each?.textContent ?? "").join("")).trim();
        }).map((element) => element.outerHTML)"""
    )
    assert nameless == []


def test_rise_and_fall_swap_their_colours(page):
    def colour_of(name):
        return page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--color-{name}')")

    rise, fall = colour_of("rise"), colour_of("fall")
    assert rise != fall
    page.locator("#menu-button").click()
    page.locator("#menu-settings").click()
    page.get_by_text("红买绿卖").click()
    assert (colour_of("rise"), colour_of("fall")) == (fall, rise)
    page.get_by_text("深色", exact=True).click()
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    page.reload()
    assert re.match("dark", page.locator("html").get_attribute("data-bs-theme"))
    assert page.locator("html").get_attribute("data-colours") == "red-rises"


def rows_of(page):
    """Return from where to where each row of the main table reaches, from above."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(
        """() => [...document.querySelectorAll(".accounts .grid-row:not([inert])")]
            .map((row) => row.getBoundingClientRect())
            .map(({ top, bottom }) => [top, bottom]).sort((a, b) => a[0] - b[0])"""
    )


def test_rows_keep_apart_when_the_window_changes_its_width(engine, page):
    for number in range(6):
        engine.change(number, name=f"账户 {number}")
    page.locator("#accounts-count", has_text="6").wait_for()
    for width in (1280, 390, 800, 1280):
        page.set_viewport_size({"width": width, "height": 768})
        rows = rows_of(page)
        assert len(rows) == 6
        assert all(above[1] <= below[0] for above, below in itertools.pairwise(rows))
        page.reload()
        page.locator(".accounts .grid-row").nth(5).wait_for()
        fresh = rows_of(page)
        assert [bottom - top for top, bottom in rows] == [bottom - top for top, bottom in fresh]
        assert rows[1][0] - rows[0][0] == fresh[1][0] - fresh[0][0]


def test_messages_of_failures_go_by_themselves_and_cover_no_tab(page):
    page.evaluate(
        """async () => {
            const own = document.querySelector("script[src*='js/app.js']").src;
            const { say } = await import(own.replace("app.js", "components/toasts.js"));
            for (const title of ["1", "2", "3", "4"]) say({ tone: "bad", title, text: "x ".repeat(60) });
        }"""
    )
    assert page.locator(".toast-card strong").all_inner_texts() == ["2", "3", "4"]
    for tab in page.get_by_role("tab").all():
        tab.click(timeout=3000)
    page.locator(".toast-card").first.wait_for(state="detached", timeout=20_000)
