"""The pages of the fleet in a real browser: the desk's keys, lists, the map; one browser and one collector for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from collector.common.scope import Scope
from collector.desk import follow
from collector.judging.current import ranks_of
from collector.store import Store, center_states, schema
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import PHONE, beyond, reader, violations

expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong

chromium.needed()

PAGES = (
    "/now?incident=1",
    "/now?tab=self",
    "/?owner=Bint-e-Hawa+Trust&state=below",
    "/map?state=below",
    "/setup",
    "/months?month=2026-10",
    "/desk-clock?by=district",
)
HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, standards, cast) -> Iterator[Any]:
    """Forty centers, one of a hostile name; four have an incident, two of them are silent."""
    folder = tmp_path_factory.mktemp("fleet-pages")
    store = Store.open(f"sqlite:///{folder}/nabz.sqlite")
    cast.add_fleet(store, 40)
    cast.add_full_center(store, "KHI-0001")
    cast.add_story(store, "KHI-0001")
    with store.write() as conn:
        c = schema.centers.c
        for number, code in enumerate(conn.scalars(sa.select(c.center).order_by(c.center)).all()):
            place = {"latitude": 24.9 + number % 11, "longitude": 66.9 + number % 9}
            conn.execute(sa.update(schema.centers).where(c.center == code).values(place))
        names = {"name": HOSTILE, "owner": HOSTILE, "isp": HOSTILE, "feeder": HOSTILE}
        conn.execute(sa.update(schema.centers).where(c.center == "LHE-0000").values(names))
        raised = sa.select(schema.flags).where(schema.flags.c.state == "raised")
        conn.execute(sa.insert(schema.changes), [_change(row) for row in conn.execute(raised).mappings()])
        follow.follow(conn, standards, cast.NOW_MS)
        center_states.settle(conn, ranks_of(standards.at(cast.NOW_MS)), cast.NOW_MS - 3 * cast.HOUR_MS)
        center_states.renew(conn, cast.NOW_MS)
        month = {"from_ms": 1_790_794_800_000, "opened_ms": 1, "why": "{}", "marks": 0}
        rows = [month | {"center": code, "revision": 1, "closed_ms": 2} for code in ("LHE-0000", "KHI-0001")]
        conn.execute(sa.insert(schema.reports), rows)
    with cast.serve(store, standards, folder) as served:
        yield served
    store.close()


def _change(flag: sa.RowMapping) -> dict[str, Any]:
    kept = {name: flag[name] for name in ("center", "criterion", "subject", "value", "bound", "reason", "standard")}
    return kept | {"was": "pending", "now": "raised", "at_ms": flag["since_ms"], "recorded_ms": flag["since_ms"]}


LOOKS = pytest.mark.parametrize(
    ("scheme", "lang"),
    [
        ("light", "en"), ("dark", "ur"), pytest.param("light", "ur", marks=pytest.mark.slow),
        pytest.param("dark", "en", marks=pytest.mark.slow),
    ],
)  # fmt: skip


@LOOKS
def test_axe_finds_nothing_on_the_pages_of_the_fleet(browser: Browser, site, scheme: str, lang: str) -> None:
    with reader(browser, site.url, lang=lang, color_scheme=scheme, reduced_motion="reduce") as page:
        for path in PAGES:
            page.goto(path)
            assert violations(page) == [], f"{path} {scheme} {lang}"


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_the_pages_of_the_fleet_fit_a_telephone(browser: Browser, site, lang: str) -> None:
    with reader(browser, site.url, lang=lang, viewport=PHONE) as page:
        for path in PAGES:
            page.goto(path)
            assert beyond(page) == [], path


# ---------------------------------------------------------------- now


def at_hand(page: Page) -> str | None:
    return page.evaluate("document.activeElement.closest('tr')?.id")


def test_the_desk_works_by_keys_alone(browser: Browser, site) -> None:
    with reader(browser, site.url) as page:
        page.goto("/now")
        first, second = (row.get_attribute("id") for row in page.locator("#list tr.row").all()[:2])
        page.keyboard.press("j")
        assert at_hand(page) == first
        page.keyboard.press("j")
        assert at_hand(page) == second
        page.keyboard.press("k")
        page.keyboard.press("a")  # the second key: acknowledged
        expect(page.locator(f"#{first} .state")).to_contain_text("Acknowledged")
        expect(page.locator('[data-tab="mine"] b')).to_have_text("1")
        assert at_hand(page) == first, "the row went away under the hand"
        page.keyboard.press("Enter")
        expect(page.locator("#panel h2")).to_be_visible()
        page.keyboard.press("n")
        page.keyboard.type("called j and k")  # letters are no keys while one writes
        assert page.locator("#panel-note").input_value() == "called j and k"
        page.keyboard.press("Enter")
        expect(page.locator("#panel ol")).to_contain_text("called j and k")
        expect(page.locator('.live[data-live="on"]')).to_be_visible()  # the page's script is there
        page.keyboard.press("Escape")
        page.locator("#panel h2").wait_for(state="detached")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


def test_rows_stay_where_they_are_while_others_come_and_go(browser: Browser, site, cast) -> None:
    with reader(browser, site.url) as page:
        page.goto("/now")
        before = [row.get_attribute("id") for row in page.locator("#list tr.row").all()]
        with site.store.write() as conn:
            i = schema.incidents.c
            over = conn.scalar(sa.select(sa.func.max(i.id)).where(i.state == "new"))
            conn.execute(sa.update(schema.incidents).where(i.id == over).values(state="resolved", resolved_ms=1))
        site.hub.publish({"KHI-0001"})
        expect(page.locator(f"#i-{over}.over")).to_be_visible()
        assert [row.get_attribute("id") for row in page.locator("#list tr.row").all()] == before
        assert f"({len(before) - 1}) Now" in page.title()
        with site.store.write() as conn:
            conn.execute(sa.update(schema.incidents).where(i.id == over).values(state="new", resolved_ms=None))


def test_a_wall_shows_the_list_alone(browser: Browser, site) -> None:
    with reader(browser, site.url) as page:
        page.goto("/now?wall=1")
        expect(page.locator("#list tbody tr").first).to_be_visible()
        for place in (".rooms", ".bulk", "#panel", ".tick input >> nth=0"):
            expect(page.locator(place)).to_be_hidden()


# ---------------------------------------------------------------- lists


def test_a_list_is_dense_and_back_leads_to_the_filter_before(browser: Browser, site) -> None:
    with reader(browser, site.url) as page:
        page.goto("/")
        heights = page.eval_on_selector_all("#list tbody tr", "rows => rows.map(row => row.offsetHeight)")
        assert len(heights) == 40
        assert max(heights) <= 29
        assert page.locator("svg.hours").count() == 40
        page.locator("#province").select_option("Sindh")
        page.wait_for_url("**province=Sindh**")
        expect(page.locator("#list tbody tr")).to_have_count(7)
        page.locator('[data-state="below"]').click()
        page.wait_for_url("**state=below**")
        page.go_back()
        expect(page.locator("#list tbody tr")).to_have_count(7)
        page.go_back()
        expect(page.locator("#list tbody tr")).to_have_count(40)


def test_a_view_is_kept_and_opened_again(browser: Browser, site) -> None:
    with reader(browser, site.url) as page:
        page.goto("/?state=below")
        page.get_by_text("Keep this view").click()
        page.get_by_label("Name").fill("What is below")
        page.get_by_role("button", name="Keep it").click()
        page.goto("/")
        page.get_by_role("link", name="What is below").click()
        page.wait_for_url("**/?state=below")
        page.get_by_role("button", name="Remove the view What is below").click()
        expect(page.get_by_role("link", name="What is below")).to_have_count(0)


# ---------------------------------------------------------------- the map


def test_the_map_shows_what_the_table_shows_and_leads_to_a_center(browser: Browser, site) -> None:
    with reader(browser, site.url) as page:
        page.goto("/map")
        expect(page.locator('#map[data-drawn="40"]')).to_be_visible()
        page.locator('[data-state="silent"]').click()
        expect(page.locator('#map[data-drawn="2"]')).to_be_visible()
        page.evaluate("location.hash = ''")
        places = page.evaluate("fetch('/map.json?state=silent').then(answer => answer.json())")
        page.goto(f"/map?state=silent#15/{places['lat'][0]}/{places['lon'][0]}")
        expect(page.locator('#map[data-drawn="2"]')).to_be_visible()
        page.locator("#map").click()
        link = page.locator(".leaflet-popup a[href^='/centers/']")
        expect(link).to_have_attribute("href", f"/centers/{places['codes'][0]}")
        page.get_by_role("link", name="The same as a table").click()
        expect(page.locator("#list tbody tr")).to_have_count(2)


# ---------------------------------------------------------------- a center


def test_the_span_of_the_charts_stands_in_the_address_and_back_takes_it_back(browser: Browser, site, cast) -> None:
    from_ms, to_ms = cast.NOW_MS - 6 * cast.HOUR_MS, cast.NOW_MS - 2 * cast.HOUR_MS
    asked: list[str] = []
    with reader(browser, site.url) as page:
        page.on("request", lambda request: asked.append(request.url) if "kind=link" in request.url else None)
        page.goto(f"/centers/KHI-0001?from={from_ms}&to={to_ms}")
        expect(page.locator("#charts canvas")).to_have_count(4)
        assert f"from={from_ms}&to={to_ms}" in asked[0]
        page.locator('[data-chart="link"] .u-over').scroll_into_view_if_needed()
        over = page.locator('[data-chart="link"] .u-over').bounding_box()
        assert over
        page.mouse.move(over["x"] + 100, over["y"] + 30)
        page.mouse.down()
        page.mouse.move(over["x"] + 300, over["y"] + 30)
        page.mouse.up()
        page.wait_for_url(lambda url: f"from={from_ms}" not in url)
        page.go_back()
        page.wait_for_url(lambda url: f"from={from_ms}" in url)


def test_a_center_leads_to_those_that_share_its_feeder(browser: Browser, site) -> None:
    with reader(browser, site.url) as page:
        page.goto("/centers/LHE-0000")
        for name, value in (("feeder", HOSTILE), ("isp", HOSTILE), ("owner", HOSTILE)):
            page.goto("/centers/LHE-0000")
            page.locator(f'a.else[href^="/?{name}="]').click()
            expect(page.locator("#list tbody tr")).to_have_count(1)
            expect(page.locator(".only b")).to_have_text(value)


# ---------------------------------------------------------------- the operator's


@LOOKS
def test_an_operator_begins_with_an_answer_in_urdu_on_a_telephone(
    browser: Browser, site, cast, scheme: str, lang: str
) -> None:
    scope = Scope(owner=frozenset({"Bint-e-Hawa Trust"}), district=frozenset({"Karachi South"}))
    session = cast.add_account(site.store, "Omar", "operator", scope)
    with reader(browser, site.url, lang=lang, viewport=PHONE, session=session, color_scheme=scheme) as page:
        page.goto("/mine")
        expect(page.locator("h2").first).to_have_text("کیا ہم معیار پر ہیں؟")  # whatever the browser speaks
        assert violations(page) == []
        assert beyond(page) == []
        page.goto("/mine?lang=en")
        expect(page.locator(".answer .figure")).to_contain_text("No")
        expect(page.locator(".first li").first).to_contain_text("Download speed")
