"""What is stored of seats and power supplies, put before the rules."""

from __future__ import annotations

import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reading_codes import faults_of
from agent.common.reasons import Reason
from collector.judging.patterns.limits import FoundPattern
from collector.judging.patterns.power import UpsValues, contradicted, never_cut, ups_patterns
from collector.judging.patterns.repeats import repeated_values
from collector.judging.patterns.seats import RollCall, one_boot, seats_alike, twin_seats
from collector.judging.place_facts import FoundRow
from collector.store import schema

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
AT_ONCE = 20  # centers whose day is held in memory: some megabytes each, of forty seats
# Kind of reading -> the days before the last that it is compared with, and what of it is measured; first what is never
# the same twice by its nature.
MEASURED: Mapping[str, tuple[int, Sequence[str]]] = {
    "ups": (7, ("input_voltage_v", "load_pct", "runtime_s", "battery_voltage_v")),
    "link": (1, ("rtt_median_ms", "rtt_p95_ms", "jitter_ms")),
    "seats": (7, ("seats",)),
}


@dataclass
class Series:
    """Hashes of readings in the order of their times, 8 bytes each, and of what is noise in them; `new` are of the last
    day."""

    values: array[int] = field(default_factory=lambda: array("q"))
    noise: array[int] = field(default_factory=lambda: array("q"))
    new: int = 0

    def add(self, values: Sequence[object], *, is_new: bool) -> None:
        self.values.append(hash(tuple(values)))
        self.noise.append(hash(values[0]))
        self.new += is_new


