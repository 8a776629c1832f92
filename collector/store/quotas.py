"""How much of one gateway counts: readings a day by kind, subjects by kind, and bytes a day.

What is over is held: its batch stands in evidence and has its receipt, as a gateway would send it for ever else. It is
filed nowhere, so that no page, report or table grows by it, and there is one finding a day. Past the bytes of a day
nothing is taken: a gateway keeps what has no receipt, and the next day takes it. Readings count for their own day, as a
backlog brings many days at once; what is older than OLDEST_DAYS counts for the oldest of these.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.store import schema, upsert, warm

DAY_MS = 86_400_000
OLDEST_DAYS = 60  # a spool holds 30 days
SUBJECTS_MS = 30 * DAY_MS  # a name that was not heard for so long makes room for another
DAYS_HELD = 3  # of a center, in memory: a backlog is of one day after the other


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """No official figure exists for any of these: they are ours. Each is several times what the busiest gateway sends
    whose settings are at their limits: four links and four UPSs, one of them on battery all day long."""

    readings_a_day: Mapping[str, int] = field(
        default_factory=lambda: {"link": 12_000, "speed": 500, "ups": 40_000, "shed": 10_000}
    )
    of_other_kinds: int = 5_000
    subjects: int = 64  # of a kind, of one center
    bytes_a_day: int = 512 * 1024**2  # as received: 9 MB are a usual day, 64 MiB the backlog of a month

    def of_kind(self, kind: str) -> int:
        return self.readings_a_day.get(kind, self.of_other_kinds)


@dataclass
class Tally:
    """What one gateway has of one day: readings by kind, subjects by kind, and the bytes that came on it."""

    counts: Counter[str] = field(default_factory=Counter)
    subjects: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    size: int = 0
    is_changed: bool = False

    @classmethod
    def of(cls, row: Any) -> Tally:
        subjects = {kind: set(names) for kind, names in json.loads(row.subjects).items()}
        return cls(Counter(json.loads(row.counts)), defaultdict(set, subjects), row.size)


@dataclass
class CenterTallies:
    """Those of one center's gateways, as stored: by day, whole days, by device."""

    days: dict[int, dict[str, Tally]] = field(default_factory=dict)

    def trim(self) -> None:
        while len(self.days) > DAYS_HELD:
            del self.days[next(iter(self.days))]

    def names(self, kind: str) -> set[str]:
        tallies = (tally for by_device in self.days.values() for tally in by_device.values())
        return set().union(*(tally.subjects.get(kind, ()) for tally in tallies))


class Tallies:
    """Those of one transaction, whose centers it has claimed."""

    def __init__(self, conn: sa.Connection, quotas: Quotas, now_ms: int, codes: Collection[str]) -> None:
        """What these centers have of today is read at once."""
        self._conn, self._quotas, self._now_ms = conn, quotas, now_ms
        self._today_ms = now_ms // DAY_MS * DAY_MS
        self._centers = warm.recall(conn, "tallies", codes, lambda cold: {code: CenterTallies() for code in cold})
        for center in self._centers.values():
            center.trim()
        cold = [code for code, center in self._centers.items() if self._today_ms not in center.days]
        self._read(cold, self._today_ms)

    def refusal(self, center: str, device: str, size: int) -> Reason | None:
        """Why so many bytes more are not taken today; else they are counted."""
        today = self._of_day(center, device, self._today_ms)
        if today.size + size > self._quotas.bytes_a_day:
            return Reason.of("refused.over_quota", limit_mb=self._quotas.bytes_a_day / 1e6)
        today.size, today.is_changed = today.size + size, True
        return None

    def over(self, center: str, device: str, kind: str, subject: str, wall_ms: int) -> Reason | None:
        """Why this reading is held aside; else it is counted."""
        oldest_ms = self._today_ms - OLDEST_DAYS * DAY_MS
        day = self._of_day(center, device, min(max(wall_ms // DAY_MS * DAY_MS, oldest_ms), self._today_ms + DAY_MS))
        limit = self._quotas.of_kind(kind)
        if day.counts[kind] >= limit:
            return Reason.of("receipt.over_quota", kind=kind, limit=limit)
        if subject not in day.subjects[kind]:
            if kind != "shed" and not self._is_known(center, kind, subject):  # those name spools
                return Reason.of("receipt.over_subjects", kind=kind, limit=self._quotas.subjects)
            day.subjects[kind].add(subject)
        day.counts[kind] += 1
        day.is_changed = True
        return None

    def save(self) -> None:
        changed = sorted(
            (code, device, day_ms)
            for code, center in self._centers.items()
            for day_ms, by_device in center.days.items()
            for device, tally in by_device.items()
            if tally.is_changed
        )
        rows = []
        for code, device, day_ms in changed:
            tally = self._of_day(code, device, day_ms)
            subjects = json.dumps({kind: sorted(names) for kind, names in tally.subjects.items()})
            own = {"counts": json.dumps(tally.counts), "subjects": subjects, "size": tally.size}
            rows.append({"center": code, "device": device, "day_ms": day_ms, **own})
            tally.is_changed = False
        with warm.written_through(self._conn, "tallies"):  # what is held is what is in memory
            upsert(self._conn, schema.tallies, rows)

    def _of_day(self, center: str, device: str, day_ms: int) -> Tally:
        days = self._centers[center].days
        if day_ms not in days:
            self._read([center], day_ms)
        if device not in days[day_ms]:
            days[day_ms][device] = Tally()
        return days[day_ms][device]

    def _read(self, codes: Collection[str], day_ms: int) -> None:
        for code in codes:
            self._centers[code].days[day_ms] = {}
        for row in self._conn.execute(_BY_CENTER, {"codes": list(codes), "day": day_ms}) if codes else ():
            self._centers[row.center].days[day_ms][row.device] = Tally.of(row)

    def _is_known(self, center: str, kind: str, subject: str) -> bool:
        """Whether a subject that is new on a day was there before, or has room."""
        held = self._centers[center].names(kind)
        if subject in held or len(held) >= self._quotas.subjects:
            return subject in held
        newest = schema.latest.c
        mine = (newest.center == center) & (newest.kind == kind) & (newest.received_ms > self._now_ms - SUBJECTS_MS)
        before = set(self._conn.scalars(sa.select(newest.subject).where(mine).limit(self._quotas.subjects)))
        return subject in before or len(before | held) < self._quotas.subjects


_t = schema.tallies.c
_BY_CENTER = sa.select(schema.tallies).where(
    _t.center.in_(sa.bindparam("codes", expanding=True)), _t.day_ms == sa.bindparam("day")
)
