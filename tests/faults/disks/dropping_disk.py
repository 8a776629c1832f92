"""A disk whose kernel drops what it could not sync, as Linux does: one sync fails, and the next one succeeds although
what the first was to keep never reaches the disk (the fsync errors of PostgreSQL, 2018; lwn.net/Articles/752063).

Device mapper is not everywhere, so this is a file system of its own, in memory, over FUSE (the structures are those of
linux/fuse.h, 7.31). It knows one folder of files. Needs root.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.power.crash_states import Disk, Files, Inode, Name, Sync, Truncate, Write, changed
from tests.faults.power.power import needed, unmount

HEADER = struct.Struct("<IIQQIIII")  # length, what, unique, node, user, group, process, extensions
ANSWER = struct.Struct("<IiQ")
ATTRIBUTES = struct.Struct("<6Q10I")
INIT = struct.Struct("<4I2H2I2H8I")
BIG_WRITES = 1 << 5
ROOT, SIZE_IS_SET = 1, 1 << 3
INVALIDATE = 2
MAX_WRITE = 128 * 1024
NO_ANSWER = (2, 36, 42)  # forget, interrupt, batch_forget


@dataclass
class File:
    """``seen`` is what a program reads; the inode knows what is on the disk, and what the next sync would put there."""

    inode: Inode
    seen: bytearray = field(default_factory=bytearray)

    def take(self, step: Write | Truncate) -> None:
        self.inode.pending.append(step)
        changed(self.seen, step)


class DroppingDisk:
    """Its syncs with these numbers (from 1; of files and of the folder) give EIO. What each was to keep is lost: at
    once when the kernel is short of memory (``evicts``), otherwise it can be read until the power is cut."""

    def __init__(self, fails: Collection[int], *, evicts: bool) -> None:
        self.syncs = 0
        self._fails, self._evicts = fails, evicts
        self._disk = Disk()
        self._files: dict[int, File] = {}
        self._lock = threading.Lock()
        self._fd = os.open("/dev/fuse", os.O_RDWR)
        self._calls: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._lookup, 3: self._attributes, 4: self._set_size, 10: self._unlink, 12: self._rename,
            14: self._opened, 15: self._read, 16: self._write, 18: self._released, 20: self._sync, 26: self._init,
            27: self._opened, 28: self._list, 29: self._released, 30: self._sync_folder, 35: self._create,
            45: self._rename,
        }  # fmt: skip

    @contextmanager
    def mounted(self, place: Path) -> Iterator[None]:
        needed("mount")
        place.mkdir()
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0"
        mount = ["mount", "-i", "-t", "fuse", "nabz", str(place), "-o", options]
        subprocess.run(mount, check=True, pass_fds=[self._fd])
        server = threading.Thread(target=self._serve)
        server.start()
        try:
            yield
        finally:
            unmount(place)
            server.join(60)
            os.close(self._fd)

    def after_a_cut(self) -> Files:
        """What would be found if the power were cut now: nothing that was not synced."""
        with self._lock:
            return {name: bytes(inode.certain) for name, inode in self._disk.certain.items()}

    # ------------------------------------------------------------ the protocol

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, MAX_WRITE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                raise
            _, what, unique, node, *_ = HEADER.unpack_from(request)
            if what in NO_ANSWER:
                continue
            answer, fault = self._answer(what, node, request[HEADER.size :])
            self._send(answer, -fault, unique)

    def _answer(self, what: int, node: int, words: bytes) -> tuple[bytes, int]:
        if what not in self._calls:
            return b"", errno.ENOSYS
        try:
            with self._lock:
                return self._calls[what](node, words), 0
        except OSError as error:
            return b"", error.errno or errno.EIO

    def _send(self, answer: bytes, fault: int, unique: int) -> None:
        os.write(self._fd, ANSWER.pack(ANSWER.size + len(answer), fault, unique) + answer)

    def _init(self, _node: int, _words: bytes) -> bytes:
        return INIT.pack(7, 31, MAX_WRITE, BIG_WRITES, 0, 0, MAX_WRITE, 1, 0, 0, *[0] * 8)

    def _known(self, node: int) -> bytes:
        if node == ROOT:
            return ATTRIBUTES.pack(ROOT, *[0] * 8, stat.S_IFDIR | 0o755, 2, *[0] * 5)
        size = len(self._files[node].seen)
        return ATTRIBUTES.pack(node, size, -(-size // 512), *[0] * 6, stat.S_IFREG | 0o644, 1, 0, 0, 0, 4096, 0)

    def _attributes(self, node: int, _words: bytes) -> bytes:
        return bytes(16) + self._known(node)

    def _entry(self, name: str) -> bytes:
        inode = self._disk.now.get(name)
        if inode is None:
            raise OSError(errno.ENOENT, name)
        node = next(node for node, file in self._files.items() if file.inode is inode)
        return struct.pack("<5Q", node, 0, 0, 0, 0) + self._known(node)

    # ------------------------------------------------------------ the folder

    def _lookup(self, _node: int, words: bytes) -> bytes:
        return self._entry(_name(words))

    def _create(self, _node: int, words: bytes) -> bytes:
        name = _name(words[16:])
        self._disk.take(Name("", name))
        self._files[ROOT + 1 + len(self._files)] = File(self._disk.now[name])
        return self._entry(name) + bytes(16)

    def _unlink(self, _node: int, words: bytes) -> bytes:
        self._disk.take(Name(_name(words), ""))
        return b""

    def _rename(self, _node: int, words: bytes) -> bytes:
        *_, was, becomes, _ = words.split(b"\0")
        self._disk.take(Name(was.decode(), becomes.decode()))
        return b""

    def _list(self, _node: int, words: bytes) -> bytes:
        _, offset, most = struct.unpack_from("<QQI", words)
        listed = b""
        for number, name in list(enumerate(sorted(self._disk.now), 1))[offset:]:
            entry = struct.pack("<QQII", ROOT + number, number, len(name), stat.S_IFREG >> 12) + name.encode()
            entry += bytes(-len(entry) % 8)
            if len(listed) + len(entry) > most:
                break
            listed += entry
        return listed

    def _sync_folder(self, _node: int, _words: bytes) -> bytes:
        self._count_sync()
        self._disk.take(Sync(""))
        return b""

    # ------------------------------------------------------------ a file

    def _opened(self, _node: int, _words: bytes) -> bytes:
        return bytes(16)

    def _released(self, _node: int, _words: bytes) -> bytes:
        return b""

    def _read(self, node: int, words: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", words)
        return bytes(self._files[node].seen[offset : offset + size])

    def _write(self, node: int, words: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", words)
        self._files[node].take(Write("", offset, words[40 : 40 + size]))
        return struct.pack("<II", size, 0)

    def _set_size(self, node: int, words: bytes) -> bytes:
        what, _, _, size = struct.unpack_from("<IIQQ", words)
        if what & SIZE_IS_SET:
            self._files[node].take(Truncate("", size))
        return self._attributes(node, b"")

    def _sync(self, node: int, _words: bytes) -> bytes:
        file = self._files[node]
        try:
            self._count_sync()
        except OSError:
            file.inode.pending.clear()
            if self._evicts:
                file.seen[:] = file.inode.certain.ljust(len(file.seen), b"\0")
                self._send(struct.pack("<Qqq", node, 0, 0), INVALIDATE, 0)
            raise
        file.inode.sync()
        return b""

    def _count_sync(self) -> None:
        self.syncs += 1
        if self.syncs in self._fails:
            raise OSError(errno.EIO, "the sync fails")


def _name(words: bytes) -> str:
    return words.partition(b"\0")[0].decode()
