"""The witness of speed readings: what is stored about their tests, put before `collector.judging.flags.witness`.

A witness is never stored: it is drawn from the server's record, the grant, earlier uses and the line's counters each
time it is asked for, so that live flags, pages and reports say the same of the same facts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from agent import wire
from collector.judging.flags.witness import Claim, ClaimFacts, Grant, Moved, ServerRecord, Witness, compare
from collector.register.providers import ProviderPath, path_of
from collector.store import schema
from collector.store.cold import held

ASKED_AT_ONCE = 500
AROUND_MS = 15 * 60_000  # how far from a test its line's counters may have been read
FIGURES = ("download_mbps", "upload_mbps", "capacity_down_mbps", "capacity_up_mbps")

Place = tuple[int, int, str]  # when a reading was taken, its number and its name

speeds = schema.readings["speed"].c
_OWN = (speeds.wall_ms, speeds.center, speeds.device, speeds.spool, speeds.seq, speeds.received_ms)
_SAID = (*(getattr(speeds, name) for name in FIGURES), speeds.purpose, speeds.server, speeds.test_id)
SPEED_CLAIM = (*_OWN, *_SAID, speeds.seconds, speeds.others_from)


@dataclass(frozen=True, kw_only=True)
class ClaimInContext:
    """A claim and what is needed to find the counters around its test."""

    claim: Claim
    center: str
    wall_ms: int
    seconds: float
    counted: bool  # its add-back came from this gateway's own counters


@dataclass(frozen=True)
class TestNetwork:
    """The network that a test came from, as `AS64500 NAME`, and how that is to the center's provider; None: unknown."""

    name: str
    path: ProviderPath | None


# ---------------------------------------------------------------- the witness of readings


def witnesses(conn: sa.Connection, claims: Sequence[ClaimInContext], now_ms: int) -> dict[str, Witness]:
    """The witness of each claim, by its id."""
    tests = sorted({claim.claim.test_id for claim in claims if claim.claim.test_id})
    seen, grants, uses = _seen(conn, tests), _grants(conn, tests), _uses(conn, tests)
    for item in claims:
        if item.claim.test_id and _has_figure(item.claim):
            uses[item.claim.test_id].add(_place(item))
    servers = _servers(conn) if claims else ()
    by_claim = {}
    for item in claims:
        claim = item.claim
        before = [
            name
            for *place, name in sorted(uses.get(claim.test_id, ()))
            if (*place, name) < _place(item) and _device(name) == claim.device
        ]
        facts = ClaimFacts(
            seen=seen.get(claim.test_id),
            grant=grants.get(claim.test_id),
            earlier=before[0] if before else "",
            servers=servers,
            moved=_moved(conn, item) if claim.test_id in seen else Moved(),
        )
        by_claim[claim.id] = compare(claim, facts, now_ms)
    return by_claim


def of_centers(conn: sa.Connection, codes: Sequence[str], from_ms: int, to_ms: int, now_ms: int) -> dict[str, Witness]:
    """The witness of every speed reading of these centers in a time, by the reading's id."""
    query = sa.select(*SPEED_CLAIM).where(speeds.center.in_(codes), speeds.wall_ms >= from_ms, speeds.wall_ms < to_ms)
    return witnesses(conn, [told_by(row) for row in conn.execute(query)], now_ms)


def of_latest(conn: sa.Connection, code: str, subject: str, wall_ms: int, now_ms: int) -> Witness | None:
    """The witness of the newest speed reading of one line."""
    query = sa.select(*SPEED_CLAIM).where(
        speeds.wall_ms == wall_ms, speeds.center == code, speeds.subject == subject
    )  # fmt: skip
    claims = [told_by(row) for row in conn.execute(query)]
    newest = max(claims, key=lambda item: (item.claim.received_ms, item.claim.id), default=None)
    return None if newest is None else witnesses(conn, [newest], now_ms)[newest.claim.id]


