"""A database with a few centers, and changes of flags that the desk follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.desk import follow, settle, tables
from collector.desk.incident import Incident
from collector.register.centers import Center
from collector.store import Store, schema, upsert
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

    def center(self, code: str, **facts: object) -> None:
        usual = {"name": code, "tier": "three", "seats_promised": 10, "opening": "always", "lifecycle": "declared"}
        with self.store.write() as conn:
            upsert(conn, schema.centers, [Center(code=code, **(usual | facts)).row()])  # type: ignore[arg-type]

    def change(self, code: str, now: str = "raised", criterion: str = "internet.loss", subject: str = "") -> None:
        row = {
            "center": code, "criterion": criterion, "subject": subject, "now": now,
            "was": "pending" if now == "raised" else "raised",
            "at_ms": self.now_ms, "recorded_ms": self.now_ms, "value": 30.0, "bound": 2.0, "reason": BELOW,
            "standard": "s",
        }  # fmt: skip
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.changes), [row])
            follow.follow(conn, STANDARDS, self.now_ms)

    def passes(self, minutes: float) -> None:
        self.now_ms += int(minutes * MINUTE)
        with self.store.write() as conn:
            settle.settle(conn, STANDARDS, self.now_ms)

    def incidents(self) -> list[Incident]:
        with self.store.read() as conn:
            return tables.some(conn, sa.true())

    def acts(self, number: int = 1, *, told: bool = False) -> list[str]:
        """What became of an incident, oldest first; `told`: only what people are told of."""
        with self.store.read() as conn:
            rows = tables.events(conn, number)[::-1]
        return [row["act"] for row in rows if not told or row["queued_ms"] is None]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    store = Store.open(f"sqlite:///{tmp_path / 'nabz.db'}")
    made = Room(store)
    made.center("LHR-1", feeder="LESCO F-7", isp="PTCL", city="Lahore")
    yield made
    store.close()
