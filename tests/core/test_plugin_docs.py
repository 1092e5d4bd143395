"""What plug-in authors read is what the code says."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from copytrade_core import hookspecs
from copytrade_core.connector import CAPABILITIES
from copytrade_core.model import ExchangeDescription
from copytrade_core.plugins import Plugins
from copytrade_core.testing import ConnectorContract, FakeExchange

ROOT = Path(__file__).parent.parent.parent
ACME = ROOT / "tests" / "plugins" / "acme"
HOOKS_MD, TUTORIAL, TESTING = (
    (ROOT / "docs" / "plugins" / name).read_text(encoding="utf-8") for name in ("hooks.md", "tutorial.md", "testing.md")
)
SPECS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("copytrade_")}
FIELDS = ("When", "Where", "Result", "Failure")


def signature(spec) -> str:
    definition = ast.parse(textwrap.dedent(inspect.getsource(spec))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    returns = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
    return f"{definition.name}({ast.unparse(definition.args)}){returns}"


def fields(spec) -> list[tuple[str, str]]:
    """Return the fields of a docstring in order: (When, text) ..., (:param x, text), ..., (versionadded, text)."""
    start = re.compile(rf"^({'|'.join(FIELDS)}|:\w+(?: \w+)?|\.\. versionadded:):", re.MULTILINE)
    _, *pieces = start.split(inspect.getdoc(spec))
    texts = [" ".join(text.replace("``", "`").split()) for text in pieces[1::2]]
    return list(zip(pieces[::2], texts, strict=True))


def section(name: str) -> str:
    """Return what hooks.md says below the heading of a hook."""
    heading = f"## `{signature(SPECS[name])}`\n"
    assert HOOKS_MD.count(heading) == 1, heading
    return HOOKS_MD.split(heading)[1].split("\n## ")[0]


def code_blocks(text: str, language: str) -> list[tuple[str, str]]:
    """Return title and content of each fenced block."""
    return re.findall(rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", SPECS)
def test_a_hook_is_documented_field_by_field(name):
    spec = SPECS[name]
    parameters = [f":param {parameter}" for parameter in inspect.signature(spec).parameters]

    names = [field for field, _ in fields(spec)]

    raised = [field for field in names if field.startswith(":raises ")]
    assert raised
    assert names == [*FIELDS, *parameters, ":returns", *raised, ".. versionadded:"]
    assert all(words for _, words in fields(spec))


@pytest.mark.parametrize("name", SPECS)
def test_the_reference_has_the_exact_signature_as_a_heading_and_every_field(name):
    text = section(name)

    assert inspect.getdoc(SPECS[name]).splitlines()[0] in text
    for field, words in fields(SPECS[name]):
        assert f"| {words} |" in text, field


def test_the_reference_has_no_hook_that_does_not_exist():
    assert re.findall(r"^## `(\w+)\(", HOOKS_MD, re.MULTILINE) == list(SPECS)


def test_the_reference_has_every_capability_and_every_field_of_a_description():
    for capability, meaning in CAPABILITIES.items():
        assert f"| `{capability}` | {meaning} |" in HOOKS_MD
    for field in ExchangeDescription.__dataclass_fields__:
        assert f"`{field}`" in section("copytrade_describe_exchanges")


def test_the_examples_of_the_reference_are_plug_ins():
    examples = code_blocks(HOOKS_MD, "python")
    assert examples
    for _, source in examples:
        module = ModuleType("example")
        exec(compile(source, "hooks.md", "exec"), module.__dict__)

        Plugins().register(module, "example")

        assert SPECS.keys() & vars(module).keys()


@pytest.mark.parametrize(("title", "source"), code_blocks(TUTORIAL, "(?:python|toml)"))
def test_the_tutorial_shows_the_plug_in_that_the_tests_install(title, source):
    assert title, "each block says which file it is from"
    assert source in (ACME / title).read_text(encoding="utf-8")


def test_the_testing_page_lists_exactly_the_promises():
    promises = [name for name in vars(ConnectorContract) if name.startswith("test_")]

    assert re.findall(r"^- `(test_\w+)`$", TESTING, re.MULTILINE) == promises


def test_the_testing_page_names_every_handle_of_the_fake_exchange():
    handles = [name for name, member in vars(FakeExchange).items() if inspect.isfunction(member)]

    assert set(re.findall(r"^\| `(\w+)\(", TESTING, re.MULTILINE)) == set(handles)
    for attribute in FakeExchange.__annotations__:
        assert f"`{attribute}`" in TESTING


@pytest.mark.parametrize("name", ["hooks.md", "tutorial.md", "testing.md"])
def test_links_between_the_pages_lead_somewhere(name):
    page = ROOT / "docs" / "plugins" / name
    for target, anchor in re.findall(r"\]\(([\w./-]+)(?:#([\w-]+))?\)", page.read_text(encoding="utf-8")):
        found = page.parent / target
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
