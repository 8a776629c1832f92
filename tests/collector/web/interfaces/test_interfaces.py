"""What programs ask for: CSV of every list, figures for Prometheus, the description of the API and its examples."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from agent.common.reasons import Reason, encode
from collector.access.accounts import directory
from collector.desk import follow
from collector.store import schema
from collector.web.incidents import ACTS
from collector.web.interfaces import openapi

NOW_MS = 1_795_000_000_000
CODES = ("KHI-0001", "LHR-0001")


@pytest.fixture
def site(served, cast) -> Any:
    """Two centers in two provinces; one has a raised flag with its incident, and a message about it."""
    names = {CODES[0]: "=cmd()", CODES[1]: "Gulberg"}
    cast.insert(
        served.store, schema.centers, [cast.center_row(code, n, name=names[code]) for n, code in enumerate(CODES)]
    )
    cast.insert(served.store, schema.flags, [cast.flag_row(CODES[0], "internet.loss", state="raised", verdict="below")])
    row = {
        "center": CODES[0], "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised",
        "at_ms": NOW_MS - 600_000, "recorded_ms": NOW_MS - 600_000, "value": 30.0, "bound": 2.0,
        "reason": encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")), "standard": "s",
    }  # fmt: skip
    alert = {
        "kind": "person", "event": 1, "center": CODES[0], "channel": "sms", "title": "+1", "text": "x",
        "state": "failed", "attempts": 1, "next_ms": 1, "made_ms": 1, "person": "ayesha", "address": "+92",
        "why": encode(Reason.of("route.named")),
    }  # fmt: skip
    with served.store.write() as conn:
        conn.execute(sa.insert(schema.changes), [row])
        follow.follow(conn, cast.timeless_standards(), NOW_MS - 500_000)
        conn.execute(sa.insert(schema.alerts), [alert])
    return served


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_list_is_csv_that_no_spreadsheet_computes(site) -> None:
    with site.client() as client:
        found = {name: client.get(f"/{name}.csv") for name in ("incidents", "flags", "alerts")}
    assert {answer.headers["content-type"] for answer in found.values()} == {"text/csv; charset=utf-8"}
    tables = {name: rows(answer.text) for name, answer in found.items()}
    assert tables["flags"][0]["name"] == "'=cmd()"
    assert (tables["incidents"][0]["id"], tables["incidents"][0]["family"]) == ("1", "line")
    assert (tables["flags"][0]["criterion"], tables["flags"][0]["state"]) == ("internet.loss", "raised")
    (alert,) = tables["alerts"]
    assert (alert["title"], alert["why"], alert["segments"]) == ("'+1", "the plan names you", "1")


def test_lists_are_filtered(site) -> None:
    with site.client() as client:
        assert client.get("/api/v1/flags").json()["flags"][0]["center"] == CODES[0]
        assert client.get("/api/v1/flags?state=pending").json() == {"flags": []}
        assert client.get(f"/api/v1/flags?center={CODES[1]}").json() == {"flags": []}
        assert client.get("/api/v1/flags?state=burned").status_code == 400
        assert client.get("/api/v1/alerts?state=failed&incident=1").json()["alerts"][0]["channel"] == "sms"
        assert client.get("/api/v1/alerts?channel=mail").json() == {"alerts": []}
        assert client.get("/api/v1/alerts?incident=x").status_code == 400


def figures(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_say_how_many_are_in_which_state(site) -> None:
    with site.client() as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = figures(answer.text)
    assert sum(value for (name, _), value in found.items() if name == "nabz_incidents_open") == 1
    assert found["nabz_flags_raised", ("internet.loss",)] == 1
    assert found["nabz_alerts", ("sms", "failed")] == 1
    assert sum(value for (name, _), value in found.items() if name == "nabz_centers") == 2
    assert found["nabz_incident_oldest_new_seconds", ()] > 0


def test_more_centers_are_no_more_series(site, cast) -> None:
    with site.client() as client:
        before = figures(client.get("/metrics").text).keys()
        more = [cast.center_row(f"X-{number:04}", number) for number in range(300)]
        cast.insert(site.store, schema.centers, more)
        after = client.get("/metrics").text
    assert figures(after).keys() == before
    assert "X-0001" not in after


def test_the_api_is_described_with_an_example_of_every_act(site) -> None:
    with site.client() as client:
        described = client.get("/api/v1/openapi.json").json()
    act = described["paths"]["/api/v1/incidents/{number}"]["post"]
    assert set(act["requestBody"]["content"]["application/json"]["examples"]) == set(ACTS)
    assert "/api/v1/enrol" not in described["paths"]
    listed = described["paths"]["/api/v1/incidents"]["get"]["responses"]["200"]["content"]["application/json"]
    with site.client() as client:
        answered = client.get("/api/v1/incidents").json()["incidents"][0]
    assert set(openapi.INCIDENT) <= set(answered)
    assert listed["example"]["incidents"] == [dict(openapi.INCIDENT)]


@pytest.mark.parametrize("act", sorted(set(ACTS) - {"merge", "split", "review"}))
def test_each_example_is_taken_as_it_stands(site, act: str) -> None:
    with site.store.write() as conn:
        directory.add(conn, "Ayesha", "-", "desk", directory.EVERYWHERE, "Root", 1)
    with site.client() as client:
        answer = client.post("/api/v1/incidents/1", content=json.dumps(openapi.BODIES[act]))
    assert answer.status_code == 200, answer.text


def test_one_act_on_many_says_what_became_of_each(site) -> None:
    body = {"act": "ack", "incidents": [1, 1, 99], "note": "one crew for both"}
    with site.client() as client:
        answer = client.post("/api/v1/incidents", content=json.dumps(body))
        wrong = client.post("/api/v1/incidents", content=json.dumps({**body, "act": "merge"}))
        none = client.post("/api/v1/incidents", content=json.dumps({**body, "incidents": []}))
        assert client.get("/api/v1/incidents/1").json()["state"] == "acknowledged"
    assert [(one["id"], one["done"]) for one in answer.json()["results"]] == [(1, True), (99, False)]
    assert (wrong.status_code, none.status_code) == (400, 400)
