"""Files that people give: what they are, and what they are called."""

from __future__ import annotations

import pytest

from collector.common.attachments import PNG_HEAD, Kind, kind_of, name_of

JPEG, PNG = b"\xff\xd8\xff\xe0JFIF", PNG_HEAD + b"..."
PDF, CSV = b"%PDF-1.7\n...\n%%EOF\n", "time,down\n09:00,3\nصبح,4\n".encode()


@pytest.mark.parametrize(("body", "kind"), [(JPEG, "jpeg"), (PNG, "png"), (PDF, "pdf"), (CSV, "csv")])
def test_what_a_file_is_its_content_says(body: bytes, kind: str) -> None:
    assert kind_of(body) == kind


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"\xef\xbb\xbf \n<svg onload=x>", b"MZ\x90\x00", b"PK\x03\x04", b"GIF89a\x01", b"%PDF-1.7 cut off",
     b"a,b\x00c", b"caf\xe9,1", b"\x89PNG\r\n\x1a\nrest"],
)  # fmt: skip
def test_anything_else_is_refused(body: bytes) -> None:
    assert kind_of(body) is None


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [("mast.jpg", "jpeg", "mast.jpg"), ("C:\\a\\../x.html", "csv", "x.html.csv"), ("../../passwd", "pdf", "passwd.pdf"),
     ("", "png", "file.png"), ("x" * 300 + ".pdf", "pdf", "x" * 60 + ".pdf"), ("مستول.jpeg", "jpeg", "مستول.jpeg")],
)  # fmt: skip
def test_a_name_leads_nowhere_and_its_suffix_is_of_the_content(given: str, kind: Kind, name: str) -> None:
    assert name_of(given, kind) == name


def test_a_name_has_nothing_that_breaks_a_header() -> None:
    assert not set('"\r\n;\\') & set(name_of('a"b\r\n;c\\d".png', "png"))
