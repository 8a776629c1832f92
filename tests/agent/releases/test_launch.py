"""Releases are started by the real installed program, in its place, as processes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from agent.common.releases.trial import ReleaseFolder
from tests.helpers.waiting import wait_until

# A program of any kind: the launcher knows a module's `main` alone.
LAUNCH = (
    "import sys; from pathlib import Path; from agent.common.releases import launch; "
    "launch.enter(Path(sys.argv[1]), 'thing', sys.argv[2:], '0.2.0', 'b' * 32); print('installed')"
)
PROVING = (
    "import time; from pathlib import Path; from agent.common.releases.trial import ReleaseFolder; "
    "ReleaseFolder(Path({!r})).prove()"
)
ALARM_LEFT = "import os, signal; print(signal.alarm(0), os.getpid())"

# As on Windows, where no program takes the place of another.
CHILD = LAUNCH.replace("'b' * 32)", "'b' * 32, can_replace=False)")


def release(code: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("thing.py", f"import sys\ndef main(argv):\n    {code}\n    return 7\n")
    return held.getvalue()


def launched(folder: Path, *argv: str, code: str = LAUNCH) -> tuple[int, str, int]:
    """(exit code, output, pid)."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *argv], stdout=subprocess.PIPE, text=True
    ) as process:
        return process.wait(), process.stdout.read().strip() if process.stdout else "", process.pid


def test_a_release_runs_in_the_same_process_with_the_same_words_under_an_alarm(tmp_path: Path) -> None:
    assert launched(tmp_path)[:2] == (0, "installed")
    ReleaseFolder(tmp_path).accept("0.3.0", release(f"print(argv); {ALARM_LEFT}"))
    code, output, pid = launched(tmp_path, "run", "--config", "x")
    words = output.splitlines()
    assert code == 7
    assert words[0] == "['run', '--config', 'x']"
    left_s, its_pid = words[1].split()[-2:]
    assert int(its_pid) == pid
    assert 600 < int(left_s) <= 660


def test_a_proven_release_runs_without_an_alarm(tmp_path: Path) -> None:
    releases = ReleaseFolder(tmp_path)
    releases.accept("0.3.0", release(ALARM_LEFT))
    launched(tmp_path)
    ReleaseFolder(tmp_path).prove()
    assert launched(tmp_path)[1].split()[-2] == "0"


def test_a_release_that_hangs_is_ended_by_the_kernel_whatever_its_code_does(tmp_path: Path) -> None:
    """The alarm is brought forward here by the release itself: it is the one that was set."""
    ReleaseFolder(tmp_path).accept("0.3.0", release("import signal, time; signal.alarm(1); time.sleep(60)"))
    assert launched(tmp_path)[0] == -signal.SIGALRM


def test_a_release_that_cannot_even_be_imported_is_left_after_three_starts(tmp_path: Path) -> None:
    ReleaseFolder(tmp_path).accept("0.3.0", b"no zip at all")
    assert [launched(tmp_path)[0] for _ in range(4)] == [1, 1, 1, 0]


def test_again_starts_the_installed_program_with_what_is_now_written(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from agent.common.releases import launch, trial; "
        f"trial.ReleaseFolder(Path({str(tmp_path)!r})).take_back('no_receipt'); launch.again()"
    )
    ReleaseFolder(tmp_path).accept("0.3.0", release(code))
    assert launched(tmp_path)[:2] == (0, "installed")
    assert "NABZ_RELEASE" not in os.environ


def test_where_no_program_becomes_another_a_release_is_a_child_and_is_left_the_same_way(tmp_path: Path) -> None:
    ReleaseFolder(tmp_path).accept("0.3.0", release("import os; print(argv, os.getpid())"))
    code, output, pid = launched(tmp_path, "run", code=CHILD)
    assert (code, output.startswith("['run'] "), output.endswith(str(pid))) == (7, True, False)
    ReleaseFolder(tmp_path).take_back("starts")
    assert launched(tmp_path, code=CHILD)[:2] == (0, "installed")


def test_a_child_that_ends_for_another_program_is_followed_by_it(tmp_path: Path) -> None:
    take = (
        "from pathlib import Path; from agent.common.releases import launch, trial; "
        f"trial.ReleaseFolder(Path({str(tmp_path)!r})).take_back('no_receipt'); launch.again()"
    )
    ReleaseFolder(tmp_path).accept("0.3.0", release(take))
    assert launched(tmp_path, code=CHILD)[:2] == (0, "installed")


def test_a_child_on_trial_that_hangs_is_ended_and_a_proven_one_is_not(tmp_path: Path) -> None:
    brief = CHILD.replace("launch.enter", "launch.TRIAL_S = launch.GRACE_S = 1; launch.enter")
    ReleaseFolder(tmp_path).accept("0.3.0", release("import time; time.sleep(60)"))
    assert launched(tmp_path, code=brief)[0] != 0
    ReleaseFolder(tmp_path).accept("0.4.0", release(f"{PROVING.format(str(tmp_path))}; time.sleep(4)"))
    assert launched(tmp_path, code=brief)[0] == 7


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    ReleaseFolder(tmp_path).accept("0.3.0", release("import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    words = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists())
