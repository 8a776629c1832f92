"""A center's month as one file for strangers, which `nabz-verify` checks offline (docs/bundle.md)."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.common.messages import Device
from collector.log import days, sequencing
from collector.log.notes import Checkpoint, NoteKey
from collector.register import centers
from collector.reports import day_store, revisions, schedule
from collector.reports.audit import evidence_rows
from collector.reports.day_samples import Period
from collector.reports.ledger import REACH_MS
from collector.reports.monthly import ReportError, build_some, period
from collector.standard import Standards
from collector.store import schema

FORMAT = 2  # 1 had no records of measurement servers
WHEN = (1980, 1, 1, 0, 0, 0)  # of every file within: the same month is the same bytes

_l, _r, _m, _d = schema.log_leaves.c, schema.records.c, schema.measure_servers.c, schema.devices.c

Rows = Iterable[Mapping[str, Any]]


def write(
    conn: sa.Connection, path: Path, code: str, month: str, standards: Standards, documents: Mapping[str, bytes],
    key: NoteKey | None, now_ms: int,
) -> dict[str, Any]:  # fmt: skip
    """Returns the manifest. `documents` are the standards' files by their digests, `key` the log's. Raises OSError,
    ReportError, CenterError."""
    center, span = centers.get(conn, code), period(month, TZ, now_ms)
    devices = evidence_rows.senders(conn, center.code)
    begin = days.begins_ms(evidence_rows.begin_ms(conn, sorted(devices), span.from_ms - REACH_MS))
    batches = evidence_rows.HeldBatches(conn, center.code, sorted(devices), max(0, begin))
    note = sequencing.newest(conn, cosigned=True) if key is not None else None
    head = Checkpoint.parse(note.text) if note is not None else None
    report, sheets, revision = _report(conn, center.code, month, standards, now_ms)
    held = set(standards.within(span.from_ms, span.to_ms).versions)
    parts: dict[str, Iterable[bytes]] = {
        "gateways.jsonl": _lines(_gateway(device) for device in devices.values()),
        "spools.jsonl": _lines(_spools(conn, center.code, batches.ids)),
        "batches.jsonl": _lines(_batches(batches)),
        "servers.jsonl": _lines(_servers(conn, center.code, span)),
        "records.jsonl": _lines(_records(conn, center.code, span)),
        "facts.jsonl": _lines(_recorded(conn, schema.facts, center.code)),
        "calendar.jsonl": _lines(_recorded(conn, schema.calendar, None)),
        "sheets.jsonl": (msgspec.json.encode(sheet) + b"\n" for sheet in sheets),
        "report.json": [report],
        "leaves.jsonl": _lines(_leaves(conn, center.code, max(0, begin), head)),
        "checkpoint.txt": [str(note).encode() if note is not None else b""],
        **{f"standards/{one.digest}.toml": [documents[one.digest]] for one in held if one.digest in documents},
    }
    manifest = {
        "format": FORMAT, "center": center.code, "month": month, "from_ms": span.from_ms, "to_ms": span.to_ms,
        "revision": revision, "log_key": str(key) if key is not None and head is not None else None, "files": {},
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for name, body in parts.items():
            manifest["files"][name] = _put(file, name, body)  # type: ignore[index]
        _put(file, "manifest.json", [json.dumps(manifest, indent=1).encode()])
    return manifest


def _put(file: zipfile.ZipFile, name: str, parts: Iterable[bytes]) -> str:
    """Returns the SHA-256."""
    info, digest = zipfile.ZipInfo(name, WHEN), hashlib.sha256()
    info.compress_type = zipfile.ZIP_DEFLATED
    with file.open(info, "w", force_zip64=True) as target:
        for part in parts:
            digest.update(part)
            target.write(part)
    return digest.hexdigest()


def _lines(rows: Rows) -> Iterator[bytes]:
    return (json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# ---------------------------------------------------------------- the files


def _gateway(device: Device) -> dict[str, Any]:
    return {"device": device.device, "public_key": _text(device.public_key), "enrolled_ms": device.enrolled_ms}


def _spools(conn: sa.Connection, code: str, ids: list[int]) -> Iterator[dict[str, Any]]:
    """What receipts say that is held of each, what was held before the bundle's first batch, and whether a second story
    of it is on record."""
    held, stories = evidence_rows.held_numbers(conn, code), evidence_rows.stories_of(conn, code)
    before = evidence_rows.spools_before(conn, list(held), ids[0]) if ids else {}
    for name, numbers in sorted(held.items()):
        earlier = before[name].ranges if name in before else []
        last_before = max((one.last for one in earlier), default=0)
        yield {
            "device": name[0], "spool": name[1], "story": name in stories, "before": [list(one) for one in earlier],
            "held": [part for part in numbers if part[1] > last_before],
        }  # fmt: skip


def _batches(batches: evidence_rows.HeldBatches) -> Iterator[dict[str, Any]]:
    for one in batches.all():
        yield {
            "id": one.id, "device": one.device, "spool": one.spool, "first_seq": one.first_seq,
            "last_seq": one.last_seq, "fresh": json.loads(one.fresh), "received_ms": one.received_ms,
            "issued_ms": one.issued_ms, "body": _text(one.body), "signature": _text(one.signature),
        }  # fmt: skip


def _servers(conn: sa.Connection, code: str, span: Period) -> Iterator[dict[str, Any]]:
    """Keys of the measurement servers that signed a record of the bundle."""
    query = sa.select(_m.name, _m.public_key).where(_m.public_key.is_not(None)).order_by(_m.name)
    for row in conn.execute(query.where(_m.name.in_(sa.select(_r.server).where(_tests(code, span))))):
        yield {"server": row.name, "public_key": _text(row.public_key)}


def _records(conn: sa.Connection, code: str, span: Period) -> Iterator[dict[str, Any]]:
    """What they signed of the tests of this center, and the figures that the collector drew from it."""
    query = sa.select(schema.records).where(_tests(code, span)).order_by(_r.started_ms, _r.test_id)
    for row in conn.execute(query).mappings():
        figures = {name: row[name] for name in ("down_mbps", "up_mbps", "down_bytes", "up_bytes")}
        yield {
            "test": row["test_id"], "server": row["server"], "started_ms": row["started_ms"], **figures,
            "body": _text(row["body"]), "signature": _text(row["signature"]),
        }  # fmt: skip


def _tests(code: str, span: Period) -> sa.ColumnElement[bool]:
    own = sa.select(_d.device).where(_d.center == code)
    return _r.device.in_(own) & _r.started_ms.between(span.from_ms - REACH_MS, span.to_ms + REACH_MS - 1)


def _recorded(conn: sa.Connection, table: sa.Table, code: str | None) -> Iterator[dict[str, Any]]:
    query = sa.select(table).order_by(table.c.id)
    for row in conn.execute(query if code is None else query.where(table.c.center == code)).mappings():
        yield dict(row)


def _leaves(conn: sa.Connection, code: str, begin: int, head: Checkpoint | None) -> Iterator[dict[str, Any]]:
    """Of this center, the calendar and the standards; days only those whose batches are in the bundle."""
    if head is None:
        return
    first_day = days.day_name(begin)
    mine = (_l.center == code) | _l.kind.in_(("calendar", "standard"))
    kinds = _l.kind != "decisions"
    rows = conn.execute(sa.select(schema.log_leaves).where(mine, kinds, _l.number < head.size).order_by(_l.number))
    for row in rows.all():
        if row.kind in ("day", "records") and row.name < first_day:
            continue
        proof = [_text(part) for part in sequencing.proven(conn, row.number, head)]
        yield {"number": row.number, "entry": bytes(row.body).decode(), "proof": proof}


def _report(
    conn: sa.Connection, code: str, month: str, standards: Standards, now_ms: int
) -> tuple[bytes, list[Any], int]:
    """(the closed report as it is logged, or as the readings tell it now; its day sheets; its revision, 0 for none)"""
    span, center = period(month, TZ, now_ms), centers.get(conn, code)
    then = schedule.as_reported(conn, center, span.from_ms)
    sheets = list(day_store.sheets_of(conn, {code: then}, (span.from_ms, span.to_ms), standards, now_ms, anew=True))
    try:
        number = schedule.closed_number(conn, code, month, now_ms)
        report: Mapping[str, Any] = revisions.report_of(conn, code, span.from_ms, number)
    except ReportError:
        report, number = build_some(conn, [then], month, standards, now_ms, sheets=sheets)[code], 0
    return msgspec.json.encode({**report, "revision": None}), sheets, number
