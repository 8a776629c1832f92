"""Every string in both languages, none missing, none left over."""

from __future__ import annotations

import re
import string
from importlib import resources
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from agent import wire
from agent.common import codes
from collector.access.users import Doubt
from collector.flags.machine import State
from collector.flags.witness import Word
from collector.register.centers import LIFECYCLE, SHOWN, TIERS
from collector.speedtests import requests
from collector.store.queries import STATES
from collector.web import i18n, reasons, view
from collector.web.format import NOT_MADE
from collector.web.pages import approvals, centers

WEB = Path(str(resources.files("collector.web")))
LANGUAGES = tuple(i18n.languages())


def texts(lang: str) -> dict[str, str]:
    return i18n.words(lang).texts


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def spoken() -> set[str]:
    """Every key that a template, a script or a module asks for, with those made of parts written out."""
    sources = [*WEB.glob("templates/*.html"), *WEB.glob("*.py")]
    source = "\n".join(path.read_text("utf-8") for path in sources)
    keys = set(re.findall(r"""(?:\bt|words|texts)[(\[]["']([\w.]+)["'][,)\]]""", source))
    many = re.findall(r"""(?:many)\(["']([\w.]+)["']""", source)
    keys |= {f"{key}.{number}" for key in many for number in ("one", "other")}
    keys |= {f"state.{state}" for state in (*STATES, "all")} | {
        f"why.{state}" for state in ("waiting", "meets", "paused")
    }
    keys |= (
        {f"center.{name}" for name in SHOWN}
        | {f"lifecycle.{each}" for each in LIFECYCLE}
        | {f"tier.{tier}" for tier in TIERS}
    )
    keys |= {f"flag.{state}" for state in get_args(State)} | {f"verdict.{word}" for word in centers.VERDICTS}
    keys |= {f"theme.{theme}" for theme in view.THEMES} | {f"range.{each}" for each in centers.RANGES_S}
    keys |= {f"unit.{unit}" for unit in ("s", "min", "h", "d")} | {f"asked.at_{side}" for side in ("least", "most")}
    keys |= set(NOT_MADE)
    keys |= {f"fault.{place}" for place in ("lan", "isp", "beyond")}
    keys |= words_of("output_state", "ups.state") | words_of("battery_status", "ups.battery")
    keys |= {f"seat.{state}" for state in ("healthy", "unhealthy", "missing", "off")}
    keys |= words_of_kinds() | {f"test.{word}" for word in get_args(requests.NoTurn)}
    keys |= {f"witness.{word}" for word in get_args(Word)}
    keys |= {f"test.{word}" for word in ("desk", "retest", "too_late", "no_result", "server_gone")}
    keys |= {f"error{part}.{code}" for part in ("", ".fix") for code in (403, 404, 503, "other")}
    keys |= {f"gateways.why.{reason}" for reason in approvals.SAID} | {"gateways.approved", "gateways.refused"}
    keys |= {f"gateways.doubt.{doubt}{part}" for doubt in get_args(Doubt) for part in ("", ".head")}
    keys |= set(codes.AGENT)
    keys |= {key for key, _ in reasons._PATTERNS} | set(reasons._CHANGES.values())
    heads = re.search(r"{% for column, sort in \((.*?)\) %}", source)[1]
    return keys | set(re.findall(r'\("(\w+)", "\w*"\)', heads))


def words_of_kinds() -> set[str]:
    """What the rows of the kinds ask for. A chart may have a title of its own, and its lines short names."""
    figures = {figure.name for kind in wire.KINDS.values() for figure in kind.figures}
    own = {f"chart.{kind}" for kind in centers.CHARTS} | {f"series.{name}" for name in centers.SERIES}
    short = {"series.self_down", "series.bound", "series.promised"}
    found = own & texts("en").keys() | short | {f"field.{name}" for name in figures}
    return found | {f"kind.{kind}" for kind in wire.KINDS}


def words_of(field: str, prefix: str) -> set[str]:
    """The words that a field of a UPS may hold."""
    literal = next(part for part in get_args(get_type_hints(wire.UpsReading)[field]) if get_args(part))
    return {f"{prefix}.{word}" for word in get_args(literal)}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_string_is_missing(lang: str) -> None:
    missing = sorted(spoken() - texts(lang).keys())
    assert not missing, f"agent/common/text/{lang}.json has no text for {', '.join(missing)}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_string_is_left_over(lang: str) -> None:
    own = {"yes", "no", "between"}  # of agent.common.words
    assert {key for key in texts(lang) if not key.startswith("language.")} - spoken() - own == set()


def test_the_languages_have_the_same_places_to_fill() -> None:
    for key, text in texts("en").items():
        assert places(text) == places(texts("ur")[key]), key


def test_urdu_is_urdu() -> None:
    """Only names of things that have none in Urdu may stand in Latin letters."""
    words = {key: text for key, text in texts("ur").items() if not key.startswith("language.")}
    latin = {key for key, text in words.items() if not re.search(r"[\u0600-\u06ff]", re.sub(r"{\w+}", "", text))}
    assert latin == {"none", "said.word", "said.change", "why.said", "why.figure"}


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "lang"),
    [
        ("ur", "en", "en", "ur"), (None, "ur", "en", "ur"), (None, None, "ur-PK,en;q=0.5", "ur"),
        (None, None, "en;q=0.5, ur;q=0.9", "ur"), (None, None, "de, fr", "en"), ("xx", "yy", "", "en"),
        (None, None, ";;q=,ur;q=z,,", "en"), (None, None, "a" * 10_000, "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_first_that_is_spoken(
    asked: str | None, kept: str | None, accepted: str, lang: str
) -> None:
    assert i18n.choose(asked, kept, accepted) == lang


def test_what_is_filled_in_is_escaped_and_may_hold_braces() -> None:
    said = i18n.words("en")("failed", cause="<b>{x}</b>")
    assert said == "Failed: &lt;b&gt;{x}&lt;/b&gt;"
