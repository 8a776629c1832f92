"""One name, one thing: classes, modules and the words they are made of."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.probes.speed import ENGINES
from agent.wire import KINDS
from tests.helpers import ROOT
from tests.helpers.texts import tree

VAGUE = {"each", "asked", "told", "said"}  # participles that name nothing: a variable is a noun
VAGUE_IN_PRODUCT = {*VAGUE, "found"}


def sources(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py")) if "migrations" not in path.parts]


def classes(paths: list[Path]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    return places


def vocabulary() -> set[str]:
    text = (ROOT / "docs" / "vocabulary.md").read_text()
    return set(re.findall(r"[a-z][a-z0-9]*", re.sub(r"\|([^|]*)\|[^|]*\|\n", r"\1\n", text)))


def unknown_words(name: str, known: set[str]) -> list[str]:
    """The words of a module's name that are in no list, in the singular or as they stand."""
    return [word for word in name.split("_") if word and not {word, word.removesuffix("s")} & known]


def vague_variables(tree: ast.AST, words: set[str]) -> Iterator[tuple[int, str]]:
    """Names and parameters, but for the fields of classes, which their class explains."""
    fields = {id(part.target) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for part in node.body
              if isinstance(part, ast.AnnAssign)}  # fmt: skip
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and node.id in words
            and id(node) not in fields
        ):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg) and node.arg in words:
            yield node.lineno, node.arg


def test_a_class_name_stands_for_one_class() -> None:
    twice = {name: places for name, places in classes(sources("agent", "collector")).items() if len(places) > 1}
    assert not twice, f"rename all but one of each: {twice}"


def test_a_class_that_is_defined_twice_is_seen(tmp_path: Path) -> None:
    paths = [tmp_path / "one.py", tmp_path / "two.py"]
    for path in paths:
        path.write_text("class Twice: ...\n")
    assert classes(paths) == {"Twice": [f"{path}:1" for path in paths]}


def test_module_names_are_made_of_the_vocabulary() -> None:
    known = vocabulary() | KINDS.keys() | ENGINES.keys()
    parts = {
        part for path in sources("agent", "collector") for part in path.relative_to(ROOT).with_suffix("").parts[1:]
    }
    parts -= {"__init__", "__main__"}
    wrong = {part: words for part in sorted(parts) if (words := unknown_words(part, known))}
    assert not wrong, f"not in docs/vocabulary.md: {wrong}"


@pytest.mark.parametrize(
    ("name", "wrong"), [("doorkeeper", ["doorkeeper"]), ("own_papers", ["own", "papers"]), ("rows", [])]
)
def test_a_word_that_is_not_in_the_vocabulary_is_seen(name: str, wrong: list[str]) -> None:
    assert unknown_words(name, vocabulary()) == wrong


def test_variables_are_nouns() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for top, words in (("agent", VAGUE_IN_PRODUCT), ("collector", VAGUE_IN_PRODUCT), ("bench", VAGUE))
        for path in sources(top)
        if words & set(re.findall(r"\w+", text := path.read_text()))  # parsing all of them takes seconds
        for line, name in vague_variables(ast.parse(text), words)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_vague_variable_is_seen() -> None:
    tree = ast.parse("class C:\n    said: int\ndef f(told):\n    for each in told: pass")
    assert sorted(vague_variables(tree, VAGUE)) == [(3, "told"), (4, "each")]
