"""An event of an incident as plain values, for channels that programs read. Pure."""

from __future__ import annotations

import json
from typing import Any

from collector.desk.alerts.message import Announcement
from collector.desk.view.queries import cause_facts

MAX_CENTERS = 1000  # named; `count` says how many there are


def facts_of(announcement: Announcement, base_url: str) -> dict[str, Any]:
    """{act, at_ms, incident: {…}, flag: {…} or None, centers: {count, codes}}; times in milliseconds since 1970."""
    news = announcement.news
    if news is None:
        return {}
    incident, cause = news.incident, news.cause
    codes = news.centers or ((incident.place,) if incident.scope == "center" else ())
    flag = {
        "center": announcement.center, "criterion": announcement.criterion, "subject": announcement.subject,
        "value": announcement.value, "bound": announcement.bound,
    }  # fmt: skip
    return {
        "act": news.act,
        "at_ms": news.at_ms,
        "incident": {
            "id": incident.id, "scope": incident.scope, "place": incident.place, "family": incident.family,
            "state": incident.state, "severity": incident.severity, "owner": incident.owner,
            "began_ms": incident.began_ms, "resolved_ms": incident.resolved_ms,
            "cause": None if cause is None else cause_facts(cause.name, cause.grade, cause.evidence),
            "url": f"{base_url}/incidents/{incident.id}",
        },
        "flag": flag if announcement.criterion else None,
        "centers": {"count": incident.centers, "most": incident.most, "codes": list(codes[:MAX_CENTERS])},
        "telephones": [one._asdict() for one in news.numbers],
    }  # fmt: skip


def encoded(announcement: Announcement, base_url: str) -> str:
    return json.dumps(facts_of(announcement, base_url), ensure_ascii=False, separators=(",", ":"))
