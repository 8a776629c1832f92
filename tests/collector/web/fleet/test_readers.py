"""People who read otherwise: on paper, enlarged, in another time zone, with names that do not fit, with a file to take
along."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, expect

from collector.store import schema
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import PHONE, beyond, reader

expect.set_options(timeout=60_000)

chromium.needed()

PAGES = ("/now", "/", "/map", "/centers/KHI-0001", "/months", "/setup", "/incidents", "/contacts", "/routing")
HALF = {"width": 683, "height": 384}  # of a window of 1366 x 768 at 200 %
LONG = "GovernmentWomenVocationalTrainingInstitute" * 4
pytestmark = pytest.mark.slow


def test_paper_has_the_list_in_ink_on_white_without_what_is_to_be_clicked(browser: Browser, fleet: Any) -> None:
    with reader(browser, fleet.url, color_scheme="dark") as page:
        page.goto("/?state=below&theme=dark")
        page.emulate_media(media="print")
        for place in (".top nav", ".filters", ".live", ".views"):
            expect(page.locator(place).first).to_be_hidden()
        expect(page.locator("#list tbody tr").first).to_be_visible()
        style = "getComputedStyle(document.querySelector('#list tbody th a'))"
        assert page.evaluate(f"{style}.color") == "rgb(23, 32, 29)"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_enlarged_to_twice_its_size_a_page_is_read_without_scrolling_sideways(
    browser: Browser, fleet: Any, lang: str
) -> None:
    with reader(browser, fleet.url, lang=lang, viewport=HALF, device_scale_factor=2) as page:
        for path in PAGES:
            page.goto(path)
            assert beyond(page) == [], path


def test_a_reader_in_london_sees_the_times_of_karachi(browser: Browser, fleet: Any, cast: Any) -> None:
    with reader(browser, fleet.url, timezone_id="Europe/London") as page:
        page.goto("/centers/KHI-0001")
        heard = page.locator(f'time[data-ms="{cast.NOW_MS - 20_000}"]').first
        expect(heard).to_have_attribute("title", "2026-11-18 16:06")
        expect(page.locator("footer")).to_contain_text("Pakistan Standard Time")
        expect(page.locator("#charts canvas")).to_have_count(4)
        assert page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone") == "Europe/London"


def test_what_the_list_shows_is_taken_along_as_a_file(browser: Browser, fleet: Any, tmp_path: Path) -> None:
    with reader(browser, fleet.url, accept_downloads=True) as page:
        page.goto("/?state=silent")
        shown = page.locator("#list tbody tr").evaluate_all("rows => rows.map(row => row.id.slice(2))")
        for kind in ("CSV", "XLSX"):
            with page.expect_download() as load:
                page.get_by_role("link", name=kind).click()
            load.value.save_as(tmp_path / kind)
        rows = list(csv.reader(io.StringIO((tmp_path / "CSV").read_text("utf-8-sig"))))
        assert [row[0] for row in rows[1:]] == shown
        sheet = zipfile.ZipFile(tmp_path / "XLSX").read("xl/sharedStrings.xml").decode()
        assert all(code in sheet for code in shown)


def test_a_name_without_a_space_breaks_no_page(browser: Browser, served: Any, cast: Any) -> None:
    cast.add_fleet(served.store, 20)
    cast.add_full_center(served.store, "KHI-0001")
    with served.store.write() as conn:
        long = dict.fromkeys(("name", "owner", "isp", "feeder"), LONG)
        conn.execute(sa.update(schema.centers).where(schema.centers.c.center == "KHI-0001").values(long))
    for window in (PHONE, {"width": 1366, "height": 768}):
        with reader(browser, served.url, viewport=window) as page:
            for path in ("/", "/centers/KHI-0001", "/centers/KHI-0001/facts", "/map"):
                page.goto(path)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= window["width"], f"{path} {window}"


def test_an_empty_register_says_on_every_page_what_comes_first(browser: Browser, served: Any) -> None:
    with reader(browser, served.url) as page:
        for path in ("/", "/map"):
            page.goto(path)
            expect(page.locator(".empty code")).to_have_text("nabz-collector center import FILE.csv")
        page.goto("/setup")
        expect(page.locator("ol.first li")).to_have_count(5)
        page.locator("ol.first a[href='#token']").click()
        expect(page.locator("#token")).to_be_in_viewport()
