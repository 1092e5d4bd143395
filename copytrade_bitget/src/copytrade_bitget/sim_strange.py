"""Answers written in ways that a careful reader takes exactly or refuses, and a careless one gets wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_AMOUNT = re.compile(
    r'"(available|frozen|balance|size|qty|amount|baseVolume|quoteVolume|priceAvg|cumExecQty|cumExecValue|avgPrice'
    r'|execPrice|execQty|execValue|minTradeUSDT|minOrderAmount)":"([0-9.]+)"'
)
_STATUS = re.compile(r'"(status|orderStatus)":"[a-z_]+"')


def _amounts(write: Callable[[str, str], str]) -> Callable[[str], str]:
    return lambda text: _AMOUNT.sub(lambda found: f'"{found[1]}":{write(found[1], found[2])}', text)


STRANGE_KINDS: dict[str, Callable[[str], str]] = {
    "json_numbers": _amounts(lambda _, value: value),
    "exponent": _amounts(lambda _, value: f'"{Decimal(value):e}"'),
    "negative_zero": _amounts(lambda _, value: f'"{value}"' if Decimal(value) else '"-0"'),
    "nan": _amounts(lambda *_: "NaN"),
    "infinity": _amounts(lambda *_: '"Infinity"'),
    "400_digits": _amounts(lambda *_: f'"{"9" * 400}"'),
    "new_status": lambda text: _STATUS.sub(lambda found: f'"{found[1]}":"reviewing"', text),
    "extra_fields": lambda text: re.sub(r'\{(?=")', '{"novel":{"\u65b0":[1,null]},', text),
    "missing_field": lambda text: text,
}


def distort(text: str, kind: str, field: str = "") -> str:
    """Return the JSON *text* rewritten; an unknown *kind* leaves it as it is."""
    if kind == "missing_field":
        return json.dumps(_without(json.loads(text), field))
    return STRANGE_KINDS.get(kind, str)(text)


def _without(value: Any, field: str) -> Any:
    if isinstance(value, dict):
        return {name: _without(one, field) for name, one in value.items() if name != field}
    return [_without(one, field) for one in value] if isinstance(value, list) else value
