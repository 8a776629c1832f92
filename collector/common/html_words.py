"""The catalogue's words as HTML: values are escaped, and isolated so that none turns its neighbours round."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from agent.common.words import FOLDER, Places, Renderer, catalogue

_LTR, _AUTO, _ENGLISH = Markup('<bdi dir="ltr">'), Markup("<bdi>"), Markup('<bdi lang="en" dir="ltr">')
_END = Markup("</bdi>")


class HtmlWords(Renderer[Markup]):
    """One language's words for a page. Marks are put around values by hand: a list says a thousand of them, and
    `Markup.format` costs five times as much."""

    space = "\u00a0"

    def fill(self, text: str, values: Mapping[str, object]) -> Markup:
        return escape(text).format_map(Places(values)) if "{" in text else escape(text)

    def ltr(self, value: object) -> Markup:
        return _LTR + escape(value) + _END

    def name(self, value: object) -> Markup:
        return _AUTO + escape(value) + _END

    def raw(self, value: object) -> Markup:
        return _ENGLISH + escape(value) + _END


@cache
def html_words(lang: str, folder: Path = FOLDER) -> HtmlWords:
    """The words of one of the languages that there are."""
    return HtmlWords(catalogue(lang, folder))
