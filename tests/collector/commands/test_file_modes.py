"""Files that a command makes are nobody else's to read or write, whatever the shell's mask."""

from __future__ import annotations

import os
from pathlib import Path

from collector.__main__ import main


def test_whatever_the_mask_files_are_for_their_owner_and_its_group(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        about = ("--name", "One", "--tier", "two", "--seats-promised", "10", "--opening", "always")
        assert main(["center", "add", "--code", "LHR-1", *about, "--data", str(tmp_path / "data")]) == 0
        assert os.umask(0) == 0  # as it was
    finally:
        os.umask(before)
    made = [path for path in tmp_path.rglob("*") if path.is_file() or path.is_dir()]
    assert any(path.suffix == ".db" for path in made)
    wide = {str(path): oct(path.stat().st_mode & 0o777) for path in made if path.stat().st_mode & 0o027}
    assert wide == {}
    keys = [path for path in made if path.is_file() and "key" in path.name]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in keys)
