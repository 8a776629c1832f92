"""Who is told, when, and why: stories from readings to the telephones of persons."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from collector.common.scope import Scope
from collector.desk import work
from collector.desk.routing import tables
from collector.desk.routing.plans import PlanStep, parse_targets
from collector.desk.routing.rota import Rota, RotaOverride
from collector.desk.routing.routes import AlertRoute
from collector.store import schema
from tests.timelines.plays.desk_play import BATTERY, LOSSY, MAINS, MINUTE_MS, WELL, DeskPlay, ms

Story = Any
LAHORE = Scope(district=frozenset({"Lahore"}))
HOME = {"district": "Lahore", "province": "Punjab", "city": "Lahore", "owner": "Trust", "isp": "PTCL"}


@pytest.fixture
def desk(story: Story) -> DeskPlay:
    play = DeskPlay(story)
    play.has_account("Omar", "operator", Scope(owner=frozenset({"Trust"})))
    play.has_account("Ayesha", "desk", LAHORE)
    play.has_account("Lubna", "desk", LAHORE)
    play.has_account("Root", "admin")
    with story.store.write() as conn:
        tables.add_route(conn, AlertRoute(), "Root", 1)
        tables.add_rota(conn, Rota("desk", ("ayesha",), 0, scope=LAHORE), "Root", 1)
        tables.add_rota(conn, Rota("lead", ("lubna",), 0, scope=LAHORE), "Root", 1)
    return play


def lossy(play: DeskPlay, code: str, until: str, first: str = "10:00") -> list[Any]:
    return play.minutes([code], "09:50", first, WELL) + play.minutes([code], first, until, LOSSY)


def test_an_incident_that_nobody_looks_after_climbs_every_level(desk: DeskPlay) -> None:
    (code,) = desk.fleet(1, "F", **HOME)
    desk.plays(lossy(desk, code, "10:12"), until="10:12")
    (opened,) = desk.messages("omar")
    assert opened[1] == "F-000: Packet loss is below the standard"
    assert "You get this: a center of yours is in it" in desk.texts("omar")[0]
    since_ms = ms(desk.story, opened[0])
    for after_min, person in ((30, "ayesha"), (240, "lubna"), (1440, "root")):
        desk.now_ms = since_ms + after_min * MINUTE_MS - 1000
        desk.look()
        assert desk.messages(person) == []
        desk.now_ms += 1000
        desk.look()
        assert desk.messages(person) == [
            (desk.story.clock(desk.now_ms), "F-000: nobody looks after it yet (Internet line down)")
        ]
    assert desk.acts(1) == ["opened", "escalated", "escalated", "escalated"]
    assert len(desk.messages()) == 1  # the shared channel is told once


def test_an_acknowledgement_stops_the_climb_until_it_runs_out(desk: DeskPlay) -> None:
    (code,) = desk.fleet(1, "F", **HOME)

    def ack(play: DeskPlay) -> None:
        with play.story.store.write() as conn:
            work.acknowledge(conn, 1, "Omar", "the technician is on his way", play.now_ms, 3600)

    desk.plays(lossy(desk, code, "12:30"), until="12:29", then={"10:20": ack})
    titles = [title.partition(": ")[2] for _, title in desk.messages("omar")]
    assert titles == ["Packet loss is below the standard", "was acknowledged and still lasts (Internet line down)"]
    (told,) = desk.messages("ayesha")
    assert told[0] == "11:50"  # 30 minutes after the acknowledgement ran out
    assert desk.acts(1) == ["opened", "acknowledged", "ack_expired", "escalated"]


def test_the_others_learn_who_looks_after_it_and_how_it_ended(desk: DeskPlay) -> None:
    (code,) = desk.fleet(1, "F", **HOME)

    def ack(play: DeskPlay) -> None:
        with play.story.store.write() as conn:
            work.acknowledge(conn, 1, "Ayesha", "called PTCL", play.now_ms)

    well = desk.minutes([code], "11:00", "11:30", WELL)
    desk.plays(lossy(desk, code, "11:00"), well, until="11:29", then={"10:50": ack})
    assert [title for _, title in desk.messages("omar")] == [
        "F-000: Packet loss is below the standard",
        "F-000: Ayesha looks after it (Internet line down)",
        "F-000: Packet loss is well again",
    ]
    assert [title.partition(": ")[2] for _, title in desk.messages("ayesha")] == [
        "nobody looks after it yet (Internet line down)", "Packet loss is well again",
    ]  # fmt: skip
    assert desk.messages("lubna") == []


def two_shifts(desk: DeskPlay) -> str:
    """A center whose plan names an officer of the night and one of the day at once."""
    (code,) = desk.fleet(1, "F", **HOME)
    desk.has_account("Noor", "desk", LAHORE, hours="Mon-Fri 20:00-24:00")
    desk.has_account("Dawud", "desk", LAHORE, hours="Mon-Fri 09:00-17:00")
    with desk.story.store.write() as conn:
        steps = [PlanStep(0, parse_targets("person Noor | person Dawud"))]
        tables.set_plan(conn, "example", tuple(steps), "Root", 1)
    return code


def test_an_officer_off_duty_sleeps_and_the_one_on_duty_is_called(desk: DeskPlay) -> None:
    code = two_shifts(desk)
    desk.plays(lossy(desk, code, "10:12"), until="10:12")
    assert desk.messages("noor") == []
    assert len(desk.messages("dawud")) == 1


def test_an_acknowledgement_that_runs_out_at_night_calls_whoever_is_on_duty_then(desk: DeskPlay) -> None:
    code = two_shifts(desk)

    def ack(play: DeskPlay) -> None:
        with play.story.store.write() as conn:
            work.acknowledge(conn, 1, "Dawud", "the technician comes in the afternoon", play.now_ms, 12 * 3600)

    desk.plays(lossy(desk, code, "10:12"), until="10:12", then={"10:12": ack})
    lasts = [("22:12", "F-000: was acknowledged and still lasts (Internet line down)")]
    for when, texts in (("22:11", []), ("22:12", lasts), ("22:13", lasts), ("+1 09:01", lasts)):
        desk.now_ms = ms(desk.story, when)
        desk.look()
        assert desk.messages("noor") == texts
    assert desk.acts(1) == ["opened", "acknowledged", "ack_expired"]


def test_an_officer_off_duty_reads_in_the_morning_how_it_ended(desk: DeskPlay) -> None:
    """Told at ten; the night brings an acknowledgement that runs out, and the end: one message at nine."""
    code = two_shifts(desk)

    def ack(play: DeskPlay) -> None:
        with play.story.store.write() as conn:
            work.acknowledge(conn, 1, "Dawud", "the technician comes in the afternoon", play.now_ms, 12 * 3600)

    desk.plays(lossy(desk, code, "10:12"), until="10:12", then={"10:12": ack})
    desk.now_ms = ms(desk.story, "22:12")
    desk.look()
    (_, opened), (when, lasts) = desk.messages("dawud")
    assert (when, lasts) == ("+1 09:00", "F-000: was acknowledged and still lasts (Internet line down)")
    desk.now_ms = ms(desk.story, "22:20")
    desk.plays(desk.minutes([code], "22:21", "22:50", WELL), until="22:50")
    assert [title for _, title in desk.messages("noor")] == [lasts, "F-000: Packet loss is well again"]
    with desk.story.store.read() as conn:
        rows = conn.execute(sa.select(schema.alerts).where(schema.alerts.c.person == "dawud")).all()
    assert [(row.title, row.state, desk.story.clock(row.next_ms)) for row in rows] == [
        (opened, "waiting", "10:05"),
        (lasts, "failed", "+1 09:00"),
        ("F-000: Packet loss is well again", "waiting", "+1 09:00"),
    ]


def test_an_override_calls_whoever_stands_in(desk: DeskPlay) -> None:
    (code,) = desk.fleet(1, "F", **HOME)
    with desk.story.store.write() as conn:
        made = RotaOverride("lubna", ms(desk.story, "00:00"), ms(desk.story, "23:00"), "Ayesha is ill")
        tables.add_override(conn, 1, made, "Root", 1)
    desk.plays(lossy(desk, code, "10:40"), until="10:40")
    assert desk.messages("ayesha") == []
    assert len(desk.messages("lubna")) == 1


def test_a_feeder_is_one_message_to_each_operator_with_their_own_centers(desk: DeskPlay) -> None:
    """Twelve centers of two owners fail together: each operator reads of one incident, and of their centers alone."""
    desk.has_account("Other", "operator", Scope(owner=frozenset({"Others"})))
    mine = desk.fleet(6, "M", feeder="F-7", **HOME)
    others = desk.fleet(6, "O", feeder="F-7", **{**HOME, "owner": "Others"})
    fine = desk.fleet(20, "W", feeder="F-8", **HOME)
    desk.plays(
        desk.minutes([*mine, *others, *fine], "09:50", "10:00", WELL, MAINS),
        desk.minutes([*mine, *others], "10:00", "10:20", LOSSY, BATTERY),
        desk.minutes(fine, "10:00", "10:20", WELL, MAINS),
        until="10:19",
    )
    (opened,) = desk.messages("other")
    assert "12 centers in trouble at once" in opened[1]
    (text,) = desk.texts("other")
    assert "O-000" in text
    assert "M-000" not in text


def test_a_snoozed_incident_calls_nobody(desk: DeskPlay) -> None:
    (code,) = desk.fleet(1, "F", **HOME)

    def snooze(play: DeskPlay) -> None:
        with play.story.store.write() as conn:
            work.snooze(conn, 1, ms(play.story, "11:00"), "Omar", "announced work", play.now_ms)

    desk.plays(lossy(desk, code, "11:40"), until="11:39", then={"10:20": snooze})
    assert [when for when, _ in desk.messages("ayesha")] == ["11:30"]  # the pause ended at 11:00
