"""`python -m collector.run.child_process COMMAND …`: a subcommand that ends when the process that started it does.

A collector that is killed outright cannot stop its children; the kernel can, so that none is left holding a port.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(parent: int) -> None:
    """Requests SIGTERM from the kernel for when the parent ends; exits at once if it has. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.argv = ["nabz-collector", *sys.argv[2:]]
    runpy.run_module("collector", run_name="__main__", alter_sys=False)
