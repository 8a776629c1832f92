"""The page of routing: who is on duty, an override by form, and a rehearsal that sends nothing."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.access.accounts import directory
from collector.common.scope import EVERYWHERE
from collector.desk import follow
from collector.desk.routing import tables
from collector.desk.routing.rota import Rota
from collector.desk.routing.routes import AlertRoute
from collector.store import schema

NOW_MS = 1_795_000_000_000
CODE = "KHI-0001"
MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def site(served, cast) -> Any:
    cast.insert(served.store, schema.centers, [cast.center_row(CODE)])
    row = {
        "center": CODE, "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised",
        "at_ms": NOW_MS - 600_000, "recorded_ms": NOW_MS - 600_000, "value": 30.0, "bound": 2.0,
        "reason": encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")), "standard": "s",
    }  # fmt: skip
    with served.store.write() as conn:
        conn.execute(sa.insert(schema.changes), [row])
        follow.follow(conn, cast.timeless_standards(), NOW_MS)
        directory.add(conn, "Bilal", "-", "desk", EVERYWHERE, "Root", 1)
        directory.add(conn, "Dawud", "-", "desk", EVERYWHERE, "Root", 1)
        tables.add_rota(conn, Rota("desk", ("bilal",), NOW_MS - 1000), "Root", 1)
        tables.add_route(conn, AlertRoute(), "Root", 1)
    return served


def press(client: httpx.Client, mark: str | None = None, **values: str) -> httpx.Response:
    own = MARK.search(client.get("/routing").text)
    assert own
    times = {"from_time": "2026-11-01T00:00", "to_time": "2026-12-01T00:00"}
    usual = {"act": "override", "rota": "1", "person": "dawud", **times, "reason": "ill"}
    return client.post("/routing", data={"mark": own[1] if mark is None else mark, **usual, **values})


def test_who_is_on_duty_and_who_stands_in(site) -> None:
    with site.client() as client:
        assert "Bilal" in client.get("/routing").text
        assert press(client, reason=f"ill {HOSTILE}").status_code == 303
        page = client.get("/routing").text
        assert press(client, act="remove_override", id="1").status_code == 303
        assert "Dawud" not in client.get("/routing").text.partition('id="rota"')[0].partition('id="override-form"')[0]
        assert press(client, act="remove_override", id="1").status_code == 400
        urdu = client.get("/routing?lang=ur").text
    assert "Dawud" in page.partition('id="rota"')[0]
    assert HOSTILE not in page
    assert "ڈیوٹی" in urdu


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"rota": "9"}, "is not there; see the list of rotas"),
        ({"person": "stranger"}, "has no account"),
        ({"from_time": "soon"}, "must be such as"),
        ({"to_time": "2026-01-01T00:00"}, "ends before it begins"),
        ({"reason": " "}, "needs a reason"),
        ({"act": "drop"}, "400"),
    ],
)
def test_what_cannot_be_is_said_on_the_page(site, wrong: dict[str, str], problem: str) -> None:
    with site.client() as client:
        refused = press(client, **wrong)
        assert refused.status_code == 400
        assert problem in refused.text
        assert press(client, mark="0" * 64).status_code == 403


def test_a_rehearsal_names_who_would_be_told_and_why_not(site) -> None:
    with site.client() as client:
        page = client.get("/routing?incident=1").text
        assert client.get("/routing?incident=77").status_code == 404
        assert client.get("/routing?incident=x").status_code == 404
    assert "no address for any channel" in page
    with site.store.read() as conn:
        assert conn.execute(sa.select(schema.alerts)).all() == []
