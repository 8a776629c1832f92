"""Every code that the code base can produce has its words in every language, and each word is somebody's."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from agent import wire
from agent.common.causes import Cause, SpeedFlag, UplinkCause
from agent.common.reasons import Param, Reason
from agent.common.words import AUTO, END, FOLDER, LTR, PlainWords, Renderer, catalogue, languages
from agent.local.page_words import PageWords
from collector.access.users import Doubt
from collector.flags.cause import GRADES, NAMES
from collector.flags.machine import ChangeReason, State
from collector.messages import Finding
from collector.register.centers import LIFECYCLE, SHOWN, TIERS
from collector.register.opening_hours import DAYS
from collector.reports.ledger import Bucket
from collector.reports.revisions import SHOWN as DIFFERENCES
from collector.standard.check import READINGS, value_type
from collector.standard.criteria import DEAF, DERIVED, YES_NO, Severity
from collector.store.queries import STATES
from collector.web import view
from collector.web.pages import approvals, centers
from tests.helpers.codes import AGENT, COLLECTOR

ROOT = Path(__file__).parents[2]
LANGUAGES = tuple(languages())
CODES: Mapping[str, Mapping[str, Param]] = {**AGENT, **COLLECTOR}
SOURCES = [path for top in ("agent", "collector") for path in (ROOT / top).rglob("*.py")]
EDGES = [path for path in (ROOT / "collector").rglob("*.html") if "vendor" not in path.parts]

# Modules that put a room before a code of agent.common.reading_codes, whose tables AGENT is made of.
OF_AGENT_TABLES = {"merge.py", "boot.py", "reading_codes.py", "code_text.py"}
# What may stand in Latin letters in a text of another script: names of products, units, standards and commands.
LATIN = {
    "nabz", "agent", "seat", "collector", "enrol", "join", "token", "CENTER", "server", "add", "NAME", "URL", "JSON",
    "base64", "Ed25519", "SHA-256", "iperf3", "Mbit/s", "MB", "GB", "ms", "Hz", "V", "min", "B", "kB", "PKT", "C",
    "nabz-seat",
}  # fmt: skip


def raw_texts(lang: str) -> dict[str, str]:
    """What the file of a language says itself, nothing of English."""
    found: dict[str, str] = json.loads((FOLDER / f"{lang}.json").read_text("utf-8"))
    return found


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


class Strict(PlainWords):
    """Fails where a page would fall back to what no person reads; names are left out, so that words remain."""

    def raw(self, value: object) -> str:
        raise AssertionError(f"{value!r} has no words in {self.lang}")

    def name(self, value: object) -> str:
        return "…"

    def _units(self, *parts: tuple[int, str]) -> str:
        return " ".join(f"{number} {self._unit(unit, number)}" for number, unit in parts if number)


def said(lang: str, code: str, params: Mapping[str, Param]) -> str:
    """The words of a code, its own sentences and names left out."""
    words = Strict(catalogue(lang))
    texts = {name: "…" for name, value in params.items() if name == "text"}
    form = words.catalogue.key(code, params["n"] if isinstance(params.get("n"), int) else None)
    assert form in raw_texts(lang), f"{lang}.json: no text for {code}"
    shown = {name: texts.get(name) or words.param(Reason(code, params), name) for name in params}
    text = raw_texts(lang)[form or ""]
    assert places(text) <= shown.keys(), f"{lang}.json: {form}: nothing fills {places(text) - shown.keys()}"
    return re.sub(f"[{LTR}{AUTO}{END}]", "", words.fill(text, shown))


# ---------------------------------------------------------------- codes


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", [code for code in CODES if code != "text"])
def test_every_code_is_said_in_every_language(code: str, lang: str) -> None:
    words = said(lang, code, CODES[code])
    assert not re.search(r"[A-Za-z]+_[A-Za-z]", words), f"a raw name: {words}"
    assert not re.search(r"(?<![\d.])([6-9]\d|\d{3,}) (s|sec|seconds|سیکنڈ)\b", words), (
        f"seconds where people say minutes: {words}"
    )
    if catalogue(lang).direction == "rtl":
        latin = set(re.findall(r"[A-Za-z][A-Za-z0-9/_-]*", re.sub(r"`[^`]*`|nabz/v1/\S+", "", words)))
        assert latin <= LATIN, f"not in {lang}: {latin - LATIN} of {words}"


def test_a_code_without_words_is_seen() -> None:
    with pytest.raises(AssertionError, match="no text for moon"):
        said("ur", "moon", {})
    with pytest.raises(AssertionError, match=r"nothing fills \{'age_s'\}"):
        said("en", "verdict.old", {"fresh_s": 300})
    with pytest.raises(AssertionError, match="has no words in ur"):
        said("ur", "verdict.failed", {"cause": "sunspots"})


def made(path: Path) -> Iterable[ast.Call]:
    """Every place where a reason is made."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "of" else node.func
            if isinstance(name, ast.Name) and name.id == "Reason":
                yield node


