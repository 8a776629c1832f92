"""Which language a page is in."""

from __future__ import annotations

import pytest

from collector.common.html_words import html_words
from collector.web import i18n


@pytest.mark.parametrize(
    ("query", "kept", "accepted", "lang"),
    [
        ("ur", "en", "en", "ur"), (None, "ur", "en", "ur"), (None, None, "ur-PK,en;q=0.5", "ur"),
        (None, None, "en;q=0.5, ur;q=0.9", "ur"), (None, None, "de, fr", "en"), ("xx", "yy", "", "en"),
        (None, None, ";;q=,ur;q=z,,", "en"), (None, None, "a" * 10_000, "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_first_that_is_spoken(
    query: str | None, kept: str | None, accepted: str, lang: str
) -> None:
    assert i18n.choose(query, kept, accepted) == lang


def test_what_is_filled_in_is_escaped_and_may_hold_braces() -> None:
    words = html_words("en")
    assert words("failed", cause="<b>{x}</b>") == "Failed: &lt;b&gt;{x}&lt;/b&gt;"
    for made in (words.ltr, words.name, words.raw):
        assert "&lt;b&gt;{x}&lt;/b&gt;</bdi>" in made("<b>{x}</b>")
