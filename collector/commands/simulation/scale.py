"""What so many centers need of machines, from figures that were measured (docs/scale.md). Pure.

A center sends a batch a minute, with 20 seats. What is past `MEASURED` centers is on paper: multiplied, not played.
"""

from __future__ import annotations

from dataclasses import dataclass

MEASURED = 10_000
MINUTES_A_DAY, DAYS_A_YEAR = 1_440, 365
GB = 10**9

BATCH_MS = {"sqlite": 0.98, "postgresql": 1.22}  # processor time of a live batch, all in, behind Mosquitto
HOT_BYTES = {"sqlite": 6_123, "postgresql": 4_581}  # of a center-minute in the tables
ARCHIVED_BYTES = 187  # of a center-minute in the archive, signatures included
ARCHIVE_S = 0.96  # processor time to archive a center's day
SESSION_BYTES = 45_000  # of a gateway's TLS session at Mosquitto
PROCESSES_BYTES = 450_000_000  # collector, pages, enrolment and broker before the first gateway
SQLITE_CENTERS = 1_000  # past that a pilot's database should give way: ours, no official figure
BUSY = 0.25  # of a core that may be planned for: the rest is for who comes back after an outage


@dataclass(frozen=True, kw_only=True)
class ScalePlan:
    """`rupees_center_year`: of disk alone, for a year's archive and the tables, each so many times."""

    centers: int
    database: str
    is_measured: bool
    batches_a_s: float
    busy_cores: float
    cores: int
    memory_gb: float
    hot_gb: float
    archive_gb_year: float
    rupees_center_year: float


def plan(
    centers: int, disk_price_rupees_gb: float, *, hot_days: float = 2.0, copies: int = 2, database: str = ""
) -> ScalePlan:
    """`copies` of everything on disk; `database`: sqlite or postgresql, by the number of centers where empty."""
    database = database or ("sqlite" if centers <= SQLITE_CENTERS else "postgresql")
    minutes = centers * MINUTES_A_DAY
    busy = centers / 60 * BATCH_MS[database] / 1000 + centers * ARCHIVE_S / 86_400
    hot_gb = minutes * hot_days * HOT_BYTES[database] / GB
    archive_gb = minutes * DAYS_A_YEAR * ARCHIVED_BYTES / GB
    return ScalePlan(
        centers=centers,
        database=database,
        is_measured=centers <= MEASURED,
        batches_a_s=round(centers / 60, 2),
        busy_cores=round(busy, 3),
        cores=max(1, -(-round(busy / BUSY * 1000) // 1000)),
        memory_gb=round((PROCESSES_BYTES + centers * SESSION_BYTES) / GB, 2),
        hot_gb=round(hot_gb, 2),
        archive_gb_year=round(archive_gb, 2),
        rupees_center_year=round((hot_gb + archive_gb) * copies * disk_price_rupees_gb / centers, 2),
    )
