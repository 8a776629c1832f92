"""What ingest remembers of centers from one transaction to the next, and how it learns that it has changed.

`recall` gives what of a center is in memory, and reads the rest. Whoever changes a table that something recalled comes
of, in this process or another, is noticed by the statement itself: his transaction marks the centers it changed, or all
of them where the statement does not tell which. Ingest reads the marks of its centers at the beginning of each of its
transactions, whose centers are its own until the commit, and forgets what has another mark. It marks what it changes
itself on the center's row of `pulse`, which it writes anyway, everybody else in `generations`; so neither overwrites
the other. Marks are random: those of a database that was put back are others, too.

In a transaction of ingest what a statement changes is forgotten as well, unless the caller changes what is recalled
along with it (`written_through`). After a rollback everything is forgotten.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from collector.store import schema

WARM, CHANGES = "warm", "changes"  # of a connection, while its transaction lasts
CENTERS = "centers"  # execution option: which centers a statement changes, where its rows do not tell
EVERYBODY = "*"  # in `generations`: something was changed of nobody knows whom

# What is recalled, and the tables it comes of.
PARTS: Mapping[str, frozenset[str]] = {
    "register": frozenset({"centers"}),
    "flags": frozenset({"flags"}),
    "newest": frozenset({"latest"}),
    "spools": frozenset({"spools"}),
    "tallies": frozenset({"tallies"}),
    "boots": frozenset({"boots"}),
    "cuts": frozenset({"cuts"}),
    "gaps": frozenset({"gaps"}),
}
TABLES = frozenset().union(*PARTS.values())
MOST_HELD = 20_000  # centers in memory
KEPT_MS = 900_000  # after this everything is read again, in case somebody changes tables by hand

T = TypeVar("T")
Marks = tuple[int | None, int | None]  # of the row in `pulse`, in `generations`


@dataclass
class Changes:
    """What one transaction has changed so far of the tables in question."""

    centers: set[str] = field(default_factory=set)
    everybody: bool = False
    stale: set[tuple[str, str]] = field(default_factory=set)  # part and center: recalled no more
    mark: int = field(default_factory=lambda: secrets.randbits(62))  # what is changed has it after the commit
    marked: set[str] = field(default_factory=set)  # centers that have it already
    through: str = ""  # the part that the caller is changing along with its statements

    def note(self, table: str, codes: Collection[str] | None) -> None:
        """A statement has changed rows of these centers; None: of nobody knows whom."""
        parts = [name for name, tables in PARTS.items() if table in tables and name != self.through]
        if codes is None:
            self.everybody = True
        else:
            self.centers.update(codes)
            self.stale.update((name, code) for name in parts for code in codes)

    def hides(self, part: str, code: str) -> bool:
        return self.everybody or (part, code) in self.stale


@dataclass
class HeldCenter:
    """What is remembered of one center, by part, while its marks are these."""

    marks: Marks
    since_ms: int
    parts: dict[str, Any] = field(default_factory=dict)


class Warm:
    """The memory of one process that takes readings. It is one transaction's at a time (`Store.write`)."""

    def __init__(self) -> None:
        self._held: dict[str, HeldCenter] = {}
        self._everybody: object = None
        self.recalled = self.read = 0  # parts of centers, since the start
        self.forgotten = 0  # times that a transaction of its own did not tell whom it changed

    def begin(self, everybody: object, marks: Mapping[str, Marks], now_ms: int) -> None:
        """The marks as this transaction finds them: forgets what has another one. `everybody` is what all depends on:
        the epoch of the database, and the mark for everybody."""
        if everybody != self._everybody:
            self._held.clear()
            self._everybody = everybody
        for code, mark in marks.items():
            held = self._held.pop(code, None)
            if held is None or held.marks != mark or mark[0] is None or abs(now_ms - held.since_ms) > KEPT_MS:
                held = HeldCenter(mark, now_ms)
            self._held[code] = held  # as the newest
        while len(self._held) > MOST_HELD:
            del self._held[next(iter(self._held))]

    def parts(self, code: str) -> dict[str, Any] | None:
        held = self._held.get(code)
        return None if held is None else held.parts

    def end(self, changes: Changes) -> None:
        """After the commit: what was changed has the mark of this transaction now."""
        if changes.everybody:
            self.forgotten += 1
            return self.forget()
        for part, code in changes.stale:
            if code in self._held:
                self._held[code].parts.pop(part, None)
        for code in changes.centers & self._held.keys():
            self._held[code].marks = (changes.mark, self._held[code].marks[1])
        return None

    def forget(self) -> None:
        """Everything."""
        self._held.clear()
        self._everybody = None


# ---------------------------------------------------------------- for those who read


def recall(
    conn: sa.Connection, part: str, codes: Iterable[str], read: Callable[[list[str]], Mapping[str, T]]
) -> dict[str, T]:
    """What is known of these centers, by code: `read` finds it for those of whom it is not in memory, and leaves out
    those of whom there is nothing. It is not to be changed but by `written_through`."""
    warm: Warm | None = conn.info.get(WARM)
    if warm is None:
        return dict(read(list(codes)))
    changes: Changes = conn.info[CHANGES]
    by_center: dict[str, T] = {}
    cold: list[str] = []
    for code in codes:
        parts = None if changes.hides(part, code) else warm.parts(code)
        if parts is not None and part in parts:
            by_center[code] = parts[part]
        else:
            cold.append(code)
    warm.recalled += len(by_center)
    warm.read += len(cold)
    if cold:
        for code, value in read(cold).items():
            by_center[code] = value
            parts = None if changes.hides(part, code) else warm.parts(code)
            if parts is not None:
                parts[part] = value
    return by_center


