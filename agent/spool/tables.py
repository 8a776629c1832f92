"""The tables of a spool's file, how a connection to it is set up, and what SQLite's errors mean here."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.spool.dropped import DroppedRun, run_proof
from agent.spool.receipts import KeyRange, added, range_proof
from agent.spool.record import Head

PAGE_BYTES = 1024  # of a new file: each commit writes some whole pages: of 2048 they were a quarter more bytes a day
SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
PAGE_SIZES = (PAGE_BYTES, 2048)  # the second: of files that older agents began
WAL_PAGES = 256  # a checkpoint every quarter MiB: few syncs, and no long replay after a power cut

TABLES = (
    "CREATE TABLE spools (epoch INTEGER PRIMARY KEY, spool TEXT NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL, "
    "wall_ms INTEGER NOT NULL, held INTEGER NOT NULL, proof BLOB NOT NULL)",
    "CREATE TABLE groups (key INTEGER PRIMARY KEY, record BLOB NOT NULL)",
    "CREATE TABLE receipted (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, proof BLOB NOT NULL)",
    "CREATE TABLE collector (one INTEGER PRIMARY KEY, epoch TEXT NOT NULL)",
    "CREATE TABLE dropped (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, from_ms INTEGER NOT NULL, "
    "to_ms INTEGER NOT NULL, proof BLOB NOT NULL)",
)
FIRST_TABLES = 2  # of an agent that let receipted readings go at once; the others came one after the other


class SpoolDamaged(sqlite3.DatabaseError):
    """The file cannot be trusted as it is: salvage it into a new one."""


@dataclass
class SpoolMarks:
    """What a file knows beside its groups, by the numbers of each spool: which were receipted, and when receipted ones
    were taken that it holds no more; and the epoch of the collector's database."""

    receipted: dict[str, list[KeyRange]] = field(default_factory=dict)
    dropped: dict[str, list[DroppedRun]] = field(default_factory=dict)
    epoch: str = ""


def marks_in(path: Path) -> SpoolMarks:
    """What can be read of them in a file that is damaged, each part by itself: without the first, readings are sent
    again in vain; without the second, nobody can say which minutes a restored collector has lost."""
    marks = SpoolMarks()
    for part in (_read_receipted, _read_dropped, _read_epoch):
        with (
            suppress(sqlite3.Error, TypeError, UnicodeDecodeError),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as sql,
        ):
            part(sql, marks)
    return marks


def _read_receipted(sql: sqlite3.Connection, marks: SpoolMarks) -> None:
    spools = _spools(sql)
    for first, last, mark in sql.execute("SELECT first, last, proof FROM receipted"):
        spool, part = spools.get(first >> SEQ_BITS, ""), (first & SEQ_MASK, last & SEQ_MASK)
        if first <= last and mark == range_proof(spool, *part):
            marks.receipted[spool] = added(marks.receipted.get(spool, ()), *part)


def _read_dropped(sql: sqlite3.Connection, marks: SpoolMarks) -> None:
    spools = _spools(sql)
    for run in read_dropped(sql, spools):
        marks.dropped.setdefault(spools[run.first >> SEQ_BITS], []).append(numbered(run))


def _read_epoch(sql: sqlite3.Connection, marks: SpoolMarks) -> None:
    for (epoch,) in sql.execute("SELECT epoch FROM collector"):
        marks.epoch = str(epoch)


def _spools(sql: sqlite3.Connection) -> dict[int, str]:
    return dict(sql.execute("SELECT epoch, spool FROM spools"))


def numbered(run: DroppedRun) -> DroppedRun:
    """A run of keys by its numbers."""
    return run._replace(first=run.first & SEQ_MASK, last=run.last & SEQ_MASK)


class Transaction:
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


def connect(path: Path | None) -> sqlite3.Connection:
    name = ":memory:" if path is None else str(path)
    return sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=1)


def configure(sql: sqlite3.Connection) -> None:
    sql.execute("PRAGMA locking_mode=EXCLUSIVE")
    sql.execute("PRAGMA cache_size=-512")
    sql.execute("PRAGMA temp_store=MEMORY")


