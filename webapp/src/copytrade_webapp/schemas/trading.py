"""Accounts, leader, orders and copies: the shapes of `copytrade_core.views`, field by field.

Answers are made by the core and printed exactly; these schemas describe them. Fields named after an asset
(``freeUSDT``) are added when the app is made and the pair is known.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, post_load, validate, validates

from copytrade_core.kinds import LANGUAGES
from copytrade_core.views import AccountState, CopyState, Environment, GapOutcome, LeaderOrderState

from .base import ExactNumber, Name, Strict, Switch

SHARE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?(/[0-9]{1,18})?")


def _one_of(values: Any) -> validate.OneOf:
    return validate.OneOf([str(value) for value in values])


# --- what is asked ---


class Page(Strict):
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 1000))
    before = fields.String(load_default=None, validate=validate.Length(1, 64))


class AccountPage(Strict):
    limit = fields.Integer(load_default=1000, validate=validate.Range(1, 1000))
    after = fields.String(
        load_default=None, validate=validate.Length(1, 64), metadata={"description": "an account's id"}
    )
    q = fields.String(load_default="", validate=validate.Length(max=80), metadata={"description": "part of a name"})
    state = fields.String(load_default=None, validate=_one_of(AccountState))


class EventQuery(Strict):
    rows = fields.Boolean(load_default=True, metadata={"description": "false leaves the copies out"})


class CopyPage(Page):
    account = fields.String(load_default=None, validate=validate.Length(1, 64))
    state = fields.String(load_default=None, validate=_one_of(CopyState))
    event = fields.String(load_default=None, validate=validate.Regexp("^[0-9]{1,18}$"))
    undecided = fields.Boolean(load_default=False, metadata={"description": "only what waits for a person"})


class FeedPage(Strict):
    after = fields.Integer(load_default=0, validate=validate.Range(0, 2**62))
    limit = fields.Integer(load_default=200, validate=validate.Range(1, 1000))
    newest = fields.Boolean(load_default=False)


class Language(Strict):
    lang = fields.String(load_default="en", validate=validate.OneOf(LANGUAGES))


class ExportQuery(Strict):
    since = fields.AwareDateTime(data_key="from", load_default=None, format="iso")
    until = fields.AwareDateTime(data_key="to", load_default=None, format="iso")


class NewKeys(Schema):
    """Where a key is from; the other fields are those that the exchange's plug-in asks for (``GET /exchanges``)."""

    class Meta:
        unknown = INCLUDE

    exchange = fields.String(required=True, validate=validate.Length(1, 64))
    env = fields.String(required=True, validate=validate.Length(1, 16))

    @post_load
    def keys_apart(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        known = {name: data.pop(name) for name in self.fields if name in data}
        return {**known, "credentials": texts(data)}


class NewAccount(NewKeys):
    name = Name(longest=80, required=True)


class AccountChange(Strict):
    version = fields.Integer(required=True, strict=True, validate=validate.Range(0, 2**53))
    name = Name(longest=80)
    credentials = fields.Dict(
        keys=fields.String(),
        values=fields.Raw(),
        metadata={"description": "the fields that the exchange's plug-in asks for"},
    )

    @validates("credentials")
    def are_texts(self, credentials: dict[str, Any], **_: Any) -> None:
        texts(credentials)


class Settlement(Strict):
    executed = Switch(required=True)
    exchange_order_id = fields.String(load_default="", validate=validate.Length(max=64))


class GivenShare(Strict):
    share = fields.String(required=True, metadata={"description": "above 0, at most 1: 0.25 or 1/4, exact"})

    @post_load
    def exact(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"share": share_of_text(data["share"])}


class PreviewQuery(Strict):
    share = fields.String(load_default=None, metadata={"description": "for an order whose share is not known"})

    @post_load
    def exact(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"share": None if data["share"] is None else share_of_text(data["share"])}


def texts(values: dict[str, Any]) -> dict[str, str]:
    """Return credentials as texts. :raises ValidationError: one is something else."""
    wrong = {name: ["Not a text."] for name, value in values.items() if not isinstance(value, str)}
    if wrong:
        raise ValidationError(wrong)
    return values


def share_of_text(text: str) -> Fraction:
    """Return a share exactly. :raises ValidationError: it is none, or out of range."""
    # Fraction() alone would also take blanks, underscores, exponents and the digits of other scripts.
    if not text.isascii() or not SHARE.fullmatch(text) or ("/" in text and "." in text):
        raise ValidationError("Above 0 and at most 1, as 0.25 or 1/4.", "share")
    try:
        share = Fraction(text)
    except ZeroDivisionError:
        share = Fraction(0)
    if not 0 < share <= 1:
        raise ValidationError("Above 0 and at most 1, as 0.25 or 1/4.", "share")
    return share


# --- what is answered ---


class KeyWarning(Schema):
    class Meta:
        unknown = INCLUDE

    kind = fields.String(required=True)
    text = fields.String(required=True)


class CopyRow(Schema):
    id = fields.String(required=True)
    event_id = fields.String(required=True)
    account_id = fields.String(required=True)
    account = fields.String(required=True)
    exchange = fields.String(required=True)
    env = fields.String(required=True, validate=_one_of(Environment))
    side = fields.String(required=True, validate=validate.OneOf(["BUY", "SELL"]))
    state = fields.String(required=True, validate=_one_of(CopyState))
    reason_kind = fields.String(required=True)
    reason = fields.String(required=True)
    x_percent = ExactNumber(required=True, allow_none=True)
    size_asset = fields.String(required=True)
    free_before = ExactNumber(required=True, allow_none=True)
    balance_age_ms = fields.Integer(required=True, allow_none=True)
    balance_source = fields.String(required=True)
    computed = ExactNumber(required=True, allow_none=True)
    step = ExactNumber(required=True, allow_none=True)
    sent = ExactNumber(required=True, allow_none=True)
    filled_base = ExactNumber(required=True)
    filled_quote = ExactNumber(required=True)
    average_price = ExactNumber(required=True, allow_none=True)
    slippage_bp = ExactNumber(required=True, allow_none=True)
    commissions = fields.Dict(keys=fields.String(), values=ExactNumber(), required=True)
    client_order_id = fields.String(required=True)
    exchange_order_id = fields.String(required=True)
    attempts = fields.Integer(required=True)
    latency_ms = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    asked_by = fields.String(required=True)
    asked_at = fields.String(required=True)
    decided_by = fields.String(required=True)
    decided_at = fields.String(required=True)
    open = fields.Boolean(required=True)
    updated = fields.String(required=True)


class CopyRows(Schema):
    items = fields.List(fields.Nested(CopyRow), required=True)
    next = fields.String(required=True, allow_none=True)


class AccountRow(Schema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    exchange = fields.String(required=True)
    env = fields.String(required=True, validate=_one_of(Environment))
    state = fields.String(required=True, validate=_one_of(AccountState))
    status = fields.String(required=True, validate=validate.OneOf(["CREATED", "VERIFIED"]))
    version = fields.Integer(required=True)
    paused = fields.Boolean(required=True)
    error_kind = fields.String(required=True)
    error = fields.String(required=True)
    warnings = fields.List(fields.Nested(KeyWarning), required=True)
    pushed = fields.Boolean(required=True)
    poll_sec = fields.Float(required=True, allow_none=True)
    last_copy = fields.Nested(CopyRow, required=True, allow_none=True)


class AccountRows(Schema):
    items = fields.List(fields.Nested(AccountRow), required=True)
    next = fields.String(required=True, allow_none=True)


class CreatedAccount(Schema):
    id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["CREATED"]))
    account = fields.Nested(AccountRow, required=True)


