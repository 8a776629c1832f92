"""What the archive holds, and what of the tables is due to go there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from collector.store import schema
from collector.store.cold import parts

_parts, _a = schema.archive_parts.c, schema.archived.c


@dataclass(frozen=True, kw_only=True)
class ArchiveStatus:
    """`sizes` are bytes of files by kind; `first_day` and `last_day` are dates of Pakistan, empty if there is none."""

    parts: int
    days: int
    first_day: str
    last_day: str
    centers: int
    batches: int
    readings: int
    sizes: dict[str, int]

    @property
    def size(self) -> int:
        return sum(self.sizes.values())

    @property
    def batch_bytes(self) -> float | None:
        """What a batch, a center's minute, takes of the disk."""
        return round(self.size / self.batches, 1) if self.batches else None


def status(conn: sa.Connection) -> ArchiveStatus:
    rows = conn.execute(sa.select(_parts.day_ms, _parts.files).where(_parts.removed_ms.is_(None))).all()
    sizes: Counter[str] = Counter()
    for row in rows:
        sizes.update({kind: file.size for kind, file in parts.unpacked_files(row.files).items()})
    sums = sa.select(sa.func.count(sa.distinct(_a.center)), sa.func.sum(_a.batches), sa.func.sum(_a.readings))
    centers, batches, readings = conn.execute(sums).one()
    days = sorted({int(row.day_ms) for row in rows})
    names = [parts.day_name(day_ms) for day_ms in days]
    return ArchiveStatus(
        parts=len(rows),
        days=len(days),
        first_day=names[0] if names else "",
        last_day=names[-1] if names else "",
        centers=centers,
        batches=int(batches or 0),
        readings=int(readings or 0),
        sizes=dict(sorted(sizes.items())),
    )
