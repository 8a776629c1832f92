"""Every cause and every flag of a speed test that the agent can say stands in a table, and none is left over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import get_args

from agent.common.causes import Cause, SpeedFlag, UplinkCause
from tests.helpers import ROOT

AGENT = ROOT / "agent"
CAUSES, OTHERS = set(get_args(Cause)), {*get_args(SpeedFlag), *get_args(UplinkCause)}
SAY = {"ProbeFailed", "failure", "failed", "SkipTest"}  # what takes a cause
TABLE = AGENT / "common" / "causes.py"


def sources() -> Iterator[ast.Module]:
    for path in AGENT.rglob("*.py"):
        if path != TABLE:
            yield ast.parse(path.read_text())


def words() -> set[str]:
    """Every string of the agent that is one word."""
    nodes = (node for tree in sources() for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def said(trees: Iterator[ast.Module]) -> set[str]:
    """The words that stand where a cause is taken."""
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAY:
            found |= {arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)}
    return {word for word in found if isinstance(word, str) and " " not in word}


def test_every_cause_that_the_agent_says_is_in_the_table() -> None:
    assert said(sources()) - CAUSES == set()


def test_a_cause_that_is_not_in_the_table_is_seen() -> None:
    planted = ast.parse('raise ProbeFailed("lost_in_space", "far away")')
    assert said(iter([planted])) - CAUSES == {"lost_in_space"}


def test_no_word_of_the_tables_is_left_over() -> None:
    assert (CAUSES | OTHERS) - words() == set()
