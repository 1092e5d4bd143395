"""Whatever the sources can show to a person has its sentence in both languages, and the table holds nothing else."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from copytrade_core import kinds
from copytrade_core.kinds import _events, _panel, _refusals
from copytrade_core.kinds._words import WORDS
from copytrade_core.model import Environment, Side
from copytrade_core.views import AccountState, CopyState, CopyView, LeaderOrderState, LeaderOrderView

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = (
    "copytrade_core",
    "copytrade_binance",
    "copytrade_bitget",
    "copytrade_notify",
    "webapp/src/copytrade_webapp",
)
# Simulators speak as exchanges do; what the testing tools raise only tests see; and the table is not its own witness.
NOT_SHOWN = re.compile(r"/(sim|drill)(_\w+)?\.py$|/sim/|/testing/|/kinds/")
WORD = re.compile(r"[a-z]+(_[a-z0-9]+)*")

BY_NAME = {"kind", "reason_kind", "error_kind", "halt_kind", "what", "HALT_KIND"}
# Where a function takes a kind among its positional arguments.
BY_PLACE = {
    "begin": 0,  # Halts
    "shut": 1,  # CopyGate
    "disable": 1,  # AccountService
    "Refused": 1,  # Departure
    "_tell": 1,  # AccountService, Decisions
    "publish": 1,  # Record
    "_auth": 0,
    "_plain": 1,
    "_refused": 0,
    "interrupted": 1,
    "finding": 2,
    "_warning": 0,
    "Problem": 1,
    "problem_response": 1,
}
# A word and then a sentence: (kind, sentence) as the sources pass it around, but for these, which nobody is shown.
EVIDENCE = {"evidence", "_on_evidence", "note", "answered", "publish", "_message"}
# (file, word): pairs of that shape which mean something else.
OTHER_PAIRS = {
    ("book.py", "copied_again"),  # evidence
    ("output.py", "pending"),  # a count's name and its word
    ("acceptance_checks.py", "point"),
    ("acceptance_checks.py", "free"),
    ("config.py", "name"),
    ("leader_orders.py", "msg"),
    ("doctor.py", "error"),
}
# Keywords named `kind` that are no kind of ours.
OTHER_KEYWORDS = {
    ("settle.py", "found"),
    ("settle.py", "found_late"),
    ("messages.py", "notify"),
    ("doctor.py", "warning"),
    ("doctor.py", "error"),
    ("guard.py", "session"),  # who asks
    ("guard.py", "token"),
}
METRIC = re.compile(r"copytrade_")


def literals(node: ast.AST) -> Iterator[str]:
    """Every word that an expression may be; of a text made of parts the beginning, if it is a family's."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from literals(value)
    elif isinstance(node, ast.JoinedStr) and str(getattr(node.values[0], "value", "")).endswith(":"):
        yield str(getattr(node.values[0], "value", ""))


def is_prose(node: ast.AST) -> bool:
    if isinstance(node, ast.BoolOp):
        return any(is_prose(value) for value in node.values)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    )


