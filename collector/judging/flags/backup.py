"""What a battery is worth, from the cuts it has been through. Pure.

A cut lasts from the first reading on battery to the first one on mains after it. It is *not carried* when the machine
behind the UPS went down meanwhile: then the time until that is all the battery gave. A carried cut gives a lower
bound, and an estimate where enough charge was used to reckon from.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import msgspec

from agent.common.reasons import Reason
from collector.judging.flags.gap_facts import MAX_ON_BATTERY_S, SLACK_MS, Boot, draws_on_battery

MIN_USED_PCT = 20.0  # less charge used is too little to reckon the whole battery from
FULL_PCT = 95.0
RECHARGE_MS = 48 * 3_600_000  # a battery not full by then has its recharge left unknown
MIN_TREND_CUTS, MIN_TREND_DAYS = 5, 30.0
MIN_AGREEMENT = 0.75  # of the slopes between pairs of cuts must point down before a date is named
MAX_AHEAD_DAYS = 3 * 365.0
RENEWED = 1.5  # a battery that gives so many times what it gave before, twice in a row, is another
LOSES_POWER = ("power", "reboot", "unknown")
DAY_MS = 86_400_000


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One UPS reading as far as a cut is concerned. `on_battery` None: see `draws_on_battery`."""

    at_ms: int
    on_battery: bool | None
    on_battery_s: float | None = None
    charge_pct: float | None = None
    runtime_s: float | None = None
    load_pct: float | None = None
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One cut of the mains at one UPS; `noted_ms` is its name in the store: when it began.

    `last_ms` is the last reading on battery, `to_ms` the first on mains (None: it goes on), `died_ms` when the machine
    behind it went down (None: it did not), `charged_ms` when the battery was full again. Loads are summed for their
    mean. `evidence` names the readings at its edges.
    """

    noted_ms: int
    from_ms: int
    last_ms: int
    to_ms: int | None = None
    died_ms: int | None = None
    charged_ms: int | None = None
    charge_from_pct: float | None = None
    charge_low_pct: float | None = None
    runtime_from_s: float | None = None
    load_sum_pct: float = 0.0
    loads: int = 0
    evidence: tuple[Reason, ...] = ()

    @property
    def carried(self) -> bool | None:
        """None while it goes on."""
        return False if self.died_ms is not None else None if self.to_ms is None else True

    @property
    def backup_s(self) -> float:
        """How long the battery is known to have held."""
        end_ms = self.died_ms if self.died_ms is not None else self.to_ms if self.to_ms is not None else self.last_ms
        return max(0, end_ms - self.from_ms) / 1000

    @property
    def load_pct(self) -> float | None:
        return self.load_sum_pct / self.loads if self.loads else None

    @property
    def recharge_s(self) -> float | None:
        known = self.to_ms is not None and self.charged_ms is not None
        return (self.charged_ms - self.to_ms) / 1000 if known else None  # type: ignore[operator]  # both are known

    @property
    def whole_s(self) -> float | None:
        """What the full battery would have given: observed when it gave out, else reckoned from the charge used."""
        used = None
        if self.charge_from_pct is not None and self.charge_low_pct is not None:
            used = self.charge_from_pct - self.charge_low_pct
        if self.died_ms is not None and (self.charge_from_pct is None or self.charge_from_pct >= FULL_PCT):
            return self.backup_s
        held_ms = self.last_ms - self.from_ms
        return held_ms / 1000 * 100 / used if used is not None and used >= MIN_USED_PCT and held_ms > 0 else None


@dataclass(frozen=True, kw_only=True)
class Battery:
    """What the cuts of one UPS say together; all but their counts is of the battery that is there now. Times are
    minutes; None is unknown. `observed_min` is the shortest time until it gave out, or the longest it has carried;
    `trend_min_a_month` how the whole battery changes at the usual load; `below_ms` when it falls under the minutes
    asked, None when that cannot be told with confidence."""

    cuts: int
    carried: int
    not_carried: int
    observed_min: float | None
    gave_out: bool
    load_pct: float | None
    whole_min: float | None
    trend_min_a_month: float | None
    below_ms: int | None
    recharge_min: float | None


# ---------------------------------------------------------------- timing cuts


def charge_of(reading: object, at_ms: int, id: str) -> Charge:
    return Charge(
        at_ms=at_ms,
        on_battery=draws_on_battery(reading),
        on_battery_s=getattr(reading, "on_battery_s", None),
        charge_pct=getattr(reading, "battery_charge_pct", None),
        runtime_s=getattr(reading, "runtime_s", None),
        load_pct=getattr(reading, "load_pct", None),
        id=id,
    )


def cuts_in(charges: Iterable[Charge]) -> tuple[Cut, ...]:
    """The cuts that all readings of one UPS of a time tell, in whatever order they are given. What a UPS that never
    sets its counter back says of its seconds on battery puts no beginning before the last reading on mains. A battery
    is full again by the first reading that says so before the next cut, within RECHARGE_MS."""
    cuts: list[Cut] = []
    mains_ms = 0
    for charge in sorted(charges, key=lambda item: (item.at_ms, item.id)):
        if charge.on_battery is None:
            continue
        goes_on = bool(cuts) and cuts[-1].to_ms is None
        if goes_on or (cuts and not charge.on_battery):
            cuts[-1] = with_charge(cuts[-1], charge)
        elif charge.on_battery:
            cuts.append(_begun(charge, mains_ms))
        mains_ms = mains_ms if charge.on_battery else charge.at_ms
    return tuple(cuts)


def _begun(charge: Charge, mains_ms: int) -> Cut:
    told_ms = told_on_battery_ms(charge)
    from_ms = max(charge.at_ms - told_ms, mains_ms)
    begins = (Reason.of("evidence.cut_begins", reading=charge.id),)
    return with_charge(Cut(noted_ms=from_ms, from_ms=from_ms, last_ms=charge.at_ms, evidence=begins), charge)


def told_on_battery_ms(charge: Charge) -> int:
    """How long a UPS says that it has been on battery, as far as that is believed."""
    told_s = charge.on_battery_s or 0.0
    return round(told_s * 1000) if charge.on_battery and 0 <= told_s <= MAX_ON_BATTERY_S else 0


def with_charge(cut: Cut, charge: Charge) -> Cut:
    """The cut with the next reading of its UPS; one on battery after its end is not of it."""
    if not charge.on_battery:
        return _ended(cut, charge)
    first = cut.charge_from_pct is None
    low = [pct for pct in (cut.charge_low_pct, charge.charge_pct) if pct is not None]
    return replace(
        cut,
        last_ms=max(cut.last_ms, charge.at_ms),
        charge_from_pct=charge.charge_pct if first else cut.charge_from_pct,
        charge_low_pct=min(low, default=None),
        runtime_from_s=charge.runtime_s if cut.runtime_from_s is None else cut.runtime_from_s,
        load_sum_pct=cut.load_sum_pct + (charge.load_pct or 0.0),
        loads=cut.loads + (charge.load_pct is not None),
    )


def _ended(cut: Cut, charge: Charge) -> Cut:
    if cut.to_ms is None:
        ends = Reason.of("evidence.cut_ends", reading=charge.id)
        cut = replace(cut, to_ms=charge.at_ms, evidence=(*cut.evidence[:1], ends))
    assert cut.to_ms is not None
    in_time = charge.at_ms - cut.to_ms <= RECHARGE_MS
    return replace(cut, charged_ms=charge.at_ms) if cut.charged_ms is None and is_full(charge) and in_time else cut


def is_full(charge: Charge) -> bool:
    """A UPS that tells no charge is not waited for."""
    return charge.charge_pct is None or charge.charge_pct >= FULL_PCT


def with_boots(cut: Cut, boots: Iterable[Boot]) -> Cut:
    """The cut, not carried if a machine went down in it."""
    for boot in sorted(boots, key=lambda item: item.at_ms):
        died_ms = boot.died_ms
        if boot.previous_end not in LOSES_POWER or died_ms is None or boot.at_ms <= cut.last_ms:
            continue
        end_ms = cut.to_ms if cut.to_ms is not None else boot.at_ms
        if cut.from_ms <= died_ms + SLACK_MS and died_ms <= end_ms and died_ms - cut.last_ms <= 2 * SLACK_MS:
            params = {"reading": boot.id, "field": "previous_end", "word": boot.previous_end}
            ended = Reason("evidence.gave_out", params)
            evidence = cut.evidence if ended in cut.evidence else (*cut.evidence, ended)
            return replace(cut, died_ms=max(died_ms, cut.last_ms), evidence=evidence)
    return cut


# ---------------------------------------------------------------- what they say together


def battery(cuts: Sequence[Cut], asked_s: float | None) -> Battery:
    """`asked_s` is the backup time that the standard asks of this center."""
    over = [cut for cut in cuts if cut.carried is not None]
    not_carried = sum(cut.carried is False for cut in over)
    whole = _points(over)
    renewed_ms = _renewed_ms(whole)
    mine, points = [cut for cut in over if cut.from_ms >= renewed_ms], [one for one in whole if one[0] >= renewed_ms]
    gave_out = [cut for cut in mine if cut.carried is False]
    observed = min(gave_out, key=_backup_s) if gave_out else max(mine, key=_backup_s, default=None)
    slope = slope_a_day(points)
    recharges = [cut.recharge_s for cut in mine if cut.recharge_s]
    return Battery(
        cuts=len(over),
        carried=len(over) - not_carried,
        not_carried=not_carried,
        observed_min=_minutes(observed.backup_s) if observed else None,
        gave_out=bool(gave_out),
        load_pct=_rounded(observed.load_pct) if observed else None,
        whole_min=_minutes(median(whole for _, whole in points[-3:])) if points else None,
        trend_min_a_month=None if slope is None else _rounded(slope * 30 / 60),
        below_ms=None if asked_s is None else falls_below_ms(points, slope, asked_s),
        recharge_min=_minutes(median(recharges)) if recharges else None,
    )


def _backup_s(cut: Cut) -> float:
    return cut.backup_s


def _points(cuts: Sequence[Cut]) -> list[tuple[int, float]]:
    """(time, whole battery in seconds at the usual load) of each cut that tells: twice the load, half the time."""
    loads = [cut.load_pct for cut in cuts if cut.load_pct]
    usual = median(loads) if loads else None
    return [
        (cut.from_ms, cut.whole_s * (cut.load_pct / usual if cut.load_pct and usual else 1.0))
        for cut in cuts
        if cut.whole_s is not None
    ]


def _renewed_ms(points: Sequence[tuple[int, float]]) -> int:
    """From which cut on the battery that is there now was there, as its cuts tell; 0 if it always was. No UPS says when
    its battery was changed."""
    for place in range(len(points) - 2, 0, -1):
        before = max(whole for _, whole in points[max(0, place - 3) : place])
        if min(whole for _, whole in points[place : place + 3]) >= RENEWED * before:
            return points[place][0]
    return 0


def slope_a_day(points: Sequence[tuple[int, float]]) -> float | None:
    """Seconds of battery gained a day: the median slope of all pairs (Theil 1950, Sen 1968), which a few odd cuts do
    not move. None with too few cuts or too short a time."""
    if len(points) < MIN_TREND_CUTS or points[-1][0] - points[0][0] < MIN_TREND_DAYS * DAY_MS:
        return None
    return median(_slopes(points))


def _slopes(points: Sequence[tuple[int, float]]) -> list[float]:
    pairs = itertools.combinations(points, 2)
    return [(after - before) / ((then - now) / DAY_MS) for (now, before), (then, after) in pairs if then > now]


def falls_below_ms(points: Sequence[tuple[int, float]], slope: float | None, asked_s: float) -> int | None:
    """When the trend meets what is asked; None when it does not fall, the cuts disagree, or that is far away."""
    if slope is None or slope >= 0:
        return None
    slopes = _slopes(points)
    if sum(slope < 0 for slope in slopes) < MIN_AGREEMENT * len(slopes):
        return None
    origin_ms = points[0][0]
    level = median(whole - slope * (at_ms - origin_ms) / DAY_MS for at_ms, whole in points)
    days = (asked_s - level) / slope
    last_days = (points[-1][0] - origin_ms) / DAY_MS
    return origin_ms + round(days * DAY_MS) if 0 <= days <= last_days + MAX_AHEAD_DAYS else None


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 1)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
