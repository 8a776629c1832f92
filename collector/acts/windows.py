"""Maintenance windows as commands and pages plan and end them: the rows, and the log of acts."""

from __future__ import annotations

import sqlalchemy as sa

from collector.access import users
from collector.acts.person import ActingPerson
from collector.desk import windows
from collector.desk.windows import MaintenanceWindow


def plan(conn: sa.Connection, window: MaintenanceWindow, who: ActingPerson) -> int:
    """Its number. Raises WindowError."""
    number = windows.add(conn, window, who.name, who.now_ms)
    _record(conn, number, f"{window.mode} {window.scope} {window.subject}: {window.reason}", who)
    return number


def end(conn: sa.Connection, number: int, who: ActingPerson) -> None:
    """It holds no more. Raises WindowError."""
    windows.end(conn, number, who.name, who.now_ms)
    _record(conn, number, "ended", who)


def _record(conn: sa.Connection, number: int, reason: str, who: ActingPerson) -> None:
    about = {"subject": f"window {number}", "reason": reason}
    users.record(conn, "window_changed", who.name, who.now_ms, is_proven=who.is_proven, **about)
