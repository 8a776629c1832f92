"""Why a center was not heard for a while: from what is known of the gap to a named cause. Pure.

`collector.judging.flags.gap_facts` collects what is known; `name_cause` judges it, again whenever more has come.
Power is asked before the line: a mains cut takes the line's own boxes down as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from agent.common.reasons import Param, Reason
from collector.judging.flags.gap_facts import FRESH_MS, SLACK_MS, BatteryRun, Boot, GapFacts, Sighting

Name = Literal[
    "mains_carried", "ups_exhausted", "isp_down", "lan_fault", "portal", "dns", "filtered", "mtu", "switched_off",
    "agent_stopped", "collector", "unknown"
]  # fmt: skip
Grade = Literal["confirmed", "shown", "likely", "unsupported", "none"]
NAMES: tuple[Name, ...] = get_args(Name)
GRADES: tuple[Grade, ...] = get_args(Grade)

MIN_WITNESSES = 3  # fewer neighbours may all be wrong by chance
MAJORITY, FEW = 0.5, 0.2  # of the neighbours: enough to confirm, too few not to contradict
# A line that fails so soon after the mains, or is heard so soon after they return, was without power.
TIED_FALL_MS, TIED_RISE_MS = 120_000, 300_000
ROUND_MS = 90_000  # a gap begins with the last arrival, up to a round before what ended it

# What a line may suffer from besides loss, as `agent.wire.LinkReading` has it: the nearest to a full stop first.
STAND_IN_THE_WAY: tuple[Name, ...] = ("portal", "dns", "filtered", "mtu")
LINE_SHARE = 5  # it explains a gap when one in so many readings that saw a fault, or none at all, has it

PLACES = ("lan", "isp", "beyond", "none")
STOPS: Mapping[str, tuple[Name, Reason]] = {
    "reboot": ("switched_off", Reason("evidence.shut_down")),
    "clean": ("agent_stopped", Reason("evidence.agent_stopped")),
    "killed": ("agent_stopped", Reason("evidence.agent_killed")),
    "crash": ("agent_stopped", Reason("evidence.agent_crashed")),
}


@dataclass(frozen=True, kw_only=True)
class NeighbourWitness:
    """What neighbours say of the same time; counts of centers, `named` some of them. Those of the line are on its
    `exchange` where that is named, else on its provider nearby. `deaf_ms`: how much of the gap the collector heard
    nobody at all."""

    feeder: str = ""
    feeder_cut: int = 0
    feeder_mains: int = 0
    feeder_named: tuple[str, ...] = ()
    isp: str = ""
    exchange: str = ""
    isp_silent: int = 0
    isp_heard: int = 0
    isp_named: tuple[str, ...] = ()
    deaf_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Cause:
    """`evidence` names each fact that counted, with the reading or the centers it comes from."""

    name: Name
    grade: Grade
    evidence: tuple[Reason, ...]


NOBODY = NeighbourWitness()


# ---------------------------------------------------------------- judging


def name_cause(facts: GapFacts, witness: NeighbourWitness = NOBODY) -> Cause:
    """The first rule that has an answer; what no rule explains is unknown, and says what is missing."""
    for rule in (_power_died, _stopped, _carried, _line, _collector, _guess):
        cause = rule(facts, witness)
        if cause is not None:
            return cause
    missing = Reason("evidence.shows_none" if facts.taken else "evidence.nothing_taken")
    return Cause(name="unknown", grade="none", evidence=(missing, *map(_boot, facts.boots)))


def _power_died(facts: GapFacts, witness: NeighbourWitness) -> Cause | None:
    """The machine went down, and its UPS was on battery by then: the mains had gone and the battery gave out. What
    neighbours say counts for the boot that ended most of the gap, for no other."""
    main = _main_boot(facts)
    for boot in facts.boots:
        were_cut = boot is main and _share_cut(witness) >= MAJORITY
        run = _at_death(facts, boot)
        if boot.previous_end in ("power", "reboot", "unknown") and run is not None and run.on_battery:
            grade: Grade = "likely" if boot.previous_end == "unknown" and not run.gasp else "shown"
            return _by_feeder("ups_exhausted", grade, (_boot(boot), _run(run)), witness)
        had_mains = (facts.seats.were_shut_down or facts.seats.stayed_on) and not were_cut
        if boot.previous_end != "power" or had_mains:
            continue
        if run is None:
            evidence = (_boot(boot), Reason("evidence.no_ups"), *facts.seats.reasons)
            return _by_feeder("ups_exhausted", "likely", evidence, witness)
        dark = 2 * _dark_ms(facts, boot) >= facts.to_ms - facts.from_ms
        if dark and (were_cut or facts.seats.lost_power):
            empty = Reason.of("evidence.carried_nothing", found=_run(run))
            evidence = (_boot(boot), empty, *facts.seats.reasons)
            return _by_feeder("ups_exhausted", "likely", evidence, witness)
    return None


def _at_death(facts: GapFacts, boot: Boot) -> BatteryRun | None:
    """What the UPS said last before this boot's machine went down. Of several UPSs, one on battery counts."""
    died_ms = boot.died_ms if boot.died_ms is not None else boot.at_ms
    last = []
    for runs in facts.power.values():
        before = [run for run in runs if run.first_ms <= died_ms + SLACK_MS // 2 and run.first_ms < boot.at_ms]
        last += [run for run in before[-1:] if died_ms - run.last_ms <= FRESH_MS]
    return next((run for run in last if run.on_battery), last[0] if last else None)


def _stopped(facts: GapFacts, _witness: NeighbourWitness) -> Cause | None:
    """The agent did not run for most of the gap, and its next start says why."""
    boot = _main_boot(facts)
    if boot is None or (facts.taken and 2 * _dark_ms(facts, boot) < facts.to_ms - facts.from_ms):
        return None
    if boot.previous_end not in STOPS:
        return _unexplained(facts, boot)
    name, meaning = STOPS[boot.previous_end]
    return Cause(name=name, grade="shown", evidence=(_boot(boot), meaning, *facts.seats.reasons))


def _main_boot(facts: GapFacts) -> Boot | None:
    """The one that ended most of the gap."""
    return max(facts.boots, key=lambda boot: _dark_ms(facts, boot), default=None)


def _unexplained(facts: GapFacts, boot: Boot) -> Cause:
    """A machine that went down without a shutdown while it had power: pulled, held or broken, nobody can tell; but
    after the seats were shut down in order, people were closing."""
    run = _at_death(facts, boot)
    if boot.previous_end == "power" and facts.seats.were_shut_down:
        return Cause(name="switched_off", grade="likely", evidence=(_boot(boot), *facts.seats.reasons))
    evidence = [_boot(boot), *facts.seats.reasons]
    if run is not None:
        evidence.append(Reason.of("evidence.lost_with_power", found=_run(run)))
    return Cause(name="unknown", grade="none", evidence=tuple(evidence))


def _dark_ms(facts: GapFacts, boot: Boot) -> int:
    """How much of the gap lies between the last sign of life and this boot."""
    died_ms = boot.died_ms if boot.died_ms is not None else facts.from_ms
    return max(0, min(boot.at_ms, facts.to_ms) - max(died_ms, facts.from_ms))


def _carried(facts: GapFacts, witness: NeighbourWitness) -> Cause | None:
    """The agent ran on, on battery for most of the gap: the mains took the line down, the UPS carried the rest."""
    span_ms = facts.to_ms - facts.from_ms
    for runs in facts.power.values():
        parts = [(run, after) for run, after in _followed(runs) if run.on_battery]
        battery_ms = sum(_overlap_ms(facts, run.first_ms, after or run.last_ms) for run, after in parts)
        if 2 * battery_ms >= span_ms > 0 and any(_tied(facts, run.first_ms, after) for run, after in parts):
            newest = [run for run in runs if run.on_battery][-1]
            line = [_seen(place, facts.places[place]) for place in _told(facts) if place != "none"]
            times = {"battery_s": battery_ms // 1000, "whole_s": span_ms // 1000}
            battery = Reason("evidence.on_battery", {"found": _run(newest), **times})
            grade: Grade = "shown" if facts.taken else "likely"
            return _by_feeder("mains_carried", grade, (battery, *line), witness)
    return None


def _followed(runs: Sequence[BatteryRun]) -> Iterator[tuple[BatteryRun, int | None]]:
    """Each run and when the next one was seen; None for the last."""
    for place, run in enumerate(runs):
        yield run, runs[place + 1].first_ms if place + 1 < len(runs) else None


def _overlap_ms(facts: GapFacts, from_ms: int, to_ms: int) -> int:
    return max(0, min(to_ms, facts.to_ms) - max(from_ms, facts.from_ms))


def _tied(facts: GapFacts, cut_ms: int, mains_ms: int | None) -> bool:
    """Whether the mains may have taken the line along: it neither fell before them nor was back before them, and one
    of the two went together. Otherwise the line has a trouble of its own. `mains_ms` None: not back by the end."""
    fall_ms = facts.from_ms - cut_ms
    rise_ms = None if mains_ms is None else facts.to_ms - mains_ms
    if fall_ms < -ROUND_MS or (rise_ms is not None and rise_ms < -ROUND_MS):
        return False
    return fall_ms <= TIED_FALL_MS or (rise_ms is not None and rise_ms <= TIED_RISE_MS)


def _line(facts: GapFacts, witness: NeighbourWitness) -> Cause | None:
    """The agent ran on and saw where the line broke, or who stood in its way."""
    hops = _told(facts)
    if word := _stood_in_the_way(facts):
        return Cause(name=word, grade="shown", evidence=(_found(word, facts.line_causes[word]),))
    if not hops:
        return None
    seen = _seen(hops[0], facts.places[hops[0]])
    if hops[0] == "lan":
        return Cause(name="lan_fault", grade="shown", evidence=(seen,))
    if hops[0] == "isp":
        return _by_isp("shown", (seen,), witness)
    if hops[0] == "beyond":
        return _by_isp("likely", (seen,), witness)
    if facts.taken_from_ms is None or 2 * (facts.taken_from_ms - facts.from_ms) > facts.to_ms - facts.from_ms:
        return None  # only the end of the gap is known, when all was well again
    return Cause(name="collector", grade="likely", evidence=(seen, *_deaf(facts, witness)))


def _stood_in_the_way(facts: GapFacts) -> Name | None:
    """A portal, a hijacked name, a firewall or a black hole: then neither the provider's line nor our collector is
    what failed. One that a few readings show of a line that was down in most is not what kept the center silent."""
    faults = sum(seen.count for place, seen in facts.places.items() if place != "none")
    counts = {word: facts.line_causes[word].count for word in STAND_IN_THE_WAY if word in facts.line_causes}
    return next((word for word in counts if counts[word] * LINE_SHARE >= faults), None)


def _told(facts: GapFacts) -> list[str]:
    """The places of the fault, the one seen most often first; a line that is well again is only waiting to be used."""
    places = [place for place in PLACES if place in facts.places]
    return sorted(places, key=lambda place: -facts.places[place].count * (1 if place == "none" else 5))


def _collector(facts: GapFacts, witness: NeighbourWitness) -> Cause | None:
    if not 0 < facts.to_ms - facts.from_ms <= 2 * witness.deaf_ms:
        return None
    return Cause(name="collector", grade="shown", evidence=_deaf(facts, witness))


def _guess(facts: GapFacts, witness: NeighbourWitness) -> Cause | None:
    """Nothing of its own tells yet: the last readings before the gap, and who fell silent with it."""
    if facts.boots:
        return None
    low = next((run for runs in facts.power.values() for run in runs[-1:] if run.on_battery), None)
    if facts.alive_ms is not None:
        return _alive(facts, low, witness, facts.alive_ms)
    if low is not None:
        name: Name = "ups_exhausted" if low.low or low.gasp else "mains_carried"
        return _by_feeder(name, "likely", (Reason.of("evidence.last_heard", found=_run(low)),), witness)
    if facts.seats.were_shut_down:
        return Cause(name="switched_off", grade="likely", evidence=facts.seats.reasons)
    if _share_cut(witness) >= MAJORITY:
        return _by_feeder("ups_exhausted", "likely", (), witness)
    if _share_silent(witness) >= MAJORITY:
        return _by_isp("likely", (), witness)
    if facts.place_before in ("lan", "isp"):
        before = Reason.of("evidence.fault_before", field="fault_place", word=facts.place_before)
        guessed: Name = "lan_fault" if facts.place_before == "lan" else "isp_down"
        return Cause(name=guessed, grade="likely", evidence=(before,))
    return None


def _alive(facts: GapFacts, low: BatteryRun | None, witness: NeighbourWitness, alive_ms: int) -> Cause:
    """Its gateway runs, and says so by a second path: there is power, so the line is what is down."""
    alive = [Reason.of("evidence.second_path", alive_s=max(0, facts.to_ms - alive_ms) // 1000)]
    if facts.clock_off_s is not None:
        alive.append(clock_off(facts.clock_off_s))
    if low is not None:
        last = Reason.of("evidence.last_heard", found=_run(low))
        return _by_feeder("mains_carried", "likely", (*alive, last), witness)
    if facts.place_before == "lan":
        before = Reason.of("evidence.fault_before", field="fault_place", word="lan")
        return Cause(name="lan_fault", grade="likely", evidence=(*alive, before))
    return _by_isp("likely", alive, witness)


def clock_off(off_s: int) -> Reason:
    """That a gateway's clock is wrong: `off_s` is how far ahead, negative behind."""
    return Reason.of("evidence.clock_ahead" if off_s > 0 else "evidence.clock_behind", off_s=abs(off_s))


# ---------------------------------------------------------------- witnesses


def _by_feeder(name: Name, grade: Grade, evidence: Sequence[Reason], witness: NeighbourWitness) -> Cause:
    """With what the centers on the same feeder say of the mains."""
    total = witness.feeder_cut + witness.feeder_mains
    if total == 0:
        return Cause(name=name, grade=grade, evidence=tuple(evidence))
    cut = witness.feeder_cut / total
    if cut >= MAJORITY:
        reason = Reason.of("evidence.feeder_cut", n=witness.feeder_cut, whole=total, feeder=witness.feeder)
        grade = "confirmed" if grade == "shown" else "likely"
    else:
        reason = Reason.of("evidence.feeder_mains", n=witness.feeder_mains, whole=total, feeder=witness.feeder)
        grade = "unsupported" if total >= MIN_WITNESSES and cut <= FEW else grade
    return Cause(name=name, grade=grade, evidence=(*evidence, _named(reason, witness.feeder_named)))


def _by_isp(grade: Grade, evidence: Sequence[Reason], witness: NeighbourWitness) -> Cause:
    """With who else on the same exchange, or the same provider in the same place, was not heard."""
    total = witness.isp_silent + witness.isp_heard
    if total == 0:
        return Cause(name="isp_down", grade=grade, evidence=tuple(evidence))
    if _share_silent(witness) >= MAJORITY:
        reason = Reason.of("evidence.isp_silent", n=witness.isp_silent, whole=total, isp=witness.isp)
        if witness.exchange:
            reason = Reason.of("evidence.exchange_silent", n=witness.isp_silent, whole=total, exchange=witness.exchange)
        grade = "confirmed" if grade == "shown" else "likely"
    else:
        reason = Reason.of("evidence.isp_heard", n=witness.isp_heard, whole=total, isp=witness.isp)
        if witness.exchange:
            reason = Reason.of("evidence.exchange_heard", n=witness.isp_heard, whole=total, exchange=witness.exchange)
    return Cause(name="isp_down", grade=grade, evidence=(*evidence, _named(reason, witness.isp_named)))


def _share_cut(witness: NeighbourWitness) -> float:
    total = witness.feeder_cut + witness.feeder_mains
    return witness.feeder_cut / total if total else 0.0


def _share_silent(witness: NeighbourWitness) -> float:
    """One neighbour alone says too little."""
    total = witness.isp_silent + witness.isp_heard
    return witness.isp_silent / total if total >= MIN_WITNESSES else 0.0


# ---------------------------------------------------------------- evidence


def _boot(boot: Boot) -> Reason:
    params: dict[str, Param] = {"reading": boot.id, "field": "previous_end", "word": boot.previous_end}
    if boot.dark_s is None:
        return Reason("evidence.boot", params)
    return Reason("evidence.boot_after", params | {"dark_s": round(boot.dark_s)})


def _run(run: BatteryRun) -> Reason:
    params: dict[str, Param] = {"reading": run.id, "power": _power(run)}
    if run.charge_pct is None:
        reason = Reason("evidence.ups", params)
    else:
        reason = Reason("evidence.ups_charge", params | {"charge_pct": round(run.charge_pct)})
    return Reason.of("evidence.gasp", found=reason, field="last_gasp", word=run.gasp) if run.gasp else reason


def _power(run: BatteryRun) -> str:
    return ("battery_low" if run.low else "battery") if run.on_battery else "mains"


def _seen(place: str, seen: Sighting) -> Reason:
    return Reason.of("evidence.fault_seen", n=seen.count, field="fault_place", word=place, reading=seen.id)


def _found(word: str, seen: Sighting) -> Reason:
    return Reason.of("evidence.line_cause", n=seen.count, field="causes", word=word, reading=seen.id)


def _deaf(facts: GapFacts, witness: NeighbourWitness) -> tuple[Reason, ...]:
    if not witness.deaf_ms:
        return ()
    total_s = (facts.to_ms - facts.from_ms) // 1000
    return (Reason.of("evidence.deaf", deaf_s=witness.deaf_ms // 1000, whole_s=total_s),)


def _named(reason: Reason, names: Sequence[str]) -> Reason:
    return Reason.of("evidence.named", found=reason, centers=list(names)) if names else reason


def without_names(reason: Reason) -> Reason:
    """The same evidence with its counts and without the codes of other centers: for those who may not see them."""
    if reason.code == "evidence.named" and isinstance(inner_reason := reason.params["found"], Reason):
        return inner_reason
    return Reason(reason.code, {name: _unnamed(value) for name, value in reason.params.items()})


def _unnamed(value: Param) -> Param:
    if isinstance(value, Reason):
        return without_names(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_names(item) if isinstance(item, Reason) else item for item in value]
    return value
