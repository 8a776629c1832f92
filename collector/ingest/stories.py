"""Second stories: what a gateway's name signed besides what is held of a spool, by a clone or by a restored image.

Which of the two is true no program can tell. So the first one stands, the second is held as evidence, and a person
decides: a story that is refused stays out, of one that is taken the numbers that nobody else has filled are filed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from agent import wire
from collector.ingest.verify import VerifiedBatch
from collector.store import schema, upsert
from collector.store.cold.batches import StoredBatch
from collector.store.cold.held import batches as held_batches

Row = dict[str, object]

_s = schema.second_stories.c


def row(verified: VerifiedBatch, now_ms: int) -> Row:
    """A batch of a second story that has come."""
    key = {"center": verified.device.center, "device": verified.device.device, "spool": verified.batch.spool}
    return {**key, "first_ms": now_ms, "last_ms": now_ms, "batches": 1}


def save(conn: sa.Connection, rows: Sequence[Row]) -> None:
    """Adds batches to the stories they belong to; one that was refused stays refused, one that was taken is held again
    for what is new."""
    for one in rows:
        mine = (_s.center == one["center"]) & (_s.device == one["device"]) & (_s.spool == one["spool"])
        held: Any = conn.execute(sa.select(schema.second_stories).where(mine)).one_or_none()
        values = {**one, "state": "held"}
        if held is not None:
            values = {**held._mapping, "last_ms": one["last_ms"], "batches": held.batches + 1}
            values["state"] = "refused" if held.state == "refused" else "held"
        upsert(conn, schema.second_stories, [values])


def held(conn: sa.Connection, center: str = "") -> list[dict[str, Any]]:
    """Those that wait for a decision, and those decided, newest first."""
    query = sa.select(schema.second_stories).order_by(_s.last_ms.desc(), _s.device, _s.spool)
    return [dict(one._mapping) for one in conn.execute(query.where(_s.center == center) if center else query)]


def batches(conn: sa.Connection, device: str, spool: str) -> list[tuple[int, int | None, bytes]]:
    """(when it came, when its nonce was issued, the sealed bytes) of each batch of a story, as it came."""
    mine = (one for one in held_batches(conn, device=device, spool=spool) if one.fresh == "[]")
    return [(one.received_ms, one.issued_ms, _sealed(one)) for one in sorted(mine, key=lambda one: one.id)]


def _sealed(batch: StoredBatch) -> bytes:
    return wire.seal(batch.body, lambda _body: batch.signature)
