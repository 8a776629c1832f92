"""What the database holds of a center's batches: in their order, page by page, with what was held before them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from agent import wire
from collector.common.messages import Device
from collector.common.sequence_ranges import ChainedRun, Numbers, Range, joined, parse, run_of
from collector.ingest.spools import SpoolState
from collector.ingest.times import boot_clocks
from collector.ingest.times.boot_clocks import BootClocks
from collector.reports.audit.replay import SpoolName
from collector.store import schema
from collector.store.cold import held
from collector.store.cold.batches import StoredBatch, of_row
from collector.store.cold.held import Place
from collector.store.rollups import DAY_MS

PAGE = 200
SLACK_MS = 600_000  # a reading is received at most so long before its own time: clocks run ahead

_e, _a, _d, _b, _p, _s = (
    schema.evidence.c, schema.archived.c, schema.devices.c, schema.boots.c, schema.spools.c, schema.second_stories.c,
)  # fmt: skip


def senders(conn: sa.Connection, code: str) -> dict[str, Device]:
    """Every gateway that was ever enrolled at a center; that it was revoked later is no matter here."""
    query = sa.select(_d.device, _d.center, _d.public_key, _d.enrolled_ms).where(_d.center == code)
    rows = conn.execute(query.order_by(_d.device))
    return {row.device: Device(row.device, row.center, bytes(row.public_key), row.enrolled_ms, None) for row in rows}


def stories_of(conn: sa.Connection, code: str) -> frozenset[SpoolName]:
    rows = conn.execute(sa.select(_s.device, _s.spool).where(_s.center == code))
    return frozenset((row.device, row.spool) for row in rows)


def begin_ms(conn: sa.Connection, devices: Sequence[str], from_ms: int) -> int:
    """From which time of receipt on batches are to be taken in again to know what was taken from `from_ms` on: since
    the boots that went on then had begun. 0: from the first."""
    boot = schema.readings["boot"].c
    first_ms = from_ms - SLACK_MS
    begins = [
        conn.scalar(
            sa.select(sa.func.max(boot.received_ms)).where(boot.device == device, boot.received_ms < first_ms)
        )
        for device in devices
    ]  # fmt: skip
    return min((int(at_ms or 0) for at_ms in begins), default=0)


def boots_before(conn: sa.Connection, devices: Sequence[str], begin: int) -> BootClocks:
    """The clocks of boots of which nothing new was learnt since."""
    return BootClocks(boot_clocks.stored(conn, _b.device.in_(devices) & (_b.noted_ms < begin)))


class HeldBatches:
    """The batches of some gateways that were received since `begin`, in the order of their taking, wherever they lie.
    Raises ArchiveMissing."""

    def __init__(self, conn: sa.Connection, code: str, devices: Sequence[str], begin: int) -> None:
        self._conn = conn
        self._cold: dict[int, Place] = {}
        self._read: tuple[Place, dict[int, StoredBatch]] | None = None
        end_ms = begin - DAY_MS
        for place in held.places(conn, _a.center == code, _a.day_ms > end_ms, _a.device.in_(devices)):
            for row in held.rows_of_batches(conn, place, ("id", "center", "device", "received_ms")):
                if row["device"] in devices and row["received_ms"] >= begin:
                    self._cold[row["id"]] = place
        mine = _e.device.in_(devices) & (_e.received_ms >= begin)
        self.ids = sorted([*self._cold, *conn.scalars(sa.select(_e.id).where(mine))])

    def all(self) -> Iterator[StoredBatch]:
        """In a fixed memory."""
        for first in range(0, len(self.ids), PAGE):
            some = self.ids[first : first + PAGE]
            rows = self._conn.execute(sa.select(schema.evidence).where(_e.id.in_(some))).mappings()
            by_id = {row["id"]: of_row(row) for row in rows}
            yield from (by_id[number] if number in by_id else self._archived(number) for number in some)

    def of(self, number: int) -> StoredBatch:
        """By its id."""
        row = self._conn.execute(sa.select(schema.evidence).where(_e.id == number)).mappings().one_or_none()
        return self._archived(number) if row is None else of_row(row)

    def _archived(self, number: int) -> StoredBatch:
        place = self._cold[number]
        if self._read is None or self._read[0] != place:
            batches = held.batches_of(self._conn, place, held.files_of(self._conn, place.part))
            self._read = place, {batch.id: batch for batch in batches}
        return self._read[1][number]


def held_numbers(conn: sa.Connection, code: str) -> dict[SpoolName, list[Numbers]]:
    """What was held of each spool of a center, as its receipts have said it."""
    rows = conn.execute(sa.select(_p.device, _p.spool, _p.ranges).where(_p.center == code))
    return {(row.device, row.spool): [(one.first, one.last) for one in parse(row.ranges)] for row in rows}


def spools_before(conn: sa.Connection, names: Sequence[SpoolName], first_id: int) -> dict[SpoolName, SpoolState]:
    """What was held of these spools before that batch, with the chain at the ends."""
    return {name: SpoolState(_ranges(conn, name, first_id)) for name in names}


def _ranges(conn: sa.Connection, name: SpoolName, first_id: int) -> list[Range]:
    device, spool = name
    rows: list[tuple[int, int, int, str | None]] = [
        (row.id, row.first_seq, row.last_seq, row.fresh)
        for row in conn.execute(
            sa.select(_e.id, _e.first_seq, _e.last_seq, _e.fresh).where(_e.device == device, _e.spool == spool)
        )
    ]
    for place in held.places(conn, _a.device == device, _a.spool == spool):
        rows += [
            (row["id"], row["first_seq"], row["last_seq"], row["fresh"])
            for row in held.rows_of_batches(conn, place, (*_SEQS, "center", "device", "spool"))
            if (row["device"], row["spool"]) == name
        ]
    parts = [
        (part[0], part[1])
        for number, first, last, fresh in rows
        if number < first_id
        for part in ([(first, last)] if fresh is None else json.loads(fresh))
    ]
    return [_range(conn, name, first_id, part) for part in joined(parts)]


_SEQS = ("id", "first_seq", "last_seq", "fresh")


def _range(conn: sa.Connection, name: SpoolName, first_id: int, part: Numbers) -> Range:
    before, after = (_run_with(conn, name, first_id, number) for number in part)
    return Range(*part, before.after(part[0] - 1), after.after(part[1]))


def _run_with(conn: sa.Connection, name: SpoolName, first_id: int, number: int) -> ChainedRun:
    """Of the batch that was the first to bring that number."""
    batches = held.batches(conn, device=name[0], spool=name[1], numbers=(number, number))
    own = sorted((one for one in batches if one.id < first_id), key=lambda one: one.id)
    batch = next(
        wire.decode_frame(one.body) for one in own if any(low <= number <= high for low, high in json.loads(one.fresh))
    )
    return run_of(batch.first_seq, batch.prev, [bytes(raw) for raw in batch.readings])
