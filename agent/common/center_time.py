"""The clock on the wall of every center, in one place. Pakistan keeps one time and no summer time (since 2009), so the
agent needs no time zone database for it."""

from __future__ import annotations

from datetime import timedelta, timezone

TZ = "Asia/Karachi"  # its name in the IANA time zone database
UTC_AHEAD_MS = 5 * 3_600_000
CENTER_TIME = timezone(timedelta(milliseconds=UTC_AHEAD_MS), "PKT")
