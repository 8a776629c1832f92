"""The month of a bundle added up again from its day sheets, and held against its report and its standard."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BUCKETS = ("up", "below", "down", "excused", "unknown_explained", "unknown_unexplained", "ours")
Z95 = 1.959964  # two-sided 95 % of the normal distribution


@dataclass
class Added:
    """What the days say of one criterion and line."""

    values: Counter[float] = field(default_factory=Counter)
    counted: int = 0
    met: int = 0
    days: int = 0
    slots: set[int] = field(default_factory=set)
    covered: int = 0


@dataclass
class AddedMonth:
    minutes: Counter[str] = field(default_factory=Counter)
    availability: Counter[str] = field(default_factory=Counter)
    criteria: dict[tuple[str, str], Added] = field(default_factory=dict)
    digests: list[tuple[int, str]] = field(default_factory=list)
    days: list[dict[str, int]] = field(default_factory=list)

    def add(self, sheet: Mapping[str, Any]) -> None:
        """Raises KeyError, TypeError, ValueError for what is no sheet."""
        minutes = {name: int(sheet["minutes"][name]) for name in BUCKETS} | {"before": int(sheet["before"])}
        self.minutes.update(minutes)
        self.days.append({"from_ms": int(sheet["from_ms"]), **minutes})
        self.availability.update({name: int(value) for name, value in sheet["availability"].items()})
        for day in sheet["criteria"]:
            one = self.criteria.setdefault((day["criterion"], day["subject"]), Added())
            one.counted += int(day["counted"])
            one.met += int(day["met"])
            one.days += int(day["counted"]) > 0
            one.covered += int(day["covered"])
            one.slots.update(map(int, day["slots"]))
            one.values.update({float(value): int(count) for value, count in day["values"]})
        self.digests.append((int(sheet["from_ms"]), str(sheet["sha256"])))

    @property
    def open(self) -> int:
        return sum(self.minutes[name] for name in BUCKETS)

    @property
    def owed(self) -> int:
        return self.open - self.minutes["excused"] - self.minutes["ours"]

    @property
    def measured(self) -> int:
        return self.minutes["up"] + self.minutes["below"] + self.minutes["down"]

    @property
    def sha256(self) -> str:
        return hashlib.sha256("\n".join(digest for _, digest in sorted(self.digests)).encode()).hexdigest()


def rules_of(document: bytes) -> dict[str, Mapping[str, Any]]:
    """The criteria of a standard, by name. Raises ValueError."""
    standard = tomllib.loads(document.decode())
    return {str(one["id"]): one for one in standard.get("criterion", []) if isinstance(one, dict) and "id" in one}


def compare(month: AddedMonth, report: Mapping[str, Any], rules: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What the report says otherwise than its sheets give."""
    ledger = {"open": month.open} | {name: month.minutes[name] for name in BUCKETS}
    minutes = {"measured": month.measured, "before": month.minutes["before"], "owed": month.owed}
    parts = {"ledger": ledger, "minutes": minutes}
    for name, wanted in parts.items():
        for key, value in wanted.items():
            if (stated := _at(report, name, key)) != value:
                yield f"report: {name}.{key} says {stated}, the day sheets add up to {value}"
    yield from _availability(month, report)
    if "days" in report and report["days"] != month.days:
        yield "report: its days are not those of the day sheets"
    if _at(report, "evidence", "sha256") != month.sha256:
        yield "report: the digest of its evidence is not that of the day sheets"
    rows = report.get("criteria")
    for row in rows if isinstance(rows, list) else []:
        yield from _row(month, row, rules.get(str(row.get("criterion")), {}))
    wanted_ids = {name for name, rule in rules.items() if rule.get("severity") != "notice"}
    for name in sorted(wanted_ids - {str(row.get("criterion")) for row in rows or []}):
        yield f"report: criterion {name} of the standard is missing"


