"""When each thing runs, as pure functions: `now` is an argument, chance is seeded: equal arguments give equal plans.

Each round begins at a random moment of its cycle (RFC 2330 section 11.1): at fixed ones a line that fails to a rhythm
reads as faultless or as twice as bad as it is. Cycles keep a phase of their own for each gateway, so that a nation
whose power comes back at once does not measure in step. `agent.scheduling.speed_plan` has the rules of speed tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.common.center_time import CENTER_TIME
from agent.spool.record import Value
from agent.wire import Reading, UpsReading, kind_of

DAY_MS = 86_400_000
MINUTE_MS = 60_000
SLOT_TAIL = 0.9  # what is drawn at random falls in the first nine tenths of its time, so that it also ends in it


# ---------------------------------------------------------------- rounds


def phase_s(device: str, cycle_s: float) -> float:
    """Where this gateway's cycles begin, seconds."""
    share = int.from_bytes(hashlib.sha256(device.encode()).digest()[:8], "big") / 2**64
    return share * cycle_s


def next_round_s(begun_s: float, cycle_s: float, phase: float, chance: float) -> float:
    """When the round after the one that began at ``begun_s`` is due, on the same clock: at the share ``chance`` (0 to
    1) of the cycle that follows."""
    return begun_s + cycle_s - (begun_s - phase) % cycle_s + chance * cycle_s


def value_of(readings: Sequence[Reading]) -> Value:
    """What a routine round is worth when the spool is full: one in which something was wrong outlives a quiet one."""
    return "normal" if any(map(_is_news, readings)) else "low"


def _is_news(reading: Reading) -> bool:
    return reading.failure is not None or kind_of(reading).is_news(reading)


def ups_changed(before: UpsReading | None, now: UpsReading) -> bool:
    """Whether power news must not wait for the round: the output, the battery, or whether the UPS can be read."""
    if before is None:
        return False
    return _power(before) != _power(now)


def _power(reading: UpsReading) -> tuple[object, ...]:
    return reading.output_state, reading.battery_status, reading.self_test, reading.source, reading.failure is None


# ---------------------------------------------------------------- power


BATTERY_POLL_S = 2.0
TRAP_WATCH_S = 60.0  # the reason of a trap may take a while to show in the values
DARK_WATCH_S = 600.0  # silent for so long, a UPS that was on battery is off, and its card with it

SelfTests = Literal["never", "monthly", "quarterly"]
SELF_TEST_DAYS: dict[SelfTests, int] = {"monthly": 30, "quarterly": 91}
QUIET_HOURS = (2, 5)  # center's time: no seat is taken, and there is a night left to charge again
TEST_CHARGE_PCT = 95.0  # below, a test would show the last cut more than the battery


@dataclass(frozen=True)
class PollInterval:
    every_s: float
    reason: Literal["mains", "battery", "trap"]


def ups_poll_interval(poll_s: float, *, on_battery: bool, dark_s: float | None, trap_s: float | None) -> PollInterval:
    """How often a UPS is polled. ``on_battery`` is its last readable state, ``dark_s`` for how long it has not
    answered, ``trap_s`` how long ago a trap came; None: it answers, no trap ever came."""
    fast_s = min(poll_s, BATTERY_POLL_S)
    if on_battery and (dark_s is None or dark_s < DARK_WATCH_S):
        return PollInterval(fast_s, "battery")
    if trap_s is not None and trap_s < TRAP_WATCH_S:
        return PollInterval(fast_s, "trap")
    return PollInterval(poll_s, "mains")


SelfTestPermit = Literal["yes", "never", "clock", "not_quiet", "recent", "not_on_mains", "not_charged", "not_known"]


def may_self_test(policy: SelfTests, last_ms: int, seed: str, reading: UpsReading | None) -> SelfTestPermit:
    """Whether this UPS's battery may be tested now, by its newest reading. ``seed`` draws its minute of the night."""
    if policy == "never":
        return "never"
    if reading is None or reading.at is None or reading.failure is not None:
        return "not_known"
    if reading.at.clock != "synced":
        return "clock"
    if not _in_quiet_minute(reading.at.wall_ms, seed):
        return "not_quiet"
    if reading.at.wall_ms - last_ms < SELF_TEST_DAYS[policy] * DAY_MS - DAY_MS // 2:
        return "recent"
    if reading.output_state not in ("online", "boost", "trim", "eco"):
        return "not_on_mains"
    charged = reading.battery_charge_pct is None or reading.battery_charge_pct >= TEST_CHARGE_PCT
    return "yes" if charged and reading.battery_status in ("normal", None) else "not_charged"


def _in_quiet_minute(now_ms: int, seed: str) -> bool:
    """From a minute of each gateway's own to the end of the night: a nation's batteries are not tested at once."""
    local = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME)
    start, end = (hour * 60 for hour in QUIET_HOURS)
    share = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") / 2**64
    return start + share * (end - start) * SLOT_TAIL <= local.hour * 60 + local.minute < end
