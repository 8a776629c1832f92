"""Archived days back into the tables: of a center of which something late has come, or of a part that such a center has
left. What is thawed is archived again, with what has come, when it is due again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.logs import Event
from collector.store import bulk_insert, schema
from collector.store.cold import held
from collector.store.cold.batches import FIELDS
from collector.store.cold.held import Place
from collector.store.cold.parts import SELDOM, ArchiveMissing

THAWED = Event(
    __name__, "info", "day_thawed", "an archived day is in the tables again, for something late came", key="center",
    fields="part batches",
)  # fmt: skip
UNREADABLE = Event(
    __name__, "error", "archive_unreadable", "late readings cannot be judged beside what is archived", key="center",
    fields="error",
)  # fmt: skip

REACH_MS = 86_400_000  # of a gap or a cut around a reading
RECENT_MS = 20 * 3_600_000  # what is newer than this is archived nowhere: a day ends before it is

Spans = Mapping[str, tuple[int, int]]
"""By center: the times of the first and the last reading that came."""

_a, _parts = schema.archived.c, schema.archive_parts.c


def around(conn: sa.Connection, spans: Spans, now_ms: int) -> int:
    """Thaws what lies near readings that have come late; returns center-days. What cannot be read stays where it is:
    what has come is taken all the same."""
    count = 0
    for code, (from_ms, to_ms) in spans.items():
        if from_ms >= now_ms - RECENT_MS:
            continue
        near = (_a.center == code, _a.to_ms >= from_ms - REACH_MS, _a.from_ms <= to_ms + REACH_MS)
        try:
            count += thaw(conn, held.places(conn, *near))
        except ArchiveMissing as error:
            UNREADABLE.log(center=code, error=describe(error))
    return count


def thaw(conn: sa.Connection, places: Sequence[Place]) -> int:
    """Returns center-days. Raises ArchiveMissing, before anything of that center's day is changed."""
    for place in places:
        files = held.files_of(conn, place.part)
        batches = held.batches_of(conn, place, files)
        usual = [kind for kind in schema.readings if kind not in SELDOM]
        rows = {kind: list(held.rows_of(conn, kind, place, files)) for kind in usual}
        bulk_insert(conn, schema.evidence, [{name: getattr(one, name) for name in FIELDS} for one in batches])
        for kind, some in rows.items():
            bulk_insert(conn, schema.readings[kind], some)
        conn.execute(sa.delete(schema.archived).where(_a.part == place.part, _a.center == place.center))
        THAWED.log(center=place.center, part=place.part, batches=len(batches))
    return len(places)


def left(conn: sa.Connection) -> list[str]:
    """Parts whose files have centers that were taken out, and others that were not."""
    counts = (
        sa.select(_a.part, sa.func.count(sa.distinct(_a.center)).label("centers")).group_by(_a.part).subquery("counts")
    )
    query = sa.select(_parts.part).join(counts, counts.c.part == _parts.part)
    return list(conn.scalars(query.where(counts.c.centers < _parts.centers).order_by(_parts.part)))