class RemovedAccount(Schema):
    id = fields.String(required=True)


class Refusal(Schema):
    kind = fields.String(required=True)
    message = fields.String(required=True)


class Verified(Schema):
    """Besides ``ok``: the free balances by asset where the key works, the ``error`` where it does not."""

    ok = fields.Boolean(required=True)
    warnings = fields.List(fields.Nested(KeyWarning))
    error = fields.Nested(Refusal)


class LeaderState(Schema):
    """Besides these: the free balances by asset, once they are known."""

    exchange = fields.String(required=True)
    env = fields.String(required=True, validate=_one_of(Environment))
    connected = fields.Boolean(required=True)
    connections = fields.Integer(required=True)
    key_fingerprint = fields.String()
    uid = fields.String()
    last_event = fields.String(required=True)
    proof_age_sec = fields.Float(required=True, allow_none=True)
    gap_since = fields.String(required=True)
    warnings = fields.List(fields.Nested(KeyWarning), required=True)
    error_kind = fields.String(required=True)
    error = fields.String(required=True)


class LeaderAnswer(Schema):
    leader = fields.Nested(LeaderState, required=True, allow_none=True)


class Listening(Schema):
    listening = fields.Boolean(required=True)
    leader = fields.Nested(LeaderState, required=True, allow_none=True)
    error = fields.Nested(Refusal)


