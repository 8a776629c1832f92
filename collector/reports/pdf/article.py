"""A report's page as blocks for typst: what is read on the screen and what is printed come from one template. Pure.

A block is {"kind": "heading", "level", "runs"}, {"kind": "paragraph", "style", "runs"} or {"kind": "table", "ends":
which columns are aligned at their end, "head": [runs of a cell …], "rows": [[{"runs", "is_head"} …] …]}. A run is
{"text", "dir": "ltr", "rtl" or absent for that of the page, "style": [names]}; the text "\\n" alone breaks the line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

Block = dict[str, Any]
Attributes = Sequence[tuple[str, str | None]]

_HEADINGS = {"h1": 1, "h2": 2, "h3": 3}
_CELLS = ("td", "th")
_INLINE = {"b": "bold", "small": "small", "code": "code"}
_SPACES = " \t\n\r"  # of HTML: those that do not break stay


def blocks_of(html: str) -> list[Block]:
    """The blocks of one article of `render`."""
    parser = _Article()
    parser.feed(html)
    parser.close()
    return [block for block in parser.blocks if block["kind"] == "table" or block["runs"]]


class _Article(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self._runs: list[dict[str, Any]] | None = None
        self._open: list[tuple[str, str, str]] = []  # tag, style, direction of what is open within a block

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        values = dict(attrs)
        if tag in _HEADINGS:
            self._begin({"kind": "heading", "level": _HEADINGS[tag]})
        elif tag == "p":
            self._begin({"kind": "paragraph", "style": values.get("class") or ""})
        elif tag == "table":
            self._end()
            self.blocks.append({"kind": "table", "ends": [], "head": [], "rows": []})
        elif tag == "tr":
            self._end()
            self.blocks[-1]["rows"].append([])
        elif tag in _CELLS:
            self._cell(tag, values.get("class") or "")
        elif tag == "br":
            self._add("\n")
        elif tag in _INLINE or tag in ("bdi", "span"):
            style = (values.get("class") or "") if tag == "span" else _INLINE.get(tag, "")
            self._open.append((tag, style, (values.get("dir") or "auto") if tag in ("bdi", "code") else ""))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
        elif tag in _HEADINGS or tag in ("p", "tr", "table"):
            self._end()
            if tag == "table":
                _with_head(self.blocks[-1])

    def handle_data(self, data: str) -> None:
        if self._runs is None:
            return
        text = _collapsed(data)
        if text == " " and (not self._runs or self._runs[-1]["text"] == "\n"):
            return
        self._add(text)

    def _begin(self, block: Block) -> None:
        self._end()
        self._runs = block["runs"] = []
        self.blocks.append(block)

    def _cell(self, tag: str, style: str) -> None:
        self._end()
        self._runs = []
        table = self.blocks[-1]
        table["rows"][-1].append({"runs": self._runs, "is_head": tag == "th"})
        place = len(table["rows"][-1]) - 1
        if style == "n" and place not in table["ends"]:
            table["ends"].append(place)

    def _end(self) -> None:
        while self._runs and not self._runs[-1]["text"].strip(_SPACES):
            self._runs.pop()
        self._runs, self._open = None, []

    def _add(self, text: str) -> None:
        if self._runs is None or not text:
            return
        run: dict[str, Any] = {"text": text}
        if styles := [name for _, style, _ in self._open for name in style.split()]:
            run["style"] = styles
        stated = next((way for _, _, way in reversed(self._open) if way), "")
        if way := _direction(text) if stated == "auto" else stated:
            run["dir"] = way
        self._runs.append(run)


def _with_head(table: Block) -> None:
    """The first row is the head where all of its cells are."""
    if table["rows"] and all(cell["is_head"] for cell in table["rows"][0]):
        table["head"] = [cell["runs"] for cell in table["rows"].pop(0)]


def _collapsed(data: str) -> str:
    """As HTML shows it: any white space is one blank."""
    words = [word for word in data.replace("\t", " ").replace("\r", " ").replace("\n", " ").split(" ") if word]
    if not words:
        return " " if data else ""
    before, after = (" " if data[place] in _SPACES else "" for place in (0, -1))
    return before + " ".join(words) + after


def _direction(text: str) -> str:
    """Of the first letter that has one (UAX #9, P2)."""
    for letter in text:
        if (kind := unicodedata.bidirectional(letter)) in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return ""
