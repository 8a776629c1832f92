"""`python -m collector.run.child_process COMMAND …`: a subcommand that ends when the process that started it does.

A collector that is killed outright cannot stop its children; the kernel can, so that none is left holding a port.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from collector.__main__ import main

PR_SET_PDEATHSIG = 1  # prctl(2)


def tether(parent: int) -> None:
    """Asks for SIGTERM when the parent ends; ends at once if it has already. Linux only, elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
