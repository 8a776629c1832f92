"""Every string of the pages, in the languages of the programme. A key that is missing anywhere fails a test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from markupsafe import Markup, escape

Language = Literal["en", "ur"]
LANGUAGES: dict[Language, str] = {"en": "English", "ur": "اردو"}


@dataclass(frozen=True)
class Words:
    """One language's strings. `words(KEY, name=value)` fills the places of a string; values are escaped."""

    lang: Language
    texts: dict[str, str]

    @property
    def dir(self) -> str:
        return "rtl" if self.lang == "ur" else "ltr"

    def __call__(self, key: str, **values: object) -> Markup:
        return escape(self.texts[key]).format(**values)

    def many(self, key: str, number: int, **values: object) -> Markup:
        """`key.one` or `key.other`, with `n` as a place to fill."""
        return self(f"{key}.{'one' if number == 1 else 'other'}", n=self.number(number), **values)

    def number(self, value: float, digits: int = 0) -> Markup:
        """With thousands marked; isolated, so that right-to-left text around it does not turn it round."""
        return self.ltr(f"{value:,.{digits}f}")

    def ltr(self, value: object) -> Markup:
        """Codes, figures with units, addresses: always left to right."""
        return Markup('<bdi dir="ltr">{}</bdi>').format(value)

    def either(self, en: str, ur: str) -> str:
        return ur if self.lang == "ur" else en


@cache
def words(lang: Language) -> Words:
    return Words(lang, json.loads(resources.files("collector.web").joinpath("text", f"{lang}.json").read_text("utf-8")))


def choose(asked: str | None, kept: str | None, accepted: str) -> Language:
    """The language of a page: what the address asks for, else the cookie, else the browser's first that we speak."""
    for wanted in (asked, kept, *_by_preference(accepted)):
        for lang in LANGUAGES:
            if wanted and wanted.lower().split("-")[0] == lang:
                return lang
    return "en"


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
