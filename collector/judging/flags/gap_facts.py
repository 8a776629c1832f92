"""What is known of the time in which a center was not heard, collected from its readings. Pure.

A gap is the time between the last arrival before a silence and the first one after it, by the collector's clock. What
is known grows: the boot reading comes with the first arrival, the readings kept meanwhile follow as backlog. `fold`
takes them in any order and any number of runs and comes to the same; only the runs of a UPS are found anew from all its
readings (`runs_of`). `collector.judging.flags.cause` judges what is known by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import msgspec

from agent.common.causes import LineCause
from collector.judging.flags import seat_evidence
from collector.judging.flags.seat_evidence import SeatCount, SeatEvidence

SLACK_MS = 60_000  # between a sign and what it is a sign of: a round of measuring
FRESH_MS = 180_000  # so long before its end a UPS reading still speaks for the end of a run
MAX_ON_BATTERY_S = 86_400  # what a UPS says beyond that of its time on battery is not believed
LINE_CAUSES: tuple[LineCause, ...] = get_args(LineCause)
MAX_RUNS = 64  # of one UPS in one gap: a flickering mains must not grow a row without end


@dataclass(frozen=True, kw_only=True)
class Boot:
    """A boot reading: what ended the run before it. `id` names the reading (device, spool, number)."""

    at_ms: int
    previous_end: str
    dark_s: float | None
    id: str

    @property
    def died_ms(self) -> int | None:
        """The last sign of life before it."""
        return None if self.dark_s is None else self.at_ms - round(self.dark_s * 1000)


class BatteryRun(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive readings of one UPS that agree on whether it ran on battery. `gasp` is its last gasp, if any."""

    on_battery: bool
    first_ms: int
    last_ms: int
    low: bool
    charge_pct: float | None  # the last one known
    id: str  # of the newest reading
    gasp: str = ""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """How often something was read, and the newest reading that says so."""

    count: int
    id: str


@dataclass(frozen=True, kw_only=True)
class GapFacts:
    """What is known of one gap. `power` begins with the last readings before it; `taken` counts the readings that
    the agent took during the gap and delivered later, the earliest at `taken_from_ms`; `places` where its link probe
    saw the fault meanwhile, `line_causes` what else it found wrong with the line, `place_before` where the last reading
    before the gap, of `place_before_ms`, saw it; `seats` what the roll calls around it say; `alive_ms` when its
    gateway was last heard by a second path, `clock_off_s` how far its clock was ahead then (negative: behind;
    None: about right)."""

    from_ms: int
    to_ms: int
    boots: tuple[Boot, ...] = ()
    power: Mapping[str, tuple[BatteryRun, ...]] = field(default_factory=dict)
    places: Mapping[str, Sighting] = field(default_factory=dict)
    line_causes: Mapping[str, Sighting] = field(default_factory=dict)
    place_before: str = ""
    place_before_ms: int | None = None
    taken: int = 0
    taken_from_ms: int | None = None
    seats: SeatEvidence = field(default_factory=SeatEvidence)
    alive_ms: int | None = None
    clock_off_s: int | None = None


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """One reading as far as causes are concerned: what its kind tells is set, or nothing."""

    at_ms: int
    id: str
    subject: str = ""
    boot: Boot | None = None
    run: BatteryRun | None = None
    place: str = ""
    line_causes: tuple[str, ...] = ()
    call: SeatCount | None = None
    is_link: bool = False


def sign_of(reading: object, kind: str, at_ms: int, id: str) -> Sign:
    """What a reading says about causes, if anything."""
    subject = str(getattr(reading, "subject", ""))
    if kind == "boot":
        previous_end, dark_s = getattr(reading, "previous_end", "unknown"), getattr(reading, "dark_s", None)
        return Sign(at_ms=at_ms, id=id, boot=Boot(at_ms=at_ms, previous_end=previous_end, dark_s=dark_s, id=id))
    if kind == "ups" and _tells_power(reading):
        return Sign(at_ms=at_ms, id=id, subject=subject, run=run_of(reading, at_ms, id))
    if kind == "link":
        words = getattr(reading, "causes", None) or ()
        line_causes = tuple(word for word in LINE_CAUSES if word in words)  # any other is not known here
        place = _place(reading)
        return Sign(at_ms=at_ms, id=id, subject=subject, place=place, line_causes=line_causes, is_link=True)
    if kind == "seats":
        return Sign(at_ms=at_ms, id=id, call=seat_evidence.call_of(reading, at_ms, id))
    return Sign(at_ms=at_ms, id=id)


