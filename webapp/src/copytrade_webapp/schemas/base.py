"""What all schemas share: unknown fields are refused, amounts are exact, problems look alike."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate


class Strict(Schema):
    """What somebody sends: a field that we do not know is a mistake, and is named."""

    class Meta:
        unknown = RAISE


class ExactNumber(fields.Field[Decimal]):
    """An amount as a JSON number, printed exactly from `Decimal` by the app's encoder, never through a binary float."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return value

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValidationError("Not a number.")
        return Decimal(value)


class Switch(fields.Boolean):
    """True or false, and nothing that merely looks like it: not 1, not "yes"."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Name(fields.String):
    """A display name: 1 to 64 printable characters, without surroundings."""

    def __init__(self, longest: int = 64, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(min=1, max=longest), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs)).strip()
        if not text.isprintable():
            raise ValidationError("Only printable characters.")
        return text


class FieldProblem(Schema):
    field = fields.String(required=True)
    kind = fields.String(required=True)
    detail = fields.String(required=True)


class ProblemDocument(Schema):
    """RFC 9457; ``kind`` never changes and keys the sentence in each language."""

    class Meta:
        unknown = RAISE

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    kind = fields.String(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldProblem))
    since = fields.String(metadata={"description": "since when the engine is not there"})
    retry_after_sec = fields.Float()
    device_id = fields.String()
