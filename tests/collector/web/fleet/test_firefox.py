"""The pages in Debian's Firefox, where it is installed: each lives, answers and draws, and its console has no error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from collector.web import auth
from tests.helpers.pages import firefox
from tests.helpers.pages.firefox import FirefoxPage
from tests.helpers.pages.reader import SESSION

pytestmark = [
    pytest.mark.slow,  # for `make torture`, which installs it
    pytest.mark.skipif(
        not firefox.FIREFOX.exists() and not os.environ.get("CI"), reason="Debian's firefox-esr is not installed"
    ),
]

LIVE = "document.querySelector('.live')?.dataset.live === 'on'"
ROWS = "document.querySelectorAll('tbody tr').length"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, fleet: Any) -> Iterator[FirefoxPage]:
    with firefox.launched(tmp_path_factory.mktemp("firefox")) as page:
        page.cookie(auth.COOKIE, SESSION)
        yield page
        assert page.complaints == []


def test_the_list_is_live_and_a_search_answers_while_one_types(page: FirefoxPage, fleet: Any) -> None:
    page.goto(f"{fleet.url}/")
    page.becomes(LIVE)
    page.evaluate("document.getElementById('q').focus()")
    page.keys("KHI-0001")
    page.becomes(f"{ROWS} === 1 && location.search.includes('KHI-0001')")


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_a_center_draws_its_charts(page: FirefoxPage, fleet: Any, lang: str) -> None:
    page.goto(f"{fleet.url}/centers/KHI-0001?lang={lang}")
    page.becomes(f"{LIVE} && document.querySelectorAll('#charts canvas').length === 4")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_map_draws(page: FirefoxPage, fleet: Any) -> None:
    page.goto(f"{fleet.url}/map?lang=en")
    page.becomes("document.getElementById('map').dataset.drawn !== undefined")


def test_the_desk_opens_the_help_by_a_key(page: FirefoxPage, fleet: Any) -> None:
    page.goto(f"{fleet.url}/now?lang=en")
    page.becomes(LIVE)
    page.keys("?")
    page.becomes("document.getElementById('keys').open")
