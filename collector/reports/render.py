"""A report as JSON, CSV or a page to print. The same report gives the same JSON; words come from the catalogue."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from typing import Any, TypeVar

import jinja2
import msgspec

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from agent.common.words import Renderer, plain
from collector.common.html_words import HtmlWords, html_words
from collector.register.opening_hours import local
from collector.register.opening_text import opening_text
from collector.reports.revisions import Revision
from collector.reports.seat_availability import worst

Report = Mapping[str, Any]
S = TypeVar("S", bound=str)

LANGUAGES = ("en", "ur")  # of a printed page, one after the other
COLUMNS = (
    "criterion", "subject", "name", "verdict", "reason", "reason_code", "samples", "met", "met_pct", "asked_pct",
    "lower_95_pct", "upper_95_pct", "unknown", "decided_by_data", "bound", "unit", "p10", "median", "p90", "days",
    "slots", "covered_minutes", "coverage_pct", "asked_coverage_pct", "grade",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(report: Report) -> str:
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"


def as_csv(report: Report) -> str:
    """A row a criterion, with the center, the month, its revision and the standard repeated in each; in English."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("center", "month", "complete", "revision", "standard", "standard_sha256", *COLUMNS))
    head = (report["center"]["code"], report["month"], report["complete"], report["revision"]["number"])
    standard = report["standard"]
    for row in report["criteria"]:
        reason = reason_of(row["reason"])
        row = {**row, "reason": plain().reason(reason), "reason_code": reason.code}
        cells = (*head, standard["id"], standard["sha256"], *(row.get(name) for name in COLUMNS))
        writer.writerow([safe_cell(cell) for cell in cells])
    return text.getvalue()


def safe_cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula is made plain text; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_html(report: Report, languages: Sequence[HtmlWords] = ()) -> str:
    """One file without scripts or anything from elsewhere: the report in each language, one after the other."""
    languages = languages or [html_words(lang) for lang in LANGUAGES]
    articles = [article(report, words) for words in languages]
    return _template("page.html").render(report=report, articles=articles, lang=languages[0].lang)


def article(report: Report, words: HtmlWords) -> str:
    """The report in one language, as an `article` of HTML."""
    seats, center = report["seats"], report["center"]
    places = [words.name(center[name]) for name in ("city", "district") if center[name]]
    places += [words.place(center["province"])] if center["province"] else []
    return _template("report.html").render(
        report=report, t=words, worst=worst(seats["hours"], seats["promised"]), place=words.listed(places),
        hours=opening_text(center["opening"], words), local=partial(local, tz=TZ), named=partial(named, words=words),
        revised=partial(reasons, words=words), reason_of=reason_of, reasons_of=partial(map, reason_of),
        not_counted=not_counted, ltrs=partial(map, words.ltr),
    )  # fmt: skip


# ---------------------------------------------------------------- what stands in a report


def reason_of(value: object) -> Reason:
    """A reason as a report has it; those before format 3 have sentences."""
    return Reason.text(value) if isinstance(value, str) else msgspec.convert(value, Reason)


def not_counted(row: Mapping[str, Any]) -> Iterator[tuple[Reason, int]]:
    """Why samples of this row were not counted, and how many for each reason."""
    counts = row["not_counted"]
    if isinstance(counts, Mapping):  # before format 3
        yield from ((Reason.text(text), count) for text, count in counts.items())
    else:
        yield from ((reason_of(item["reason"]), item["count"]) for item in counts)


def named(row: Mapping[str, Any], words: Renderer[S]) -> S:
    """A criterion's name as the report has it, in this language or else in English."""
    names = row.get("names") or {"en": row["name"], "ur": row["name_ur"]}
    return words.fill("{name}", {"name": names[words.lang]}) if words.lang in names else words.raw(names["en"])


def reasons(revision: Revision | Mapping[str, Any], words: Renderer[S]) -> list[S]:
    """Why a revision was made."""
    fields = msgspec.to_builtins(revision)
    why = fields["why"]
    if not why:
        return [words("revision.first")]
    values = {
        "first": words.ltr(local(why["first_ms"], TZ)) if "first_ms" in why else words("none"),
        "last": words.ltr(local(why["last_ms"], TZ)) if "last_ms" in why else words("none"),
        "devices": words.listed(map(words.ltr, why.get("devices", ()))),
    }
    sentences = [
        words.many(f"revision.{name}", why[name], **values)
        for name in ("readings", "records", "outages", "facts", "calendar", "disputes", "inspections")
        if name in why
    ]
    return sentences + ([words("revision.gone")] if fields["changed"].get("readings_gone") else [])


FORMS: dict[str, Callable[[Report], str]] = {"json": as_json, "csv": as_csv, "html": as_html}


@cache
def _template(name: str) -> jinja2.Template:
    source = resources.files("collector.reports").joinpath(name).read_text("utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(source)
