"""The clock of the centers: one place names it, and its offset is what the time zone database says."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from agent.common import center_time
from tests.helpers import ROOT

SOURCES = ("*.py", "*.js", "*.html")


def test_the_offset_is_that_of_the_time_zone_database() -> None:
    for year in range(2010, 2041):
        for month in (1, 7):
            at = datetime(year, month, 1, tzinfo=UTC)
            assert at.astimezone(ZoneInfo(center_time.TZ)).utcoffset() == center_time.CENTER_TIME.utcoffset(None)


def test_no_other_source_names_the_time_zone() -> None:
    paths = [path for top in ("agent", "collector") for kind in SOURCES for path in (ROOT / top).rglob(kind)]
    named = [path for path in paths if center_time.TZ in path.read_text("utf-8") and "vendor" not in path.parts]
    assert [path.name for path in named] == ["center_time.py"], "import TZ of agent.common.center_time"
