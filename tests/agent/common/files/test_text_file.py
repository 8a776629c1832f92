"""Files as people save them: every encoding that editors and spreadsheets write gives the same text and table."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from agent import config_file
from agent.common.files import clean, decode, parse_toml, refused_sign
from agent.seat.snapshot import parse_key
from collector import standard
from collector.common import config as collector_config

TEXT = '[agent]\nstate_dir = "/tmp/nabz-x"\n'
NAME = "ای\u200cروزگار مرکز"
WAYS = {
    "plain": ("utf-8", b""),
    "utf-8 mark": ("utf-8", codecs.BOM_UTF8),
    "utf-16-le mark": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-16-be mark": ("utf-16-be", codecs.BOM_UTF16_BE),
    "utf-16-le": ("utf-16-le", b""),
    "utf-16-be": ("utf-16-be", b""),
    "utf-32-le mark": ("utf-32-le", codecs.BOM_UTF32_LE),
    "utf-32-be mark": ("utf-32-be", codecs.BOM_UTF32_BE),
}


def saved(text: str, way: str) -> bytes:
    encoding, mark = WAYS[way]
    return mark + text.encode(encoding)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_however_it_is_saved_the_text_is_the_same(way: str, end: str) -> None:
    assert decode(saved((TEXT + f"# {NAME}\n").replace("\n", end), way)) == TEXT + f"# {NAME}\n"


@pytest.mark.parametrize("way", WAYS)
def test_every_file_of_ours_is_read_so(tmp_path: Path, way: str) -> None:
    """Settings of both programs, a standard, a key, a secret."""
    (tmp_path / "agent.toml").write_bytes(saved(TEXT.replace("\n", "\r\n"), way))
    assert str(config_file.load(tmp_path / "agent.toml").state_dir) == "/tmp/nabz-x"
    (tmp_path / "collector.toml").write_bytes(saved('[collector]\r\ndata_dir = "/tmp/nabz-y"\r\n', way))
    assert str(collector_config.load(tmp_path / "collector.toml").data_dir) == "/tmp/nabz-y"
    example = Path(standard.__file__).with_name(standard.EXAMPLE).read_text("utf-8")
    found = standard.read(saved(example, way), "x")
    assert [str(item.name) for item in found.criteria] == [str(item.name) for item in standard.example().criteria]
    assert parse_key(decode(saved("ab" * 16 + "\r\n", way))) == b"\xab" * 16
    (tmp_path / "secret").write_bytes(saved("s3cret\r\n", way))
    assert collector_config.read_secret(tmp_path / "secret", "[x] y") == "s3cret"


def test_blanks_that_toml_does_not_know_are_blanks_but_not_in_quotes() -> None:
    table = parse_toml('\u00a0[agent]\n\u202fstate_dir\u00a0=\u3000"/a\u00a0b"\u00a0\n\ufeffcycle_s = 60\n'.encode())
    assert table == {"agent": {"state_dir": "/a\u00a0b", "cycle_s": 60}}


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ("a = “x”\n".encode(), "line 1, column 5.*U\\+201C LEFT DOUBLE QUOTATION MARK"),
        ("a = 1\n\u200bb = 2\n".encode(), "line 2, column 1.*U\\+200B ZERO WIDTH SPACE"),
        (b"a = 1\nb = 'caf\xe9'\n", "line 2, column 9: byte 0xE9 is no UTF-8; save the file as UTF-8"),
        (codecs.BOM_UTF16_LE + b"a\0=\0\x00\xd8", "is no UTF-16-LE"),
        (codecs.BOM_UTF16_LE, "holds a byte order mark and nothing else"),
        (("\u00a0" * 2000 + "a = 1\n").encode(), "too many blanks"),
    ],
)
def test_what_is_refused_is_named_with_its_place(raw: bytes, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        parse_toml(raw)


def test_a_name_copied_from_a_page_is_the_name_that_was_typed() -> None:
    assert clean("\ufeff\u00a0Johar\u00a0 Town\u2009\t") == "Johar Town"


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        (NAME, None),
        ("مرکز\u200f (2)", None),
        ("می\u200dخ \u061c12", None),
        ("Lahore\u200c", "U+200C ZERO WIDTH NON-JOINER as letter 7"),
        ("Lahore\u200f", "U+200F RIGHT-TO-LEFT MARK as letter 7"),
        ("مرکز\u202e2", "U+202E RIGHT-TO-LEFT OVERRIDE as letter 5"),
        ("مرکز\u2067", "U+2067 RIGHT-TO-LEFT ISOLATE as letter 5"),
        ("a\u00adb", "U+00AD SOFT HYPHEN as letter 2"),
        ("a\x1b[2J", "U+001B a control character as letter 2"),
    ],
)
def test_urdus_own_signs_stand_where_urdu_stands_and_others_are_named(text: str, sign: str | None) -> None:
    assert refused_sign(text, urdu=True) == sign
    assert sign is not None or refused_sign(text) is not None
