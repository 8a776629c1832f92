"""Centers with their past: what held on a day is what that day is judged, reported and shown by.

`centers` has what holds now, facts what holds from when (collector.register.facts). A center without facts has never
changed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.register import calendar, facts
from collector.register.calendar import begins_ms
from collector.register.center import Center
from collector.register.facts import Fact, Timeline
from collector.store import center_states, rollups, schema, upsert

# What splits a period of judging in parts: in each of them all of these are the same.
DATED = (
    "tier", "seats_promised", "isp", "opening", "owner", "feeder", "contract_down_mbps", "contract_up_mbps", "district",
    "province",
)  # fmt: skip

_f = schema.facts.c
Segment = tuple[int, int, Center]  # from, to (exclusive), what held


@dataclass(frozen=True, kw_only=True)
class DatedCenter(Center):
    """A center with what it was before: `past` is (from when, its facts), oldest first."""

    past: Timeline = ()

    def at(self, at_ms: int) -> Center:
        """As it was then; before the first fact, as that one says. What no fact tells is as it is now."""
        held = next((values for from_ms, values in reversed(self.past) if from_ms <= at_ms), None)
        held = held if held is not None or not self.past else self.past[0][1]
        return self if held is None else dataclasses.replace(self, **held)  # type: ignore[arg-type]

    def segments(self, from_ms: int, to_ms: int) -> list[Segment]:
        """A period in parts in each of which the same of DATED held."""
        edges = [from_ms, *(edge for edge, _ in self.past if from_ms < edge < to_ms), to_ms]
        parts: list[Segment] = []
        for start, end in itertools.pairwise(edges):
            center = self.at(start)
            if parts and judged_facts(parts[-1][2]) == judged_facts(center):
                parts[-1] = (parts[-1][0], end, parts[-1][2])
            else:
                parts.append((start, end, center))
        return parts


def day_ms(text: str) -> int:
    """When a day begins in Pakistan. Raises ValueError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a day; write e.g. 2026-11-01") from None
    return begins_ms(day)


def time_ms(text: str) -> int:
    """A day, or a time such as 2026-11-01T14:30, in Pakistan. Raises ValueError."""
    if "T" not in text:
        return day_ms(text)
    try:
        at = datetime.fromisoformat(text)
        return int(at.replace(tzinfo=at.tzinfo or ZoneInfo(TZ)).timestamp()) * 1000
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no time; write e.g. 2026-11-01T14:30") from None


def day_of(from_ms: int) -> str:
    """A day as `day_ms` takes it; of the beginning, that nobody recorded a change before."""
    return datetime.fromtimestamp(from_ms / 1000, ZoneInfo(TZ)).date().isoformat() if from_ms else "the beginning"


def today_ms(now_ms: int) -> int:
    """When the day of this moment began."""
    return rollups.day_of(now_ms)


# ---------------------------------------------------------------- asking


def facts_at(conn: sa.Connection, center: str, at_ms: int, known_ms: int | None = None) -> Center | None:
    """What a center was at a time; with `known_ms`, by what was known of that then. None: there was none known."""
    now = facts.centers_by_code(conn, [center]).get(center)
    if now is None:
        return None
    own = facts.facts_of(conn, [center])[center]
    if own and not any(fact.name == "opening" and fact.is_known(known_ms) for fact in own):
        return None  # it was not registered yet
    return with_past(now, facts.timeline(own, known_ms)).at(at_ms)


def histories(conn: sa.Connection, centers: Iterable[Center]) -> dict[str, DatedCenter]:
    """These centers with their past, by code."""
    known = {center.code: center for center in centers}
    by_center = facts.facts_of(conn, known)
    return {code: with_past(center, facts.timeline(by_center[code])) for code, center in known.items()}


def judged(conn: sa.Connection, centers: Mapping[str, Center], earliest_ms: Mapping[str, int]) -> Mapping[str, Center]:
    """The centers as they are to be judged by readings from these times on: with their past and the calendar, where
    these matter."""
    late = [center for code, center in centers.items() if earliest_ms.get(code, center.changed_ms) < center.changed_ms]
    by_center = {**centers, **histories(conn, late)} if late else centers
    times = [*earliest_ms.values()]
    return ruled(conn, by_center, min(times), max(times)) if times else by_center


def ruled(conn: sa.Connection, centers: Mapping[str, Center], from_ms: int, to_ms: int) -> Mapping[str, Center]:
    """The centers with what the calendar says of their days around this time."""
    around = calendar.between(conn, from_ms - calendar.AROUND_MS, to_ms + calendar.AROUND_MS, calendar.RULING)
    if not around.entries:
        return centers
    return {code: dataclasses.replace(center, rules=around.rules(center)) for code, center in centers.items()}


def with_past(center: Center, past: Timeline) -> DatedCenter:
    fields = {field.name: getattr(center, field.name) for field in dataclasses.fields(Center)}
    return DatedCenter(**fields, past=past)


def judged_facts(center: Center) -> dict[str, object]:
    return {name: getattr(center, name) for name in DATED}


# ---------------------------------------------------------------- changing


def apply(conn: sa.Connection, codes: Iterable[str], now_ms: int) -> dict[str, Center]:
    """Writes what the facts of these centers come to now into `centers`, and returns that."""
    rows = facts.centers_by_code(conn, codes)
    now = {code: _now(rows[code], dated, now_ms) for code, dated in histories(conn, rows.values()).items()}
    upsert(conn, schema.centers, [center.row() for center in now.values()])
    center_states.refresh(conn, now, now_ms)
    return now


def _now(before: Center, dated: DatedCenter, now_ms: int) -> Center:
    center = dated.at(now_ms)
    since_ms = before.since_ms if center.lifecycle == before.lifecycle else now_ms
    return dataclasses.replace(center, since_ms=since_ms, changed_ms=now_ms)


def apply_due(conn: sa.Connection, now_ms: int) -> int:
    """Lets hold what was recorded for today; returns for how many centers."""
    due = conn.scalars(sa.select(_f.center).where(_f.waits, _f.from_ms <= now_ms).distinct()).all()
    if not due:
        return 0
    apply(conn, due, now_ms)
    conn.execute(sa.update(schema.facts).where(_f.waits, _f.from_ms <= now_ms).values(waits=False))
    return len(due)


def touched(center_facts: Sequence[Fact]) -> dict[str, int]:
    """From when on these facts may change what was said of a center, by its code."""
    first: dict[str, int] = {}
    for fact in center_facts:
        first[fact.center] = min(fact.from_ms, first.get(fact.center, fact.from_ms))
    return first
