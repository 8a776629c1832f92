"""A database with a few centers, and changes of flags that the desk follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.desk import follow, settle, tables
from collector.desk.incident import Incident
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from tests.collector.empty_stores import empty_store
from tests.collector.standard.timeless import timeless_standards

NOON = 1_769_972_400_000 + 12 * 3_600_000  # Monday 2026-02-02 12:00 in Karachi
MINUTE = 60_000
STANDARDS = timeless_standards()
BELOW = encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%"))


@dataclass
class Room:
    """The desk's database and its clock."""

    store: Store
    now_ms: int = NOON
    dark: set[str] = field(default_factory=set)

    def center(self, code: str, **facts: object) -> None:
        usual = {"name": code, "tier": "three", "seats_promised": 10, "opening": "always", "lifecycle": "declared"}
        with self.store.write() as conn:
            upsert(conn, schema.centers, [Center(code=code, **(usual | facts)).row()])  # type: ignore[arg-type]

    def change(self, code: str, now: str = "raised", criterion: str = "internet.loss", subject: str = "") -> None:
        row = self.row(code, now, criterion, subject)
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.changes), [row])
            follow.follow(conn, STANDARDS, self.now_ms)

    def row(self, code: str, now: str, criterion: str, subject: str = "") -> dict[str, object]:
        return {
            "center": code, "criterion": criterion, "subject": subject, "now": now,
            "was": "pending" if now == "raised" else "raised",
            "at_ms": self.now_ms, "recorded_ms": self.now_ms, "value": 30.0, "bound": 2.0, "reason": BELOW,
            "standard": "s",
        }  # fmt: skip

    def silent(self, codes: Sequence[str], ago_min: float = 15) -> None:
        """All of them are judged silent in one sweep."""
        self.heard(codes, ago_min)
        self.dark |= set(codes)
        self.changes(codes, "raised", "presence.silent")

    def back(self, codes: Sequence[str]) -> None:
        self.heard(codes)
        self.dark -= set(codes)
        self.changes(codes, "clear", "presence.silent")

    def changes(self, codes: Sequence[str], now: str, criterion: str) -> None:
        """In one transaction."""
        rows = [self.row(code, now, criterion) for code in codes]
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.changes), rows)
            follow.follow(conn, STANDARDS, self.now_ms)

    def fleet(self, count: int, prefix: str = "C", **facts: object) -> list[str]:
        """So many centers, heard just now."""
        codes = [f"{prefix}-{number}" for number in range(count)]
        usual = {"tier": "three", "seats_promised": 10, "opening": "always", "lifecycle": "declared"}
        rows = [Center(code=code, name=code, **(usual | facts)).row() for code in codes]  # type: ignore[arg-type]
        with self.store.write() as conn:
            upsert(conn, schema.centers, rows)
        self.heard(codes)
        return codes

    def heard(self, codes: Sequence[str], ago_min: float = 0) -> None:
        heard_ms = self.now_ms - int(ago_min * MINUTE)
        rows = [{"center": c, "device": "g", "heard_ms": heard_ms, "due_ms": heard_ms + 15 * MINUTE} for c in codes]
        with self.store.write() as conn:
            upsert(conn, schema.pulse, rows)

    def cut(self, codes: Sequence[str], ago_min: float = 0, *, over: bool = False) -> None:
        """Their mains are cut since then, or were."""
        from_ms = self.now_ms - int(ago_min * MINUTE)
        rows = [
            {"center": code, "subject": "ups", "noted_ms": 1, "revision": 1, "from_ms": from_ms, "last_ms": self.now_ms,
             "to_ms": self.now_ms if over else None, "carried": None, "facts": "{}", "recorded_ms": self.now_ms,
             "open": not over}
            for code in codes
        ]  # fmt: skip
        with self.store.write() as conn:
            upsert(conn, schema.cuts, rows)

    def passes(self, minutes: float) -> None:
        """Those that are not dark are heard all the time."""
        self.now_ms += int(minutes * MINUTE)
        p = schema.pulse.c
        with self.store.write() as conn:
            conn.execute(sa.update(schema.pulse).where(p.center.not_in(self.dark)).values(heard_ms=self.now_ms))
            settle.settle(conn, STANDARDS, self.now_ms)

    def incidents(self) -> list[Incident]:
        with self.store.read() as conn:
            return tables.some(conn, sa.true())

    def living(self) -> list[tuple[str, str, str, int]]:
        """(scope, place, family, centers) of those that go on."""
        return [(one.scope, one.place, one.family, one.centers) for one in self.incidents() if one.is_open]

    def told(self) -> list[tuple[int, str]]:
        """(incident, act) of all that people are to be told of, in order."""
        e = schema.incident_events.c
        with self.store.read() as conn:
            query = sa.select(e.incident, e.act).where(e.queued_ms.is_(None)).order_by(e.id)
            return [tuple(row) for row in conn.execute(query)]

    def acts(self, number: int = 1, *, told: bool = False) -> list[str]:
        """What became of an incident, oldest first; `told`: only what people are told of."""
        with self.store.read() as conn:
            rows = tables.events(conn, number)[::-1]
        return [row["act"] for row in rows if not told or row["queued_ms"] is None]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    store = empty_store(tmp_path / "nabz.db")
    made = Room(store)
    made.center("LHR-1", feeder="LESCO F-7", isp="PTCL", city="Lahore")
    yield made
    store.close()
