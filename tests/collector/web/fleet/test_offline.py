"""The operator's page without a connection: as it was last seen, its age said, and gone with the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from collector.common.scope import Scope
from collector.store import schema
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import PHONE
from tests.helpers.pages.relay import Relay, relay

chromium.needed()


@contextmanager
def telephone(site: Any, browser: Browser, cast: Any) -> Iterator[tuple[Page, Relay]]:
    """An operator of one center whose telephone has seen the page, and what stands between it and the server."""
    cast.insert(site.store, schema.centers, [cast.center_row("LHE-0001", owner="Own Trust")])
    cast.insert(site.store, schema.pulse, [cast.pulse_row("LHE-0001")])
    cookie = cast.add_account(site.store, "Omar", "operator", Scope(owner=frozenset({"Own Trust"})))
    with relay("127.0.0.1", urlsplit(site.url).port or 0) as between:
        context = browser.new_context(base_url=between.url, locale="en-GB", viewport=PHONE)
        context.add_cookies([{"name": "nabz_session", "value": cookie, "url": between.url}])
        page = context.new_page()
        page.goto("/mine?lang=en")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        kept = "caches.match('/mine').then((found) => Boolean(found))"
        until(page, kept)
        yield page, between
        context.close()


def until(page: Page, condition: str) -> None:
    """Waits for a promise of the page to come true."""
    look = f"const look = async () => (await {condition}) ? done() : setTimeout(look, 20)"
    page.evaluate(f"new Promise((done) => {{ {look}; look(); }})")


@pytest.mark.parametrize("mode", ["away", "bad gateway"])
def test_without_a_connection_it_shows_what_was_last_seen_and_how_old_that_is(
    browser: Browser, served, cast, mode: Any
) -> None:
    with telephone(served, browser, cast) as (page, between):
        between.become(mode)
        page.clock.install()
        page.clock.fast_forward("02:00:00")
        page.goto("/mine")
        expect(page.locator("h1")).to_contain_text("Lahore")
        expect(page.locator(".kept")).to_be_visible()
        expect(page.locator(".kept")).to_contain_text("2 h ago")
        expect(page.locator(".live")).to_have_attribute("data-live", "off")
        expect(page.locator(".live .age")).to_contain_text("2 h")
        between.become("pass")
        page.goto("/mine")
        expect(page.locator(".kept")).to_be_hidden()


def test_it_can_be_installed(browser: Browser, served, cast) -> None:
    with telephone(served, browser, cast) as (page, _):
        session = page.context.new_cdp_session(page)
        errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert [error["errorId"] for error in errors if error["errorId"] != "in-incognito"] == []
        manifest = session.send("Page.getAppManifest")
        assert manifest["errors"] == []
        assert '"start_url": "/mine"' in manifest["data"]


def test_the_end_of_the_session_lets_go_of_what_was_kept(browser: Browser, served, cast) -> None:
    with telephone(served, browser, cast) as (page, between):
        page.context.clear_cookies()
        page.goto("/mine")
        page.wait_for_url("**/login**")
        until(page, "caches.match('/mine').then((found) => !found)")
        between.become("away")
        with pytest.raises(Exception, match="net::ERR"):
            page.goto("/mine")


def test_a_log_out_lets_go_of_what_was_kept(browser: Browser, served, cast) -> None:
    with telephone(served, browser, cast) as (page, _):
        page.locator(".who summary").click()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login**")
        until(page, "caches.match('/mine').then((found) => !found)")


def test_other_pages_are_not_kept(browser: Browser, served, cast) -> None:
    with telephone(served, browser, cast) as (page, between):
        page.goto("/centers/LHE-0001")
        between.become("away")
        with pytest.raises(Exception, match="net::ERR"):
            page.goto("/centers/LHE-0001")
