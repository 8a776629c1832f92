"""A month over all centers as files: a workbook in a language, rows as CSV, all of it as JSON. No I/O."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from agent.common.words import PlainWords
from collector.common.csv_rows import as_csv
from collector.reports.fleet.summary import PARTS, VERDICTS, FleetMonth
from collector.reports.ledger import BUCKETS

_TIME = ("open_minutes", *(f"{name}_minutes" for name in BUCKETS), "coverage_pct", "up_pct", "line_pct", "power_pct")
_COUNTS = tuple(VERDICTS.values())
GROUPS = ("group", "centers", *_COUNTS, "revised", *_TIME)
LEVELS = ("group", "level", "centers")
CRITERIA = ("group", "criterion", *_COUNTS)
CENTERS = ("center", "name", *PARTS, "verdict", "below", "level", "undecided", *_TIME, "revision", "sha256")

# Heads of a workbook: keys of the catalogue. Those that have none stand as they are.
_HEADS = {
    "centers": "centers", "below": "verdict.below", "watch": "verdict.watch", "not_enough_data": "verdict.unknown",
    "meets": "verdict.meets", "revised": "months.revised", "criterion": "criterion", "center": "code",
    "name": "center", "district": "center.district", "province": "center.province", "provider": "center.isp",
    "owner": "center.owner", "verdict": "verdict",
    "level": "months.level", "undecided": "months.undecided", "revision": "report.number",
    "coverage_pct": "months.coverage_pct", "up_pct": "months.up_pct", "line_pct": "months.line_pct",
    "power_pct": "months.power_pct",
    **{f"{name}_minutes": f"ledger.{name}" for name in ("open", *BUCKETS)},
}  # fmt: skip
_VERDICT_KEYS = {word: f"verdict.{'unknown' if name == 'not_enough_data' else name}" for word, name in VERDICTS.items()}


def fleet_csv(fleet: FleetMonth) -> str:
    """The groups, the last row over all: its group is empty."""
    heads = ("month", "by", *GROUPS)
    return as_csv(heads, ({"month": fleet.month, "by": fleet.by, **row} for row in [*fleet.groups, fleet.total]))


def fleet_json(fleet: FleetMonth) -> bytes:
    return msgspec.json.format(msgspec.json.encode(fleet), indent=1) + b"\n"


def fleet_workbook(fleet: FleetMonth, words: PlainWords) -> bytes:
    """Four sheets (ECMA-376): groups, their criteria, centers, consequences. Text is text, whatever it begins with; the
    same month is the same bytes."""
    import xlsxwriter  # of no use to those who never ask for one

    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(out, options) as book:
        book.set_properties({"title": f"Nabz {fleet.month}", "created": datetime(2000, 1, 1, tzinfo=UTC)})
        bold = book.add_format({"bold": True})
        by = words(_HEADS[fleet.by])
        sheets = (
            (by, GROUPS, [*fleet.groups, {**fleet.total, "group": words("months.total")}]),
            (words("criterion"), CRITERIA, fleet.criteria),
            (words("centers"), CENTERS, fleet.centers),
            (words("months.level"), LEVELS, fleet.levels),
        )
        levels = level_names(fleet, words)
        for name, columns, rows in sheets:
            sheet = book.add_worksheet(name[:31])
            if words.dir == "rtl":
                sheet.right_to_left()
            heads = [by if column == "group" else _head(column, words) for column in columns]
            sheet.write_row(0, 0, heads, bold)
            for number, row in enumerate(rows, 1):
                sheet.write_row(number, 0, _cells(row, columns, words, levels))
            sheet.freeze_panes(1, 1)
            sheet.autofilter(0, 0, max(1, len(rows)), len(columns) - 1)
            sheet.set_column(0, len(columns) - 1, 16)
    return out.getvalue()


def _head(column: str, words: PlainWords) -> str:
    return words(_HEADS[column]) if column in _HEADS else column


def level_names(fleet: FleetMonth, words: PlainWords) -> Mapping[str, str]:
    """What the levels are called; those that bind nobody say so."""
    mark = f" ({words('months.example')})" if fleet.consequences.is_example else ""
    return {
        one.id: (one.name.get(words.lang) or one.name.get("en", one.id)) + mark for one in fleet.consequences.levels
    }


def _cells(
    row: Mapping[str, object], columns: Sequence[str], words: PlainWords, levels: Mapping[str, str]
) -> list[object]:
    known = {**row, "verdict": words(_VERDICT_KEYS[str(row["verdict"])])} if "verdict" in row else {**row}
    known["level"] = levels.get(str(row.get("level", "")), "")
    return ["" if known[name] is None else known[name] for name in columns]
