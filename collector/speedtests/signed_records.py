"""What measurement servers signed of tests, in a form that others can check without us."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import sqlalchemy as sa

from collector.store import schema

PAGE = 200
BYTES = ("public_key", "body", "signature")  # told in base64

_r, _g, _m = schema.records.c, schema.grants.c, schema.measure_servers.c


def record_lines(
    conn: sa.Connection, center: str | None = None, test: str | None = None
) -> Iterator[dict[str, object]]:
    """Each record as it was signed, whose test it was, the key that proves it and the figures drawn from it; those of a
    center, or of one test."""
    query = (
        sa.select(
            _r.test_id, _r.server, _m.public_key, _g.center, _g.device, _r.body, _r.signature, _r.down_mbps, _r.up_mbps
        )
        .outerjoin(schema.grants, _g.test_id == _r.test_id)
        .outerjoin(schema.measure_servers, _m.name == _r.server)
        .order_by(_r.received_ms, _r.test_id)
    )
    query = query if center is None else query.where(_g.center == center)
    query = query if test is None else query.where(_r.test_id == test)
    for row in conn.execute(query, execution_options={"yield_per": PAGE}).mappings():
        raw = {name: base64.b64encode(bytes(row[name] or b"")).decode() for name in BYTES}
        yield {name: value for name, value in row.items() if name not in raw} | raw
