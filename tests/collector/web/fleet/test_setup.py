"""The admin's home: how Nabz does, how far gateways have come, five first steps, and tokens to print."""

from __future__ import annotations

import hashlib
import re

import httpx
import pytest
import sqlalchemy as sa

from collector.store import schema
from collector.store.jobs.workers import name_of
from collector.web.fleet.setup import funnel_of, steps_of
from collector.web.health import Watched

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = "<script>alert(1)</script>"


def make(client: httpx.Client, cast, **values: str) -> httpx.Response:
    mark = MARK.search(client.get("/setup").text)
    assert mark
    data = {"mark": mark[1], "center": "KHI-0001", "ttl": "7d", "password": cast.PASSWORD, **values}
    return client.post("/setup", data=data)


def test_a_new_nabz_is_led_through_five_steps(served, cast) -> None:
    with served.client() as client:
        page = client.get("/setup").text
    assert page.count(">Done</span>") + page.count("Done</span>") >= 1
    assert "Five steps to begin" in page
    with served.store.read() as conn:
        before = steps_of(conn, funnel_of(conn, cast.NOW_MS), has_backup=False)
    cast.insert(served.store, schema.centers, [cast.center_row("KHI-0001")])
    cast.insert(served.store, schema.devices, [cast.device_row("KHI-0001")])
    cast.insert(served.store, schema.pulse, [cast.pulse_row("KHI-0001")])
    with served.store.read() as conn:
        after = steps_of(conn, funnel_of(conn, cast.NOW_MS), has_backup=True)
    assert before == {"admin": True, "centers": False, "token": False, "heard": False, "backup": False}
    assert set(after.values()) == {True}


def test_a_token_is_made_by_password_shown_once_and_counted(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("KHI-0001")])
    with served.store.write() as conn:
        conn.execute(sa.update(schema.persons).values(may_issue=True))
    with served.client() as client:
        page = make(client, cast)
        assert page.status_code == 200
        token = re.search(r'<code dir="ltr">([0-9a-f]{32})(\.[0-9a-f]{32})?</code>', page.text)
        assert token
        assert "data:image/svg" in page.text
        assert "nabz-agent enrol" in page.text
        assert token[1] not in client.get("/setup").text
    with served.store.read() as conn:
        row = conn.execute(sa.select(schema.tokens)).one()
        assert row.token_hash == hashlib.sha256(token[1].encode()).hexdigest()
        assert row.expires_ms == cast.NOW_MS + 7 * cast.DAY_MS
        assert funnel_of(conn, cast.NOW_MS)["issued"] == 1
        assert funnel_of(conn, row.expires_ms + 1)["issued"] == 0


@pytest.mark.parametrize(
    ("values", "status", "said"),
    [
        ({"password": "wrong"}, 403, "password"),
        ({"center": "NONE-1"}, 409, "No such center"),
        ({"center": HOSTILE}, 409, "No such center"),
    ],
)
def test_why_there_is_no_token_is_said_and_the_code_is_kept(served, cast, values, status: int, said: str) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("KHI-0001")])
    with served.store.write() as conn:
        conn.execute(sa.update(schema.persons).values(may_issue=True))
    with served.client() as client:
        refused = make(client, cast, **values)
    assert refused.status_code == status
    assert said in refused.text
    assert HOSTILE not in refused.text
    if values.get("center") == "NONE-1":
        assert 'value="NONE-1"' in refused.text
    with served.store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.tokens)) == 0


def test_what_is_wrong_with_nabz_is_said(served, cast) -> None:
    row = {"kind": "change", "center": "KHI-0001", "channel": "sms", "title": "x", "text": "x", "attempts": 0}
    cast.insert(served.store, schema.alerts, [row | {"state": "waiting", "next_ms": 1} for _ in range(120)])
    certificate = {"serial": "1", "device": "g1", "key_hash": "x", "issued_ms": 1, "pem": ""}
    cast.insert(served.store, schema.certificates, [certificate | {"expires_ms": cast.NOW_MS + cast.DAY_MS}])
    cast.insert(served.store, schema.heartbeats, [{"part": "sweep", "at_ms": cast.NOW_MS - cast.HOUR_MS}])
    cast.insert(served.store, schema.devices, [cast.device_row("KHI-0001", version=HOSTILE)])
    with served.client() as client:
        page = client.get("/setup").text
    assert re.search(r"120(</bdi>)? messages\s.{,120}Look after it", page, re.DOTALL)
    assert re.search(r"1 ends within 7 days\s.{,200}Look after it", page, re.DOTALL)
    assert page.count("Look after it") == 4, "queue, certificates, heartbeat, backup"
    assert HOSTILE not in page


def test_workers_of_ingest_are_named_with_what_they_wait_for(served, cast) -> None:
    row = {"number": 1, "at_ms": cast.NOW_MS}
    workers = [
        {**row, "machine": "second", "committed_ms": cast.NOW_MS - 60_000, "waits": "", "wait_s": 0.0},
        {**row, "machine": HOSTILE[:64], "committed_ms": None, "waits": "broker", "wait_s": 50.0},
    ]
    cast.insert(served.store, schema.ingest_workers, workers)
    served.health.workers = [Watched(name_of(1, "second"), 40.0, lambda: 41.0)]
    with served.client() as client:
        page, health, figures = (client.get(path) for path in ("/setup", "/healthz", "/metrics"))
    assert re.search(
        r"Worker 1 of <bdi[^>]*>second</bdi>.{,200}last readings.{,300}Look after it", page.text, re.DOTALL
    )
    assert "waits for its broker" in page.text
    assert HOSTILE[:64] not in page.text
    assert health.status_code == 503
    assert health.json()["late"] == {"ingest worker 1 at second": 41.0}
    assert 'nabz_part_late{part="ingest worker 1 at second"} 1.0' in figures.text
    assert 'nabz_ingest_worker_commit_seconds{worker="ingest worker 1 at second"} 60.0' in figures.text
