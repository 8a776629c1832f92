"""Which language a page is in."""

from __future__ import annotations

from pathlib import Path

from agent.common.words import ENGLISH, FOLDER, languages


def choose(parameter: str | None, kept: str | None, accepted: str, folder: Path = FOLDER) -> str:
    """The language of a page: what the address asks for, else the cookie, else the browser's first that we speak."""
    for wanted in (parameter, kept, *_by_preference(accepted)):
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
