"""What can be logged: kinds of events, and the values of their fields."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from agent.common.errors import code_of, describe, printable

Level = Literal["debug", "info", "warning", "error", "critical"]
Value = str | int | float | bool | None

EVENTS: dict[str, Event] = {}  # by name: every kind that a loaded module declares


@dataclass(frozen=True)
class Event:
    """One kind of line. `meaning` is written as it is, so it holds nothing that differs from line to line.

    `key` and `fields` name its fields, separated by spaces. Lines whose `key` fields are equal are the same event, of
    which few are written a minute. A field that is an exception is written in words; its code, and the file that it is
    about, are the fields `code` and `file`.
    """

    logger: str
    level: Level
    name: str
    meaning: str
    _: KW_ONLY
    key: str = ""
    fields: str = ""
    has_trace: bool = False  # the exception among the fields is written with its traceback

    def __post_init__(self) -> None:
        if EVENTS.setdefault(self.name, self) != self:
            raise ValueError(f"event {self.name} is declared twice; give one of them another name")

    def log(self, **fields: object) -> None:
        """Any thread; raises nothing."""
        logger, level = logging.getLogger(self.logger), logging.getLevelNamesMapping()[self.level.upper()]
        if logger.isEnabledFor(level):
            values = _values(fields)
            errors = (value for value in fields.values() if self.has_trace and isinstance(value, BaseException))
            message = sentence(self.meaning, values)
            logger.log(level, message, exc_info=next(errors, None), extra={"event": self, "fields": values})


def _values(fields: Mapping[str, object]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, value in fields.items():
        values[name] = scalar(value)
        if isinstance(value, BaseException):
            values.setdefault("code", code_of(value))
        if isinstance(value, OSError) and value.errno and value.filename:
            values.setdefault("file", scalar(value.filename))
    return values


def scalar(value: object) -> Value:
    """Any value as one that JSON knows and a terminal can show: text cut and escaped, exceptions described."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < 64 else "a number of more than 64 bits"
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, BaseException):
        return describe(value)
    try:
        return printable(value if isinstance(value, str) else str(value))
    except Exception:  # the line is written all the same
        return type(value).__name__


def sentence(meaning: str, values: Mapping[str, Value]) -> str:
    """The meaning, then what is known: ``the disk failed [error="no space left on device" code=ENOSPC]``."""
    known = " ".join(f"{name}={_quoted(value)}" for name, value in values.items() if value not in (None, ""))
    return f"{meaning} [{known}]" if known else meaning


def _quoted(value: Value) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(char in " \"'=[]\\" for char in text) else text
