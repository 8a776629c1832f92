"""A collector that is stopped by a signal, and a database that does not answer: what open pages say, and that they come
back by themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from collector.store import Store, schema
from collector.web import auth
from tests.collector.run.test_service import House
from tests.helpers.pages import chromium

chromium.needed()

SESSION = "the-session-of-these-tests"
LATE_S, GONE_S, GIVES_UP_S = 31, 121, 25  # until a page is amber, red; until a question of it is given up

pytestmark = pytest.mark.slow


def reading(browser: Browser, url: str) -> Page:
    """The list of somebody whose clock the test can move on."""
    context = browser.new_context(base_url=url, locale="en-GB")
    context.set_default_timeout(60_000)
    context.add_cookies([{"name": auth.COOKIE, "value": SESSION, "url": url}])
    page = context.new_page()
    page.clock.install()
    page.goto("/")
    expect(page.locator(".live")).to_have_attribute("data-live", "on")
    return page


def processes(pid: int) -> list[int]:
    """A process and all that descend from it, by /proc/PID/task/PID/children (proc(5))."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in processes(int(child)))]


@pytest.fixture
def stopped_house(tmp_path: Path, cast: Any) -> Iterator[House]:
    """A whole collector in processes of its own, with a center and somebody who is logged in."""
    house = House(tmp_path)
    house.data.mkdir()
    store = Store.open(f"sqlite:///{house.data}/nabz.db")
    cast.insert(store, schema.centers, [cast.center_row("LHR-014")])
    cast.add_account(store, "Amna", "admin", now_ms=time.time_ns() // 1_000_000, cookie=SESSION)
    store.close()
    process = house.serve()
    house.wait_healthy()
    yield house
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_collector_that_is_stopped_turns_amber_then_red_and_comes_back(
    browser: Browser, stopped_house: House
) -> None:
    page = reading(browser, f"http://127.0.0.1:{stopped_house.web}")
    assert stopped_house.process is not None
    all_of_it = processes(stopped_house.process.pid)
    assert len(all_of_it) > 1, "pages have a process of their own"
    for pid in all_of_it:
        os.kill(pid, signal.SIGSTOP)
    page.clock.run_for(LATE_S * 1000)
    expect(page.locator(".live")).to_have_attribute("data-live", "late")
    page.clock.run_for((GONE_S - LATE_S) * 1000)
    expect(page.locator(".live")).to_have_attribute("data-live", "off")
    expect(page.locator("#c-LHR-014")).to_be_visible()
    for pid in all_of_it:
        os.kill(pid, signal.SIGCONT)
    page.clock.run_for(LATE_S * 1000)
    expect(page.locator(".live")).to_have_attribute("data-live", "on")
    page.context.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_database_that_does_not_answer_is_said_beside_the_old_list(
    browser: Browser, database_url: str, standards: Any, cast: Any, tmp_path: Path
) -> None:
    store = Store.open(database_url)
    cast.insert(store, schema.centers, [cast.center_row("LHR-014"), cast.center_row("LHR-015", 1)])
    locking = sa.create_engine(database_url)
    with cast.serve(store, standards, tmp_path) as served, locking.connect() as lock:
        page = reading(browser, served.url)
        lock.execute(sa.text("LOCK TABLE centers, center_states IN ACCESS EXCLUSIVE MODE"))
        with page.expect_request("**/?q=LHR-015*"):
            page.fill("#q", "LHR-015")
            page.clock.run_for(1000)
        page.clock.run_for(GIVES_UP_S * 1000)
        expect(page.locator(".trouble")).to_contain_text("the server did not answer")
        expect(page.locator("tbody tr")).to_have_count(2)
        lock.rollback()
        page.fill("#q", "LHR-014")
        page.clock.run_for(1000)
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator(".trouble")).to_be_hidden()
        page.context.close()
    locking.dispose()
    store.close()
