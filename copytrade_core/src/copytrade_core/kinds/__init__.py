"""Every ``kind`` of the system, with what a trader reads of it in English and in Chinese.

A kind is a word that never changes: of an error, of why a copy ended, of a halt, of an event of the feed (its
``what``), of what `doctor` found. Figures come as structured data and are put into the sentence; nothing is taken
out of English prose. Plug-ins of third parties may bring kinds that are not here: then their own sentence stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ..views import CopyView, LeaderOrderView, plain_fraction
from ._events import EVENTS
from ._kind import Kind
from ._panel import PANEL
from ._refusals import REFUSALS
from ._words import WORDS

LANGUAGES = ("en", "zh")
_TABLE: Mapping[str, Kind] = REFUSALS | EVENTS | PANEL
_PART = re.compile(r"\[([^][]*)\]")
_NAME = re.compile(r"%\((\w+)\)s")


def all_kinds() -> dict[str, Kind]:
    """Return the whole table; a kind that ends in a colon stands for all that begin with it."""
    return dict(_TABLE)


def sentence(kind: str, lang: str, /, **data: Any) -> str:
    """Return what a trader reads of *kind* in *lang* (``en`` or ``zh``).

    :param data: figures; besides ``reason_kind`` and ``reason`` (prose that stands where the kind is not known),
        ``halt_kind`` and ``halt``, ``side`` and ``state``, which are told in the language, too.
    :returns: for a kind that is not in the table ``data["reason"]``, or words that name the kind.
    """
    found = _find(kind)
    if found is None:
        unknown = f"原因：{kind}" if lang == "zh" else kind.replace("_", " ")
        return str(data.get("reason") or unknown)
    return _fill(found.zh if lang == "zh" else found.en, kind, lang, data)


def remedy(kind: str, lang: str, /, **data: Any) -> str:
    """Return what a person can do about *kind* in *lang*; empty where nothing can or need be done."""
    found = _find(kind)
    if found is None:
        return ""
    return _fill(found.do_zh if lang == "zh" else found.do_en, kind, lang, data)


def word(code: str, lang: str) -> str:
    """Return the trader's word for a state, a side and the like; *code* itself where it has none."""
    return WORDS[code][lang == "zh"] if code in WORDS else code


def event_sentence(text: str, data: Mapping[str, Any], lang: str) -> str:
    """Return what an event of the feed tells in *lang*; its English *text* where it is older than its ``what``."""
    what = str(data.get("what", ""))
    return sentence(what, lang, **data) if lang == "zh" and _find(what) else text


def event_remedy(data: Mapping[str, Any], lang: str) -> str:
    """Return what a person can do about an event; empty where nothing."""
    return remedy(str(data.get("what", "")), lang, **data)


def reason_of(view: CopyView | LeaderOrderView, lang: str) -> str:
    """Return why a copy, or a leader order, ended as it did; empty where there is nothing to say."""
    if not view.reason_kind:
        return view.reason
    if lang == "en":
        return view.reason or sentence(view.reason_kind, lang, **reason_data(view))
    return sentence(view.reason_kind, lang, **reason_data(view))


def reason_data(view: CopyView | LeaderOrderView) -> dict[str, Any]:
    """Return the figures of a view that its reason's sentence may want."""
    if isinstance(view, CopyView):
        computed = None if view.computed is None else plain_fraction(view.computed, 12)
        return {"reason": view.reason, "computed": computed, "asset": view.size_asset, "by": view.decided_by}
    age_sec = None if view.heard_ms is None else round(view.heard_ms / 1000)
    return {"reason": view.reason, "age_sec": age_sec, "symbol": view.symbol, "order_type": view.order_type}


def names_in(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the figures that *text* always wants, and those that it can do without."""
    optional = frozenset(name for part in _PART.findall(text) for name in _NAME.findall(part))
    return frozenset(_NAME.findall(_PART.sub("", text))), optional


def _find(kind: str) -> Kind | None:
    family, colon, _ = kind.partition(":")
    return _TABLE.get(family + colon)


def _fill(text: str, kind: str, lang: str, data: Mapping[str, Any]) -> str:
    values = {name: _shown(value) for name, value in data.items() if value not in (None, "")}
    _, colon, label = kind.partition(":")
    if colon:
        values["label"] = label
    for name in ("side", "state"):
        if name in values:
            values[name] = word(values[name], lang)
    for name, of in (("reason", "reason_kind"), ("halt", "halt_kind")):
        if (inner := str(data.get(of) or "")) and inner != kind:
            own = {**data, of: None}
            # An English reader is served best by the exchange's own figures and words, where there are some.
            if lang == "zh" or name not in values:
                values[name] = sentence(inner, lang, **own)
            values[f"{name}_remedy"] = remedy(inner, lang, **own)
    values = {name: value for name, value in values.items() if value}

    def part(match: re.Match[str]) -> str:
        inside = match.group(1)
        return inside if all(name in values for name in _NAME.findall(inside)) else ""

    kept = _PART.sub(part, text)
    return _NAME.sub(lambda match: values.get(match.group(1), "?"), kept).replace("%%", "%")


def _shown(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return ", ".join(map(str, value))
