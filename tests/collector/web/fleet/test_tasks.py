"""What people come to do, as they do it: each task in a real browser, with the keys, clicks and seconds it takes.

One browser and one collector for all four people. Seconds are of a machine that does other things meanwhile, so they
are asserted of what a person waits for, never of a single answer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from collector.store import center_states, schema
from tests.helpers.pages import chromium
from tests.helpers.pages.country import country
from tests.helpers.pages.reader import PHONE, beyond, reader, violations
from tests.helpers.pages.relay import relay

expect.set_options(timeout=60_000)

chromium.needed()

TEN_S, TWO_MINUTES_S = 40.0, 480.0  # four times what is meant: the suite shares its cores
LANGS = pytest.mark.parametrize("lang", ["en", "ur"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, standards, cast) -> Iterator[Any]:
    """Sixty centers with their incidents, telephone numbers, a closed month, and an account of each role."""
    with country(tmp_path_factory.mktemp("tasks"), standards, cast) as served:
        yield served


class Hand:
    """Counts the keys and clicks of a task."""

    def __init__(self, page: Page) -> None:
        self._page, self.acts = page, 0

    def press(self, key: str) -> None:
        self.acts += 1
        self._page.keyboard.press(key)

    def click(self, place: str) -> None:
        self.acts += 1
        self._page.locator(place).first.click()


# ---------------------------------------------------------------- the five tasks


@LANGS
def test_what_is_wrong_in_the_country_is_seen_within_ten_seconds(browser: Browser, site, desk: str, lang: str) -> None:
    with reader(browser, site.url, session=desk, lang=lang) as page:
        began_s = time.monotonic()
        page.goto("/")
        page.goto(page.locator("a.brand").get_attribute("href") or "/")  # the room that the desk begins with
        expect(page.locator("#list tr.row").first).to_be_visible()
        assert time.monotonic() - began_s < TEN_S
        assert re.match(r"\(\d+\) ", page.title()), "the tab counts what is wrong"
        above = page.locator("#list tr.row").first.bounding_box()
        assert above is not None
        assert above["y"] < 400, "without scrolling"


def test_an_incident_is_acknowledged_with_two_keys(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/now")
        expect(page.locator('.live[data-live="on"]')).to_be_visible()
        row = page.locator("#list tr.row").first.get_attribute("id")
        hand = Hand(page)
        hand.press("j")
        hand.press("a")
        expect(page.locator(f"#{row} .state")).to_contain_text("Acknowledged")
        assert hand.acts <= 3


def test_the_right_person_is_called_with_one_click(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/now")
        link = page.locator("#list .next a[href^='tel:']").first
        expect(link).to_be_visible()
        assert link.get_attribute("href") == "tel:+92211234567"


@pytest.mark.slow
def test_march_is_proven_within_two_minutes(browser: Browser, site, auditor: str) -> None:
    with reader(browser, site.url, session=auditor) as page:
        began_s = time.monotonic()
        page.goto("/months?month=2026-10")
        hand = Hand(page)
        hand.click("a[href*='KHI-0001']")
        expect(page.locator("main h1, main h2").first).to_be_visible()
        assert time.monotonic() - began_s < TWO_MINUTES_S
        assert hand.acts <= 3


@pytest.mark.slow
@LANGS
def test_an_owner_sees_what_to_fix_first_within_ten_seconds(browser: Browser, site, operator: str, lang: str) -> None:
    with reader(browser, site.url, session=operator, viewport=PHONE, lang=lang) as page:
        began_s = time.monotonic()
        page.goto("/mine")
        expect(page.locator("ol.first li").first).to_be_visible()
        assert time.monotonic() - began_s < TEN_S
        assert page.locator("html").get_attribute("lang") == "ur", "until somebody chooses"


# ---------------------------------------------------------------- the desk


@pytest.mark.slow
def test_the_hand_over_note_is_read_by_the_next_shift(browser: Browser, site, desk: str, cast) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/now")
        page.get_by_text("Write a note for the next shift").click()
        page.get_by_label("What the next shift must know").fill("PTCL works on <Lahore> until 18:00")
        page.locator("details.handover button").click()
        expect(page.locator("p.handover")).to_contain_text("PTCL works on <Lahore> until 18:00")
    with reader(browser, site.url) as page:
        page.goto("/now")
        expect(page.locator("p.handover")).to_contain_text("Dua")
        assert violations(page) == []


@pytest.mark.slow
def test_several_incidents_are_taken_at_once(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/now?tab=free")
        boxes = page.locator("#list tbody input[name=n]")
        for place in (0, 1):
            boxes.nth(place).check()
        numbers = [boxes.nth(place).get_attribute("value") for place in (0, 1)]
        page.locator(".bulk button[value=assign]").click()
        page.wait_for_url("**done=2**")
        page.goto("/now?tab=mine")
        for number in numbers:
            expect(page.locator(f"#i-{number}")).to_be_visible()


@pytest.mark.slow
def test_what_one_tab_takes_the_other_tab_shows(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/now")
        expect(page.locator('.live[data-live="on"]')).to_be_visible()
        row = page.locator("#list tr.row", has_text="New").last.get_attribute("id") or ""
        other = page.context.new_page()
        other.goto(f"/now?incident={row[2:]}")
        other.locator("#panel button[value=ack]").click()
        expect(other.locator(f"#{row} .state")).to_contain_text("Acknowledged")
        page.bring_to_front()
        site.hub.publish({"KHI-0001"})
        expect(page.locator(f"#{row} .state")).to_contain_text("Acknowledged")


@pytest.mark.slow
def test_an_incident_is_acknowledged_without_scripts(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk, java_script_enabled=False) as page:
        page.goto("/now")
        row = page.locator("#list tr.row", has_text="New").first.get_attribute("id") or ""
        page.locator(f"#{row} input[name=n]").check()
        page.locator(".bulk button[value=ack]").click()
        page.wait_for_url("**done=1**")
        expect(page.locator(f"#{row} .state")).to_contain_text("Acknowledged")


@pytest.mark.slow
def test_columns_are_left_out_and_news_leaves_them_out(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/?state=below")
        page.locator(".columns summary").click()
        page.get_by_role("switch", name="Why").click()
        page.wait_for_url("**without=why**")
        expect(page.locator("#list td.why").first).to_be_hidden()
        expect(page.locator('.live[data-live="on"]')).to_be_visible()
        code = (page.locator("#list tbody tr").first.get_attribute("id") or "")[2:]
        site.hub.publish({code})
        expect(page.locator("#list td.why").first).to_be_hidden()
        page.locator(".columns summary").click()
        assert violations(page) == []


@pytest.mark.slow
def test_a_state_is_a_filter_and_the_map_has_the_same(browser: Browser, site, desk: str) -> None:
    with reader(browser, site.url, session=desk) as page:
        page.goto("/")
        page.locator('.counts [data-state="below"]').click()
        page.wait_for_url("**state=below**")
        rows = page.locator("#list tbody tr").count()
        page.locator(".also a[href^='/map']").click()
        expect(page.locator(f'#map[data-drawn="{rows}"]')).to_be_visible()


@pytest.mark.slow
def test_the_map_is_told_what_moves_and_loads_nothing_anew(browser: Browser, site, desk: str, cast) -> None:
    with reader(browser, site.url, session=desk) as page:
        loads: list[str] = []
        page.on("request", lambda request: loads.append(request.url) if "/map.json" in request.url else None)
        page.goto("/map")
        expect(page.locator('#map[data-drawn="60"]')).to_be_visible()
        expect(page.locator('.live[data-live="on"]')).to_be_visible()
        code, criterion = "UET-0015", "internet.loss"
        with site.store.write() as conn:
            f = schema.flags.c
            mine = (f.center == code) & (f.criterion == criterion)
            conn.execute(sa.update(schema.flags).where(mine).values(state="raised", verdict="below"))
            center_states.refresh(conn, [code], cast.NOW_MS)
        before = site.hub.moves
        site.hub.publish({code})
        until_s = time.monotonic() + 60
        while site.hub.moves == before:
            assert time.monotonic() < until_s
            page.wait_for_timeout(50)
        page.wait_for_timeout(300)
        assert len(loads) == 1


@pytest.mark.slow
@LANGS
def test_a_wall_shows_what_is_wrong_in_either_language(browser: Browser, site, desk: str, lang: str) -> None:
    with reader(browser, site.url, session=desk, lang=lang) as page:
        page.goto("/now?wall=1")
        expect(page.locator("#list tr.row").first).to_be_visible()
        expect(page.locator(".rooms")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bad gateway", "hang"])
def test_an_act_that_could_not_be_sent_says_so(browser: Browser, site, desk: str, mode: Any) -> None:
    with relay("127.0.0.1", urlsplit(site.url).port or 0) as between:
        context = browser.new_context(base_url=between.url, locale="en-GB")
        context.add_cookies([{"name": "nabz_session", "value": desk, "url": between.url}])
        page = context.new_page()
        page.goto("/now")
        expect(page.locator('.live[data-live="on"]')).to_be_visible()
        if mode == "bad gateway":
            between.become(mode)
            page.keyboard.press("j")
            page.keyboard.press("s")
            expect(page.locator(".trouble")).to_contain_text("502")
        else:
            page.clock.install()
            between.become(mode)
            page.clock.run_for(31_000)
            expect(page.locator(".live")).to_have_attribute("data-live", "late")
        context.close()


# ---------------------------------------------------------------- the auditor, the operator, the admin, strangers


@pytest.mark.slow
def test_an_auditor_reads_everything_and_changes_nothing(browser: Browser, site, auditor: str) -> None:
    with reader(browser, site.url, session=auditor) as page:
        page.goto("/now")
        expect(page.locator("#list tr.row").first).to_be_visible()
        for place in (".bulk", ".tick input", "details.handover"):
            expect(page.locator(place)).to_have_count(0)
        page.goto("/activity")
        expect(page.locator("h1")).to_be_visible()


@pytest.mark.slow
@LANGS
def test_an_operator_calls_their_provider_from_their_own_page(browser: Browser, site, operator: str, lang: str) -> None:
    with reader(browser, site.url, session=operator, viewport=PHONE, lang=lang) as page:
        page.goto("/mine")
        expect(page.locator(".call a[href^='tel:']").first).to_be_visible()
        assert beyond(page) == []


@pytest.mark.slow
def test_an_operator_finds_no_other_center(browser: Browser, site, operator: str) -> None:
    with reader(browser, site.url, session=operator) as page:
        page.goto("/centers/LHE-0000")
        expect(page.locator("main")).to_contain_text("Nothing is here")
        page.goto("/")
        codes = page.locator("#list tbody tr").evaluate_all("rows => rows.map(row => row.id)")
        assert {code[:6] for code in codes} == {"c-KHI-"}


@pytest.mark.slow
def test_an_admin_finds_every_part_of_the_set_up_by_keyboard(browser: Browser, site) -> None:
    with reader(browser, site.url) as page:
        page.goto("/setup")
        page.keyboard.press("Tab")
        expect(page.locator("a.skip")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.slow
def test_a_wrong_password_keeps_the_name_and_says_so(browser: Browser, site) -> None:
    with reader(browser, site.url, log_in=False, refuses=True) as page:
        page.goto("/login?next=/now")
        page.fill("#name", "Dua")
        page.fill("#password", "not the password")
        page.locator("form button").first.click()
        expect(page.locator("[role=alert]").first).to_be_visible()
        assert page.input_value("#name") == "Dua"
        assert page.input_value("#password") == ""


@pytest.mark.slow
def test_a_log_in_leads_to_where_one_wanted_to_go(browser: Browser, site, cast, desk: str) -> None:
    with reader(browser, site.url, log_in=False) as page:
        page.goto("/centers/KHI-0001?range=7d")
        page.wait_for_url("**/login?next=**")
        page.fill("#name", "Dua")
        page.fill("#password", cast.PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/centers/KHI-0001?range=7d")


@pytest.mark.slow
@LANGS
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_strangers_read_the_public_page_on_a_telephone(browser: Browser, site, lang: str, scheme: str) -> None:
    with reader(browser, site.url, log_in=False, lang=lang, viewport=PHONE, color_scheme=scheme) as page:
        page.goto("/public")
        expect(page.locator("tbody tr")).to_have_count(6)
        assert violations(page) == []
        assert beyond(page) == []
