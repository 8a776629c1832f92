"""A gate before a program's system calls: each one that others can see waits here, gets a name, and may be the last.

``python gate.py PLAN LOG PROGRAM…`` becomes the program, unchanged; a keeper beside it looks at its calls
and kills it (SIGKILL) before the one that the plan means: "between these two" is exact. strace can kill at a call too,
but counts each kind of call in each thread by itself, and there is no k-th call of a program of many threads then.
This is seccomp's user notification (Linux 5.6, x86-64): one count, one order, and no cost for all other calls.

A plan is one of PLANS: ``at 37``, the 37th call of all; ``before PUBACK 3``, the third call of that name; ``after
PUBACK 3``, the one that follows it; ``gap committed 2``, the second time that ingest stands there. LOG gets a line for
each call, the fatal one with a ``!``.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CALLS = {
    "write": 1, "pwrite64": 18, "writev": 20, "sendto": 44, "sendmsg": 46, "fsync": 74, "fdatasync": 75,
    "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "unlink": 87, "openat": 257, "unlinkat": 263,
    "renameat": 264, "renameat2": 316,
}  # fmt: skip
LOCK = 72  # fcntl
NAMES = {number: name for name, number in CALLS.items()} | {LOCK: "lock"}
PATH_AT = dict.fromkeys(("truncate", "rename", "mkdir", "unlink"), 0)  # which of its words is a path
PATH_AT |= dict.fromkeys(("openat", "unlinkat", "renameat", "renameat2"), 1)

# ---------------------------------------------------------------- the filter (seccomp(2), linux/bpf_common.h)

SECCOMP, PIDFD_GETFD = 317, 438
SET_FILTER, NEW_LISTENER, NO_NEW_PRIVS, SET_PTRACER = 1, 8, 38, 0x59616D61
RECEIVE, SEND = 0xC0502100, 0xC0182101  # the two ioctls of the listener
ALLOW, ASK, CONTINUE = 0x7FFF0000, 0x7FC00000, 1
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, SECOND, THIRD = 0, 24, 32  # in struct seccomp_data

libc = ctypes.CDLL(None, use_errno=True)


def done(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def filter_program() -> list[tuple[int, int, int, int]]:
    """Which calls are asked about: CALLS, a file opened only when it may be made, fcntl only to lock."""
    plain = [syscall for name, syscall in CALLS.items() if name != "openat"]
    to_ask = 8  # from the first step after the plain ones
    return [
        (LOAD, 0, 0, NUMBER),
        *((EQUAL, len(plain) - 1 - place + to_ask, 0, syscall) for place, syscall in enumerate(plain)),
        (EQUAL, 0, 2, CALLS["openat"]),
        (LOAD, 0, 0, THIRD),
        (ANY_BIT, 5, 4, os.O_CREAT),
        (EQUAL, 0, 3, LOCK),
        (LOAD, 0, 0, SECOND),
        (EQUAL, 2, 0, fcntl.F_SETLK),
        (EQUAL, 1, 0, fcntl.F_SETLKW),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, ASK),
    ]


def ask_about_calls() -> int:
    """From here on the calls of this process wait for an answer from whoever has the file descriptor returned."""
    steps = b"".join(struct.pack("HBBI", code, yes, no, value) for code, yes, no, value in filter_program())
    code = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("HxxxxxxP", len(steps) // 8, ctypes.addressof(code))
    done(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0))
    return done(libc.syscall(SECCOMP, SET_FILTER, NEW_LISTENER, program))


# ---------------------------------------------------------------- a call and its name


@dataclass(frozen=True)
class Call:
    """``where`` is a file's name, ``tcp``, ``postgresql``, or empty for what stays in the process or its log."""

    thread: int
    what: str
    where: str
    data: bytes

    @property
    def name(self) -> str:
        read = {"tcp": packet, "postgresql": statement}.get(self.where)
        return self.what if read is None else read(self.data)


