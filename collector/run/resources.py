"""What the system allows this process: all file descriptors that it gives, and of few of them most for ingest; address
space that is used sparingly (getrlimit(2), mallopt(3))."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress

from agent.common.logs import Event

FEW = Event(
    __name__, "warning", "descriptors_few", "few file descriptors are allowed, so a listener of people or enrolment "
    "serves fewer at once", key="listener", fields="allowed connections",
)  # fmt: skip

OWN = 40  # files, databases, brokers and channels of a collector that nobody visits have some 28
SHARE = 8  # of the rest each such listener has a part in so many; sessions of gateways have what is left
M_ARENA_MAX, ARENAS = -8, 2  # glibc reserves 64 MiB of address space for each arena, and makes one a thread


def claim() -> None:
    """Before threads are started."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system that says "unlimited" may have a limit all the same
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(OSError, AttributeError):  # another C library has no arenas
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def connections(wanted: int, allowed: int) -> int:
    """How many connections at once a listener of pages or enrolment may have. Pure."""
    return max(1, min(wanted, (allowed - OWN) // SHARE))


def connections_of(listener: str, wanted: int) -> int:
    """The same, of what this process is allowed."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = wanted if allowed == resource.RLIM_INFINITY else connections(wanted, allowed)
    if number < wanted:
        FEW.log(listener=listener, allowed=allowed, connections=number)
    return number
