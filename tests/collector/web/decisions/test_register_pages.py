"""Pages of the calendar, of facts with their history, and of what waits for a second person."""

from __future__ import annotations

from typing import Any

import pytest

from collector.register import calendar, centers, facts
from collector.register.calendar import CalendarEntry
from collector.store import schema
from tests.collector.web.decisions.test_dispute_pages import HOSTILE, logged_in, send

CODE = "LHE-0001"


@pytest.fixture
def site(served, cast) -> Any:
    """A center with a fact of a past day that waits, and a day of the moon."""
    cast.insert(served.store, schema.centers, [cast.center_row(CODE, 0, owner="Old Trust")])
    day = cast.NOW_MS - cast.NOW_MS % cast.DAY_MS
    how = facts.Recording(from_ms=day - 9 * cast.DAY_MS, now_ms=cast.NOW_MS, today_ms=day, by="Ali", reason=HOSTILE)
    moon = CalendarEntry(
        kind="holiday", scope="all", from_ms=day + 5 * cast.DAY_MS, to_ms=day + 6 * cast.DAY_MS, name="Eid",
        name_ur="عید", is_estimated=True, recorded_ms=cast.NOW_MS, recorded_by="Ali", reason="moon",
    )  # fmt: skip
    with served.store.write() as conn:
        centers.set_fact(conn, CODE, "owner", HOSTILE, how)
        calendar.add(conn, [moon])
    return served


CLOSURE = {
    "act": "add", "kind": "closure", "scope": "center", "subject": CODE, "from": "2026-11-02", "to": "2026-11-03",
    "reason": HOSTILE,
}  # fmt: skip


def states(site) -> dict[str, str]:
    with site.store.read() as conn:
        return {one.kind: one.state for one in calendar.listed(conn, 0, 2**53)}


def test_a_closure_is_proposed_by_one_and_approved_by_another(site, cast) -> None:
    with logged_in(site, cast, "Dana", "desk") as client:
        assert send(client, "/calendar", "/calendar", **CLOSURE).status_code == 303
        assert HOSTILE not in client.get("/calendar").text
        assert 'name="act" value="confirm"' not in client.get("/confirmations").text  # desks propose
    assert states(site)["closure"] == "waiting"
    with logged_in(site, cast, "Sara", "auditor") as client:
        page = client.get("/confirmations").text
        assert HOSTILE not in page
        with site.store.read() as conn:
            number = str(next(one.id for one in calendar.listed(conn, 0, 2**53) if one.kind == "closure"))
        entry = {"kind": "entry", "id": number}
        refused = send(client, "/confirmations", "/confirmations", act="refuse", **entry)
        assert refused.status_code == 400
        assert "with a reason" in refused.text
        assert send(client, "/confirmations", "/confirmations", act="confirm", **entry).status_code == 303
        assert send(client, "/confirmations", "/confirmations", act="refuse", reason="x", **entry).status_code == 400
    assert states(site)["closure"] == "holds"


def test_who_proposed_does_not_approve(site, cast) -> None:
    with logged_in(site, cast, "Sara", "auditor") as client:
        send(client, "/calendar", "/calendar", **CLOSURE)
        with site.store.read() as conn:
            number = str(next(one.id for one in calendar.listed(conn, 0, 2**53) if one.kind == "closure"))
        page = client.get("/confirmations").text
        assert "You recorded this" in page
        own = send(client, "/confirmations", "/confirmations", act="confirm", kind="entry", id=number)
        assert own.status_code == 400
        assert send(client, "/calendar", "/calendar", act="confirm", id=number).status_code == 400
    assert states(site)["closure"] == "waiting"


def test_a_day_of_the_moon_is_confirmed_on_the_day_it_came(site, cast) -> None:
    with logged_in(site, cast, "Dana", "desk") as client:
        page = client.get("/calendar?lang=ur").text
        assert "عید" in page
        with site.store.read() as conn:
            (held,) = calendar.listed(conn, 0, 2**53)
        wrong = send(client, "/calendar", "/calendar", act="confirm", id=str(held.id), on="2026-13-40")
        assert wrong.status_code == 400
        day = {"act": "confirm", "id": str(held.id), "on": "2026-11-24"}
        assert send(client, "/calendar", "/calendar", **day).status_code == 303
    with site.store.read() as conn:
        (found,) = calendar.listed(conn, 0, 2**53)
    assert (found.state, found.confirmed_by) == ("holds", "Dana")
    assert found.from_ms == calendar.begins_ms(calendar.date(2026, 11, 24))


@pytest.mark.parametrize(("act", "owner"), [("confirm", HOSTILE), ("refuse", "Old Trust")])
def test_a_fact_of_a_past_day_waits_for_another_person(site, cast, act: str, owner: str) -> None:
    with logged_in(site, cast, "Sara", "auditor") as client:
        history = client.get(f"/centers/{CODE}/facts").text
        assert HOSTILE not in history
        assert "Waits" in history
        with site.store.read() as conn:
            (fact,) = facts.waiting(conn)
        given = {"act": act, "kind": "fact", "id": str(fact.id), "reason": "seen"}
        assert send(client, "/confirmations", "/confirmations", **given).status_code == 303
        assert "Waits" not in client.get(f"/centers/{CODE}/facts").text
        assert send(client, "/confirmations", "/confirmations", **given).status_code == 400
        for strange in ({"id": "x"}, {"act": "eat"}, {"kind": "center"}):
            assert send(client, "/confirmations", "/confirmations", **{**given, **strange}).status_code == 400
    with site.store.read() as conn:
        assert centers.get(conn, CODE).owner == owner


@pytest.mark.parametrize(
    "change",
    [{"from": ""}, {"from": "x"}, {"kind": "dispute"}, {"scope": "moon"}, {"reason": ""}, {"to": "2026-11-01"}],
)
def test_what_is_no_entry_is_refused_and_what_was_typed_is_kept(site, cast, change: dict[str, str]) -> None:
    with logged_in(site, cast, "Dana", "desk") as client:
        refused = send(client, "/calendar", "/calendar", **{**CLOSURE, **change})
    assert refused.status_code == 400
    assert f'value="{CODE}"' in refused.text
    assert "closure" not in states(site)
