"""Where a program begins its log, and what it does with whatever nothing else catches."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, TextIO, get_args

from agent.common.logs.event import Event, Level
from agent.common.logs.handler import LineHandler
from agent.common.logs.line import Line, as_json, as_text, for_journal, undated

Format = Literal["text", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
JOURNAL = "JOURNAL_STREAM"

UNHANDLED = Event(
    __name__, "critical", "unhandled", "nothing handled an exception: a fault of this program", key="where",
    fields="error", has_trace=True,
)  # fmt: skip
FAILED = Event(__name__, "error", "failed", "a command ends with a mistake", key="message")


def argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-format", choices=FORMATS, help="the log as text or as one JSON object a line (default: as set, or text)"
    )


@contextmanager
def also_to(handler: logging.Handler) -> Iterator[None]:
    """Everything that is logged meanwhile goes to this handler too."""
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def start(
    level: Level,
    form: Format | None = None,
    *,
    context: Mapping[str, str] | None = None,
    quiet: Mapping[str, Level] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Everything that is logged goes to `stream`, standard error, from here on; called again, by the newest settings.

    `context` are fields of every JSON line: which machine writes. `quiet` are libraries that speak from a level on.
    """
    stream = stream or sys.stderr
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, LineHandler):
            root.removeHandler(handler)
            handler.close()
    root.addHandler(_Writer(stream, form or "text", context or {}))
    root.setLevel(level.upper())
    hush(quiet or {})
    logging.captureWarnings(True)
    sys.excepthook, sys.unraisablehook, threading.excepthook = _of_program, _of_object, _of_thread


def hush(libraries: Mapping[str, Level]) -> None:
    """Libraries that speak from a level on: what they find is returned, or is of no use to anybody."""
    for name, least in libraries.items():
        logging.getLogger(name).setLevel(least.upper())


def complain(text: str, program: str = "") -> None:
    """Why a command ends, in sentences of a line each. Text begins with the `program`; with JSON each is an event."""
    handler = next((one for one in logging.getLogger().handlers if isinstance(one, _Writer)), None)
    for line in text.splitlines():
        if handler is not None and handler.form == "json":
            FAILED.log(message=line)
        else:
            sys.stderr.write(f"{program}: {line}\n" if program else f"{line}\n")


class _Writer(LineHandler):
    def __init__(self, stream: TextIO, form: Format, context: Mapping[str, str]) -> None:
        super().__init__(stream, self._rendered)
        self.form, self._context, self._is_journal = form, context, is_journal(stream, os.environ.get(JOURNAL))

    def _rendered(self, line: Line) -> str:
        if self.form == "json":
            shown = as_json(line, self._context)
        else:
            shown = undated(line) if self._is_journal else as_text(line)
        return for_journal(line, shown) if self._is_journal else shown


def is_journal(stream: TextIO, named: str | None) -> bool:
    """Whether systemd reads this very stream. `named` is JOURNAL_STREAM of systemd.exec(5), which children inherit."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


# ---------------------------------------------------------------- what nothing else catches


def _of_program(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    if not isinstance(error, KeyboardInterrupt):
        UNHANDLED.log(where="main thread", error=error)


def _of_thread(args: threading.ExceptHookArgs) -> None:
    if not isinstance(args.exc_value, SystemExit):
        UNHANDLED.log(where=args.thread and args.thread.name, error=args.exc_value)


def _of_object(args: sys.UnraisableHookArgs) -> None:
    UNHANDLED.log(where=args.object, error=args.exc_value)
