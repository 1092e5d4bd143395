"""Sessions, tokens, devices, tickets."""

from __future__ import annotations

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from .base import Name, Strict

MAYBE_SECRET = validate.Length(max=512)
SECRET = validate.Length(min=1, max=512)


class LogIn(Strict):
    token = fields.String(validate=MAYBE_SECRET, load_default="", metadata={"description": "an access token"})
    code = fields.String(
        validate=MAYBE_SECRET, load_default="", metadata={"description": "the code of a one-time link"}
    )

    @validates_schema
    def one_of_both(self, data: dict[str, str], **_: object) -> None:
        if bool(data["token"]) == bool(data["code"]):
            raise ValidationError("Give either a token or a code.", "token")


class Proof(Strict):
    token = fields.String(required=True, validate=SECRET)


class DeviceRow(Schema):
    id = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(["webcrypto", "certificate"]))
    name = fields.String(required=True)
    thumbprint = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(["PENDING", "APPROVED", "REVOKED"]))
    created = fields.String(required=True)
    approved = fields.String(required=True, allow_none=True)
    approved_by = fields.String(required=True)
    last_used = fields.String(required=True, allow_none=True)
    last_address = fields.String(required=True)


class SessionState(Schema):
    logged_in = fields.Boolean(required=True)
    mode = fields.String(required=True, validate=validate.OneOf(["open", "device_whitelist"]))
    name = fields.String(metadata={"description": "of the access token"})
    csrf = fields.String(metadata={"description": "to be shown as X-CSRF-Token with each change"})
    device = fields.Nested(DeviceRow, allow_none=True)
    fresh_until = fields.String(metadata={"description": "until when changes of keys need no new proof"})


class NewToken(Strict):
    name = Name(required=True)


class TokenRow(Schema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    created = fields.String(required=True)
    last_used = fields.String(required=True, allow_none=True)
    revoked = fields.String(required=True, allow_none=True)


class TokenRows(Schema):
    items = fields.List(fields.Nested(TokenRow), required=True)


class MadeToken(Schema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    token = fields.String(required=True, metadata={"description": "shown this once"})


class Enrolment(Strict):
    name = Name(required=True)
    code = fields.String(validate=SECRET, metadata={"description": "of `copytrade init` or `copytrade devices code`"})


class Enrolled(Schema):
    id = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(["PENDING", "APPROVED"]))


class DeviceToken(Schema):
    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class DeviceRows(Schema):
    items = fields.List(fields.Nested(DeviceRow), required=True)
    mode = fields.String(required=True, validate=validate.OneOf(["open", "device_whitelist"]))


class DeviceName(Strict):
    name = Name(required=True)


class Ticket(Schema):
    ticket = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class AuditRow(Schema):
    id = fields.Integer(required=True)
    t = fields.String(required=True)
    who = fields.String(required=True)
    what = fields.String(required=True)
    detail = fields.String(required=True)
    address = fields.String(required=True)


class AuditRows(Schema):
    items = fields.List(fields.Nested(AuditRow), required=True)
    next = fields.Integer(required=True, allow_none=True)


class AuditQuery(Strict):
    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    before = fields.Integer(load_default=None, validate=validate.Range(1, 2**62))
