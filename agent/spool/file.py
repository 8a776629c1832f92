"""One SQLite file of groups: opened, verified, written in one transaction at a time, read newest or oldest first.

One connection holds the file alone (``locking_mode=EXCLUSIVE``): SQLite before 3.51.3 can corrupt a WAL that two
connections reset at once, and an exclusive WAL needs no shared memory file either. A group's key is
``epoch << 40 | last_seq``, where an epoch is one spool id; keys therefore grow with time, and a receipt finds its
group without an index.

A receipted group stays until its room is needed; `receipted` holds ranges of keys, so that a receipt costs one small
row and no page of readings is written again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import sync_folder
from agent.spool.dropped import DroppedRun, with_group
from agent.spool.receipts import KeyRange, added, covers, outside, removed
from agent.spool.record import VALUE_OFFSET, VALUES, Group, Head, Ident, Value, pack, whole_or_none
from agent.spool.status import Lost
from agent.spool.tables import (
    PAGE_BYTES,
    SEQ_BITS,
    SEQ_MASK,
    TABLES,
    SpoolDamaged,
    SpoolMarks,
    Transaction,
    check_tables,
    configure,
    connect,
    head_proof,
    is_damage,
    make_durable,
    numbered,
    put_dropped,
    put_head,
    put_receipted,
    read_dropped,
    read_receipted,
)

MAX_SPAN = 100  # readings one damaged group may have held (wire.MAX_BATCH_READINGS)
LAST_KEY = (1 << 63) - 1

Receipted = Mapping[str, Sequence[KeyRange]]  # numbers by spool


class SpoolFile:
    """The current spool is the newest epoch; older ones only wait to be sent."""

    def __init__(self, connection: sqlite3.Connection, folder: Path | None) -> None:
        self._sql = connection
        self._unsynced = folder  # until the name of the log in it is durable
        self._epochs: dict[str, int] = {}
        self._receipted: list[KeyRange] = []
        self._stored: list[KeyRange] = []  # as the file has it
        self._stored_epoch = ""
        self._again: list[KeyRange] = []  # receipted once, and waiting again since this file was opened
        self._dropped: list[DroppedRun] = []
        self._stored_dropped: list[DroppedRun] = []
        self.head = Head("")
        self.readings = 0  # not receipted
        self.epoch = ""  # of the collector's database, as the newest receipt had it
        self._held = 0  # groups; kept in the file too, because a flipped bit in a tree can make rows vanish unseen

    # ------------------------------------------------------------ opening

    @classmethod
    def create(cls, target: Path | None, heads: Iterable[Head]) -> SpoolFile:
        """A new file (None: in memory) whose spools are ``heads``, oldest first. Raises sqlite3.Error, OSError."""
        sql = connect(target)
        try:
            configure(sql)
            sql.execute(f"PRAGMA page_size={PAGE_BYTES}")
            sql.execute("BEGIN")
            for table in TABLES:
                sql.execute(table)
            for epoch, head in enumerate(heads, 1):
                put_head(sql, epoch, head, 0)
            sql.execute("COMMIT")
            if target is not None:
                make_durable(sql)
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
        sql = connect(path)
        opened = cls(sql, path.parent)
        try:
            configure(sql)
            make_durable(sql)
            check_tables(sql)
            sql.execute("DELETE FROM groups WHERE 0")  # a header that forbids writing shows here, not at an append
            opened._read_heads()
            opened._read_receipted()
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
            if head_proof(epoch, self.head, held) != proof:
                raise SpoolDamaged("the spool's numbers do not match their proof")
            self._epochs[self.head.spool] = epoch
        if not self._epochs:
            raise SpoolDamaged("the spool has no numbers")

    def _read_receipted(self) -> None:
        spools = self._spools()
        self._receipted, self._dropped = read_receipted(self._sql, spools), read_dropped(self._sql, spools)
        self._stored, self._stored_dropped = list(self._receipted), self._dropped
        for (epoch,) in self._sql.execute("SELECT epoch FROM collector").fetchall():
            self.epoch = self._stored_epoch = str(epoch)

    def _verify(self) -> list[Lost]:
        """Every record that is not whole, with the most it can have held. Of receipted ones only the keys are looked
        at: a start reads what waits, and one that turns out damaged is passed over when it is wanted."""
        spools = self._spools()
        lost: list[Lost] = []
        before = seen = 0
        for (key,) in self._sql.execute("SELECT key FROM groups ORDER BY key"):
            seen += 1
            spool, last = spools.get(key >> SEQ_BITS), key & SEQ_MASK
            is_receipted = covers(self._receipted, key)
            group = None if is_receipted else self._group(key)
            if key <= before or spool is None or (group is not None and group.ident != (spool, last)):
                raise SpoolDamaged("a group stands under a key that is not its own, or twice")
            if group is not None:
                self.readings += len(group.raws)
            elif not is_receipted:
                floor = (before & SEQ_MASK) + 1 if before >> SEQ_BITS == key >> SEQ_BITS else 1
                lost.append(Lost("unreadable", spool, max(floor, last - MAX_SPAN + 1), last))
            before = key
        if seen != self._held:
            raise SpoolDamaged(f"the file holds {self._held} groups and shows {seen}")
        return lost

    # ------------------------------------------------------------ writing

    def write(
        self,
        groups: Iterable[Group],
        drop: Iterable[Ident] = (),
        receipted: Mapping[Ident, int] | None = None,
    ) -> None:
        """Drops some groups, notes others as receipted (with the readings in each) and appends others, numbered on from
        the head: durably and at once, or not at all."""
        head, readings, held = self.head, self.readings, self._held
        marks, dropped = self._receipted, self._dropped
        with Transaction(self._sql):
            for (spool, last_seq), count in (receipted or {}).items():
                key = self._epochs[spool] << SEQ_BITS | last_seq
                if not covers(marks, key):
                    marks, readings = added(marks, key - count + 1, key), readings - count
            for spool, last_seq in drop:
                key = self._epochs[spool] << SEQ_BITS | last_seq
                for group in self._remove(key):
                    count, held = 0 if group is None else len(group.raws), held - 1
                    readings -= 0 if covers(marks, key) else count
                    if group is not None and (covers(marks, key) or covers(self._again, key)):
                        dropped = with_group(dropped, key - count + 1, key, group.wall_ms)
            for group in groups:
                self._insert(group)
                head = head.after(group)
                readings, held = readings + len(group.raws), held + 1
            self._put_receipted(marks)
            put_dropped(self._sql, self._spools(), self._stored_dropped, dropped)
            self._put_head(head, held)
        self._sync_name()
        self.head, self.readings, self._held, self._receipted = head, readings, held, marks
        self._stored, self._stored_epoch = marks, self.epoch
        self._dropped = self._stored_dropped = dropped

    def want_again(self, spool: str, first_seq: int, last_seq: int) -> list[KeyRange]:
        """Receipted groups with numbers of a range wait again, on the disk with the next commit. Returns the receipted
        numbers of the range that are not held any more."""
        base = self._epochs[spool] << SEQ_BITS
        first, last = base | first_seq, base | min(last_seq, SEQ_MASK)
        gone: list[KeyRange] = []
        for low, high in [part for part in self._receipted if part[0] <= last and part[1] >= first]:
            there: list[KeyRange] = []
            query = "SELECT key FROM groups WHERE key BETWEEN ? AND ? ORDER BY key"
            for (key,) in self._sql.execute(query, (max(low, first), high)).fetchall():
                group = self._group(key)
                if group is None:
                    continue
                if (start := key - len(group.raws) + 1) > last:
                    break
                there, self._again = added(there, start, key), added(self._again, start, key)
                self._receipted = removed(self._receipted, start, key)
                self.readings += len(group.raws)
            gone += outside(there, max(low, first), min(high, last))
        return [(one & SEQ_MASK, other & SEQ_MASK) for one, other in gone]

    def waits_again(self, ident: Ident) -> bool:
        """Whether this group, which waits, was receipted before."""
        return covers(self._again, self._epochs[ident[0]] << SEQ_BITS | ident[1])

    def receipted_ranges(self) -> dict[str, list[KeyRange]]:
        """The numbers of each spool that were receipted, whether still held or not."""
        spools = self._spools()
        by_spool: dict[str, list[KeyRange]] = {}
        for first, last in self._receipted:
            by_spool.setdefault(spools[first >> SEQ_BITS], []).append((first & SEQ_MASK, last & SEQ_MASK))
        return by_spool

    def spools_before(self) -> list[str]:
        """The spools that were begun before the present one."""
        return [spool for spool in self._epochs if spool != self.head.spool]

    def _put_receipted(self, marks: Sequence[KeyRange]) -> None:
        """Raises sqlite3.Error."""
        put_receipted(self._sql, self._spools(), self._stored, marks)
        if self.epoch != self._stored_epoch:
            self._sql.execute("INSERT OR REPLACE INTO collector VALUES (1, ?)", (self.epoch,))

    def _spools(self) -> dict[int, str]:
        """The spools by their epochs, the numbers before a key's own."""
        return {epoch: spool for spool, epoch in self._epochs.items()}

    def dropped_of(self, spool: str) -> list[DroppedRun]:
        """When receipted readings of a spool were taken that are held no more, by their numbers."""
        epoch = self._epochs[spool]
        mine = [run for run in self._dropped if run.first >> SEQ_BITS == epoch]
        return [numbered(run) for run in mine]

    def marks(self) -> SpoolMarks:
        dropped = {spool: self.dropped_of(spool) for spool in self._epochs}
        return SpoolMarks(self.receipted_ranges(), dropped, self.epoch)

    def adopt(self, head: Head, groups: Iterable[Group], receipted: Receipted | None = None) -> None:
        """Takes over a spool from elsewhere; its numbering goes on here, and the one so far only waits to be sent.
        Removes what an earlier attempt, whose outcome was unknown, has left of it."""
        before = self._epochs.get(head.spool)
        self._epochs[head.spool] = max(self._epochs.values(), default=0) + 1
        try:
            self._take_in(head, groups, receipted, instead_of=before)
        except BaseException:
            del self._epochs[head.spool]
            raise
        self.head = head

    def keep(self, groups: Iterable[Group], marks: SpoolMarks) -> None:
        """Puts back groups that were salvaged, each in the spool it came from, and what is known beside them."""
        self.epoch = marks.epoch
        for spool in self._epochs.keys() & marks.dropped.keys():
            base = self._epochs[spool] << SEQ_BITS
            runs = (run._replace(first=base | run.first, last=base | run.last) for run in marks.dropped[spool])
            self._dropped = sorted([*self._dropped, *runs])
        self._take_in(self.head, groups, marks.receipted)

    def _take_in(
        self, head: Head, groups: Iterable[Group], receipted: Receipted | None, instead_of: int | None = None
    ) -> None:
        readings, held, marks = self.readings, self._held, self._receipted
        with Transaction(self._sql):
            if instead_of is not None:
                marks = removed(marks, instead_of << SEQ_BITS, instead_of << SEQ_BITS | SEQ_MASK)
                counts = self._clear(instead_of)
                readings, held = readings - sum(counts), held - len(counts)
            for spool, first, last in ((spool, *part) for spool, parts in (receipted or {}).items() for part in parts):
                if (epoch := self._epochs.get(spool)) is not None:
                    marks = added(marks, epoch << SEQ_BITS | first, epoch << SEQ_BITS | last)
            for group in groups:
                self._insert(group)
                held += 1
                if not covers(marks, self._epochs[group.spool] << SEQ_BITS | group.last_seq):
                    readings += len(group.raws)
            self._put_receipted(marks)
            put_dropped(self._sql, self._spools(), self._stored_dropped, self._dropped)
            self._put_head(head, held)
        self._sync_name()
        self.readings, self._held, self._receipted = readings, held, marks
        self._stored, self._stored_epoch = marks, self.epoch
        self._stored_dropped = self._dropped

    def _clear(self, epoch: int) -> list[int]:
        """How many waiting readings went with each group of a spool that is here no more."""
        first, last = epoch << SEQ_BITS, epoch << SEQ_BITS | SEQ_MASK
        keys = self._sql.execute("SELECT key FROM groups WHERE key BETWEEN ? AND ?", (first, last)).fetchall()
        self._sql.execute("DELETE FROM spools WHERE epoch = ?", (epoch,))
        groups = [(key, group) for (key,) in keys for group in self._remove(key)]
        return [0 if group is None or covers(self._receipted, key) else len(group.raws) for key, group in groups]

    def _sync_name(self) -> None:
        """The first commit makes the log. SQLite syncs its folder then, but goes on when that fails (unixSync)."""
        if self._unsynced is not None:
            sync_folder(self._unsynced)
            self._unsynced = None

    def _insert(self, group: Group) -> None:
        key = self._epochs[group.spool] << SEQ_BITS | group.last_seq
        self._sql.execute("INSERT INTO groups VALUES (?, ?)", (key, pack(group)))

    def _remove(self, key: int) -> list[Group | None]:
        """The group that went, when it was there; None for a record that is not whole."""
        rows = self._sql.execute("DELETE FROM groups WHERE key = ? RETURNING record", (key,)).fetchall()
        return [whole_or_none(record) for (record,) in rows]

    def _put_head(self, head: Head, held: int) -> None:
        put_head(self._sql, self._epochs[head.spool], head, held)

    # ------------------------------------------------------------ reading

    def find(self, spool: str, last_seq: int) -> Group | None:
        """A group that waits, by its last number."""
        epoch = self._epochs.get(spool)
        if epoch is None or last_seq > SEQ_MASK or covers(self._receipted, epoch << SEQ_BITS | last_seq):
            return None
        return self._group(epoch << SEQ_BITS | last_seq)

    def _group(self, key: int) -> Group | None:
        row = self._sql.execute("SELECT record FROM groups WHERE key = ?", (key,)).fetchone()
        return None if row is None else whole_or_none(row[0])

    def groups(self, skip: Collection[Ident] = (), *, newest_first: bool = False) -> Iterator[Group]:
        """The waiting groups not in ``skip``, in order of time. A record that went bad since it was verified is passed
        over."""
        passed = {self._epochs[spool] << SEQ_BITS | last for spool, last in skip if spool in self._epochs}
        for key, record in self._waiting(newest_first=newest_first):
            group = None if key in passed else whole_or_none(record)
            if group is not None:
                yield group

    def heads(self) -> list[Head]:
        """The end of every spool in the file, oldest first."""
        query = "SELECT spool, seq, chain, wall_ms FROM spools ORDER BY epoch"
        return [Head(*known) for known in self._sql.execute(query).fetchall()]

    def every_group(self) -> Iterator[Group]:
        """Those that were receipted too."""
        for (record,) in self._sql.execute("SELECT record FROM groups ORDER BY key"):
            if (group := whole_or_none(record)) is not None:
                yield group

    def _waiting(self, *, newest_first: bool) -> Iterator[tuple[int, object]]:
        """Reads past what is receipted without touching it."""
        order = "DESC" if newest_first else "ASC"
        query = f"SELECT key, record FROM groups WHERE key BETWEEN ? AND ? ORDER BY key {order}"  # noqa: S608
        parts = list(outside(self._receipted, 0, LAST_KEY))
        for part in reversed(parts) if newest_first else parts:
            yield from self._sql.execute(query, part)

    def oldest_of(self, value: Value) -> Iterator[tuple[Group, int]]:
        """The waiting groups of one value, oldest first, each with the bytes its record takes."""
        query = "SELECT record FROM groups WHERE key BETWEEN ? AND ? AND substr(record, ?, 1) = ? ORDER BY key"
        for first, last in list(outside(self._receipted, 0, LAST_KEY)):
            about = (first, last, VALUE_OFFSET + 1, bytes([VALUES.index(value)]))
            for (record,) in self._sql.execute(query, about):
                if (group := whole_or_none(record)) is not None:
                    yield group, len(record)

    def oldest_receipted(self) -> Iterator[tuple[Ident, int]]:
        """The receipted groups still held, oldest first, each with the bytes its record takes."""
        spools = self._spools()
        query = "SELECT key, length(record) FROM groups WHERE key BETWEEN ? AND ? ORDER BY key"
        for part in self._receipted:
            for key, size in self._sql.execute(query, part):
                yield (spools[key >> SEQ_BITS], key & SEQ_MASK), size

    def used_bytes(self) -> int:
        """Bytes in use inside the file; freed pages are used again before the file grows."""
        (pages,) = self._sql.execute("PRAGMA page_count").fetchone()
        (free,) = self._sql.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._sql.execute("PRAGMA page_size").fetchone()
        return int(pages - free) * int(size)

    def holds(self, spool: str) -> bool:
        return spool in self._epochs

    def last_of(self, spool: str) -> int:
        """The last number that was given in one of the spools here."""
        (seq,) = self._sql.execute("SELECT seq FROM spools WHERE epoch = ?", (self._epochs[spool],)).fetchone()
        return int(seq)
