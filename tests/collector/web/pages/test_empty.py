"""Where there is nothing to show, a page says why and what to do next, to each reader what is theirs to do."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from collector.common.scope import EVERYWHERE, Scope
from collector.store import schema
from collector.web import auth
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import DESKTOP, PHONE, beyond, reader, violations

chromium.needed()

IMPORT, FIRST = "nabz-collector center import FILE.csv", 'href="/setup"'
LONG = "Sardar Bahadur Khan Women’s Digital Freelancing Center, Government Postgraduate College Dera Ghazi Khan"
URDU = "خواتین کے لیے ڈیجیٹل روزگار کا مرکز، گورنمنٹ پوسٹ گریجویٹ کالج ڈیرہ غازی خان، بلاک نمبر سترہ"


@pytest.mark.parametrize("path", ["/", "/map", "/now"])
def test_an_empty_register_leads_the_admin_to_the_first_steps_and_others_to_the_admin(served, cast, path: str) -> None:
    desk = cast.add_account(served.store, "Dua", "desk", EVERYWHERE)
    with served.client() as client:
        assert FIRST in client.get(path).text.partition("<main")[2]
        client.cookies.set(auth.COOKIE, desk)
        page = client.get(path).text.partition("<main")[2]
        assert "An admin adds the centers." in page
        assert IMPORT not in page
        assert FIRST not in page


def test_who_has_no_center_is_not_told_that_the_register_is_empty(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHE-0001")])
    owner = cast.add_account(served.store, "Omar", "operator", Scope(owner=frozenset({"Somebody else"})))
    with served.client() as client:
        client.cookies.set(auth.COOKIE, owner)
        for path in ("/", "/map"):
            page = client.get(path).text
            assert "No center is yours yet" in page
            assert "register is empty" not in page


def test_a_quiet_desk_leads_to_the_centers_and_to_what_is_over(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHE-0001")])
    with served.client() as client:
        page = client.get("/now").text
        assert "/?state=below" in page
        assert "/incidents?state=resolved" in page
        assert client.get("/incidents?state=resolved").status_code == 200


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_pages_with_nothing_on_them_are_whole(browser: Browser, served, cast, lang: str) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHE-0001")])
    for viewport in (DESKTOP, PHONE):
        with reader(browser, served.url, lang=lang, reduced_motion="reduce", viewport=viewport) as page:
            for path in ("/now", "/now?wall=1", "/?q=zzz", "/map", "/months", "/incidents?state=resolved"):
                page.goto(path)
                if path == "/map":  # a center without a place draws nothing
                    expect(page.locator("#unplaced")).to_be_visible()
                assert (beyond(page), violations(page)) == ([], []), path


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_a_long_name_is_cut_at_its_own_end_and_its_code_stays(browser: Browser, served, cast, lang: str) -> None:
    rows = [cast.center_row("LHE-0001", name=LONG), cast.center_row("LHE-0002", name=URDU)]
    cast.insert(served.store, schema.centers, rows)
    with reader(browser, served.url, lang=lang) as page:
        page.goto("/")
        for code, direction in (("LHE-0001", "ltr"), ("LHE-0002", "rtl")):
            name, cell = page.locator(f"#c-{code} th a bdi"), page.locator(f"#c-{code} th")
            assert name.evaluate("(one) => [getComputedStyle(one).direction, one.scrollWidth > one.clientWidth]") == [
                direction, True,
            ]  # fmt: skip
            assert cell.evaluate("(one) => one.scrollWidth <= one.clientWidth"), "the code is cut away"


def test_one_menu_is_open_and_escape_or_a_click_beside_it_ends_it(browser: Browser, served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHE-0001")])
    with reader(browser, served.url) as page:
        page.goto("/")
        opened = page.locator("details.menu[open]")
        columns, appearance = page.get_by_text("Columns"), page.get_by_text("Appearance")
        columns.click()
        appearance.click()
        expect(opened).to_have_count(1)
        page.keyboard.press("Escape")
        expect(opened).to_have_count(0)
        expect(page.locator("summary", has_text="Appearance")).to_be_focused()
        columns.click()
        page.locator("h1").click()
        expect(opened).to_have_count(0)


def test_on_a_telephone_signs_stand_for_words_that_are_still_read_out(browser: Browser, served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHE-0001")])
    with reader(browser, served.url, lang="ur", viewport=PHONE) as page:
        page.goto("/")
        summaries = page.locator(".corner summary")
        assert summaries.all_inner_texts() == [cast.ADMIN, "ظاہری شکل"]
        assert [one["height"] < 60 for one in [page.locator(".corner").bounding_box() or {"height": 99}]] == [True]
        tops = page.locator(".brand, .live, .corner").evaluate_all("(all) => all.map((one) => one.offsetTop < 40)")
        assert tops == [True, True, True], "the head takes a second line"