PACKETS = {0x10: "CONNECT", 0x20: "CONNACK", 0x40: "PUBACK", 0x82: "SUBSCRIBE", 0x90: "SUBACK", 0xE0: "DISCONNECT"}


def packet(data: bytes) -> str:
    """The first MQTT packet in what is sent (3.1.1, section 2.2); a publication with the kind of its topic."""
    if data[:1] and data[0] >> 4 == 3 and b"nabz/v1/" in data[:16]:
        return "PUBLISH " + data.partition(b"nabz/v1/")[2][:20].partition(b"/")[0].decode("latin-1")
    return PACKETS.get(data[0] if data else 0, "tcp")


def statement(data: bytes) -> str:
    return next((word for word in ("COMMIT", "BEGIN") if word.encode() in data[:64]), "query")


WAKE = b"0"  # by which one thread of paho wakes another, over a connection to itself


class Calls:
    """Names the calls of one process."""

    def __init__(self, pid: int) -> None:
        self._handle = os.pidfd_open(pid)
        self._sockets: dict[str, str] = {}

    def named(self, thread: int, number: int, words: tuple[int, ...]) -> Call:
        """``words`` are what the call was given."""
        what = NAMES[number]
        with Path(f"/proc/{thread}/mem").open("rb", 0) as memory:
            if what in PATH_AT:
                memory.seek(words[PATH_AT[what]])
                where = os.fsdecode(memory.read(256).partition(b"\0")[0])
                data = b""
            else:
                where = self._place(thread, words[0])
                data = _sent(what, words, memory.read, memory.seek)
        if not where.startswith("/"):
            inside = where == "tcp" and data == WAKE
            return Call(thread, what, "" if inside else where, data)
        name = where.rpartition("/")[2]
        silent = where.startswith(("/dev/", "/proc/")) or name.endswith(".log") or "__pycache__" in where
        if what == "lock":
            kind, start = struct.unpack_from("hxxxxxxq", data)
            silent |= (kind, start) != (fcntl.F_WRLCK, 120)  # 120: the one that whoever writes to a WAL must have
        return Call(thread, f"{what} {name}", "" if silent else name, data)

    def _place(self, thread: int, handle: int) -> str:
        link = os.readlink(f"/proc/{thread}/fd/{handle}")
        if not link.startswith("socket:"):
            return link if link.startswith("/") else ""
        if link not in self._sockets:
            self._sockets[link] = self._peer(handle)
        return self._sockets[link]

    def _peer(self, handle: int) -> str:
        with socket.socket(fileno=done(libc.syscall(PIDFD_GETFD, self._handle, handle, 0))) as other:
            if other.type != socket.SOCK_STREAM:
                return ""
            if other.family in (socket.AF_INET, socket.AF_INET6):
                return "tcp"
            try:
                return "postgresql" if "PGSQL" in str(other.getpeername()) else ""
            except OSError:  # not connected yet
                return ""


def _sent(what: str, words: tuple[int, ...], read: Callable[[int], bytes], seek: Callable[[int], int]) -> bytes:
    if what in ("write", "pwrite64", "sendto"):
        seek(words[1])
        return read(min(words[2], 1 << 16))
    if what == "lock":
        seek(words[2])
        return read(16)
    return b""


# ---------------------------------------------------------------- the plans

Plan = Callable[[Call], bool]  # whether this call is the one that is never made


def at(count: str) -> Plan:
    left = itertools.count(int(count) - 1, -1)
    return lambda _call: next(left) == 0


def before(*words: str) -> Plan:
    *name, count = words
    left = itertools.count(int(count) - 1, -1)
    return lambda call: call.name == " ".join(name) and next(left) == 0


def after(*words: str) -> Plan:
    reached, passed = before(*words), False

    def follows(call: Call) -> bool:
        nonlocal passed
        fatal, passed = passed, passed or reached(call)
        return fatal

    return follows


BATCH = b'"readings":['  # only evidence holds a batch as it came
MARKS = (BATCH, BATCH.hex().encode())