def held(conn: sa.Connection, part: str, code: str) -> Any | None:
    """What is in memory, to be changed along with the table; None: nothing."""
    warm: Warm | None = conn.info.get(WARM)
    if warm is None or conn.info[CHANGES].hides(part, code):
        return None
    parts = warm.parts(code)
    return None if parts is None else parts.get(part)


@contextmanager
def written_through(conn: sa.Connection, part: str) -> Iterator[None]:
    """Statements within change what `held` gives of this part, too: the caller does."""
    changes: Changes | None = conn.info.get(CHANGES)
    if changes is None:
        yield
        return
    before, changes.through = changes.through, part
    try:
        yield
    finally:
        changes.through = before


def generation(conn: sa.Connection, codes: Collection[str]) -> int | None:
    """What the caller writes as `generation` of these centers' rows of `pulse`."""
    changes: Changes | None = conn.info.get(CHANGES)
    if changes is None:
        return None
    changes.marked.update(codes)
    return changes.mark


# ---------------------------------------------------------------- for the store


@contextmanager
def kept(memory: Warm | None) -> Iterator[Changes]:
    """Around a transaction: what it has changed in memory stays or goes with what it has changed in the tables."""
    changes = Changes()
    try:
        yield changes
    except BaseException:
        if memory is not None:
            memory.forget()
        raise
    if memory is not None:
        memory.end(changes)


def attach(conn: sa.Connection, changes: Changes, memory: Warm | None = None) -> None:
    """At the beginning of a transaction."""
    conn.info.pop(WARM, None)
    if memory is not None:
        conn.info[WARM] = memory
    conn.info[CHANGES] = changes


def watch(engine: sa.Engine) -> None:
    """Notes what statements of this engine change."""

    @sa.event.listens_for(engine, "after_cursor_execute")
    def note(conn: sa.Connection, cursor: Any, statement: str, _parameters: object, context: Any, _many: bool) -> None:
        changes: Changes | None = conn.info.get(CHANGES)
        if changes is None or statement[:6] == "SELECT" or cursor.rowcount == 0:
            return
        if (table := written(statement)) is not None:
            changes.note(table, _codes(statement, context))


def written(statement: str) -> str | None:
    """The table in question that a statement changes, if it does; of several the first."""
    words = statement.split(None, 3)[:3]
    verb = words[0].upper() if words else ""
    if verb in ("INSERT", "DELETE") and len(words) == 3:
        name = words[2]
    elif verb == "UPDATE" and len(words) > 1:
        name = words[1]
    else:
        return next((name for name in sorted(TABLES) if f" {name}" in statement), None) if verb == "WITH" else None
    name = name.strip('"')
    return name if name in TABLES else None


def _codes(statement: str, context: Any) -> Collection[str] | None:
    """The centers whose rows are changed: as the caller says, or as the rows that are inserted do."""
    if context is None:
        return None
    if (named := context.execution_options.get(CENTERS)) is not None:
        return frozenset(named)
    rows = context.compiled_parameters if statement[:6] == "INSERT" and context.compiled is not None else ()
    return centers_of(rows)


def centers_of(rows: Sequence[Mapping[str, Any]]) -> Collection[str] | None:
    """Of whom these rows are; None: they do not tell."""
    if not rows or any("center" not in row for row in rows):
        return None
    return {row["center"] for row in rows}


def note_rows(conn: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows were inserted by another way than a statement."""
    changes: Changes | None = conn.info.get(CHANGES)
    if changes is not None and table.name in TABLES:
        changes.note(table.name, centers_of(rows))


def unmarked(conn: sa.Connection) -> None:
    """This transaction fills a database that nobody has opened yet: there is nobody to mark anything for."""
    conn.info.pop(CHANGES, None)


def mark(conn: sa.Connection) -> None:
    """Marks what this transaction has changed, right before its commit. A transaction of ingest marks on `pulse`, where
    nobody else does, others in `generations`."""
    changes: Changes | None = conn.info.get(CHANGES)
    is_ingest = WARM in conn.info
    if changes is None:
        return
    if changes.everybody:
        _upsert(conn, [EVERYBODY], changes.mark)
    elif is_ingest and (left := changes.centers - changes.marked):
        mine = schema.pulse.c.center.in_(sorted(left))
        conn.execute(sa.update(schema.pulse).where(mine).values(generation=changes.mark))
    elif not is_ingest and changes.centers:
        _upsert(conn, sorted(changes.centers), changes.mark)


def _upsert(conn: sa.Connection, codes: Sequence[str], fresh: int) -> None:
    table = schema.generations
    insert = sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)
    changed = insert.on_conflict_do_update(index_elements=["center"], set_={"generation": insert.excluded.generation})
    conn.execute(changed, [{"center": code, "generation": fresh} for code in codes])
