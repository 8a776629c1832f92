"""Visits and inspections carried out whole: who may is the caller's to check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from collector.access import users
from collector.acts.person import ActingPerson
from collector.common.messages import one_line
from collector.judging import reopening
from collector.register import centers
from collector.reports.inspections import records, visit_lists
from collector.reports.inspections.records import Inspection, InspectionError, Photo
from collector.reports.inspections.visit_lists import VisitList
from collector.standard import Standards
from collector.standard.form import form_of


def publish(conn: sa.Connection, secret: bytes, name: str, number: int, who: ActingPerson) -> VisitList:
    """Raises VisitError."""
    visit_list = visit_lists.publish(conn, secret, name, number, who.name, who.now_ms)
    _record(conn, "visits_published", who, f"visits {name}", f"{number}: {visit_list.seed_hash}")
    return visit_list


def draw(conn: sa.Connection, secret: bytes, name: str, who: ActingPerson) -> VisitList:
    """Raises VisitError."""
    visit_list = visit_lists.draw_list(conn, secret, name, who.name, who.now_ms)
    _record(conn, "visits_drawn", who, f"visits {name}", f"{len(visit_list.visits)} of {len(visit_list.weights)}")
    return visit_list


def inspect(
    conn: sa.Connection, standards: Standards, center: str, at_ms: int, given: Mapping[str, str],
    photos: Sequence[Photo], who: ActingPerson, *, remarks: str = "", visit_list: str = "",
) -> Inspection:  # fmt: skip
    """By the form of the version that held then; a month that is reported is revised. Raises InspectionError,
    VisitError, centers.CenterError."""
    place, standard = centers.get(conn, center), standards.at(at_ms)
    if standard is None or at_ms > who.now_ms:
        raise InspectionError("inspection.no_time")
    if visit_list:
        visit_lists.get(conn, visit_list)
    one = Inspection(
        inspection=records.new_name(), center=place.code, visit_list=visit_list, standard=standard.id,
        digest=standard.digest, inspected_ms=at_ms, recorded_ms=who.now_ms, recorded_by=who.name,
        answers=records.parse(form_of(standard), given), photos=tuple(photos),
        remarks=one_line(remarks, records.MAX_TEXT),
    )  # fmt: skip
    records.record(conn, one)
    _settle(conn, one, "inspected", who, f"{len(one.answers)} answers, {len(one.photos)} photos")
    return one


def withdraw(conn: sa.Connection, name: str, why: str, who: ActingPerson) -> None:
    """Raises InspectionError."""
    one = records.get(conn, name)
    records.withdraw(conn, one, who.name, why, who.now_ms)
    _settle(conn, one, "inspection_gone", who, why)


def _settle(conn: sa.Connection, one: Inspection, act: users.Act, who: ActingPerson, why: str) -> None:
    reopening.record_inspection(conn, one.center, one.inspected_ms, who.now_ms)
    _record(conn, act, who, f"inspection {one.inspection}", why, one.center)


def _record(conn: sa.Connection, act: users.Act, who: ActingPerson, subject: str, why: str, center: str = "") -> None:
    users.record(conn, act, who.name, who.now_ms, is_proven=who.is_proven, subject=subject, center=center, reason=why)
