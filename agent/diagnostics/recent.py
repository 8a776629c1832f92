"""The last lines of the log, kept in memory: what the desk may ask for where nobody can reach the machine."""

from __future__ import annotations

import logging
import time
from collections import deque

LINES, LINE_CHARS = 150, 400


class RecentLines(logging.Handler):
    """Of this process, whatever the log's form is."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=LINES)

    def emit(self, record: logging.LogRecord) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        try:
            text = " ".join(record.getMessage().split())
        except (TypeError, ValueError):  # somebody else's line, with parameters that do not fit
            text = str(record.msg)
        self._lines.append(f"{at} {record.levelname.lower()} {record.name}: {text}"[:LINE_CHARS])

    def lines(self) -> list[str]:
        return list(self._lines)
