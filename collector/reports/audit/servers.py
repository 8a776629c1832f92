"""What measurement servers signed of a center's tests: the signatures, and that the stored figures follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from agent import wire
from collector.access.enrolment import is_signed
from collector.ingest.server_results import row_of
from collector.reports.audit.mismatch import Mismatch
from collector.speedtests.measure.record import decode
from collector.store import schema

_r, _m = schema.records.c, schema.measure_servers.c


def compare(conn: sa.Connection, code: str, from_ms: int, to_ms: int) -> Iterator[Mismatch]:
    """Records of the tests that this center's gateways made in a time."""
    d = schema.devices.c
    mine = _r.device.in_(sa.select(d.device).where(d.center == code)) & _r.started_ms.between(from_ms, to_ms - 1)
    query = sa.select(schema.records, _m.public_key).outerjoin(schema.measure_servers, _m.name == _r.server)
    for row in conn.execute(query.where(mine).order_by(_r.started_ms, _r.test_id)):
        if (column := _wrong(row)) is not None:
            yield Mismatch.of("record_forged", test=row.test_id, server=row.server, column=column)


def _wrong(row: Any) -> str | None:
    """The first column that is not as the server signed it."""
    body, signature = bytes(row.body), bytes(row.signature)
    if row.public_key is None or not is_signed(bytes(row.public_key), body, signature):
        return "signature"
    try:
        signed = row_of(decode(body), body, signature, row.received_ms)
    except wire.WireError:
        return "body"
    return next((name for name, value in signed.items() if getattr(row, name) != value), None)
