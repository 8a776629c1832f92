"""The four people without a mouse: each task by keys alone, and on a telephone by taps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.pages import chromium
from tests.helpers.pages.country import country
from tests.helpers.pages.reader import PHONE, beyond, reader, violations

expect.set_options(timeout=60_000)

chromium.needed()

pytestmark = pytest.mark.slow
MOST_TABS = 60
LANGS = pytest.mark.parametrize("lang", ["en", "ur"])
CALLS = """() => { window.called = []; addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='tel:']");
    if (link) { window.called.push(link.getAttribute("href")); event.preventDefault(); } }); }"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, standards, cast) -> Iterator[Any]:
    with country(tmp_path_factory.mktemp("keyboard"), standards, cast) as served:
        yield served


def tab_to(page: Page, place: str) -> int:
    """Tab until this has the focus; how many times."""
    for presses in range(1, MOST_TABS + 1):
        page.keyboard.press("Tab")
        if page.evaluate("place => document.activeElement.matches(place)", place):
            shown = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
            assert shown != "none", f"{place}: has the focus and does not show it"
            return presses
    raise AssertionError(f"{place}: {MOST_TABS} times Tab do not lead there")


# ---------------------------------------------------------------- the desk


def test_the_right_person_is_called_with_two_keys(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/now")
        expect(page.locator('.live[data-live="on"]')).to_be_visible()
        page.evaluate(CALLS)
        page.keyboard.press("j")
        page.keyboard.press("c")
        assert page.evaluate("window.called") == ["tel:+92211234567"]
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_contain_text("call whom the next step names")
        page.keyboard.press("Escape")
        expect(page.locator("#keys")).to_be_hidden()


def test_an_incident_is_read_and_noted_by_keyboard_and_the_row_is_kept(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/now")
        expect(page.locator('.live[data-live="on"]')).to_be_visible()
        page.keyboard.press("j")
        page.keyboard.press("j")
        row = page.evaluate("document.activeElement.closest('tr').id")
        page.keyboard.press("n")
        expect(page.locator("#panel-note")).to_be_focused()
        page.keyboard.type("LESCO says until 18:00 <b>")
        page.keyboard.press("Enter")
        expect(page.locator("#panel")).to_contain_text("LESCO says until 18:00 <b>")
        expect(page.locator(f"#{row}.current")).to_be_visible()


@LANGS
def test_a_feeder_is_acknowledged_on_a_telephone_with_three_taps(browser: Browser, site, desk: str, lang: str) -> None:
    with reader(browser, site.url, session=desk, viewport=PHONE, lang=lang, has_touch=True) as page:
        page.goto(f"/now?lang={lang}")
        row = page.locator("#list tr.row").last
        number = row.get_attribute("id") or ""
        row.locator("th a").tap()
        expect(page.locator(f'#panel h2 a[href="/incidents/{number.removeprefix("i-")}"]')).to_be_visible()
        acts = page.locator("#panel ol li", has_text="Dua")
        before = acts.count()  # of the other language
        page.locator("#panel button[value=ack]").tap()
        expect(acts).to_have_count(before + 1)
        assert beyond(page) == []
        assert violations(page) == []


def test_a_center_is_found_by_its_code_and_opened_without_a_mouse(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/")
        page.keyboard.press("/")
        page.keyboard.type("khi-0001")
        expect(page.locator("#list tbody tr")).to_have_count(1)
        expect(page.locator("#q")).to_be_focused()
        tab_to(page, "#c-KHI-0001 th a")
        page.keyboard.press("Enter")
        page.wait_for_url("**/centers/KHI-0001")


def test_all_rows_of_a_search_are_shown_after_the_first_screen(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/")
        page.keyboard.press("/")
        page.keyboard.type("e")
        page.wait_for_url("**q=e**")
        expect(page.locator("#list tbody")).to_have_count(2)
        expect(page.locator("#list tbody tr").nth(49)).to_be_visible()
        assert page.locator("#list tbody tr").count() == 50


# ---------------------------------------------------------------- the auditor


def test_a_month_of_a_center_is_reached_by_keyboard_and_says_what_it_rests_on(
    browser: Browser, site, auditor: str
) -> None:
    with reader(browser, site.url, session=auditor) as page:
        page.goto("/months?month=2026-10")
        tab_to(page, "main a[href*='KHI-0001']")
        page.keyboard.press("Enter")
        expect(page.locator("main h1, main h2").first).to_be_visible()
        assert "KHI-0001" in page.url
        assert violations(page) == []


@LANGS
def test_months_and_proof_are_read_on_a_telephone(browser: Browser, site, auditor: str, lang: str) -> None:
    with reader(browser, site.url, session=auditor, viewport=PHONE, lang=lang) as page:
        for path in ("/months?month=2026-10", "/proof", "/disputes", "/standards"):
            page.goto(path)
            expect(page.locator("h1").first).to_be_attached()
            assert beyond(page) == [], path
            assert violations(page) == [], path


# ---------------------------------------------------------------- the operator


def test_an_operator_disagrees_by_keyboard_once_and_what_a_second_time_is_refused_stays_typed(
    browser: Browser, site, operator: str
) -> None:
    with reader(browser, site.url, session=operator, lang="ur", viewport=PHONE, refuses=True) as page:
        for words in ("بجلی تھی <b>", "اب بھی تھی"):
            page.goto("/mine")
            tab_to(page, "main a[href^='/disputes']")
            page.keyboard.press("Enter")
            page.wait_for_url("**/disputes?**")
            tab_to(page, "#text")
            page.keyboard.type(words)
            tab_to(page, "form.decide button")
            page.keyboard.press("Enter")
            expect(page.locator("main")).to_contain_text(words)
        expect(page.locator("#why")).to_be_visible()
        assert page.input_value("#text") == "اب بھی تھی"
        assert beyond(page) == []


# ---------------------------------------------------------------- the admin


@LANGS
def test_a_token_is_made_by_keyboard_and_its_code_is_drawn_on_a_telephone(
    browser: Browser, site, cast, lang: str
) -> None:
    cookie = cast.add_account(site.store, "Adeel", "admin")
    with reader(browser, site.url, session=cookie, viewport=PHONE, lang=lang) as page:
        page.goto("/setup")
        tab_to(page, "#center")
        page.keyboard.type("KHI-0001")
        tab_to(page, "#password")
        page.keyboard.type(cast.PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("img.qr")).to_be_visible()
        assert page.locator("img.qr").evaluate("picture => picture.naturalWidth") > 0
        assert beyond(page) == []
        assert violations(page) == []


def test_a_token_of_a_code_that_is_none_keeps_what_was_typed(browser: Browser, site, cast) -> None:
    cookie = cast.add_account(site.store, "Adeel", "admin")
    with reader(browser, site.url, session=cookie, refuses=True) as page:
        page.goto("/setup")
        page.fill("#center", "KHI-9999")
        page.fill("#password", cast.PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("[role=alert]").first).to_be_visible()
        assert page.input_value("#center") == "KHI-9999"
        assert page.input_value("#password") == ""
