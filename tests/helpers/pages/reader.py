"""Somebody who reads pages in a real browser, and what every page is held to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page

from collector.web import auth
from tests.helpers import ROOT

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP, PHONE = {"width": 1366, "height": 768}, {"width": 360, "height": 740}
SESSION = "the-session-of-these-tests"

# What stands beyond the edge of the window, but for what scrolls by itself or is meant for screen readers.
OUTSIDE = """width => [...document.querySelectorAll('body *')]
    .filter(each => !each.closest('.counts, .scroll, .rooms, .parts, #map, .hidden, .skip, thead, .uplot, template'))
    .filter(each => each.offsetParent)
    .filter(each => { const r = each.getBoundingClientRect(); return r.left < -1 || r.right > width + 1 })
    .map(each => each.outerHTML.slice(0, 100))"""


@contextmanager
def reader(
    browser: Browser,
    url: str,
    *,
    lang: str = "en",
    log_in: bool = True,
    refuses: bool = False,
    session: str = SESSION,
    **options: object,
) -> Iterator[Page]:
    """A page of somebody new; afterwards it must have stayed at home and complained of nothing."""
    options.setdefault("viewport", DESKTOP)
    context: BrowserContext = browser.new_context(base_url=url, locale={"en": "en-GB", "ur": "ur-PK"}[lang], **options)
    context.set_default_timeout(60_000)
    page = context.new_page()
    complaints: list[str] = []
    urls: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: urls.append(request.url))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}") or dialog.dismiss())
    if log_in:
        context.add_cookies([{"name": auth.COOKIE, "value": session, "url": url}])
    yield page
    context.close()
    abroad = [address for address in urls if not address.startswith((url, "data:"))]
    assert abroad == [], "a page asked somebody else"
    missing = ["Failed to load resource: the server responded with a status of 404 (Not Found)"]
    if refuses:
        said = ("403 (Forbidden)", "400 (Bad Request)", "409 (Conflict)")
        missing += [f"Failed to load resource: the server responded with a status of {status}" for status in said]
    assert [message for message in complaints if message not in missing] == []


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds wrong with a page, by its rule."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(item["id"], [node["html"][:120] for node in item["nodes"]][:3]) for item in found["violations"]]


def beyond(page: Page) -> list[str]:
    """What stands beyond the edge of the window."""
    width = page.evaluate("window.innerWidth")
    wide = page.evaluate("document.documentElement.scrollWidth")
    return [f"the page is {wide} wide"] * (wide > width) + list(page.evaluate(OUTSIDE, width))
