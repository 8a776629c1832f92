"""What a disk may hold after a power cut, from a recorded stream of writes and syncs (after ALICE, OSDI 2014).

A write is certain once its file was synced, a name once its folder was. Of what came after, a disk may hold anything:
nothing, all, a prefix, a write torn at a sector, any subset of the sectors, the file's new length without its bytes.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = "openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink,rename"
LINE = re.compile(r"(\w+)\((.*)\) += (\d+)(?:<(.*)>)?$")

Files = dict[str, bytes]


# ---------------------------------------------------------------- the recording


@dataclass(frozen=True)
class Write:
    name: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    name: str
    size: int


@dataclass(frozen=True)
class Sync:
    name: str  # empty: of the folder


@dataclass(frozen=True)
class Name:
    """A file appears (``was`` empty), disappears (``becomes`` empty) or gets another name."""

    was: str
    becomes: str


@dataclass(frozen=True)
class Say:
    text: str


Step = Write | Truncate | Sync | Name | Say


def record(argv: Sequence[str], folder: Path, into: Path, there: Collection[str] = (), **options: object) -> list[Step]:
    """Every step that ``argv`` took on files in ``folder``, and what it wrote to standard output, in order; ``there``
    are the files that were in it before."""
    trace = ["strace", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(into), *argv]
    subprocess.run(trace, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return list(_steps(into.read_text().splitlines(), str(folder), set(there)))


def _steps(lines: Sequence[str], folder: str, there: set[str]) -> Iterator[Step]:
    ends: dict[str, int] = {}  # of what is written without an offset, by the number of the open file
    for line in lines:
        if (found := LINE.match(line)) is None:
            continue
        call, words, result, _opened = found.groups()
        texts = [
            _bytes(part).decode("latin-1")
            for part in re.findall(r'"([^"]*)"|<([^>]*)>', words)
            for part in part
            if part
        ]
        if call == "write" and words.startswith("1<"):
            yield Say(texts[-1])
            continue
        paths = [text for text in texts if text == folder or text.startswith(folder + "/")]
        if not paths:
            continue
        name = paths[0][len(folder) + 1 :]
        if call == "openat" and "O_CREAT" in words:
            if name not in there:
                there.add(name)
                yield Name("", name)
            if "O_TRUNC" in words:
                ends[result] = 0
                yield Truncate(name, 0)
        elif call == "pwrite64":
            yield Write(name, int(words.rpartition(", ")[2]), texts[-1].encode("latin-1")[: int(result)])
        elif call == "write":
            number = words.partition("<")[0]
            if number not in ends:
                raise ValueError(f"{name} is written without an offset and was not made anew: teach me that")
            yield Write(name, ends[number], texts[-1].encode("latin-1")[: int(result)])
            ends[number] += int(result)
        elif call == "ftruncate":
            yield Truncate(name, int(words.rpartition(", ")[2]))
        elif call in ("fsync", "fdatasync"):
            yield Sync(name)
        elif call == "unlink":
            there.discard(name)
            yield Name(name, "")
        elif call == "rename":
            there.discard(name)
            there.add(paths[1][len(folder) + 1 :])
            yield Name(name, paths[1][len(folder) + 1 :])


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


# ---------------------------------------------------------------- the disk


@dataclass
class Inode:
    certain: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)

    def after(self, steps: Sequence[Write | Truncate]) -> bytearray:
        content = bytearray(self.certain)
        for step in steps:
            changed(content, step)
        return content

    def sync(self) -> None:
        self.certain, self.pending = self.after(self.pending), []


@dataclass
class Disk:
    """``now`` is what a running program sees; ``certain`` the names a power cut leaves at least."""

    now: dict[str, Inode] = field(default_factory=dict)
    certain: dict[str, Inode] = field(default_factory=dict)
    pending: list[tuple[Name, Inode]] = field(default_factory=list)

    @classmethod
    def of(cls, files: Files) -> Disk:
        """A disk that held these files before anybody came."""
        inodes = {name: Inode(bytearray(content)) for name, content in files.items()}
        return cls(dict(inodes), dict(inodes))

    def take(self, step: Step) -> None:
        if isinstance(step, Write | Truncate):
            self.now[step.name].pending.append(step)
        elif isinstance(step, Name):
            inode = self.now[step.was] if step.was else Inode()
            _rename(self.now, step, inode)
            self.pending.append((step, inode))
        elif isinstance(step, Sync) and not step.name:
            self.certain, self.pending = dict(self.now), []
        elif isinstance(step, Sync):
            self.now[step.name].sync()

    def whole(self) -> Files:
        """Everything reached the disk."""
        return {name: bytes(inode.after(inode.pending)) for name, inode in self.now.items()}

    def cut(self, chance: random.Random) -> Files:
        """One of the states that a power cut may leave."""
        names = dict(self.certain)
        for step, inode in self.pending[: chance.randint(0, len(self.pending))]:
            _rename(names, step, inode)
        return {name: _some(inode, chance) for name, inode in names.items()}


def _rename(names: dict[str, Inode], step: Name, inode: Inode) -> None:
    names.pop(step.was, None)
    if step.becomes:
        names[step.becomes] = inode


def changed(content: bytearray, step: Write | Truncate) -> None:
    """In place."""
    size = step.size if isinstance(step, Truncate) else step.offset
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if isinstance(step, Truncate):
        del content[step.size :]
    else:
        content[step.offset : step.offset + len(step.data)] = step.data


def _some(inode: Inode, chance: random.Random) -> bytes:
    steps = inode.pending
    if not steps:
        return bytes(inode.certain)
    way = chance.choice(("none", "prefix", "torn", "writes", "sectors", "sectors", "length"))
    if way == "none":
        return bytes(inode.certain)
    if way == "writes":
        return bytes(inode.after([step for step in steps if chance.random() < 0.5]))
    reached = chance.randint(1, len(steps))
    if way == "torn":
        return bytes(inode.after([*steps[: reached - 1], _torn(steps[reached - 1], chance)]))
    full = inode.after(steps[:reached])
    return bytes(full) if way == "prefix" else _patchwork(inode.certain, full, 0.5 if way == "sectors" else 1.0, chance)


def _torn(step: Write | Truncate, chance: random.Random) -> Write | Truncate:
    if isinstance(step, Truncate):
        return step
    sectors = (step.offset + len(step.data)) // SECTOR - step.offset // SECTOR
    keep = max(0, (step.offset // SECTOR + chance.randint(0, sectors)) * SECTOR - step.offset)
    return Write(step.name, step.offset, step.data[:keep])


def _patchwork(old: bytes | bytearray, new: bytearray, share: float, chance: random.Random) -> bytes:
    """``new``, but this share of the sectors that differ are as before; where nothing was before, zeros or noise."""
    noise = chance.choice((b"\0", b"\0", b"\xff", None))
    mixed = bytearray(new)
    for start in range(0, len(new), SECTOR):
        sector = bytes(new[start : start + SECTOR])
        before = bytes(old[start : start + SECTOR])
        if sector != before and chance.random() < share:
            blank = chance.randbytes(SECTOR) if noise is None else noise * SECTOR
            mixed[start : start + len(sector)] = (before + blank[len(before) :])[: len(sector)]
    return bytes(mixed)


# ---------------------------------------------------------------- what no honest disk does


def harmed(files: Mapping[str, bytes], chance: random.Random) -> Files:
    """One file with a fault that a worn or lying card makes in what it had promised to hold."""
    name = chance.choice([name for name, content in files.items() if content] or sorted(files))
    content = bytearray(files[name])
    way = chance.choice(("flip", "flip", "flips", "sector", "swap", "cut", "tail"))
    place = chance.randrange(max(1, len(content) // SECTOR)) * SECTOR
    if way in ("flip", "flips"):
        for _ in range(1 if way == "flip" else chance.randint(2, 64)):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif way == "sector":
        size = chance.choice((SECTOR, 8 * SECTOR))
        content[place : place + size] = (chance.choice((b"\0", b"\xff")) * size)[: len(content) - place]
    elif way == "swap":
        other = chance.randrange(max(1, len(content) // SECTOR)) * SECTOR
        one, two = bytes(content[place : place + SECTOR]), bytes(content[other : other + SECTOR])
        if len(one) == len(two):
            content[place : place + SECTOR], content[other : other + SECTOR] = two, one
    elif way == "cut":
        del content[place:]
    else:
        content += chance.choice((bytes(SECTOR), b"\xff" * SECTOR, chance.randbytes(3 * SECTOR)))
    return {**files, name: bytes(content)}
