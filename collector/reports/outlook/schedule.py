"""The months at risk, looked for once a day when yesterday's sheets are made: some centers in each call, so that nobody
waits for a nation's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.common import months
from collector.desk.risk import follow, rows
from collector.desk.risk.rows import MonthRisk
from collector.register import calendar, centers, opening_hours
from collector.register.calendar import Calendar
from collector.register.centers import Center
from collector.register.dated import today_ms
from collector.reports import day_store
from collector.reports.day_sheets import DaySheet
from collector.reports.outlook.trend import BURNS, BurnWindows, month_risks
from collector.standard import Standards
from collector.standard.criteria import Standard
from collector.store import Store, schema, upsert

DAY_MS = 86_400_000
AT_ONCE = 64  # centers of one call
WAITS_MS = 6 * 3_600_000  # sheets that are not made by then are not waited for
PLACE = "outlook"  # in `about`: the day, and the last center that was looked at

_c, _d, _a = schema.centers.c, schema.day_sheets.c, schema.about.c


def look(
    store: Store, standards: Standards, now_ms: int, most: int = AT_ONCE, burns: Sequence[BurnWindows] = BURNS
) -> int:
    """Looks at the next centers of today's round; returns how many, 0 when it is over. Call it again and again."""
    day_ms, standard = today_ms(now_ms), standards.at(now_ms)
    with store.read() as conn:
        after = _after(conn, day_ms)
        if standard is None or after is None or not _is_ready(conn, day_ms, now_ms):
            return 0
        codes = list(conn.scalars(sa.select(_c.center).where(_c.center > after).order_by(_c.center).limit(most)))
        by_center = _found(conn, codes, standard, day_ms, burns)
    with store.keep() as conn:
        rows.keep(conn, by_center, now_ms)
        follow.follow(conn, by_center, now_ms)
        upsert(conn, schema.about, [{"name": PLACE, "value": f"{day_ms} {codes[-1] if codes else ''}".strip()}])
    return len(codes)


def _after(conn: sa.Connection, day_ms: int) -> str | None:
    """The last center that was looked at; None when today's round is over."""
    day, _, code = str(conn.scalar(sa.select(_a.value).where(_a.name == PLACE)) or "0 -").partition(" ")
    if int(day) != day_ms:
        return ""
    return code or None


def _is_ready(conn: sa.Connection, day_ms: int, now_ms: int) -> bool:
    until_ms = int(conn.scalar(sa.select(_a.value).where(_a.name == day_store.SHEETS_UNTIL)) or 0)
    if until_ms < day_ms:
        return False
    due = sa.select(_d.center).where(_d.made_ms.is_(None), _d.day_ms == day_ms - DAY_MS).limit(1)
    return now_ms >= day_ms + WAITS_MS or conn.execute(due).first() is None


def _found(
    conn: sa.Connection, codes: Sequence[str], standard: Standard, day_ms: int, burns: Sequence[BurnWindows]
) -> dict[str, Sequence[MonthRisk]]:
    """Of each of these centers, an empty list too."""
    month_ms = months.month_of(day_ms)
    ends_ms = months.month_after(month_ms)
    sheets: dict[str, list[DaySheet]] = defaultdict(list)
    for sheet in day_store.kept_between(conn, codes, month_ms, day_ms):
        sheets[sheet.center].append(sheet)
    days = calendar.between(conn, day_ms, ends_ms)
    by_center: dict[str, Sequence[MonthRisk]] = dict.fromkeys(codes, ())
    for code, center in _registered(conn, sheets).items():
        to_come = open_days(center, days, day_ms, ends_ms)
        by_center[code] = list(month_risks(standard, center, sheets[code], month_ms, to_come, burns))
    return by_center


def _registered(conn: sa.Connection, sheets: Mapping[str, object]) -> Mapping[str, Center]:
    return centers.some_centers(conn, list(sheets)) if sheets else {}


def open_days(center: Center, days: Calendar, from_ms: int, to_ms: int) -> int:
    """The days between these midnights on which the center opens."""
    hours = opening_hours.parse(center.opening, TZ, days.rules(center))
    return sum(opening_hours.open_ms(hours, at_ms, at_ms + DAY_MS) > 0 for at_ms in range(from_ms, to_ms, DAY_MS))
