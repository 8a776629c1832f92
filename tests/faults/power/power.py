"""Power cuts without a plug: a disk in a file, copied in one instant while a program writes to it.

An XFS image holds ``disk.img``; a loop device makes a disk of it, with ext4 on it. ``ioctl(FICLONE)`` gives a copy of
what had reached that disk; what was only in memory is not in it, as in life. Not shown: the cache of a disk that lies,
and torn sectors (`crash_states` has those). Needs root, xfsprogs and two loop devices.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

FICLONE = 0x40049409  # linux/fs.h
HOST_BYTES, DISK_BYTES = 400 << 20, 48 << 20


def needed(*tools: str) -> None:
    """Skips the test without root or a tool; in CI that is a failure."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        why = f"needs root and {', '.join(tools)}; see tests/packages.txt"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


def run(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    run("mount", "-o", "loop", image, place)
    try:
        yield place
    finally:
        unmount(place)


def unmount(place: Path, *, leave: bool = True) -> None:
    """With `leave` at least its name is taken away.

    A loop device lets go of its file a moment after the file system on it was left; and a mount namespace that
    somebody made meanwhile may hold it longer, so that in the end only the name is taken away."""
    until_s = time.monotonic() + 60
    while subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode != 0:
        if time.monotonic() > until_s:
            assert leave, f"{place}: somebody holds it still"
            run("umount", "--lazy", place)
            return
        time.sleep(0.1)


@dataclass(frozen=True)
class Power:
    """``live`` is the folder on the disk whose power is cut."""

    folder: Path
    live: Path

    def lose(self, stops: Callable[[], None], ends: Callable[[], None]) -> None:
        """The power fails, for good: ``stops`` halts whoever gives promises, as nothing may be promised after the
        instant that the disk is copied; ``ends`` kills whoever writes. ``live`` is then what had reached the disk."""
        host = self.folder / "host"
        stops()
        with (host / "disk.img").open("rb") as disk, (host / "cut.img").open("wb") as taken:
            fcntl.ioctl(taken, FICLONE, disk.fileno())
        ends()
        # Whoever went on with what it has open there would, of a database, take the new one's log away by its name.
        unmount(self.live, leave=False)
        (host / "cut.img").replace(host / "disk.img")
        run("mount", "-o", "loop", host / "disk.img", self.live)

    @contextmanager
    def cut(self) -> Iterator[Path]:
        """What is found after the power comes back, mounted (the journal is replayed) and writable."""
        copy = self.folder / "host" / "cut.img"
        with (self.folder / "host" / "disk.img").open("rb") as disk, copy.open("wb") as taken:
            fcntl.ioctl(taken, FICLONE, disk.fileno())
        try:
            with mounted(copy, self.folder / "found") as found:
                yield found
        finally:
            copy.unlink()


@contextmanager
def plugged_in(disk_bytes: int = DISK_BYTES) -> Iterator[Power]:
    """A folder of its own: whoever tidies up old temporary folders must not walk into a disk that is in use."""
    needed("mkfs.xfs", "mkfs.ext4", "losetup")
    with shared_folder("nabz-power-") as folder, _disk_in(folder, disk_bytes) as power:
        yield power


@contextmanager
def shared_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder whose unmounts reach other mount namespaces too: `ip netns exec` makes one, with a copy of
    every mount, and a file system that somebody still has mounted cannot be left."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    run("mount", "--bind", folder, folder)
    try:
        run("mount", "--make-shared", folder)
        yield folder
    finally:
        for place in folder.iterdir():
            while os.path.ismount(place):
                unmount(place)
        unmount(folder)
        shutil.rmtree(folder)


@contextmanager
def _disk_in(folder: Path, disk_bytes: int) -> Iterator[Power]:
    host = folder / "host.img"
    with host.open("wb") as file:
        file.truncate(max(HOST_BYTES, 3 * disk_bytes))
    run("mkfs.xfs", "-q", "-m", "reflink=1", host)
    with mounted(host, folder / "host") as inside:
        with (inside / "disk.img").open("wb") as file:
            file.truncate(disk_bytes)
        run("mkfs.ext4", "-q", "-F", inside / "disk.img")
        with mounted(inside / "disk.img", folder / "live") as live:
            yield Power(folder, live)
