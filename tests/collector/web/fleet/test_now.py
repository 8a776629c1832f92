"""The desk's home: what is open by its loss, whose it is, what comes next, and the same act for many."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.access.accounts import contacts
from collector.access.accounts.policy import Account
from collector.common.scope import Scope
from collector.desk import follow
from collector.store import schema
from collector.web.fleet.now import STEPS, next_step

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def site(served, cast) -> Any:
    """Three centers that lose packets, one of a hostile name, and the telephone of their provider."""
    rows = [cast.center_row("KHI-0001", 1, name=HOSTILE, isp="PTCL")]
    rows += [cast.center_row(f"LHE-000{n}", 0, isp="PTCL", feeder=f"F-{n}") for n in (2, 3)]
    cast.insert(served.store, schema.centers, rows)
    found = Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")
    base = {
        "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised", "value": 30.0, "bound": 2.0,
        "reason": encode(found), "standard": "s",
    }  # fmt: skip
    times = {row["center"]: cast.NOW_MS - (9 - place) * 600_000 for place, row in enumerate(rows)}
    with served.store.write() as conn:
        changes = [{**base, "center": code, "at_ms": at, "recorded_ms": at} for code, at in times.items()]
        conn.execute(sa.insert(schema.changes), changes)
        follow.follow(conn, cast.timeless_standards(), cast.NOW_MS)
        whom = contacts.parse({"kind": "provider", "name": "PTCL", "telephone": "+92 21 1234567"}, Scope())
        contacts.keep(conn, whom, Account("Amna", "admin", key="amna"), cast.NOW_MS)
    return served


def press(client: httpx.Client, *numbers: int, mark: str | None = None, **values: str) -> httpx.Response:
    own = MARK.search(client.get("/now").text)
    assert own
    data = {"mark": own[1] if mark is None else mark, "n": [str(number) for number in numbers], **values}
    return client.post("/now", data=data)


def shown(client: httpx.Client, query: str = "") -> list[str]:
    return re.findall(r'<tr id="i-(\d+)"', client.get(f"/now{query}").text)


def test_it_shows_the_greatest_loss_first_with_whom_to_call(site) -> None:
    with site.client() as client:
        page = client.get("/now").text
        assert shown(client) == ["1", "2", "3"]
        assert "<title>(3) Now" in page
        assert page.count('href="tel:+92211234567"') == 3
        assert HOSTILE not in page
        assert "Take it or assign it" in page


def test_the_same_act_is_done_to_many_and_the_lists_follow(site) -> None:
    with site.client() as client:
        done = press(client, 1, 2, act="ack")
        assert (done.status_code, done.headers["location"]) == (303, "/now?done=2")
        assert re.search(r"Done to (<bdi[^>]*>)?2(</bdi>)? incidents", client.get("/now?done=2").text)
        assert shown(client, "?tab=mine") == ["1", "2"]
        assert shown(client, "?tab=free") == ["3"]
        assert "Call <bdi" in client.get("/now?tab=mine").text
        assert press(client, 3, act="assign", tab="free", incident="3").headers["location"] == (
            "/now?tab=free&incident=3&done=1"
        )
        assert shown(client, "?tab=free") == []


def test_what_cannot_be_done_is_said_and_the_rest_is_done(site) -> None:
    with site.client() as client:
        refused = press(client, 1, 9, act="ack")
        assert refused.status_code == 409
        assert "incident 9" in refused.text
        assert shown(client, "?tab=mine") == ["1"]
        assert "needs a reason" in press(client, 1, act="snooze").text
        assert press(client, 1, act="snooze", note="rain").status_code == 303
        assert "Paused until" in client.get("/now").text
        assert client.get("/now").text.count("<title>(2) Now") == 1
        assert press(client, 1, act="resolve", note="x").status_code == 400
        assert press(client, 1, act="ack", mark="0" * 64).status_code == 403


def test_the_panel_shows_one_with_its_history_and_a_strange_one_is_none(site) -> None:
    with site.client() as client:
        press(client, 1, act="note", note=f"called {HOSTILE}")
        page = client.get("/now?incident=1").text
        assert 'id="close"' in page
        assert "called &lt;script&gt;" in page
        assert HOSTILE not in page
        for strange in ("9", "x", "-1", "9" * 40):
            assert 'id="close"' not in client.get(f"/now?incident={strange}").text


def test_failed_messages_and_findings_about_nabz_have_tabs(site, cast) -> None:
    row = {"kind": "change", "center": "KHI-0001", "channel": "sms", "title": HOSTILE, "text": "x", "attempts": 3}
    cast.insert(site.store, schema.alerts, [row | {"state": "failed", "next_ms": 1, "problem": "no credit"}])
    cast.insert(site.store, schema.flags, [cast.flag_row("*", "presence.deaf", state="raised", verdict="below")])
    with site.client() as client:
        failed = client.get("/now?tab=failed").text
        assert "no credit" in failed
        assert HOSTILE not in failed
        own = client.get("/now?tab=self").text
    assert re.search(r'data-tab="self" aria-current="true">Nabz itself <b>(<bdi[^>]*>)?1\b', own)
    assert "seat" not in own.partition('id="list"')[2].partition("</section>")[0]


def test_an_account_of_other_centers_sees_and_does_nothing(site, cast) -> None:
    cookie = cast.add_account(site.store, "Quetta", "desk", Scope(province=frozenset({"Balochistan"})))
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        page = client.get("/now").text
        assert "No incident is open" in page
        mark = re.search(r'data-mark="([0-9a-f]{64})"', page)
        assert mark
        refused = client.post("/now", data={"mark": mark[1], "act": "ack", "n": ["1"]})
        assert refused.status_code == 409
        assert 'data-tab="failed"' not in page


@pytest.mark.parametrize(
    ("row", "step"),
    [
        ({"is_snoozed": True, "state": "new", "owner": ""}, "rest"),
        ({"is_snoozed": False, "state": "new", "owner": ""}, "take"),
        ({"is_snoozed": False, "state": "waiting", "owner": "Ali"}, "wait"),
        ({"is_snoozed": False, "state": "acknowledged", "owner": "Ali"}, "call"),
        ({"is_snoozed": False, "state": "new", "owner": "Ali"}, "start"),
        ({"is_snoozed": False, "state": "in_progress", "owner": "Ali"}, "work"),
        ({"is_snoozed": False, "state": "acknowledged", "owner": "Bina"}, "work"),
    ],
)
def test_the_next_step_follows_from_the_work(row: dict[str, Any], step: str) -> None:
    assert next_step(row, "Ali") == step
    assert step in STEPS


def test_a_note_for_the_next_shift_stands_until_the_next_one(site, cast) -> None:
    hostile = "<b>Call</b> PTCL\nabout \u202eLHE"
    with site.client() as client:
        mark = re.search(r'name="mark" value="([^"]+)"', client.get("/now").text)[1]  # type: ignore[index]
        assert client.post("/now/handover", data={"mark": "wrong", "text": "x"}).status_code == 403
        assert client.post("/now/handover", data={"mark": mark, "text": hostile}).status_code == 303
        page = client.get("/now").text
        assert "&lt;b&gt;Call&lt;/b&gt; PTCL about LHE" in page
        assert "\u202e" not in page
        client.post("/now/handover", data={"mark": mark, "text": " "})
        assert '<p class="handover">' not in client.get("/now").text
        assert "Note for the next shift" in client.get("/activity").text
