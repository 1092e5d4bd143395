"""One entry of the table: what a trader reads, in two languages, and what can be done."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """Short sentences, and what a person can do; empty where nothing can or need be done.

    ``%(name)s`` stands for a figure. A part in square brackets is left out where one of its figures is missing;
    a figure outside of brackets is always there.
    """

    en: str
    zh: str
    do_en: str = ""
    do_zh: str = ""
