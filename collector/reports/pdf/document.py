"""A report laid out by typst, in a process of its own: what it takes is given back, and what hangs is ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from agent.common.words import PlainWords, plain
from collector.common.html_words import html_words
from collector.reports import render
from collector.reports.ledger import BUCKETS
from collector.reports.pdf.article import Block, blocks_of

TIMEOUT_S = 60
COLORS = {
    "up": "#2f9e78", "below": "#e0a030", "down": "#c0392b", "excused": "#9db4c8", "unknown_explained": "#8d8d8d",
    "unknown_unexplained": "#4a4a4a", "ours": "#7a5ea8",
}  # fmt: skip


class PdfError(Exception):
    """No PDF can be made or read; one sentence with the thing, the rule and the fix."""


def as_pdf(report: Mapping[str, Any], lang: str = "en") -> bytes:
    """The same report gives the same bytes on one machine: its fonts are those of the system. Raises PdfError."""
    need("typst")
    values = json.dumps(values_of(report, lang), ensure_ascii=False).encode()
    command = [sys.executable, "-m", "collector.reports.pdf.layout"]
    try:
        done = subprocess.run(command, input=values, capture_output=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PdfError(f"report: was not laid out in {TIMEOUT_S} s; try again on a machine that is less busy") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise PdfError(f"report: cannot be laid out ({lines[-1][:200]})")
    return done.stdout


def need(module: str) -> None:
    """Raises PdfError."""
    if find_spec(module) is None:
        raise PdfError(f"PDF: {module} is not installed; install the extra `reports`: pip install 'nabz[reports]'")


def values_of(report: Mapping[str, Any], lang: str) -> dict[str, Any]:
    """Pure. What the template lays out."""
    words = html_words(lang)
    blocks = blocks_of(render.article(report, words))
    picture = _picture(report, plain(lang))
    place = next((i for i, block in enumerate(blocks) if block["kind"] == "heading" and block["level"] == 2), 0)
    label = f"{report['center']['code']} {report['month']}"
    return {
        "lang": words.lang, "dir": words.dir, "title": f"Nabz {label}", "author": "Nabz",
        "label": label,
        "letters": ["Urdu", "Latin"] if words.dir == "rtl" else ["Latin", "Urdu"],
        "blocks": [*blocks[:place], *picture, *blocks[place:]],
    }  # fmt: skip


def _picture(report: Mapping[str, Any], words: PlainWords) -> Iterator[Block]:
    """A bar a day of its open minutes, by bucket; reports before format 5 have no days."""
    days = report.get("days") or ()
    names = [name for name in BUCKETS if any(day[name] for day in days)]
    if names:
        yield {
            "kind": "picture",
            "alt": words("report.picture"),
            "days": [[{"minutes": day[name], "color": COLORS[name]} for name in names] for day in days],
            "legend": [{"color": COLORS[name], "text": words(f"ledger.{name}")} for name in names],
        }
