"""Text for the wire and back: the local socket carries amounts as strings, the API as exact JSON numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

import simplejson
from cattrs import Converter

T = TypeVar("T")

_converter = Converter(forbid_extra_keys=False)
_converter.register_unstructure_hook(Decimal, plain := lambda value: format(value, "f"))
_converter.register_structure_hook(Decimal, lambda text, _: Decimal(text))
_converter.register_unstructure_hook(Fraction, lambda value: f"{value.numerator}/{value.denominator}")
_converter.register_structure_hook(Fraction, lambda text, _: Fraction(text))


def to_wire(value: Any) -> Any:
    """Return *value* (a view, or containers of views) as plain JSON values; amounts as strings."""
    return _converter.unstructure(value)


def from_wire(value: Any, wanted: Any) -> Any:
    """Return plain JSON values as the type *wanted* (a view, ``list[View]``, ``dict`` ...)."""
    return _converter.structure(value, wanted)


def dumps_exact(value: Any, *, indent: int | None = None) -> str:
    """Return JSON in which every `Decimal` is a number printed exactly and without an exponent."""
    text: str = simplejson.dumps(
        value, use_decimal=False, default=_exact_number, ensure_ascii=False, indent=indent, namedtuple_as_object=False
    )
    return text


def _exact_number(value: Any) -> Any:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a number that JSON can hold")
        return simplejson.RawJSON(format(value, "f"))
    raise TypeError(f"{type(value).__name__} has no place in JSON")
