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

from agent.common.errors import describe
from agent.identity import sync_folder
from agent.spool.record import VALUE_OFFSET, VALUES, Group, Head, Ident, RecordDamaged, Value, pack, unpack

PAGE_BYTES = 2048
SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
WAL_PAGES = 256  # a checkpoint every MiB: few syncs, and no long replay after a power cut
MAX_SPAN = 100  # readings one damaged group may have held (wire.MAX_BATCH_READINGS)

TABLES = (
    "CREATE TABLE spools (epoch INTEGER PRIMARY KEY, spool TEXT NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL, "
    "wall_ms INTEGER NOT NULL, held INTEGER NOT NULL, proof BLOB NOT NULL)",
    "CREATE TABLE groups (key INTEGER PRIMARY KEY, record BLOB NOT NULL)",
)


class SpoolDamaged(sqlite3.DatabaseError):
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

    def __init__(self, connection: sqlite3.Connection, folder: Path | None) -> None:
        self._sql = connection
        self._unsynced = folder  # until the name of the log in it is durable
        self._epochs: dict[str, int] = {}
        self.head = Head("")
        self.readings = 0
        self._held = 0  # groups; kept in the file too, because a flipped bit in a tree can make rows vanish unseen

    # ------------------------------------------------------------ opening

    @classmethod
    def create(cls, target: Path | None, heads: Iterable[Head]) -> SpoolFile:
        """A new file (None: in memory) whose spools are ``heads``, oldest first. Raises sqlite3.Error, OSError."""
        sql = _connect(target)
        try:
            _configure(sql)
            sql.execute(f"PRAGMA page_size={PAGE_BYTES}")
            sql.execute("BEGIN")
            for table in TABLES:
                sql.execute(table)
            for epoch, head in enumerate(heads, 1):
                _put_head(sql, epoch, head, 0)
            sql.execute("COMMIT")
            if target is not None:
                _make_durable(sql)
                sync_folder(target.parent)
            opened = cls(sql, None if target is None else target.parent)
            opened._read_heads()
        except BaseException:
            sql.close()
            raise
        return opened

    @classmethod
    def open(cls, path: Path) -> tuple[SpoolFile, list[Lost]]:
        """The file, and what of it can no longer be read: each ends where a group stands that is to be forgotten.

        Raises SpoolDamaged when the numbers or the file's structure cannot be trusted; OSError or
        sqlite3.OperationalError when the disk does not let us in at all.
        """
        sql = _connect(path)
        opened = cls(sql, path.parent)
        try:
            _configure(sql)
            _make_durable(sql)
            _check_tables(sql)
            sql.execute("DELETE FROM groups WHERE 0")  # a header that forbids writing shows here, not at an append
            opened._read_heads()
            lost = opened._verify()
        except BaseException as error:
            sql.close()
            if is_damage(error):
                raise SpoolDamaged(describe(error)) from None
            raise
        return opened, lost

    def close(self) -> None:
        self._sql.close()

    def _read_heads(self) -> None:
        query = "SELECT epoch, spool, seq, chain, wall_ms, held, proof FROM spools ORDER BY epoch"
        for epoch, *known, held, proof in self._sql.execute(query).fetchall():
            self.head, self._held = Head(*known), held
            if _proof(epoch, self.head, held) != proof:
                raise SpoolDamaged("the spool's numbers do not match their proof")
            self._epochs[self.head.spool] = epoch
        if not self._epochs:
            raise SpoolDamaged("the spool has no numbers")

    def _verify(self) -> list[Lost]:
        """Every record that is not whole, with the most it can have held."""
        spools = {epoch: spool for spool, epoch in self._epochs.items()}
        lost: list[Lost] = []
        before = seen = 0
        for key, record in self._sql.execute("SELECT key, record FROM groups ORDER BY key"):
            seen += 1
            spool, last = spools.get(key >> SEQ_BITS), key & SEQ_MASK
            group = _unpack_or_none(record)
            if key <= before or spool is None or (group is not None and group.ident != (spool, last)):
                raise SpoolDamaged("a group stands under a key that is not its own, or twice")
            if group is not None:
                self.readings += len(group.raws)
            else:
                floor = (before & SEQ_MASK) + 1 if before >> SEQ_BITS == key >> SEQ_BITS else 1
                lost.append(Lost("unreadable", spool, max(floor, last - MAX_SPAN + 1), last))
            before = key
        if seen != self._held:
            raise SpoolDamaged(f"the file holds {self._held} groups and shows {seen}")
        return lost

    # ------------------------------------------------------------ writing

    def write(self, groups: Iterable[Group], forget: Iterable[Ident] = ()) -> None:
        """Forgets some groups and appends others, numbered on from the head: durably and at once, or not at all."""
        head, readings, held = self.head, self.readings, self._held
        with self._transaction():
            for spool, last_seq in forget:
                for count in self._remove(self._epochs[spool] << SEQ_BITS | last_seq):
                    readings, held = readings - count, held - 1
            for group in groups:
                self._insert(group)
                head = head.after(group)
                readings, held = readings + len(group.raws), held + 1
            self._put_head(head, held)
        self._sync_name()
        self.head, self.readings, self._held = head, readings, held

    def adopt(self, head: Head, groups: Iterable[Group]) -> None:
        """Takes over a spool from elsewhere; its numbering goes on here, and the one so far only waits to be sent.
        Removes what an earlier attempt, whose outcome was unknown, has left of it."""
        before = self._epochs.get(head.spool)
        self._epochs[head.spool] = max(self._epochs.values(), default=0) + 1
        try:
            self._take_in(head, groups, instead_of=before)
        except BaseException:
            del self._epochs[head.spool]
            raise
        self.head = head

    def keep(self, groups: Iterable[Group]) -> None:
        """Puts back groups that were salvaged, each in the spool it came from."""
        self._take_in(self.head, groups)

    def _take_in(self, head: Head, groups: Iterable[Group], instead_of: int | None = None) -> None:
        readings, held = self.readings, self._held
        with self._transaction():
            if instead_of is not None:
                counts = self._clear(instead_of)
                readings, held = readings - sum(counts), held - len(counts)
            for group in groups:
                self._insert(group)
                readings, held = readings + len(group.raws), held + 1
            self._put_head(head, held)
        self._sync_name()
        self.readings, self._held = readings, held

    def _clear(self, epoch: int) -> list[int]:
        """How many readings went with each group of a spool that is here no more."""
        first, last = epoch << SEQ_BITS, epoch << SEQ_BITS | SEQ_MASK
        keys = self._sql.execute("SELECT key FROM groups WHERE key BETWEEN ? AND ?", (first, last)).fetchall()
        self._sql.execute("DELETE FROM spools WHERE epoch = ?", (epoch,))
        return [count for (key,) in keys for count in self._remove(key)]

    def _sync_name(self) -> None:
        """The first commit makes the log. SQLite syncs its folder then, but goes on when that fails (unixSync)."""
        if self._unsynced is not None:
            sync_folder(self._unsynced)
            self._unsynced = None

    def _insert(self, group: Group) -> None:
        key = self._epochs[group.spool] << SEQ_BITS | group.last_seq
        self._sql.execute("INSERT INTO groups VALUES (?, ?)", (key, pack(group)))

    def _remove(self, key: int) -> list[int]:
        """How many readings went with the group, when it was there; a record that is not whole counts for none."""
        rows = self._sql.execute("DELETE FROM groups WHERE key = ? RETURNING record", (key,)).fetchall()
        groups = [_unpack_or_none(record) for (record,) in rows]
        return [0 if group is None else len(group.raws) for group in groups]

    def _put_head(self, head: Head, held: int) -> None:
        _put_head(self._sql, self._epochs[head.spool], head, held)

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


