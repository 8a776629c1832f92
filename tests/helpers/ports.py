"""Ports for what is started in another process and takes a number, so that it cannot be given a socket or port 0."""

from __future__ import annotations

import random
import socket

# Below those from which the kernel gives outgoing connections theirs: one of these could take the port meanwhile.
LOWEST, HIGHEST = 10_000, 32_000


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody listened on a moment ago."""
    found: dict[int, socket.socket] = {}
    chance = random.SystemRandom()
    while len(found) < count:
        port = chance.randrange(LOWEST, HIGHEST)
        try:
            found[port] = socket.create_server(("127.0.0.1", port))
        except OSError:
            continue
    for each in found.values():
        each.close()
    return list(found)
