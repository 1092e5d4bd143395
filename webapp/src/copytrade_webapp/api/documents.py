"""How calls are described, so that the document says what is sent: the problems that each may answer with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask_smorest import Blueprint

from ..schemas.base import ProblemDocument

F = TypeVar("F", bound=Callable[..., Any])

# What the guard, the size limit and the engine's absence may answer to any call.
ALWAYS = (401, 403, 421, 429, 500)
_WORDS = {
    400: "the request cannot be read",
    401: "log in first",
    403: "not from here, not on this device, or show the token again",
    404: "there is none",
    409: "it contradicts the present state",
    413: "too large",
    415: "not JSON",
    421: "the panel has another name",
    422: "a field is wrong; `errors` names it",
    429: "too many tries",
    500: "a fault of ours",
    502: "the exchange did not answer",
    503: "the engine, or the exchange, is not there now",
}
BODY = (400, 413, 415, 422)
CHANGE = (400, 409, 413, 422)  # of the `Idempotency-Key` that each change may carry
ENGINE = (500, 502, 503)


def problems(blueprint: Blueprint, *statuses: int) -> Callable[[F], F]:
    """Document the problem answers of a call; those that any call may give are added."""

    def decorate(function: F) -> F:
        for status in sorted({*ALWAYS, *statuses}, reverse=True):
            function = blueprint.alt_response(
                status, schema=ProblemDocument, content_type="application/problem+json", description=_WORDS[status]
            )(function)
        return function

    return decorate
