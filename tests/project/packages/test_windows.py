"""The installer of seats for Windows: what it registers, and that it compiles and refuses another Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.seat.__main__ import arguments
from tests.helpers import ROOT

BUILD = ROOT / "deb" / "windows" / "build.py"
SCRIPT = (ROOT / "deb" / "windows" / "setup.nsi").read_text("utf-8")


def test_the_task_runs_with_few_rights_and_the_key_is_for_it_alone() -> None:
    assert "<UserId>S-1-5-19</UserId><RunLevel>LeastPrivilege</RunLevel>" in SCRIPT
    assert "/inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F *S-1-5-19:(OI)(CI)M" in SCRIPT
    assert not re.search(r"Everyone|S-1-1-0|BUILTIN.Users|S-1-5-32-545|Password", SCRIPT)


@pytest.mark.parametrize("command", ["once", "run"])
def test_the_program_is_started_with_options_that_it_has(command: str) -> None:
    (shown,) = re.findall(rf"-m agent\.seat {command} (.*?)(?:'|&gt;)", SCRIPT)
    words = [command, *(word.strip('" ') for word in re.findall(r'--[\w-]+|"[^"]*"', shown))]
    options = arguments().parse_args(words)
    assert (options.gateway, options.name) == ("http://$Gateway", "$Seat")
    assert (str(options.key_file), str(options.state_dir)) == ("$Data\\seat.key", "$Data")


def test_another_python_than_the_one_that_was_named_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "python.zip").write_bytes(b"another")
    words = [sys.executable, str(BUILD), "--python", str(tmp_path / "python.zip"), "--sha256", "0" * 64]
    done = subprocess.run([*words, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "its SHA-256 is" in done.stderr


@pytest.mark.slow
def test_the_script_compiles(tmp_path: Path) -> None:
    if not shutil.which("makensis"):
        pytest.skip("makensis is not installed (Debian: apt install nsis)")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "python.exe").write_bytes(b"MZ")
    made = tmp_path / "nabz-seat-1.exe"
    words = [f"-DVERSION=1.0.0 -DPROGRAM={tmp_path}/program -DOUT={made}".split(), [str(BUILD.parent / "setup.nsi")]]
    done = subprocess.run(["makensis", "-V2", "-WX", *words[0], *words[1]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.stat().st_size > 10_000
