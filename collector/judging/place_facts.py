"""Facts about the places of gateways, as the database has them, and the findings they make."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, encode
from collector.judging.places import DAY_MS, RULES, NetworkPlace, TestPlace
from collector.judging.places import findings as mismatches
from collector.register.networks import Network
from collector.register.providers import Providers, asns_of
from collector.store import schema

WEEKS_MS = 14 * DAY_MS
REPEAT_MS = 7 * DAY_MS  # the same finding about the same center is written once a week

_r, _d, _s, _i = schema.records.c, schema.devices.c, schema.sightings.c, schema.integrity.c

FoundRow = tuple[str, str, str, Reason]  # center, device, finding, detail
Key = tuple[str, str]  # center, device


def record_sightings(
    conn: sa.Connection,
    source: str,
    sightings: Iterable[tuple[str, str]],
    now_ms: int,
    network_of: Callable[[str], Network | None],
) -> None:
    """From which addresses gateways were seen; an address of a private network shows nothing and is left out."""
    public = {(name, address) for name, address in sightings if _is_public(address)}
    query = sa.select(_d.device, _d.center).where(_d.device.in_(sorted({name for name, _ in public})))
    centers = {row.device: row.center for row in conn.execute(query)} if public else {}
    for device, address in sorted(public):
        if device not in centers:
            continue
        key = {"center": centers[device], "device": device, "source": source, "address": address}
        mine = sa.and_(*(_s[name] == value for name, value in key.items()))
        if not conn.execute(sa.update(schema.sightings).where(mine).values(last_ms=now_ms)).rowcount:
            network = network_of(address)
            facts = {"asn": network.asn if network else None, "network": str(network) if network else None}
            conn.execute(sa.insert(schema.sightings).values(**key, **facts, first_ms=now_ms, last_ms=now_ms))


def _is_public(address: str) -> bool:
    try:
        return len(address) <= 45 and ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def findings(conn: sa.Connection, now_ms: int, providers: Providers) -> list[FoundRow]:
    """What does not fit. To be called every hour or so."""
    items = mismatches(places(conn, now_ms, providers), now_ms, RULES)
    return [(item.center, item.device, item.finding, item.reason) for item in items]


def record(conn: sa.Connection, entries: Iterable[FoundRow], now_ms: int, repeat_ms: int = REPEAT_MS) -> int:
    """Writes those that were not written of the same center and gateway lately; returns how many."""
    entries = list(entries)
    names = sorted({finding for _, _, finding, _ in entries})
    query = sa.select(_i.center, _i.device, _i.finding).where(_i.finding.in_(names), _i.at_ms > now_ms - repeat_ms)
    known = {tuple(row) for row in conn.execute(query)} if entries else set()
    return insert(conn, {entry[:3]: entry for entry in entries if entry[:3] not in known}.values(), now_ms)


def insert(conn: sa.Connection, entries: Iterable[FoundRow], now_ms: int) -> int:
    """Writes them all; returns how many."""
    rows = [
        {"at_ms": now_ms, "center": center, "device": device, "finding": finding, "detail": encode(reason)}
        for center, device, finding, reason in entries
    ]
    if rows:
        conn.execute(sa.insert(schema.integrity), rows)
    return len(rows)


def places(conn: sa.Connection, now_ms: int, providers: Providers) -> list[NetworkPlace]:
    """What is known of every center that tested within two weeks, or says what machine it is."""
    tests = _tests(conn, now_ms)
    sessions = _sessions(conn, now_ms)
    machines = _machines(conn, now_ms)
    isps = {row.center: row.isp for row in conn.execute(sa.select(schema.centers.c.center, schema.centers.c.isp))}
    return [
        NetworkPlace(
            center=center,
            device=device,
            tests=tests.get((center, device), ()),
            **sessions.get((center, device), {}),  # type: ignore[arg-type]
            own=asns_of(isps.get(center, ""), providers),
            provider=isps.get(center, ""),
            **machines.get((center, device), {}),  # type: ignore[arg-type]
        )
        for center, device in sorted(tests.keys() | machines.keys())
    ]


def _tests(conn: sa.Connection, now_ms: int) -> Mapping[Key, Sequence[TestPlace]]:
    names = (_d.center, _r.device, _r.started_ms, _r.address, _r.server, _r.asn, _r.network, _r.min_rtt_ms)
    query = sa.select(*names).join(schema.devices, _d.device == _r.device).where(_d.revoked_ms.is_(None))
    by_gateway: dict[Key, list[TestPlace]] = defaultdict(list)
    for row in conn.execute(query.where(_r.started_ms > now_ms - WEEKS_MS, _r.witnessed.is_(True))):
        test = TestPlace(at_ms=row.started_ms, address=row.address, server=row.server, asn=row.asn,
                         network=row.network or "", rtt_ms=row.min_rtt_ms)  # fmt: skip
        by_gateway[row.center, row.device].append(test)
    return by_gateway


def _sessions(conn: sa.Connection, now_ms: int) -> Mapping[Key, dict[str, set[Any]]]:
    """From where sessions and enrolments came. A session is noted when it begins, so the newest of a gateway may last
    still, however old."""
    by_gateway: dict[Key, dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
    newest: dict[Key, bool] = {}
    for row in conn.execute(sa.select(schema.sightings).order_by(_s.last_ms.desc())):
        mine = by_gateway[row.center, row.device]
        if row.source == "enrolment":
            if row.last_ms > now_ms - WEEKS_MS:
                mine["enrolled_from"].add(row.address)
            continue
        is_newest = newest.setdefault((row.center, row.device), True)
        newest[row.center, row.device] = False
        if is_newest or row.last_ms > now_ms - WEEKS_MS:
            mine["session_addresses"].add(row.address)
        if row.asn is not None:
            is_now = is_newest or row.last_ms > now_ms - 7 * DAY_MS
            mine["session_asns" if is_now else "earlier_asns"].add(row.asn)
            if row.first_ms <= now_ms - 7 * DAY_MS:
                mine["earlier_asns"].add(row.asn)
    return by_gateway


def _machines(conn: sa.Connection, now_ms: int) -> Mapping[Key, dict[str, str]]:
    table = schema.latest.c
    query = sa.select(table.center, table.device, table.body).where(
        table.kind == "gateway", table.received_ms > now_ms - WEEKS_MS
    )
    by_gateway: dict[Key, dict[str, str]] = {}
    for row in conn.execute(query):
        try:
            reading = wire.decode_reading(row.body.encode())
        except wire.WireError:
            continue
        if isinstance(reading, wire.GatewayReading):
            facts = {"machine": reading.machine, "router": reading.router, "hardware": reading.hardware}
            by_gateway[row.center, row.device] = {name: value for name, value in facts.items() if value}
    return by_gateway