def is_damage(error: BaseException) -> bool:
    """Whether the bytes are at fault, not the disk or the room on it."""
    if isinstance(error, sqlite3.OperationalError):
        return result_code(error) == sqlite3.SQLITE_ERROR  # a table or a column that must be there is not
    return isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError)


def result_code(error: BaseException) -> int | None:
    """SQLite's primary result code (https://sqlite.org/rescode.html); None when it was not SQLite that failed."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


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


def _check_tables(sql: sqlite3.Connection) -> None:
    """SQLite keeps the tables' texts in the file and believes them, whatever a flipped bit has made of a column.

    Raises SpoolDamaged; sqlite3.Error."""
    if tuple(text for (text,) in sql.execute("SELECT sql FROM sqlite_master ORDER BY rowid")) != TABLES:
        raise SpoolDamaged("the tables are not as they were made")


def _put_head(sql: sqlite3.Connection, epoch: int, head: Head, held: int) -> None:
    sql.execute(
        "INSERT OR REPLACE INTO spools VALUES (?, ?, ?, ?, ?, ?, ?)",
        (epoch, head.spool, head.seq, head.chain, head.wall_ms, held, _proof(epoch, head, held)),
    )


def _proof(epoch: int, head: Head, held: int) -> bytes:
    return hashlib.sha256(f"{epoch} {head!r} {held!r}".encode()).digest()[:16]


def _unpack_or_none(record: object) -> Group | None:
    try:
        return unpack(record if isinstance(record, bytes) else b"")
    except RecordDamaged:
        return None
