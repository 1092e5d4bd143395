"""JSON on the REST API: amounts are numbers, printed exactly from `Decimal`, never through a binary float."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import simplejson
from flask import Flask
from flask.json.provider import JSONProvider

from copytrade_core.codec import dumps_exact


def dumps(value: Any) -> str:
    """Return JSON with exact numbers."""
    return dumps_exact(plain(value))


def dumps_as_text(value: Any) -> str:
    """Return JSON with amounts as strings, as the live stream carries them: a browser's numbers lose digits."""
    return simplejson.dumps(plain(value, amounts_as_text=True), use_decimal=False, ensure_ascii=False)


def plain(value: Any, *, amounts_as_text: bool = False) -> Any:
    """Return *value* without enums, tuples and times; `Decimal` stays unless *amounts_as_text*."""
    if isinstance(value, dict):
        return {str(name): plain(inner, amounts_as_text=amounts_as_text) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner, amounts_as_text=amounts_as_text) for inner in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return format(value, "f") if amounts_as_text else value
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, datetime):
        return value.isoformat()
    return value


class ExactJson(JSONProvider):
    """Flask's JSON: exact out, `Decimal` in."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return dumps_exact(plain(obj), indent=kwargs.get("indent"))

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return simplejson.loads(s, use_decimal=True, allow_nan=False)