class Running(Schema):
    running = fields.Boolean(required=True)


class EventSummary(Schema):
    id = fields.String(required=True)
    t = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(["BUY", "SELL"]))
    x_percent = ExactNumber(required=True, allow_none=True)
    y_percent = ExactNumber(allow_none=True, metadata={"description": "of a SELL, besides"})
    fanout = fields.Integer(required=True)
    ok = fields.Integer(required=True)
    fail = fields.Integer(required=True)
    pending = fields.Integer(required=True)
    skipped = fields.Integer(required=True)
    state = fields.String(required=True, validate=_one_of(LeaderOrderState))
    reason_kind = fields.String(required=True)
    reason = fields.String(required=True)
    source = fields.String(required=True)
    exchange = fields.String(required=True)
    env = fields.String(required=True, validate=_one_of(Environment))
    symbol = fields.String(required=True)
    order_id = fields.String(required=True)
    client_order_id = fields.String(required=True)
    order_type = fields.String(required=True)
    status = fields.String(required=True)
    filled_base = ExactNumber(required=True)
    filled_quote = ExactNumber(required=True)
    balance_asset = fields.String(required=True)
    balance_before = ExactNumber(required=True, allow_none=True)
    balance_how = fields.String(required=True)
    estimates = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    share = fields.String(required=True, allow_none=True)
    heard_ms = fields.Float(required=True, allow_none=True)


class Event(EventSummary):
    copies = fields.List(fields.Nested(CopyRow), metadata={"description": "left out with rows=false"})


class EventSummaries(Schema):
    items = fields.List(fields.Nested(EventSummary), required=True)
    next = fields.String(required=True, allow_none=True)


class HaltRow(Schema):
    class Meta:
        unknown = INCLUDE

    kind = fields.String(required=True)
    reason = fields.String(required=True)
    since = fields.String(required=True)
    ends_when = fields.String(required=True)
    exchange = fields.String(required=True)
    until = fields.String(required=True, metadata={"description": "when it ends by itself; empty: it does not"})


class EngineNow(Schema):
    connected = fields.Boolean(required=True)
    since = fields.String(required=True)


class Starting(Schema):
    ready = fields.Integer(required=True)
    accounts = fields.Integer(required=True)


class Status(Schema):
    class Meta:
        unknown = INCLUDE

    running = fields.Boolean(required=True)
    symbol = fields.String(required=True)
    copying_since = fields.String(required=True)
    engine_since = fields.String(required=True)
    halted = fields.Boolean(required=True)
    halts = fields.List(fields.Nested(HaltRow), required=True)
    starting = fields.Nested(
        Starting, required=True, allow_none=True, metadata={"description": "how many accounts are ready; null: all"}
    )
    leader = fields.Nested(LeaderState, required=True, allow_none=True)
    followers = fields.List(fields.Nested(AccountRow), required=True)
    recent_events = fields.List(fields.Nested(EventSummary), required=True)
    unsettled = fields.Integer(required=True)
    needs_person = fields.Integer(required=True)
    engine = fields.Nested(EngineNow, required=True)


class CredentialField(Schema):
    name = fields.String(required=True)
    label = fields.String(required=True)
    label_zh = fields.String(required=True)
    secret = fields.Boolean(required=True)
    required = fields.Boolean(required=True)
    multiline = fields.Boolean(required=True)


class ExchangeRow(Schema):
    id = fields.String(required=True)
    name = fields.String(required=True)
    name_zh = fields.String(required=True)
    environments = fields.List(fields.String(), required=True)
    can_lead = fields.Boolean(required=True)
    fields_ = fields.List(fields.Nested(CredentialField), data_key="fields", required=True)
    capabilities = fields.List(fields.String(), required=True)


class PluginRow(Schema):
    name = fields.String(required=True)
    distribution = fields.String(required=True)
    version = fields.String(required=True)
    exchanges = fields.List(fields.String(), required=True)
    error = fields.String(required=True)


