"""The words of the gateway's own page, as HTML. Pure; read when somebody looks at the page, not before."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape

from agent.common.words import Places, Renderer, catalogue


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


class PageWords(Renderer[Html]):
    """Values are escaped, and isolated so that none turns its neighbours round."""

    space = "\u00a0"

    def fill(self, text: str, values: Mapping[str, object]) -> Html:
        return Html(escape(text).format_map(Places({name: html(value) for name, value in values.items()})))

    def ltr(self, value: object) -> Html:
        return Html(f'<bdi dir="ltr">{html(value)}</bdi>')

    def name(self, value: object) -> Html:
        return Html(f"<bdi>{html(value)}</bdi>")

    def raw(self, value: object) -> Html:
        return Html(f'<bdi lang="en" dir="ltr">{html(value)}</bdi>')


def html(value: object) -> Html:
    """What is no HTML yet is escaped."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


@cache
def page_words(language: str) -> PageWords:
    """The words of one of the languages that there are."""
    return PageWords(catalogue(language))
