"""A month's verdict on one criterion, with the numbers it rests on: from samples to rows of the report. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from agent.common.reasons import Param, Reason, encode
from collector.judging.flags.judge import bound_of
from collector.register.centers import Center
from collector.reports.day_sheets import Availability, ExcusedTime, MergedMonth, Samples
from collector.reports.ledger import Ledger
from collector.speedtests import unused_tests
from collector.standard.criteria import Criterion, MonthRule

NOT_ENOUGH = "not enough data"
_CODE = {"meets": "month.meets", "watch": "month.watch", "below": "month.below"}
Z95 = 1.959964  # two-sided 95 % of the normal distribution
GRADE = "E1"  # signed by the gateway, chained, and bracketed in time by our nonces
OFFLINE = "E0"  # signed and chained, too; but within the time that it was offline, when what happened is its own word
WITNESSED = "E2"  # and seen by a measurement server that signed the same


def criterion_rows(criterion: Criterion, center: Center, month: MergedMonth) -> Iterator[dict[str, Any]]:
    """A row for each line or UPS that the criterion was judged on; one without numbers if there was none."""
    for subject, samples in samples_of(criterion, month) or [("", Samples())]:
        yield _row(criterion, center, subject, samples, month)


def samples_of(criterion: Criterion, month: MergedMonth) -> list[tuple[str, Samples]]:
    """Of each line or UPS that the criterion was judged on; (subject, samples) in the order of the subjects."""
    if criterion.reading == "silence":
        return [("", _presence(month.ledger))]
    return sorted((subject, samples) for (name, subject), samples in month.found.items() if name == criterion.id)


def _presence(book: Ledger) -> Samples:
    """Minutes as samples: each that the center answers for, and of these the measured ones."""
    return Samples(counted=book.owed, met=book.measured, days=1 if book.owed else 0, covered=book.measured)


def _row(criterion: Criterion, center: Center, subject: str, samples: Samples, month: MergedMonth) -> dict[str, Any]:
    silence, book, rule = criterion.reading == "silence", month.ledger, criterion.month
    samples = with_unused(rule, samples)
    coverage_pct = _pct(samples.covered, book.owed)
    verdict, reason = decide(rule, samples, coverage_pct)
    three = numbers(rule, samples, unknown_samples(criterion, samples, month), among=silence)
    return {
        "criterion": criterion.id,
        "subject": subject,
        "name": criterion.name.en,
        "name_ur": criterion.name.of("ur"),
        "names": dict(criterion.name.texts),
        "unit": criterion.unit,
        "compare": criterion.compare,
        "bound": None if silence else _rounded(bound_of(criterion, center)),
        "words": sorted(criterion.words),
        "verdict": verdict,
        "reason": msgspec.to_builtins(reason),
        "samples": samples.counted,
        "met": samples.met,
        "met_pct": _pct(samples.met, samples.counted),
        "asked_pct": rule.share_pct,
        "lower_95_pct": _wilson(samples, -1),
        "upper_95_pct": _wilson(samples, 1),
        **three,
        "p10": percentile(samples.values, 10),
        "median": percentile(samples.values, 50),
        "p90": percentile(samples.values, 90),
        "days": samples.days,
        "slots": len(samples.slots),
        "covered_minutes": samples.covered,
        "coverage_pct": coverage_pct,
        "asked_coverage_pct": rule.min_coverage_pct,
        "not_counted": [
            {"reason": msgspec.to_builtins(reason), "count": count}
            for reason, count in sorted(samples.not_counted.items(), key=lambda item: encode(item[0]))
        ],
        "grade": WITNESSED if criterion.evidence == "witnessed" else GRADE,
    }


_OWN_CAUSES = {
    unused_tests.NO_ANSWER: Reason("month.no_answer"), unused_tests.NO_RECORD: Reason("month.no_record"),
}  # fmt: skip


def with_unused(rule: MonthRule, samples: Samples) -> Samples:
    """With each test that was granted and not made as a sample that falls short, but for those that are excused."""
    if rule.unused is None or not samples.unused:
        return samples
    not_counted = samples.not_counted.copy()
    failed = 0
    for cause, count in sorted(samples.unused.items()):
        over = max(0, count - rule.excused_of(cause))
        failed += over
        own = _OWN_CAUSES.get(cause)
        if count > over and own is not None:  # of others a reading says so
            not_counted[own] += count - over
        if over:
            reason = own or Reason("verdict.not_made", {"cause": cause})
            not_counted[Reason("month.unused", {"found": reason, "limit": rule.excused_of(cause)})] += over
    return replace(samples, counted=samples.counted + failed, not_counted=not_counted)


def decide(rule: MonthRule, samples: Samples, coverage_pct: float | None) -> tuple[str, Reason]:
    """(verdict, reason). `below` needs the 95 % upper bound of the share under what is asked; between is `watch`."""
    if lacks := _lacks(rule, samples, coverage_pct or 0.0):
        return NOT_ENOUGH, Reason("month.lacks", {"lacks": lacks})
    shares: dict[str, Param] = {
        "met_pct": _pct(samples.met, samples.counted),
        "n": samples.counted,
        "asked_pct": rule.share_pct,
    }
    word = share_verdict(rule.share_pct, samples.met, samples.counted)
    if word != "meets":
        shares["upper_pct"] = _wilson(samples, 1) or 0.0
    return word, Reason(_CODE[word], shares)


def share_verdict(asked_pct: float, met: int, counted: int) -> str:
    """meets, below or watch; nothing was asked of no samples."""
    if 100 * met >= asked_pct * counted:
        return "meets"
    return "below" if wilson_pct(met, counted, 1) < asked_pct else "watch"


# ---------------------------------------------------------------- what is not known


def unknown_samples(criterion: Criterion, samples: Samples, month: MergedMonth) -> int:
    """How many samples are lacking of those that a month without silence would have. Tests of speed: one in each part
    of each day that was open; what counts by the day: the days; all else: as many as its covered minutes have."""
    owed = month.ledger.owed
    if criterion.reading == "silence":
        return month.ledger.minutes["unknown_explained"] + month.ledger.minutes["unknown_unexplained"]
    if criterion.month.slots:
        return max(0, month.open_days * len(criterion.month.slots) - samples.counted)
    if criterion.month.per == "day":
        return max(0, month.open_days - samples.counted)
    left = max(0, owed - samples.covered)
    return round(samples.counted * left / samples.covered) if samples.covered else left


def numbers(rule: MonthRule, samples: Samples, unknown: int, *, among: bool = False) -> dict[str, Any]:
    """The verdict by three numbers: as computed, if all that is unknown were up, and if it were down. Where they
    disagree the month is not decided by data. `among`: the samples have the unknown ones already, as down."""
    counted = samples.counted if among else samples.counted + unknown
    pairs = {
        "as_computed": (samples.met, samples.counted),
        "unknown_as_up": (samples.met + unknown, counted),
        "unknown_as_down": (samples.met, counted),
    }
    rows = {
        name: {
            "met_pct": _pct(*pair),
            "verdict": share_verdict(rule.share_pct, *pair) if pair[1] else "not enough data",
        }
        for name, pair in pairs.items()
    }
    return {
        "unknown": unknown,
        "numbers": rows,
        "decided_by_data": len({row["verdict"] for row in rows.values()}) == 1,
    }


def _lacks(rule: MonthRule, samples: Samples, coverage_pct: float) -> list[Reason]:
    """What a month would need to be decided."""
    counts = (
        ("month.samples", samples.counted, rule.min_samples),
        ("month.days", samples.days, rule.min_days),
        ("month.slots", len(samples.slots), rule.min_slots),
    )
    lacks = [Reason.of(code, n=have, least=least) for code, have, least in counts if have < least]
    if coverage_pct < rule.min_coverage_pct:
        lacks.append(Reason.of("month.coverage", have_pct=coverage_pct, least_pct=rule.min_coverage_pct))
    return lacks


def _wilson(samples: Samples, side: int) -> float | None:
    return wilson_pct(samples.met, samples.counted, side) if samples.counted else None


def wilson_pct(met: int, counted: int, side: int) -> float:
    """The upper (`side` 1) or lower (-1) end of the 95 % Wilson score interval (Wilson 1927) of the share met, in
    percent."""
    share, z2 = met / counted, Z95 * Z95
    middle = share + z2 / (2 * counted)
    width = Z95 * math.sqrt(share * (1 - share) / counted + z2 / (4 * counted * counted))
    return round(100 * (middle + side * width) / (1 + z2 / counted), 2)


def percentile(values: Mapping[float, int], percent: int) -> float | None:
    """By nearest rank: always one of the values, which are given with how often each was found."""
    left = max(1, -(-sum(values.values()) * percent // 100))
    for value in sorted(values):
        left -= values[value]
        if left <= 0:
            return _rounded(value)
    return None


# ---------------------------------------------------------------- parts of a report


def availability(totals: Availability) -> dict[str, Any]:
    """The line and the power as percentages of the open minutes in which they are known. Power is there on mains and on
    battery; it is off where the gateway proved that it was without."""
    power, line = totals.mains + totals.battery, totals.line_up + totals.line_down
    return {
        "line": {"up": totals.line_up, "down": totals.line_down, "pct": _pct(totals.line_up, line)},
        "power": {
            "mains": totals.mains, "battery": totals.battery, "off": totals.off, "pct": _pct(power, power + totals.off),
        },
    }  # fmt: skip


def excused(times: Sequence[ExcusedTime]) -> list[dict[str, Any]]:
    """Every exclusion with the open minutes that it took out; parts that days had cut are one again."""
    rows: list[dict[str, Any]] = []
    for one in sorted(times, key=lambda item: (item.exclusion.code, item.exclusion.evidence, item.exclusion.from_ms)):
        row = msgspec.to_builtins(one.exclusion) | {"minutes": one.minutes}
        last = rows[-1] if rows else {}
        if (last.get("code"), last.get("evidence"), last.get("to_ms")) == (
            row["code"],
            row["evidence"],
            row["from_ms"],
        ):
            last |= {"to_ms": row["to_ms"], "minutes": last["minutes"] + row["minutes"]}
        else:
            rows.append(row)
    return sorted(rows, key=lambda row: (row["from_ms"], row["to_ms"], row["code"]))


def _pct(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
