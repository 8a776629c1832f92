"""From a record of Python's logging, ours or a library's, to the line that is written."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from agent.common.errors import one_line, printable
from agent.common.logs.event import Event, Level, Value, sentence

SYSLOG: dict[Level, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # RFC 5424, table 2
TRACE_LINES = 40

LIBRARY = Event("library", "warning", "library", "what a library that Nabz uses logs itself", fields="message")


@dataclass(frozen=True, slots=True)
class Line:
    """`ts_s` is UTC, in seconds since 1970. `key` names the fields that tell the same event from others."""

    ts_s: float
    level: Level
    logger: str
    event: Event
    values: Mapping[str, Value]
    trace: str = ""
    repeated: int = 0  # others that this line stands for

    @property
    def group(self) -> str:
        """Under whose limit the line falls: its event's or its library's."""
        return self.logger.partition(".")[0] if self.event is LIBRARY else self.event.name

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for lines of the same event in the same group."""
        if self.event is LIBRARY:
            return (self.logger, str(self.values["message"]))
        return tuple(str(self.values.get(name)) for name in self.event.key.split())


def line_of(record: logging.LogRecord) -> Line:
    """Our own records carry their event and its values; those of libraries become one."""
    event = getattr(record, "event", None)
    if isinstance(event, Event):
        values: Mapping[str, Value] = getattr(record, "fields", {})
    else:
        event, values = LIBRARY, {"message": _message(record)}
    return Line(record.created, _level(record.levelno), record.name, event, values, _trace(record))


def _message(record: logging.LogRecord) -> str:
    try:
        return one_line(record.getMessage())
    except Exception:  # a library's template and its arguments need not fit
        return one_line(str(record.msg))


def _level(number: int) -> Level:
    levels: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")
    return levels[max(1, min(5, number // 10)) - 1]


def _trace(record: logging.LogRecord) -> str:
    """The last lines of the traceback, printable, separated by line ends; empty without one."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    rows = "".join(traceback.format_exception(record.exc_info[1], limit=-TRACE_LINES)).splitlines()
    return "\n".join(printable(row) for row in rows[-TRACE_LINES:])


# ---------------------------------------------------------------- as people and machines read it


def as_json(line: Line, context: Mapping[str, str]) -> str:
    """One object in ASCII. `context` are fields of every line: who writes."""
    shown: dict[str, object] = {
        "ts": _timestamp(line.ts_s),
        "level": line.level,
        "logger": line.logger,
        "event": line.event.name,
        "fields": {**context, **line.values},
    }
    if line.repeated:
        shown["repeated"] = line.repeated
    if line.trace:
        shown["trace"] = line.trace
    return json.dumps(shown)


def as_text(line: Line) -> str:
    """With a date, for a terminal or a file. Lines of a traceback are indented."""
    return f"{_timestamp(line.ts_s)} {undated(line)}"


def for_journal(line: Line, text: str) -> str:
    """Each row with its priority, as sd-daemon(3) asks for; the journal dates it."""
    return "\n".join(f"<{SYSLOG[line.level]}>{row}" for row in text.split("\n"))


def undated(line: Line) -> str:
    """What `as_text` writes after the date."""
    values = dict(line.values)
    name, meaning = line.event.name, line.event.meaning
    if line.event is LIBRARY:
        name, meaning = line.logger, str(values.pop("message"))
    if line.repeated:
        values["repeated"] = line.repeated
    trace = "".join(f"\n    {row}" for row in line.trace.splitlines())
    return f"{line.level.upper()} {name}: {sentence(meaning, values)}{trace}"


def _timestamp(ts_s: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ts_s)) + f".{int(ts_s * 1000) % 1000:03}Z"
