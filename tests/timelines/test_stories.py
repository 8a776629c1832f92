"""Whole stories, from readings to what people are told. See conftest.py for the language."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, decode
from agent.wire import Failure, LinkReading, SeatsReading, SpeedReading, UpsReading
from collector.judging import silence
from collector.judging.current import current_verdicts, latest_readings
from collector.judging.outages import mains_cuts
from collector.store import schema

Story = Any  # the fixture's class lives in conftest.py, which cannot be imported by name

WELL = LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=0.0)
LOSSY = LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=30.0)
MAINS = UpsReading(output_state="online", battery_replace=False, battery_status="normal", runtime_s=3600.0)
DRY = UpsReading(output_state="battery", battery_replace=False, battery_status="low", runtime_s=100.0)


def test_a_good_day_tells_nobody_anything(story: Story) -> None:
    story.plays(story.every_minute("09:00", "10:00", WELL, MAINS))
    story.wants()
    assert story.changes() == []


def test_a_lossy_line_is_told_once_and_its_end_once(story: Story) -> None:
    story.plays(
        story.every_minute("09:00", "09:30", WELL),
        story.every_minute("09:30", "10:00", LOSSY),
        story.every_minute("10:00", "10:15", WELL),
    )
    # Six of eight readings raise, five good ones clear.
    story.wants(("09:35", "09:35", "raised", "internet.loss"), ("10:04", "10:04", "clear", "internet.loss"))


def test_a_cut_of_the_line_is_silence_then_and_history_later(story: Story) -> None:
    outage = [
        item
        for minute in range(30)
        for item in story.at("10:31", LOSSY, taken=f"10:{minute:02}")
    ]  # fmt: skip
    story.plays(
        story.every_minute("09:00", "10:00", WELL),
        story.at("10:30", WELL),  # live goes before the backlog
        outage,
        story.every_minute("10:32", "10:40", WELL),
    )
    # The backlog is thirty readings of a dead line, and moves no flag: newer ones have been judged.
    story.wants(("10:15", "10:16", "raised", "presence.silent"), ("10:31", "10:33", "clear", "presence.silent"))


def test_a_backlog_cannot_clear_a_flag_either(story: Story) -> None:
    story.plays(
        story.every_minute("09:00", "09:30", LOSSY),
        [item for minute in range(20) for item in story.at("09:30", WELL, taken=f"09:{minute:02}")],
        story.every_minute("09:31", "09:40", LOSSY),
    )
    story.wants(("09:05", "09:05", "raised", "internet.loss"))


def test_a_slow_evening_is_told_when_three_of_four_tests_are_slow(story: Story) -> None:
    def test(when: str, mbps: float, **more: Any) -> list[Any]:
        return story.at(when, SpeedReading(download_mbps=mbps, upload_mbps=20.0, **more))

    story.plays(
        test("09:10", 24),
        test("11:00", 3),
        test("12:00", 30),
        test("13:00", 1, purpose="self-test"),  # does not count
        test("14:00", 2, flags=["not_saturated"]),  # proves nothing
        test("17:00", 4),
        test("19:30", 5),
        until="19:31",
    )
    assert [notice for notice in story.told() if notice[2] != "presence.silent"] == [
        ("19:30", "raised", "internet.download", "LHR-001")
    ]


def test_a_flapping_line_gives_one_flag_not_a_storm(story: Story) -> None:
    parts = [story.at(f"10:{minute:02}", LOSSY if minute % 4 else WELL) for minute in range(60)]
    story.plays(*parts)
    story.wants(("10:07", "10:08", "raised", "internet.loss"))


def test_a_fault_that_ends_at_closing_time_is_not_told_in_the_morning(story: Story) -> None:
    broken = SeatsReading(known=10, healthy=4, unhealthy=6, missing=0, off=0)
    whole = SeatsReading(known=10, healthy=10, unhealthy=0, missing=0, off=0)
    story.plays(
        story.every_minute("20:00", "20:45", whole),
        story.every_minute("20:45", "23:00", broken),
        story.every_minute("+1 08:50", "+1 09:10", broken),
        story.every_minute("+1 09:10", "+1 09:15", whole),
    )
    story.wants()
    assert [decode(row.reason).code for row in story.changes("seats.usable")] == [
        "change.first_below", "change.closed_before_it_was_decided", "change.first_below", "change.met_again_in_time",
    ]  # fmt: skip


def test_load_shedding_is_told_only_when_the_battery_is_nearly_empty(story: Story) -> None:
    on_battery = UpsReading(output_state="battery", battery_replace=False, battery_status="normal", runtime_s=900.0)
    story.plays(
        story.every_minute("10:00", "10:10", MAINS),
        story.every_minute("10:10", "11:10", on_battery),
        story.every_minute("11:10", "11:20", DRY),
        story.every_minute("11:20", "11:40", MAINS),
    )
    story.wants(
        ("11:11", "11:11", "raised", "power.battery_low"), ("11:21", "11:21", "clear", "power.battery_low")
    )  # fmt: skip
    assert [(story.clock(row.at_ms), row.was, row.now) for row in story.changes("power.mains")] == [
        ("10:10", "clear", "raised"), ("11:20", "raised", "clear"),
    ]  # fmt: skip


def test_a_low_battery_of_one_look_is_not_urgent(story: Story) -> None:
    on_battery = UpsReading(output_state="battery", battery_replace=False, battery_status="normal")
    story.plays(
        story.every_minute("10:00", "10:10", MAINS),
        *(story.at(f"10:{minute}", DRY if minute % 2 else on_battery) for minute in range(10, 20)),
        story.at("10:20", MAINS),
        story.at("10:21", DRY),
        story.every_minute("10:22", "10:40", MAINS),
    )
    story.wants()
    assert story.changes("power.battery_low") == []


@pytest.mark.parametrize("left", [{"battery_charge_pct": 97.0, "runtime_s": 100.0}, {"runtime_s": 3000.0}])
def test_a_low_battery_that_is_nearly_full_is_not_urgent(story: Story, left: dict[str, float]) -> None:
    reading = UpsReading(output_state="battery", battery_replace=False, battery_status="low", **left)
    story.plays(story.every_minute("10:00", "10:10", MAINS), story.every_minute("10:10", "10:40", reading))
    story.wants()


def test_a_low_battery_is_not_urgent_once_the_mains_are_back(story: Story) -> None:
    charging = UpsReading(output_state="online", battery_replace=False, battery_status="low", battery_charge_pct=4.0)
    story.plays(story.every_minute("10:00", "10:10", DRY), story.every_minute("10:10", "10:40", charging))
    story.wants(("10:01", "10:01", "raised", "power.battery_low"), ("10:11", "10:11", "clear", "power.battery_low"))


def test_a_battery_that_is_tested_is_no_cut(story: Story) -> None:
    tested = UpsReading(output_state="battery", battery_replace=False, battery_status="normal", self_test="running")
    story.plays(
        story.every_minute("10:00", "10:10", MAINS),
        story.every_minute("10:10", "10:12", tested),
        story.every_minute("10:12", "10:20", MAINS),
    )
    story.wants()
    assert story.changes("power.mains") == []
    with story.store.read() as conn:
        assert mains_cuts.cuts_of(conn, "LHR-001") == {}


def test_a_cut_that_begins_in_a_battery_test_is_a_cut(story: Story) -> None:
    on_battery = UpsReading(output_state="battery", battery_replace=False, battery_status="normal")
    tested = UpsReading(output_state="battery", battery_replace=False, battery_status="normal", self_test="running")
    story.plays(
        story.every_minute("10:00", "10:10", MAINS),
        story.every_minute("10:10", "10:11", tested),
        story.every_minute("10:11", "10:30", on_battery),
        story.every_minute("10:30", "10:35", MAINS),
    )
    assert [(story.clock(row.at_ms), row.now) for row in story.changes("power.mains")] == [
        ("10:11", "raised"), ("10:30", "clear"),
    ]  # fmt: skip
    with story.store.read() as conn:
        assert [story.clock(cut.from_ms) for cut in mains_cuts.cuts_of(conn, "LHR-001")[""]] == ["10:11"]


def test_a_ups_that_stops_answering_is_told_after_ten_minutes(story: Story) -> None:
    gone = UpsReading(failure=Failure("timeout"))
    story.plays(
        story.every_minute("10:00", "10:10", MAINS),
        story.every_minute("10:10", "10:25", gone),
        story.every_minute("10:25", "10:30", MAINS),
    )
    story.wants(("10:20", "10:20", "raised", "power.on_ups"), ("10:27", "10:27", "clear", "power.on_ups"))


def test_silence_counts_open_time_only(story: Story) -> None:
    story.plays(story.every_minute("20:30", "20:56", WELL), until="+1 09:30")
    # Five minutes of silence before closing, ten after opening: the night is nobody's silence.
    story.wants(("+1 09:11", "+1 09:12", "raised", "presence.silent"))


def test_a_center_that_switches_off_at_closing_time_is_not_silent(story: Story) -> None:
    story.plays(story.every_minute("20:00", "21:01", WELL), story.every_minute("+1 09:05", "+1 09:30", WELL))
    story.wants()


def test_a_silent_center_is_judged_once_until_it_is_heard(story: Story) -> None:
    story.plays(story.every_minute("10:00", "10:10", WELL), until="12:00")
    story.wants(("10:24", "10:25", "raised", "presence.silent"))
    with story.store.read() as conn:
        assert conn.scalar(sa.select(schema.pulse.c.due_ms)) is None


def test_a_center_under_suspension_is_not_missed(story: Story) -> None:
    story.add_center("LHR-001", lifecycle="suspended")
    story.plays(story.every_minute("10:00", "10:10", WELL), until="11:00")
    story.wants()


def fleet(story: Story, first: str, end: str, codes: range) -> list[Any]:
    return [item for code in codes for item in story.every_minute(first, end, WELL, center=f"KHI-{code:03}")]


def test_if_most_fall_silent_at_once_the_finding_is_that_the_collector_is_deaf(story: Story) -> None:
    for code in range(10):
        story.add_center(f"KHI-{code:03}")
    story.plays(
        fleet(story, "10:00", "10:10", range(10)),
        fleet(story, "10:10", "11:00", range(10, 10)),
        fleet(story, "11:00", "11:40", range(8)),  # two stay away
        until="11:40",
    )
    # One finding, no center accused; when it hears again, those still away get their whole time first.
    story.wants(
        ("10:24", "10:26", "raised", "collector.deaf", "*"),
        ("11:00", "11:01", "clear", "collector.deaf", "*"),
        ("11:15", "11:17", "raised", "presence.silent", "KHI-008"),
        ("11:15", "11:17", "raised", "presence.silent", "KHI-009"),
    )


def test_a_few_silent_among_many_are_told_each(story: Story) -> None:
    for code in range(10):
        story.add_center(f"KHI-{code:03}")
    story.plays(fleet(story, "10:00", "10:10", range(10)), fleet(story, "10:10", "10:40", range(3, 10)))
    assert {notice[3] for notice in story.told()} == {"KHI-000", "KHI-001", "KHI-002"}
    assert {notice[2] for notice in story.told()} == {"presence.silent"}


def test_of_very_few_centers_all_may_be_silent(story: Story) -> None:
    for code in range(4):
        story.add_center(f"KHI-{code:03}")
    story.plays(fleet(story, "10:00", "10:10", range(4)), until="10:40")
    assert {notice[2] for notice in story.told()} == {"presence.silent"}
    assert len(story.told()) == 4


def test_closed_centers_do_not_make_the_collector_deaf(story: Story) -> None:
    for code in range(10):
        story.add_center(f"KHI-{code:03}", opening="Mon-Sat 09:00-21:00" if code else "always")
    story.plays(fleet(story, "20:30", "20:57", range(10)), until="21:30")
    story.wants(("21:11", "21:12", "raised", "presence.silent", "KHI-000"))


def test_time_in_which_the_collector_did_not_run_is_nobodys_silence(story: Story) -> None:
    story.plays(story.every_minute("10:00", "10:10", WELL))
    at_noon = 1_769_972_400_000 + 12 * 3_600_000
    with story.store.write() as conn:
        silence.listening_again(conn, story.standards, at_noon)
        assert silence.sweep(conn, story.standards, at_noon + 14 * 60_000).changed == 0
    with story.store.write() as conn:
        assert silence.sweep(conn, story.standards, at_noon + 15 * 60_000).changed == 1


def test_a_short_restart_does_not_put_silence_off(story: Story) -> None:
    story.plays(story.every_minute("10:00", "10:10", WELL))
    at_ten_past = 1_769_972_400_000 + (10 * 60 + 12) * 60_000
    with story.store.write() as conn:
        before = conn.scalar(sa.select(schema.pulse.c.due_ms))
        silence.listening_again(conn, story.standards, at_ten_past)
        assert conn.scalar(sa.select(schema.pulse.c.due_ms)) == before


def test_a_clock_that_runs_fast_cannot_freeze_a_flag(story: Story) -> None:
    story.plays(
        story.at("10:00", LOSSY, taken="15:00"),  # five hours ahead
        story.every_minute("10:01", "10:20", LOSSY),
    )
    story.wants(("10:05", "10:06", "raised", "internet.loss"))


def test_each_page_line_has_a_verdict_or_the_reason_why_not(story: Story) -> None:
    story.plays(
        story.every_minute("10:00", "10:20", LOSSY, MAINS),
        story.at("10:19", SpeedReading(download_mbps=900.0, upload_mbps=900.0, purpose="self-test")),
    )
    now_ms = 1_769_972_400_000 + (10 * 60 + 20) * 60_000
    with story.store.read() as conn:
        newest = latest_readings(conn, story.known.code)
        current, late = (
            {one.criterion.id: one for one in current_verdicts(conn, story.known, newest, story.standards, at_ms)}
            for at_ms in (now_ms, now_ms + 30 * 60_000)
        )
    of_the_collector = {"collector.deaf", "collector.clock", "collector.audit"}
    assert set(current) == set(story.standards.versions[0].by_id) - of_the_collector
    loss = current["internet.loss"]
    assert (loss.verdict.word, loss.verdict.value, loss.flag.state) == ("below", 30.0, "raised")
    assert current["power.on_ups"].verdict.word == "meets"
    assert current["internet.download"].verdict.reason == Reason("verdict.self_test")
    assert current["seats.usable"].verdict.reason == Reason("verdict.no_reading")
    assert current["presence.silent"].verdict.word == "meets"
    # Half an hour later the same readings say nothing about now, but the flag stands.
    assert late["internet.loss"].verdict.word == "unknown"
    assert late["internet.loss"].verdict.reason == Reason.of("verdict.old", age_s=1860, fresh_s=300)
    assert late["internet.loss"].flag.state == "raised"
    assert late["presence.silent"].verdict.word == "below"
