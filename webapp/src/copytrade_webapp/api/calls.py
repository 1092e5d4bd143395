"""What all calls have in common: how their JSON is read, and the answers that any change may get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import flask
import flask_smorest
from flask_smorest.arguments import FlaskParser  # webargs', with the answers of flask-smorest
from marshmallow import missing

from ..problems import Problem
from .documents import CHANGE, problems


class ExactParser(FlaskParser):  # type: ignore[misc]
    """Reads JSON by the app's own rules: exact numbers, no NaN; what is something else is refused as that."""

    DEFAULT_UNKNOWN_BY_LOCATION: ClassVar[dict[str, str | None]] = {
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": None,  # as each schema says: what it does not know is a mistake there, too
    }

    def _raw_load_json(self, req: flask.Request) -> Any:
        data = req.get_data(cache=True)
        if not data:
            return missing
        if not req.is_json:
            raise Problem(415, "not_json", "send JSON, and say so: Content-Type: application/json")
        try:
            value = flask.current_app.json.loads(data)
            _check_texts(value)
        except (ValueError, ArithmeticError, RecursionError):
            raise Problem(400, "bad_request", "the body is no JSON that can be read") from None
        return value


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """Each change may carry an ``Idempotency-Key``, and so be answered with what is wrong about that."""

    ARGUMENTS_PARSER = ExactParser()

    def route(self, rule: str, **options: Any) -> Callable[..., Any]:
        decorate: Callable[..., Any] = super().route(rule, **options)
        if options.get("methods") == ["GET"]:
            return decorate
        return lambda function: decorate(problems(self, *CHANGE)(function))


def _check_texts(value: Any) -> None:
    """:raises UnicodeEncodeError: a text holds half a character, which nothing behind us can store."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            each.encode()
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += [*each, *each.values()]
