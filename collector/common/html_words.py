"""The catalogue's words as HTML: values are escaped, and isolated so that none turns its neighbours round."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from agent.common.words import FOLDER, Places, Renderer, catalogue


class HtmlWords(Renderer[Markup]):
    """One language's words for a page. Marks are put around values by hand: a list says a thousand of them,
    `Markup.format` costs five times as much, and each `+` of two marks checks both again."""

    space = "\u00a0"

    def fill(self, text: str, values: Mapping[str, object]) -> Markup:
        return escape(text).format_map(Places(values)) if "{" in text else escape(text)

    def ltr(self, value: object) -> Markup:
        return Markup(f'<bdi dir="ltr">{escape(value)}</bdi>')  # noqa: S704 - escaped

    def name(self, value: object) -> Markup:
        return Markup(f"<bdi>{escape(value)}</bdi>")  # noqa: S704 - escaped

    def raw(self, value: object) -> Markup:
        return Markup(f'<bdi lang="en" dir="ltr">{escape(value)}</bdi>')  # noqa: S704 - escaped


@cache
def html_words(lang: str, folder: Path = FOLDER) -> HtmlWords:
    """The words of one of the languages that there are."""
    return HtmlWords(catalogue(lang, folder))
