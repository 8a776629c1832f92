"""A month's verdict on one criterion, with the numbers it rests on: from samples to rows of the report. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from agent.common.reasons import Param, Reason, encode
from collector.flags.judge import bound_of
from collector.register.centers import Center
from collector.reports.ledger import Ledger
from collector.reports.monthly_samples import Samples
from collector.standard.criteria import Criterion, MonthRule

Z95 = 1.959964  # two-sided 95 % of the normal distribution
GRADE = "E1"  # signed by the gateway, chained, and bracketed in time by our nonces
WITNESSED = "E2"  # and seen by a measurement server that signed the same


def criterion_rows(
    criterion: Criterion,
    center: Center,
    found: Mapping[tuple[str, str], Samples],
    book: Ledger,
) -> Iterator[dict[str, Any]]:
    """A row for each line or UPS that the criterion was judged on; one without numbers if there was none."""
    if criterion.reading == "silence":
        yield _row(criterion, center, "", _presence(book), book)
        return
    mine = {subject: samples for (name, subject), samples in found.items() if name == criterion.id}
    for subject, samples in sorted(mine.items()) or [("", Samples())]:
        yield _row(criterion, center, subject, samples, book)


def _presence(book: Ledger) -> Samples:
    """Minutes as samples: each that the center answers for, and of these the measured ones."""
    met = book.minutes["measured"]
    days = set(range(1 if book.owed else 0))
    return Samples(counted=book.owed, met=met, days=days)


def _row(criterion: Criterion, center: Center, subject: str, samples: Samples, book: Ledger) -> dict[str, Any]:
    silence = criterion.reading == "silence"
    covered = samples.met if silence else sum(samples.minutes)
    coverage_pct = _pct(covered, book.owed)
    verdict, reason = decide(criterion.month, samples, coverage_pct)
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
        "asked_pct": criterion.month.share_pct,
        "upper_95_pct": _upper_pct(samples),
        "p10": percentile(samples.values, 10),
        "median": percentile(samples.values, 50),
        "p90": percentile(samples.values, 90),
        "days": len(samples.days),
        "slots": len(samples.slots),
        "covered_minutes": covered,
        "coverage_pct": coverage_pct,
        "asked_coverage_pct": criterion.month.min_coverage_pct,
        "not_counted": [
            {"reason": msgspec.to_builtins(reason), "count": count}
            for reason, count in sorted(samples.not_counted.items(), key=lambda item: encode(item[0]))
        ],
        "grade": WITNESSED if criterion.evidence == "witnessed" else GRADE,
    }


def decide(rule: MonthRule, samples: Samples, coverage_pct: float | None) -> tuple[str, Reason]:
    """(verdict, reason). `below` needs the 95 % upper bound of the share under what is asked; between is `watch`."""
    if lacks := _lacks(rule, samples, coverage_pct or 0.0):
        return "not enough data", Reason("month.lacks", {"lacks": lacks})
    shares: dict[str, Param] = {
        "met_pct": _pct(samples.met, samples.counted),
        "n": samples.counted,
        "asked_pct": rule.share_pct,
    }
    if 100 * samples.met >= rule.share_pct * samples.counted:
        return "meets", Reason("month.meets", shares)
    upper = _upper_pct(samples) or 0.0
    shares["upper_pct"] = upper
    return (
        ("below", Reason("month.below", shares)) if upper < rule.share_pct else ("watch", Reason("month.watch", shares))
    )


def _lacks(rule: MonthRule, samples: Samples, coverage_pct: float) -> list[Reason]:
    """What a month would need to be decided."""
    counts = (
        ("month.samples", samples.counted, rule.min_samples),
        ("month.days", len(samples.days), rule.min_days),
        ("month.slots", len(samples.slots), rule.min_slots),
    )
    lacks = [Reason.of(code, n=have, least=least) for code, have, least in counts if have < least]
    if coverage_pct < rule.min_coverage_pct:
        lacks.append(Reason.of("month.coverage", have_pct=coverage_pct, least_pct=rule.min_coverage_pct))
    return lacks


def _upper_pct(samples: Samples) -> float | None:
    return wilson_upper_pct(samples.met, samples.counted) if samples.counted else None


def wilson_upper_pct(met: int, counted: int) -> float:
    """Upper end of the 95 % Wilson score interval (Wilson 1927) of the share met, in percent."""
    share, z2 = met / counted, Z95 * Z95
    middle = share + z2 / (2 * counted)
    width = Z95 * math.sqrt(share * (1 - share) / counted + z2 / (4 * counted * counted))
    return round(100 * (middle + width) / (1 + z2 / counted), 2)


def percentile(values: Sequence[float], percent: int) -> float | None:
    """By nearest rank: always one of the values."""
    ordered = sorted(values)
    return _rounded(ordered[max(0, -(-len(ordered) * percent // 100) - 1)]) if ordered else None


def _pct(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
