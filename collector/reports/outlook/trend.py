"""Days until a month can no longer meet what is asked, if it goes on as in its last days. Pure.

A month may have so many samples that fall short: the share that is not asked, of all samples that it will have. Those
it has had are gone; what the last days spend of it each day says how long the rest lasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from collector.desk.risk.rows import MonthRisk
from collector.register.centers import Center
from collector.reports.day_sheets import DaySheet, Samples, merged
from collector.reports.monthly_verdicts import samples_of, with_unused
from collector.standard.criteria import Standard

RECENT_DAYS = 7
LEAST_DAYS = 3  # with fewer a month has no trend yet
ALMOST = 1e-9


def days_left(asked_pct: float, month: Samples, recent: Samples, days: int, to_come: int) -> int | None:
    """None: it will meet it, or there is no trend yet; 0: it cannot any more.

    `days` are those of the month so far that count, `to_come` those that will; `recent` are the last ones' samples.
    """
    if days < LEAST_DAYS or not month.counted or not recent.counted:
        return None
    a_day = month.counted / days
    may_miss = (100 - asked_pct) / 100 * (month.counted + a_day * to_come)
    left = may_miss - (month.counted - month.met)
    if left < -ALMOST:
        return 0
    spent_a_day = a_day * (1 - recent.met / recent.counted)
    if spent_a_day * to_come <= left + ALMOST:
        return None
    return math.floor(left / spent_a_day + ALMOST)


def month_risks(
    standard: Standard, center: Center, sheets: Sequence[DaySheet], month_ms: int, to_come: int
) -> Iterator[MonthRisk]:
    """Of the month's sheets so far, in the order of the days."""
    counting = [sheet for sheet in sheets if sheet.ledger.owed > 0]
    month, recent = merged(sheets), merged(counting[-RECENT_DAYS:])
    for criterion in standard.criteria:
        if criterion.id in standard.notices:
            continue
        lately = dict(samples_of(criterion, recent))
        for subject, found in samples_of(criterion, month):
            samples, last = with_unused(criterion.month, found), lately.get(subject, Samples())
            left = days_left(criterion.month.share_pct, samples, last, len(counting), to_come)
            if left is not None:
                yield MonthRisk(
                    center.code, criterion.id, subject, month_ms, left, _pct(samples), _pct(last),
                    criterion.month.share_pct,
                )  # fmt: skip


def _pct(samples: Samples) -> float:
    return round(100 * samples.met / samples.counted, 1)
