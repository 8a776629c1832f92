"""Days until a month can no longer meet what is asked, if it goes on as in its last days. Pure.

A month may have so many samples that fall short: the share that is not asked, of all samples that it will have. Those
it has had are gone; what the last days spend of it each day says how long the rest lasts.

Last days are looked at twice, as multiwindow, multi-burn-rate alerts do (The Site Reliability Workbook, chapter 5,
"Alerting on SLOs"): over a long window, which says that enough is spent, and over a short one, which says that it still
is. A slow burn is found by a week, a fast one by two days. The book's windows are of minutes and hours, of services
with many requests; of a day's few samples none is made, so the windows are days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from collector.desk.risk.rows import MonthRisk
from collector.register.centers import Center
from collector.reports.day_sheets import DaySheet, Samples, merged
from collector.reports.monthly_verdicts import samples_of, with_unused
from collector.standard.criteria import Standard

LEAST_DAYS = 3  # with fewer a month has no trend yet
ALMOST = 1e-9
FEW = 12  # of fewer samples in the short window one or two by chance would decide


class BurnWindows(NamedTuple):
    """`times`: how many times faster than the month allows both windows must spend of it, whatever is left."""

    long_days: int
    short_days: int
    times: float


BURNS = (BurnWindows(7, 2, 0.0), BurnWindows(2, 1, 6.0))  # ours: slow and fast


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


def burning(
    asked_pct: float,
    month: Samples,
    lately: Mapping[int, Samples],
    days: int,
    to_come: int,
    burns: Sequence[BurnWindows],
) -> tuple[int, Samples] | None:
    """The fewest days left by any of the burns, with the samples of its long window; None: no risk.

    `lately` are the samples of so many last days, of each window. Too few samples of a short window tell nothing: a
    slow burn does without, a fast one is none.
    """
    periods = []
    for burn in burns:
        long, short = lately[burn.long_days], lately[burn.short_days]
        left = days_left(asked_pct, month, long, days, to_come)
        if left is None:
            continue
        is_known = short.counted >= FEW
        goes_on = not is_known or days_left(asked_pct, month, short, days, to_come) is not None
        is_fast = _times(asked_pct, long) >= burn.times - ALMOST
        is_fast &= burn.times == 0 or (is_known and _times(asked_pct, short) >= burn.times - ALMOST)
        if left == 0 or (goes_on and is_fast):
            periods.append((left, long))
    return min(periods, key=lambda one: one[0], default=None)


def _times(asked_pct: float, samples: Samples) -> float:
    """How many times faster than the month allows they spend of it."""
    may = 1 - asked_pct / 100
    missed = 1 - samples.met / samples.counted if samples.counted else 0.0
    return missed / may if may > 0 else math.inf if missed > 0 else 0.0


def month_risks(
    standard: Standard,
    center: Center,
    sheets: Sequence[DaySheet],
    month_ms: int,
    to_come: int,
    burns: Sequence[BurnWindows] = BURNS,
) -> Iterator[MonthRisk]:
    """Of the month's sheets so far, in the order of the days."""
    counting = [sheet for sheet in sheets if sheet.ledger.owed > 0]
    spans = {days for burn in burns for days in (burn.long_days, burn.short_days)}
    month, recent = merged(sheets), {days: merged(counting[-days:]) for days in spans}
    for criterion in standard.criteria:
        if criterion.id in standard.notices:
            continue
        lately = {days: dict(samples_of(criterion, some)) for days, some in recent.items()}
        asked_pct = criterion.month.share_pct
        for subject, month_samples in samples_of(criterion, month):
            samples = with_unused(criterion.month, month_samples)
            last = {days: some.get(subject, Samples()) for days, some in lately.items()}
            risk = burning(asked_pct, samples, last, len(counting), to_come, burns)
            if risk is not None:
                left, over = risk
                about = center.code, criterion.id, subject, month_ms
                yield MonthRisk(*about, left, _pct(samples), _pct(over), asked_pct)


def _pct(samples: Samples) -> float:
    return round(100 * samples.met / samples.counted, 1)
