"""Gateways that send far more than their share: they are put out for ten minutes, whichever ingest worker noticed it.

A flood is a finding, and the finding is what the keeper of the brokers' access lists reads.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.access import devices
from collector.common.messages import DeviceFinding
from collector.store import schema

OUT_MS = 600_000

_i = schema.integrity.c


def record(conn: sa.Connection, names: Collection[str], now_ms: int) -> None:
    """One finding for each that is not out already; names of no gateway are passed over."""
    new = sorted(set(names) - current(conn, now_ms))
    findings = [DeviceFinding(name, "flood", Reason.of("refused.flood", device=name)) for name in new]
    devices.record_findings(conn, findings, now_ms)


def current(conn: sa.Connection, now_ms: int) -> frozenset[str]:
    """Who is out now."""
    recent = (_i.finding == "flood") & (_i.at_ms > now_ms - OUT_MS)
    return frozenset(conn.scalars(sa.select(_i.device).where(recent)))
