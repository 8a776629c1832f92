"""The page of maintenance: planned by form, said when it runs, ended by button."""

from __future__ import annotations

import re

import httpx
import pytest
import sqlalchemy as sa

from collector.desk import windows
from collector.store import schema

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
USUAL = {
    "act": "plan", "scope": "feeder", "subject": "LESCO F-7", "mode": "mute", "from_time": "2026-11-18T15:00",
    "to_time": "2026-11-18T18:00", "again": "weekly", "rule": "", "reason": "new <b>transformer</b>",
}  # fmt: skip


@pytest.fixture(autouse=True)
def center(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHE-9", 1, feeder="LESCO F-7")])


def post(client: httpx.Client, **values: str) -> httpx.Response:
    mark = MARK.search(client.get("/windows").text)
    assert mark
    return client.post("/windows", data={"mark": mark[1], **USUAL, **values})


def test_maintenance_is_planned_shown_and_ended(served) -> None:
    with served.client() as client:
        assert post(client).status_code == 303
        page = client.get("/windows").text
        assert "runs now" in page  # a Wednesday, 16:06
        assert "new &lt;b&gt;transformer" in page
        assert "every week" in page
        assert "دیکھ بھال" in client.get("/windows?lang=ur").text
        client.get("/windows?lang=en")
        assert post(client, act="end", id="1").status_code == 303
        again = post(client, act="end", id="1")
        assert again.status_code == 400
        assert "has ended" in again.text
        assert "No maintenance is planned" in client.get("/windows").text
    with served.store.read() as conn:
        (ended,) = windows.listing(conn, ended=True)
        acts = conn.scalars(sa.select(schema.decisions.c.act)).all()
    assert (ended.rule, ended.subject) == ("FREQ=WEEKLY", "LESCO F-7")
    assert acts.count("window_changed") == 2


@pytest.mark.parametrize(
    ("wrong", "problem", "at"),
    [
        ({"subject": " "}, "needs the name", "subject"),
        ({"from_time": "now"}, "must be such as", "from_time"),
        ({"to_time": "2026-11-18T14:00"}, "must lie after", "to_time"),
        ({"reason": " "}, "needs a reason", "reason"),
        ({"reason": "x" * 301}, "at most 300 letters", "reason"),
        ({"again": "rule", "rule": "FREQ=SECONDLY"}, "is none of RFC 5545", "rule"),
        ({"again": "rule", "rule": ""}, "is none of RFC 5545", "rule"),
    ],
)
def test_a_mistake_is_said_at_its_field_and_what_was_typed_is_kept(
    served, wrong: dict[str, str], problem: str, at: str
) -> None:
    with served.client() as client:
        refused = post(client, **wrong)
    assert refused.status_code == 400
    said = refused.text.partition(f'id="window-{at}-why"')[2].partition("</p>")[0]
    assert problem in re.sub(r"<[^>]+>", "", said)
    assert '<option value="mute" selected>' in refused.text
    assert 'value="2026-11-18T18:00"' in refused.text or at == "to_time"
    with served.store.read() as conn:
        assert windows.listing(conn) == []


@pytest.mark.parametrize("wrong", [{"scope": "planet"}, {"mode": ""}, {"again": "hourly"}])
def test_what_no_form_of_ours_sends_is_refused(served, wrong: dict[str, str]) -> None:
    with served.client() as client:
        assert post(client, **wrong).status_code == 400


def test_programs_plan_and_end_it_too(served) -> None:
    wanted = {**{name: USUAL[name] for name in ("scope", "subject", "mode", "from_time", "to_time")}, "reason": "work"}
    with served.client() as client:
        made = client.post("/api/v1/windows", json={**wanted, "rule": "FREQ=WEEKLY;COUNT=4"})
        (kept,) = client.get("/api/v1/windows").json()["windows"]
        assert (made.json(), kept["scope"], kept["rule"]) == ({"id": kept["id"]}, "feeder", "FREQ=WEEKLY;COUNT=4")
        assert client.post("/api/v1/windows", json={"end": kept["id"]}).json() == {"id": kept["id"]}
        assert client.post("/api/v1/windows", json={"end": kept["id"]}).status_code == 404
        for wrong in (
            {**wanted, "scope": "village"},
            {**wanted, "subject": "F-99"},
            {**wanted, "to_time": "now"},
            {"x": 1},
        ):
            refused = client.post("/api/v1/windows", json=wrong)
            assert (refused.status_code, bool(refused.json()["error"])) == (400, True), wrong