class Gap:
    """Between two steps of ingest: ``received`` a batch, ``inserted`` it, ``committed``, sent the ``receipted``
    word, ``acknowledged`` it to the broker. The thread that ingests is the one seen writing evidence."""

    def __init__(self, gap: str, count: str) -> None:
        self._gap, self._left = gap, int(count)
        self._ingest = 0
        self._stands = ""
        self._wrote = False

    def __call__(self, call: Call) -> bool:
        stood, self._stands = self._stands, self._next(call)
        if self._stands == stood or self._stands != self._gap:
            return False
        self._left -= 1
        return self._left == 0

    def _next(self, call: Call) -> str:
        """Where ingest stands when this call is about to be made."""
        database = call.where == "postgresql" or call.where.startswith("nabz.db")
        if database and any(mark in call.data for mark in MARKS):
            self._ingest, self._wrote = call.thread, True
        if database and call.thread == self._ingest:
            if call.name in ("BEGIN", "lock nabz.db-shm"):
                self._wrote = False
                return "received"
            if call.name == "pwrite64 nabz.db-wal" or (call.name == "COMMIT" and self._wrote):
                return "inserted"
        if self._stands == "inserted" and call.name == "PUBLISH receipt":
            return "committed"
        if self._stands == "committed" and call.name == "PUBACK":
            return "receipted"
        if self._stands == "receipted" and call.name != "PUBACK":
            return "acknowledged"
        return self._stands


PLANS: dict[str, Callable[..., Plan]] = {"at": at, "before": before, "after": after, "gap": Gap}


# ---------------------------------------------------------------- the keeper


def keep(pid: int, listener: int, plan: Plan, log: Path) -> None:
    """Lets calls pass one at a time until the plan's, or until the program has ended."""
    calls, ends = Calls(pid), select.poll()
    ends.register(listener, select.POLLIN)
    with log.open("w") as output:
        while ends.poll()[0][1] & select.POLLIN:
            buffer = bytearray(80)
            try:
                fcntl.ioctl(listener, RECEIVE, buffer)
                ident, thread, number = struct.unpack_from("QIxxxxi", buffer)
                call = calls.named(thread, number, struct.unpack_from("6Q", buffer, 32))
                if call.where:
                    fatal = plan(call)
                    output.write(f"{thread - pid} {call.name}{' !' * fatal}\n")
                    if fatal:
                        os.kill(pid, signal.SIGKILL)
                        return
                fcntl.ioctl(listener, SEND, struct.pack("QqiI", ident, 0, 0, CONTINUE))
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue


def become(plan: Plan, log: Path, argv: list[str]) -> None:
    """Leaves a keeper behind and turns into the program, which keeps this process's number."""
    place = mmap.mmap(-1, 4)
    place[:] = struct.pack("i", -1)
    wait, go = os.pipe()
    pid = os.getpid()
    if os.fork() == 0:
        os.setsid()  # whoever kills the program's group must not kill the keeper first
        while (number := struct.unpack("i", place)[0]) < 0:
            time.sleep(0.001)
        try:
            listener = done(libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), number, 0))
            os.write(go, b".")
            keep(pid, listener, plan, log)
        except BaseException:
            os.kill(pid, signal.SIGKILL)  # without a keeper its calls would fail
            raise
        os._exit(0)
    libc.prctl(SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)  # where Yama lets only parents look
    place[:] = struct.pack("i", ask_about_calls())
    os.read(wait, 1)
    os.close(wait)
    os.close(go)
    os.execv(argv[0], argv)


def gated(plan: str, log: Path, argv: list[str]) -> list[str]:
    """What starts ``argv`` behind a gate."""
    return [sys.executable, "-P", __file__, plan, str(log), *argv]


if __name__ == "__main__":
    kind, *rest = sys.argv[1].split()
    become(PLANS[kind](*rest), Path(sys.argv[2]), sys.argv[3:])
