"""`python -m collector.brokers.confined PARENT PROGRAM …`: becomes that program, which ends when its parent does.

It gains no rights by whatever it starts, leaves no core file, and has nothing of our environment.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # prctl(2)
ENVIRONMENT = ("PATH", "LANG", "TZ")


def become(parent: int, argv: list[str]) -> None:
    """Returns never; exits at once if the parent has ended already. Linux, of which the kernel keeps this over exec."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if os.getppid() != parent:
        sys.exit(1)
    os.execve(argv[0], argv, {name: os.environ[name] for name in ENVIRONMENT if name in os.environ})  # noqa: S606


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
