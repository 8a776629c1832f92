"""The pages in a real browser: what people see, hear by keyboard and get without asking."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from collector.access import approvals, users
from collector.speedtests import requests
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import AXE, OUTSIDE, PHONE, reader

ALI, BINA = "ali likes long walks", "bina sails to Gwadar"
PAGES = (
    "/", "/centers/KHI-0001", "/centers/LHE-0018", "/login", "/centers/NONE", "/waiting", "/account", "/people",
    "/keys", "/contacts", "/activity", "/now",
)  # fmt: skip

expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong

chromium.needed()


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory, standards, cast) -> Iterator[Any]:
    """Gateways that wait: three of a proven maker, one of a maker who is not, and one that was let in."""
    folder = tmp_path_factory.mktemp("queue")
    store = Store.open(f"sqlite:///{folder}/nabz.sqlite")
    cast.insert(store, schema.centers, [cast.center_row("KHI-0001"), cast.center_row("LHE-0002", 1)])
    cast.add_waiting(store, 9, "Zed")
    cast.add_person(store, "Ali", ALI)
    cast.add_person(store, "Bina", BINA)
    device = cast.add_waiting(store, 0, given=ALI)
    with store.write() as conn:
        proof = users.prove(store, "Bina", BINA, cast.NOW_MS, counted=False).proof
        approvals.decide(conn, device, "approved", "Bina", cast.NOW_MS - 40_000, "seen by Hamid", proof=proof)
    cast.add_waiting(store, 1, given=ALI, hostname="nabz-gateway-of-a-long-name-in-the-hall")
    cast.add_waiting(store, 2, given=ALI, code="LHE-0002")
    cast.add_waiting(store, 4, given=ALI)
    with cast.serve(store, standards, folder, approval="second_person") as site:
        yield site
    store.close()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# ---------------------------------------------------------------- accessibility and looks

LOOKS = pytest.mark.parametrize(
    ("scheme", "lang"),
    [
        ("light", "en"), ("dark", "ur"), pytest.param("light", "ur", marks=pytest.mark.slow),
        pytest.param("dark", "en", marks=pytest.mark.slow),
    ],
)  # fmt: skip


@LOOKS
def test_axe_finds_nothing(browser: Browser, fleet, scheme: str, lang: str) -> None:
    with reader(browser, fleet.url, lang=lang, color_scheme=scheme, reduced_motion="reduce") as page:
        for path in ("/?province=Sindh", *PAGES[1:]):  # fewer rows, every state: axe takes its time with each
            page.goto(path)
            if path == "/centers/KHI-0001":
                expect(page.locator("#charts canvas")).to_have_count(4)
            page.evaluate(AXE.read_text("utf-8"))
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            message = [(item["id"], [node["html"][:120] for node in item["nodes"]][:3]) for item in found["violations"]]
            assert message == [], f"{path} {scheme} {lang}"


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_nothing_needs_sideways_scrolling_on_a_phone(browser: Browser, fleet, lang: str) -> None:
    with reader(browser, fleet.url, lang=lang, viewport=PHONE) as page:
        for path in PAGES:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            assert page.evaluate(OUTSIDE, PHONE["width"]) == [], path


def test_a_chart_without_values_is_no_large_box(browser: Browser, fleet) -> None:
    """`.empty` is also the frame of a list that has nothing in it."""
    with reader(browser, fleet.url) as page:
        page.goto("/centers/KHI-0001?from=1700000000000&to=1700003600000")  # three years before it was there
        expect(page.locator("#charts figure.empty").first).to_be_visible()
        for figure in page.locator("#charts figure.empty:visible").all():
            padding, height = figure.evaluate(
                "(one) => [parseFloat(getComputedStyle(one).paddingBlockStart), one.clientHeight]"
            )
            assert (padding < 8, height < 240) == (True, True), figure.evaluate("(one) => one.outerHTML")[:200]


def refused(page: Page) -> None:
    """The page of waiting gateways after a wrong passphrase for the second of them."""
    page.goto("/waiting")
    page.locator("#name-2").fill("Bina")
    page.locator("#passphrase-2").fill("wrong")
    page.locator("section.gateway").nth(1).get_by_role("button").first.click()
    expect(page.locator("section.gateway").nth(1).locator("#refused")).to_be_visible()


@LOOKS
def test_axe_finds_nothing_where_gateways_wait(browser: Browser, queue, scheme: str, lang: str) -> None:
    with reader(browser, queue.url, lang=lang, color_scheme=scheme, refuses=True) as page:
        refused(page)
        page.evaluate(AXE.read_text("utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(item["id"], item["nodes"][0]["html"][:120]) for item in found["violations"]] == []


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_a_gateway_is_let_in_on_a_phone_by_keyboard_without_scripts(browser: Browser, queue, lang: str) -> None:
    with reader(browser, queue.url, lang=lang, viewport=PHONE, java_script_enabled=False, refuses=True) as page:
        refused(page)
        assert page.locator("#name-2").input_value() == "Bina"
        assert page.locator("#passphrase-2").input_value() == ""
        before = page.locator("section.gateway").count()
        page.locator("#passphrase-2").fill(BINA)
        for _ in range(2):  # past the reason, to the first button
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/waiting#decided")
        assert page.locator("section.gateway").count() == before - 1
    with reader(browser, queue.url, lang=lang, viewport=PHONE) as page:
        page.goto("/waiting")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate(OUTSIDE, PHONE["width"]) == []


def test_urdu_letters_come_from_the_urdu_fonts(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url, lang="ur") as page:
        page.goto("/centers/KHI-0001")
        page.wait_for_selector("link[href*=nastaliq]", state="attached")
        page.evaluate("document.fonts.load('16px Nabz Nastaliq', 'ا').then(() => document.fonts.ready)")
        session = page.context.new_cdp_session(page)
        session.send("DOM.enable")
        session.send("CSS.enable")
        root = session.send("DOM.getDocument", {"depth": -1})["root"]["nodeId"]
        for place, font in (("section.flags h2", "Noto Nastaliq Urdu"), (".verdicts thead th", "Noto Naskh Arabic")):
            node = session.send("DOM.querySelector", {"nodeId": root, "selector": place})["nodeId"]
            used = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
            assert {item["familyName"] for item in used if item["isCustomFont"]} == {font}, place


def test_the_theme_follows_the_system_until_one_is_chosen(browser: Browser, fleet) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with reader(browser, fleet.url, color_scheme="dark") as page:
        page.goto("/")
        dark = page.evaluate(background)
        page.emulate_media(color_scheme="light")
        light = page.evaluate(background)
        assert dark != light
        page.get_by_text("Appearance").click()
        page.get_by_role("link", name="Dark").click()
        page.wait_for_url("**theme=dark")
        assert page.evaluate(background) == dark
        page.goto("/login")
        assert page.evaluate(background) == dark


def test_motion_stops_for_those_who_ask(browser: Browser, fleet) -> None:
    moving = "document.getAnimations().length"
    with reader(browser, fleet.url) as page:
        page.goto("/centers/LHE-0018")
        assert page.evaluate(moving) > 0
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate(moving) == 0


# ---------------------------------------------------------------- by keyboard, without scripts


def test_the_keyboard_reaches_the_content_and_shows_where_it_is(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url) as page:
        page.goto("/")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        for path in ("/map", "/centers.csv", "/centers.xlsx", "/incidents", "/waiting"):
            expect(page.locator(f"main a[href='{path}']")).to_be_focused()
            page.keyboard.press("Tab")
        expect(page.locator("#q")).to_be_focused()
        for _ in range(4):
            page.keyboard.press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", page.evaluate("document.activeElement.outerHTML.slice(0, 80)")


def test_a_slash_finds_the_search_which_answers_while_one_types(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url) as page:
        page.goto("/?state=below")
        page.keyboard.press("/")
        page.keyboard.type("karachi")
        page.wait_for_url("**q=karachi*")
        expect(page.locator("tbody tr")).to_have_count(page.locator("tr[id^=c-KHI]").count())
        assert "state=below" in page.url
        expect(page.locator("#q")).to_be_focused()
        page.reload()
        assert page.locator("#q").input_value() == "karachi"
        page.locator("tbody a").first.click()
        page.wait_for_url("**/centers/KHI-*")
        page.go_back()
        expect(page.locator("#q")).to_have_value("karachi")


def test_a_slash_inside_the_search_is_a_letter(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url) as page:
        page.goto("/")
        page.locator("#q").fill("a")
        page.locator("#q").press("/")
        assert page.locator("#q").input_value() == "a/"


def test_everything_can_be_read_without_scripts(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url, java_script_enabled=False) as page:
        page.goto("/")
        page.locator("#q").fill("KHI-0001")
        page.get_by_role("button", name="Search").click()
        page.locator("tbody a").click()
        expect(page.locator("h1")).to_have_text("e-Rozgar Center Karachi 2")
        expect(page.locator(".verdicts tbody tr")).to_have_count(len(timeless().criteria))
        expect(page.get_by_text("The charts need JavaScript")).to_be_visible()


# ---------------------------------------------------------------- live


def test_a_waiting_center_fills_itself_when_its_first_reading_comes(browser: Browser, served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    cast.insert(served.store, schema.devices, [cast.device_row("LHR-014")])
    with reader(browser, served.url) as page:
        page.goto("/centers/LHR-014")
        expect(page.get_by_text("Waiting for the first reading")).to_be_visible()
        expect(page.locator(".live")).to_have_attribute("data-live", "on")
        page.evaluate("window.still = true")
        cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014")])
        cast.add_full_center(served.store, "LHR-014", minutes=60)
        served.hub.publish({"LHR-014"})
        expect(page.get_by_text("46.2 Mbit/s")).to_be_visible()
        expect(page.get_by_text("Waiting for the first reading")).to_have_count(0)
        expect(page.locator("#charts canvas")).to_have_count(4)
        assert page.evaluate("window.still") is True, "the page was loaded anew"


def test_rows_change_in_place_and_the_order_waits_for_a_refresh(browser: Browser, served, cast) -> None:
    cast.add_fleet(served.store, 40)
    before = served.hub.last_event
    served.hub.publish({"LHE-0000"})  # the register was filled after the server started
    wait_until(lambda: served.hub.last_event != before)
    with reader(browser, served.url) as page:
        page.goto("/")
        expect(page.locator(".live")).to_have_attribute("data-live", "on")
        codes = page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.id)")
        with served.store.write() as conn:
            mine = (schema.flags.c.center == "LHE-0006") & (schema.flags.c.criterion == "internet.loss")
            conn.execute(
                sa.update(schema.flags)
                .where(mine)
                .values(state="raised", verdict="below", since_ms=cast.NOW_MS, value=9, bound=2)
            )
        page.locator("#c-LHE-0006 a").focus()
        served.hub.publish({"LHE-0006"})
        row = page.locator("#c-LHE-0006")
        expect(row).to_have_class(re.compile(r"\bbelow\b"))
        expect(row).to_contain_text("Packet loss: 9 % (at most 2 %)")
        expect(row.locator("a")).to_be_focused()
        assert page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.id)") == codes
        expect(page.locator(".news")).to_have_text("1 change – refresh")
        expect(page).to_have_title("(7) Centers · Nabz")
        expect(page.locator('[data-state="below"] b')).to_have_text("5")
        page.locator(".news a").click()
        page.wait_for_function("document.querySelector('.news').hidden")
        places = page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.id)")
        assert places.index("c-LHE-0006") < codes.index("c-LHE-0006")


def test_a_page_whose_stream_is_ended_catches_up(browser: Browser, served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with reader(browser, served.url) as page:
        page.goto("/")
        expect(page.locator(".live")).to_have_attribute("data-live", "on")
        served.hub._end_all()  # as when the server drops a page that does not keep up
        cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014")])
        served.hub.publish({"LHR-014"})  # while it is away
        expect(page.locator("#c-LHR-014")).to_contain_text("Not yet judged")


# ---------------------------------------------------------------- charts


def shown_s(page: Page) -> float:
    """How many seconds the time axis shows, from its labels' own chart."""
    urls = page.evaluate("performance.getEntriesByType('resource').map(r => r.name).filter(n => n.includes('series'))")
    first, last = (int(re.search(rf"{name}=(\d+)", urls[-1])[1]) for name in ("from", "to"))
    return (last - first) / 1000


