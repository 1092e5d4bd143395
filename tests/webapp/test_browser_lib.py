"""The pure functions of the pages, in the browser that they are written for."""

from __future__ import annotations

from pathlib import Path

import pytest

import copytrade_webapp
from chromium import running_chromium

pytestmark = pytest.mark.browser
STATIC = Path(copytrade_webapp.__file__).parent / "static"
ORIGIN = "http://lib.test"


@pytest.fixture(scope="module")
def page():
    with running_chromium() as browser:
        page = browser.new_page(locale="en-GB")

        def serve(route):
            path = STATIC / route.request.url.removeprefix(f"{ORIGIN}/")
            if path.is_file():
                route.fulfill(body=path.read_text(), content_type="text/javascript")
            else:
                route.fulfill(body="<!doctype html>", content_type="text/html")

        page.route("**/*", serve)
        page.goto(ORIGIN)
        yield page


def call(page, module, name, *arguments):
    """Return what an exported function of ``static/js/lib`` gives."""
    return page.evaluate(
        "async ([path, name, args]) => (await import(path))[name](...args)",
        [f"/js/lib/{module}.js", name, list(arguments)],
    )


def test_amounts_survive_json_exactly(page):
    text = (
        '{"a": 1234567890.12345678, "b": "1.5 \\" 2.5", "c": 3, "d": 1E-8, "e": [-0.10, 123456789012345678], "f": null}'
    )

    assert call(page, "exact_json", "parseExact", text) == {
        "a": "1234567890.12345678",
        "b": '1.5 " 2.5',
        "c": 3,
        "d": "1E-8",
        "e": ["-0.10", "123456789012345678"],
        "f": None,
    }


@pytest.mark.parametrize(
    ("left", "right", "sign"),
    [
        ("0.1", "0.10", 0),
        ("9.99999999", "10", -1),
        ("1234567890.12345679", "1234567890.12345678", 1),
        ("-2", "1", -1),
        ("-2", "-10", 1),
        ("1E-8", "0.00000001", 0),
        ("1.5E+3", "1500", 0),
        ("0", "-0.000", 0),
        (None, "0", 1),
        ("0", None, -1),
        (50000, "49999.99", 1),
    ],
)
def test_amounts_are_compared_exactly(page, left, right, sign):
    found = call(page, "decimal", "compareDecimals", left, right)

    assert (found > 0) - (found < 0) == sign


def formatted(page, locale, name, value):
    script = "async ([l, n, v]) => (await import('/js/lib/format.js')).formats(l, 'UTC')[n](v)"
    return page.evaluate(script, [locale, name, value])


@pytest.mark.parametrize(
    ("locale", "name", "value", "text"),
    [
        ("en", "exact", "1234567890.12345678", "1,234,567,890.12345678"),
        ("zh-Hans", "exact", "0.00000001", "0.00000001"),
        ("en", "exact", "1E-8", "0.00000001"),
        ("en", "money", "99.999", "99.99"),  # never shown as more than there is
        ("en", "coin", "0.1", "0.100000"),
        ("en", "share", "0.24998700", "24.9987%"),
        ("en", "share", "1", "100.00%"),
        ("en", "points", "-1.5", "-1.5"),
        ("en", "points", "2", "+2"),
        ("en", "exact", None, "–"),
        ("en", "seconds", 0.4, "0.4s"),
        ("zh-Hans", "seconds", 90, "2分钟"),
        ("en", "full", "2026-11-22T12:00:00.000Z", "22 Nov 2026, 12:00:00"),
    ],
)
def test_figures_look_as_people_write_them(page, locale, name, value, text):
    locale = "en-GB" if name == "full" else locale

    assert formatted(page, locale, name, value) == text


def test_only_the_seen_rows_of_a_long_list_exist(page):
    view = {"scrollTop": 4000, "height": 400, "rowHeight": 40, "count": 1000, "overscan": 2}

    assert call(page, "window", "visibleRows", view) == {"first": 98, "last": 112}
    assert call(page, "window", "visibleRows", {**view, "count": 0}) == {"first": 0, "last": 0}
    assert call(page, "window", "visibleRows", {**view, "scrollTop": 0, "count": 5}) == {"first": 0, "last": 5}
    assert (
        call(page, "window", "visibleRows", {**view, "count": 50})["first"] <= 50
    )  # scrolled beyond a list that shrank


ROWS = [
    {"id": "1", "name": "Bo 10", "exchange": "binance", "env": "test", "state": "ACTIVE", "freeUSDT": "9.5",
     "error": ""},
    {"id": "2", "name": "bo 9", "exchange": "bitget", "env": "demo", "state": "PAUSED", "freeUSDT": "10", "error": ""},
    {"id": "3", "name": "Al", "exchange": "binance", "env": "test", "state": "DISABLED", "freeUSDT": None,
     "error_kind": "invalid_key", "error": "refused"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "ids"),
    [
        pytest.param({}, "321", id="by-name-as-people-count"),
        pytest.param({"sorting": {"key": "freeUSDT", "descending": False}}, "123", id="by-amount"),
        pytest.param({"sorting": {"key": "name", "descending": True}}, "123", id="backwards"),
        pytest.param({"search": "BITGET"}, "2", id="search"),
        pytest.param({"state": "ACTIVE"}, "1", id="state"),
        pytest.param({"state": "error"}, "3", id="with-an-error"),
    ],
)
def test_accounts_are_searched_and_sorted(page, wish, ids):
    wish = {"search": "", "state": "", "sorting": {"key": "name", "descending": False}, **wish}

    rows = call(page, "rows", "chooseRows", ROWS, wish, {"base": "BTC", "quote": "USDT", "locale": "en"})

    assert "".join(row["id"] for row in rows) == ids


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("25 %", "25/100"), ("25", "25/100"), ("12.5%", "125/1000"), ("1/4", "1/4"), ("100", "100/100"),
        ("0.0001", "1/1000000"),
        ("0", ""), ("100.1", ""), ("5/4", ""), ("1/0", ""), ("-5", ""), ("abc", ""), ("", ""), ("٥", ""), ("1e1", ""),
    ],
)  # fmt: skip
def test_a_share_is_read_as_written(page, text, share):
    assert call(page, "share", "parseShare", text) == share


