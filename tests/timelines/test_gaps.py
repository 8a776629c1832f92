"""A day with everything in it: each dark hour gets its cause, and neighbours have a say."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from agent.wire import BootReading, LinkReading, Reading, UpsReading
from collector.judging.outages import gaps, mains_cuts
from collector.store import schema

Story = Any  # the fixture's class lives in conftest.py, which cannot be imported by name

WELL = LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=0.0, fault_place="none")
MAINS = UpsReading(output_state="online", battery_replace=False, battery_status="normal", battery_charge_pct=100.0)
BATTERY = UpsReading(output_state="battery", battery_replace=False, battery_status="normal", battery_charge_pct=70.0)
LOW = UpsReading(output_state="battery", battery_replace=False, battery_status="low", battery_charge_pct=4.0)


def lost(place: Any) -> LinkReading:
    return LinkReading(loss_pct=100.0, fault_place=place)


def boot(end: Any, minutes: float) -> BootReading:
    return BootReading(previous_end=end, dark_s=60 * minutes)


def kept(story: Story, received: str, hour: int, first: int, last: int, *readings: Reading) -> list[Any]:
    """Readings of each minute, delivered only then."""
    return [
        item for minute in range(first, last) for item in story.at(received, *readings, taken=f"{hour:02}:{minute:02}")
    ]


def named(story: Story, center: str = "LHR-001") -> list[tuple[str, str]]:
    """The causes of a center's gaps, in the order of the day."""
    with story.store.read() as conn:
        return [(gap.cause.name, gap.cause.grade) for gap in reversed(gaps.gaps_of(conn, center))]


def test_each_dark_hour_of_a_day_gets_its_cause(story: Story) -> None:
    well = (MAINS, WELL)
    story.plays(
        story.every_minute("09:00", "10:00", *well),
        story.at("10:30", boot("power", 30.0), *well),  # the battery was low at 09:59
        story.at("09:59", LOW),
        story.every_minute("10:31", "11:00", *well),
        kept(story, "11:21", 11, 0, 20, MAINS, lost("isp")),
        story.every_minute("11:20", "12:00", *well),
        kept(story, "12:21", 12, 0, 20, MAINS, lost("lan")),
        story.every_minute("12:20", "13:00", *well),
        story.at("13:20", boot("reboot", 20.0), *well),
        story.every_minute("13:21", "14:00", *well),
        story.at("14:20", boot("killed", 20.0), *well),
        story.every_minute("14:21", "15:00", *well),
        kept(story, "15:21", 15, 0, 20, BATTERY, lost("isp")),
        story.every_minute("15:20", "16:00", *well),
    )
    assert named(story) == [
        ("ups_exhausted", "shown"), ("isp_down", "shown"), ("lan_fault", "shown"), ("switched_off", "shown"),
        ("agent_stopped", "shown"), ("mains_carried", "shown"),
    ]  # fmt: skip
    with story.store.read() as conn:
        (found,) = mains_cuts.cuts_of(conn, "LHR-001").values()
    assert [cut.carried for cut in found] == [False, True]


def test_a_cut_that_ends_within_one_moment_stays_when_what_came_after_it_comes_late(story: Story) -> None:
    """As readings of a boot that never synchronised may: the last on battery has the time of the first on mains."""
    story.plays(
        story.every_minute("09:00", "10:00", MAINS),
        story.every_minute("10:00", "10:20", BATTERY),
        story.at("10:20", BATTERY),
        story.at("10:21", MAINS, taken="10:20"),
        story.every_minute("11:00", "11:10", MAINS),
        kept(story, "11:11", 10, 40, 45, MAINS),
        until="11:20",
    )
    with story.store.read() as conn:
        (found,) = mains_cuts.cuts_of(conn, "LHR-001").values()
    assert [(cut.to_ms - cut.from_ms) // 60_000 for cut in found] == [20]


def test_of_readings_that_have_moved_no_cut_stays_where_they_were(story: Story) -> None:
    """As those of a boot do whose clock is told better: by milliseconds too."""
    story.plays(story.every_minute("09:00", "10:00", MAINS), story.every_minute("10:00", "10:20", BATTERY))
    u = schema.readings["ups"].c
    with story.store.write() as conn:
        (before,) = mains_cuts.cuts_of(conn, "LHR-001").values()
        span = conn.execute(sa.select(sa.func.min(u.wall_ms) - 15, sa.func.max(u.wall_ms))).one()
        conn.execute(sa.update(schema.readings["ups"]).values(wall_ms=u.wall_ms - 15))
        mains_cuts.recompute(conn, {"LHR-001": (span[0], span[1])}, span[1])
        (after,) = mains_cuts.cuts_of(conn, "LHR-001").values()
    assert [cut.from_ms for cut in after] == [cut.from_ms - 15 for cut in before]


def test_neighbours_confirm_one_claim_of_a_cut_and_contradict_another(story: Story) -> None:
    for code in ("A", "B", "C", "D", "LIAR"):
        story.add_center(code, feeder="F1")
    claim = (boot("power", 30.0), MAINS, WELL)
    true = [part for code in "ABCD" for part in story.at("10:29", *claim, center=code)]
    story.plays(
        *(story.every_minute("09:00", "10:00", LOW, WELL, center=code) for code in "ABCD"),
        true,
        *(story.every_minute("10:30", "13:00", MAINS, WELL, center=code) for code in "ABCD"),
        story.every_minute("10:30", "12:00", MAINS, WELL, center="LIAR"),
        story.at("12:00", LOW, center="LIAR"),
        story.at("12:30", *claim, center="LIAR"),
        until="13:00",
    )
    assert [named(story, code) for code in "ABCD"] == [[("ups_exhausted", "confirmed")]] * 4
    assert named(story, "LIAR") == [("ups_exhausted", "unsupported")]
