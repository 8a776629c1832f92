"""Lists of incidents, flags and messages as flat rows: for tables, CSV and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import decode
from agent.common.words import PlainWords, plain
from collector.common.scope import EVERYWHERE, Scope
from collector.desk.alerts import sms
from collector.store import schema

Row = dict[str, Any]
LIMIT = 10_000  # rows of one list
FLAG_STATES = ("raised", "pending", "recovering", "clear", "all")
ALERT_STATES = ("waiting", "sending", "sent", "failed", "unsure", "held", "summed", "all")

INCIDENTS = (
    "id", "state", "severity", "scope", "place", "family", "cause", "centers", "most", "seats", "began_ms",
    "resolved_ms", "lasted_s", "priority", "owner", "waiting_for", "is_snoozed",
)  # fmt: skip
FLAGS = (
    "center", "name", "province", "district", "criterion", "subject", "state", "since_ms", "value", "bound", "reason",
)  # fmt: skip
ALERTS = (
    "id", "kind", "incident", "act", "center", "channel", "person", "address", "title", "state", "attempts", "made_ms",
    "sent_ms", "problem", "why", "segments",
)  # fmt: skip
CENTERS = (
    "center", "name", "city", "district", "province", "tier", "owner", "isp", "feeder", "exchange", "lifecycle",
    "state", "criterion", "heard_ms",
)  # fmt: skip

_f, _ce, _al, _e = schema.flags.c, schema.centers.c, schema.alerts.c, schema.incident_events.c


def flat_incident(facts: Mapping[str, Any]) -> Row:
    """Of collector.desk.view.queries: its cause as one word."""
    return {**{name: facts[name] for name in INCIDENTS}, "cause": (facts["cause"] or {"name": ""})["name"]}


def flags(
    conn: sa.Connection, *, state: str = "raised", center: str = "", scope: Scope = EVERYWHERE, limit: int = LIMIT
) -> list[Row]:
    """Flags of centers in a scope, those that changed last first. A raised one counts as raised while it recovers."""
    states = {"raised": ("raised", "recovering"), "all": FLAG_STATES}.get(state, (state,))
    columns = (_f.center, _ce.name, _ce.province, _ce.district, _f.criterion, _f.subject, _f.state, _f.since_ms)
    query = sa.select(*columns, _f.value, _f.bound, _f.reason).join_from(
        schema.flags, schema.centers, _ce.center == _f.center
    )
    query = query.where(_f.state.in_(states), *(_ce[name].in_(values) for name, values in scope.parts.items()))
    query = query.where(_f.center == center) if center else query
    rows = conn.execute(query.order_by(_f.since_ms.desc(), _f.center, _f.criterion).limit(min(limit, LIMIT)))
    words = plain()
    return [{**row._mapping, "reason": words.reason(decode(row.reason))} for row in rows]


def alerts(
    conn: sa.Connection, *, state: str = "all", channel: str = "", incident: int = 0, limit: int = 200
) -> list[Row]:
    """Messages, the newest first."""
    columns = [_al[name] for name in ALERTS if name not in ("incident", "act", "why", "segments")]
    query = sa.select(*columns, _e.incident, _e.act, _al.why, _al.text).join_from(
        schema.alerts, schema.incident_events, _e.id == _al.event, isouter=True
    )
    query = query.where(_al.state == state) if state != "all" else query
    query = query.where(_al.channel == channel) if channel else query
    query = query.where(_e.incident == incident) if incident else query
    rows = conn.execute(query.order_by(_al.id.desc()).limit(min(limit, LIMIT)))
    words = plain()
    return [_alert(dict(row._mapping), words) for row in rows]


def _alert(row: Row, words: PlainWords) -> Row:
    """With what it costs as a text message, if it goes to a telephone."""
    text, address = str(row.pop("text")), str(row["address"])
    row["segments"] = sms.size_of(text).segments if address.startswith("+") else None
    return {**row, "why": words.reason(decode(row["why"])) if row["why"] else ""}


def cells(columns: Sequence[str], rows: Sequence[Row]) -> list[list[object]]:
    """For a table on a terminal."""
    return [["" if row[name] is None else row[name] for name in columns] for row in rows]
