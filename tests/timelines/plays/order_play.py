"""Plays of arrival: what three gateways measured and servers saw, to be given to a collector in one order or another.

Each center has its own times at which something of it arrives. What arrives at each of them is for the order to say;
only never before it was taken.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.access.enrolment import device_name
from collector.common.config import Settings
from collector.common.messages import Message
from collector.ingest import server_results
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging.outages import mains_cuts
from collector.register import centers
from collector.reports import monthly
from collector.speedtests.measure.record import Record, RecordedDirection, encode
from collector.standard.criteria import EVERYONE
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MONTH = 1_793_473_200_000  # 2026-11-01 00:00 in Pakistan
BEGIN = MONTH + 9 * DAY + 9 * HOUR  # a Tuesday morning
REPORTED = MONTH + 40 * DAY
CODES = ("LHR-1", "LHR-2", "LHR-3")
SETTINGS = Settings.model_validate({"sweep": {"gap_s": 600}})  # rounds are five minutes and more apart
STANDARDS = timeless_standards()
PLACE = {"isp": "PTCL", "city": "Lahore", "feeder": "F1"}
ROW = {"tier": "one", "seats_promised": "20", "opening": "Tue 09:00-13:00", **PLACE}


@dataclass(frozen=True)
class Parcel:
    """One batch or record: nothing of it can arrive before `ready_ms`."""

    ready_ms: int
    message: Message
    live: bool = True


@dataclass
class OrderPlay:
    """`slots` are the times at which a parcel of a center arrives, as many as it has parcels."""

    keys: dict[str, Ed25519PrivateKey]
    server: Ed25519PrivateKey
    parcels: dict[str, list[Parcel]] = field(default_factory=lambda: defaultdict(list))
    slots: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    tests: list[tuple[str, str, int]] = field(default_factory=list)  # center, test, when
    records: list[bytes] = field(default_factory=list)
    nonces: dict[str, int] = field(default_factory=dict)  # when each was issued

    def device(self, code: str) -> str:
        return device_name(self.keys[code].public_key().public_bytes_raw())


Arrival = tuple[int, str, Message]  # when, center, what


# ---------------------------------------------------------------- what was measured


def make_play(seed: int, hours: int = 2, *, hard: bool = False, twins: bool = True) -> OrderPlay:
    """Each center with cuts, silences, deaths, a clock that is found late, and a test told twice. `hard`: with clocks
    that are never found, and `twins` that sign other readings under the same numbers."""
    draw = random.Random(seed)
    play = OrderPlay({code: _key(draw) for code in CODES}, _key(draw))
    cut_ms = BEGIN + draw.randrange(20, 80) * MINUTE
    for code in CODES:
        _center(play, code, draw, cut_ms, BEGIN + hours * HOUR, hard=hard, twins=hard and twins)
    return play


def _key(draw: random.Random) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))


def _center(
    play: OrderPlay, code: str, draw: random.Random, cut_ms: int, end_ms: int, *, hard: bool, twins: bool
) -> None:
    step_ms = draw.choice([6, 9]) * MINUTE
    cuts = [(cut_ms, cut_ms + draw.randrange(10, 60) * MINUTE)] if draw.random() < 0.8 else []
    cuts.append((at := BEGIN + draw.randrange(10, 100) * MINUTE, at + draw.randrange(3, 25) * MINUTE))
    offline = [(at := BEGIN + draw.randrange(10, 80) * MINUTE, at + draw.randrange(15, 70) * MINUTE)]
    offline += [cuts[0]] if draw.random() < 0.5 else []
    dies = draw.random() < 0.5
    unsynced = draw.random() < 0.5
    spool, seq, chain = draw.randbytes(16).hex(), 1, wire.GENESIS
    boot, boot_ms, alive_ms, waiting, heard_ms = "b0", BEGIN - DAY, None, [], BEGIN - HOUR
    for at_ms in range(BEGIN + draw.randrange(MINUTE), end_ms, step_ms):
        on_battery = any(start <= at_ms < end for start, end in cuts)
        if dies and any(start + (end - start) // 2 <= at_ms < end for start, end in cuts):
            alive_ms = alive_ms or at_ms - step_ms
            continue
        readings: list[wire.Reading] = []
        if alive_ms is not None:
            boot, boot_ms = f"b{at_ms}", at_ms - 20_000
            dark_s = (at_ms - alive_ms) / 1000
            readings, alive_ms = [wire.BootReading(previous_end="power", last_alive_ms=alive_ms, dark_s=dark_s)], None
        readings += _round(play, code, draw, at_ms, on_battery)
        settles = all(end <= boot_ms for _, end in cuts) and boot_ms + HOUR // 2 < end_ms
        lost = unsynced and settles and boot != "b0" and at_ms - boot_ms < 15 * MINUTE
        lost = lost or (hard and boot != "b0")
        stamp = wire.Stamp(
            wall_ms=at_ms - boot_ms if lost else at_ms,
            mono_ms=at_ms - boot_ms,
            boot=boot,
            clock="unsynced" if lost else "synced",
        )
        waiting += [wire.encode_reading(msgspec.structs.replace(reading, at=stamp)) for reading in readings]
        away = any(start <= at_ms < end for start, end in offline)
        if away and len(waiting) < 24:
            continue
        # That of the last receipt, which came before all that waits was taken.
        nonce = hashlib.blake2b(f"{code} {heard_ms}".encode(), digest_size=16).hexdigest() if hard else ""
        play.nonces |= {nonce: heard_ms + MINUTE} if hard else {}
        batch = wire.Batch(
            v=1,
            device=play.device(code),
            spool=spool,
            first_seq=seq,
            prev=chain.hex(),
            live=not away,
            nonce=nonce,
            readings=[msgspec.Raw(raw) for raw in waiting],
        )
        sealed = wire.seal(wire.encode(batch), play.keys[code].sign)
        play.parcels[code].append(Parcel(at_ms, Message(wire.batch_topic(play.device(code)), sealed), not away))
        if twins and draw.random() < 0.15:
            other = [msgspec.Raw(raw.replace(b'"wan"', b'"lan"')) for raw in waiting]
            body = wire.encode(msgspec.structs.replace(batch, readings=other))
            twin = wire.seal(body, play.keys[code].sign)
            play.parcels[code].append(Parcel(at_ms, Message(wire.batch_topic(play.device(code)), twin)))
            play.slots[code].append(at_ms + draw.randrange(1, 20_000))
        back_ms = max([end for start, end in offline if start <= at_ms < end], default=at_ms)
        late_ms = draw.randrange(1, 20_000)
        play.slots[code].append(back_ms + (late_ms // 400 if hard and not away else late_ms + 100 * away))
        seq, chain, waiting = seq + len(waiting), wire.chain(chain, waiting), []
        heard_ms = heard_ms if away else at_ms
    play.slots[code].sort()


def _round(play: OrderPlay, code: str, draw: random.Random, at_ms: int, on_battery: bool) -> list[wire.Reading]:
    pct = draw.choice([100.0, 97.0, 60.0, 33.3])
    state, status = ("battery", draw.choice(["normal", "low"])) if on_battery else ("online", "normal")
    readings: list[wire.Reading] = [
        wire.UpsReading(
            output_state=state,
            battery_status=status,
            battery_charge_pct=pct,
            load_pct=draw.choice([None, 40.1, 33.7]),
            on_battery_s=draw.choice([None, 10.0, 400.0]) if on_battery else None,
            subject="ups",
        ),
        wire.LinkReading(
            rtt_median_ms=draw.choice([20.0, 90.0]),
            loss_pct=draw.choice([0.0, 100.0]),
            fault_place=draw.choice([None, "none", "isp", "lan"]),
            subject="wan",
        ),
    ]
    if draw.random() < 0.3:
        state = draw.choice(["healthy", "off", "missing"])
        uptime_s = [draw.randrange(60, 9_000)] * 3 if state == "healthy" else [None] * 3
        columns = wire.SeatColumns(
            id=list("abc"), state=[state] * 3, why=[""] * 3, uptime_s=uptime_s, quiet_s=[9.0] * 3
        )
        readings.append(wire.SeatsReading(known=3, healthy=3 * (state == "healthy"), seats=columns))
    if draw.random() < 0.06:
        repeats = [name for owner, name, _ in play.tests if owner == code]
        test = repeats[0] if repeats and draw.random() < 0.5 else f"t{len(play.tests)}"
        if test not in repeats:
            play.tests.append((code, test, at_ms))
            play.records.append(_record(play, code, test, at_ms))
        readings.append(
            wire.SpeedReading(
                download_mbps=60.0,
                upload_mbps=30.0,
                server="https://pie.example",
                engine="librespeed",
                test_id=test,
                subject="wan",
            )
        )
    return readings


def _record(play: OrderPlay, code: str, test: str, at_ms: int) -> bytes:
    ways = []
    for mbps in (60.0, 30.0):
        times = [100 * i for i in range(41)]
        total = [round(mbps * 12_500 * i) for i in range(41)]
        ways.append(RecordedDirection(bytes=total[-1], at_ms=times, total=total))
    record = Record(
        test=test,
        server="pie",
        device=play.device(code),
        address="203.0.113.7",
        started_ms=at_ms - 9_000,
        seconds=9.0,
        end="idle",
        witnessed=True,
        connections=7,
        min_rtt_ms=18.0,
        down=ways[0],
        up=ways[1],
    )
    return encode(record, play.server.sign)


# ---------------------------------------------------------------- how it arrives


def as_ready(play: OrderPlay) -> list[Arrival]:
    """In the order in which it was taken, at its times."""
    return [
        (slot, code, parcel.message)
        for code in CODES
        for slot, parcel in zip(play.slots[code], play.parcels[code], strict=True)
    ]


def drawn(play: OrderPlay, draw: random.Random, newest_first: bool = False) -> list[Arrival]:
    """At each of its times any parcel of the center that is ready: the newest, or whichever."""
    found: list[Arrival] = []
    for code in CODES:
        left = list(play.parcels[code])
        for slot in play.slots[code]:
            ready = [parcel for parcel in left if parcel.ready_ms <= slot]
            chosen = ready[-1] if newest_first else draw.choice(ready)
            left.remove(chosen)
            found.append((slot, code, chosen.message))
    return found


def backlog_drawn(play: OrderPlay, draw: random.Random, *, newest_first: bool = False) -> list[Arrival]:
    """What is live comes when it came; what was kept in any order, at the times at which such came."""
    found: list[Arrival] = []
    for code in CODES:
        pairs = list(zip(play.slots[code], play.parcels[code], strict=True))
        kept = [parcel for _, parcel in pairs if not parcel.live]
        for slot, parcel in pairs:
            chosen = parcel
            if not parcel.live:
                ready = [one for one in kept if one.ready_ms <= slot]
                chosen = ready[-1] if newest_first else draw.choice(ready)
                kept.remove(chosen)
            found.append((slot, code, chosen.message))
    return found


def in_time(arrivals: Sequence[Arrival]) -> list[Arrival]:
    return sorted(arrivals, key=lambda item: (item[0], item[1]))


def collected(template: Path, folder: Path, play: OrderPlay, arrivals: Sequence[Arrival], draw: random.Random) -> Any:
    """What a collector holds and reports when it has taken this, in this order. Records come whenever they come."""
    path = folder / f"{draw.randrange(2**60)}.db"
    shutil.copy(template, path)
    store = Store.open(f"sqlite:///{path}")
    ingest = Ingest(store, play.server, judge_with(SETTINGS, STANDARDS))
    places = [draw.randrange(len(arrivals) + 1) for _ in play.records]
    for place, (now_ms, _, message) in enumerate([*arrivals, (REPORTED, "", None)]):
        for record in (item for item, when in zip(play.records, places, strict=True) if when == place):
            with store.write() as conn:
                server_results.take_record(conn, record, max(now_ms, BEGIN), STANDARDS)
        if message is not None:
            ingest.take([message], now_ms)
    with store.write() as conn:
        server_results.forget_overtaken(conn, REPORTED)
    found = held(store)
    store.close()
    path.unlink()
    return found


def again(template: Path, folder: Path, play: OrderPlay, arrivals: Sequence[Arrival]) -> tuple[Any, Any]:
    """What a collector holds that takes this, and what another does that takes in its evidence as it came."""
    stores = []
    for name in ("first", "again"):
        shutil.copy(template, folder / name)
        stores.append(Store.open(f"sqlite:///{folder / name}"))
        with stores[-1].write() as conn:
            for record in play.records:
                server_results.take_record(conn, record, BEGIN, STANDARDS)
    first, second = (Ingest(store, play.server, judge_with(SETTINGS, STANDARDS)) for store in stores)
    for now_ms, _, message in arrivals:
        first.take([message], now_ms)
    e = schema.evidence.c
    with stores[0].read() as conn:
        rows = conn.execute(sa.select(e.device, e.body, e.signature, e.received_ms).order_by(e.id)).all()
    for row in rows:
        sealed = wire.seal(bytes(row.body), lambda _body, signature=row.signature: bytes(signature))
        second.take([Message(wire.batch_topic(row.device), sealed)], row.received_ms)
    for store in stores:
        with store.write() as conn:
            server_results.forget_overtaken(conn, REPORTED)
    found = held(stores[0]), held(stores[1])
    for store in stores:
        store.close()
    return found


def template(folder: Path, play: OrderPlay) -> Path:
    """A database in which everybody is enrolled and each test granted."""
    path = folder / "template.db"
    store = Store.open(f"sqlite:///{path}")
    with store.write() as conn:
        for code in CODES:
            centers.add(conn, {"center": code, "name": code, **ROW}, BEGIN - DAY)
            public = play.keys[code].public_key().public_bytes_raw()
            row = {"device": play.device(code), "center": code, "public_key": public, "enrolled_ms": BEGIN - DAY}
            conn.execute(sa.insert(schema.devices).values(**row))
        rows = [{"nonce": nonce, "issued_ms": at_ms} for nonce, at_ms in play.nonces.items()]
        if rows:
            conn.execute(sa.insert(schema.nonces), rows)
        server = {
            "name": "pie",
            "url": "https://pie.example",
            "public_key": play.server.public_key().public_bytes_raw(),
        }
        conn.execute(sa.insert(schema.measure_servers).values(**server, tests_at_once=5, joined_ms=BEGIN - DAY))
        for code, test, at_ms in play.tests:
            who = {"center": code, "device": play.device(code), "server": "pie", "purpose": "routine", "state": "done"}
            times = {"asked_ms": at_ms, "granted_ms": at_ms, "expires_ms": at_ms + HOUR}
            conn.execute(sa.insert(schema.grants).values(test_id=test, **who, **times))
    store.close()
    return path


def held(store: Store) -> dict[str, Any]:
    """The rows that may not depend on order, and the month's reports."""
    with store.read() as conn:
        known = {row.code: row for row in centers.some_centers(conn, CODES).values()}
        reports = monthly.build_some(conn, list(known.values()), "2026-11", STANDARDS, REPORTED)
        return {
            "reports": {code: msgspec.json.encode(report) for code, report in reports.items()},
            "cuts": {code: mains_cuts.cuts_of(conn, code) for code in CODES},
            "gaps": {
                (row.center, row.from_ms): (row.to_ms, row.facts)
                for row in conn.execute(sa.select(schema.gaps).order_by(schema.gaps.c.revision))
                if row.center in CODES
            },
            "deaf": sorted(
                tuple(row)
                for row in conn.execute(
                    sa.select(schema.gaps.c.from_ms, schema.gaps.c.to_ms).where(schema.gaps.c.center == EVERYONE)
                )
            ),
            "readings": {kind: _rows(conn, table) for kind, table in schema.readings.items()},
        }


def _rows(conn: sa.Connection, table: sa.Table) -> list[tuple[object, ...]]:
    columns = [column for column in table.c if column.name != "received_ms"]
    return sorted(tuple(row) for row in conn.execute(sa.select(*columns)))