def _tells_power(reading: object) -> bool:
    """Also a UPS that could not be read does, with its last gasp: it was on battery by then."""
    if getattr(reading, "last_gasp", None):
        return True
    return getattr(reading, "output_state", None) is not None and draws_on_battery(reading) is not None


def run_of(reading: object, at_ms: int, id: str) -> BatteryRun:
    """A UPS reading as a run of one."""
    status, gasp = getattr(reading, "battery_status", None), getattr(reading, "last_gasp", None) or ""
    return BatteryRun(
        on_battery=bool(draws_on_battery(reading)) or bool(gasp),
        first_ms=at_ms - _on_battery_ms(reading),
        last_ms=at_ms,
        low=status in ("low", "depleted") or gasp in ("battery_low", "runtime_short"),
        charge_pct=getattr(reading, "battery_charge_pct", None),
        id=id,
        gasp=gasp,
    )


def draws_on_battery(reading: object) -> bool | None:
    """Whether a UPS feeds from its battery because the mains is gone. None: it does not say, it tests its battery, or
    whether the mains is gone cannot be told yet (`source`)."""
    state = getattr(reading, "output_state", None)
    if state != "battery":
        return None if state is None else False
    tests, unknown = getattr(reading, "self_test", None) == "running", getattr(reading, "source", None) == "unknown"
    return None if tests or unknown else True


def _on_battery_ms(reading: object) -> int:
    """How long before this reading the UPS says that it went on battery."""
    said_s = getattr(reading, "on_battery_s", None) if draws_on_battery(reading) else None
    return round(said_s * 1000) if said_s is not None and 0 <= said_s <= MAX_ON_BATTERY_S else 0


def _place(reading: object) -> str:
    """A gateway without a default route has lost its own network."""
    failure = getattr(reading, "failure", None)
    if failure is not None:
        return "lan" if getattr(failure, "cause", "") == "no_route" else ""
    return getattr(reading, "fault_place", None) or ""


def reach(from_ms: int, to_ms: int) -> tuple[int, int]:
    """The time whose readings say something of a gap; both ends within."""
    return from_ms - FRESH_MS, to_ms + max(SLACK_MS, seat_evidence.AFTER_MS)


def facts_of(from_ms: int, to_ms: int, signs: Sequence[Sign]) -> GapFacts:
    """All that these readings say of a gap."""
    return replace(fold(GapFacts(from_ms=from_ms, to_ms=to_ms), signs), power=runs_of(signs, from_ms, to_ms))


def fold(facts: GapFacts, signs: Iterable[Sign]) -> GapFacts:
    """With these readings added, whatever their order; each must be given once. Those of the last minutes before the
    gap count, and of those just after it boots and seats: they tell what ended it."""
    first_ms, last_ms = reach(facts.from_ms, facts.to_ms)
    mine = [sign for sign in signs if first_ms <= sign.at_ms <= last_ms]
    within = [sign for sign in mine if facts.from_ms < sign.at_ms < facts.to_ms]
    boots = {boot.id: boot for boot in facts.boots}
    near = (sign for sign in mine if facts.from_ms < sign.at_ms <= facts.to_ms + SLACK_MS)
    boots |= {sign.boot.id: sign.boot for sign in near if sign.boot is not None}
    taken = [sign for sign in within if sign.boot is None]
    times = [sign.at_ms for sign in taken] + ([] if facts.taken_from_ms is None else [facts.taken_from_ms])
    before = [(sign.at_ms, sign.place) for sign in mine if sign.is_link and sign.at_ms <= facts.from_ms]
    known_before = [] if facts.place_before_ms is None else [(facts.place_before_ms, facts.place_before)]
    place_before_ms, place_before = max([*before, *known_before], default=(None, ""))
    return replace(
        facts,
        boots=tuple(sorted(boots.values(), key=lambda boot: (boot.at_ms, boot.id))),
        places=_sighted(facts.places, ((sign.place, sign.id) for sign in taken if sign.place)),
        line_causes=_sighted(facts.line_causes, ((word, sign.id) for sign in taken for word in sign.line_causes)),
        place_before=place_before,
        place_before_ms=place_before_ms,
        taken=facts.taken + len(taken),
        taken_from_ms=min(times, default=None),
        seats=_seats(facts, mine),
    )


