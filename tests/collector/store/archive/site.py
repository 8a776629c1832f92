"""Days of a few centers, with everything in them that strangers may send, taken by the real ingest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.store import Store, schema
from collector.store.archive import pack
from collector.store.cold import held
from collector.store.rollups import ROLLED, day_of, upsert
from tests.collector.conftest import NOW, YEAR_MS

DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
FIRST = day_of(NOW)  # the day on which everything comes
LATER = FIRST + 4 * DAY  # when it is due
AFTER = 2 * DAY
SEATS = wire.SeatColumns(id=["a", "b"], state=["healthy", "off"], why=["", "x"], cpu_pct=[3.0, None])
STRANGE = (
    b'{"kind":"ups","at":{"wall_ms":%d,"mono_ms":%d,"boot":"b","clock":"synced"},"load_pct":-0.0,"new":[1, 2]}',
    b'{"at":{"wall_ms":%d,"mono_ms":%d,"boot":"b","clock":"synced"},"kind":"ups","runtime_s":60,"load_pct":1.50}',
    b'{"kind":"ups","at":{"wall_ms":%d,"mono_ms":%d,"boot":"b","clock":"synced"},"subject":"u\\u0000s","model":"\\u0000"}',
    b'{"kind":"link","at":{"wall_ms":%d,"mono_ms":%d,"boot":"b","clock":"synced"},"hops":[{"role":"lan","target":"x",'
    b'"method":"icmp","sent":2,"received":2,"min_ms":1}],"causes":["dns" ]}',
    b'{"kind":"tide","at":{"wall_ms":%d,"mono_ms":%d,"boot":"b","clock":"synced"},"height_m":2}',
    b'{"kind":"seats","at":{"wall_ms":%d,"mono_ms":%d,"boot":"b","clock":"synced"},"seats":{"id":["a"],'
    b'"state":["off"],"why":[""],"cpu_pct":[7]}}',
)


def mono_ms(wall_ms: int) -> int:
    """As of the gateway of the tests, which booted a year before NOW."""
    return wall_ms - NOW + YEAR_MS


def minute(mine, wall_ms: int) -> list[bytes]:
    """What a gateway measures in one minute."""
    at = wire.Stamp(wall_ms=wall_ms, mono_ms=mono_ms(wall_ms), boot="b", clock="synced")
    readings = [
        wire.LinkReading(at=at, subject="wan", rtt_median_ms=20.5 + wall_ms % 7, loss_pct=0.0),
        wire.SeatsReading(at=at, known=2, healthy=1, off=1, seats=SEATS),
        wire.GatewayReading(at=at, cpu_pct=3.25, uptime_s=float(wall_ms // 1000 % 99), wan_interface="eth0"),
    ]
    return [mine.ups(wall_ms=wall_ms, load_pct=30.0), *map(wire.encode_reading, readings)]


def strange(wall_ms: int) -> list[bytes]:
    times = (wall_ms + number for number in range(len(STRANGE)))
    return [text % (at_ms, mono_ms(at_ms)) for text, at_ms in zip(STRANGE, times, strict=True)]


def seldom(wall_ms: int) -> list[bytes]:
    at = wire.Stamp(wall_ms=wall_ms, mono_ms=mono_ms(wall_ms), boot="b", clock="synced")
    speed = wire.SpeedReading(at=at, subject="wan", engine="librespeed", download_mbps=50.0, test_id="t1")
    return [wire.encode_reading(speed), wire.encode_reading(wire.BootReading(at=at, previous_end="first"))]


@dataclass
class Days:
    """A store with an archive, and gateways whose readings come to it minute by minute."""

    store: Store
    folder: Path
    gateways: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store.archive = self.folder
        self.ingest = Ingest(self.store, Ed25519PrivateKey.generate(), lambda *_: 0)

    def take(self, message: Message, now_ms: int) -> None:
        self.ingest.take([message], now_ms)

    def fill(self, make: Callable[..., object], codes: Sequence[str], minutes: int = 12) -> None:
        """Of each center a first day with all there is, and a little of the days after it."""
        for code in codes:
            mine = self.gateways[code] = make(self.store, code)
            for number in range(minutes):
                wall_ms = FIRST + HOUR + number * MINUTE
                self.take(mine.batch(minute(mine, wall_ms), nonce="n" * 8), wall_ms + 900)
            again = mine.sealed([mine.ups(wall_ms=wall_ms)], 1, wire.GENESIS)  # another history: it is held aside
            self.take(again, wall_ms + 1000)
            self.take(mine.batch(strange(wall_ms)), wall_ms + 1100)
            self.take(mine.batch(seldom(wall_ms)), wall_ms + 1200)
            for day in (1, 2, 3):
                wall_ms = FIRST + day * DAY + HOUR
                self.take(mine.batch(minute(mine, wall_ms)), wall_ms + 900)
        self.heard(LATER)

    def heard(self, at_ms: int) -> None:
        with self.store.write() as conn:
            conn.execute(sa.update(schema.pulse).values(heard_ms=at_ms))
            upsert(conn, schema.about, [{"name": ROLLED, "value": str(at_ms)}])

    def due(self, now_ms: int = LATER) -> list[pack.Due]:
        with self.store.read() as conn:
            return pack.due(conn, now_ms, AFTER)

    def archive(self, now_ms: int = LATER) -> list[pack.Packed]:
        return [pack.pack(self.store, day, now_ms) for day in self.due(now_ms)]

    def state(self) -> list[object]:
        """Everything that readers see, in an order of its own."""
        with self.store.read() as conn:
            batches = sorted(held.batches(conn), key=lambda one: one.id)
            rows = []
            for kind in schema.readings:
                table = held.readings(conn, kind)
                keys = [table.c[name] for name in ("wall_ms", "center", "device", "spool", "seq")]
                names = [table.c[column.name] for column in schema.readings[kind].columns]
                rows += [(kind, *row) for row in conn.execute(sa.select(*names).order_by(*keys))]
        return [msgspec.structs.asdict(one) if isinstance(one, msgspec.Struct) else one for one in [*batches, *rows]]

    def in_tables(self) -> dict[str, int]:
        with self.store.read() as conn:
            tables = {"evidence": schema.evidence, **schema.readings}
            counts = {
                name: conn.scalar(sa.select(sa.func.count()).select_from(one)) or 0 for name, one in tables.items()
            }
        return {name: count for name, count in counts.items() if count}
