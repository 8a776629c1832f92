"""One SQLite file of groups: opened, verified, written in one transaction at a time, read newest or oldest first.

One connection holds the file alone (``locking_mode=EXCLUSIVE``): SQLite before 3.51.3 can corrupt a WAL that two
connections reset at once, and an exclusive WAL needs no shared memory file either. A group's key is
``epoch << 40 | last_seq``, where an epoch is one spool id; keys therefore grow with time, and a receipt finds its
group without an index.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.identity import sync_folder
from agent.spool_record import (
    COUNT_OFFSET,
    VALUE_OFFSET,
    VALUES,
    Group,
    Head,
    Ident,
    RecordDamaged,
    Value,
    pack,
    unpack,
)

PAGE_BYTES = 4096
SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
WAL_PAGES = 256  # a checkpoint every MiB: few syncs, and no long replay after a power cut
MAX_SPAN = 100  # readings one damaged group may have held (wire.MAX_BATCH_READINGS)

SCHEMA = f"""
PRAGMA page_size={PAGE_BYTES};
CREATE TABLE spools (epoch INTEGER PRIMARY KEY, spool TEXT NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL,
                     wall_ms INTEGER NOT NULL, proof BLOB NOT NULL);
CREATE TABLE groups (key INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""


class SpoolDamaged(Exception):
    """The file cannot be trusted as it is: salvage it into a new one."""


Why = Literal["full", "unreadable", "disk"]


@dataclass(frozen=True, order=True)
class Lost:
    """A range of numbers of one spool that is gone, and why."""

    why: Why
    spool: str
    first_seq: int
    last_seq: int

    @property
    def count(self) -> int:
        return self.last_seq - self.first_seq + 1


class SpoolFile:
    """The current spool is the newest epoch; older ones only wait to be sent."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self._epochs: dict[str, int] = {}
        self.head = Head("")
        self.readings = 0

    # ------------------------------------------------------------ opening

    @classmethod
    def create(cls, target: Path | None, heads: Iterable[Head]) -> SpoolFile:
        """A new file (None: in memory) whose spools are ``heads``, oldest first. Raises sqlite3.Error, OSError."""
        sql = _connect(target)
        try:
            _configure(sql)
            sql.executescript(SCHEMA)
            sql.execute("BEGIN")
            for epoch, head in enumerate(heads, 1):
                _put_head(sql, epoch, head)
            sql.execute("COMMIT")
            if target is not None:
                _make_durable(sql)
                sync_folder(target.parent)
            opened = cls(sql)
            opened._read_heads()
        except BaseException:
            sql.close()
            raise
        return opened

    @classmethod
    def open(cls, path: Path) -> tuple[SpoolFile, list[Lost]]:
        """The file and what of it can no longer be read, which is removed. Every record is verified.

        Raises SpoolDamaged when the numbers or the file's structure cannot be trusted; OSError or
        sqlite3.OperationalError when the disk does not let us in at all.
        """
        sql = _connect(path)
        opened = cls(sql)
        try:
            _configure(sql)
            _make_durable(sql)
            opened._read_heads()
            lost = opened._verify()
        except BaseException as error:
            sql.close()
            if isinstance(error, sqlite3.DatabaseError) and is_damage(error):
                raise SpoolDamaged(str(error)) from None
            raise
        return opened, lost

    def close(self) -> None:
        self._sql.close()

    def _read_heads(self) -> None:
        rows = self._sql.execute(
            "SELECT epoch, spool, seq, chain, wall_ms, proof FROM spools ORDER BY epoch"
        ).fetchall()
        for epoch, *known, proof in rows:
            self.head = Head(*known)
            if _proof(epoch, self.head) != proof:
                raise SpoolDamaged("the spool's numbers do not match their proof")
            self._epochs[self.head.spool] = epoch
        if not rows:
            raise SpoolDamaged("the spool has no numbers")

    def _verify(self) -> list[Lost]:
        """Removes every record that is not whole, with the most it can have held."""
        spools = {epoch: spool for spool, epoch in self._epochs.items()}
        lost: list[Lost] = []
        bad: list[int] = []
        before = 0
        for key, record in self._sql.execute("SELECT key, record FROM groups ORDER BY key"):
            spool, last = spools.get(key >> SEQ_BITS, ""), key & SEQ_MASK
            try:
                group = unpack(record if isinstance(record, bytes) else b"")
                if group.ident != (spool, last):
                    raise RecordDamaged("the record is not the one its key names")
                self.readings += len(group.raws)
            except RecordDamaged:
                bad.append(key)
                if spool:
                    floor = (before & SEQ_MASK) + 1 if before >> SEQ_BITS == key >> SEQ_BITS else 1
                    lost.append(Lost("unreadable", spool, max(floor, last - MAX_SPAN + 1), last))
            before = key
        with self._transaction():
            self._sql.executemany("DELETE FROM groups WHERE key = ?", [(key,) for key in bad])
        return lost

    # ------------------------------------------------------------ writing

    def write(self, groups: Iterable[Group], forget: Iterable[Ident] = ()) -> None:
        """Forgets some groups and appends others, numbered on from the head: durably and at once, or not at all."""
        head, added, removed = self.head, 0, 0
        with self._transaction():
            for spool, last_seq in forget:
                removed += self._remove(self._epochs[spool] << SEQ_BITS | last_seq)
            for group in groups:
                self._sql.execute("INSERT INTO groups VALUES (?, ?)", (self._key(group), pack(group)))
                head = head.after(group)
                added += len(group.raws)
            _put_head(self._sql, self._epochs[head.spool], head)
        self.head = head
        self.readings += added - removed

    def adopt(self, head: Head, groups: Iterable[Group]) -> None:
        """Takes over a spool from elsewhere; its numbering goes on here, and the one so far only waits to be sent."""
        epoch = max(self._epochs.values(), default=0) + 1
        added = 0
        with self._transaction():
            _put_head(self._sql, epoch, head)
            for group in groups:
                self._sql.execute("INSERT INTO groups VALUES (?, ?)", (epoch << SEQ_BITS | group.last_seq, pack(group)))
                added += len(group.raws)
        self._epochs[head.spool] = epoch
        self.head = head
        self.readings += added

    def keep(self, groups: Iterable[Group]) -> None:
        """Puts back groups that were salvaged, each in the spool it came from."""
        with self._transaction():
            for group in groups:
                self._sql.execute("INSERT INTO groups VALUES (?, ?)", (self._key(group), pack(group)))
                self.readings += len(group.raws)

    def _remove(self, key: int) -> int:
        """How many readings went with the group."""
        rows = self._sql.execute(
            "DELETE FROM groups WHERE key = ? RETURNING substr(record, ?, 2)", (key, COUNT_OFFSET + 1)
        ).fetchall()
        return sum(int.from_bytes(count, "big") for (count,) in rows)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._sql)

    # ------------------------------------------------------------ reading

    def find(self, spool: str, last_seq: int) -> Group | None:
        epoch = self._epochs.get(spool)
        if epoch is None or last_seq > SEQ_MASK:
            return None
        row = self._sql.execute("SELECT record FROM groups WHERE key = ?", (epoch << SEQ_BITS | last_seq,)).fetchone()
        return None if row is None else _unpack_or_none(row[0])

    def groups(self, skip: Collection[Ident] = (), *, newest_first: bool = False) -> Iterator[Group]:
        """The groups not in ``skip``, in order of time. A record that went bad since it was verified is passed over."""
        passed = {self._epochs[spool] << SEQ_BITS | last for spool, last in skip if spool in self._epochs}
        order = "DESC" if newest_first else "ASC"
        for key, record in self._sql.execute(f"SELECT key, record FROM groups ORDER BY key {order}"):  # noqa: S608
            group = None if key in passed else _unpack_or_none(record)
            if group is not None:
                yield group

    def oldest_of(self, value: Value) -> Iterator[tuple[Group, int]]:
        """The groups of one value, oldest first, each with the bytes its record takes."""
        cursor = self._sql.execute(
            "SELECT record FROM groups WHERE substr(record, ?, 1) = ? ORDER BY key",
            (VALUE_OFFSET + 1, bytes([VALUES.index(value)])),
        )
        for (record,) in cursor:
            if (group := _unpack_or_none(record)) is not None:
                yield group, len(record)

    def used_bytes(self) -> int:
        """Bytes in use inside the file; freed pages are used again before the file grows."""
        (pages,) = self._sql.execute("PRAGMA page_count").fetchone()
        (free,) = self._sql.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * PAGE_BYTES

    def holds(self, spool: str) -> bool:
        return spool in self._epochs

    def _key(self, group: Group) -> int:
        return self._epochs[group.spool] << SEQ_BITS | group.last_seq


class _Transaction:
    """BEGIN and COMMIT by hand: what sqlite3's own context manager rolls back, it may also have half begun."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql

    def __enter__(self) -> None:
        self._sql.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is None:
            self._sql.execute("COMMIT")
        elif self._sql.in_transaction:
            self._sql.execute("ROLLBACK")


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the bytes are at fault, not the disk or the room on it."""
    return not isinstance(error, sqlite3.OperationalError) or str(error).startswith("no such")


def _connect(path: Path | None) -> sqlite3.Connection:
    name = ":memory:" if path is None else str(path)
    return sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=1)


def _configure(sql: sqlite3.Connection) -> None:
    sql.execute("PRAGMA locking_mode=EXCLUSIVE")
    sql.execute("PRAGMA cache_size=-512")
    sql.execute("PRAGMA temp_store=MEMORY")


def _make_durable(sql: sqlite3.Connection) -> None:
    (mode,) = sql.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the disk does not allow a write-ahead log (journal mode {mode})")
    sql.execute("PRAGMA synchronous=FULL")
    sql.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    sql.execute(f"PRAGMA journal_size_limit={WAL_PAGES * PAGE_BYTES * 2}")


def _put_head(sql: sqlite3.Connection, epoch: int, head: Head) -> None:
    sql.execute(
        "INSERT INTO spools VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (epoch) DO UPDATE "
        "SET seq = excluded.seq, chain = excluded.chain, wall_ms = excluded.wall_ms, proof = excluded.proof",
        (epoch, head.spool, head.seq, head.chain, head.wall_ms, _proof(epoch, head)),
    )


def _proof(epoch: int, head: Head) -> bytes:
    return hashlib.sha256(f"{epoch} {head!r}".encode()).digest()[:16]


def _unpack_or_none(record: object) -> Group | None:
    try:
        return unpack(record if isinstance(record, bytes) else b"")
    except RecordDamaged:
        return None
