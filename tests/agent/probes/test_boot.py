"""What ended the run before this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.probes import boot
from agent.probes.boot import BootFacts, Mark, judge_boot

NOW_MS = 1_800_000_000_000


def facts(mark: Mark | None, **more: object) -> BootFacts:
    given: dict[str, object] = {"boot": "b2", "uptime_s": 40.0, "now_ms": NOW_MS, "mark": mark} | more
    return BootFacts(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mark", "end"),
    [
        (None, "first"),
        (Mark(boot="b2", stop="stopped"), "clean"),
        (Mark(boot="b1", stop="stopped"), "clean"),
        (Mark(boot="b1", stop="shutdown"), "reboot"),
        (Mark(boot="b2", stop="crashed"), "crash"),
        # No mark of an end: the same boot means that only the agent died, another that the machine did.
        (Mark(boot="b2"), "killed"),
        (Mark(boot="b1"), "power"),
    ],
)
def test_the_end_follows_from_the_mark_and_the_boot(mark: Mark | None, end: str) -> None:
    reading = judge_boot(facts(mark))
    assert reading.previous_end == end
    assert reading.evidence


def test_a_kernel_crash_is_no_power_cut() -> None:
    assert judge_boot(facts(Mark(boot="b1"), kernel_crash_kept=True)).previous_end == "crash"


def test_a_mark_that_cannot_be_read_proves_nothing() -> None:
    assert judge_boot(facts(None, mark_damaged=True)).previous_end == "unknown"


def test_the_dark_time_runs_from_the_last_reading() -> None:
    reading = judge_boot(facts(Mark(boot="b1"), last_alive_ms=NOW_MS - 90_000))
    assert (reading.dark_s, reading.last_alive_ms) == (90.0, NOW_MS - 90_000)


def test_a_clock_behind_the_last_reading_gives_no_dark_time() -> None:
    reading = judge_boot(facts(Mark(boot="b1"), last_alive_ms=NOW_MS + 1))
    assert reading.dark_s is None
    assert reading.evidence == ["went_down", "new_boot:up_s=40", "clock_behind"]


def ended(state_dir: Path) -> str:
    return judge_boot(boot.gather(state_dir, None, NOW_MS)).previous_end


def test_a_life_on_disk(tmp_path: Path) -> None:
    assert ended(tmp_path) == "first"
    boot.mark_started(tmp_path, NOW_MS)
    # This process did not mark its end, and the machine is still in the same boot.
    assert ended(tmp_path) == "killed"
    boot.mark_clean_stop(tmp_path, NOW_MS)
    assert ended(tmp_path) == "clean"
    boot.mark_clean_stop(tmp_path, NOW_MS, shutdown=True)
    assert ended(tmp_path) == "reboot"
    boot.mark_crashed(tmp_path, NOW_MS)
    assert ended(tmp_path) == "crash"
    # Another boot without a mark of the end of the one before.
    (tmp_path / "boot.json").write_text('{"boot": "another", "stop": null, "at_ms": 1}')
    assert ended(tmp_path) == "power"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '{"boot":1,"stop":null,"at_ms":1}', '{"boot":"b","stop":"x","at_ms":1}']
)
def test_a_spoilt_mark_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "boot.json").write_text(text)
    assert ended(tmp_path) == "unknown"


def test_the_machine_is_not_going_down_while_it_runs_tests() -> None:
    assert boot.is_shutting_down() is False
