"""The standing cast and the parts every test may ask for."""

from __future__ import annotations

import gc
import re
import zlib
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import settings

from tests.helpers import ports
from tests.helpers.scheduling import LongestFirst, begins

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1, TCP and UDP, that nobody else is given."""
    return ports.free_port()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="run the fault suite at full counts")
    parser.addoption("--fault-seed", type=int, default=None, help="replay the fault suite of this seed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    """With `--dist loadfile`; it keeps the order of the collection."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return LongestFirst(config, log)


# Where PostgreSQL sees the same statements as SQLite, a fifth of the tests by name ask it in the quick run too; all do
# of judging, run, of store's own folder, and of ingest but for the servers' results.
SAME_STATEMENTS = re.compile(
    r"tests/collector/(?!judging/|run/|store/[^/]*\.py|ingest/(?!test_server_results)).*\[.*postgresql"
)
# Plays of many seconds in several variants: the quick run has one of each.
ONE_OF_EACH = re.compile(
    r"tests/collector/(?:"
    r"web/test_browser\.py::test_a_test_is_asked_for_by_keyboard\S*\[en\]"
    r"|web/fleet/test_pages\.py::test_an_operator_begins\S*\[light-en\]"
    r"|reports/test_year\.py::test_reports_are_what_was_measured\S*\[postgresql\]"
    r"|run/test_service\.py::test_a_gateway_enrols\S*\[embedded\]"
    r"|run/test_service\.py::test_it_stops_cleanly\S*\[2\]"
    r"|store/test_restores\.py::test_a_restore_loses_nothing\S*\[postgresql\]"
    r"|recovery/test_server\.py::test_a_passphrase_opens\S*\[postgresql\]"
    r"|web/fleet/test_pages\.py::test_axe_finds_nothing\S*\[light-en\]"
    r"|web/test_browser\.py::test_axe_finds_nothing\S*\[en\]"
    r"|speedtests/measure/test_browser\.py::\S*\[http\])"
)
# Each case of a form or a page starts a server of its own: the quick run has the first case of each test.
CASES = re.compile(r"tests/collector/web/(?!test_authorization)\S*\[")


def is_left_to_the_long_run(name: str) -> bool:
    is_fifth = zlib.crc32(name.encode()) % 5 == 0
    return bool(ONE_OF_EACH.match(name)) or (bool(SAME_STATEMENTS.match(name)) and not is_fifth)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bugs that are planted on purpose belong to the longer suites. What a test says of the torture catalogue travels
    with its report, from other processes too."""
    begun: set[str] = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if item.get_closest_marker("control") or is_left_to_the_long_run(item.nodeid) or test in begun:
            item.add_marker("slow")
        elif CASES.match(item.nodeid):
            begun.add(test)
    items.sort(key=lambda item: begins(item.nodeid))
    for item in items:
        item.user_properties += [("row", number) for mark in item.iter_markers("row") for number in mark.args]


def pytest_collection_finish() -> None:
    """What collecting made stays to the end: it is not looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """With `--torture`: each row of the catalogue with what became of its tests."""
    if not config.getoption("--torture"):
        return
    rows: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == "row":
                    rows[value][outcome] += 1
    terminalreporter.section("rows of the torture catalogue (docs/torture.md)")
    for number, outcomes in sorted(rows.items()):
        terminalreporter.line(f"{number:4}  " + ", ".join(f"{count} {word}" for word, count in outcomes.items()))
