"""How child processes are ended, and when those that ended are started again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collector.common.processes import LASTS_S, PAUSES_S, Restarts, end

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); input()"


@pytest.mark.parametrize(("program", "code"), [("print('ready', flush=True); input()", -15), (DEAF, -9)])
def test_a_child_is_asked_to_end_and_then_made_to(program: str, code: int) -> None:
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        end(process, 60.0 if code == -15 else 0.05)
        assert process.returncode == code
        end(process, 0)
    end(None, 0)


def test_one_that_does_not_last_waits_longer_each_time_and_one_that_did_begins_anew() -> None:
    restarts, now_s = Restarts(), 1000.0
    restarts.record_start(now_s)
    for pause_s in (*PAUSES_S, PAUSES_S[-1]):
        assert not restarts.is_due(now_s)
        assert restarts.record_end(now_s)
        assert not restarts.record_end(now_s + 0.01), "an end is news once"
        assert not restarts.is_due(now_s + pause_s - 0.01)
        assert restarts.is_due(now_s + pause_s)
        now_s += pause_s
        restarts.record_start(now_s)
    now_s += LASTS_S + 1
    restarts.record_end(now_s)
    assert restarts.pause_s == PAUSES_S[0]
