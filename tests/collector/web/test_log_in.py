"""The first log-in and the second, in a real browser: the one-time link, an account, a second proof, and its code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pyotp
import pytest
from playwright.sync_api import Browser, expect

from collector.access.accounts import passkeys
from collector.access.accounts.passkeys import Party
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.web import auth
from tests.helpers.pages import chromium
from tests.helpers.ports import free_port

chromium.needed()

GIVE = """answer => {
    const form = document.querySelector("form[data-passkey]");
    form.elements.answer.value = answer;
    form.requestSubmit();
}"""
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
        expect(page.get_by_role("heading", name="Now")).to_be_visible()

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
        expect(page.get_by_role("heading", name="Now")).to_be_visible()
        assert [address for address in addresses if token in address.partition("#")[0]] == [], "a token in an address"


def test_a_passkey_is_made_and_is_the_second_proof_from_then_on(
    browser: Browser, store, standards, tmp_path: Path, cast
) -> None:
    """With the browser's own authenticator, as a telephone's would be."""
    port = free_port()
    with cast.serve(store, standards, tmp_path, port=port):
        context = browser.new_context(base_url=f"http://localhost:{port}", locale="en-GB")
        page = context.new_page()
        devices = context.new_cdp_session(page)
        devices.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        answers: list[str] = []
        page.on("request", lambda it: answers.append(it.post_data) if it.url.endswith("/login/passkey") else None)

        def log_in() -> None:
            page.goto("/login")
            page.get_by_label("Your name").fill(cast.ADMIN)
            page.get_by_label("Password").fill(cast.PASSWORD)
            page.get_by_role("button", name="Enter").click()

        log_in()
        page.goto("/account")
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_text("Second proof is on")).to_be_visible()
        context.clear_cookies()
        log_in()
        page.get_by_role("button", name="Use a passkey").click()
        expect(page.get_by_role("heading", name="Now")).to_be_visible()

        context.clear_cookies()
        log_in()  # whose challenge is another: what was signed for the one before counts for nothing
        expect(page.get_by_role("button", name="Use a passkey")).to_be_visible()
        page.evaluate(GIVE, parse_qs(answers[0])["answer"][0])
        expect(page.get_by_role("alert")).to_contain_text("does not fit")
        page.goto("/people")
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()


NONSENSE = ("", "{}", "[]", "null", '{"id": "a", "rawId": "YQ", "type": "public-key"}', "x" * 99)


@pytest.mark.parametrize("answer", NONSENSE)
def test_a_browser_that_answers_nonsense_proves_nothing(store, cast, answer: str) -> None:
    cast.add_account(store, cast.ADMIN, "admin")
    amna, party = Account(cast.ADMIN, "admin", key="amna"), Party("localhost", "http://localhost:1")
    with pytest.raises(PersonError, match="passkey"):
        passkeys.prove(store, party, amna, b"n" * 32, answer, cast.NOW_MS)
    with pytest.raises(PersonError, match="passkey"), store.write() as conn:
        passkeys.add(conn, party, amna, b"n" * 32, answer, cast.NOW_MS)


@pytest.mark.parametrize(
    ("address", "party"),
    [
        ("https://nabz.example.pk", Party("nabz.example.pk", "https://nabz.example.pk")),
        ("http://localhost:8480", Party("localhost", "http://localhost:8480")),
        ("http://127.0.0.1:8480", None), ("http://[::1]:8480", None), ("", None),
    ],
)  # fmt: skip
def test_passkeys_are_for_sites_with_a_name(address: str, party: Party | None) -> None:
    assert passkeys.party_of(address) == party
