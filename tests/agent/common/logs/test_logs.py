"""Events, their fields, and the lines that come of them, ours and libraries'."""

from __future__ import annotations

import errno
import io
import json
import logging
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.errors import LIMIT
from agent.common.logs.event import EVENTS, Event, scalar
from agent.common.logs.handler import LineHandler
from agent.common.logs.line import LIBRARY, Line, as_json, as_text, for_journal, undated
from agent.common.logs.repeats import PER_KEY, WINDOW_S
from agent.common.logs.setup import is_journal

REFUSED = Event(
    "test.logs", "warning", "test_refused", "a batch was refused", key="device code", fields="error", has_trace=True
)
QUIET = Event("test.logs", "debug", "test_quiet", "of no interest")


class Log:
    """A handler on a logger of its own, whose clock is `now_s`."""

    def __init__(self, name: str = "test.logs") -> None:
        self.now_s = 0.0
        self.text = io.StringIO()
        self.handler = LineHandler(self.text, lambda line: as_json(line, {"center": "LHR-1"}), lambda: self.now_s)
        self.logger = logging.getLogger(name)
        self.logger.addHandler(self.handler)
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False

    def close(self) -> None:
        self.logger.removeHandler(self.handler)
        self.handler.close()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    made.close()


def test_an_event_is_an_object_with_its_fields_and_who_writes(log: Log) -> None:
    REFUSED.log(device="g1", code="fork", error="other readings")
    (line,) = log.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("ts")))
    assert line == {
        "level": "warning",
        "logger": "test.logs",
        "event": "test_refused",
        "fields": {"center": "LHR-1", "device": "g1", "code": "fork", "error": "other readings"},
    }


def test_below_the_level_nothing_is_written(log: Log) -> None:
    QUIET.log()
    assert log.lines() == []


def test_an_exception_is_words_a_code_and_a_trace(log: Log) -> None:
    try:
        raise ConnectionResetError
    except OSError as error:
        REFUSED.log(device="g1", error=error)
    (line,) = log.lines()
    assert line["fields"] == {
        "center": "LHR-1", "device": "g1", "error": "connection reset", "code": "ConnectionResetError",
    }  # fmt: skip
    trace = str(line["trace"]).splitlines()
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ConnectionResetError"


def test_a_file_that_fails_is_named(log: Log) -> None:
    REFUSED.log(device="g1", error=PermissionError(errno.EACCES, "Permission denied", "/etc/x"))
    (line,) = log.lines()
    assert line["fields"] == {
        "center": "LHR-1", "device": "g1", "error": "Permission denied", "code": "EACCES", "file": "/etc/x",
    }  # fmt: skip


def test_ten_thousand_at_once_are_a_handful_of_lines_with_an_exact_count(log: Log) -> None:
    def storm() -> None:
        for _ in range(1000):
            REFUSED.log(device="g1", code="fork", error="other readings")

    threads = [threading.Thread(target=storm) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log.lines()) == PER_KEY
    log.now_s += WINDOW_S
    REFUSED.log(device="g2", code="fork", error="other readings")
    counted, other = log.lines()[PER_KEY:]
    assert (counted["repeated"], counted["fields"]) == (10_000 - PER_KEY - 1, log.lines()[0]["fields"])
    assert other["fields"] == {"center": "LHR-1", "device": "g2", "code": "fork", "error": "other readings"}


def test_many_devices_at_once_are_one_count_that_names_none_of_them(log: Log) -> None:
    for number in range(10_000):
        REFUSED.log(device=f"g{number}", code="fork", error="other readings")
    log.handler.close()
    *lines, last = log.lines()
    assert len(lines) + 1 + int(str(last["repeated"])) == 10_000
    assert len(lines) < 50
    assert last["fields"] == {"center": "LHR-1", "device": "various", "code": "various", "error": "other readings"}


def timers() -> list[threading.Timer]:
    """Those that run; handlers that other tests started in this process may have one each."""
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_what_is_counted_is_written_though_nothing_more_happens(log: Log) -> None:
    """By a timer, whose minute is not waited for here: it is made to be over."""
    before = set(timers())
    for _ in range(PER_KEY + 5):
        REFUSED.log(device="g1", code="fork", error="other readings")
    (timer,) = set(timers()) - before
    log.now_s += WINDOW_S
    timer.function()
    assert [line.get("repeated") for line in log.lines()] == [None] * PER_KEY + [4]
    timer.cancel()


