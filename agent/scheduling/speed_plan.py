"""When a speed test runs, how long it lasts, and when it is left out: pure functions, the published rules.

1. Each slot of the day has one moment, drawn from a secret: the owner cannot know when, the fleet cannot all test at
   once, and a restart does not draw again.
2. On a nearly empty battery there is no test. On battery or on the metered line there is none either, but in any 7 days
   each of these reasons excuses MAX_SKIPS slots; the next one runs, quick. So does a slot without a granted test.
   Three reasons of five leave 13 of 28 slots: 55 a month, over the 42 that a month's verdict wants.
3. The month's bytes are a bound. What is left is shared among the slots that are left: a test is shortened (full,
   adaptive, quick) until they all fit; when not even quick fits, slots drawn by the same secret are left out.
4. A busy line is checked again each minute, for MOST_DEFERRAL_MS and not past the slot; then the test runs, and what
   others moved is added back.
5. A test that somebody requested now (desk, retest, manual) is neither deferred nor excused: where rule 2 would leave
   it out it runs quick.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from agent.common.center_time import CENTER_TIME, slot_minutes
from agent.config import SpeedSection
from agent.scheduling.schedule import DAY_MS, MINUTE_MS, SLOT_TAIL
from agent.wire import Purpose

MB = 1_000_000
RESTART_PAUSE_MS = 20 * 60 * MINUTE_MS  # where the power goes each day, tests do not all fall on its return
WEEK_MS = 7 * DAY_MS
DRAWS_MS = 3 * DAY_MS  # a collector that drew a test so lately draws the next one, too
MAX_SKIPS = 5
MAX_DEFERRAL_MS = 30 * MINUTE_MS
MAX_REQUEST_WAIT_MS = 30 * MINUTE_MS
MIN_REQUEST_WAIT_MS = 3 * MINUTE_MS
BUSY_SHARE = 0.05  # of what the line can carry
BUSY_UNKNOWN_MBPS = 0.2  # both ways, while that is not known: 25,000 bytes/s, the guard of SamKnows' agents

Mode = Literal["quick", "adaptive", "full"]
SHORTER: tuple[Mode, ...] = ("full", "adaptive", "quick")
COST_BYTES: Mapping[str, int] = {"quick": 8 * MB, "adaptive": 14 * MB, "full": 30 * MB}  # of a 20/5 Mbit/s line
COST_MBPS = 20.0
SPARE = 1.25  # a test may cost so much more than the last one did, and still the month's bytes are not passed

Supply = Literal["mains", "battery", "low"]
SkipCause = Literal[
    "skipped_on_battery", "skipped_battery_low", "skipped_failover", "skipped_budget", "skipped_no_turn"
]  # fmt: skip
CAPPED: tuple[SkipCause, ...] = ("skipped_on_battery", "skipped_failover", "skipped_no_turn")
AT_ONCE: tuple[Purpose, ...] = ("desk", "retest", "manual")


# ---------------------------------------------------------------- slots


@dataclass(frozen=True)
class Slot:
    """One slot of one day (milliseconds UTC), the moment drawn in it, and its lot (0 to 1) when slots are left out."""

    name: str
    start_ms: int
    test_ms: int
    end_ms: int
    lot: float = 0.0


def plan_day(now_ms: int, slots: Sequence[str], device: str, secret: bytes) -> list[Slot]:
    """Today's slots by the center's clock. The same day, device and secret always draw the same moments."""
    local = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME)
    day = local.strftime("%Y-%m-%d")
    midnight = datetime(local.year, local.month, local.day, tzinfo=CENTER_TIME).astimezone(UTC)
    midnight_ms = round(midnight.timestamp() * 1000)
    plan = []
    for slot in slots:
        start, end = (midnight_ms + minute * MINUTE_MS for minute in slot_minutes(slot))
        seed = hashlib.sha256(b"\0".join((secret, device.encode(), day.encode(), slot.encode()))).digest()
        dice = random.Random(seed)  # noqa: S311  seeded by a secret hash, not by a guess
        test_ms = start + round((end - start) * SLOT_TAIL * dice.random())
        plan.append(Slot(f"{day} {slot}", start, test_ms, end, dice.random()))
    return plan


def due_slot(plan: Sequence[Slot], done: Collection[str], now_ms: int) -> Slot | None:
    """The slot whose test should run now. One that was due while the gateway was down still runs before its end."""
    return next((slot for slot in plan if slot.name not in done and slot.test_ms <= now_ms < slot.end_ms), None)


def after_drawn(plan: Sequence[Slot], book: SpeedBook, now_ms: int) -> list[Slot]:
    """The slots' own moments, late in the slot while the collector draws them: it has had its time by then."""
    if not 0 <= now_ms - book.drawn_ms < DRAWS_MS:
        return list(plan)
    return [
        replace(slot, test_ms=max(slot.test_ms, slot.start_ms + round((slot.end_ms - slot.start_ms) * SLOT_TAIL)))
        for slot in plan
    ]


