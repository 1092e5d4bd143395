"""Everything that a person reads is in the catalogue, and the catalogue says all of it in Chinese."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

import copytrade_webapp

SOURCES = Path(copytrade_webapp.__file__).parent
CATALOGUE = SOURCES / "translations" / "zh_Hans_CN" / "LC_MESSAGES" / "messages.po"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2"), ("static/js/**.js", "javascript")]
HAN = re.compile(r"[\u4e00-\u9fff]")
FIGURE = re.compile(r"%\((\w+)\)s")
# Names, and marks between words; they are the same in both languages.
SAME_IN_BOTH = {"%(points)s bp", "%(account)s: %(side)s %(state)s"}
NO_HAN = {"; ", ", ", ": ", *SAME_IN_BOTH}


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="zh_Hans_CN")


def first(message_id):
    return message_id if isinstance(message_id, str) else message_id[0]


def words_of(catalogue):
    forms = {first(message.id): message.string for message in catalogue if message.id}
    return {name: [form] if isinstance(form, str) else list(form) for name, form in forms.items()}


def extracted() -> set[str]:
    options = {"static/js/**.js": {"parse_template_string": "True"}}
    found = extract_from_dir(SOURCES, METHODS, options, keywords={"_": None, "ngettext": (1, 2), "gettext": None})
    return {first(message_id) for _, _, message_id, _, _ in found}


def test_every_word_of_the_sources_is_in_the_catalogue_and_no_other(catalogue):
    known = {first(message.id) for message in catalogue if message.id}

    assert extracted() == known


def test_no_call_escapes_the_extraction():
    """A call that Babel's parser misses (in a template literal, say) would stay English for ever."""
    call = re.compile(r"""\b_\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
    texts = set()
    for path in [*SOURCES.rglob("static/js/**/*.js"), *SOURCES.rglob("templates/**/*.html")]:
        for match in call.finditer(path.read_text()):
            texts.add((match.group(1) or match.group(2)).replace('\\"', '"').replace("\\'", "'"))

    assert len(texts) > 200
    assert texts <= extracted()


def test_every_entry_is_translated(catalogue):
    for message in catalogue:
        if not message.id:
            continue
        forms = message.string if isinstance(message.string, tuple) else (message.string,)

        assert all(forms), f"{message.id!r} has no Chinese"
        assert not message.fuzzy, f"{message.id!r} is marked as fuzzy"
        assert all(HAN.search(form) for form in forms) or first(message.id) in NO_HAN, f"{message.id!r} is not Chinese"


def test_figures_are_the_same_in_both_languages(catalogue):
    for message in catalogue:
        if not message.id:
            continue
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        forms = message.string if isinstance(message.string, tuple) else (message.string,)
        wanted = {name for each in ids for name in FIGURE.findall(each)}

        assert all(set(FIGURE.findall(form)) == wanted for form in forms), message.id


def test_the_compiled_catalogue_is_the_written_one(catalogue):
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)

    assert words_of(compiled) == words_of(catalogue)


def test_no_module_writes_words_past_the_catalogue():
    """Chinese in a module, or a text that is set directly, would show in one language only."""
    allowed = {"简体中文", "中文"}
    for path in SOURCES.rglob("static/js/**/*.js"):
        for found in re.findall(r"[\u4e00-\u9fff]+", path.read_text()):
            assert found in allowed, f"{path.name}: {found}"
        direct = re.findall(r"""\bel\("[^"]+", \{[^}]*\}, "([A-Za-z]{3,}[^"]*)\"""", path.read_text())
        assert not direct, f"{path.name}: {direct}"


def test_the_catalogue_round_trips():
    """Written by one tool only: else each run would change lines that nobody touched."""
    from babel.messages.pofile import write_po

    with CATALOGUE.open("rb") as file:
        again = read_po(file, locale="zh_Hans_CN")
    written = io.BytesIO()
    write_po(written, again, sort_output=True, no_location=True, width=0)

    assert written.getvalue() == CATALOGUE.read_bytes()