def _seats(facts: GapFacts, signs: Iterable[Sign]) -> SeatEvidence:
    seats = facts.seats
    for call in (sign.call for sign in signs if sign.call is not None):
        if call.at_ms <= facts.from_ms:
            seats = seat_evidence.before(seats, call)
        seats = seat_evidence.after(seats, call, facts.from_ms, facts.to_ms)
    return seats


def _sighted(seen: Mapping[str, Sighting], pairs: Iterable[tuple[str, str]]) -> dict[str, Sighting]:
    sighted = dict(seen)
    for word, id in pairs:
        before = sighted.get(word)
        sighted[word] = Sighting(
            count=1 + (before.count if before else 0), id=max(id, before.id if before else id, key=_number)
        )
    return dict(sorted(sighted.items()))


def _number(id: str) -> tuple[int, str]:
    """A reading's number in its spool, and its whole name."""
    number = id.rpartition(" ")[2]
    return int(number) if number.isdecimal() else 0, id


def runs_of(signs: Iterable[Sign], from_ms: int, to_ms: int) -> dict[str, tuple[BatteryRun, ...]]:
    """The runs of each UPS in a gap, of all its readings around it: the last one before, and all until just after."""
    mine: dict[str, list[Sign]] = {}
    for sign in sorted(signs, key=lambda item: (item.at_ms, item.id)):
        if sign.run is not None and from_ms - FRESH_MS <= sign.at_ms <= to_ms + SLACK_MS:
            some = mine.setdefault(sign.subject, [])
            if some and sign.at_ms <= from_ms:
                some.clear()
            some.append(sign)
    by_subject: dict[str, tuple[BatteryRun, ...]] = {}
    for subject, some in sorted(mine.items()):
        runs: tuple[BatteryRun, ...] = ()
        for sign in some:
            assert sign.run is not None
            runs = add_run(runs, sign.run)
        by_subject[subject] = runs
    return by_subject


def moves_runs(facts: GapFacts, sign: Sign) -> bool:
    """Whether a sign can make the runs of its UPS other ones. It cannot where it lies within a run that says the same
    and that no other one overlaps: `runs_of` would join it to its neighbours and come to the very run."""
    if sign.run is None or not facts.from_ms - FRESH_MS <= sign.at_ms <= facts.to_ms + SLACK_MS:
        return False
    runs, new = facts.power.get(sign.subject, ()), sign.run
    around = [run for run in runs if run.first_ms <= sign.at_ms and new.first_ms <= run.last_ms]
    if sign.at_ms <= facts.from_ms or new.gasp or len(around) != 1:
        return True
    (run,) = around
    apart = all(other is run or other.first_ms > run.last_ms or other.last_ms < run.first_ms for other in runs)
    within = run.first_ms <= new.first_ms and new.last_ms < run.last_ms
    agree = run.on_battery == new.on_battery and new.charge_pct in (None, run.charge_pct)
    return not (apart and within and agree)


def with_runs(facts: GapFacts, signs: Iterable[Sign]) -> GapFacts | None:
    """With the runs that these say, where each lies within one or after all of its UPS: what `runs_of` would come to.
    None: only all readings around the gap tell."""
    for sign in sorted(signs, key=lambda item: (item.at_ms, item.id)):
        if not moves_runs(facts, sign) or sign.run is None:
            continue
        runs, first_ms = facts.power.get(sign.subject, ()), min(sign.at_ms, sign.run.first_ms)
        if not runs or first_ms <= max(facts.from_ms, *(run.last_ms for run in runs)):
            return None
        facts = replace(facts, power={**facts.power, sign.subject: add_run(runs, sign.run)})
    return facts


def add_run(runs: tuple[BatteryRun, ...], new: BatteryRun) -> tuple[BatteryRun, ...]:
    """The runs with one more, joined to its neighbours where they agree."""
    joined: list[BatteryRun] = []
    for run in sorted((*runs, new), key=lambda item: item.first_ms):
        if joined and joined[-1].on_battery == run.on_battery:
            joined[-1] = _join(joined[-1], run)
        else:
            joined.append(run)
    return tuple(joined[-MAX_RUNS:])


def _join(first: BatteryRun, second: BatteryRun) -> BatteryRun:
    newest = max(first, second, key=lambda run: run.last_ms)
    charge_pct = newest.charge_pct if newest.charge_pct is not None else first.charge_pct
    gasp = newest.gasp or first.gasp or second.gasp
    return msgspec.structs.replace(newest, first_ms=first.first_ms, low=newest.low, charge_pct=charge_pct, gasp=gasp)
