"""The catalogue's words as HTML: values are escaped, and isolated so that none turns its neighbours round."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from agent.common.words import FOLDER, Catalogue, Places, Renderer, catalogue


class HtmlWords(Renderer[Markup]):
    """One language's words for a page. Marks are put around values by hand: a list says a thousand of them,
    `Markup.format` costs five times as much, and each `+` of two marks checks both again."""

    space = "\u00a0"

    def __init__(self, catalogue: Catalogue, *, own_digits: bool = False) -> None:
        super().__init__(catalogue)
        self.digits = catalogue.digits if own_digits else ""

    def shaped(self, text: str) -> str:
        return text.translate(_table(self.digits)) if self.digits else text

    def fill(self, text: str, values: Mapping[str, object]) -> Markup:
        return escape(text).format_map(Places(values)) if "{" in text else escape(text)

    def ltr(self, value: object) -> Markup:
        return Markup(f'<bdi dir="ltr">{escape(value)}</bdi>')  # noqa: S704 - escaped

    def name(self, value: object) -> Markup:
        return Markup(f"<bdi>{escape(value)}</bdi>")  # noqa: S704 - escaped

    def raw(self, value: object) -> Markup:
        return Markup(f'<bdi lang="en" dir="ltr">{escape(value)}</bdi>')  # noqa: S704 - escaped


@cache
def html_words(lang: str, folder: Path = FOLDER, *, own_digits: bool = False) -> HtmlWords:
    """The words of one of the languages that there are; `own_digits`: with figures in its digits, if it has any."""
    return HtmlWords(catalogue(lang, folder), own_digits=own_digits)


@cache
def _table(digits: str) -> dict[int, int | str | None]:
    return {ord("0") + value: digit for value, digit in enumerate(digits)}
