"""Every code that the code base can produce has its words in every language, and nobody reads words back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest

from agent.common.words import PlainWords, Renderer, catalogue
from agent.local.page_words import PageWords
from collector.common.html_words import HtmlWords
from collector.judging.flags.machine import ChangeReason
from tests.helpers.codes import AGENT, COLLECTOR
from tests.helpers.texts import CODES, LANGUAGES, ROOT, SOURCES, raw_texts, said, tree

RTL = [lang for lang in LANGUAGES if catalogue(lang).direction == "rtl"]
MINUTES = re.compile(r"(?<![\d.])([6-9]\d|\d{3,}) (s|sec|seconds|سیکنڈ)\b")
# What may stand in Latin letters in a text of another script: names of products, units, standards and commands.
LATIN = {
    "nabz", "nabz-seat", "CENTER", "NAME", "URL", "JSON", "base64", "Ed25519", "SHA-256", "iperf3",
    "Mbit/s", "MB", "GB", "ms", "Hz", "V", "C", "PKT",
}  # fmt: skip
COMMANDS = re.compile(r"`[^`]*`|token=|nabz/v1/\S+|{\w+}")


def latin_words(text: str) -> set[str]:
    """Words in Latin letters that are no name of a thing."""
    return set(re.findall(r"[A-Za-z][A-Za-z0-9/-]*", COMMANDS.sub("", text))) - LATIN


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", [code for code in CODES if code != "text"])
def test_every_code_is_said_in_every_language(code: str, lang: str) -> None:
    words = said(lang, code, CODES[code])
    assert not re.search(r"[A-Za-z]_[A-Za-z]", words), f"a raw name: {words}"
    assert not MINUTES.search(words), f"seconds where people say minutes: {words}"
    if lang in RTL:
        assert not latin_words(words), f"not in {lang}: {latin_words(words)} of {words}"


def test_a_code_without_words_is_seen() -> None:
    for lang, code, params, problem in (
        ("ur", "moon", {}, "ur.json: no text for moon"),
        ("en", "verdict.old", {"fresh_s": 300}, "en.json: verdict.old: nothing fills {'age_s'}"),
        ("ur", "verdict.failed", {"cause": "sunspots"}, "'sunspots' has no words in ur"),
    ):
        with pytest.raises(AssertionError) as seen:
            said(lang, code, params)
        assert str(seen.value).startswith(problem)
    assert MINUTES.search("silent for 301 s")
    assert latin_words("یہ broken ہے {name} Mbit/s") == {"broken"}


@pytest.mark.parametrize("lang", RTL)
def test_a_text_of_another_script_is_in_that_script(lang: str) -> None:
    texts = {key: text for key, text in raw_texts(lang).items() if not key.startswith("language.")}
    found = {key: latin for key, text in texts.items() if (latin := latin_words(text))}
    assert not found, f"{lang}.json: {found}"


# ---------------------------------------------------------------- the table and the code


def made(path: Path) -> Iterable[ast.expr]:
    """The code of every reason that a module makes."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "of" else node.func
            if isinstance(name, ast.Name) and name.id in ("Reason", "EnrolmentRefused"):
                yield node.args[name.id == "EnrolmentRefused"]


def constants(path: Path) -> set[str]:
    nodes = ast.walk(tree(path))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


# Put the room before a code that travels in a reading, of the tables in agent.common.reading_codes.
ROOMS = ("reading_codes.py", "code_text.py", "boot.py", "merge.py")


def test_every_code_that_is_made_stands_in_the_table() -> None:
    codes = [(path, code) for path in SOURCES for code in made(path)]
    named = {code.value for _, code in codes if isinstance(code, ast.Constant)}
    assert len(named) > 100
    assert not named - CODES.keys(), f"tests/helpers/codes.py lacks {sorted(named - CODES.keys())}"
    parts = {f"{path}:{code.lineno}" for path, code in codes if isinstance(code, ast.JoinedStr | ast.BinOp)}
    parts = {place for place in parts if not place.partition(":")[0].endswith(ROOMS)}
    assert not parts, f"a code made of parts can be enumerated by nobody, write it out in a table: {parts}"


def test_every_code_of_the_table_is_made() -> None:
    written = set().union(*map(constants, SOURCES))
    assert not COLLECTOR.keys() - written, f"nobody makes {sorted(COLLECTOR.keys() - written)}"
    assert not {code for code in AGENT if code.partition(".")[2] not in written}
    assert set(get_args(ChangeReason)) <= COLLECTOR.keys()


# ---------------------------------------------------------------- words are made at the edge, and never read back


def test_pages_messages_and_logs_use_one_renderer() -> None:
    assert set(Renderer.__subclasses__()) == {PlainWords, HtmlWords, PageWords}


def test_no_table_of_words_stands_in_the_code() -> None:
    """Urdu in a module would be a catalogue beside the catalogue."""
    urdu = {path.relative_to(ROOT).as_posix() for path in SOURCES if any(map(_is_urdu, constants(path)))}
    assert not urdu, f"move these words to agent/common/text: {urdu}"


def _is_urdu(text: str) -> bool:
    return re.search(r"[\u0600-\u06ff]", text) is not None


def test_a_reason_is_never_told_by_its_words() -> None:
    """A sentence is made for people: no module looks into one."""
    looks = re.compile(
        r"\b(reason|detail|evidence|sentence)s?\.(startswith|endswith|partition|rpartition|split|removeprefix|"
        r"removesuffix|find|index)\(|[\"'] in \w*(reason|detail|sentence)\b"
    )
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in SOURCES
        for match in looks.finditer(path.read_text("utf-8"))
        if path.name != "receipts.py"  # of collectors before 0.2 the first word of a receipt's reason is its code
    }
    assert not found
