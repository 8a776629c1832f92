"""The clock on the wall of every center, in one place. Pakistan keeps one time and no summer time (since 2009), so the
agent needs no time zone database for it."""

from __future__ import annotations

import re
from datetime import timedelta, timezone

TZ = "Asia/Karachi"  # its name in the IANA time zone database
UTC_AHEAD_MS = 5 * 3_600_000
CENTER_TIME = timezone(timedelta(milliseconds=UTC_AHEAD_MS), "PKT")


def slot_minutes(slot: str) -> tuple[int, int]:
    """(start, end) in minutes of the day, of HH:MM-HH:MM. Raises ValueError."""
    match = re.fullmatch(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)", slot)
    if match is None:
        raise ValueError(slot)
    start_h, start_m, end_h, end_m = map(int, match.groups())
    start, end = start_h * 60 + start_m, end_h * 60 + end_m
    if not start < end <= 24 * 60:
        raise ValueError(slot)
    return start, end
