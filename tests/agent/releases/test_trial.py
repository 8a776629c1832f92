"""A release from its arrival to its end: proven, taken back, tried again; and what the files of it survive."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.common.releases.trial import FILE, MAX_STARTS, MAX_TRIALS, TRIAL_S, ReleaseFolder, ReleaseState
from agent.common.releases.version import version_key

INSTALLED, BOOT = "0.2.0", "b" * 32


def start(folder: Path, now_s: float = 0.0, boot: str = BOOT, installed: str = INSTALLED) -> str:
    """The content of the release that a start runs; empty for the installed program."""
    file = ReleaseFolder(folder).start(installed, boot, now_s)
    return file.read_text() if file is not None else ""


def proven(folder: Path) -> None:
    ReleaseFolder(folder).accept("0.3.0", b"good")
    start(folder)
    ReleaseFolder(folder).prove()


def test_a_release_runs_from_the_next_start_on_and_stays_once_it_is_proven(tmp_path: Path) -> None:
    assert start(tmp_path) == ""
    assert ReleaseFolder(tmp_path).accept("0.3.0", b"good")
    assert start(tmp_path) == "good"
    ReleaseFolder(tmp_path).prove()
    assert [start(tmp_path, number * TRIAL_S) for number in range(MAX_STARTS + 2)] == ["good"] * (MAX_STARTS + 2)


def test_a_release_that_always_crashes_is_left_after_a_few_starts(tmp_path: Path) -> None:
    proven(tmp_path)
    ReleaseFolder(tmp_path).accept("0.4.0", b"bad")
    assert [start(tmp_path) for _ in range(MAX_STARTS + 2)] == ["bad"] * MAX_STARTS + ["good"] * 2
    assert ReleaseFolder(tmp_path).state.why == "starts"
    assert not ReleaseFolder(tmp_path).accept("0.4.0", b"bad"), "what crashes is not tried again"


def test_a_release_without_a_receipt_is_left_when_its_time_is_over_and_the_first_one_leaves_nothing(
    tmp_path: Path,
) -> None:
    ReleaseFolder(tmp_path).accept("0.4.0", b"mute")
    assert start(tmp_path, 100) == "mute"
    assert start(tmp_path, 100 + TRIAL_S - 1) == "mute"
    assert start(tmp_path, 100 + TRIAL_S) == ""
    assert ReleaseFolder(tmp_path).state.why == "no_receipt"


def test_the_time_of_a_trial_begins_anew_after_a_power_cut_and_its_starts_do_not(tmp_path: Path) -> None:
    ReleaseFolder(tmp_path).accept("0.4.0", b"new")
    boots = [start(tmp_path, 1e6 * number, boot=f"{number:032}") for number in range(MAX_STARTS + 1)]
    assert boots == ["new"] * MAX_STARTS + [""]


def test_a_release_that_got_no_receipt_is_tried_again_a_few_times_for_the_line_may_have_been_down(
    tmp_path: Path,
) -> None:
    for _ in range(MAX_TRIALS):
        assert ReleaseFolder(tmp_path).accept("0.4.0", b"new")
        start(tmp_path, 0)
        assert start(tmp_path, TRIAL_S) == ""
    assert not ReleaseFolder(tmp_path).accept("0.4.0", b"new")
    assert ReleaseFolder(tmp_path).accept("0.4.1", b"newer")


def test_a_damaged_file_of_a_release_does_not_run(tmp_path: Path) -> None:
    proven(tmp_path)
    next(tmp_path.glob("*.zip")).write_bytes(b"goof")
    assert start(tmp_path) == ""
    assert ReleaseFolder(tmp_path).state.why == "damaged"


def test_an_installed_program_that_is_as_new_runs_instead(tmp_path: Path) -> None:
    proven(tmp_path)
    assert start(tmp_path, installed="0.3.0") == ""
    assert not list(tmp_path.glob("*.zip"))


def test_two_releases_at_most_lie_there(tmp_path: Path) -> None:
    proven(tmp_path)
    for number in range(4):
        ReleaseFolder(tmp_path).accept(f"0.4.{number}", bytes([number]))
    assert len(list(tmp_path.glob("*.zip"))) == 2


def test_a_state_that_cannot_be_counted_starts_no_trial(tmp_path: Path) -> None:
    proven(tmp_path)
    releases = ReleaseFolder(tmp_path)
    releases.accept("0.4.0", b"new")
    (tmp_path / f"{FILE}.new").mkdir()  # so that nothing can be written
    file = releases.start(INSTALLED, BOOT, 0.0)
    assert file is not None
    assert file.read_text() == "good"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"proven": 1}', "[" * 100_000, '{"proven": {"version": "x", "digest": "../x"}}'],
)
def test_a_hostile_file_is_no_release(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    assert ReleaseFolder(tmp_path).state == ReleaseState()
    assert start(tmp_path) == ""


@pytest.mark.parametrize("version", ["", "1", "1.x", "../1.2", "1.2.3.4.5", "1.2 ", "-1.2"])
def test_a_version_is_of_numbers(version: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write for example"):
        ReleaseFolder(tmp_path).accept(version, b"x")
    assert version_key("0.10.0") > version_key("0.9.9")
