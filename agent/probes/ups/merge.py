"""Raw values of several MIBs into one reading. Pure.

For each field the candidates stand in the order of trust: vendor tables before RFC 1628, and within a table as it
is written. The first that says something possible wins; what was put right is named in `corrected`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent.common import code_text
from agent.common.reasons import Param, Reason
from agent.probes.ups.judge import possible
from agent.probes.ups.profiles.table import TEXTS, TOTALS, Obj, Parsed, Profile, Raw, parse
from agent.wire import UpsReading

Say = Callable[[str], None]
Instances = Mapping[str, Sequence[tuple[str, Raw]]]  # base -> its instances (oid, value) in tree order

ESSENTIAL = ("output_state", "battery_status", "battery_charge_pct", "runtime_s")
ON_MAINS = frozenset({"online", "bypass", "boost", "trim", "eco"})
ALIVE_V = 10.0


def correction(code: str, /, **params: Param) -> str:
    """One code of CORRECTIONS as the wire has it."""
    return code_text.encode([Reason(f"correction.{code}", params)])


def instances(bases: Sequence[str], raw: Mapping[str, Raw]) -> Instances:
    """The answers sorted under the objects asked for. An agent may leave the instance out (`33.1.1.1`, no `.0`)."""
    found: dict[str, list[tuple[str, Raw]]] = {base: [] for base in bases}
    for oid, value in raw.items():
        base = oid
        while base and base not in found:
            base = base.rpartition(".")[0]
        if base:
            found[base].append((oid, value))
    for entries in found.values():
        entries.sort(key=lambda entry: tuple(map(int, entry[0].split("."))))
    return found


def read(profiles: Sequence[Profile], raw: Mapping[str, Raw], say: Say) -> UpsReading | None:
    """The reading these answers make, or None when they are no UPS's: nothing of state, charge or runtime."""
    bases = [base for profile in profiles for obj in profile.objects for base in profile.bases(obj)]
    by_base = instances(bases, raw)
    fields: dict[str, Any] = {}
    corrected: list[str] = []
    used: list[str] = []
    for profile in profiles:
        for obj, value, why, code in _said(profile, by_base, fields, say):
            if obj.field in fields:
                continue
            fields[obj.field] = value
            say(f"    {obj.field} = {value!r}")
            if code:
                corrected.append(code)
                say(f"    corrected: {why}")
            if profile.name not in used:
                used.append(profile.name)
    _settle(fields, corrected, say)
    if not any(fields.get(name) is not None for name in ESSENTIAL):
        return None
    if "manufacturer" not in fields:
        fields["manufacturer"] = next((p.maker for p in profiles if p.name in used and p.maker), None)
    return UpsReading(**fields, profiles=used, corrected=corrected)


def _said(
    profile: Profile, by_base: Instances, known: Mapping[str, Any], say: Say
) -> Iterator[tuple[Obj, Parsed | int, str, str]]:
    """What each object of a profile says, where it says something possible, and if that was put right, why, in words
    and as a code; `known` is what was said before."""
    for obj in profile.objects:
        if not obj.field:  # only there for other objects' `rows`
            continue
        answers = [entry for base in profile.bases(obj) for entry in by_base.get(base, ())]
        if obj.rows:
            answers = _rows(f"{profile.root}.{obj.rows.column}", obj.rows.ids, profile.bases(obj)[0], answers, by_base)
        for oid, value in answers:
            say(f"  {profile.name} {obj.name} {oid} = {value!r}")
        value = _of_lines(obj, [parse(obj, value) for _, value in answers])
        if isinstance(value, (bool, str)):
            yield obj, value, "", ""
        elif value is not None:
            verdict = possible(obj.field, value, obj.scale, on_mains=known.get("output_state") in ON_MAINS)
            if verdict.value is None:
                say(f"    refused: {verdict.why}")
            else:
                exact = round(verdict.value, 3)
                code = verdict.code and correction(verdict.code, field=obj.field, raw=value, mib=profile.name)
                yield obj, int(exact) if obj.field == "alarms_count" else exact, verdict.why, code


def _rows(
    column: str, ids: frozenset[str], base: str, answers: Sequence[tuple[str, Raw]], by_base: Instances
) -> list[tuple[str, Raw]]:
    """The answers of the rows that `column` says are of one of these kinds."""
    wanted = {oid[len(column) + 1 :] for oid, kind in by_base.get(column, ()) if kind in ids}
    return [(oid, value) for oid, value in answers if oid[len(base) + 1 :].partition(".")[0] in wanted]


def _of_lines(obj: Obj, values: Sequence[Parsed | None]) -> Parsed | None:
    """Of several lines: the largest of a load, else the first live one (unused lines read 0)."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or obj.field in TEXTS or obj.enum is not None or obj.words is not None:
        return known[0] if known else None
    numbers = [float(value) for value in known]
    if obj.field in TOTALS:
        return max(numbers)
    return next((number for number in numbers if number > 0), numbers[0])


def _settle(fields: dict[str, Any], corrected: list[str], say: Say) -> None:
    """What only the whole picture tells: zeros that mean "not measured", and a state the card does not name."""
    for side in ("input", "output"):
        if fields.get(f"{side}_frequency_hz") == 0 and (fields.get(f"{side}_voltage_v") or 0) > ALIVE_V:
            del fields[f"{side}_frequency_hz"]
            say(f"  {side}_frequency_hz = 0 Hz under voltage: not measured")
    if "output_state" not in fields:
        state = _state_by_time(fields)
        if state:
            fields["output_state"] = state
            corrected.append(correction("by_time", field="output_state", on_battery_s=fields["on_battery_s"]))
            say(f"  output_state: not told; {fields['on_battery_s']:g} s on battery means {state}")
    charged = (fields.get("battery_charge_pct") or 100) > 5
    if fields.get("runtime_s") == 0 and charged and fields.get("output_state") != "battery":
        del fields["runtime_s"]
        say("  runtime_s = 0 off battery with charge left: the card does not know")


def _state_by_time(fields: Mapping[str, Any]) -> str | None:
    seconds = fields.get("on_battery_s")
    if seconds is None:
        return None
    if seconds > 0:
        return "battery"
    return "online" if (fields.get("input_voltage_v") or 0) > ALIVE_V else None
