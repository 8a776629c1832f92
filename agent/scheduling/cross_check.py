"""When speed engines are held against each other: pure functions, the published rules.

1. A month has as many days of it as the settings say, each drawn in its part of the month from the secret of the slots.
   A gateway that was off on such a day makes up for it on the next one.
2. On such a day each slot's test is followed at once by a test of the other engine, at the same server and with a grant
   of its own. The collector compares the medians of the day.
3. What it costs is kept back from the month's budget beforehand; it is left out where the slots that are left need it,
   on battery and on the metered line.
"""

from __future__ import annotations

import calendar
import hashlib
import math
import random
from datetime import datetime

from agent.common.center_time import CENTER_TIME
from agent.config import SpeedSection
from agent.scheduling.speed_plan import COST_MBPS, MB, SPARE, SpeedBook, cost_bytes, slots_left

RUN_S = 10.0  # of one direction, by every engine that has no short mode
UP_SHARE = 0.25  # of the download rate, while the upload rate is not known
BUDGET_SHARE = 0.25  # a day of it may cost no more of the month's bytes


def due_engine(book: SpeedBook, speed: SpeedSection, device: str, secret: bytes, now_ms: int) -> str | None:
    """The engine whose test follows that of a slot now, if one does. ``book`` is as of now."""
    if not speed.cross_checks_per_month or speed.cross_check_engine == speed.engine:
        return None
    local = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME)
    today = local.strftime("%Y-%m-%d")
    part = _part(local.day, local.year, local.month, speed.cross_checks_per_month)
    done = book.cross_checked
    if done == today:
        return speed.cross_check_engine
    if done[:7] == today[:7] and _part(int(done[8:10]), local.year, local.month, speed.cross_checks_per_month) == part:
        return None
    drawn = _drawn(part, local.year, local.month, speed.cross_checks_per_month, device, secret)
    return speed.cross_check_engine if local.day >= drawn else None


def _part(day: int, year: int, month: int, parts: int) -> int:
    return (day - 1) * parts // calendar.monthrange(year, month)[1]


def _drawn(part: int, year: int, month: int, parts: int, device: str, secret: bytes) -> int:
    days = [day for day in range(1, 32 - 3) if _part(day, year, month, parts) == part]
    seed = hashlib.sha256(b"\0".join((secret, device.encode(), f"{year}-{month:02} cross-check {part}".encode())))
    return random.Random(seed.digest()).choice(days)  # noqa: S311  seeded by a secret hash, not by a guess


def test_bytes(book: SpeedBook, speed: SpeedSection) -> int:
    """What a test of the other engine will move: as the last one did, else by the line's rates."""
    if speed.cross_check_engine in book.costs:
        return book.costs[speed.cross_check_engine]
    down = book.down_mbps or speed.plan_mbps or COST_MBPS
    return math.ceil((down + (book.up_mbps or UP_SHARE * down)) * MB / 8 * RUN_S)


def reserve_bytes(book: SpeedBook, speed: SpeedSection) -> float:
    """What this month's budget keeps back for a day that is still to come. ``book`` is as of now."""
    if not speed.cross_checks_per_month or book.cross_checked[:7] == book.month:
        return 0.0
    return min(SPARE * test_bytes(book, speed) * len(speed.slots), BUDGET_SHARE * speed.monthly_budget_mb * MB)


def fits(book: SpeedBook, speed: SpeedSection, now_ms: int) -> bool:
    """Whether the month's bytes pay for one such test and, in the shortest mode, for every slot that is left."""
    slots = SPARE * cost_bytes(book, "quick", speed.plan_mbps) * slots_left(now_ms, speed.slots)
    wanted = SPARE * test_bytes(book, speed)
    if wanted * len(speed.slots) > BUDGET_SHARE * speed.monthly_budget_mb * MB:
        return False
    return book.bytes + wanted + slots <= speed.monthly_budget_mb * MB
