"""The desk's pages in a real browser: axe finds nothing, nothing is scrolled sideways on a phone, and a form with a
mistake leads to its field by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from collector.access.accounts import directory
from collector.acts import routing, windows
from collector.acts.person import ActingPerson
from collector.common.config import AlertsSection, ChannelSection, OidcSection
from collector.common.scope import EVERYWHERE, Scope
from collector.desk.routing.plans import parse_step
from collector.desk.routing.rota import Rota
from collector.desk.routing.routes import AlertRoute
from collector.desk.windows import MaintenanceWindow
from collector.store import schema
from tests.collector.empty_stores import empty_store
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import PHONE, beyond, reader, violations

PAGES = (
    "/routing", "/routing?route=1", "/routing?plan=night", "/routing?rota=1", "/windows", "/account", "/people",
    "/alerts",
)  # fmt: skip
ISSUER = OidcSection(issuer="http://127.0.0.1:9", client_id="nabz", name="PSEB")
ALERTS = AlertsSection(channels=(ChannelSection(name="push", url="push+mailto:desk@example.pk"),))

chromium.needed()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, standards, cast) -> Iterator[Any]:
    """Something of everything: people, a rota with somebody who stands in, a route, a plan, two windows."""
    folder = tmp_path_factory.mktemp("desk")
    store = empty_store(folder / "nabz.sqlite")
    rows = [cast.center_row("KHI-0001", 1), cast.center_row("LHE-9", 2, feeder="LESCO F-7")]
    cast.insert(store, schema.centers, rows)
    who, hour = ActingPerson(name="Sara Malik", now_ms=cast.NOW_MS), cast.HOUR_MS
    with store.write() as conn:
        for name in ("Bilal Ahmad", "عائشہ خان"):
            directory.add(conn, name, "-", "desk", EVERYWHERE, "Root", 1)
        lahore = Scope(district=frozenset({"Lahore", "Kasur"}))
        rota = Rota("desk", (), cast.NOW_MS - hour, 7 * 86_400, lahore)
        routing.keep_rota(conn, rota, ["Bilal Ahmad", "عائشہ خان"], who)
        span = cast.NOW_MS + hour, cast.NOW_MS + 48 * hour
        routing.override(conn, 1, "عائشہ خان", span, "ill", who)
        steps = [
            parse_step("0m", "operator"),
            parse_step("15m", "rota desk | role desk"),
            parse_step("4h", "role admin"),
        ]
        routing.set_plan(conn, "night", steps, who)
        routing.keep_route(
            conn, AlertRoute(severity="serious", hours="Mon-Sat 21:00-09:00", plan="night"), ["power"], who
        )
        work = ("LESCO F-7", "mute", cast.NOW_MS - hour, cast.NOW_MS + hour)
        windows.plan(conn, MaintenanceWindow("feeder", *work, "FREQ=WEEKLY;BYDAY=WE", "weekly work on the feeder"), who)  # type: ignore[arg-type]
        windows.plan(conn, MaintenanceWindow("center", "KHI-0001", *work[1:], reason="نئی تار"), who)  # type: ignore[arg-type]
    with cast.serve(store, standards, folder, alerts=ALERTS, oidc=ISSUER) as served:
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
            page.evaluate("document.querySelectorAll('details:not(.menu)').forEach((one) => { one.open = true; })")
            assert (beyond(page), violations(page)) == ([], []), f"{path} {scheme} {lang}"


@pytest.mark.slow
def test_a_mistake_is_reached_and_mended_by_keyboard_without_scripts(browser: Browser, site) -> None:
    with reader(browser, site.url, java_script_enabled=False, refuses=True) as page:
        page.goto("/routing?plan=night")
        page.get_by_label("Step 2: after").fill("soon")
        page.get_by_label("Step 2: after").press("Enter")
        wrong = page.get_by_label("Step 2: after")
        expect(wrong).to_have_attribute("aria-invalid", "true")
        expect(wrong).to_have_accessible_description("time 'soon': is none; write such as 30m, 4h or 2d")
        expect(wrong).to_be_focused()
        page.keyboard.press("Control+A")
        page.keyboard.type("20m")
        page.keyboard.press("Enter")
        expect(page.get_by_text("20 min", exact=True)).to_be_visible()


def test_the_log_in_offers_the_issuer(browser: Browser, site) -> None:
    with reader(browser, site.url, log_in=False, lang="ur", viewport=PHONE) as page:
        page.goto("/login?next=/routing")
        assert violations(page) == []
        assert page.locator(".issuer a").get_attribute("href") == "/login/oidc?next=/routing"