def findings(conn: sa.Connection, now_ms: int) -> list[FoundRow]:
    """What the last roll call of every center shows, and the last day of those whose hour it is: reads for long and
    writes nothing. To be called every hour or so."""
    devices = _devices(conn)
    mine = [center for center in sorted(devices) if zlib.crc32(center.encode()) % 24 == now_ms // HOUR_MS % 24]
    reasons = list(_at_once(conn, now_ms - HOUR_MS))
    for start in range(0, len(mine), AT_ONCE):
        reasons += _of_a_day(conn, mine[start : start + AT_ONCE], now_ms)
    for center, cuts in never_cut(_cuts(conn, now_ms - 30 * DAY_MS), _feeders(conn)).items():
        reasons.append((center, "ups_never_cut", cuts))
    for (center, subject), number in _repeated(conn, mine, now_ms):
        reasons.append((center, "repeated_values", Reason.of("pattern.repeated_values", subject=subject, n=number)))
    return [(center, devices.get(center, ""), name, reason) for center, name, reason in reasons]


def _at_once(conn: sa.Connection, from_ms: int) -> Iterator[FoundPattern]:
    """What one roll call is enough for."""
    table = schema.latest.c
    query = sa.select(table.center, table.wall_ms, table.body).where(table.kind == "seats", table.wall_ms >= from_ms)
    for row in conn.execute(query, execution_options={"yield_per": AT_ONCE}):
        try:
            reading = wire.decode_reading(row.body.encode())
        except wire.WireError:
            continue
        if isinstance(reading, wire.SeatsReading) and reading.seats is not None:
            call = _call(row.wall_ms, reading.seats)
            booted = one_boot(call)
            yield from [(row.center, "one_boot", booted)] if booted else []
            yield from ((row.center, name, reason) for name, reason in seats_alike(call))


def _of_a_day(conn: sa.Connection, centers: Sequence[str], now_ms: int) -> Iterator[FoundPattern]:
    from_ms = now_ms - DAY_MS
    calls, ups = _calls(conn, centers, from_ms, now_ms), _ups(conn, centers, from_ms, now_ms)
    deaths = _deaths(conn, centers, from_ms, now_ms)
    for center in centers:
        reasons: list[tuple[str, Reason | None]] = [
            ("twin_seats", twin_seats(calls.get(center, ()))),
            ("ups_contradicted", contradicted(deaths.get(center, ()), ups.get(center, ()))),
            *ups_patterns(ups.get(center, ()), (call.at_ms for call in calls.get(center, ()) if call.seats)),
        ]
        yield from ((center, name, reason) for name, reason in reasons if reason is not None)


def _repeated(conn: sa.Connection, centers: Sequence[str], now_ms: int) -> Iterator[tuple[tuple[str, str], int]]:
    """By center and subject."""
    for kind, (days, names) in MEASURED.items():
        table = schema.readings[kind].c
        query = sa.select(table.center, table.subject, table.wall_ms, *(table[name] for name in names)).where(
            table.wall_ms >= now_ms - (days + 1) * DAY_MS, table.wall_ms < now_ms, table.failure.is_(None),
            table.center.in_(centers),
        )  # fmt: skip
        series: dict[tuple[str, str], Series] = defaultdict(Series)
        for center, subject, at_ms, *values in conn.execute(
            query.order_by(table.wall_ms), execution_options={"yield_per": 1000}
        ):
            series[center, subject or kind].add(values, is_new=at_ms >= now_ms - DAY_MS)
        for key, one in series.items():
            if number := repeated_values(one.values, one.noise, len(one.values) - one.new):
                yield key, number


def _calls(conn: sa.Connection, centers: Sequence[str], from_ms: int, to_ms: int) -> Mapping[str, list[RollCall]]:
    table = schema.readings["seats"].c
    query = sa.select(table.center, table.wall_ms, table.seats).where(
        table.center.in_(centers), table.wall_ms >= from_ms, table.wall_ms < to_ms, table.seats.is_not(None)
    )
    by_center: dict[str, list[RollCall]] = defaultdict(list)
    for row in conn.execute(query.order_by(table.wall_ms), execution_options={"yield_per": 1000}):
        with suppress(msgspec.MsgspecError, ValueError):
            by_center[row.center].append(_call(row.wall_ms, msgspec.json.decode(row.seats, type=wire.SeatColumns)))
    return by_center


def _call(at_ms: int, seats: wire.SeatColumns) -> RollCall:
    present = [i for i, state in enumerate(seats.state) if state in ("healthy", "unhealthy")]

    def column(values: Sequence[float | None]) -> list[float | None]:
        return [values[i] for i in present] if values else []

    return RollCall(
        at_ms=at_ms,
        seats=[seats.id[i] for i in present],
        cpu_pct=column(seats.cpu_pct),
        memory_pct=column(seats.memory_pct),
        uptime_s=column(seats.uptime_s),
        faults={name: {reason.code for reason in reasons} for name, reasons in faults_of(seats).items()},
    )


def _ups(conn: sa.Connection, centers: Sequence[str], from_ms: int, to_ms: int) -> Mapping[str, list[UpsValues]]:
    table = schema.readings["ups"].c
    names = (table.center, table.wall_ms, table.subject, table.output_state, table.input_voltage_v, table.load_pct,
             table.runtime_s)  # fmt: skip
    query = sa.select(*names).where(
        table.center.in_(centers), table.wall_ms >= from_ms, table.wall_ms < to_ms, table.failure.is_(None)
    )
    by_center: dict[str, list[UpsValues]] = defaultdict(list)
    for row in conn.execute(query.order_by(table.wall_ms), execution_options={"yield_per": 1000}):
        value = UpsValues(at_ms=row.wall_ms, subject=row.subject, state=row.output_state, volts=row.input_voltage_v,
                          load_pct=row.load_pct, runtime_s=row.runtime_s)  # fmt: skip
        by_center[row.center].append(value)
    return by_center


def _deaths(conn: sa.Connection, centers: Sequence[str], from_ms: int, to_ms: int) -> Mapping[str, list[int]]:
    """When gateways were last alive before the power of the machine went."""
    table = schema.readings["boot"].c
    query = sa.select(table.center, table.last_alive_ms).where(
        table.center.in_(centers), table.wall_ms >= from_ms, table.wall_ms < to_ms, table.previous_end == "power",
        table.last_alive_ms.is_not(None),
    )  # fmt: skip
    by_center: dict[str, list[int]] = defaultdict(list)
    for row in conn.execute(query.order_by(table.wall_ms)):
        by_center[row.center].append(row.last_alive_ms)
    return by_center


def _cuts(conn: sa.Connection, from_ms: int) -> Mapping[str, int]:
    """How many cuts each center whose UPS is read went through since then."""
    latest, cuts = schema.latest.c, schema.cuts.c
    by_center = dict.fromkeys(conn.scalars(sa.select(latest.center).where(latest.kind == "ups")), 0)
    key = sa.func.count(sa.distinct(cuts.noted_ms))
    query = sa.select(cuts.center, key.label("n")).where(cuts.from_ms >= from_ms).group_by(cuts.center)
    return by_center | {row.center: row.n for row in conn.execute(query) if row.center in by_center}


def _feeders(conn: sa.Connection) -> Mapping[str, str]:
    table = schema.centers.c
    return {row.center: row.feeder for row in conn.execute(sa.select(table.center, table.feeder))}


def _devices(conn: sa.Connection) -> Mapping[str, str]:
    table = schema.pulse.c
    return {row.center: row.device for row in conn.execute(sa.select(table.center, table.device))}
