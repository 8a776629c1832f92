"""Incidents as alerts of Prometheus's Alertmanager (API v2, POST /api/v2/alerts).

An incident is one alert for each severity it can have: Alertmanager knows an alert by its labels, so the one of the
severity of now fires and the others are over.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from collector.desk.alerts.channel import AlertMessage, Channel
from collector.desk.alerts.channels.post import post
from collector.desk.symptoms import SEVERITIES

PATH = "/api/v2/alerts"
FIRES_S = 30 * 86_400  # without an end Alertmanager would forget an alert after five minutes
ENDED = frozenset({"resolved", "closed", "merged"})
OVER = frozenset({"resolved", "reviewed", "merged"})


def channel(name: str, url: str) -> Channel:
    """To the Alertmanager at this address, without the API's path."""
    address = url.rstrip("/") + PATH

    def send(message: AlertMessage) -> None:
        if message.facts:
            post(address, json.dumps(alerts_of(json.loads(message.facts), message)).encode())

    return Channel(name, send, languages=("en",), is_structured=True)


def alerts_of(facts: dict[str, Any], message: AlertMessage) -> list[dict[str, object]]:
    """The body of the request."""
    incident, at_ms = facts["incident"], facts["at_ms"]
    labels = {
        "alertname": "NabzIncident", "incident": str(incident["id"]), "scope": incident["scope"],
        "place": incident["place"], "family": incident["family"],
    }  # fmt: skip
    annotations = {"summary": message.title, "description": message.text}
    if (cause := incident["cause"]) is not None:
        annotations["cause"] = cause["name"]
    is_over = facts["act"] in ENDED or incident["state"] in OVER  # a note on one that is over does not begin it again
    began_ms = incident["began_ms"]
    over_ms = max(began_ms + 1, incident["resolved_ms"] or at_ms)
    return [
        {
            "labels": {**labels, "severity": severity},
            "annotations": annotations,
            "startsAt": _time(began_ms),
            "endsAt": _time(over_ms if is_over or severity != incident["severity"] else at_ms + FIRES_S * 1000),
            "generatorURL": incident["url"],
        }
        for severity in SEVERITIES
    ]


def _time(at_ms: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
