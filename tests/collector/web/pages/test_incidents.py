"""The pages and the API of incidents: a list, one, and the same acts by form and by request."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.access.accounts import directory
from collector.common.scope import Scope
from collector.desk import follow
from collector.store import schema, upsert

NOW_MS = 1_795_000_000_000
CODE = "KHI-0001"
MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def site(served, cast) -> Any:
    cast.insert(served.store, schema.centers, [cast.center_row(CODE, name=HOSTILE)])
    found = Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")
    row = {
        "center": CODE, "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised",
        "at_ms": NOW_MS - 600_000, "recorded_ms": NOW_MS - 600_000, "value": 30.0, "bound": 2.0,
        "reason": encode(found), "standard": "s",
    }  # fmt: skip
    with served.store.write() as conn:
        conn.execute(sa.insert(schema.changes), [row])
        follow.follow(conn, cast.timeless_standards(), NOW_MS)
    return served


def press(client: httpx.Client, mark: str | None = None, **values: str) -> httpx.Response:
    own = MARK.search(client.get("/incidents/1").text)
    assert own
    return client.post("/incidents/1", data={"mark": own[1] if mark is None else mark, **values})


def test_the_list_and_one_of_them_show_what_is_known(site) -> None:
    with site.client() as client:
        page = client.get("/incidents").text
        one = client.get("/incidents/1").text
        urdu = client.get("/incidents/1?lang=ur").text
        assert client.get("/incidents?state=resolved").status_code == 200
        assert client.get("/incidents/9").status_code == 404
        assert client.get("/incidents?state=burned").status_code == 400
    assert HOSTILE not in page + one
    assert 'href="/incidents/1"' in page
    assert "Packet loss" in one
    assert "واقعہ" in urdu


def test_the_forms_do_what_they_say_and_the_history_shows_it(site) -> None:
    with site.store.write() as conn:
        directory.add(conn, "Bilal", "-", "desk", directory.EVERYWHERE, "Root", 1)
    with site.client() as client:
        assert press(client, act="ack", note=f"called {HOSTILE}", hours="4").status_code == 303
        nobody = press(client, act="assign", owner="Bilall")
        assert nobody.status_code == 409
        assert "nobody of that name has an account" in nobody.text
        assert press(client, act="assign", owner="Bilal").status_code == 303
        page = client.get("/incidents/1").text
        assert "Acknowledged" in page
        assert "Bilal" in page
        assert HOSTILE not in page
        refused = press(client, act="snooze", hours="1")
        assert refused.status_code == 409
        assert "needs a reason" in refused.text
        assert '<option value="snooze" selected>' in refused.text
        assert re.search(r'name="hours"[^>]*value="1"', refused.text), "what was typed stays"
        assert press(client, act="burn").status_code == 400
        assert press(client, mark="0" * 64, act="note", note="x").status_code == 403


def test_a_link_leads_to_the_other_and_an_address_is_no_script(site) -> None:
    with site.client() as client:
        assert press(client, act="link", to="https://tickets.example.pk/4711").status_code == 303
        assert press(client, act="link", to="javascript:alert(1)").status_code == 409
        assert press(client, act="link", to="1").status_code == 409
        page = client.get("/incidents/1").text
        facts = client.get("/api/v1/incidents/1", headers={"accept": "application/json"}).json()
    assert '<a href="https://tickets.example.pk/4711" rel="noreferrer noopener"' in page
    assert facts["links"] == ["https://tickets.example.pk/4711"]


def test_the_desks_clock_says_who_took_it_and_when(site, cast) -> None:
    with site.store.write() as conn:
        conn.execute(sa.update(schema.centers).values(district="Karachi South"))
    with site.client() as client:
        assert 'href="/desk-clock"' in client.get("/incidents").text
        assert "Nobody" in client.get("/desk-clock").text
        assert press(client, act="ack", note="called", hours="4").status_code == 303
        page = client.get("/desk-clock?by=district&days=7").text
        rows = client.get("/desk-clock.csv").text.splitlines()
        assert client.get("/desk-clock?by=colour&days=-1").status_code == 200
        assert "0 min" not in client.get("/desk-clock?lang=ur").text
    assert "Karachi" in page
    assert rows[0].startswith("group,incidents,taken,take_median_s")
    assert rows[1].startswith(f"{cast.ADMIN},1,1,")
    with site.client(logged_in=False) as client:
        mine = Scope(owner=frozenset({"Omar"}))
        client.cookies.set("nabz_session", cast.add_account(site.store, "Omar", "operator", mine))
        assert client.get("/desk-clock").status_code == 403


def test_the_api_does_the_same(site, cast) -> None:
    with site.client() as client:
        found = client.get("/api/v1/incidents").json()
        assert (found["counts"]["new"], found["incidents"][0]["place"]) == (1, CODE)
        done = client.post("/api/v1/incidents/1", json={"act": "ack", "note": "on it", "hours": 2})
        assert (done.status_code, done.json()["state"]) == (200, "acknowledged")
        assert [event["act"] for event in done.json()["events"]] == ["acknowledged", "opened"]
        assert client.get(f"/api/v1/incidents?owner={cast.ADMIN}").json()["incidents"][0]["id"] == 1
        assert client.get("/api/v1/incidents?center=LHE-0000").json()["incidents"] == []
        for body, status in (
            ({"act": "ack"}, 409),
            ({"act": "burn"}, 400),
            ({"act": "note", "colour": "red"}, 400),
        ):
            answer = client.post("/api/v1/incidents/1", json=body)
            assert (answer.status_code, "error" in answer.json()) == (status, True)
        other = {"sec-fetch-site": "cross-site"}
        assert client.post("/api/v1/incidents/1", json={"act": "note"}, headers=other).status_code == 403
        assert client.post("/api/v1/incidents/9", json={"act": "note", "note": "x"}).status_code == 404


def test_channels_are_shown_with_the_state_of_their_breaker(site) -> None:
    rows = [
        {"channel": "sms", "failures": 4, "until_ms": NOW_MS + 60_000, "sent_ms": None, "problem": HOSTILE},
        {"channel": "mail", "failures": 0, "until_ms": None, "sent_ms": NOW_MS - 1000, "problem": ""},
    ]
    with site.client() as client:
        assert "[[alerts.channels]]" in client.get("/alerts").text
        with site.store.write() as conn:
            upsert(conn, schema.channels, rows)
        page = client.get("/alerts").text
    assert "Rests after failures" in page
    assert "Works" in page
    assert HOSTILE not in page


def test_a_stale_headline_on_a_dark_center_is_gone(served, cast) -> None:
    """What was raised before it went dark is shown as not known, without its urgent advice."""
    cast.insert(served.store, schema.centers, [cast.center_row(CODE)])
    cast.insert(served.store, schema.pulse, [cast.pulse_row(CODE, NOW_MS - 3_600_000)])
    low = cast.flag_row(CODE, "power.battery_low", state="raised", verdict="below")
    dark = cast.flag_row(CODE, "presence.silent", state="raised", verdict="below")
    with served.client() as client:
        cast.insert(served.store, schema.flags, [low])
        assert "Start the generator now" in client.get(f"/centers/{CODE}").text
        cast.insert(served.store, schema.flags, [dark])
        page = client.get(f"/centers/{CODE}").text
    assert "Start the generator now" not in page
    assert "not known since the center went dark" in page


def test_a_file_goes_with_an_incident_and_is_handed_out_as_a_file(site) -> None:
    photo = b"\xff\xd8\xff" + b"x" * 200_000  # longer than other requests may be
    with site.client() as client:
        own = MARK.search(client.get("/incidents/1").text)
        assert own

        def give(name: str, body: bytes, mark: str = own[1]) -> httpx.Response:
            form = {"mark": mark, "note": "it fell"}
            return client.post("/incidents/1/files", data=form, files={"file": (name, body, "text/html")})

        assert give('pole"><b>.html', photo).status_code == 303
        refused = give("page.jpg", b"<script>alert(1)</script>")
        assert (refused.status_code, "must be a JPEG" in refused.text) == (409, True)
        assert give("pole.jpg", photo, mark="0" * 64).status_code == 403
        page = client.get("/incidents/1").text
        path = re.search(r'<img class="given" src="(/incidents/1/files/[0-9a-f]{64})"', page)
        assert path
        assert "<b>.html" not in page
        fetched = [client.get(prefix + path[1]) for prefix in ("", "/api/v1")]
        assert client.get(f"/incidents/1/files/{'0' * 64}").status_code == 404
        acts = client.get("/activity").text
    for answer in fetched:
        assert answer.content == photo
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''pole")
        assert "default-src 'none'; sandbox" in answer.headers["content-security-policy"]
    assert f"attach {path[1].rpartition('/')[2]} it fell" in acts


def test_a_request_gives_a_file_as_its_body(site) -> None:
    table = b"time,down\n09:00,3\n"
    with site.client() as client:
        answer = client.post("/api/v1/incidents/1/files?name=line.csv&note=of%20the%20line", content=table)
        assert answer.status_code == 200
        (one,) = answer.json()["files"]
        assert (one["name"], one["kind"], one["size"]) == ("line.csv", "csv", len(table))
        assert client.get(f"/api/v1/incidents/1/files/{one['sha256']}").content == table
        assert client.post("/api/v1/incidents/1/files?name=line.csv", content=table).status_code == 409
        assert client.post("/api/v1/incidents/1/files?name=x.csv", content=b"a" * 5_000_000).status_code == 413
        elsewhere = {"origin": "https://other.example"}
        assert client.post("/api/v1/incidents/1/files?name=y.csv", content=b"y", headers=elsewhere).status_code == 403