def test_kinds_become_sentences(page):
    script = """async ([kind, data, own]) => {
        const { sentences } = await import("/js/lib/sentences.js");
        const table = {
            "clock:": { sentence: "无法确定 %(label)s 的时间", remedy: "" },
            disabled: { sentence: "%(name)s 已停用：%(reason)s", remedy: "%(reason_remedy)s" },
            key: { sentence: "Key 无效", remedy: "换一个" },
            moved: { sentence: "%(side)s[：%(reason)s]", remedy: "" },
            percent: { sentence: "%(share)s %%", remedy: "" },
        };
        const made = sentences(table, { BUY: "买入" }, own);
        return [made.sentence(kind, data), made.remedy(kind, data)];
    }"""

    def say(kind, data, own=False):
        return page.evaluate(script, [kind, data, own])

    assert say("clock:bitget", {}) == ["无法确定 bitget 的时间", ""]
    assert say("disabled", {"name": "A", "reason_kind": "key", "reason": "(-2015)"}) == ["A 已停用：Key 无效", "换一个"]
    assert say("moved", {"side": "BUY"})[0] == "买入"
    assert say("percent", {"share": "12"})[0] == "12 %"
    assert say("nobody_knows_this", {"reason": "as the plug-in says"})[0] == "as the plug-in says"
    assert say("nobody_knows_this", {})[0] == "nobody knows this"
    assert say("key", {"reason": "the exchange's own words"}, True)[0] == "the exchange's own words"


def test_the_table_speaks_as_the_server_does(page):
    """The same kinds and figures give the same Chinese here and in `copytrade_core.kinds`."""
    from copytrade_core import kinds

    table = {name: {"sentence": kind.zh, "remedy": kind.do_zh} for name, kind in kinds.all_kinds().items()}
    words = {code: kinds.word(code, "zh") for code in ("BUY", "SELL", "FAILED", "FILLED")}
    figures = {
        "name": "小王", "account": "小王", "side": "SELL", "state": "FAILED", "reason_kind": "wrong_secret",
        "reason": "x", "label": "bitget", "filled_base": "0.5", "base": "BTC", "share_percent": "12.5",
        "halt_kind": "clock:bitget",
    }  # fmt: skip
    script = """async ([table, words, kinds, figures]) => {
        const { sentences } = await import("/js/lib/sentences.js");
        const made = sentences(table, words, false);
        return kinds.map((kind) => [made.sentence(kind, figures), made.remedy(kind, figures)]);
    }"""
    names = [name if not name.endswith(":") else f"{name}bitget" for name in table]

    said = page.evaluate(script, [table, words, names, figures])

    assert len(names) > 100
    for name, (sentence, remedy) in zip(names, said, strict=True):
        assert sentence == kinds.sentence(name, "zh", **figures), name
        assert remedy == kinds.remedy(name, "zh", **figures), name


def test_what_waits_for_a_person_is_grouped_by_order(page):
    copies = [
        {"id": "a", "event_id": "9", "state": "FAILED"},
        {"id": "b", "event_id": "10", "state": "STALE"},
        {"id": "c", "event_id": "9", "state": "NEEDS_PERSON"},
    ]
    events = [{"id": "11", "state": "UNDECIDED"}, {"id": "10", "state": "COPIED"}]

    found = call(page, "undecided", "whatNeedsAPerson", copies, events)

    assert [copy["id"] for copy in found["settle"]] == ["c"]
    assert [group["eventId"] for group in found["groups"]] == ["10", "9"]
    assert [event["id"] for event in found["shares"]] == ["11"]
    assert found["count"] == 4


def test_alarms_are_new_until_seen(page):
    feed = [{"seq": 9, "kind": "alarm"}, {"seq": 8, "kind": "copy"}, {"seq": 7, "kind": "halt", "data": {}}]

    assert [each["seq"] for each in call(page, "alarms", "unseen", feed, 7)] == [9]
    assert [each["seq"] for each in call(page, "alarms", "unseen", feed, 0)] == [9, 7]
    assert [each["seq"] for each in call(page, "alarms", "unseen", feed, 500)] == [9, 7]  # the feed began anew


def test_waiting_grows_but_not_for_ever(page):
    script = """async () => {
        const { delayMs } = await import("/js/lib/backoff.js");
        return [0, 1, 5, 50].map((attempt) => [delayMs(attempt, () => 0), delayMs(attempt, () => 1)]);
    }"""

    assert page.evaluate(script) == [[250, 500], [500, 1000], [7500, 15000], [7500, 15000]]
