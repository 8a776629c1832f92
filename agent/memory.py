"""Memory that the agent gives back: a gateway has little, and most of what a start needs is not needed again.

Two things are handed to the kernel: what the C library keeps of freed memory, and the pages of programs and libraries
that were mapped while they started. The latter are whole on disk; what is used again is mapped again, in microseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator
from pathlib import Path

M_ARENA_MAX = -8  # mallopt(3), malloc.h of glibc
MADV_DONTNEED = 4  # madvise(2)
FIRST_S, EVERY_S = 90.0, 900.0  # by then the first round and the first session are over
MAPS = Path("/proc/self/maps")


def share_one_arena() -> None:
    """Threads allocate from one arena: each of their own would keep what it once used. To be called first."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have neither arenas nor this
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


async def keep_small() -> None:
    """For as long as the agent runs."""
    await asyncio.sleep(FIRST_S)
    while True:
        give_back()
        await asyncio.sleep(EVERY_S)


def give_back() -> None:
    """Does what it can; a kernel or a C library that cannot loses nothing."""
    libc = ctypes.CDLL(None)
    trim, advise = getattr(libc, "malloc_trim", None), getattr(libc, "madvise", None)
    if trim is not None:
        trim(0)
    if advise is None or not MAPS.exists():
        return
    for start, end in code_of(MAPS.read_text(errors="replace")):
        advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)


def code_of(maps: str) -> Iterator[tuple[int, int]]:
    """Where code that files hold is mapped, from the text of proc_pid_maps(5). Only what is executable and cannot be
    written: other parts of a file may hold what the loader put there, which no disk has."""
    for line in maps.splitlines():
        span, rights, _offset, _device, _inode, *path = line.split(maxsplit=5)
        if rights == "r-xp" and path and path[0].startswith("/") and not path[0].endswith(" (deleted)"):
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16)
