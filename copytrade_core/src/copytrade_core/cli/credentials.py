"""Where keys come from: a hidden prompt, or a JSON file. Never an argument: the process list shows those."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import click

from ..views import ExchangeView
from .session import InputError, ask

USE_FILE = "give the fields as JSON with --file (see -h)"

key_file = click.option(
    "--file",
    "file",
    type=click.File(encoding="utf-8"),
    help="Read a JSON object from this file (- for standard input) instead of asking.",
)


def read_fields(file: IO[str]) -> dict[str, str]:
    """Return the JSON object in *file*; all of its values are text. Errors never repeat what was read."""
    source = "standard input" if file.name == "<stdin>" else file.name
    try:
        given = json.load(file)
    except UnicodeDecodeError:
        raise InputError(f"{source} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    if not isinstance(given, dict):
        raise InputError(f'{source} must hold a JSON object like {{"api_key": "...", "api_secret": "..."}}')
    for name, value in given.items():
        if not isinstance(value, str):
            raise InputError(f"{name} in {source} must be text in quotes")
    return given


def check_fields(given: dict[str, str], *, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """:raises InputError: a required field is missing or empty, or one is not known."""
    required, optional = tuple(required), tuple(optional)
    known = ", ".join((*required, *optional))
    for name in given:
        if name not in required and name not in optional:
            raise InputError(f"there is no field {name!r}; the fields are: {known}")
    for name in required:
        if not given.get(name):
            raise InputError(f"the field {name!r} is missing; the fields are: {known}")


def split_credentials(given: dict[str, str], exchange: ExchangeView, others: Iterable[str]) -> dict[str, str]:
    """Return the credentials among *given*, checked against what *exchange* asks for; *others* must be there too."""
    required, optional = _names(exchange, required=True), _names(exchange, required=False)
    check_fields(given, required=(*others, *required), optional=optional)
    return {name: given[name] for name in (*required, *optional) if given.get(name)}


def ask_credentials(exchange: ExchangeView, instead: str = USE_FILE) -> dict[str, str]:
    """Ask for every field of *exchange*; secret ones are not shown while typed."""
    answers = {field["name"]: _ask(field, instead) for field in exchange.fields}
    return {name: value for name, value in answers.items() if value}


def _ask(field: dict[str, Any], instead: str) -> str:
    text = f"{field['label']} {field['label_zh']}".strip()
    if field.get("multiline"):
        text += " (or @FILE for a PEM key)"
    required = field.get("required", True)
    answer: str = ask(
        text if required else f"{text} (optional)",
        instead,
        hide_input=field.get("secret", True),
        default=None if required else "",
        show_default=False,
    ).strip()
    if field.get("multiline") and answer.startswith("@"):
        try:
            return Path(answer[1:]).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{answer[1:]} cannot be read as text") from None
    return answer


def _names(exchange: ExchangeView, *, required: bool) -> tuple[str, ...]:
    return tuple(field["name"] for field in exchange.fields if field.get("required", True) is required)


def find_exchange(exchanges: Iterable[ExchangeView], exchange_id: str) -> ExchangeView:
    exchanges = tuple(exchanges)
    for each in exchanges:
        if each.id == exchange_id:
            return each
    known = ", ".join(each.id for each in exchanges) or "none; install one, for example copytrade-binance"
    raise InputError(f"no plug-in knows the exchange {exchange_id!r}; known: {known}")


def choose_exchange(exchanges: Iterable[ExchangeView], exchange_id: str | None, env: str | None) -> tuple[Any, str]:
    """Return the exchange and the environment, asking for what was not given."""
    exchanges = tuple(exchanges)
    if exchange_id is None:
        if not exchanges:
            raise InputError("no exchange is installed; install one, for example copytrade-binance")
        exchange_id = ask("Exchange 交易所", USE_FILE, type=click.Choice([each.id for each in exchanges]))
    exchange = find_exchange(exchanges, exchange_id)
    if env is None:
        env = ask("Environment 环境", USE_FILE, type=click.Choice([each.value for each in exchange.environments]))
    check_environment(exchange, env)
    return exchange, env


def check_environment(exchange: ExchangeView, env: str) -> None:
    """:raises InputError: the exchange does not have this environment; the sentence names those it has."""
    if env not in exchange.environments:
        known = ", ".join(exchange.environments)
        raise InputError(f"{exchange.name} has no environment {env!r}; choose one of: {known}")
