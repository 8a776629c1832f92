"""What a second person says of facts and entries of the calendar, and entries that are added: with the acts and
revisions that follow."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from collector.access import users
from collector.acts.person import ActingPerson
from collector.judging import reopening
from collector.register import calendar, centers, dated, facts
from collector.register.calendar import CalendarEntry
from collector.register.facts import Fact

# ---------------------------------------------------------------- facts


def confirm_facts(conn: sa.Connection, center_facts: Sequence[Fact], who: ActingPerson) -> list[Fact]:
    """They hold from the day that they name. Raises FactError."""
    done = facts.confirm(conn, center_facts, who.name, who.now_ms)
    dated.apply(conn, {fact.center for fact in done}, who.now_ms)
    note_facts(conn, done, who, "")
    for code, from_ms in dated.touched(done).items():
        reopening.record_facts(conn, [code], from_ms, who.now_ms)
    return done


def refuse_facts(conn: sa.Connection, center_facts: Sequence[Fact], why: str, who: ActingPerson) -> None:
    """Those that wait never hold. Raises FactError."""
    waiting = [fact for fact in center_facts if fact.state == "waiting"]
    if not waiting or not why.strip():
        raise facts.FactError("only what waits for a second person is refused, with a reason; give one")
    facts.withdraw(conn, waiting, who.name, why, who.now_ms)
    note_facts(conn, waiting, who, why)


def note_facts(conn: sa.Connection, center_facts: Sequence[Fact], who: ActingPerson, why: str) -> None:
    """In the log of acts: whose facts a person recorded, confirmed or withdrew."""
    for fact in center_facts:
        text = f"{fact.name} ({fact.id}): {why}".removesuffix(": ")
        users.record(
            conn, "center_changed", who.name, who.now_ms, is_proven=who.is_proven, center=fact.center, reason=text
        )


# ---------------------------------------------------------------- calendar


def add_entry(conn: sa.Connection, entry: CalendarEntry, who: ActingPerson) -> CalendarEntry:
    """One that needs a second person waits for one. Raises CalendarError, FactError."""
    (made,) = calendar.add(conn, [entry])
    settle_entries(conn, [made], who)
    return made


def confirm_entries(
    conn: sa.Connection, entries: Sequence[CalendarEntry], who: ActingPerson, from_ms: int | None = None
) -> list[CalendarEntry]:
    """`from_ms` is the day on which a day of the moon came. Raises CalendarError, FactError."""
    made = calendar.confirm(conn, entries, who.name, who.now_ms, from_ms)
    settle_entries(conn, made, who)
    return made


def refuse_entries(conn: sa.Connection, entries: Sequence[CalendarEntry], why: str, who: ActingPerson) -> None:
    """Those that wait never hold. Raises CalendarError."""
    waiting = [entry for entry in entries if entry.state == "waiting"]
    if not waiting or not why.strip():
        raise calendar.CalendarError("only what waits is refused, with a reason; give one")
    calendar.withdraw(conn, waiting, who.name, why, who.now_ms)
    settle_entries(conn, calendar.by_ids(conn, [entry.id for entry in waiting]), who)


def settle_entries(conn: sa.Connection, entries: Sequence[CalendarEntry], who: ActingPerson) -> None:
    """Notes the acts; months that are reported already and were otherwise than was thought are reported anew."""
    for entry in entries:
        text = f"{entry.kind} {entry.subject or entry.scope} ({entry.id}): {entry.state}"
        users.record(conn, "calendar_changed", who.name, who.now_ms, is_proven=who.is_proven, reason=text)
    past = [entry for entry in entries if entry.from_ms < who.now_ms - reopening.CLOSE_MS]
    codes = [center.code for center in centers.all_centers(conn)] if past else []
    for entry in past:
        mine = [entry.subject] if entry.scope == "center" else codes
        reopening.record_calendar(conn, mine, entry.from_ms, entry.to_ms, who.now_ms)
