"""What a page says when its server, its network or its session fails, and that it comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from collector.store import schema
from collector.web import auth
from collector.web.health import Watched
from tests.helpers.pages import chromium
from tests.helpers.pages.relay import Relay, relay

chromium.needed()

SESSION = "the-session-of-these-tests"
LATE_S, GONE_S = 31, 121


@contextmanager
def behind(served: Any, browser: Browser) -> Iterator[tuple[Page, Relay]]:
    """A reader whose clock the test can move on, and what stands between the reader and the server."""
    with relay("127.0.0.1", urlsplit(served.url).port or 0) as between:
        context = browser.new_context(base_url=between.url, locale="en-GB")
        page = context.new_page()
        page.clock.install()
        context.add_cookies([{"name": auth.COOKIE, "value": SESSION, "url": between.url}])
        page.goto("/")
        expect(page.locator(".live")).to_have_attribute("data-live", "on")
        yield page, between
        context.close()


def test_one_bad_gateway_does_not_end_the_news(browser: Browser, served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with behind(served, browser) as (page, between):
        between.become("bad gateway")
        page.clock.run_for(LATE_S * 1000)
        expect(page.locator(".live")).to_have_attribute("data-live", "late")
        page.clock.run_for((GONE_S - LATE_S) * 1000)
        expect(page.locator(".live")).to_have_attribute("data-live", "off")
        expect(page.locator(".live .age")).to_contain_text("2 min ago")
        between.become("pass")
        cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014")])
        served.hub.publish({"LHR-014"})
        page.clock.run_for(31_000)
        expect(page.locator(".live")).to_have_attribute("data-live", "on")
        expect(page.locator("#c-LHR-014")).to_contain_text("Not yet judged")


def test_a_server_that_has_stopped_is_not_called_live(browser: Browser, served) -> None:
    with behind(served, browser) as (page, between):
        between.become("hang")
        page.clock.run_for(LATE_S * 1000)
        expect(page.locator(".live")).to_have_attribute("data-live", "late")
        page.clock.run_for((GONE_S - LATE_S) * 1000)
        expect(page.locator(".live")).to_contain_text("Not connected")
        between.become("pass")
        page.clock.run_for(31_000)
        expect(page.locator(".live")).to_have_attribute("data-live", "on")


def test_a_session_that_ends_asks_for_a_log_in_and_leaves_the_page(browser: Browser, served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with behind(served, browser) as (page, between):
        page.fill("#q", "what I typed")
        page.context.clear_cookies()
        between.become("away")
        between.become("pass")
        page.clock.run_for(31_000)
        expect(page.locator(".live")).to_have_attribute("data-live", "login")
        with page.expect_popup() as popup:
            page.get_by_role("link", name="You are logged out: log in").click()
        popup.value.fill("#name", cast.ADMIN)
        popup.value.fill("#password", cast.PASSWORD)
        popup.value.press("#password", "Enter")
        popup.value.wait_for_url(lambda address: "/login" not in address)
        popup.value.close()
        page.evaluate("dispatchEvent(new Event('focus'))")
        page.clock.run_for(31_000)
        expect(page.locator(".live")).to_have_attribute("data-live", "on")
        expect(page.locator("#q")).to_have_value("what I typed")


def test_a_search_that_fails_says_so_beside_the_old_list(browser: Browser, served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014"), cast.center_row("LHR-015")])
    with behind(served, browser) as (page, between):
        page.goto("/")
        between.become("bad gateway")
        page.fill("#q", "LHR-015")
        page.clock.run_for(1000)
        expect(page.locator(".trouble")).to_contain_text("the server answered 502")
        expect(page.locator("tbody tr")).to_have_count(2)
        between.become("away")
        page.fill("#q", "LHR-01")
        page.clock.run_for(1000)
        expect(page.locator(".trouble")).to_contain_text("the server did not answer")
        between.become("pass")
        page.fill("#q", "LHR-014")
        page.clock.run_for(1000)
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator(".trouble")).to_be_hidden()


def test_a_part_of_the_collector_that_is_late_ages_the_page(browser: Browser, served) -> None:
    with behind(served, browser) as (page, _):
        page.goto("/")
        expect(page.locator(".live")).to_have_attribute("data-live", "on")
        served.health.watched.append(Watched("ingest", 30.0, lambda: 45.0))
        page.reload()
        expect(page.locator(".live")).to_have_attribute("data-live", "late")
