"""Facts of a center that hold from a date: hours, tier, seats, provider. The past is judged by what held then.

`centers` has what holds now. A row of `center_facts` says what holds from a time on; the first, from 0, is written
with the first change and keeps what held before. A center without rows has never changed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.register.center import Center, from_row
from collector.store import schema, upsert

DATED = ("tier", "seats_promised", "isp", "opening")

_f, _c = schema.center_facts.c, schema.centers.c
Segment = tuple[int, int, Center]  # from, to (exclusive), what held


@dataclass(frozen=True, kw_only=True)
class DatedCenter(Center):
    """A center with what it was before: `past` is (from when, the facts of DATED), oldest first."""

    past: tuple[tuple[int, Mapping[str, object]], ...] = ()

    def at(self, at_ms: int) -> Center:
        """As it was then. What is not dated is as it is now."""
        held = next((facts for from_ms, facts in reversed(self.past) if from_ms <= at_ms), None)
        return self if held is None else dataclasses.replace(self, **held)  # type: ignore[arg-type]

    def segments(self, from_ms: int, to_ms: int) -> list[Segment]:
        """A period in parts in each of which the same held."""
        edges = [from_ms, *(edge for edge, _ in self.past if from_ms < edge < to_ms), to_ms]
        return [(start, end, self.at(start)) for start, end in itertools.pairwise(edges)]


def day_ms(text: str) -> int:
    """When a day begins in Pakistan. Raises ValueError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a day; write e.g. 2026-11-01") from None
    return _begins_ms(day)


def day_of(from_ms: int) -> str:
    """A day as `day_ms` takes it; of the beginning, that nobody recorded a change before."""
    return datetime.fromtimestamp(from_ms / 1000, ZoneInfo(TZ)).date().isoformat() if from_ms else "the beginning"


def today_ms(now_ms: int) -> int:
    return _begins_ms(datetime.fromtimestamp(now_ms / 1000, ZoneInfo(TZ)).date())


def _begins_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(TZ)).timestamp()) * 1000


# ---------------------------------------------------------------- asking


def histories(conn: sa.Connection, centers: Iterable[Center]) -> dict[str, DatedCenter]:
    """These centers with their past, by code."""
    known = {center.code: center for center in centers}
    past: dict[str, list[tuple[int, Mapping[str, object]]]] = defaultdict(list)
    rows = conn.execute(sa.select(schema.center_facts).where(_f.center.in_(sorted(known))).order_by(_f.from_ms))
    for row in rows:
        past[row.center].append((row.from_ms, {name: row._mapping[name] for name in DATED}))
    return {code: with_past(center, past[code]) for code, center in known.items()}


def judged(conn: sa.Connection, centers: Mapping[str, Center], earliest_ms: Mapping[str, int]) -> Mapping[str, Center]:
    """The centers as they are to be judged by readings from these times on: with their past where that matters."""
    late = [center for code, center in centers.items() if earliest_ms.get(code, center.changed_ms) < center.changed_ms]
    return {**centers, **histories(conn, late)} if late else centers


def with_past(center: Center, past: Sequence[tuple[int, Mapping[str, object]]]) -> DatedCenter:
    fields = {field.name: getattr(center, field.name) for field in dataclasses.fields(Center)}
    return DatedCenter(**fields, past=tuple(past))


# ---------------------------------------------------------------- changing


def record(
    conn: sa.Connection, held: Mapping[str, DatedCenter], after: Iterable[Center], from_ms: int, now_ms: int, by: str
) -> list[Center]:
    """Keeps what holds from a time on, and returns the centers as they are to be now: one that changes later stays as
    it is until then (`apply_due`). `held` has the centers as they are; `after` as they are to be from that time on."""
    rows: list[dict[str, object]] = []
    now: list[Center] = []
    for center in after:
        before = held[center.code]
        past = before.past or ((0, facts_of(before)),)
        if facts_of(before.at(from_ms)) != facts_of(center):
            rows += [] if before.past else [_row(before, 0, now_ms, by)]
            rows.append(_row(center, from_ms, now_ms, by) | {"waits": from_ms > now_ms})
            kept = [item for item in past if item[0] != from_ms]
            past = tuple(sorted([*kept, (from_ms, facts_of(center))], key=lambda item: item[0]))
        now.append(with_past(center, past).at(now_ms))
    upsert(conn, schema.center_facts, rows)
    return now


def apply_due(conn: sa.Connection, now_ms: int) -> int:
    """Lets hold what was recorded for today; returns for how many centers."""
    due = conn.scalars(sa.select(_f.center).where(_f.waits, _f.from_ms <= now_ms).distinct()).all()
    if not due:
        return 0
    rows = conn.execute(sa.select(schema.centers).where(_c.center.in_(due)))
    found = histories(conn, [from_row(row) for row in rows]).values()
    upsert(conn, schema.centers, [center.at(now_ms).row() | {"changed_ms": now_ms} for center in found])
    mine = sa.and_(_f.center.in_(due), _f.from_ms <= now_ms)
    conn.execute(sa.update(schema.center_facts).where(mine).values(waits=False))
    return len(due)


def facts_of(center: Center) -> dict[str, object]:
    return {name: getattr(center, name) for name in DATED}


def _row(center: Center, from_ms: int, now_ms: int, by: str) -> dict[str, object]:
    times = {"from_ms": from_ms, "recorded_ms": now_ms}
    return {"center": center.code, **times, **facts_of(center), "recorded_by": by, "waits": False}
