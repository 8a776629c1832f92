"""Levels of what follows from months below: data with every mistake named, reached by how many months of how many."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.standard import example
from collector.standard.consequences import consequences_of, levels, reached, shipped

NAME = {"en": "Warning", "ur": "W"}
LEVEL: dict[str, Any] = {"id": "warning", "months_below": 2, "within_months": 3, "name": NAME}


def test_a_version_without_levels_has_the_example_and_one_with_them_its_own() -> None:
    standard = example()
    assert consequences_of(standard) == shipped()
    mine = levels([LEVEL], "x", [])
    assert consequences_of(dataclasses.replace(standard, consequences=mine)) == mine


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"id": ""}, "id: "),
        ({"months_below": 0}, "months_below: "),
        ({"months_below": 4}, "is more than within_months (3) has"),
        ({"within_months": 25}, "within_months: "),
        ({"within_months": True}, "within_months: "),
        ({"name": {"en": "Warning"}}, "name: ur"),
        ({"name": "Warning"}, "name"),
        ({"fine": 1}, "fine"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], mistake: str) -> None:
    mistakes: list[str] = []
    assert levels([LEVEL | change], "file", mistakes) == ()
    assert any(mistake in text for text in mistakes), mistakes


def test_two_of_one_name_are_a_mistake() -> None:
    mistakes: list[str] = []
    levels([LEVEL, LEVEL], "file", mistakes)
    assert "warning: id: is used by two consequence tables; give each its own" in mistakes[0]


@pytest.mark.parametrize(
    ("below", "level"),
    [
        ([], None),
        ([False, True, True, True], None),  # meets again
        ([True], "notice"),
        ([True, False, True], "plan"),
        ([True, False, False, True], "notice"),
        ([True, True, False, True], "inspection"),
        ([True, True, True, True, True, True], "review"),
        ([True] + [False] * 23 + [True], "notice"),
    ],
)
def test_the_last_level_that_is_reached_holds(below: list[bool], level: str | None) -> None:
    found = reached(below, shipped())
    assert (found.id if found else None) == level


@given(st.lists(st.booleans(), max_size=12))
def test_a_month_less_below_is_never_a_higher_level(below: list[bool]) -> None:
    order = [None, *shipped()]
    before = order.index(reached(below, shipped()))
    for number, was in enumerate(below):
        if was:
            better = [*below[:number], False, *below[number + 1 :]]
            assert order.index(reached(better, shipped())) <= before
