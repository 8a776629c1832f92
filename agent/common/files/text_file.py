"""The text of a file that a person saved: in UTF-8 or UTF-16, with or without a byte order mark, lines ended anyhow.

Excel writes a byte order mark or UTF-16, Notepad either, web pages hand out no-break spaces, and Urdu needs signs that
nobody sees: ZWNJ within a word, RLM beside a number. What means nothing is dropped, what is needed is kept, and what
is refused is named by code point and place. Only the standard library is needed.
"""

from __future__ import annotations

import codecs
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

from agent.common.errors import describe

# In this order: the mark of UTF-32 begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\ufeff\t]+")  # and what was once a byte order mark
JOINERS = frozenset("\u200c\u200d")  # ZWNJ and ZWJ: part of how Urdu words are written
DIRECTIONS = frozenset(map(chr, (0x200E, 0x200F, 0x061C)))  # LRM, RLM, ALM: beside numbers and Latin words in Urdu text
MOST_BLANKS = 1000  # of one TOML file, each repaired by a look of its own
_TOML_PLACE = re.compile(r"line (\d+), column (\d+)")


def read_text(path: Path) -> str:
    """The text of a file. Raises OSError, and ValueError with the place and the fix."""
    return decode(path.read_bytes())


def decode(raw: bytes) -> str:
    """The text of a file's bytes, its lines ended by LF. Raises ValueError with the place and the fix."""
    mark, encoding = next(((mark, name) for mark, name in MARKS if raw.startswith(mark)), (b"", _unmarked(raw)))
    body = raw[len(mark) :]
    if mark and mark != codecs.BOM_UTF8 and not body:
        raise ValueError("holds a byte order mark and nothing else; save the file as UTF-8")
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        before = body[: error.start].decode(encoding, "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ValueError(
            f"line {line}, column {column}: byte 0x{body[error.start]:02X} is no {encoding.upper()}; "
            "save the file as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unmarked(raw: bytes) -> str:
    """UTF-16 without its mark shows by the zero bytes of its ASCII signs; text in UTF-8 has none."""
    head = raw[:4096]
    pairs = len(head) // 2
    if pairs and head[1::2].count(0) > pairs / 4 and not head[::2].count(0):
        return "utf-16-le"
    if pairs and head[::2].count(0) > pairs / 4 and not head[1::2].count(0):
        return "utf-16-be"
    return "utf-8"


def parse_toml(raw: bytes) -> dict[str, Any]:
    """The table in a TOML file. Blanks that TOML does not know are read as blanks outside of quoted text; another sign
    that nobody sees on the page is named. Raises ValueError, also for thousands of digits; and RecursionError."""
    text = decode(raw)
    for _ in range(MOST_BLANKS):
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            at = _offset(text, error)
            if at is None or text[at].isascii():
                raise
            if not BLANKS.fullmatch(text[at]):
                raise ValueError(f"{describe(error)}: there stands {name_of(text[at])}") from None
            text = f"{text[:at]} {text[at + 1 :]}"
    raise ValueError("has too many blanks that are no spaces; write spaces")


def _offset(text: str, problem: tomllib.TOMLDecodeError) -> int | None:
    """Where tomllib stopped, at the sign that it could not take."""
    place = _TOML_PLACE.search(problem.args[0])
    if place is None:
        return None
    line, column = int(place[1]), int(place[2])
    at = sum(len(before) + 1 for before in text.split("\n")[: line - 1]) + column - 1
    return at if at < len(text) else None


# ---------------------------------------------------------------- the text of one cell


def clean(text: str) -> str:
    """Every kind of blank as a space, none at either end: a name copied from a page equals the same name typed."""
    return " ".join(part for part in BLANKS.sub(" ", text).split(" ") if part)


def refused_sign(text: str, *, urdu: bool = False) -> str | None:
    """What no line of text may hold, by code point and place; None where there is nothing of it. ``urdu``: the signs
    that writing in Arabic letters needs may stand where there are such letters."""
    allowed = JOINERS | DIRECTIONS if urdu and any(unicodedata.bidirectional(sign) == "AL" for sign in text) else ()
    for place, sign in enumerate(text, 1):
        if not sign.isprintable() and sign not in allowed:
            return f"{name_of(sign)} as letter {place}"
    return None


def name_of(sign: str) -> str:
    """For example ``U+200B ZERO WIDTH SPACE``."""
    return f"U+{ord(sign):04X} {unicodedata.name(sign, 'a control character')}"