def constants(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_code_that_is_made_stands_in_the_table_and_every_code_of_the_table_is_made() -> None:
    firsts = [(path, call.args[0]) for path in SOURCES if path.name != "codes.py" for call in made(path)]
    named = {arg.value for _, arg in firsts if isinstance(arg, ast.Constant)}
    assert not named - CODES.keys(), f"tests/helpers/codes.py lacks {sorted(named - CODES.keys())}"
    outside = [(path, arg) for path, arg in firsts if path.name not in OF_AGENT_TABLES]
    composed = {f"{path.name}:{arg.lineno}" for path, arg in outside if isinstance(arg, ast.JoinedStr)}
    assert not composed, f"a code made of parts can be enumerated by nobody: {composed}; write it out in a table"
    written = {text for path in SOURCES if path.name != "codes.py" for text in constants(path)}
    assert not COLLECTOR.keys() - written, f"nobody makes {sorted(COLLECTOR.keys() - written)}"
    assert set(get_args(ChangeReason)) <= CODES.keys()


# ---------------------------------------------------------------- words that parameters and pages ask for


def words_of_readings() -> set[str]:
    """Fields that a standard may name, and the words that those fields may hold."""
    keys = {f"field.{name}" for kind in READINGS for name in (*_fields(kind), *_derived(kind))}
    keys |= {f"field.{name}" for _, name in DERIVED} | {
        f"field.{figure.name}" for kind in wire.KINDS.values() for figure in kind.figures
    }
    keys |= {f"word.{name}.{word}" for _, name in YES_NO for word in ("yes", "no")} | {"word.true", "word.false"}
    for kind in wire.KINDS.values():
        for name, hint in get_type_hints(kind.struct).items():
            literals = [part for part in (hint, *get_args(hint)) if getattr(part, "__origin__", None) is not None]
            words = {word for part in literals for word in get_args(part) if isinstance(word, str)}
            if words and value_type(kind.name, name) in ("word", "words"):
                keys |= {f"word.{name}.{word}" for word in words}
    return (
        keys | {f"word.flags.{flag}" for flag in get_args(SpeedFlag)} | {f"cause.{cause}" for cause in get_args(Cause)}
    )


def _fields(kind: str) -> list[str]:
    if kind not in wire.KINDS:
        return []
    return [name for name in wire.KINDS[kind].struct.__struct_fields__ if value_type(kind, name)]


def _derived(kind: str) -> list[str]:
    return [name for owner, name in DERIVED if owner == kind]


def asked_of_parts() -> set[str]:
    """Keys that are made of a room and a word: each word of each such room."""
    keys = words_of_readings()
    keys |= {f"state.{state}" for state in (*STATES, "all")} | {
        f"why.{each}" for each in ("waiting", "meets", "paused")
    }
    keys |= {f"center.{name}" for name in SHOWN} | {f"lifecycle.{each}" for each in LIFECYCLE}
    keys |= {f"tier.{tier}" for tier in TIERS} | {f"flag.{state}" for state in get_args(State)}
    keys |= {f"verdict.{word}" for word in (*centers.VERDICTS, "watch")} | {f"theme.{theme}" for theme in view.THEMES}
    keys |= {f"range.{each}" for each in centers.RANGES_S} | {f"asked.at_{side}" for side in ("least", "most")}
    keys |= {f"fault.{place}" for place in ("lan", "isp", "beyond")} | {f"direction.{each}" for each in ("down", "up")}
    keys |= {f"seat.{state}" for state in get_args(get_args(get_type_hints(wire.SeatColumns)["state"])[0])}
    keys |= {f"kind.{kind}" for kind in wire.KINDS} | {
        f"power_state.{each}" for each in ("mains", "battery", "battery_low")
    }
    keys |= {f"test.{word}" for word in ("desk", "retest", "too_late", "no_result", "server_gone")}
    keys |= {f"error{part}.{code}" for part in ("", ".fix") for code in (403, 404, 503, "other")}
    keys |= {f"gateways.why.{reason}" for reason in approvals.SAID} | {"gateways.approved", "gateways.refused"}
    keys |= {f"gateways.doubt.{doubt}{part}" for doubt in get_args(Doubt) for part in ("", ".head")}
    keys |= {f"gap.{name}" for name in NAMES} | {f"grade.{grade}" for grade in GRADES}
    keys |= {f"finding.{finding}" for finding in get_args(Finding)} | {
        f"severity.{each}" for each in get_args(Severity)
    }
    keys |= {f"day.{day}" for day in DAYS} | {f"criterion.{DEAF.id}{part}" for part in ("", ".fix")}
    keys |= {f"alert.{event}" for event in ("raised", "cleared")} | {
        f"summary.{event}" for event in ("raised", "cleared")
    }
    keys |= {f"ledger.{name}{part}" for name in (*get_args(Bucket), "open") for part in ("", ".means")}
    return keys | {f"report.what.{name}" for name in DIFFERENCES}


COUNTED = (
    "unit.s",
    "unit.min",
    "unit.h",
    "unit.d",
    "news",
    "revision.readings",
    "revision.records",
    "revision.outages",
)
FREE = ("language.", "province.")  # a province is whatever the register says


def used() -> set[str]:
    """Every key that a page, a message or a code asks for; of a counted one the key without its form."""
    text = "\n".join(path.read_text("utf-8") for path in (*SOURCES, *EDGES) if path.name != "codes.py")
    literal = set(re.findall(r"""["']([a-z][\w.-]*)["']""", text))
    own = {f"chart.{kind}" for kind in centers.CHARTS} | {f"series.{name}" for name in centers.SERIES}
    titles = own & raw_texts("en").keys() | {"series.self_down", "series.bound", "series.promised"}
    local = {f"gateway.page.{word}" for word in literal} | {f"uplink.{cause}" for cause in get_args(UplinkCause)}
    local |= {f"gateway.page.{part}.{word}" for part in ("clock", "mode", "uplink") for word in literal}
    fields = {f"field.{params['field']}" for params in CODES.values() if "field" in params}
    return literal | CODES.keys() | asked_of_parts() | titles | set(COUNTED) | local | fields


def forms(lang: str, key: str) -> set[str]:
    return {f"{key}.{form}" for form in (*catalogue(lang).plurals, "other")}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_is_missing(lang: str) -> None:
    texts = raw_texts(lang)
    asked = asked_of_parts() | {*COUNTED} | (CODES.keys() - {"text"}) | (used() & raw_texts("en").keys())
    missing = {key for key in asked if key not in texts and not forms(lang, key) <= texts.keys()}
    assert not missing, f"agent/common/text/{lang}.json has no text for {sorted(missing)}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_is_left_over(lang: str) -> None:
    known = used()
    counted = {form for key in known for form in forms(lang, key)}
    left = {key for key in raw_texts(lang) if key not in known | counted and not key.startswith(FREE)}
    assert not left, f"agent/common/text/{lang}.json: nobody asks for {sorted(left)}"


def test_the_languages_have_the_same_keys_and_places() -> None:
    english = raw_texts("en")
    for lang in LANGUAGES:
        texts = raw_texts(lang)
        base = {re.sub(r"\.(zero|one|two|few|many|other)$", "", key) for key in texts}
        assert base == {re.sub(r"\.(zero|one|two|few|many|other)$", "", key) for key in english}, lang
        for key in texts.keys() & english.keys():
            assert places(texts[key]) <= places(english[key]) | {"n"}, f"{lang}.json: {key}"
            assert re.fullmatch(r"[^{}]*({\w+}[^{}]*)*", texts[key]), f"{lang}.json: {key}: a place is {{name}}"


@pytest.mark.parametrize("lang", [lang for lang in LANGUAGES if catalogue(lang).direction == "rtl"])
def test_a_text_of_another_script_is_in_that_script(lang: str) -> None:
    for key, text in raw_texts(lang).items():
        if key.startswith("language."):
            continue
        latin = set(re.findall(r"[A-Za-z][A-Za-z0-9/-]*", re.sub(r"{\w+}|`[^`]*`|token=|nabz-seat", "", text)))
        assert latin <= LATIN, f"{lang}.json: {key}: {latin - LATIN}"


# ---------------------------------------------------------------- nobody reads words back


def test_pages_channels_and_programs_use_one_renderer() -> None:
    makers = {cls.__name__ for cls in Renderer.__subclasses__()} - {Strict.__name__}
    assert makers == {"PlainWords", "HtmlWords", PageWords.__name__}


def test_no_table_of_words_stands_in_the_code() -> None:
    """Urdu in a module is a table of words beside the catalogue."""
    urdu = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any(re.search(r"[\u0600-\u06ff]", text) for text in constants(path))
    }
    assert urdu <= {"agent/local/status_page.py"}, f"move these words to agent/common/text: {urdu}"


def test_reasons_are_never_told_by_their_words() -> None:
    """A reason's sentence is made for people: no module looks into one."""
    looks = re.compile(r"\b(reason|detail|evidence|sentence)s?\.(startswith|partition|split|removeprefix|endswith)\(")
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in SOURCES
        for match in looks.finditer(path.read_text("utf-8"))
        if path.name != "receipts.py"  # receipts of collectors before 0.2, whose first word was the code
    }
    assert not found
