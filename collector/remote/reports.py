"""What gateways report of the settings they run with: a row each, written when something of it has changed."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from agent.wire import SettingsReport
from collector.common.messages import printable
from collector.store import schema, upsert

_d = schema.device_settings.c

Reports = Mapping[tuple[str, str], SettingsReport]  # by center and device


def record(conn: sa.Connection, reports: Reports, now_ms: int) -> None:
    """Notes what batches of this transaction say."""
    if not reports:
        return
    names = sorted({device for _, device in reports})
    known = {
        (row.center, row.device): (row.digest, row.state, row.failed, row.why, row.fetches)
        for row in conn.execute(sa.select(schema.device_settings).where(_d.device.in_(names)))
    }
    newest = {key: _values(report) for key, report in reports.items()}
    fields = ("digest", "state", "failed", "why", "fetches")
    rows = [
        {"center": key[0], "device": key[1], "at_ms": now_ms, **dict(zip(fields, values, strict=True))}
        for key, values in sorted(newest.items())
        if known.get(key) != values
    ]
    upsert(conn, schema.device_settings, rows)


def forgive(conn: sa.Connection, codes: list[str]) -> int:
    """Settings that failed at the gateways of these centers are sent to them once more; returns to how many."""
    again = sa.update(schema.device_settings).where(_d.center.in_(codes), _d.why != "").values(failed="", why="")
    return conn.execute(again).rowcount


def _values(report: SettingsReport) -> tuple[str, str, str, str, bool]:
    texts = (printable(text) for text in (report.digest, report.state, report.failed))
    return (*texts, printable(report.why), report.fetches)  # type: ignore[return-value]
