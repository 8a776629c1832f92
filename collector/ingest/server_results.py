"""Records of measurement servers, and what they change: a reading that waited for its witness is judged again.

What is known when a reading comes is judged in its transaction; a record that comes after it has the reading judged
once more in the transaction that stores the record. What is dishonest in either becomes a finding, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import structs

from agent import wire
from agent.common.reasons import Reason, encode
from agent.common.reasons import decode as decode_reason
from collector.access.enrolment import is_signed
from collector.common.messages import Finding, MessageRefused, printable, unframed
from collector.judging import reopening, server_samples
from collector.judging.evaluate import FreshReading, judge_again
from collector.judging.flags.witness import FINDINGS, Witness, Word, rate_mbps
from collector.judging.server_check import ClaimInContext, overtaken, speeds, told, told_by, witnesses
from collector.register import centers, dated
from collector.register.centers import Center
from collector.speedtests import requests
from collector.speedtests.measure.record import MAX_BYTES, Record, decode
from collector.standard import Standards
from collector.store import schema

KEPT_MS = 45 * 86_400_000  # how far back findings are looked at again
IntegrityRow = tuple[Finding | Word, str, str, Reason]  # finding, center, device, detail
Group = Sequence[tuple[Center, Sequence[FreshReading]]]


def attach(conn: sa.Connection, group: Group, now_ms: int) -> Group:
    """The same readings, each speed reading with its witness; what is dishonest in them becomes a finding."""
    claims = [
        told(reading.reading, reading.id, center.code, reading.wall_ms, reading.received_ms)
        for center, fresh in group
        for reading in fresh
        if isinstance(reading.reading, wire.SpeedReading) and reading.reading.failure is None
    ]
    if not claims:
        return list(group)
    by_claim = witnesses(conn, claims, now_ms)
    _note(conn, [(claim, by_claim[claim.claim.id]) for claim in claims], now_ms)
    _note(conn, overtaken(conn, claims, now_ms).values(), now_ms)
    return [
        (center, [structs.replace(one, witness=by_claim[one.id]) if one.id in by_claim else one for one in fresh])
        for center, fresh in group
    ]


def take_record(conn: sa.Connection, sealed: bytes, now_ms: int, standards: Standards) -> set[str]:
    """Stores what a server saw and judges its reading again, if there is one; returns the centers it is about.

    The same record once more changes nothing; another one of the same test is a finding, and the first stands.
    Raises Refused.
    """
    record, body, signature = _proven(conn, sealed)
    table = schema.records
    held = conn.execute(sa.select(table.c.body, table.c.server).where(table.c.test_id == record.test)).one_or_none()
    if held is not None:
        if bytes(held.body) != body:
            detail = Reason.of("refused.record_conflict", test=record.test, server=held.server, other=record.server)
            _find(conn, ("record_conflict", _center_of(conn, record.device), record.device, detail), now_ms)
        return set()
    conn.execute(sa.insert(table).values(row_of(record, body, signature, now_ms)))
    return _judge_again(conn, record.test, now_ms, standards)


def count_unreported(conn: sa.Connection, now_ms: int, standards: Standards) -> set[str]:
    """Judges tests that servers saw and no reading speaks for, once their time of grace is over; returns the centers
    they are about. To be called every minute or so."""
    tests, samples = server_samples.due(conn, now_ms)
    if not tests:
        return set()
    server_samples.record(conn, tests, samples, now_ms)
    by_center: dict[str, list[FreshReading]] = defaultdict(list)
    for sample in samples:
        by_center[sample.test.center].append(sample.fresh())
    if by_center:
        moments = [(sample.test.center, sample.test.started_ms) for sample in samples]
        reopening.record_server_results(conn, moments, now_ms)
        judge_again(conn, _registered(conn, by_center), standards, now_ms)
    return set(by_center)


def row_of(record: Record, body: bytes, signature: bytes, now_ms: int) -> dict[str, object]:
    """As the table has it, its figures drawn from its curves."""
    down_mbps, down_s = rate_mbps(record.down.at_ms, record.down.total)
    up_mbps, up_s = rate_mbps(record.up.at_ms, record.up.total)
    return {
        "test_id": record.test,
        "server": record.server,
        "device": record.device,
        "address": record.address,
        "started_ms": record.started_ms,
        "received_ms": now_ms,
        "witnessed": record.witnessed,
        "min_rtt_ms": record.min_rtt_ms,
        "down_mbps": down_mbps,
        "up_mbps": up_mbps,
        "down_bytes": record.down.bytes,
        "up_bytes": record.up.bytes,
        "down_s": down_s,
        "up_s": up_s,
        "body": body,
        "signature": signature,
        "asn": record.asn,
        "network": printable(record.network) or None,
        "server_asn": record.server_asn,
    }


def _proven(conn: sa.Connection, sealed: bytes) -> tuple[Record, bytes, bytes]:
    """A record signed by a server that is joined. Raises Refused."""
    try:
        body, signature = wire.unseal(sealed, MAX_BYTES)
        record = decode(body)
    except wire.WireError as error:
        raise MessageRefused("unframed", unframed(error)) from None
    table = schema.measure_servers.c
    query = sa.select(table.public_key, table.revoked_ms).where(table.name == record.server)
    server, name = conn.execute(query).one_or_none(), printable(record.server)
    if server is None or server.public_key is None:
        raise MessageRefused("unknown_server", Reason.of("refused.unknown_server", server=name))
    if not is_signed(bytes(server.public_key), body, signature):
        raise MessageRefused("bad_signature", Reason.of("refused.server_signature", server=name))
    if server.revoked_ms is not None and record.started_ms >= server.revoked_ms:
        raise MessageRefused("revoked_server", Reason.of("refused.revoked_server", server=name))
    return record, body, signature


def _judge_again(conn: sa.Connection, test: str, now_ms: int, standards: Standards) -> set[str]:
    query = sa.select(schema.readings["speed"]).where(speeds.test_id == test, speeds.failure.is_(None))
    rows = conn.execute(query).all()
    if not rows:
        return set()
    claims = [told_by(row) for row in rows]
    by_claim = witnesses(conn, claims, now_ms)
    # What the record does not change was noted when its reading came.
    by_record = [(claim, by_claim[claim.claim.id]) for claim in claims if by_claim[claim.claim.id].server]
    _note(conn, by_record, now_ms)
    reopening.record_server_results(conn, ((row.center, row.wall_ms) for row in rows), now_ms)
    by_center: dict[str, list[FreshReading]] = defaultdict(list)
    for row, context in zip(rows, claims, strict=True):
        reading = _reading(row)
        by_center[row.center].append(
            FreshReading("speed", reading, row.wall_ms, row.received_ms, context.claim.id, by_claim[context.claim.id])
        )
    group = _registered(conn, by_center)
    requests.record_group(conn, group, standards, now_ms)
    judge_again(conn, group, standards, now_ms)
    return set(by_center)


def _registered(conn: sa.Connection, by_center: Mapping[str, Sequence[FreshReading]]) -> Group:
    """With their centers as they were when the first of these readings was taken."""
    earliest_ms = {code: min(one.at_ms for one in fresh) for code, fresh in by_center.items()}
    registered = dated.judged(conn, centers.some_centers(conn, by_center), earliest_ms)
    return [(registered[code], fresh) for code, fresh in by_center.items() if code in registered]


def _reading(row: sa.Row[Any]) -> wire.SpeedReading:
    """The reading of a row, as far as judging needs it: without its stamp."""
    names = [name for name in wire.SpeedReading.__struct_fields__ if name not in ("at", "failure")]
    fields = {name: value for name in names if (value := getattr(row, name)) is not None}
    return wire.SpeedReading(**(fields | {"flags": msgspec.json.decode(row.flags or "[]")}))


# ---------------------------------------------------------------- findings about honesty


def _note(conn: sa.Connection, pairs: Iterable[tuple[ClaimInContext, Witness]], now_ms: int) -> None:
    """A row for each dishonest reading, naming both sides, at the time when it was received: of two copies of one, in
    whatever order they came, that is the same."""
    for one, witness in pairs:
        if witness.word in FINDINGS:
            detail = Reason.of("finding.reading", reading=one.claim.id, found=witness.reason)
            _find(conn, (witness.word, one.center, one.claim.device, detail), max(now_ms, one.claim.received_ms))


def forget_overtaken(conn: sa.Connection, now_ms: int) -> int:
    """Of several findings that one reading repeats a test, as ever earlier ones came, the last holds; returns how many
    went. By housekeeping: who takes readings in can only add findings."""
    table = schema.integrity.c
    query = sa.select(table.id, table.center, table.device, table.detail).order_by(table.id.desc())
    known: set[tuple[str, str, object]] = set()
    old = []
    for row in conn.execute(query.where(table.finding == "replayed", table.at_ms > now_ms - KEPT_MS)):
        reading = (row.center, row.device, decode_reason(row.detail).params.get("reading"))
        if reading in known:
            old.append(row.id)
        known.add(reading)
    if old:
        conn.execute(sa.delete(schema.integrity).where(table.id.in_(old)))
    return len(old)


def _find(conn: sa.Connection, row: IntegrityRow, at_ms: int) -> None:
    finding, center, device, detail = row
    facts = {"finding": finding, "center": center, "device": device, "detail": encode(detail)}
    conn.execute(sa.insert(schema.integrity).values(at_ms=at_ms, **facts))


def _center_of(conn: sa.Connection, device: str) -> str:
    table = schema.devices.c
    return str(conn.scalar(sa.select(table.center).where(table.device == device)) or "")
