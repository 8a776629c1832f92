"""Exceptions that others raise are shown by `agent.common.errors.describe`: their own text may be empty."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.helpers import ROOT
from tests.helpers.texts import tree

DECODER = ROOT / "agent" / "wire.py"  # imports nothing of ours, and meets decoders' errors alone, which are sentences
FILES = [
    path
    for top in ("agent", "collector")
    for path in sorted((ROOT / top).rglob("*.py"))
    if "migrations" not in str(path)
]


def our_exceptions() -> set[str]:
    """Classes of our own: they are raised with a sentence."""
    return {node.name for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)}


def caught(handler: ast.ExceptHandler) -> set[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] if handler.type else []
    return {kind.attr if isinstance(kind, ast.Attribute) else ast.unparse(kind) for kind in kinds}


def shown_raw(source: ast.Module, ours: set[str]) -> Iterator[tuple[int, str]]:
    """(line, code) where the text of an exception that may not be ours goes into words for people."""
    for handler in ast.walk(source):
        if isinstance(handler, ast.ExceptHandler) and handler.name and not caught(handler) <= ours:
            for node in ast.walk(handler):
                if isinstance(node, ast.FormattedValue):
                    shown: list[ast.expr] = [node.value]
                elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("str", "repr", "print"):
                    shown = node.args
                else:
                    continue
                if any(isinstance(value, ast.Name) and value.id == handler.name for value in shown):
                    yield node.lineno, ast.unparse(node)


def test_no_text_of_a_foreign_exception_is_shown_as_it_is() -> None:
    ours = our_exceptions()
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {code}"
        for path in FILES
        if path != DECODER
        for line, code in shown_raw(tree(path), ours)
    ]
    assert not wrong, "write describe(error):\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("raise StoreError(f'lost: {error}')", ["{error}"]),
        ("raise StoreError(f'lost: {error!r}')", ["{error!r}"]),
        ("say(str(error))", ["str(error)"]),
        ("say(describe(error))", []),
        ("say(f'{error.code}')", []),
    ],
)
def test_what_is_shown_raw_is_seen(body: str, found: list[str]) -> None:
    source = f"try:\n    work()\nexcept (OSError, StoreError) as error:\n    {body}\n"
    assert [code for _line, code in shown_raw(ast.parse(source), {"StoreError"})] == found
    ours = source.replace("OSError, ", "")
    assert not list(shown_raw(ast.parse(ours), {"StoreError"}))
