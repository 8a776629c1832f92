"""The months that were reported: how many centers, what is open, what was revised."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from collector.common.scope import Scope
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
        for strange in ("2026-13", "x", "9999-99", "2025-01", "0001-01"):
            assert client.get(f"/months?month={strange}").status_code == 200
    cookie = cast.add_account(site.store, "Quetta", "auditor", Scope(province=frozenset({"Balochistan"})))
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        assert "No month has been reported" in client.get("/months?month=2026-10").text
