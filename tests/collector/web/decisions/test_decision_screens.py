"""The pages on which people decide, in a real browser: axe finds nothing, nothing is scrolled sideways on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from collector.acts import disputes, inspections
from collector.acts.person import ActingPerson
from collector.register import calendar, centers, facts
from collector.reports.disputes.dispute import Filing
from collector.store import schema
from tests.collector.empty_stores import empty_store
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import PHONE, beyond, reader, violations

CODE = "KHI-0001"
PAGES = (
    "/months", "/disputes", "/disputes/1", "/standards", "/drafts", "/proof", "/visits", "/calendar", "/confirmations",
    f"/centers/{CODE}/facts", f"/centers/{CODE}/inspection",
)  # fmt: skip

chromium.needed()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, standards, cast) -> Iterator[Any]:
    """Something on every page: a dispute, a list of visits, holidays, a closure and a fact that wait."""
    folder = tmp_path_factory.mktemp("decisions")
    store = empty_store(folder / "nabz.sqlite")
    cast.insert(store, schema.centers, [cast.center_row(CODE, 1)])
    who = ActingPerson(name="Sara Malik", now_ms=cast.NOW_MS)
    day = cast.NOW_MS - 20 * cast.DAY_MS
    how = facts.Recording(from_ms=day, now_ms=cast.NOW_MS, today_ms=cast.NOW_MS, by="Ali", reason="the new lease")
    closure = calendar.CalendarEntry(
        kind="closure", scope="center", subject=CODE, from_ms=day, to_ms=day + cast.DAY_MS, recorded_ms=cast.NOW_MS,
        recorded_by="Ali", reason="flood in the street",
    )  # fmt: skip
    with store.write() as conn:
        filing = Filing(center=CODE, month="2026-11", day="2026-11-05", text="The mast of the provider fell.")
        disputes.file(conn, filing, who, standards, 30)
        inspections.publish(conn, b"secret", "2026-11", 1, who)
        centers.set_fact(conn, CODE, "owner", "Sindh Trust", how)
        holidays = calendar.public_holidays(2026, "Ali", cast.NOW_MS) + calendar.public_holidays(
            2027, "Ali", cast.NOW_MS
        )
        calendar.add(conn, [*holidays, closure])
    with cast.serve(store, standards, folder) as served:
        yield served
    store.close()


@pytest.mark.parametrize(
    ("scheme", "lang"),
    [
        ("dark", "ur"), pytest.param("light", "en", marks=pytest.mark.slow),
        pytest.param("light", "ur", marks=pytest.mark.slow), pytest.param("dark", "en", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_axe_finds_nothing(browser: Browser, site, scheme: str, lang: str) -> None:
    with reader(browser, site.url, lang=lang, color_scheme=scheme, reduced_motion="reduce", viewport=PHONE) as page:
        for path in PAGES:
            page.goto(path)
            assert (beyond(page), violations(page)) == ([], []), f"{path} {scheme} {lang}"
