"""A spool's groups written into a new file, which takes the place of one that is damaged or was taken away."""

from __future__ import annotations

import itertools
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from agent.common.files import sync_folder
from agent.spool.file import SpoolFile
from agent.spool.receipts import KeyRange, outside
from agent.spool.record import Group, Head
from agent.spool.salvage import Salvage, beside, finish_replacement, remove
from agent.spool.status import Lost
from agent.spool.tables import SpoolMarks

BUILDING = ".building"  # what is not whole yet

Accounts = Callable[[Head, Sequence[Lost]], list[Group]]
"""Groups that account for lost numbers, numbered on from a head."""


def rebuild(path: Path, known: Head | None, marks: SpoolMarks, accounts: Accounts, now_ms: int) -> list[Lost]:
    """What can be read of a damaged file moves into a new one under a new spool id, with what was known beside it;
    every step may be cut and done again. Returns what cannot be read. Raises sqlite3.Error, OSError."""
    salvage = Salvage(path, known)
    building = beside(path, BUILDING)
    with _new_file(building, salvage.heads) as new:
        new.keep(salvage.groups(), marks)
        new.write(accounts(new.head, salvage.holes))
    _take_place(path, building, now_ms)
    return salvage.holes


def write_anew(path: Path, old: SpoolFile, accounts: Accounts, now_ms: int) -> list[Lost]:
    """The groups of an open file whose name stands for it no longer move into a new one, under a new spool id: whoever
    finds the old file must not go on with its numbers. Closes it once all of it is durable elsewhere. Returns what
    could not be read. Raises sqlite3.Error, OSError."""
    building = beside(path, BUILDING)
    with _new_file(building, old.heads()) as new:
        new.keep(old.every_group(), old.marks())
        lost = list(holes(old)) if new.readings < old.readings else []
        new.write(accounts(new.head, lost))
    with suppress(sqlite3.Error):
        old.close()  # deletes the log of its name, which must not be that of the new file yet
    _take_place(path, building, now_ms)
    return lost


def holes(file: SpoolFile) -> Iterator[Lost]:
    """Waiting numbers between the groups that can be read, and after the last of them."""
    receipted = file.receipted_ranges()
    groups = itertools.groupby(file.every_group(), key=lambda group: group.spool)
    ends = {head.spool: head.seq for head in file.heads()}
    for spool, members in groups:
        at = None
        for group in members:
            if at is not None:
                yield from _missing(spool, at + 1, group.first_seq - 1, receipted)
            at = group.last_seq
        yield from _missing(spool, (at or 0) + 1, ends.get(spool, 0), receipted)


def _missing(spool: str, first: int, last: int, receipted: Mapping[str, Sequence[KeyRange]]) -> Iterator[Lost]:
    if first <= last:
        for part in outside(receipted.get(spool, ()), first, last):
            yield Lost("unreadable", spool, *part)


@contextmanager
def _new_file(building: Path, heads: Iterable[Head]) -> Iterator[SpoolFile]:
    """Closed and whole on the disk at the end. Raises OSError when it is not."""
    remove(building)
    with closing(SpoolFile.create(building, [*heads, Head(uuid.uuid4().hex)])) as new:
        yield new
    if beside(building, "-wal").exists():  # closing empties it into the file, and raises nothing when it cannot
        raise OSError(f"{building}: what was read did not reach the disk")


def _take_place(path: Path, building: Path, now_ms: int) -> None:
    building.replace(beside(path, ".rebuilt"))
    sync_folder(path.parent)
    finish_replacement(path, now_ms)