class ExchangeRows(Schema):
    items = fields.List(fields.Nested(ExchangeRow), required=True)
    plugins = fields.List(fields.Nested(PluginRow), required=True)


class FeedEntry(Schema):
    seq = fields.Integer(required=True)
    t = fields.String(required=True)
    kind = fields.String(required=True)
    text = fields.String(required=True)
    data = fields.Dict(keys=fields.String(), values=fields.Raw(allow_none=True), required=True)


class FeedEntries(Schema):
    items = fields.List(fields.Nested(FeedEntry), required=True)
    next = fields.Integer(required=True, metadata={"description": "`after` of the next call"})


class Gap(Schema):
    id = fields.String(required=True)
    exchange = fields.String(required=True)
    env = fields.String(required=True, validate=_one_of(Environment))
    since = fields.String(required=True)
    until = fields.String(required=True)
    reason_kind = fields.String(required=True)
    reason = fields.String(required=True)
    found = fields.Integer(required=True)
    copied = fields.Integer(required=True)
    missed = fields.Integer(required=True)
    ignored = fields.Integer(required=True)
    open = fields.Boolean(required=True)
    outcome = fields.String(required=True, allow_none=True, validate=_one_of(GapOutcome))
    unexplained = fields.Dict(keys=fields.String(), values=ExactNumber(), required=True)


class Gaps(Schema):
    items = fields.List(fields.Nested(Gap), required=True)
    next = fields.String(required=True, allow_none=True)


class MissingOrderRow(Schema):
    account_id = fields.String(required=True)
    account = fields.String(required=True)
    exchange = fields.String(required=True)
    env = fields.String(required=True, validate=_one_of(Environment))
    client_order_id = fields.String(required=True)
    exchange_order_id = fields.String(required=True)
    side = fields.String(required=True)
    status = fields.String(required=True)
    filled_base = ExactNumber(required=True)
    filled_quote = ExactNumber(required=True)
    created = fields.String(required=True)


class Restored(Schema):
    reason = fields.String(required=True)
    backup_made = fields.String(required=True)
    restored = fields.String(required=True)
    asking = fields.Boolean(required=True)
    orders = fields.List(fields.Nested(MissingOrderRow), required=True)
    not_asked = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class RestoredAnswer(Schema):
    restored = fields.Nested(Restored, required=True, allow_none=True)


class FindingRow(Schema):
    class Meta:
        unknown = INCLUDE

    check = fields.String(required=True)
    level = fields.String(required=True, validate=validate.OneOf(["ok", "warning", "error"]))
    text = fields.String(required=True)
    remedy = fields.String(required=True)
    kind = fields.String(required=True)
    data = fields.Dict(required=True)


class Findings(Schema):
    items = fields.List(fields.Nested(FindingRow), required=True)


class KindText(Schema):
    sentence = fields.String(required=True)
    remedy = fields.String(required=True)


class KindTable(Schema):
    lang = fields.String(required=True, validate=validate.OneOf(LANGUAGES))
    kinds = fields.Dict(keys=fields.String(), values=fields.Nested(KindText), required=True)


class Preview(Schema):
    """What a copy would be now; where it would not be sent, ``reason_kind`` says why."""

    copy_id = fields.String(required=True)
    event_id = fields.String(required=True)
    account_id = fields.String(required=True)
    account = fields.String(required=True)
    exchange = fields.String(required=True)
    env = fields.String(required=True, validate=_one_of(Environment))
    side = fields.String(required=True, validate=validate.OneOf(["BUY", "SELL"]))
    x_percent = ExactNumber(required=True)
    share = fields.String(required=True)
    size_asset = fields.String(required=True)
    free_before = ExactNumber(required=True, allow_none=True, metadata={"description": "free now"})
    balance_age_ms = fields.Integer(required=True, allow_none=True)
    balance_source = fields.String(required=True)
    computed = ExactNumber(required=True, allow_none=True)
    step = ExactNumber(required=True, allow_none=True)
    sent = ExactNumber(required=True, allow_none=True, metadata={"description": "what would be sent"})
    reason_kind = fields.String(required=True)
    reason = fields.String(required=True)


class Previews(Schema):
    items = fields.List(fields.Nested(Preview), required=True)
