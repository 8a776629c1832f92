"""The forms of routes, plans and rotas: kept by the acts that the commands use, with what was typed after a mistake."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.access.accounts import directory
from collector.common.scope import EVERYWHERE
from collector.desk.routing import tables
from collector.store import schema

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = "<script>alert(1)</script>"
ROUTE = {"act": "route", "severity": "serious", "plan": "example", "lang": "", "hours": "Mon-Sat 09:00-21:00"}
PLAN = {"act": "plan", "name": "night", "after-0": "0m", "target-0": "rota desk | role desk", "via": "sms"}
ROTA = {
    "act": "rota", "name": "desk", "turn": "1d", "from_time": "2026-11-01T09:00", "hours": "always",
    "member-0": "bilal", "member-1": "dawud",
}  # fmt: skip


@pytest.fixture
def site(served) -> Any:
    with served.store.write() as conn:
        for name in ("Bilal", "Dawud"):
            directory.add(conn, name, "-", "desk", EVERYWHERE, "Root", 1)
    return served


def post(client: httpx.Client, values: dict[str, str]) -> httpx.Response:
    mark = MARK.search(client.get("/routing").text)
    assert mark
    return client.post("/routing", data={"mark": mark[1], **values})


def field(page: str, name: str) -> str:
    """The element of a form with that id."""
    found = re.search(rf'<(?:input|select) id="{name}"[^>]*>', page)
    assert found, name
    return found[0]


def test_a_route_is_made_changed_and_removed(site) -> None:
    with site.client() as client:
        done = post(client, {**ROUTE, "family-power": "1", "district": "Lahore; Kasur"})
        assert done.status_code == 303, done.text
        page = client.get("/routing?route=1").text
        assert 'value="Mon-Sat 09:00-21:00"' in field(page, "route-hours")
        assert " checked" in field(page, "route-family-power")
        assert " checked" not in field(page, "route-family-line")
        assert post(client, {**ROUTE, "id": "1", "severity": "urgent", "hours": ""}).status_code == 303
        with site.store.read() as conn:
            (route,) = tables.routes(conn)
        assert (route.severity, route.hours, route.families, route.scope) == ("urgent", "", (), EVERYWHERE)
        assert post(client, {"act": "remove_route", "id": "1"}).status_code == 303
        gone = post(client, {"act": "remove_route", "id": "1"})
    assert gone.status_code == 400
    assert "is not there" in gone.text
    with site.store.read() as conn:
        acts = conn.execute(sa.select(schema.decisions.c.act, schema.decisions.c.reason, schema.decisions.c.is_proven))
        assert [tuple(row) for row in acts if row.act == "routing_changed"] == [
            ("routing_changed", why, True) for why in ("added", "changed", "removed")
        ]


def test_a_plan_is_kept_shown_again_and_not_removed_under_its_route(site) -> None:
    with site.client() as client:
        assert post(client, {**PLAN, "after-4": "4h", "target-4": "role admin"}).status_code == 303
        page = client.get("/routing?plan=night").text
        assert 'value="rota desk | role desk"' in field(page, "plan-target-0")
        assert 'value="4h"' in field(page, "plan-after-1")  # without the empty ones in between
        assert post(client, {**ROUTE, "plan": "night"}).status_code == 303
        kept = post(client, {"act": "remove_plan", "name": "night"})
        assert "a route goes by it" in kept.text
        assert post(client, {"act": "remove_route", "id": "1"}).status_code == 303
        assert post(client, {"act": "remove_plan", "name": "night"}).status_code == 303
    with site.store.read() as conn:
        assert list(tables.plans(conn)) == ["example"]


def test_a_rota_keeps_its_overrides_when_its_people_change(site) -> None:
    times = {"from_time": "2026-11-01T00:00", "to_time": "2027-01-01T00:00"}
    with site.client() as client:
        assert post(client, ROTA).status_code == 303
        assert (
            post(client, {"act": "override", "rota": "1", "person": "", **times, "reason": "flood"}).status_code == 303
        )
        page = client.get("/routing?rota=1").text
        assert 'value="2026-11-01T09:00"' in field(page, "rota-from_time")
        assert '<option value="dawud" selected>' in page.partition('id="rota-member-1"')[2].partition("</select>")[0]
        assert post(client, {**ROTA, "id": "1", "member-0": "", "holidays": "1"}).status_code == 303
    with site.store.read() as conn:
        (rota,) = tables.rotas(conn)
    assert (rota.members, rota.turn_s, rota.on_holidays) == (("dawud",), 86_400, True)
    assert [one.reason for one in rota.overrides] == ["flood"]


@pytest.mark.parametrize(
    ("form", "wrong", "problem", "at"),
    [
        (ROUTE, {"hours": "never"}, "must be such as", "route-hours"),
        (ROUTE, {"plan": "gone"}, "is not there", "route-plan"),
        (ROUTE, {"severity": HOSTILE}, "is none; use one of", "route-severity"),
        (ROUTE, {"lang": "xx"}, "is none; use", "route-lang"),
        (PLAN, {"name": f"two {HOSTILE}"}, "must be a word", "plan-name"),
        (PLAN, {"after-1": "soon", "target-1": "operator"}, "is none; write such as", "plan-after-1"),
        (PLAN, {"after-1": "5m", "target-1": HOSTILE}, "is none; write", "plan-target-1"),
        (PLAN, {"after-0": "", "target-0": ""}, "has 0 steps", "plan-after-0"),
        (PLAN, {"after-0": "99999d"}, "0 to 30 days", "plan-after-0"),
        (ROTA, {"name": ""}, "must be a word", "rota-name"),
        (ROTA, {"turn": "long"}, "is none; write such as", "rota-turn"),
        (ROTA, {"from_time": "2026-13-01T00:00"}, "must be such as", "rota-from_time"),
        (ROTA, {"hours": "never"}, "must be such as", "rota-hours"),
        (ROTA, {"member-0": "", "member-1": ""}, "has no members", "rota-member-0"),
        (ROTA, {"member-0": "stranger"}, "has no account", "rota-member-0"),
    ],
)
def test_a_mistake_is_said_at_its_field_and_what_was_typed_is_kept(
    site, form: dict[str, str], wrong: dict[str, str], problem: str, at: str
) -> None:
    given = {**form, "district": "Lahore", **wrong}
    with site.client() as client:
        refused = post(client, given)
        urdu = client.post("/routing?lang=ur", data={"mark": MARK.search(refused.text)[1], **given})  # type: ignore[index]
    assert refused.status_code == urdu.status_code == 400
    assert f'aria-describedby="{at}-why"' in field(refused.text, at)
    said = refused.text.partition(f'id="{at}-why"')[2].partition("</p>")[0]
    assert problem in re.sub(r"<[^>]+>", "", said)
    assert re.search("[\u0600-\u06ff]", urdu.text.partition(f'id="{at}-why"')[2].partition("</p>")[0])
    assert HOSTILE not in refused.text
    kept = {name: text for name, text in given.items() if name in ("hours", "name", "after-0", "district", "turn")}
    for name, text in kept.items():
        shown = field(refused.text, f"{form['act']}-{name}" if name != "district" else f"district-{form['act']}") if (
            name != "district" or form is not PLAN
        ) else f'value="{text}"'  # fmt: skip
        assert f'value="{text.replace("<", "&lt;").replace(">", "&gt;")}"' in shown


def test_an_auditor_sees_no_form(site, cast) -> None:
    cookie = cast.add_account(site.store, "Zara", "auditor")
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        assert '<form method="post" action="/routing"' not in client.get("/routing").text
        assert '<form method="post" action="/windows"' not in client.get("/windows").text
