"""Whatever groups of centers work, closures and hours can be about, all who deal with them know."""

from __future__ import annotations

import argparse
import json

import pytest

from collector.commands import calendar as calendar_command
from collector.commands import window as window_command
from collector.common.groups import ATTRIBUTES, SHARED_FACTS, SharedFact, fact_of
from collector.desk.grouping import LEVELS
from collector.desk.symptoms import CenterPlace
from collector.register import calendar
from collector.register.calendar import CalendarEntry
from collector.register.center import Center
from tests.helpers import ROOT

WIDE = {"country"}  # of an incident alone


@pytest.mark.parametrize("fact", SHARED_FACTS)
def test_each_has_its_line_everywhere(fact: SharedFact) -> None:
    assert fact in ATTRIBUTES, "collector/common/groups.py: ATTRIBUTES"
    assert hasattr(CenterPlace("LHR-1"), ATTRIBUTES[fact]), "collector/desk/symptoms.py: CenterPlace"
    assert fact in calendar.SCOPES, "collector/register/calendar.py: SCOPES"
    for language in ("en", "ur"):
        texts = json.loads((ROOT / f"agent/common/text/{language}.json").read_text())
        assert f"calendar.scope.{fact}" in texts, f"agent/common/text/{language}.json: calendar.scope.{fact}"
    times = ["--from", "2026-12-06", "--to", "2026-12-07", "--reason", "work"]
    entry, window = ["add", "maintenance", f"--{fact}", "X"], ["add", fact, "X", "--mode", "run"]
    for command, words in ((calendar_command, entry), (window_command, window)):
        parser = argparse.ArgumentParser()
        command.arguments(parser)
        assert parser.parse_args([*words, *times]), command.__name__
    for name in ("register", "incidents"):
        assert f"`{fact}`" in (ROOT / f"docs/{name}.md").read_text(), f"docs/{name}.md: `{fact}`"


def test_incidents_are_of_the_same_groups() -> None:
    assert {level.scope for level in LEVELS} - WIDE <= set(SHARED_FACTS)
    place = CenterPlace("LHR-1", "F-1", "LHR-GBG", "PTCL", "Lahore", "Lahore", "Punjab")
    keys = {level.scope: level.key(place) for level in LEVELS if level.scope not in WIDE | {"provider"}}
    assert keys == {scope: fact_of(place, scope) for scope in keys}


@pytest.mark.parametrize("fact", SHARED_FACTS)
def test_an_entry_of_the_calendar_covers_those_that_share_the_fact(fact: SharedFact) -> None:
    usual = {"name": "x", "tier": "three", "seats_promised": 1, "opening": "always", "lifecycle": "declared"}
    one, other = (Center(**{**usual, "code": code, ATTRIBUTES[fact]: code}) for code in "AB")  # type: ignore[arg-type]
    entry = CalendarEntry(kind="closure", scope=fact, subject=" a", from_ms=0, to_ms=1)
    assert (entry.covers(one), entry.covers(other)) == (True, False)
