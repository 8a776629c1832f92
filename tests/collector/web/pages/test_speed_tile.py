"""What a center's page says of its newest speed test besides the figures."""

from __future__ import annotations

import html
import re

import msgspec
import pytest

from agent.wire import Failure, SpeedReading
from collector.store import schema


def said(served, cast, reading: SpeedReading, lang: str = "en") -> str:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    cast.add_latest(served.store, "LHR-014", reading, cast.NOW_MS - 20_000)
    with served.client() as client:
        page = client.get(f"/centers/LHR-014?lang={lang}").text
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("\xa0", " ").split())


def test_loaded_latency_is_graded(served, cast) -> None:
    page = said(served, cast, msgspec.structs.replace(cast.SPEED, loaded_rtt_up_ms=181.0))
    assert "Delay under load: grade C (+ 43 ms down, + 160 ms up)" in page


def test_a_test_that_was_left_out_says_why_in_words(served, cast) -> None:
    skipped = SpeedReading(failure=Failure("skipped_on_battery", "the gateway runs on the UPS's battery"))
    page = said(served, cast, skipped)
    assert "Not tested: on the UPS's battery" in page
    assert "skipped_on_battery" not in page.split("Verdicts")[0]


@pytest.mark.parametrize(
    ("cause", "words"),
    [("timeout", "no answer in time"), ("skipped_<b>", "skipped <b>"), ("title", "title")],
)
def test_any_other_cause_is_a_failure_and_one_that_is_not_known_is_shown_as_it_came(
    served, cast, cause: str, words: str
) -> None:
    assert f"Failed: {words}" in said(served, cast, SpeedReading(failure=Failure(cause)))


def test_the_backup_line_is_named(served, cast) -> None:
    assert "On the metered backup line" in said(served, cast, msgspec.structs.replace(cast.SPEED, failover=True))
