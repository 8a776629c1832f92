"""The judge's own sentences, made by the judge, are all known to the pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest

from agent import wire
from collector.flags import judge
from collector.flags.machine import ChangeReason
from collector.flags.witness import Word
from collector.standard import example
from collector.web import i18n, reasons


@dataclass(frozen=True)
class Place:
    tier: str = "one"
    seats_promised: int = 20


READINGS = (
    wire.LinkReading(rtt_median_ms=140.0, jitter_ms=1.5, loss_pct=0.0),
    wire.LinkReading(failure=wire.Failure("timeout", "no answer")),
    wire.SpeedReading(purpose="self-test", download_mbps=90.0),
    wire.SpeedReading(purpose="manual", download_mbps=90.0),
    wire.SpeedReading(download_mbps=12.0, upload_mbps=4.0),
    wire.SpeedReading(download_mbps=12.0, flags=["not_saturated"]),
    wire.UpsReading(output_state="battery", battery_status="low", runtime_s=60.0),
    wire.UpsReading(output_state="bypass", battery_replace=True),
    wire.SeatsReading(healthy=20, off=0),
    wire.GatewayReading(clock_offset_ms=12.0),
    wire.GatewayReading(),
)


def sentences() -> set[str]:
    found = {
        judge.judge(criterion, reading, Place()).reason
        for reading in READINGS
        for criterion in example().criteria
        if criterion.reading == type(reading).__struct_config__.tag
    }
    return found | {f"not enough data: {each}" for each in found} | {
        "not enough data: no reading yet",
        "not enough data: the last reading is 12 minutes old, it speaks for 5",
        "12 ms; at most 100 ms is asked (closed now: it moves no flag)",
        "closed before it was decided: the center is closed",
        *(f"not enough data: not witnessed: {word}: whatever the case" for word in get_args(Word)),
        "18 Mbit/s; at least 20 Mbit/s is asked; but 40 Mbit/s is claimed, so it proves no shortfall",
    }  # fmt: skip


@pytest.mark.parametrize("lang", tuple(i18n.languages()))
def test_every_sentence_of_the_judge_is_said_in_the_readers_language(lang: str) -> None:
    found = sentences()
    assert len(found) > 25
    for reason in found:
        said = reasons.said(i18n.words(lang), reason)
        assert '<span lang="en"' not in said, reason


@pytest.mark.parametrize("reason", get_args(ChangeReason))
def test_every_change_says_why_in_urdu(reason: str) -> None:
    said = reasons.said(i18n.words("ur"), f"{reason}: 12 ms; at most 100 ms is asked")
    assert reason not in said
    assert '<bdi dir="ltr">100 ms</bdi>' in said


def test_a_figure_keeps_what_it_is_held_against() -> None:
    said = reasons.said(i18n.words("en"), "12.4 Mbit/s; at least 40 Mbit/s is asked (80 % of 50 Mbit/s)")
    plain = said.striptags()
    assert plain == "12.4 Mbit/s; at least 40 Mbit/s asked (80 % of 50 Mbit/s)"


def test_a_sentence_that_is_not_known_is_shown_as_it_stands_and_escaped() -> None:
    said = reasons.said(i18n.words("ur"), "the moon <b>is</b> full")
    assert said == '<span lang="en" dir="ltr">the moon &lt;b&gt;is&lt;/b&gt; full</span>'


def test_a_hostile_sentence_takes_no_long_time() -> None:
    for hostile in ("a; at least " * 2000, "recovering: " * 200, "x is " * 5000 + ";"):
        assert reasons.said(i18n.words("en"), hostile[:20_000])
