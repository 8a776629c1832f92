"""A report as JSON, CSV or a page to print. Pure: the same report gives the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from collector.flags.cause import SAID
from collector.flags.judge import show
from collector.opening import local
from collector.usable import worst

Report = Mapping[str, Any]

COLUMNS = (
    "criterion", "subject", "name", "verdict", "reason", "samples", "met", "met_pct", "asked_pct", "upper_95_pct",
    "bound", "unit", "p10", "median", "p90", "days", "slots", "covered_minutes", "coverage_pct", "asked_coverage_pct",
    "grade",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(report: Report) -> str:
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"


def as_csv(report: Report) -> str:
    """A row a criterion, with the center, the month and the standard repeated in each."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("center", "month", "complete", "standard", "standard_sha256", *COLUMNS))
    head = (report["center"]["code"], report["month"], report["complete"])
    standard = report["standard"]
    for row in report["criteria"]:
        cells = (*head, standard["id"], standard["sha256"], *(row[name] for name in COLUMNS))
        writer.writerow([safe_cell(cell) for cell in cells])
    return text.getvalue()


def safe_cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula is made plain text; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_html(report: Report) -> str:
    """One file without scripts or anything from elsewhere."""
    seats = report["seats"]
    return _template().render(
        report=report, show=show, local=local, causes=SAID, worst=worst(seats["hours"], seats["promised"])
    )


FORMS: dict[str, Callable[[Report], str]] = {"json": as_json, "csv": as_csv, "html": as_html}


@cache
def _template() -> jinja2.Template:
    source = resources.files("collector").joinpath("report.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(source)
