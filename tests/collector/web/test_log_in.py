"""The first log-in and the second, in a real browser: the one-time link, an account, a second proof, and its code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, expect

from collector.web import auth
from tests.helpers.pages import chromium

chromium.needed()

NAME, PASSWORD = "Amna", "one two three four five"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium.launched() as browser:
        yield browser


def test_the_link_makes_an_account_that_is_then_guarded_by_a_telephone(
    browser: Browser, store, standards, tmp_path: Path, cast
) -> None:
    with cast.serve(store, standards, tmp_path, has_admin=False) as served:
        token = (tmp_path / auth.TOKEN_FILE).read_text().strip()
        page = browser.new_page(base_url=served.url, locale="en-GB")
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(f"/login#token={token}")
        expect(page.get_by_label("Token of the link")).to_have_value(token)
        assert "token" not in page.url
        page.get_by_label("Your name").fill(NAME)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Make it and enter").click()
        expect(page.get_by_role("heading", name="Centers")).to_be_visible()

        page.get_by_text(NAME, exact=True).click()
        page.get_by_role("link", name="My account").click()
        page.get_by_role("button", name="Set it up").click()
        expect(page.get_by_alt_text("Picture of the secret")).to_be_visible()
        totp = pyotp.TOTP(page.locator("#factor code").inner_text())
        page.get_by_label("Code of 6 digits").fill(totp.at(cast.NOW_MS // 1000 - 30))
        page.get_by_role("button", name="Turn it on").click()
        expect(page.get_by_text("Second proof is on")).to_be_visible()

        page.get_by_text(NAME, exact=True).first.click()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Your name").fill(NAME)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Enter").click()
        page.get_by_label("Code of 6 digits").fill(totp.at(cast.NOW_MS // 1000))
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("heading", name="Centers")).to_be_visible()
        assert [address for address in addresses if token in address.partition("#")[0]] == [], "a token in an address"