def test_the_range_is_in_the_address_and_holds_for_all_charts(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url) as page:
        page.goto("/centers/KHI-0001")
        expect(page.locator("#charts canvas")).to_have_count(4)
        assert shown_s(page) == 86_400
        with page.expect_response("**/series*kind=seats*"):
            page.get_by_role("link", name="1 hour").click()
        assert shown_s(page) == 3600
        assert "range=1h" in page.url
        expect(page.locator(".ranges [aria-current]")).to_have_text("1 hour")
        page.reload()
        expect(page.locator("#charts canvas")).to_have_count(4)
        assert shown_s(page) == 3600


def test_dragging_zooms_and_a_double_click_goes_back(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url) as page:
        page.goto("/centers/KHI-0001")
        expect(page.locator("#charts canvas")).to_have_count(4)
        over = page.locator('[data-chart="link"] .u-over')
        over.scroll_into_view_if_needed()
        place = over.bounding_box()
        middle = place["y"] + place["height"] / 2
        page.mouse.move(place["x"] + place["width"] * 0.25, middle)
        page.mouse.down()
        page.mouse.move(place["x"] + place["width"] * 0.5, middle, steps=5)
        with page.expect_response("**/series*kind=ups*"):
            page.mouse.up()
        wait_until(lambda: 5 * 3600 < shown_s(page) < 7 * 3600)  # the entry comes after the answer
        with page.expect_response("**/series*kind=ups*"):
            over.dblclick(position={"x": 40, "y": 20})
        wait_until(lambda: shown_s(page) == 86_400)


