"""What seats say that no real ones do. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.common.reasons import Reason
from collector.judging.patterns.limits import RULES, PatternFinding, PatternRules

LISTED = 5


@dataclass(frozen=True, kw_only=True)
class RollCall:
    """A roll call as columns, of the seats that are present."""

    at_ms: int
    seats: Sequence[str]
    cpu_pct: Sequence[float | None] = ()
    memory_pct: Sequence[float | None] = ()
    uptime_s: Sequence[float | None] = ()
    faults: Mapping[str, Collection[str]] = field(default_factory=dict)  # seat -> the codes of what is said of it


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


def one_boot(call: RollCall, rules: PatternRules = RULES) -> Reason | None:
    """Most seats of a center that began at the same moment: machines of one host."""
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


def seats_alike(call: RollCall, rules: PatternRules = RULES) -> Iterator[tuple[PatternFinding, Reason]]:
    """What the gateway says that seats have in common. One disk in two PCs is enough; an address may be that of a
    router in between, and a center may have a few virtual machines."""
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
