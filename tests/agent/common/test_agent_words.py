"""Every code that the agent can say has words in every language, with its parameters in them and none in raw form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest

from agent.common.causes import Cause, SpeedFlag, UplinkCause
from agent.common.reasons import Reason
from agent.common.words import FOLDER, languages, plain
from agent.local import status_page
from tests.helpers import codes

AGENT = Path(status_page.__file__).parents[1]
LANGUAGES = tuple(languages())
WORDS = {
    **{f"cause.{word}": {} for word in get_args(Cause)},
    **{f"word.flags.{word}": {} for word in get_args(SpeedFlag)},
    **{f"uplink.{word}": {} for word in get_args(UplinkCause)},
}


def own_texts(lang: str) -> dict[str, str]:
    """Those of the language's own file, without what English lends."""
    return json.loads((FOLDER / f"{lang}.json").read_text("utf-8"))


def page_keys() -> set[str]:
    """What the local page asks for by a fixed key; those made of parts are shown by its own test."""
    source = Path(status_page.__file__).read_text()
    return {f"gateway.page.{key}" for key in re.findall(r'say\(words, "([\w.]+)"', source)}


def lacking(lang: str, texts: Mapping[str, str]) -> set[str]:
    return {key for key in {*codes.AGENT, *WORDS, *page_keys()} if key not in texts and f"{key}.other" not in texts}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_language_lacks_a_text_of_the_agents(lang: str) -> None:
    assert lacking(lang, own_texts(lang)) == set()


@pytest.mark.parametrize("key", ["cause.frozen", "seat_fault.clone", "uplink.clock", "gateway.page.title"])
def test_a_text_that_is_missing_is_seen(key: str) -> None:
    texts = own_texts("ur")
    del texts[key]
    assert lacking("ur", texts) == {key}


@pytest.mark.parametrize("code", [*codes.AGENT, *WORDS])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_code_is_words_in_every_language(lang: str, code: str) -> None:
    words = plain(lang)
    text = words.reason(Reason(code, codes.AGENT.get(code, {})))
    assert not re.search(r"[{}_–]|\d{2,}\.\d{3,}", text), text  # a place, a raw name, an unfilled place, odd digits
    assert not re.search(r"\b\d{3,} s\b", text), text  # where people say minutes
    assert all(words.param(Reason(code, codes.AGENT[code]), name) in text for name in codes.AGENT.get(code, {})), text
    if lang == "ur":
        assert re.search(r"[\u0600-\u06ff]", text), text


def test_the_places_of_a_text_are_the_parameters_of_its_code() -> None:
    for lang in LANGUAGES:
        texts = own_texts(lang)
        for code, params in codes.AGENT.items():
            text = texts.get(code) or texts[f"{code}.other"]
            assert set(re.findall(r"{(\w+)}", text)) == set(params), (lang, code)
