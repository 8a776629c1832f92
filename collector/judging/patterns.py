"""What seats and power supplies say that no real ones do: equal noise, one moment of birth, values that stand still.

Each rule has a measure that an honest center does not reach by chance, and its figures are data; none is official. What
is found is a question for a visit.
"""

from __future__ import annotations

import zlib
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reading_codes import faults_of
from agent.common.reasons import Reason
from collector.judging.place_facts import record
from collector.store import schema

DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
LISTED = 5
AT_ONCE = 20  # centers whose day is held in memory: some megabytes each, of forty seats
# Kind of reading -> the days before the last that it is compared with, and what of it is measured.
MEASURED: Mapping[str, tuple[int, Sequence[str]]] = {
    "ups": (7, ("input_voltage_v", "load_pct", "runtime_s", "battery_voltage_v")),
    "link": (1, ("rtt_median_ms", "rtt_p95_ms", "jitter_ms")),
    "seats": (7, ("seats",)),
}

PatternFinding = Literal[
    "twin_seats",
    "one_boot",
    "one_machine",
    "one_address",
    "virtual_seats",
    "ups_frozen",
    "ups_unloaded",
    "ups_never_cut",
    "ups_contradicted",
    "repeated_values",
]
FINDINGS: tuple[PatternFinding, ...] = (
    "twin_seats", "one_boot", "one_machine", "one_address", "virtual_seats", "ups_frozen", "ups_unloaded",
    "ups_never_cut", "ups_contradicted", "repeated_values",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PatternRules:
    """`rounds`: roll calls of a day in which two seats are compared. `boot_span_s` and `boot_seats`: so many PCs that
    began within so short a time were begun by one hand; the mains bring PCs back within tens of seconds. `alike`: so
    many seats, and of all present `alike_share`, that the gateway says come from one address or are virtual. `frozen`:
    readings on mains with the same volts, load and time left. `unloaded`: readings without load beside seats at work.
    `cuts`: of neighbours on one feeder. `plenty_s`: time left by which a gateway should not have died. `block`: so many
    readings one after the other, at least half of them unlike each other, are compared with those before; `blocks`: so
    many that were there before are no chance."""

    rounds: int = 40
    boot_span_s: float = 1.0
    boot_seats: int = 5
    alike: int = 4
    alike_share: float = 0.6
    frozen: int = 600
    unloaded: int = 600
    unloaded_pct: float = 1.0
    cuts: int = 5
    neighbours: int = 3
    plenty_s: float = 900.0
    block: int = 30
    blocks: int = 2


RULES = PatternRules()
FoundPattern = tuple[str, str, Reason]  # center, finding, detail


@dataclass(frozen=True, kw_only=True)
class RollCall:
    """A roll call as columns, of the seats that are present."""

    at_ms: int
    seats: Sequence[str]
    cpu_pct: Sequence[float | None] = ()
    memory_pct: Sequence[float | None] = ()
    uptime_s: Sequence[float | None] = ()
    faults: Mapping[str, Collection[str]] = field(default_factory=dict)  # seat -> the codes of what is said of it


@dataclass(frozen=True, kw_only=True)
class UpsValues:
    at_ms: int
    subject: str
    state: str | None
    volts: float | None = None
    load_pct: float | None = None
    runtime_s: float | None = None


# ---------------------------------------------------------------- seats: pure


def twin_seats(calls: Iterable[RollCall], rules: PatternRules = RULES) -> Reason | None:
    """Seats whose load and memory are the same at every roll call: one machine under several names."""
    series: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for call in calls:
        for seat, cpu, memory in zip(call.seats, call.cpu_pct, call.memory_pct, strict=False):
            if cpu is not None and memory is not None:
                series[seat].append((call.at_ms, cpu, memory))
    same: dict[tuple[tuple[int, float, float], ...], list[str]] = defaultdict(list)
    for seat, values in series.items():
        if len(values) >= rules.rounds and len({value[1:] for value in values}) > 1:
            same[tuple(values)].append(seat)
    twins = sorted(seat for seats in same.values() if len(seats) > 1 for seat in seats)
    if not twins:
        return None
    rounds = min(len(series[seat]) for seat in twins)
    return Reason.of("pattern.twin_seats", n=len(twins), seats=twins[:LISTED], rounds=rounds)


def one_boot(call: RollCall | None, rules: PatternRules = RULES) -> Reason | None:
    """Most seats of a center that began at the same moment: machines of one host."""
    if call is None:
        return None
    known = [(call.at_ms / 1000 - up, seat) for seat, up in zip(call.seats, call.uptime_s, strict=False) if up]
    known.sort()
    best: list[str] = []
    for start, (from_s, _) in enumerate(known):
        group = [seat for at_s, seat in known[start:] if at_s - from_s <= rules.boot_span_s]
        best = max(best, group, key=len)
    if len(best) < rules.boot_seats or len(best) < 0.8 * len(known):
        return None
    facts = {"n": len(best), "whole": len(known), "span_s": rules.boot_span_s, "seats": sorted(best)[:LISTED]}
    return Reason.of("pattern.one_boot", **facts)  # type: ignore[arg-type]


def seats_alike(call: RollCall | None, rules: PatternRules = RULES) -> Iterator[tuple[PatternFinding, Reason]]:
    """What the gateway says that seats have in common. One disk in two PCs is enough; an address may be that of a
    router in between, and a center may have a few virtual machines."""
    if call is None:
        return
    present = set(call.seats)
    kinds: tuple[tuple[PatternFinding, str, str, int, float], ...] = (
        ("one_machine", "pattern.one_machine", "seat_fault.one_machine", 2, 0.0),
        ("one_address", "pattern.one_address", "seat_fault.one_address", rules.alike, rules.alike_share),
        ("virtual_seats", "pattern.virtual_seats", "seat_fault.virtual", rules.alike, rules.alike_share),
    )
    for finding, reason, code, count, share in kinds:
        seats = sorted(seat for seat, codes in call.faults.items() if code in codes and seat in present)
        if len(seats) >= max(count, share * len(present)):
            facts = {"n": len(seats), "whole": len(present), "seats": seats[:LISTED]}
            yield finding, Reason.of(reason, **facts)  # type: ignore[arg-type]


# ---------------------------------------------------------------- power supplies: pure


def ups_patterns(
    values: Iterable[UpsValues], working_ms: Iterable[int], rules: PatternRules = RULES
) -> Iterator[tuple[PatternFinding, Reason]]:
    """What each UPS of a center says of a day. `working_ms` are the minutes in which seats were at work."""
    by_subject: dict[str, list[UpsValues]] = defaultdict(list)
    for value in values:
        by_subject[value.subject].append(value)
    working = {at_ms // MINUTE_MS for at_ms in working_ms}
    for subject, mine in sorted(by_subject.items()):
        mains = [one for one in mine if one.state == "online" and one.volts is not None]
        if len(mains) >= rules.frozen and len({(one.volts, one.load_pct, one.runtime_s) for one in mains}) == 1:
            yield "ups_frozen", Reason.of("pattern.ups_frozen", subject=subject, n=len(mains))
        beside = [one for one in mine if one.load_pct is not None and one.at_ms // MINUTE_MS in working]
        if len(beside) >= rules.unloaded and max(one.load_pct or 0.0 for one in beside) < rules.unloaded_pct:
            yield "ups_unloaded", Reason.of("pattern.ups_unloaded", subject=subject, n=len(beside))


def never_cut(cuts: Mapping[str, int], feeders: Mapping[str, str], rules: PatternRules = RULES) -> dict[str, Reason]:
    """Centers without a cut in a time in which enough others on their feeder had some. `cuts` has every center whose
    UPS was read, with how many cuts it went through."""
    by_feeder: dict[str, list[str]] = defaultdict(list)
    for center in cuts:
        if feeders.get(center):
            by_feeder[feeders[center]].append(center)
    by_center = {}
    for feeder, centers in by_feeder.items():
        cut = sorted((cuts[center] for center in centers if cuts[center]), reverse=True)
        if len(cut) < rules.neighbours:
            continue
        usual = cut[len(cut) // 2]
        for center in centers:
            if not cuts[center] and usual >= rules.cuts:
                by_center[center] = Reason.of("pattern.ups_never_cut", n=usual, feeder=feeder)
    return by_center


def contradicted(deaths_ms: Iterable[int], values: Sequence[UpsValues], rules: PatternRules = RULES) -> Reason | None:
    """A gateway that died of a power cut just after its UPS had plenty left."""
    count = 0
    for at_ms in deaths_ms:
        last = max((one for one in values if at_ms - 5 * MINUTE_MS <= one.at_ms <= at_ms), key=lambda one: one.at_ms,
                   default=None)  # fmt: skip
        count += last is not None and (last.runtime_s or 0.0) >= rules.plenty_s
    return Reason.of("pattern.ups_contradicted", n=count) if count else None


# ---------------------------------------------------------------- readings of another day: pure


def repeated_values(series: Sequence[int], begin: int, rules: PatternRules = RULES) -> int:
    """How many of the values from number `begin` on say in blocks, value by value, what was said before them; 0 where
    it may be chance. Measured noise never repeats; a recording that is played again does."""
    places: dict[int, list[int]] = defaultdict(list)
    for number, value in enumerate(series):
        places[value].append(number)
    count = 0
    for start in range(begin, len(series) - rules.block + 1, rules.block):
        block = series[start : start + rules.block]
        if 2 * len(set(block)) < rules.block:
            continue
        rarest = min(range(rules.block), key=lambda number: len(places[block[number]]))
        before = (place - rarest for place in places[block[rarest]])
        count += any(0 <= at <= start - rules.block and series[at : at + rules.block] == block for at in before)
    return count * rules.block if count >= rules.blocks else 0


# ---------------------------------------------------------------- what is stored


def look(conn: sa.Connection, now_ms: int) -> int:
    """Writes what the last roll call of every center shows, and the last day of those whose hour it is; returns how
    many findings. To be called every hour or so."""
    devices = _devices(conn)
    mine = [center for center in sorted(devices) if zlib.crc32(center.encode()) % 24 == now_ms // HOUR_MS % 24]
    reasons = list(_at_once(conn, now_ms - HOUR_MS))
    for start in range(0, len(mine), AT_ONCE):
        reasons += _of_a_day(conn, mine[start : start + AT_ONCE], now_ms)
    for center, cuts in never_cut(_cuts(conn, now_ms - 30 * DAY_MS), _feeders(conn)).items():
        reasons.append((center, "ups_never_cut", cuts))
    for (center, subject), number in _repeated(conn, mine, now_ms):
        reasons.append((center, "repeated_values", Reason.of("pattern.repeated_values", subject=subject, n=number)))
    return record(conn, [(center, devices.get(center, ""), name, reason) for center, name, reason in reasons], now_ms)


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
        series: dict[tuple[str, str], array[int]] = defaultdict(lambda: array("q"))  # of hashes: 8 bytes a reading
        begins: dict[tuple[str, str], int] = {}
        for center, subject, at_ms, *values in conn.execute(
            query.order_by(table.wall_ms), execution_options={"yield_per": 1000}
        ):
            key = (center, subject or kind)
            if at_ms >= now_ms - DAY_MS:
                begins.setdefault(key, len(series[key]))
            series[key].append(hash(tuple(values)))
        for key, begin in begins.items():
            if number := repeated_values(series[key], begin):
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
