"""Rows of the register as spreadsheets save them: any of their separators, empty rows and columns, typed heads."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence

from agent.common.errors import describe
from agent.common.files import clean
from collector.register.columns import COLUMNS, NEEDED, Mistake

SEPARATORS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*', re.IGNORECASE)  # what Excel is told its separator with

Row = tuple[int, dict[str, str]]  # the line on which it ends, its cells by column


def read_rows(lines: Iterable[str]) -> tuple[list[Row], list[Mistake]]:
    """Every row that is not empty, its cells by the head's names; and what is wrong with head or rows."""
    text = list(lines)
    separator, skipped = _separator(text)
    reader = csv.reader(text[skipped:], strict=True, delimiter=separator)
    head: list[str] = []
    rows: list[Row] = []
    mistakes: list[Mistake] = []
    try:
        for cells in reader:
            line = reader.line_num + skipped
            if not any(map(clean, cells)):
                continue
            if not head:
                head = [_name(cell) for cell in cells]
                if mistakes := _head_mistakes(head, line):
                    return [], mistakes
            elif rule := _misfit(head, cells):
                mistakes.append(Mistake(line, "row", rule))
            else:
                rows.append((line, {name: cell for name, cell in zip(head, cells, strict=False) if name}))
    except (csv.Error, ValueError) as error:
        return [], [Mistake(reader.line_num + skipped, "row", f"is not CSV ({describe(error)}); save the file as such")]
    if not rows:
        mistakes += [Mistake(1, name, "is missing; add this column") for name in NEEDED if name not in head]
    return rows, mistakes


def _separator(lines: Sequence[str]) -> tuple[str, int]:
    """(the sign between two cells, how many lines only say so): the one by which the head names most columns."""
    first = next((number for number, line in enumerate(lines) if clean(line.strip(f"{SEPARATORS}\r\n"))), 0)
    if lines and (named := _SEP_LINE.fullmatch(clean(lines[first]).strip())):
        return named[1], first + 1
    head = lines[first] if lines else ""
    return max(SEPARATORS, key=lambda sign: len(COLUMNS.keys() & {_name(cell) for cell in head.split(sign)})), 0


def _name(cell: str) -> str:
    """A column's name as it may be typed, over several lines too: `Seats Promised` is seats_promised."""
    plain = " ".join(clean(cell).strip('"').split())
    typed = plain.lower().replace(" ", "_")
    return typed if typed in COLUMNS else plain


def _head_mistakes(head: Sequence[str], line: int) -> list[Mistake]:
    known = f"columns are {', '.join(COLUMNS)}"
    strange = [Mistake(line, name, f"is no column; {known}") for name in head if name and name not in COLUMNS]
    absent = [] if "center" in head else [Mistake(line, "center", "is missing; add this column")]
    twice = [
        Mistake(line, name, "stands twice; keep one") for name in sorted(set(head)) if name and head.count(name) > 1
    ]
    return strange + absent + twice


def _misfit(head: Sequence[str], cells: Sequence[str]) -> str:
    """Why the cells do not lie under the head's names; or nothing. Spreadsheets leave out or add empty last cells."""
    beyond = [cell for name, cell in zip(head, cells, strict=False) if not name] + list(cells[len(head) :])
    left_out = any(name in COLUMNS and COLUMNS[name].needed for name in head[len(cells) :])
    if left_out or any(map(clean, beyond)):
        named = sum(1 for name in head if name)
        return f"has {len(cells)} cells, the head names {named}; quote cells that hold a comma"
    return ""