def running_slot(plan: Sequence[Slot], name: str, done: Collection[str]) -> Slot | None:
    """The slot of today that has this name and no test yet."""
    return next((slot for slot in plan if slot.name == name and slot.name not in done), None)


def slots_left(now_ms: int, slots: Sequence[str]) -> int:
    """How many slots the month still has by the center's clock, the one that runs now among them."""
    local = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME)
    next_month = (local.replace(day=28) + timedelta(days=4)).replace(day=1)
    minute = local.hour * 60 + local.minute
    today = sum(slot_minutes(slot)[1] > minute for slot in slots)
    return today + (next_month.date() - local.date()).days * len(slots) - len(slots)


# ---------------------------------------------------------------- the book


class SpeedBook(msgspec.Struct, frozen=True, kw_only=True):
    """What tests have cost this month, which slots are done, when the last test was, and its rates and cost.

    ``costs`` has the bytes of the last test of each mode, ``skips`` (cause, milliseconds) of the last 7 days,
    ``cross_checked`` the last day on which engines were held against each other, ``drawn_ms`` when the collector last
    drew a test: while it does, the gateway's own tests wait for it.
    """

    month: str = ""
    bytes: int = 0
    done: list[str] = []
    last_ms: int = 0
    costs: dict[str, int] = {}
    down_mbps: float | None = None
    up_mbps: float | None = None
    skips: list[tuple[str, int]] = []
    cross_checked: str = ""
    drawn_ms: int = 0

    def at(self, now_ms: int) -> SpeedBook:
        """The book as of now: a new month starts at zero, yesterday's slots and last week's skips are forgotten."""
        local = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME)
        month, day = local.strftime("%Y-%m"), local.strftime("%Y-%m-%d")
        return msgspec.structs.replace(
            self,
            month=month,
            bytes=self.bytes if self.month == month else 0,
            done=[name for name in self.done if name.startswith(day)],
            # By distance: a clock that was ahead for a while must not make a skip count for ever.
            skips=[(cause, at_ms) for cause, at_ms in self.skips if abs(now_ms - at_ms) < WEEK_MS],
        )

    def ticked(self, slot: Slot) -> SpeedBook:
        return msgspec.structs.replace(self, done=[*self.done, slot.name])

    def charged(self, mode: str, moved_bytes: int, now_ms: int, *, whole: bool) -> SpeedBook:
        """After a test; only a whole one shows what its mode costs."""
        costs = self.costs | {mode: moved_bytes} if whole and moved_bytes else self.costs
        return msgspec.structs.replace(self, bytes=self.bytes + moved_bytes, last_ms=now_ms, costs=costs)

    def learnt(self, down_mbps: float | None, up_mbps: float | None) -> SpeedBook:
        down, up = down_mbps or self.down_mbps, up_mbps or self.up_mbps
        return msgspec.structs.replace(self, down_mbps=down, up_mbps=up)

    def skipped(self, cause: SkipCause, now_ms: int) -> SpeedBook:
        return msgspec.structs.replace(self, skips=[*self.skips, (cause, now_ms)])

    def is_excused(self, cause: SkipCause) -> bool:
        """Whether one more slot may be left out for this reason."""
        return cause not in CAPPED or sum(name == cause for name, _at_ms in self.skips) < MAX_SKIPS


def start_test_due(book: SpeedBook, now_ms: int) -> bool:
    """Whether the test at the agent's start runs: not when one ran within a day or so. A time to come is a clock that
    jumped back."""
    return not 0 <= now_ms - book.last_ms < RESTART_PAUSE_MS


# ---------------------------------------------------------------- the budget


@dataclass(frozen=True)
class Thrift:
    """How the month's budget is met: tests of this mode, in this share of the slots."""

    mode: Mode
    share: float


def cost_bytes(book: SpeedBook, mode: str, plan_mbps: float | None) -> int:
    """What a test of this mode will move: as much as the last one did; else reckoned from another mode's, else from
    the contract's rate, else as on a 20/5 Mbit/s line."""
    if mode in book.costs:
        return book.costs[mode]
    for other in SHORTER:
        if other in book.costs:
            return math.ceil(book.costs[other] * COST_BYTES[mode] / COST_BYTES[other])
    return math.ceil(COST_BYTES[mode] * (plan_mbps or COST_MBPS) / COST_MBPS)


