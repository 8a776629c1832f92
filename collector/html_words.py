"""The catalogue's words as HTML: values are escaped, and isolated so that none turns its neighbours round."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from agent.common.words import FOLDER, Places, Renderer, catalogue


class HtmlWords(Renderer[Markup]):
    """One language's words for a page."""

    space = "\u00a0"

    def fill(self, text: str, values: Mapping[str, object]) -> Markup:
        return escape(text).format_map(Places(values))

    def ltr(self, value: object) -> Markup:
        return Markup('<bdi dir="ltr">{}</bdi>').format(value)

    def name(self, value: object) -> Markup:
        return Markup("<bdi>{}</bdi>").format(value)

    def raw(self, value: object) -> Markup:
        return Markup('<bdi lang="en" dir="ltr">{}</bdi>').format(value)


@cache
def html_words(lang: str, folder: Path = FOLDER) -> HtmlWords:
    """The words of one of the languages that there are."""
    return HtmlWords(catalogue(lang, folder))
