"""Files that people give: photos, PDFs, tables. What a file is its content says, never its name. Pure."""

from __future__ import annotations

import re
from typing import Literal

from collector.common.messages import one_line

MAX_BYTES = 4_000_000  # of one file
MAX_NAME = 64

Kind = Literal["jpeg", "png", "pdf", "csv"]
MEDIA: dict[Kind, str] = {
    "jpeg": "image/jpeg", "png": "image/png", "pdf": "application/pdf", "csv": "text/csv; charset=utf-8",
}  # fmt: skip
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg"), "png": (".png",), "pdf": (".pdf",), "csv": (".csv", ".txt"),
}  # fmt: skip
PICTURES: tuple[Kind, ...] = ("jpeg", "png")
PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
UNFIT = re.compile(r'[\\/:*?"<>|;%]')  # in a file's name, somewhere


def kind_of(body: bytes) -> Kind | None:
    """By its content; None: of no kind that is taken."""
    if body.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if body.startswith(PNG_HEAD):
        return "png"
    if body.startswith(b"%PDF-") and b"%%EOF" in body[-1024:]:
        return "pdf"
    return "csv" if _is_table(body) else None


def _is_table(body: bytes) -> bool:
    """Whether it is plain text that no reader takes for a page or a picture."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return CONTROL.search(text) is None and not text.lstrip().startswith(("<", "%PDF"))


def name_of(given: str, kind: Kind) -> str:
    """A name that every file system takes, whose suffix is of its content."""
    text = UNFIT.sub("_", one_line(given.replace("\\", "/").rpartition("/")[2], 200)).strip(". ")
    suffix = next((one for one in SUFFIXES[kind] if text.lower().endswith(one)), None)
    stem = text[: -len(suffix)] if suffix else text
    suffix = suffix or SUFFIXES[kind][0]
    return f"{stem[: MAX_NAME - len(suffix)] or 'file'}{suffix}"