def test_the_cursor_shows_one_moment_on_every_chart(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url) as page:
        page.goto("/centers/KHI-0001")
        expect(page.locator("#charts canvas")).to_have_count(4)
        page.locator('[data-chart="ups"] .u-over').hover()
        expect(page.locator('[data-chart="ups"] .keys')).to_contain_text(re.compile(r"charge \d+ %"))
        expect(page.locator('[data-chart="link"] .keys')).to_contain_text(re.compile(r"median \d+ ms"))
        times = page.locator(".keys time").all_inner_texts()
        assert len({time for time in times if time}) >= 1


def test_a_chart_says_its_last_values_to_those_who_do_not_see_it(browser: Browser, fleet) -> None:
    with reader(browser, fleet.url) as page:
        page.goto("/centers/KHI-0001")
        expect(page.locator("#charts canvas")).to_have_count(4)
        label = page.locator('[data-chart="seats"] .plot').get_attribute("aria-label")
        assert label == "Seats, known 20, healthy 16"


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_a_test_is_asked_for_by_keyboard_and_its_turn_shows_without_asking(
    browser: Browser, served, cast, lang: str
) -> None:
    code = "KHI-0001"
    cast.insert(served.store, schema.centers, [cast.center_row(code)])
    cast.insert(served.store, schema.devices, [cast.device_row(code)])
    with served.store.write() as conn:
        requests.record_own_server(conn, "http://measure.example", b"k", 1, cast.NOW_MS, runs=True)
    running = {"en": "Running", "ur": "جاری ہے"}[lang]
    with reader(browser, served.url, lang=lang) as page:
        page.goto(f"/centers/{code}")
        expect(page.locator(".live[data-live=on]")).to_be_visible()
        button = page.locator("#test-now button")
        button.focus()
        page.keyboard.press("Enter")
        expect(button).to_be_disabled()
        expect(page.locator(".live[data-live=on]")).to_be_visible()
        with served.store.write() as conn:
            conn.execute(sa.update(schema.grants).values(state="granted", granted_ms=cast.NOW_MS))
        served.hub.publish({code})
        expect(page.locator("#test-now [role=status]")).to_contain_text(running)
        page.evaluate(AXE.read_text("utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(item["id"], item["nodes"][0]["html"][:120]) for item in found["violations"]] == []