def thrift(book: SpeedBook, speed: SpeedSection, left: int, reserve_bytes: float = 0.0) -> Thrift:
    """The longest mode, no longer than the settings', of which all ``left`` slots fit the budget without what is kept
    back; else a share."""
    bytes_left = speed.monthly_budget_mb * MB - book.bytes - reserve_bytes
    for mode in SHORTER[SHORTER.index(speed.mode) :]:
        if SPARE * cost_bytes(book, mode, speed.plan_mbps) * left <= bytes_left:
            return Thrift(mode, 1.0)
    quick = SPARE * cost_bytes(book, "quick", speed.plan_mbps) * left
    return Thrift("quick", max(0.0, bytes_left / quick) if quick else 1.0)


# ---------------------------------------------------------------- the decision


@dataclass(frozen=True, kw_only=True)
class TestConditions:
    """What may prevent a test. `failover`: the line in use is a metered backup."""

    supply: Supply = "mains"
    failover: bool = False


@dataclass(frozen=True)
class RunTest:
    mode: Mode


@dataclass(frozen=True)
class SkipTest:
    """A slot left out: the cause for machines, a sentence for people."""

    cause: SkipCause
    detail: str


def decide(
    book: SpeedBook,
    here: TestConditions,
    purpose: Purpose,
    speed: SpeedSection,
    now_ms: int,
    lot: float = 0.0,
    reserve_bytes: float = 0.0,
) -> RunTest | SkipTest:
    """Whether the test that is due runs, by the rules at the head of this file. ``book`` is as of now."""
    if here.supply == "low":
        return SkipTest("skipped_battery_low", "the UPS's battery is nearly empty: a test would cost its last minutes")
    if book.bytes + SPARE * cost_bytes(book, "quick", speed.plan_mbps) > speed.monthly_budget_mb * MB:
        return SkipTest("skipped_budget", _spent(book, speed))
    standing = _standing(here)
    if purpose not in AT_ONCE:
        for skip in standing:
            if book.is_excused(skip.cause):
                return skip
    plan = thrift(book, speed, slots_left(now_ms, speed.slots), reserve_bytes)
    if purpose not in AT_ONCE and lot >= plan.share:
        share = (
            f"the budget of {speed.monthly_budget_mb} MB a month pays for {100 * plan.share:.0f} % of the slots left"
        )
        return SkipTest("skipped_budget", f"{share}; raise [speed] monthly_budget_mb")
    return RunTest("quick" if standing else plan.mode)


def _standing(here: TestConditions) -> list[SkipTest]:
    skips = []
    if here.supply == "battery":
        skips.append(SkipTest("skipped_on_battery", "the gateway runs on the UPS's battery"))
    if here.failover:
        skips.append(SkipTest("skipped_failover", "the center is on its metered backup line"))
    return skips


def _spent(book: SpeedBook, speed: SpeedSection) -> str:
    quick = cost_bytes(book, "quick", speed.plan_mbps) / MB
    used = f"{book.bytes / MB:.0f} of {speed.monthly_budget_mb} MB are used this month"
    return f"{used} and a quick test takes about {quick:.0f}; raise [speed] monthly_budget_mb"


# ---------------------------------------------------------------- deferral


def is_busy(down_mbps: float, up_mbps: float, book: SpeedBook, plan_mbps: float | None) -> bool:
    """Whether a test would take from people at work, and they from it."""
    down, up = book.down_mbps or plan_mbps, book.up_mbps
    if down is None:
        return down_mbps + up_mbps > BUSY_UNKNOWN_MBPS
    return down_mbps > BUSY_SHARE * down or up_mbps > (BUSY_SHARE * up if up else BUSY_UNKNOWN_MBPS)


def defer_until_ms(slot: Slot | None, now_ms: int) -> int:
    """The latest moment to which a test that is due now may be deferred: there must be time for a grant, too."""
    return now_ms if slot is None else min(now_ms + MAX_DEFERRAL_MS, slot.end_ms - MIN_REQUEST_WAIT_MS)


def request_until_ms(slot: Slot | None, now_ms: int) -> int:
    """How long a grant is waited for."""
    until_ms = now_ms + MAX_REQUEST_WAIT_MS
    return until_ms if slot is None else max(now_ms + MIN_REQUEST_WAIT_MS, min(until_ms, slot.end_ms))
