"""Hours, tier, seats and provider hold from a date: what was is kept, what will be waits for its day."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from agent import wire
from agent.common.center_time import TZ
from collector.__main__ import main
from collector.judging.evaluate import FreshReading, judge_readings
from collector.register import centers, dated, facts, imports
from collector.register.dated import DatedCenter
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

HEAD = "center,name,tier,seats_promised,isp,opening"
FIRST = "LHR-1,Johar Town,two,20,ISP-A,Mon-Sat 09:00-21:00"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


NOW = at("2026-11-20T15:00")


def imported(store: Store, *lines: str, now_ms: int = NOW, day: str = "") -> centers.Import:
    with store.write() as conn:
        origin = imports.Origin(by="Ayesha", second="Bilal")
        return imports.do_import(conn, lines, now_ms, dated.day_ms(day) if day else None, origin)


def held(store: Store) -> DatedCenter:
    with store.read() as conn:
        return dated.histories(conn, [centers.get(conn, "LHR-1")])["LHR-1"]


def openings(store: Store, *days: str) -> list[str]:
    return [held(store).at(at(day)).opening[8:] for day in days]


@pytest.fixture
def store(either_store: Store) -> Store:
    imported(either_store, HEAD, FIRST, now_ms=at("2026-09-01T10:00"))
    return either_store


def test_a_center_that_never_changed_is_what_it_was_registered_as(store: Store) -> None:
    assert [from_ms for from_ms, _ in held(store).past] == [at("2026-09-01T00:00")]
    assert held(store).at(0).opening == "Mon-Sat 09:00-21:00"


def test_a_change_holds_from_today_and_leaves_the_past(store: Store) -> None:
    imported(store, "center,opening", "LHR-1,Mon-Sat 10:00-16:00")
    assert openings(store, "2026-10-31T23:59", "2026-11-19T23:59", "2026-11-20T00:00") == [
        "09:00-21:00", "09:00-21:00", "10:00-16:00",
    ]  # fmt: skip
    with store.read() as conn:
        assert centers.get(conn, "LHR-1").opening == "Mon-Sat 10:00-16:00"
        found = [fact for fact in facts.facts_of(conn, ["LHR-1"])["LHR-1"] if fact.name == "opening"]
    assert [(fact.from_ms, fact.recorded_ms, fact.recorded_by) for fact in found] == [
        (at("2026-09-01T00:00"), at("2026-09-01T10:00"), "Ayesha"), (at("2026-11-20T00:00"), NOW, "Ayesha"),
    ]  # fmt: skip


def test_a_change_recorded_later_holds_from_its_day_up_to_the_next(store: Store) -> None:
    imported(store, "center,opening", "LHR-1,Mon-Sat 10:00-16:00")
    done = imported(store, "center,opening", "LHR-1,Mon-Sat 08:00-20:00", day="2026-10-10")
    assert [(item.before, item.after) for item in done.differences] == [("Mon-Sat 09:00-21:00", "Mon-Sat 08:00-20:00")]
    assert openings(store, "2026-10-09T23:59", "2026-10-10T00:00", "2026-11-19T23:00", "2026-11-20T00:00") == [
        "09:00-21:00", "08:00-20:00", "08:00-20:00", "10:00-16:00",
    ]  # fmt: skip
    with store.read() as conn:
        assert centers.get(conn, "LHR-1").opening == "Mon-Sat 10:00-16:00"


def test_what_is_recorded_for_a_day_to_come_waits_for_it(store: Store) -> None:
    imported(store, "center,tier,seats_promised", "LHR-1,one,40", day="2026-12-01")
    with store.write() as conn:
        assert centers.get(conn, "LHR-1").seats_promised == 20
        assert dated.apply_due(conn, at("2026-11-30T23:59")) == 0
        assert dated.apply_due(conn, at("2026-12-01T00:00")) == 1
        assert dated.apply_due(conn, at("2026-12-01T00:01")) == 0
        now = centers.get(conn, "LHR-1")
    assert (now.tier, now.seats_promised, now.isp, now.changed_ms) == ("one", 40, "ISP-A", at("2026-12-01T00:00"))
    assert held(store).at(at("2026-11-30T12:00")).seats_promised == 20


def test_a_correction_of_the_same_day_takes_the_place_of_the_mistake(store: Store) -> None:
    imported(store, "center,isp", "LHR-1,ISP-X")
    imported(store, "center,isp", "LHR-1,ISP-B")
    assert [values["isp"] for _, values in held(store).past] == ["ISP-A", "ISP-B"]


def test_what_nobody_is_judged_by_has_a_history_and_splits_no_month(store: Store) -> None:
    imported(store, "center,name", "LHR-1,Johar Town East")
    center = held(store)
    assert [values["name"] for _, values in center.past] == ["Johar Town", "Johar Town East"]
    assert len(center.segments(at("2026-11-01T00:00"), at("2026-12-01T00:00"))) == 1


def test_a_reading_from_before_the_change_is_judged_by_what_held_when_it_was_taken(store: Store) -> None:
    """A center that was open until 21:00 yesterday and is closed by 16:00 today: yesterday's evening still counts."""
    from collector.ingest.transaction import dated as used  # the room that ingest takes it from

    assert used is dated
    imported(store, "center,seats_promised,opening", "LHR-1,40,Mon-Sat 10:00-16:00")
    taken_ms = at("2026-11-19T20:00")
    reading = wire.SpeedReading(
        purpose="routine", engine="librespeed", download_mbps=15.0, upload_mbps=9.0, test_id="t" * 32
    )
    fresh = FreshReading("speed", reading, taken_ms, NOW)
    with store.write() as conn:
        now = centers.some_centers(conn, ["LHR-1"])
        then = dated.judged(conn, now, {"LHR-1": taken_ms})
        assert then["LHR-1"].at(taken_ms).seats_promised == 20
        assert dated.judged(conn, now, {"LHR-1": NOW}) is now  # nothing is asked where nothing can differ
        judge_readings(conn, then["LHR-1"], [fresh], timeless_standards(), NOW)
        flags = conn.execute(sa.select(schema.flags.c.criterion)).scalars().all()
    assert "internet.download" in flags