def unpacked(target: ast.AST, value: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Each name that is assigned to, with what it is given: ``kind, level = (a, b) if c else (d, e)``, too."""
    if isinstance(value, ast.IfExp) and isinstance(target, ast.Tuple):
        yield from unpacked(target, value.body)
        yield from unpacked(target, value.orelse)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, other in zip(target.elts, value.elts, strict=True):
            yield from unpacked(one, other)
    else:
        yield getattr(target, "id", ""), value


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def kinds_in(file: str, tree: ast.Module, errors: frozenset[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            for name, value in unpacked(target, node.value):
                if name in BY_NAME:
                    yield from (word for word in literals(value) if (file, word) not in OTHER_KEYWORDS)
                elif name == "_KINDS" and isinstance(value, ast.Dict):
                    for each in value.values:
                        yield from literals(each)
                elif name.isupper():  # a constant may be a kind by whatever name: one that is in the table is
                    yield from (word for word in literals(value) if word in kinds.all_kinds())
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in BY_NAME:
                    yield from (word for word in literals(value) if (file, word) not in OTHER_KEYWORDS)
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in BY_NAME:
                    yield from (word for word in literals(keyword.value) if (file, word) not in OTHER_KEYWORDS)
            place = BY_PLACE.get(name_of(node))
            if place is not None and len(node.args) > place:
                yield from literals(node.args[place])
        row = node.elts if isinstance(node, ast.Tuple) else ()
        if isinstance(node, ast.Call) and name_of(node) not in EVIDENCE:
            row = node.args
        for left, right in itertools.pairwise(row):
            if is_prose(right):
                yield from (word for word in literals(left) if (file, word) not in OTHER_PAIRS)
            if isinstance(left, ast.Name) and left.id in errors:
                yield from literals(right)


def used() -> dict[str, set[str]]:
    """Every kind that the sources use, with the files that do."""
    from copytrade_core import errors as error_module

    errors = frozenset(name for name, value in vars(error_module).items() if isinstance(value, type))
    found: dict[str, set[str]] = {}
    for distribution in DISTRIBUTIONS:
        top = ROOT / distribution
        for path in sorted((top if "src" in distribution else top / "src").rglob("*.py")):
            if NOT_SHOWN.search(str(path)):
                continue
            for kind in kinds_in(path.name, ast.parse(path.read_text("utf-8")), errors):
                if not METRIC.match(kind):
                    found.setdefault(kind, set()).add(path.name)
    for state in LeaderOrderState:
        found[f"order_{state.lower()}"] = {"trader.py"}
    return found


USED = used()


def test_every_kind_of_the_sources_is_in_the_table():
    missing = {kind: sorted(files) for kind, files in USED.items() if kind not in kinds.all_kinds()}

    assert not missing


def test_the_table_holds_no_kind_that_nobody_uses():
    assert not sorted(kinds.all_kinds().keys() - USED.keys())


def test_the_walk_finds_kinds_of_every_shape():
    assert {
        "rate_limited", "banned", "insufficient_balance", "size_out_of_range", "wrong_secret", "paused", "journal",
        "clock:", "restarted", "too_small", "sent_before", "second_installation", "key_expires", "account_added",
        "copy_moved", "halt_began", "not_market", "not_verified", "share_by_person",
    } <= USED.keys()  # fmt: skip


def test_no_kind_stands_in_two_tables():
    tables = [
        *(value for name, value in vars(_refusals).items() if name.isupper() and name != "REFUSALS"),
        *(value for name, value in vars(_events).items() if name.isupper() and name != "EVENTS"),
        _panel.PANEL,
    ]
    names = [kind for table in tables for kind in table]

    assert sorted(names) == sorted(set(names))
    assert set(names) == kinds.all_kinds().keys()


@pytest.mark.parametrize("kind", sorted(kinds.all_kinds()))
def test_both_languages_say_the_same_with_the_same_figures(kind):
    entry = kinds.all_kinds()[kind]

    assert entry.en and entry.zh
    assert bool(entry.do_en) == bool(entry.do_zh)
    for text in (entry.en, entry.zh, entry.do_en, entry.do_zh):
        assert re.sub(r"%\(\w+\)s|%%", "", text).count("%") == 0
        assert text.count("[") == text.count("]")
    wanted_en, optional_en = kinds.names_in(entry.en)
    wanted_zh, optional_zh = kinds.names_in(entry.zh)
    # The prose of an error is English: where it stands alone, Chinese names its kind instead, or leaves it out.
    assert wanted_zh - {"reason"} <= wanted_en
    assert wanted_en - {"error"} <= wanted_zh | optional_zh
    assert optional_zh <= optional_en | wanted_en
    chinese = re.sub(r"%\(\w+\)s", "", entry.zh + entry.do_zh)
    assert re.search(r"[\u4e00-\u9fff]", chinese) or not re.search(r"[a-z]{3}", chinese.replace("pip install", "")[:3])


def calls_of_the_feed() -> Iterator[tuple[str, str, set[str] | None]]:
    """Every publish and alarm: where, its `what`, and the names of its data (``None``: not all are spelled out)."""
    for path in sorted((ROOT / "copytrade_core/src").rglob("*.py")):
        if path.name == "feed.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("publish", "alarm") or getattr(node.func.value, "attr", "") != "_feed":
                continue
            names = {keyword.arg for keyword in node.keywords}
            data = None if None in names else {str(name) for name in names}
            for keyword in node.keywords:
                if keyword.arg == "what":
                    for what in literals(keyword.value):
                        yield f"{path.name}:{node.lineno}", what, data


def test_every_event_brings_the_figures_that_its_sentence_wants():
    seen = 0
    for where, what, data in calls_of_the_feed():
        if data is None:
            continue
        seen += 1
        entry = kinds.all_kinds()[what]
        for text in (entry.en, entry.zh, entry.do_en, entry.do_zh):
            wanted = {name.removesuffix("_remedy") for name in kinds.names_in(text)[0]}
            assert wanted <= data, f"{where}: {what} wants {wanted - data}"
    assert seen >= 15


def test_every_state_has_a_word_in_both_languages():
    for code in (*CopyState, *LeaderOrderState, *AccountState, *Side, *Environment):
        assert all(WORDS[code.value])
    ends = ("FILLED", "PARTLY_FILLED", "REJECTED", "FAILED", "SKIPPED", "STALE", "UNKNOWN", "NEEDS_PERSON")
    said = [kinds.word(state, "zh") for state in ends]
    assert said == ["成功", "部分成交", "被拒绝", "失败", "跳过", "过期", "核对中", "待人工处理"]


def test_a_figure_that_is_missing_takes_its_part_of_the_sentence_with_it():
    assert kinds.sentence("too_small", "zh") == "按比例计算的数量舍去后为 0，太小"
    assert kinds.sentence("too_small", "zh", computed=Decimal("0.00000012"), asset="BTC") == (
        "按比例计算的数量（0.00000012 BTC）舍去后为 0，太小"
    )
    assert kinds.sentence("too_small", "en", computed=Decimal("1E-8"), asset="BTC") == (
        "the share of the free balance (0.00000001 BTC) rounds down to nothing"
    )


def test_a_family_names_its_member():
    assert kinds.sentence("clock:binance/test", "zh") == "无法确定 binance/test 的时间"
    assert "NTP" in kinds.remedy("clock:binance/test", "zh")
    assert "dispatcher" in kinds.sentence("thread:dispatcher", "zh")


def test_a_reason_inside_an_event_is_told_in_its_language():
    data = {
        "what": "copy_moved", "account": "小王", "side": "BUY", "state": "FAILED",
        "reason_kind": "insufficient_balance", "reason": "the account does not hold enough (43012: no money)",
    }  # fmt: skip

    assert kinds.event_sentence("the text", data, "zh") == "小王 买入 失败：可用余额不足"
    assert kinds.event_sentence("the text", data, "en") == "the text"
    assert kinds.event_sentence("from before", {}, "zh") == "from before"
    disabled = {"what": "account_disabled", "name": "小王", "reason_kind": "can_withdraw", "reason": "it may withdraw"}
    assert kinds.event_sentence("", disabled, "zh") == "小王 已停用：这个 API Key 可以提现，已被拒绝使用"
    assert kinds.event_remedy(disabled, "zh") == "新建一个只能读取和现货交易的 Key，并更换到该账户"


def test_a_halt_inside_an_event_is_told_in_its_language():
    data = {"what": "halt_began", "halt_kind": "clock:bitget/demo", "halt": "the time is not known"}

    assert kinds.event_sentence("", data, "zh") == "已停机：无法确定 bitget/demo 的时间"
    assert "NTP" in kinds.event_remedy(data, "zh")


def test_the_kind_of_a_third_partys_plug_in_shows_its_own_sentence():
    assert kinds.sentence("moon_phase", "zh", reason="the moon is full") == "the moon is full"
    assert kinds.sentence("moon_phase", "zh") == "原因：moon_phase"
    assert kinds.sentence("moon_phase", "en") == "moon phase"
    assert kinds.remedy("moon_phase", "zh") == ""


def test_a_rows_reason_is_told_with_its_own_figures():
    row = CopyView(
        id="1", event_id="1", account_id="1", account_name="小王", exchange="binance", env=Environment.TEST,
        side=Side.SELL, state=CopyState.SKIPPED, reason_kind="too_small", reason="it rounds down to nothing",
        size_asset="BTC", computed=Fraction(12, 10**8),
    )  # fmt: skip

    assert kinds.reason_of(row, "zh") == "按比例计算的数量（0.00000012 BTC）舍去后为 0，太小"
    assert kinds.reason_of(row, "en") == "it rounds down to nothing"


def test_a_leader_orders_reason_is_told_with_its_own_figures():
    order = LeaderOrderView(
        id="1", t="", exchange="binance", env=Environment.TEST, symbol="BTC/USDT", order_id="9", client_order_id="x",
        side=Side.BUY, order_type="LIMIT", status="FILLED", filled_base=Decimal(1), filled_quote=Decimal(1),
        state=LeaderOrderState.IGNORED, reason_kind="not_market", reason="a LIMIT order", heard_ms=70_000.0,
    )  # fmt: skip

    assert kinds.reason_of(order, "zh") == "LIMIT 订单，只跟市价单"