def make_durable(sql: sqlite3.Connection) -> None:
    (mode,) = sql.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the disk does not allow a write-ahead log (journal mode {mode})")
    sql.execute("PRAGMA synchronous=FULL")
    sql.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    sql.execute(f"PRAGMA journal_size_limit={WAL_PAGES * PAGE_BYTES * 2}")


def check_tables(sql: sqlite3.Connection) -> None:
    """SQLite keeps the tables' texts in the file and believes them, whatever a flipped bit has made of a column.

    Raises SpoolDamaged; sqlite3.Error."""
    texts = tuple(text for (text,) in sql.execute("SELECT sql FROM sqlite_master ORDER BY rowid"))
    if len(texts) < FIRST_TABLES or texts != TABLES[: len(texts)]:
        raise SpoolDamaged("the tables are not as they were made")
    if texts != TABLES:
        sql.execute("BEGIN IMMEDIATE")
        for table in TABLES[len(texts) :]:
            sql.execute(table)
        sql.execute("COMMIT")


def put_head(sql: sqlite3.Connection, epoch: int, head: Head, held: int) -> None:
    sql.execute(
        "INSERT OR REPLACE INTO spools VALUES (?, ?, ?, ?, ?, ?, ?)",
        (epoch, head.spool, head.seq, head.chain, head.wall_ms, held, head_proof(epoch, head, held)),
    )


def head_proof(epoch: int, head: Head, held: int) -> bytes:
    return hashlib.sha256(f"{epoch} {head!r} {held!r}".encode()).digest()[:16]


def read_receipted(sql: sqlite3.Connection, spools: Mapping[int, str]) -> list[KeyRange]:
    """The ranges of receipted keys, `spools` being the names by epoch. One that does not match its proof is left out:
    its readings are sent again, which is a no-op."""
    ranges: list[KeyRange] = []
    for first, last, mark in sql.execute("SELECT first, last, proof FROM receipted").fetchall():
        spool = spools.get(first >> SEQ_BITS, "")
        if isinstance(last, int) and mark == range_proof(spool, first & SEQ_MASK, last & SEQ_MASK):
            ranges = added(ranges, first, last)
    return ranges


def put_receipted(
    sql: sqlite3.Connection, spools: Mapping[int, str], stored: Sequence[KeyRange], marks: Sequence[KeyRange]
) -> None:
    """Writes what differs from the `stored` ones."""
    for first, _last in set(stored) - set(marks):
        sql.execute("DELETE FROM receipted WHERE first = ?", (first,))
    for first, last in set(marks) - set(stored):
        mark = range_proof(spools[first >> SEQ_BITS], first & SEQ_MASK, last & SEQ_MASK)
        sql.execute("INSERT OR REPLACE INTO receipted VALUES (?, ?, ?)", (first, last, mark))


def read_dropped(sql: sqlite3.Connection, spools: Mapping[int, str]) -> list[DroppedRun]:
    """Ascending. A run that does not match its proof is left out: nobody can say then when its readings were taken."""
    runs = []
    for *known, mark in sql.execute("SELECT first, last, from_ms, to_ms, proof FROM dropped ORDER BY first").fetchall():
        run = DroppedRun(*known)
        if mark == run_proof(spools.get(run.first >> SEQ_BITS, ""), run):
            runs.append(run)
    return runs


def put_dropped(
    sql: sqlite3.Connection, spools: Mapping[int, str], stored: Sequence[DroppedRun], runs: Sequence[DroppedRun]
) -> None:
    """Writes what differs from the `stored` ones."""
    if runs is stored:
        return
    kept, known = set(runs), set(stored)
    for run in known - kept:
        sql.execute("DELETE FROM dropped WHERE first = ?", (run.first,))
    for run in kept - known:
        mark = run_proof(spools[run.first >> SEQ_BITS], run)
        sql.execute("INSERT OR REPLACE INTO dropped VALUES (?, ?, ?, ?, ?)", (*run, mark))
