"""Ports for what is started in another process and takes a number, so that it cannot be given a socket or port 0.

Each is handed out once on this machine, as long as the process lives that asked: by a lock on one byte of a file that
all test processes share, other checkouts' too. The kernel lets go of the locks of a process that ends.
"""

from __future__ import annotations

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

# Below those from which the kernel gives outgoing connections theirs: one of these could take the port meanwhile.
LOWEST, HIGHEST = 10_000, 32_000
HOST = "127.0.0.1"

_mine: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1, TCP and UDP, that nobody uses and no other test is given."""
    found: list[int] = []
    chance = random.SystemRandom()
    while len(found) < count:
        port = chance.randrange(LOWEST, HIGHEST)
        if port not in _mine and _reserve(port) and _is_unused(port):
            found.append(port)
    return found


def free_port() -> int:
    return free_ports(1)[0]


def _reserve(port: int) -> bool:
    """For this process, until it ends."""
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _mine.add(port)
    return True


@functools.cache
def _locks() -> int:
    """Never closed: to close any handle of it would let go of all its locks."""
    path = Path(tempfile.gettempdir()) / f"nabz-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_unused(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True
