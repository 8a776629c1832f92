"""A test that fails ends the processes it began, instead of waiting for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.processes import child


def test_a_failure_ends_the_child_and_closes_its_pipes() -> None:
    with pytest.raises(ZeroDivisionError), child([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        1 / 0  # noqa: B018
    assert process.returncode == -9
    assert process.stdin is not None
    assert process.stdin.closed


def test_a_child_that_is_told_to_end_ends_by_itself() -> None:
    with child([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert process.returncode == 0