HOSTILE = [
    "two\nlines", "\x1b[2Jcleared", "\u202eturned", "\x00", "\ud800", 'quoted" x="y', "x" * 10_000, b"bytes\n",
    math.nan, math.inf, 10**5000, ValueError("a\nb"), ["a\n"], object(), Path("/a\nb"), None, True,
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
def test_no_value_breaks_a_line_or_fills_it(log: Log, value: object) -> None:
    REFUSED.log(device=value, code="x", error=value)
    (line,) = log.lines()
    fields = line["fields"]
    assert isinstance(fields, dict)
    text = str(fields["device"])
    assert text.isprintable()
    assert len(text) <= LIMIT
    assert log.text.getvalue().count("\n") == 1
    assert log.text.getvalue().isascii()


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.lists(st.text())))
def test_any_value_is_a_short_printable_scalar(value: object) -> None:
    clean = scalar(value)
    assert clean is None or isinstance(clean, str | int | float)
    json.loads(json.dumps(clean), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    text = as_text(Line(0.0, "info", "test", REFUSED, {"error": clean}))
    assert len(text.splitlines()) == 1
    assert text.isprintable()


class Unsayable:
    def __str__(self) -> str:
        raise RuntimeError


def test_a_value_that_cannot_be_said_is_named_by_its_class() -> None:
    assert scalar(Unsayable()) == "Unsayable"


def test_a_library_speaks_through_the_same_handler() -> None:
    log = Log("paho_for_this_test")
    try:
        log.logger.warning("lost %s\nmore", "it")
        log.logger.warning("does not fit %d", "x")
        log.logger.log(25, "between two levels")
        log.logger.error("broken", exc_info=ValueError("why"))
    finally:
        log.close()
    shown = [(line["event"], line["level"], line["fields"]) for line in log.lines()]
    assert shown == [
        ("library", "warning", {"center": "LHR-1", "message": "lost it"}),
        ("library", "warning", {"center": "LHR-1", "message": "does not fit %d"}),
        ("library", "info", {"center": "LHR-1", "message": "between two levels"}),
        ("library", "error", {"center": "LHR-1", "message": "broken"}),
    ]
    assert log.lines()[-1]["trace"] == "ValueError: why"


def line(event: Event, values: dict[str, str | int | float | bool | None], **more: object) -> Line:
    return Line(1_795_000_000.25, "warning", "test.logs", event, values, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (line(QUIET, {}), "WARNING test_quiet: of no interest"),
        (
            line(REFUSED, {"device": "g1", "code": None, "error": 'say "no"'}),
            r'WARNING test_refused: a batch was refused [device=g1 error="say \"no\""]',
        ),
        (line(QUIET, {"number": 0}, repeated=7), "WARNING test_quiet: of no interest [number=0 repeated=7]"),
        (line(QUIET, {}, trace="a\nb"), "WARNING test_quiet: of no interest\n    a\n    b"),
        (line(LIBRARY, {"message": "lost"}), "WARNING test.logs: lost"),
    ],
)
def test_text_is_a_sentence_and_what_is_known(made: Line, text: str) -> None:
    assert undated(made) == text
    assert as_text(made) == f"2026-11-18T11:06:40.250Z {text}"


def test_the_journal_gets_the_priority_of_each_row() -> None:
    made = line(QUIET, {}, trace="a")
    assert for_journal(made, undated(made)) == "<4>WARNING test_quiet: of no interest\n<4>    a"


def test_only_the_stream_that_systemd_reads_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "file").open("w") as file:
        status = os.fstat(journal.fileno())
        named = f"{status.st_dev}:{status.st_ino}"
        streams = (journal, file, io.StringIO())
        assert [is_journal(stream, named) for stream in streams] == [True, False, False]
        assert not is_journal(journal, None)


def test_a_second_event_of_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="test_quiet is declared twice"):
        Event("test.logs", "info", "test_quiet", "another meaning")
    assert EVENTS["test_quiet"] is QUIET


def test_a_stream_that_is_gone_ends_nothing(log: Log) -> None:
    log.text.close()
    REFUSED.log(device="g1")


PROGRAM = """
import logging, sys, threading, warnings
from agent.common import logs
from agent.common.logs import Event
DONE = Event("test", "info", "test_done", "done", key="number")
logs.start("info", sys.argv[1], context={"device": "g1"})
logs.start("info", sys.argv[1], context={"device": "g1"})
for _ in range(10):
    DONE.log(number=1)
warnings.warn("old")
logs.complain("one\\ntwo", "nabz-test")
thread = threading.Thread(target=lambda: 1 / 0, name="web")
thread.start()
thread.join()
class Broken:
    def __del__(self):
        raise OSError(28, "full")
Broken()
raise KeyError("end")
"""


def written_by(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()


def test_everything_that_a_program_writes_is_json() -> None:
    lines = [json.loads(row) for row in written_by("json")]
    events = [(row["event"], row.get("repeated", 0)) for row in lines]
    assert events == [
        *[("test_done", 0)] * PER_KEY, ("library", 0), ("failed", 0), ("failed", 0), *[("unhandled", 0)] * 3,
        ("test_done", 6),
    ]  # fmt: skip
    assert all(row["fields"]["device"] == "g1" for row in lines)
    errors = [(row["fields"]["where"].partition(" ")[0], row["fields"]["error"]) for row in lines if "trace" in row]
    assert errors[0] == ("web", "zero division error: division by zero")
    assert [error for _where, error in errors[1:]] == ["full", "key error: 'end'"]


def test_text_begins_each_line_with_its_moment() -> None:
    rows = written_by("text")
    assert rows[PER_KEY + 1 : PER_KEY + 3] == ["nabz-test: one", "nabz-test: two"]
    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ ")
    assert all(moment.match(row) or row.startswith(("    ", "nabz-test: ")) for row in rows)