@pytest.mark.parametrize("text", ["2026-13-01", "yesterday", "", "2026-11-31"])
def test_a_day_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a day; write e\.g\. 2026-11-01"):
        dated.day_ms(text)


def test_the_command_records_from_a_day_and_shows_what_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "db")]
    (tmp_path / "a.csv").write_text(f"{HEAD}\n{FIRST}\n")
    (tmp_path / "b.csv").write_text("center,isp\nLHR-1,ISP-B\n")
    assert main(["center", "import", str(tmp_path / "a.csv"), *data]) == 0
    assert main(["center", "import", str(tmp_path / "b.csv"), "--from", "no day", *data]) == 2
    past = ["center", "import", str(tmp_path / "b.csv"), "--yes", "--from", "2026-01-15", "--by", "Ayesha", *data]
    assert main([*past, "--second", "ayesha"]) == 1
    assert "another person must confirm" in capsys.readouterr().err
    assert main([*past, "--json"]) == 0
    number = json.loads(capsys.readouterr().out)["import"]
    confirm = ["center", "fact", "confirm", "--import", str(number), *data]
    before = isp_on(data, capsys, "2026-01-20")
    assert main([*confirm, "--by", "Ayesha"]) == 1
    assert main([*confirm, "--by", "Bilal"]) == 0
    assert (before, isp_on(data, capsys, "2026-01-20")) == ("ISP-A", "ISP-B")
    assert isp_on(data, capsys, "2026-01-20", "--known", "2026-01-19") == ""


def isp_on(data: list[str], capsys: pytest.CaptureFixture[str], day: str, *more: str) -> str:
    """The provider of that day, as the command has it; empty where nothing was known."""
    capsys.readouterr()
    code = main(["center", "facts", "LHR-1", "--on", day, *more, "--json", *data])
    return str(json.loads(capsys.readouterr().out)["isp"]) if code == 0 else ""


def test_before_its_first_fact_a_center_is_what_that_says_and_not_what_it_is_now(store: Store) -> None:
    imported(store, "center,opening", "LHR-1,Mon-Sat 10:00-16:00")
    assert openings(store, "2026-08-01") == ["09:00-21:00"]
