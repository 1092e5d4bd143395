"""From events to what a person reads: many of a kind become one line with a count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from copytrade_core import kinds

Event = Mapping[str, Any]

CATEGORIES = ("alarm", "halt", "copy_failed", "copy", "leader_order", "account", "leader", "copying", "engine")
FAILED_STATES = ("FAILED", "REJECTED", "STALE")
NAMES_SHOWN = 5
TEXT_BYTES = 2000  # WeCom takes 2,048, Telegram 4,096 characters; more is no notice any more

_WORDS: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "alarm": "告警", "halt": "交易停机", "copy_failed": "跟单失败", "copy": "跟单", "leader_order": "主账户订单",
        "account": "账户", "leader": "主账户", "copying": "跟单开关", "engine": "引擎", "notify": "通知",
        "comma": "、", "then": "；", "colon": "：", "more": " 等 {count} 个", "names": "（{names}）",
        "cut": "…… 还有 {count} 项", "lost": "另有 {count} 条较早的通知因积压被丢弃",
        "down": "通知目标 {target} 无法送达（{reason}）；恢复后会补发",
        "test": "测试：这条消息表示通知可以送达",
    },
    "en": {
        "alarm": "alarm", "halt": "halt", "copy_failed": "copy failed", "copy": "copy", "leader_order": "leader order",
        "account": "account", "leader": "leader", "copying": "copying", "engine": "engine", "notify": "notices",
        "comma": ", ", "then": "; ", "colon": ": ", "more": " and {rest} more", "names": " ({names})",
        "cut": "... and {count} more", "lost": "{count} older notices were dropped, too many were waiting",
        "down": "the notice target {target} cannot be reached ({reason}); it is told later what it missed",
        "test": "a test: notices arrive here",
    },
}  # fmt: skip


def category(event: Event) -> str:
    """Return the word by which a target asks for events like this one."""
    kind = str(event.get("kind", ""))
    if kind == "copy" and event.get("state") in FAILED_STATES:
        return "copy_failed"
    # Whoever hears of a halt wants to hear of its end.
    return "halt" if kind == "engine" and "halt_kind" in event else kind


def own_event(word: str, **fields: str) -> Event:
    """Return an event of the notifier itself; its text is made when its reader's language is known."""
    return {"kind": "notify", "word": word, **fields}


def compose(events: Sequence[Event], lang: str, installation: str = "", lost: int = 0) -> str:
    """Return the text of one message about *events*, at most `TEXT_BYTES` long in UTF-8.

    Its first word is always ``copytrade``: robots that demand a keyword can be given that one.

    :param lost: how many events before these were dropped.
    """
    words = _WORDS[lang]
    groups: dict[tuple[str, ...], list[Event]] = {}
    for event in events:
        groups.setdefault(_alike(event, lang), []).append(event)
    lines = [f"copytrade {installation}".rstrip()]
    lines += [_line(category(group[0]), group, lang) for group in groups.values()]
    if lost:
        lines.append(words["lost"].format(count=lost))
    return _cut([_plain(line) for line in lines], words)


def _alike(event: Event, lang: str) -> tuple[str, ...]:
    if _is_of_a_copy(event):
        return ("copy", *(str(event.get(name, "")) for name in ("side", "state")), _reason(event, lang))
    return (str(event.get("kind")), str(event.get("word", "")), str(event.get("target", "")), str(event.get("text")))


def _is_of_a_copy(event: Event) -> bool:
    return event.get("kind") == "copy" and "state" in event


def _reason(event: Event, lang: str) -> str:
    """Return why a copy is where it is; in English the engine's own words, which have the exchange's code."""
    kind, reason = str(event.get("reason_kind", "")), str(event.get("reason", ""))
    return kinds.sentence(kind, lang, **event) if kind and lang == "zh" else reason


def _told(event: Event, lang: str) -> str:
    """Return what an event says, and for what wants a person's eye also what that person can do."""
    text = kinds.event_sentence(str(event.get("text", "")), event, lang)
    # In English the text of a halt says itself what ends it.
    if event.get("kind") == "alarm" or (event.get("kind") == "halt" and lang == "zh"):
        text = _WORDS[lang]["then"].join(filter(None, (text, kinds.event_remedy(event, lang))))
    return text


def _line(word: str, group: Sequence[Event], lang: str) -> str:
    first, words = group[0], _WORDS[lang]
    count = f" ×{len(group)}" if len(group) > 1 else ""
    time = str(first.get("t", ""))[11:19]
    head = f"[{words.get(word, word)}{count}] {time + 'Z ' if time else ''}"
    if first.get("kind") == "notify":
        return head + words[first["word"]].format_map(first)
    if not _is_of_a_copy(first):
        return head + _told(first, lang)
    names = list(dict.fromkeys(str(event.get("account", "")) for event in group))
    shown = words["comma"].join(names[:NAMES_SHOWN])
    if len(names) > NAMES_SHOWN:
        shown += words["more"].format(count=len(names), rest=len(names) - NAMES_SHOWN)
    side, state = (str(first.get(name)) for name in ("side", "state"))
    if lang == "zh":
        side, state = kinds.word(side, lang), kinds.word(state, lang)
    reason = _reason(first, lang)
    return f"{head}{side} {state}{words['colon'] + reason if reason else ''}{words['names'].format(names=shown)}"


def _plain(line: str) -> str:
    """Return *line* without what moves a cursor or turns the writing direction."""
    return " ".join("".join(char if char.isprintable() else " " for char in line).split())


def _cut(lines: Sequence[str], words: Mapping[str, str]) -> str:
    room = TEXT_BYTES - 64  # for the line that says how many are missing
    kept: list[str] = []
    for number, line in enumerate(lines):
        short = line.encode()[: TEXT_BYTES // 4].decode(errors="ignore")
        room -= len(short.encode()) + 1
        if room < 0:
            kept.append(words["cut"].format(count=len(lines) - number))
            break
        kept.append(short)
    return "\n".join(kept)
