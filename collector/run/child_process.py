"""`python -m collector.run.child_process PARENT SIGNAL COMMAND …`: a subcommand that ends when its parent does.

A collector that is killed outright cannot stop its children; the kernel can, so that none is left holding a port.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Requests that signal from the kernel for when the parent ends; exits at once if it has. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            sys.exit(1)


def command(words: Sequence[str], at_end: signal.Signals = signal.SIGTERM) -> list[str]:
    """What starts such a child of this very process, to be ended with it by the signal `at_end`."""
    return [sys.executable, "-m", "collector.run.child_process", str(os.getpid()), str(int(at_end)), *words]


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), int(sys.argv[2]))
    sys.argv = ["nabz-collector", *sys.argv[3:]]
    runpy.run_module("collector", run_name="__main__", alter_sys=False)
