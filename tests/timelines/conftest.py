"""A small language for stories: readings in at a time, alerts wanted between two times.

    story.plays(story.every_minute("09:00", "09:30", link), story.at("09:31", link, taken="08:00"))
    story.wants(("09:10", "09:12", "raised", "internet.loss"))

Times are of Monday 2 February 2026 in Karachi; "+1 09:00" is the next day. Each minute what has arrived is judged as
the collector's ingest does it, in one transaction, and then the silent are swept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from agent.wire import Reading, Stamp, encode_reading
from collector.judging import evaluate, silence
from collector.judging.evaluate import FreshReading
from collector.judging.flags import machine
from collector.judging.flags.witness import Witness
from collector.judging.outages import gaps
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from collector.store.columns import own_columns
from tests.collector.empty_stores import empty_store
from tests.collector.standard.timeless import timeless_standards

MIDNIGHT_MS = 1_769_972_400_000  # Monday 2026-02-02 00:00 in Karachi
MINUTE_MS = 60_000
WITNESSES = {"speed": Witness(word="agrees", reason="the server saw the same")}  # no story is of a dishonest test


@dataclass(frozen=True)
class Arrival:
    """A reading that reaches the collector."""

    received_ms: int
    center: str
    fresh: FreshReading


def ms(text: str) -> int:
    """Milliseconds of "HH:MM", or of "+D HH:MM" days later."""
    days, _, clock = text.rpartition(" ")
    hours, minutes = clock.split(":")
    return MIDNIGHT_MS + ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * MINUTE_MS


def clock(at_ms: int) -> str:
    days, minutes = divmod((at_ms - MIDNIGHT_MS) // MINUTE_MS, 1440)
    return (f"+{days} " if days else "") + f"{minutes // 60:02}:{minutes % 60:02}"


class Story:
    clock = staticmethod(clock)

    def __init__(self, store: Store) -> None:
        self.store = store
        self.filed = 0  # readings so far: each has a number
        self.standards = timeless_standards()
        self.centers: dict[str, Center] = {}
        self.known = self.add_center("LHR-001")

    def add_center(self, code: str, **facts: object) -> Center:
        usual = {"name": code, "tier": "three", "seats_promised": 10, "lifecycle": "declared"}
        center = Center(code=code, **{"opening": "Mon-Sat 09:00-21:00", **usual, **facts})  # type: ignore[arg-type]
        self.centers[code] = center
        with self.store.write() as conn:
            upsert(conn, schema.centers, [center.row()])
        return center

    def at(self, when: str, *readings: Reading, taken: str = "", center: str = "LHR-001") -> list[Arrival]:
        """Readings received at a time; `taken` if they were measured before."""
        wall_ms, received_ms = ms(taken or when), ms(when)
        stamp = Stamp(wall_ms=wall_ms, mono_ms=0, boot="b", clock="synced")
        kinds = [type(reading).__struct_config__.tag for reading in readings]
        stamped = [replace_stamp(reading, stamp) for reading in readings]
        return [
            Arrival(
                received_ms,
                center,
                FreshReading(str(kind), reading, wall_ms, received_ms, witness=WITNESSES.get(str(kind))),
            )
            for kind, reading in zip(kinds, stamped, strict=True)
        ]

    def every_minute(self, first: str, end: str, *readings: Reading, center: str = "LHR-001") -> list[Arrival]:
        """Readings of each minute from `first` to just before `end`."""
        minutes = range(ms(first), ms(end), MINUTE_MS)
        return [item for minute in minutes for item in self.at(clock(minute), *readings, center=center)]

    def plays(self, *parts: Iterable[Arrival], until: str = "") -> None:
        """All that happens, minute by minute; sweeps go on until the given time."""
        arrivals = sorted((item for part in parts for item in part), key=lambda item: item.received_ms)
        end_ms = max([arrival.received_ms for arrival in arrivals] + ([ms(until)] if until else []))
        start_ms = min([arrival.received_ms for arrival in arrivals] + [end_ms])
        for minute in range(start_ms, end_ms + 1, MINUTE_MS):
            self._minute(
                minute, [arrival for arrival in arrivals if minute <= arrival.received_ms < minute + MINUTE_MS]
            )

    def _minute(self, now_ms: int, arrivals: list[Arrival]) -> None:
        by_center: dict[str, list[FreshReading]] = {}
        for arrival in arrivals:
            self.filed += 1
            by_center.setdefault(arrival.center, []).append(
                msgspec.structs.replace(arrival.fresh, id=f"g0 s {self.filed}")
            )
        with self.store.write() as conn:
            group = [(self.centers[code], fresh) for code, fresh in by_center.items()]
            gaps.record_group(conn, group, now_ms, gaps.GAP_S)
            evaluate.judge_group(conn, group, self.standards, now_ms)
            self._hold(conn, [(code, one) for code, fresh in by_center.items() for one in fresh])
            upsert(conn, schema.pulse, [pulse_row(code, now_ms) for code in by_center])
        with self.store.write() as conn:
            silence.sweep(conn, self.standards, now_ms)
            gaps.reconsider(conn, now_ms, gaps.GAP_S)

    @staticmethod
    def _hold(conn: sa.Connection, arrived: list[tuple[str, FreshReading]]) -> None:
        by_kind: dict[str, list[dict[str, object]]] = {}
        for code, one in arrived:
            by_kind.setdefault(one.kind, []).append(reading_row(code, one))
        for kind, rows in by_kind.items():
            conn.execute(sa.insert(schema.readings[kind]), rows)
        upsert(conn, schema.latest, [latest_row(code, one) for code, one in arrived], newer_by="wall_ms")

    def changes(self, criterion: str = "") -> list[sa.Row[tuple[object, ...]]]:
        with self.store.read() as conn:
            rows = conn.execute(sa.select(schema.changes).order_by(schema.changes.c.id)).all()
        return [row for row in rows if criterion in ("", row.criterion)]

    def told(self) -> list[tuple[str, str, str, str]]:
        """(time, raised or clear, criterion, center) of each change that people are told of."""
        notices = self.standards.versions[0].notices
        told = [row for row in self.changes() if machine.alerts(row.was, row.now) and row.criterion not in notices]
        return [(clock(row.at_ms), row.now, row.criterion, row.center) for row in told]

    def wants(self, *wanted: tuple[str, ...]) -> None:
        """Exactly these, in this order, each (from, to, raised or clear, criterion[, center]) and within its times."""
        told = self.told()
        assert [row[1:3] for row in told] == [item[2:4] for item in wanted], told
        for (when, _, _, center), (first, last, _, _, *named) in zip(told, wanted, strict=True):
            assert ms(first) <= ms(when) <= ms(last), told
            assert center == (named[0] if named else "LHR-001")


def replace_stamp(reading: Reading, stamp: Stamp) -> Reading:
    fields = {name: getattr(reading, name) for name in reading.__struct_fields__}
    return type(reading)(**{**fields, "at": stamp})


def latest_row(code: str, fresh: FreshReading) -> dict[str, object]:
    return {
        "center": code,
        "kind": fresh.kind,
        "subject": fresh.reading.subject,
        "device": "g0",
        "wall_ms": fresh.wall_ms,
        "received_ms": fresh.received_ms,
        "body": encode_reading(fresh.reading).decode(),
    }


def reading_row(code: str, fresh: FreshReading) -> dict[str, object]:
    device, spool, seq = fresh.id.split(" ")
    known = {"center": code, "device": device, "spool": spool, "seq": int(seq), "subject": fresh.reading.subject}
    return {
        **known,
        "wall_ms": fresh.wall_ms,
        "received_ms": fresh.received_ms,
        **own_columns(fresh.kind, fresh.reading),
    }


def pulse_row(code: str, now_ms: int) -> dict[str, object]:
    return {"center": code, "device": "g0", "heard_ms": now_ms, "due_ms": now_ms + 5 * MINUTE_MS}


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    store = empty_store(tmp_path / "nabz.db")
    yield Story(store)
    store.close()
