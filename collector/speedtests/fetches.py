"""Bulk fetches that do not look like speed tests: at drawn moments a gateway is to fetch a file over TLS from the
listener that it enrolled at, and throws it away. How fast it came, the collector sees by itself.

A line that gives tests the better way gives it to no such file (collector.judging.fast_lane). What a fetch may cost is
the `[measure] fetch_mb` of the settings; on a slow line it is a few seconds' worth.
"""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
import sqlalchemy as sa

from agent import wire
from collector.speedtests import challenges, drawn
from collector.store import schema

HOURS = ("08:00-20:00",)  # in which each center has a fetch a day, and some a second one
ANSWER_MS = 20 * 60_000
HEARD_MS = 3 * 60_000
PARTS = 16
AIM_S = 4.0  # that a fetch is to take on the line as its last test found it
LEAST_BYTES = 1_000_000
USUAL_MBPS = 10.0  # of a line that nothing is known of

_f, _p, _l, _d = schema.fetches.c, schema.pulse.c, schema.latest.c, schema.device_settings.c


def draw(conn: sa.Connection, secret: bytes, fetch_mb: int, now_ms: int) -> int:
    """Orders the fetches that are due now of at most `fetch_mb` megabytes each (0: none); returns how many are new.
    Only gateways that can fetch are told."""
    if not fetch_mb:
        return 0
    own = hmac.digest(secret, b"fetches", "sha256")
    able = sa.select(_d.device).where(_d.fetches.is_(True))
    query = sa.select(_p.center, _p.device).where(_p.heard_ms > now_ms - HEARD_MS, _p.device.in_(able))
    devices = {row.center: row.device for row in conn.execute(query)}
    tests = drawn.due(own, devices, drawn.slots_of(now_ms, HOURS), now_ms)
    due = {test.test_id.removeprefix(drawn.PREFIX): test.center for test in tests}
    for name in conn.scalars(sa.select(_f.id).where(_f.id.in_(list(due)))):
        del due[name]
    rows = [
        {
            "id": name, "center": center, "device": devices[center], "due_ms": now_ms,
            "expires_ms": now_ms + ANSWER_MS, "parts": PARTS, "state": "open",
            "part_bytes": part_bytes(_last_mbps(conn, center), fetch_mb),
        }
        for name, center in due.items()
    ]  # fmt: skip
    if rows:
        conn.execute(sa.insert(schema.fetches), rows)
    return len(rows)


def part_bytes(line_mbps: float | None, fetch_mb: int) -> int:
    """Of each of `PARTS`: some seconds' worth of the line, within the cap."""
    whole = AIM_S * (line_mbps or USUAL_MBPS) * 1e6 / 8
    return min(wire.MAX_FETCH_PART_BYTES, round(min(fetch_mb * 1e6, max(LEAST_BYTES, whole)) / PARTS))


def _last_mbps(conn: sa.Connection, center: str) -> float | None:
    """What the last speed test of the center found down the line."""
    query = sa.select(_l.body).where(_l.center == center, _l.kind == "speed").order_by(_l.received_ms.desc()).limit(1)
    body = conn.scalar(query)
    if body is None:
        return None
    try:
        reading = msgspec.json.decode(body, type=wire.SpeedReading)
    except msgspec.MsgspecError:
        return None
    return reading.capacity_down_mbps or reading.download_mbps


def tasks(conn: sa.Connection, nonce: str, now_ms: int) -> list[wire.Task]:
    """The fetches that are open, to be sent again until they are made: the broker is a lossy wire."""
    query = sa.select(schema.fetches).where(_f.state == "open", _f.expires_ms > now_ms)
    return [
        wire.Task(v=wire.VERSION, device=row.device, id=f"fetch-{row.id}", do="fetch", nonce=nonce,
                  fetch=wire.FetchOrder(name=row.id, parts=row.parts, part_bytes=row.part_bytes),
                  expires_ms=row.expires_ms)
        for row in conn.execute(query)
    ]  # fmt: skip


def admitted(conn: sa.Connection, name: str, now_ms: int) -> sa.Row[Any] | None:
    """The order to which this name admits now."""
    query = sa.select(schema.fetches).where(_f.id == name, _f.state == "open", _f.expires_ms > now_ms)
    return conn.execute(query).one_or_none()


def record(conn: sa.Connection, name: str, address: str, seconds: float, now_ms: int) -> None:
    """The whole file was fetched in so long; the first time counts."""
    row = admitted(conn, name, now_ms)
    if row is None or seconds <= 0:
        return
    mbps = round(row.parts * row.part_bytes * 8 / 1e6 / seconds, 2)
    values = {"state": "fetched", "address": address[:45], "down_mbps": mbps, "seconds": round(seconds, 3),
              "fetched_ms": now_ms}  # fmt: skip
    conn.execute(sa.update(schema.fetches).where(_f.id == name).values(values))


def settle(conn: sa.Connection, now_ms: int) -> int:
    """Ends what nobody fetched in its time: missed by who was heard meanwhile, else excused; returns how many."""
    rows = conn.execute(sa.select(schema.fetches).where(_f.state == "open", _f.expires_ms <= now_ms)).all()
    for row in rows:
        state = "missed" if challenges.was_heard(conn, row) else "excused"
        conn.execute(sa.update(schema.fetches).where(_f.id == row.id).values(state=state))
    return len(rows)
