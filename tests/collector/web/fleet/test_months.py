"""The months that were reported: how many centers, what is open, what was revised."""

from __future__ import annotations

import re
import zlib
from datetime import datetime
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from collector.common.scope import Scope
from collector.reports.fleet.summary import BodyCenter, BodyCriterion, BodyMinutes, ReportBody
from collector.store import schema
from collector.web.fleet.monthly import months_of
from collector.web.site import ZONE

HOSTILE = "<script>alert(1)</script>"


def begins(month: int) -> int:
    return int(datetime(2026, month, 1, tzinfo=ZONE).timestamp() * 1000)


@pytest.fixture
def site(served, cast) -> Any:
    """October of two centers, one of them revised and open again; September of one."""
    cast.insert(
        served.store, schema.centers, [cast.center_row("LHE-0001", 0, name=HOSTILE), cast.center_row("KHI-0002", 1)]
    )
    base = {"opened_ms": 1, "why": "{}", "marks": 0}
    reports = [("LHE-0001", 10, 1, 5), ("LHE-0001", 10, 2, None), ("KHI-0002", 10, 1, 5), ("LHE-0001", 9, 1, 5)]
    cast.insert(served.store, schema.reports, [
        base | {"center": code, "from_ms": begins(month), "revision": revision, "closed_ms": closed_ms}
        for code, month, revision, closed_ms in reports
    ])  # fmt: skip
    return served


def test_each_month_is_counted_by_the_newest_revision_of_each_center(site) -> None:
    with site.store.read() as conn:
        everywhere = [tuple(row) for row in months_of(conn, Scope())]
        sindh = [tuple(row) for row in months_of(conn, Scope(province=frozenset({"Sindh"})))]
    assert everywhere == [(begins(10), 2, 1, 1), (begins(9), 1, 0, 0)]
    assert sindh == [(begins(10), 1, 0, 0)]


def test_a_month_leads_to_its_centers_what_is_open_first(site, cast) -> None:
    with site.client() as client:
        page = client.get("/months?month=2026-10").text
        assert page.index("LHE-0001") < page.index("KHI-0002")
        assert HOSTILE not in page
        for strange in ("2026-13", "2026-9", "x", "9999-99", "2025-01", "0001-01"):
            assert client.get(f"/months?month={strange}").status_code == 200
    cookie = cast.add_account(site.store, "Quetta", "auditor", Scope(province=frozenset({"Balochistan"})))
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        assert "No month has been reported" in client.get("/months?month=2026-10").text


def test_a_month_shows_verdicts_by_group_and_leads_to_the_centers_of_one(site, cast) -> None:
    for code, province, verdict in (("LHE-0001", "Punjab", "meets"), ("KHI-0002", "Sindh", "below")):
        center = BodyCenter(code=code, name=code, province=province)
        body = ReportBody(center=center, ledger={"open": 60, "up": 30}, minutes=BodyMinutes(30, 60),
                          criteria=(BodyCriterion("internet.loss", verdict),))  # fmt: skip
        with site.store.write() as conn:
            closed = (schema.reports.c.center == code) & schema.reports.c.closed_ms.is_not(None)
            packed = zlib.compress(msgspec.json.encode(body))
            conn.execute(sa.update(schema.reports).where(closed).values(body=packed))
            score = {"center": code, "month": "2026-10", "score": 40.0 if verdict == "below" else 1.0}
            conn.execute(sa.insert(schema.scores), [score | {"rules": "x", "made_ms": 1, "reasons": "[]"}])
    with site.client() as client:
        page = client.get("/months?month=2026-10").text
        sindh = client.get("/months?month=2026-10&by=province&group=Sindh").text
        none = client.get("/months?month=2026-10&by=colour&group=Nowhere").text
    assert 'href="/months?month=2026-10&amp;by=province&amp;group=Sindh"' in page
    assert re.search(r"50\.0.%", page)
    assert page.count("a visit is advised") == 1
    assert "Notice to the owner" in page
    assert 'href="/centers/KHI-0002/months/2026-10"' in page
    assert ("KHI-0002/months" in sindh, "LHE-0001/months" in sindh) == (True, False)
    assert "/months/2026-10" not in none


def test_the_page_of_a_center_says_what_its_months_come_to_and_that_it_binds_nobody(site, cast) -> None:
    center = BodyCenter(code="LHE-0001", name=HOSTILE)
    body = ReportBody(center=center, ledger={}, criteria=(BodyCriterion("internet.loss", "below"),))
    with site.store.write() as conn:
        rows = sa.update(schema.reports).where(schema.reports.c.closed_ms.is_not(None))
        conn.execute(rows.values(body=zlib.compress(msgspec.json.encode(body))))
    with site.client() as client:
        waiting = client.get("/centers/LHE-0001").text
        page = client.get("/centers/KHI-0002").text
        urdu = client.get("/centers/KHI-0002?lang=ur").text
    assert re.search(r"Consequence .*2026-09", waiting), "October's newest revision is open"
    assert re.search(r"Consequence .*2026-10.*: <b>Notice to the owner</b> <small>\(example, not official\)", page)
    assert "Notice" not in urdu
