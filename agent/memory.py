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
MAPS = Path("/proc/self/smaps")


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
    for start, end in clean_of(MAPS.read_text(errors="replace")):
        advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)


def clean_of(smaps: str) -> Iterator[tuple[int, int]]:
    """Where a file is mapped that has nothing of ours in it, from the text of `/proc/self/smaps` (proc(5)): not to be
    written, and without a page that the loader changed, which no disk has."""
    span, named = "", False
    for line in smaps.splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            rights, _offset, _device, _inode, *path = rest.split(maxsplit=4)
            span, named = name, "w" not in rights and "r" in rights and bool(path) and path[0].startswith("/")
        elif name == "Anonymous:" and named and rest.split()[0] == "0":
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16)
