"""A report as JSON, CSV or a page to print. Pure: the same report gives the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import resources
from typing import Any

import jinja2
import msgspec

from agent.common.center_time import TZ
from collector.flags.cause import SAID
from collector.flags.judge import show
from collector.register.opening_hours import local
from collector.reports.revisions import Revision
from collector.reports.seat_availability import worst

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
    """A row a criterion, with the center, the month, its revision and the standard repeated in each."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("center", "month", "complete", "revision", "standard", "standard_sha256", *COLUMNS))
    head = (report["center"]["code"], report["month"], report["complete"], report["revision"]["number"])
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
        report=report, show=show, local=partial(local, tz=TZ), causes=SAID, reasons=reasons,
        worst=worst(seats["hours"], seats["promised"]),
    )  # fmt: skip


_WHY = {
    "first": ("the month was over", "مہینہ ختم ہوا"),
    "gone": (
        "the readings had been let go, so the report stands as it was",
        "ریڈنگز مدت پوری ہونے پر ہٹائی جا چکی تھیں، رپورٹ جوں کی توں ہے",
    ),
    "readings": (
        "{n} late readings, taken from {first} to {last}, of gateway {devices}",
        "گیٹ وے {devices} کی {n} تاخیر سے آئی ریڈنگز، {first} سے {last} تک",
    ),
    "records": ("{n} late records of measurement servers", "پیمائشی سرورز کے {n} تاخیر سے آئے ریکارڈ"),
    "outages": ("{n} changes of gaps and power cuts", "وقفوں اور بجلی کی بندش میں {n} تبدیلیاں"),
}


def reasons(revision: Revision | Mapping[str, Any], lang: str) -> list[str]:
    """Why a revision was made, as sentences in `en` or `ur`."""
    told = msgspec.to_builtins(revision)
    why, place = told["why"], lang == "ur"
    if not why:
        return [_WHY["first"][place]]
    values = {
        "first": local(why["first_ms"], TZ) if "first_ms" in why else "",
        "last": local(why["last_ms"], TZ) if "last_ms" in why else "",
        "devices": ", ".join(why.get("devices", ())),
    }
    said = [
        _WHY[word][place].format(n=why[word], **values) for word in ("readings", "records", "outages") if word in why
    ]
    return said + ([_WHY["gone"][place]] if told["changed"].get("readings_gone") else [])


FORMS: dict[str, Callable[[Report], str]] = {"json": as_json, "csv": as_csv, "html": as_html}


@cache
def _template() -> jinja2.Template:
    source = resources.files("collector.reports").joinpath("report.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(source)
