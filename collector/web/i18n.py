"""Every string of the pages, in the languages of the programme. A key that is missing anywhere fails a test."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from agent.common.words import ENGLISH, FOLDER, Places, Renderer, catalogue, languages


class Words(Renderer[Markup]):
    """One language's words as HTML: values are escaped, and isolated so that none turns its neighbours round."""

    def fill(self, text: str, values: Mapping[str, object]) -> Markup:
        return escape(text).format_map(Places(values))

    def first(self, *keys: str) -> Markup:
        """The text of the first of these keys that there is. Raises KeyError for the last."""
        return self(next((key for key in keys if key in self.texts), keys[-1]))

    def ltr(self, value: object) -> Markup:
        return Markup('<bdi dir="ltr">{}</bdi>').format(value)

    def name(self, value: object) -> Markup:
        return Markup("<bdi>{}</bdi>").format(value)

    def raw(self, value: object) -> Markup:
        return Markup('<bdi lang="en" dir="ltr">{}</bdi>').format(value)


@cache
def words(lang: str, folder: Path = FOLDER) -> Words:
    """The words of one of the languages that there are."""
    return Words(catalogue(lang, folder))


def choose(asked: str | None, kept: str | None, accepted: str, folder: Path = FOLDER) -> str:
    """The language of a page: what the address asks for, else the cookie, else the browser's first that we speak."""
    for wanted in (asked, kept, *_by_preference(accepted)):
        for lang in languages(folder):
            if wanted and wanted.lower().split("-")[0] == lang:
                return lang
    return ENGLISH


def _by_preference(accepted: str) -> list[str]:
    """The languages of an Accept-Language header (RFC 9110 §12.5.4), the most wanted first."""
    weighed = []
    for part in accepted[:200].split(","):
        lang, _, weight = part.partition(";")
        try:
            weighed.append((-float(weight.partition("=")[2] or 1), lang.strip()))
        except ValueError:
            continue
    return [lang for _, lang in sorted(weighed, key=lambda item: item[0])]
