"""The language files as they stand, and words made so strictly that what no person could read fails."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from agent.common.reasons import Param, Reason
from agent.common.words import AUTO, END, FOLDER, LTR, PlainWords, catalogue, languages
from tests.helpers import ROOT
from tests.helpers.codes import AGENT, COLLECTOR

LANGUAGES = tuple(languages())
CODES: Mapping[str, Mapping[str, Param]] = {**AGENT, **COLLECTOR}
# The table of codes is no use of one.
SOURCES = [path for top in ("agent", "collector") for path in (ROOT / top).rglob("*.py") if path.name != "codes.py"]
TEMPLATES = [path for path in (ROOT / "collector").rglob("*.html") if "vendor" not in path.parts]


@cache
def tree(path: Path) -> ast.Module:
    """A module as syntax, not to be changed: to parse all of ours takes seconds."""
    return ast.parse(path.read_text("utf-8"))


def raw_texts(lang: str) -> dict[str, str]:
    """What the file of a language says itself, nothing of English."""
    found: dict[str, str] = json.loads((FOLDER / f"{lang}.json").read_text("utf-8"))
    return found


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


class Strict(PlainWords):
    """Fails where a page would fall back to what no person reads; names are left out, so that words remain."""

    def raw(self, value: object) -> str:
        raise AssertionError(f"{value!r} has no words in {self.lang}")

    def name(self, value: object) -> str:
        return "…"

    def _units(self, *parts: tuple[int, str]) -> str:
        return " ".join(f"{number} {self._unit(unit, number)}" for number, unit in parts if number)


def said(lang: str, code: str, params: Mapping[str, Param]) -> str:
    """The words of a code, the names and sentences of others left out."""
    words, count = Strict(catalogue(lang)), params.get("n")
    form = words.catalogue.key(code, count if isinstance(count, int) else None)
    assert form in raw_texts(lang), f"{lang}.json: no text for {code}"
    text = raw_texts(lang)[form or ""]
    assert places(text) <= params.keys(), f"{lang}.json: {form}: nothing fills {places(text) - params.keys()}"
    shown = {name: "…" if name == "text" else words.param(Reason(code, params), name) for name in places(text)}
    return re.sub(f"[{LTR}{AUTO}{END}]", "", words.fill(text, shown))
