"""Months of Pakistan, by the time (ms since 1970, UTC) at which they begin."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from agent.common.center_time import TZ


def month_of(at_ms: int) -> int:
    """When the month of that time began in Pakistan."""
    at = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(TZ))
    return int(datetime(at.year, at.month, 1, tzinfo=ZoneInfo(TZ)).timestamp()) * 1000


def month_after(from_ms: int) -> int:
    """When the month after the one that begins then begins."""
    return month_of(from_ms + 32 * 86_400_000)


def named(from_ms: int) -> str:
    """ "2026-01"."""
    return datetime.fromtimestamp(from_ms / 1000, ZoneInfo(TZ)).strftime("%Y-%m")


@lru_cache(1024)
def months_within(from_ms: int, to_ms: int) -> tuple[int, ...]:
    """Every month that a time touches."""
    months = [month_of(max(0, from_ms))]
    while (after := month_after(months[-1])) <= to_ms:
        months.append(after)
    return tuple(months)