def _availability(month: AddedMonth, report: Mapping[str, Any]) -> Iterator[str]:
    minutes = month.availability
    line, power = minutes["line_up"] + minutes["line_down"], minutes["mains"] + minutes["battery"]
    wanted = {
        ("line", "up"): minutes["line_up"], ("line", "down"): minutes["line_down"],
        ("line", "pct"): _pct(minutes["line_up"], line), ("power", "mains"): minutes["mains"],
        ("power", "battery"): minutes["battery"], ("power", "off"): minutes["off"],
        ("power", "pct"): _pct(power, power + minutes["off"]),
    }  # fmt: skip
    for (part, key), value in wanted.items():
        if (stated := _at(report, "availability", part, key)) != value:
            yield f"report: availability of {part}, {key}: says {stated}, the day sheets give {value}"


def _row(month: AddedMonth, row: Mapping[str, Any], rule: Mapping[str, Any]) -> Iterator[str]:
    name = f"{row.get('criterion')} {row.get('subject')}".strip()
    samples = month.criteria.get((str(row.get("criterion")), str(row.get("subject"))), Added())
    if rule.get("reading") == "silence":
        samples = Added(counted=month.owed, met=month.measured, days=month.owed > 0, covered=month.measured)
    coverage = _pct(samples.covered, month.owed)
    wanted: dict[str, object] = {
        "samples": samples.counted, "met": samples.met, "met_pct": _pct(samples.met, samples.counted),
        "lower_95_pct": wilson_pct(samples.met, samples.counted, -1),
        "upper_95_pct": wilson_pct(samples.met, samples.counted, 1), "p10": percentile(samples.values, 10),
        "median": percentile(samples.values, 50), "p90": percentile(samples.values, 90), "days": samples.days,
        "slots": len(samples.slots), "covered_minutes": samples.covered, "coverage_pct": coverage,
        "verdict": verdict_of(rule, samples, coverage or 0.0),
    }  # fmt: skip
    for key, value in wanted.items():
        if row.get(key) != value:
            yield f"report: {name}: {key} says {row.get(key)}, the day sheets and the standard give {value}"


def verdict_of(rule: Mapping[str, Any], samples: Added, coverage_pct: float) -> str:
    """Of a month, as the standard's `[criterion.month]` asks."""
    month = rule.get("month", {})
    lacks = (
        samples.counted < int(month.get("min_samples", 1)) or samples.days < int(month.get("min_days", 0))
        or len(samples.slots) < int(month.get("min_slots", 0)) or coverage_pct < float(month.get("min_coverage_pct", 0))
    )  # fmt: skip
    if lacks:
        return "not enough data"
    share_pct = float(month.get("share_pct", 100))
    if 100 * samples.met >= share_pct * samples.counted:
        return "meets"
    upper = wilson_pct(samples.met, samples.counted, 1)
    return "below" if upper is not None and upper < share_pct else "watch"


def wilson_pct(met: int, counted: int, side: int) -> float | None:
    """An end of the 95 % Wilson score interval, in percent; None of nothing."""
    if not counted:
        return None
    share, z2 = met / counted, Z95 * Z95
    middle = share + z2 / (2 * counted)
    width = Z95 * math.sqrt(share * (1 - share) / counted + z2 / (4 * counted * counted))
    return round(100 * (middle + side * width) / (1 + z2 / counted), 2)


def percentile(values: Mapping[float, int], percent: int) -> float | None:
    """By nearest rank."""
    left = max(1, -(-sum(values.values()) * percent // 100))
    for value in sorted(values):
        left -= values[value]
        if left <= 0:
            return round(value, 3)
    return None


def _pct(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def sheets_span(sheets: Sequence[tuple[int, int]], from_ms: int, to_ms: int) -> Iterator[str]:
    """That the days follow each other from the beginning of the month to its end."""
    at = from_ms
    for start, end in sorted(sheets):
        if start != at:
            yield f"sheets: no day sheet from {at} to {start}" if start > at else f"sheets: two of the day at {start}"
        at = max(at, end)
    if at != to_ms:
        yield f"sheets: they end at {at}, the month at {to_ms}"
