"""docs/logs.md: every event that a program can log, from the declarations in the code."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence

import agent
import collector
from agent.common.logs import EVENTS, Event
from agent.common.logs.event import Value
from agent.common.logs.line import Line, as_json, as_text
from agent.uplink.session import SESSION_ENDED

HEAD = """# Logs

Made from the code by `make docs`. Programs write one line an event on standard error; under systemd that is the
journal.

`--log-format` of `nabz-agent run`, `nabz-seat` and of the collector's services chooses the form, and so does
`log_format` in `[agent]` and `[collector]` ([settings.md](settings.md)); the command line decides. How much is written
says `log_level` there.

**text**, the default, is for people: the moment (UTC), the level, the event, what it means, and what is known of it.
Under systemd the journal has the moment and gets the priority, so `journalctl -u nabz-agent -p warning` filters.

    {text}

**json** is for machines: one object a line, in ASCII. Whatever else such a program would write on standard error is
an event too: what a library logs (`library`), why a command ends (`failed`), a fault that nothing handled
(`unhandled`). Only wrong use of the command line is answered in text.

    {json}

| key | what it is |
|---|---|
| `ts` | when it happened: RFC 3339, UTC, milliseconds |
| `level` | debug, info, warning, error or critical |
| `logger` | the module that logs, so the room of the code |
| `event` | the name, from the tables below |
| `fields` | what is known, as named below; on a gateway also its `center` and `device`, on a seat PC its `seat` |
| `repeated` | how many others this line stands for; missing for none |
| `trace` | Python's traceback, rows separated by `\\n`; missing where there is none |

    journalctl -u nabz-collector -o cat | jq -c 'select(.event == "integrity_finding" and .fields.center == "LHR-1")'

Lines of the same event whose **key** fields (bold below) are equal are written at most 3 times a minute, those of one
event at most 30 times. The others are counted, and when the minute is over one line, that of the newest, tells how many
in `repeated`; if they are of several keys, their fields are `various`. Every occurrence is in exactly one line.

`error` is a sentence, `code` what a filter can hold on to: the name of an errno (`ECONNREFUSED`), SQLite's or OpenSSL's
name, the class of an exception, or a word of the program; `file` is what an error is about, if that is a file. Text is
cut at 300 characters, and characters that a terminal would obey stand as escapes: much of it comes from whoever is at
the other end.
"""

PROGRAMS = {
    "Every program": ("agent.common", "library"),
    "nabz-agent": ("agent",),
    "nabz-seat": ("nabz-seat", "agent.seat"),
    "nabz-collector": ("collector",),
}


def log_page() -> str:
    events = declared()
    made = example()
    shown = {"text": as_text(made), "json": as_json(made, {"center": "LHR-1", "device": "g0123456789abcdef"})}
    parts = [HEAD.format(**shown)]
    for program in PROGRAMS:
        parts += [f"## {program}\n", "| event | level | fields | meaning |", "|---|---|---|---|"]
        parts += [_row(event) for event in events if program_of(event) == program]
        parts.append("")
    return "\n".join(parts)


def example() -> Line:
    values: dict[str, Value] = {"broker": "192.0.2.1:8883 (TLS)", "error": "Connection refused", "code": "ECONNREFUSED"}
    return Line(1_795_000_000.25, "warning", SESSION_ENDED.logger, SESSION_ENDED, values)


def declared() -> Sequence[Event]:
    """Every event of every module, by name."""
    for package in (agent, collector):
        for module in _modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module)
    return [EVENTS[name] for name in sorted(EVENTS) if program_of(EVENTS[name])]


def _modules(path: Sequence[str], prefix: str) -> Iterator[str]:
    for module in pkgutil.iter_modules(path, prefix):
        if module.name != "collector.store.migrations":  # Alembic's, which runs them itself
            yield module.name
            if module.ispkg:
                yield from _modules(importlib.import_module(module.name).__path__, f"{module.name}.")


def program_of(event: Event) -> str:
    """The program with the longest name that the logger begins with; empty for none of ours."""
    fits = [(len(start), name) for name, starts in PROGRAMS.items() for start in starts if _is_in(event.logger, start)]
    return max(fits)[1] if fits else ""


def _is_in(logger: str, start: str) -> bool:
    return f"{logger}.".startswith(f"{start}.")


def _row(event: Event) -> str:
    fields = [*(f"**{name}**" for name in event.key.split()), *event.fields.split()]
    return f"| `{event.name}` | {event.level} | {', '.join(fields)} | {event.meaning} |"