def network_of(conn: sa.Connection, test_id: str, own: Collection[int]) -> TestNetwork | None:
    """Whose network a test came from, as the server's record has it; None where that is not known. `own` are the
    networks of the center's provider."""
    table = schema.records.c
    query = sa.select(table.network, table.asn, table.server_asn).where(
        table.test_id == test_id, table.asn.is_not(None)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else TestNetwork(row.network or f"AS{row.asn}", path_of(own, row.asn, row.server_asn))


def overtaken(
    conn: sa.Connection, claims: Sequence[ClaimInContext], now_ms: int
) -> dict[str, tuple[ClaimInContext, Witness]]:
    """Readings held already that turn out to be repetitions now that these have come, which were taken before them."""
    names = {item.claim.id for item in claims}
    held = [
        told_by(row)
        for row in _rows(conn, speeds.test_id, SPEED_CLAIM, sorted({c.claim.test_id for c in claims} - {""}))
    ]
    held = [item for item in held if item.claim.id not in names]
    fresh = {item.claim.id: item for item in claims}
    later = [item for item in held if any(_repeats(item, other) for other in fresh.values())]
    by_claim = witnesses(conn, [*claims, *later], now_ms) if later else {}
    return {
        item.claim.id: (item, witness)
        for item in later
        if (witness := by_claim[item.claim.id]).word == "replayed" and witness.reason.params.get("reading") in names
    }


def _repeats(item: ClaimInContext, other: ClaimInContext) -> bool:
    same = (item.claim.test_id, item.claim.device) == (other.claim.test_id, other.claim.device)
    return same and _has_figure(other.claim) and _place(other) < _place(item)


def told_by(row: sa.Row[Any]) -> ClaimInContext:
    """The claim of a stored reading."""
    return told(row, f"{row.device} {row.spool} {row.seq}", row.center, row.wall_ms, row.received_ms)


def told(
    reading: wire.SpeedReading | sa.Row[Any], name: str, center: str, wall_ms: int, received_ms: int
) -> ClaimInContext:
    """The claim of a reading, fresh or stored; `name` is its device, spool and number."""
    return ClaimInContext(
        claim=Claim(
            id=name,
            device=_device(name),
            received_ms=received_ms,
            purpose=reading.purpose or "",
            server=reading.server or "",
            test_id=reading.test_id or "",
            **{name: getattr(reading, name) for name in FIGURES},
        ),
        center=center,
        wall_ms=wall_ms,
        seconds=reading.seconds or 0.0,
        counted=reading.others_from == "interface",
    )


# ---------------------------------------------------------------- what is stored


def _place(item: ClaimInContext) -> Place:
    """Of two readings of one test the one taken first is the original, in whatever order they came."""
    return item.wall_ms, int(item.claim.id.rpartition(" ")[2] or 0), item.claim.id


def _has_figure(claim: Claim) -> bool:
    return any(getattr(claim, name) is not None for name in FIGURES)


def _device(name: str) -> str:
    return name.partition(" ")[0]


def _seen(conn: sa.Connection, tests: Sequence[str]) -> dict[str, ServerRecord]:
    table = schema.records
    names = [field for field in ServerRecord.__dataclass_fields__ if field in table.c]
    rows = _rows(conn, table.c.test_id, [table.c[name] for name in names], tests)
    return {row.test_id: ServerRecord(**{name: getattr(row, name) for name in names}) for row in rows}


def _grants(conn: sa.Connection, tests: Sequence[str]) -> dict[str, Grant]:
    table = schema.grants.c
    rows = _rows(conn, table.test_id, [table.device, table.server, table.granted_ms, table.expires_ms], tests)
    return {row.test_id: Grant(**{name: getattr(row, name) for name in Grant.__dataclass_fields__}) for row in rows}


def _uses(conn: sa.Connection, tests: Sequence[str]) -> dict[str, set[Place]]:
    """The place in time of every stored reading with a figure, by its test."""
    by_test: dict[str, set[Place]] = defaultdict(set)
    for row in _rows(conn, speeds.test_id, [item for item in SPEED_CLAIM if item is not speeds.test_id], tests):
        if _has_figure((item := told_by(row)).claim):
            by_test[row.test_id].add(_place(item))
    return by_test


def _rows(conn: sa.Connection, key: Any, columns: Sequence[Any], tests: Sequence[str]) -> list[sa.Row[Any]]:
    rows: list[sa.Row[Any]] = []
    for first in range(0, len(tests), ASKED_AT_ONCE):
        some = tests[first : first + ASKED_AT_ONCE]
        rows += conn.execute(sa.select(key, *columns).where(key.in_(some))).all()
    return rows


def _servers(conn: sa.Connection) -> tuple[str, ...]:
    table = schema.measure_servers.c
    return tuple(conn.scalars(sa.select(table.url).order_by(table.name)))


def _moved(conn: sa.Connection, context: ClaimInContext) -> Moved:
    """What the gateway's own counters of the line moved around the test; nothing when it restarted meanwhile."""
    if not context.counted:
        return Moved()
    margin_ms = int(context.seconds * 1000)
    around_ms = AROUND_MS + margin_ms
    names = ("uptime_s", "wan_interface", "wan_rx_bytes", "wan_tx_bytes")
    table = held.readings(
        conn, "gateway", [context.center], context.wall_ms - around_ms, context.wall_ms + around_ms + 1, names
    ).c
    query = sa.select(table.wall_ms, table.uptime_s, table.wan_interface, table.wan_rx_bytes, table.wan_tx_bytes)
    mine = query.where(
        table.center == context.center, table.device == context.claim.device, table.wan_rx_bytes.is_not(None)
    )
    first_ms, last_ms = context.wall_ms - margin_ms, context.wall_ms + margin_ms
    before = conn.execute(
        mine.where(table.wall_ms.between(first_ms - AROUND_MS, first_ms)).order_by(table.wall_ms.desc()).limit(1)
    ).one_or_none()
    after = conn.execute(
        mine.where(table.wall_ms.between(last_ms, last_ms + AROUND_MS)).order_by(table.wall_ms).limit(1)
    ).one_or_none()
    if before is None or after is None or before.wan_interface != after.wan_interface:
        return Moved()
    if (after.uptime_s or 0) < (before.uptime_s or 0):
        return Moved()
    return Moved(
        down_bytes=_grown(before.wan_rx_bytes, after.wan_rx_bytes),
        up_bytes=_grown(before.wan_tx_bytes, after.wan_tx_bytes),
    )


def _grown(before: int | None, after: int | None) -> int | None:
    return after - before if before is not None and after is not None and after >= before else None
