"""Stories of the register that end in a dispute: who may change what a month is paid by, and which days it changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from collector.acts import register as acts
from collector.acts.person import ActingPerson
from collector.judging import reopening
from collector.register import calendar, centers, dated, facts
from collector.register.facts import FactError, Recording
from collector.reports import schedule
from collector.store import Store
from tests.collector.empty_stores import empty_store
from tests.timelines.test_register import DAY, STANDARDS, at, begun, changed, entered, look, parts, told

NOW = at("2026-11-20")
DAILY = 720  # minutes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(empty_store(tmp_path / "nabz.db")) as made:
        begun(made)
        yield made


def moved(store: Store, stage: str, day: str, hour: int = 12) -> None:
    with store.write() as conn:
        centers.move(conn, "LHR-1", stage, at(day, hour), "Ayesha", "an inspection")


def declared(store: Store) -> None:
    for stage, day in (("probation", "2026-10-02"), ("declared", "2026-10-03")):
        moved(store, stage, day)


def test_a_center_that_is_closed_and_comes_back_owes_the_days_around_alone(store: Store) -> None:
    declared(store)
    moved(store, "suspended", "2026-10-12", 23)  # when the center had shut for that day: it is owed whole
    moved(store, "declared", "2026-10-20")
    look(store, NOW)
    october = told(store, "2026-10")
    assert (october["ledger"]["open"], october["ledger"]["excused"]) == (31 * DAILY, 7 * DAILY)
    (exclusion,) = october["exclusions"]
    assert (exclusion["code"], exclusion["proposed_by"], exclusion["minutes"]) == ("stage", "Ayesha", 7 * DAILY)
    assert exclusion["reason"] == "an inspection"


def test_who_suspends_a_center_at_noon_takes_no_hour_of_the_morning_out(store: Store) -> None:
    declared(store)
    moved(store, "suspended", "2026-10-10", 14)
    moved(store, "declared", "2026-10-11")
    assert told(store, "2026-10")["ledger"]["excused"] == 7 * 60


def test_a_center_that_was_closed_for_good_owes_no_later_month(store: Store) -> None:
    declared(store)
    moved(store, "closed", "2026-10-31", 23)
    look(store, NOW)
    november = told(store, "2026-11", at("2026-12-20"))["ledger"]
    assert november["excused"] == november["open"] == 30 * DAILY


def test_a_stage_that_is_taken_back_by_two_brings_its_days_back(store: Store) -> None:
    declared(store)
    moved(store, "suspended", "2026-10-12", 8)
    look(store, NOW)
    with store.write() as conn:
        (fact,) = [one for one in facts.facts_of(conn, ["LHR-1"])["LHR-1"] if one.value == "suspended"]
        facts.withdraw(conn, [fact], "Bilal", "of another center", NOW)
        dated.apply(conn, ["LHR-1"], NOW)
        reopening.record_facts(conn, ["LHR-1"], fact.from_ms, NOW)
    look(store, NOW + DAY)
    assert told(store, "2026-10")["ledger"]["excused"] == 0


# ---------------------------------------------------------------- facts


def set_fact(store: Store, name: str, value: str, day: str, now: str, second: str = "", by: str = "Ayesha") -> str:
    """The state of a fact that is recorded at noon of `now`; with the revisions that the command asks for."""
    how = Recording(
        from_ms=at(day), now_ms=at(now, 12), today_ms=at(now), by=by, reason="a letter", second=second
    )  # fmt: skip
    with store.write() as conn:
        fact = centers.set_fact(conn, "LHR-1", name, value, how)
        if fact.state == "holds":
            reopening.record_facts(conn, ["LHR-1"], fact.from_ms, how.now_ms)
    return fact.state


@pytest.mark.parametrize("second", ["Ayesha", " ayesha ", "AYESHA"])
def test_one_person_alone_changes_no_day_that_is_over(store: Store, second: str) -> None:
    september = told(store, "2026-09")
    assert set_fact(store, "opening", "daily 12:00-13:00", "2026-09-01", "2026-11-10") == "waiting"
    with pytest.raises(FactError, match="another person must confirm"):
        set_fact(store, "opening", "daily 12:00-13:00", "2026-09-01", "2026-11-10", second)
    with store.write() as conn, pytest.raises(FactError, match="another person must confirm"):
        acts.confirm_facts(conn, facts.waiting(conn), ActingPerson(name=second, now_ms=NOW))
    look(store, NOW)
    assert told(store, "2026-09") == september


def test_of_hours_changed_twice_on_one_day_the_last_hold_and_the_day_before_stays(store: Store) -> None:
    for hours in ("daily 10:00-16:00", "daily 09:00-12:00", "daily 09:00-18:00"):
        changed(store, "opening", hours, "2026-10-28", "2026-10-28")
    assert parts(store, "2026-10", "opening") == [
        ("2026-10-01", "daily 09:00-21:00"),
        ("2026-10-28", "daily 09:00-18:00"),
    ]
    assert told(store, "2026-10")["ledger"]["open"] == 27 * DAILY + 4 * 540


def test_an_owner_who_sold_on_the_last_day_has_the_month_up_to_it(store: Store) -> None:
    changed(store, "owner", "Malik Brothers", "2026-10-31", "2026-10-31")
    assert parts(store, "2026-10", "owner") == [("2026-10-01", "Rehman & Sons"), ("2026-10-31", "Malik Brothers")]
    assert "facts" not in told(store, "2026-11", at("2026-12-10"))
    assert told(store, "2026-09")["center"]["owner"] == "Rehman & Sons"


def test_a_leap_day_is_owed_as_any_other(store: Store) -> None:
    assert told(store, "2028-02", at("2028-03-10"))["ledger"]["open"] == 29 * DAILY
    assert told(store, "2027-02", at("2028-03-10"))["ledger"]["open"] == 28 * DAILY
    changed(store, "opening", "daily 10:00-16:00", "2028-02-29", "2028-02-29")
    assert told(store, "2028-02", at("2028-03-10"))["ledger"]["open"] == 28 * DAILY + 360


# ---------------------------------------------------------------- the calendar


def test_ramadan_over_the_end_of_a_month_is_in_both(store: Store) -> None:
    span = {"from_ms": at("2026-10-25"), "to_ms": at("2026-11-24")}
    entered(store, "2026-10-01", kind="hours", scope="all", hours="daily 08:00-12:00", name="Ramadan", **span)
    assert told(store, "2026-10")["ledger"]["open"] == 24 * DAILY + 7 * 180
    assert told(store, "2026-11", at("2026-12-10"))["ledger"]["open"] == 23 * 180 + 7 * DAILY


def test_a_holiday_that_is_cancelled_after_the_month_was_closed_needs_two_and_revises_it(store: Store) -> None:
    span = {"from_ms": at("2026-10-12"), "to_ms": at("2026-10-14")}
    entry = entered(store, "2026-10-10", kind="holiday", scope="all", name="Mourning", **span)
    look(store, NOW)
    october = told(store, "2026-10")
    assert october["ledger"]["open"] == 29 * DAILY
    with store.write() as conn:
        with pytest.raises(FactError):
            calendar.withdraw(conn, [entry], "Ayesha", "never was", NOW, "ayesha")
        calendar.withdraw(conn, [entry], "Ayesha", "never was", NOW, "Bilal")
        reopening.record_calendar(conn, ["LHR-1"], entry.from_ms, entry.to_ms, NOW)
    look(store, NOW + DAY)
    revised = told(store, "2026-10")
    assert (revised["ledger"]["open"], revised["revision"]["number"]) == (31 * DAILY, 2)
    assert revised["revision"]["why"] == {"calendar": 1}
    with store.read() as conn:
        assert schedule.check(conn, "LHR-1", "2026-10", STANDARDS, NOW + 2 * DAY) == []
