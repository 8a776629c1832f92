"""The one step between any source (SNMP tables, NUT, what a trap caused to be read) and a reading. Pure.

1. A source gathers: for each field the candidates in its order of trust, and the evidence around them (words that
   stand, limits that the UPS itself tells).
2. `settle` weighs them: each number against physics and the scale held for its object, then all of them against each
   other and against what this device said before. What cannot be true is unknown, and `corrected` says why.
3. What must outlive one look is a `Memory` of the device, an argument and a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.common import reading_codes
from agent.common.reasons import Param
from agent.probes.ups import battery, words
from agent.probes.ups.draft import Candidate, Draft, Gathered, Memory
from agent.probes.ups.scales import FACTORS, Scale, weigh
from agent.wire import Failure, UpsReading

Say = Callable[[str], None]

ESSENTIAL = ("output_state", "battery_status", "battery_charge_pct", "runtime_s")
FIRST = ("output_state", "input_voltage_v", "output_voltage_v")  # what the rest is weighed against


class Settlement(NamedTuple):
    """`reading` is None when nothing of state, charge or runtime was told: no UPS, or one that is not ready."""

    reading: UpsReading | None
    memory: Memory


def settle(gathered: Gathered, memory: Memory, now_s: float, say: Say) -> Settlement:
    """The reading that a look makes, and what is known of the device from now on."""
    if "lost" in gathered.evidence.words:
        return Settlement(UpsReading(failure=Failure("stale", LOST)), memory)
    draft = Draft(gathered.evidence, memory, now_s)
    scales = dict(memory.scales)
    names = [*FIRST, *(name for name in gathered.candidates if name not in FIRST)]
    for name in names:
        _choose(draft, name, gathered.candidates.get(name, ()), scales, say)
    power = words.settle_power(draft)
    battery.settle_battery(draft)
    _learn_battery_scale(draft, scales)
    held = words.hold_back_glitches(draft)
    for name, code in draft.corrections.items():
        say(f"    corrected: {name}: {code}")
    after = Memory(scales=scales, power=power, held=held)
    if all(draft.get(name) is None for name in ESSENTIAL):
        return Settlement(None, after)
    return Settlement(_reading(draft, gathered), after)


def _learn_battery_scale(draft: Draft, scales: dict[str, Scale]) -> None:
    """What the UPS's size has shown of its battery's voltage holds for that object, whether the size is told again."""
    factor, chosen = FACTORS.get(draft.corrections.get("battery_voltage_v", "")), draft.chosen.get("battery_voltage_v")
    if factor is None or chosen is None or not chosen.key:
        return
    if chosen.key not in scales or scales[chosen.key].factor != factor:
        scales[chosen.key] = Scale(factor)


LOST = "the card or driver says that it has lost its UPS and repeats old values: check the cable between them"


def _choose(draft: Draft, name: str, candidates: Sequence[Candidate], scales: dict[str, Scale], say: Say) -> None:
    """The first candidate that says something possible."""
    code = ""
    for candidate in candidates:
        value: float | bool | str | None = candidate.value
        why = ""
        if not isinstance(value, (bool, str)):
            value, why = _number(draft, name, candidate, scales)
            code = code or why
            if value is None:
                say(f"    {name}: {candidate.value:g} refused: {why}")
                draft.chosen.setdefault(name, candidate)
                continue
        draft.fields[name], draft.chosen[name] = value, candidate
        say(f"    {name} = {value!r}")
        if why:
            draft.corrections[name] = why
        return
    if code and (code != "sentinel" or name in ("battery_charge_pct", "runtime_s")):  # others have no such sensor
        draft.corrections[name] = code


def _number(draft: Draft, name: str, candidate: Candidate, scales: dict[str, Scale]) -> tuple[float | None, str]:
    assert not isinstance(candidate.value, str)
    on_mains = draft.get("output_state") in words.ON_MAINS
    verdict = weigh(name, candidate.value, scale=candidate.scale, held=scales.get(candidate.key), on_mains=on_mains)
    if candidate.key and verdict.scale is not None:
        scales[candidate.key] = verdict.scale
    elif candidate.key and verdict.code == "against_scale":
        scales.pop(candidate.key, None)
    if verdict.value is None:
        return None, verdict.code
    return int(verdict.value) if name == "alarms_count" else round(verdict.value, 3), verdict.code


def _reading(draft: Draft, gathered: Gathered) -> UpsReading:
    sources = [candidate.source for name, candidate in draft.chosen.items() if draft.get(name) is not None]
    used = list(dict.fromkeys(source for source in gathered.makers if source in sources))
    if draft.get("manufacturer") is None:
        maker = next((gathered.makers[source] for source in used if gathered.makers[source]), None)
        draft.fields["manufacturer"] = maker
    corrected = [_correction(draft, name, code) for name, code in draft.corrections.items()]
    return UpsReading(**draft.fields, profiles=used, corrected=[*corrected, *gathered.remarks][:64])


def _correction(draft: Draft, name: str, code: str) -> str:
    params: dict[str, Param] = {"field": name}
    candidate = draft.chosen.get(name)
    if code == "by_time":
        params["on_battery_s"] = draft.get("on_battery_s")
    elif candidate is not None and not isinstance(candidate.value, bool):
        params |= {"word" if isinstance(candidate.value, str) else "raw": candidate.value, "mib": candidate.source}
    return reading_codes.correction(code, **params)
