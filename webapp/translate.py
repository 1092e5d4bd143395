"""Bring the Chinese catalogue up to date with the sources, and compile it: python webapp/translate.py

New words come in without Chinese, those that nobody says any more go. Write the Chinese into messages.po by hand, then
run this again; the tests say what is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

SOURCES = Path(__file__).parent / "src" / "copytrade_webapp"
CATALOGUE = SOURCES / "translations" / "zh_Hans_CN" / "LC_MESSAGES" / "messages.po"
WORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}


def main() -> None:
    with (SOURCES / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    template = Catalog()
    for _, _, message, _, _ in extract_from_dir(SOURCES, methods, options, keywords=WORDS):
        template.add(message)
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file, locale="zh_Hans_CN")
    template.creation_date = catalogue.creation_date  # or each run would change the file
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    with CATALOGUE.open("wb") as file:
        write_po(file, catalogue, sort_output=True, no_location=True, width=0)
    with CATALOGUE.open("rb") as source, CATALOGUE.with_suffix(".mo").open("wb") as compiled:
        write_mo(compiled, read_po(source, locale="zh_Hans_CN"))
    missing = [repr(message.id) for message in catalogue if message.id and not message.string]
    if missing:
        sys.exit("\n".join(["no Chinese yet:", *missing]))


if __name__ == "__main__":
    main()
