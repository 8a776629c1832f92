"""What becomes of a file under a process that has it open."""

from __future__ import annotations

from pathlib import Path

from agent.common.files import FileWatch


def test_a_file_that_only_grows_is_missed_once_it_was_cut(tmp_path: Path) -> None:
    grows, other = tmp_path / "journal", tmp_path / "log"
    for path in (grows, other):
        path.write_bytes(b"12345")
    watch = FileWatch([grows, other], [grows, tmp_path / "not there"])
    other.write_bytes(b"")
    grows.write_bytes(b"1234567")
    assert watch.gone() is None
    grows.write_bytes(b"1234")
    assert watch.gone() == grows


def test_another_file_of_the_same_name_is_not_the_same(tmp_path: Path) -> None:
    path = tmp_path / "nabz.db"
    path.write_bytes(b"12345")
    watch = FileWatch([path])
    (tmp_path / "copy").write_bytes(b"12345")
    assert watch.gone() is None
    (tmp_path / "copy").replace(path)
    assert watch.gone() == path
