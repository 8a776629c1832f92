"""The description of the API (OpenAPI 3.1) at `/api/v1/openapi.json`, with examples of what is sent and answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from agent import __version__
from collector.access.accounts import policy
from collector.web.api import reply
from collector.web.desk import windows
from collector.web.incidents import ACTS, ActRequest, ManyRequest

PREFIX = "/api/v1/"

INCIDENT: Mapping[str, Any] = {
    "id": 12, "scope": "feeder", "place": "LESCO F-7", "family": "power", "state": "new", "waiting_for": "",
    "owner": "", "severity": "serious", "began_ms": 1_770_000_000_000, "opened_ms": 1_770_000_180_000,
    "resolved_ms": None, "ack_until_ms": None, "snoozed_until_ms": None, "centers": 12, "most": 12,
    "cause": {"name": "mains_carried", "grade": "confirmed", "evidence": []}, "is_open": True, "is_snoozed": False,
    "lasted_s": 1500, "seats": 240, "open_min": 25.0, "priority": 12_000.0,
}  # fmt: skip
BODIES: Mapping[str, Mapping[str, Any]] = {  # one act each, as POST /api/v1/incidents/{number} takes them
    "ack": {"act": "ack", "note": "called LESCO, expected by 14:00", "hours": 4},
    "assign": {"act": "assign", "owner": "Ayesha"},
    "start": {"act": "start"},
    "wait": {"act": "wait", "party": "provider", "note": "ticket 4711"},
    "note": {"act": "note", "note": "the generator runs"},
    "snooze": {"act": "snooze", "hours": 2, "note": "announced work on the feeder"},
    "resolve": {"act": "resolve", "note": "the seat was taken away"},
    "review": {"act": "review", "note": "discussed with the operator"},
    "cause": {"act": "cause", "cause": "isp_down", "note": "PTCL confirmed a cut fibre"},
    "merge": {"act": "merge", "into": 12, "note": "the same transformer"},
    "link": {"act": "link", "to": "https://tickets.example.pk/4711", "note": "the provider's ticket"},
    "split": {"act": "split", "centers": ["LHR-014"], "note": "its own fuse"},
}
WINDOW: Mapping[str, Any] = {
    "scope": "exchange", "subject": "PTCL Gulberg", "mode": "mute", "from_time": "2026-12-06T09:00",
    "to_time": "2026-12-06T12:00", "rule": "FREQ=WEEKLY;BYDAY=SU", "reason": "new line cards",
}  # fmt: skip
ANSWERS: Mapping[tuple[str, str], Any] = {
    ("/api/v1/incidents", "get"): {"counts": {"new": 1, "acknowledged": 0}, "incidents": [INCIDENT]},
    ("/api/v1/incidents/{number}", "get"): {**INCIDENT, "members": [], "events": [], "links": [], "telephones": []},
    ("/api/v1/incidents/{number}", "post"): {**INCIDENT, "state": "acknowledged", "owner": "Ayesha"},
    ("/api/v1/flags", "get"): {
        "flags": [{"center": "LHR-014", "criterion": "internet.loss", "state": "raised", "since_ms": 1_770_000_000_000}]
    },
    ("/api/v1/windows", "get"): {
        "windows": [
            {
                "id": 3,
                **{name: WINDOW[name] for name in ("scope", "subject", "mode", "rule", "reason")},
                "from_ms": 1_796_529_600_000,
                "to_ms": 1_796_540_400_000,
                "until_ms": None,
            }
        ]
    },
    ("/api/v1/windows", "post"): {"id": 3},
    ("/api/v1/alerts", "get"): {"alerts": [{"id": 41, "incident": 12, "channel": "sms", "state": "sent"}]},
}


def router(app: FastAPI) -> APIRouter:
    routes = APIRouter()

    @routes.get("/api/v1/openapi.json")
    def openapi(_request: Request) -> Response:
        return reply(described(app))

    return routes


def described(app: FastAPI) -> dict[str, Any]:
    """Of the routes that accounts and keys may ask; gateways speak another protocol."""
    made = get_openapi(title="Nabz", version=__version__, routes=app.routes)
    made["paths"] = {path: kept for path, item in made["paths"].items() if (kept := _by_key(path, item))}
    (one, several, window), shapes = msgspec.json.schema_components(
        (ActRequest, ManyRequest, windows.WindowRequest), ref_template="#/components/schemas/{name}"
    )
    made["components"] = {
        "schemas": {**made.get("components", {}).get("schemas", {}), **shapes},
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    made["security"] = [{"key": []}]
    for (path, method), example in ANSWERS.items():
        answer = made["paths"][path][method]["responses"]["200"]
        answer["content"] = {"application/json": {"example": example}}
    acts = {name: {"value": BODIES[name]} for name in ACTS}
    made["paths"]["/api/v1/incidents/{number}"]["post"]["requestBody"] = {
        "required": True, "content": {"application/json": {"schema": one, "examples": acts}}
    }  # fmt: skip
    many = {"act": "ack", "incidents": [12, 13], "note": "one crew is on its way to both"}
    made["paths"]["/api/v1/incidents"]["post"]["requestBody"] = {
        "required": True, "content": {"application/json": {"schema": several, "example": many}}
    }  # fmt: skip
    plans = {"plan": {"value": WINDOW}, "end": {"value": {"end": 3}}}
    made["paths"]["/api/v1/windows"]["post"]["requestBody"] = {
        "required": True, "content": {"application/json": {"schema": window, "examples": plans}}
    }  # fmt: skip
    return made


def _by_key(path: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """The methods of a path that an API key may ask."""
    rules = {method: policy.match(method.upper(), path) for method in item}
    is_open = path.startswith(PREFIX)
    return {
        method: item[method]
        for method, rule in rules.items()
        if is_open and rule is not None and policy.POLICY[rule.action].by_key
    }
