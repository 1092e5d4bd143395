"""Errors as ``application/problem+json``: a stable ``kind``, one sentence, and the field where one is wrong."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, request
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

from copytrade_core import errors

from .exact_json import dumps

log = logging.getLogger(__name__)


# The nearest class counts, as `errors.py` orders them.
_STATUS: dict[type[errors.CopytradeError], int] = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.InvalidRequest: 422,
    errors.UnknownExchange: 422,
    errors.EngineNotRunning: 503,
    errors.EngineHalted: 409,
    errors.AuthenticationFailed: 422,
    errors.RateLimited: 503,
    errors.ExchangeError: 502,
    errors.JournalError: 503,
    errors.VaultError: 503,
    errors.ConfigError: 500,
    errors.CopytradeError: 500,
}
# The engine is there and well, but has too much to do.
_BUSY = frozenset({"busy", "no_answer"})
# What a form can mend is shown beside the field, whatever class it came as.
_UNPROCESSABLE = frozenset({"duplicate_key", "duplicate_name", "leader_key", "other_account", "duplicate_account"})
# The fields that errors are about which know nothing of fields.
_FIELDS = {"unknown_exchange": "exchange", "unknown_environment": "env"}
_KINDS = {
    400: "bad_request",
    401: "login_required",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "not_json",
    422: "invalid",
    429: "too_many_requests",
    503: "unavailable",
}

# RFC 9449: what a client that proves its key may do about it.
_CHALLENGES = {
    kind: f'DPoP realm="copytrade", algs="ES256", error="{error}"'
    for kind, error in {
        "use_dpop_nonce": "use_dpop_nonce",
        "device_clock": "invalid_dpop_proof",
        "device_proof_invalid": "invalid_dpop_proof",
        "device_proof_required": "invalid_dpop_proof",
        "device_token_invalid": "invalid_token",
    }.items()
}


class Problem(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, kind: str, detail: str, *, field: str = "", **more: Any) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.field, self.more = status, kind, detail, field, more


def problem_response(status: int, kind: str, detail: str, *, field: str = "", **more: Any) -> Response:
    """Return the document; ``errors`` lists each wrong field by name."""
    fields = more.pop("errors", None) or ([{"field": field, "kind": kind, "detail": detail}] if field else [])
    body = {"type": "about:blank", "title": _title(status), "status": status, "kind": kind, "detail": detail, **more}
    if fields:
        body["errors"] = fields
    response = Response(dumps(body), status=status, content_type="application/problem+json")
    if status == 401:
        response.headers["WWW-Authenticate"] = _CHALLENGES.get(kind, 'Bearer realm="copytrade"')
    if "retry_after_sec" in more:
        response.headers["Retry-After"] = str(max(1, round(more["retry_after_sec"])))
    return response


def init_problems(app: Flask) -> None:
    """Turn every exception into a problem document; none shows a traceback."""
    app.register_error_handler(Problem, _from_problem)
    app.register_error_handler(errors.CopytradeError, _from_core)
    app.register_error_handler(ValidationError, _from_marshmallow)
    app.register_error_handler(HTTPException, from_http)
    app.register_error_handler(Exception, _from_anything)


def _from_problem(problem: Problem) -> Response:
    return problem_response(problem.status, problem.kind, problem.detail, field=problem.field, **problem.more)


def _from_core(error: errors.CopytradeError) -> Response:
    status = next(_STATUS[each] for each in type(error).__mro__ if each in _STATUS)
    if error.kind in _UNPROCESSABLE:
        status = 422
    elif error.kind in _BUSY and status == 500:
        status = 503
    more: dict[str, Any] = {}
    if isinstance(error, errors.RateLimited):
        more["retry_after_sec"] = error.retry_after_sec
    if isinstance(error, errors.EngineNotRunning) and (link := g.get("engine_link")) is not None:
        more["since"] = link.state.since
    field = getattr(error, "field", "") or _FIELDS.get(error.kind, "")
    return problem_response(status, error.kind, error.message, field=field, **more)


def _from_marshmallow(error: ValidationError) -> Response:
    return validation_problem(error.normalized_messages())  # type: ignore[no-untyped-call]


def validation_problem(messages: dict[str, Any]) -> Response:
    """Return 422 with every wrong field; marshmallow nests them by location or index."""
    fields = list(_flatten(messages))
    detail = "; ".join(f"{row['field']}: {row['detail']}".removeprefix(": ") for row in fields)
    return problem_response(422, "invalid", detail or "the request cannot be understood", errors=fields)


def _flatten(messages: Any, path: tuple[str, ...] = ()) -> Any:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            skip = not path and name in ("json", "query", "form", "headers", "path", "view_args")
            yield from _flatten(inner, path if skip else (*path, str(name)))
    else:
        for text in messages if isinstance(messages, list) else [messages]:
            field = ".".join(name for name in path if name != "_schema")
            yield {"field": field, "kind": "invalid", "detail": str(text)}


def from_http(error: HTTPException) -> Response:
    """Return the document of an error that Flask or a library raised."""
    if error.response is not None or (error.code or 500) < 400:
        return error.get_response()  # type: ignore[return-value]
    status = error.code or 500
    data = getattr(error, "data", None) or {}
    if status == 422 and data.get("messages"):
        return validation_problem(data["messages"])
    response = problem_response(status, _KINDS.get(status, "error"), error.description or _title(status))
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


def _from_anything(error: Exception) -> Response:
    # Its text was not written for people, and nobody checked it for secrets.
    log.error("%s %s failed: %s", request.method, request.path, type(error).__name__, exc_info=error)
    return problem_response(500, "internal", "something unexpected went wrong; the panel's log says what")


def _title(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
