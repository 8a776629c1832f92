"""A journal beside the database of what decides whom to trust and what months rest on: who may come in, who is out,
what is used up; facts and files of them, calendar, disputes, standards, inspections, who was given a report; routes,
plans, rotas, windows; acts on incidents and about second stories.

A database that is restored from a copy forgets what was decided since, and would trust a revoked gateway again; so each
decision also goes to a file that no copy brings back. A line is signed by the collector's key, numbered, and names the
hash of the line before. **The file is written first, inside the transaction, and synced before its COMMIT**: a kill
between the two leaves a line of a decision that nobody was told of, and the next start carries it out; the other way
round it would leave a decision that a restore can undo. Where the line cannot be written, nothing is decided.

The database has the same lines (`journal`), so a restored one knows how far it goes: later lines are carried out again.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.store import schema
from collector.store.journal import checkpoint
from collector.store.journal import rows as numbered
from collector.store.journal.checkpoint import JournalCheckpoint
from collector.store.journal.decisions import DECIDED, LEFT_OUT, deciding, key_of
from collector.store.journal.rows import CHANGING, WHOLE

FILE = "decisions.journal"
STANDARDS = "standards"  # not a table: versions of the standard, with their text
BEGUN = "journal"  # not a table: the first line, so that a journal that is there is never empty
MARKS = "journal"  # in a connection's `info`
GENESIS = "0" * 64
NOTHING = JournalCheckpoint(lines=0, size=0, digest="", mark=GENESIS, events=0)  # was verified before

_restores = schema.restores
_LINES = sa.select(schema.journal.c.line).order_by(schema.journal.c.n)


class JournalError(Exception):
    """The journal cannot be written or trusted; a sentence for StoreError."""


@dataclass(frozen=True)
class Entry:
    """One decision: the row of a table as it was then. `line` is the signed text, `mark` its hash."""

    number: int
    table: str
    row: dict[str, Any]
    line: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Those that the line is about."""
        return numbered.unpacked(self.row)

    @property
    def mark(self) -> str:
        return mark_of(self.line)


def mark_of(line: str) -> str:
    """What the next line names it by."""
    return hashlib.sha256(line.encode()).hexdigest()


@dataclass
class Settled:
    """What a start made of it: entries carried out again, lines noted of what had none, and whether the file had to be
    written anew of what the database has."""

    applied: list[Entry] = field(default_factory=list)
    noted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rewritten: bool = False


def journaled(conn: sa.Connection, table: sa.Table, *key: object) -> None:
    """This transaction decides something in the row with this primary key: the journal will have it before COMMIT."""
    conn.info.setdefault(MARKS, []).append((table.name, key))


class Journal:
    """The file and the table of one collector."""

    def __init__(self, path: Path, key: Ed25519PrivateKey) -> None:
        self._path, self._key, self._public = path, key, key.public_key()

    def keep(self, conn: sa.Connection, marks: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        """Before COMMIT of a transaction that no other runs beside. Raises JournalError, OSError."""
        rows = _marked(conn, marks)
        with self._locked() as file:
            head = _head(conn)
            if _last(file) != (head.line if head else None):
                self._catch_up(conn, file, head)
                head = _head(conn)
            self._append(conn, file, head, rows)

    def _catch_up(self, conn: sa.Connection, file: int, head: Entry | None) -> None:
        """Carries out lines whose transaction was not committed. Raises JournalError where the file is another."""
        base = self._believed(conn, file)
        entries, whole = self._verified(file, base)
        known = (head.number if head else 0) - base.lines
        if not whole or len(entries) < known or (head and known and entries[known - 1].line != head.line):
            raise JournalError(f"{self._path}: does not continue the database's; start `nabz-collector serve` once")
        _carry_out(conn, entries[known:])

    def settle(self, conn: sa.Connection, standards: Sequence[dict[str, Any]], now_ms: int) -> Settled:
        """At a start: what the file has and the database lacks is carried out, and the other way round. Raises
        JournalError after a restore where the file does not go as far as the database that was copied."""
        if conn.dialect.name == "postgresql":  # whoever writes acts locks their table first too, then the file
            conn.exec_driver_sql("LOCK TABLE incident_events IN SHARE MODE")
        restored = list(conn.scalars(sa.select(_restores.c.from_ms).where(_restores.c.settled_ms.is_(None))))
        done = Settled()
        with self._locked() as file:
            base = NOTHING if restored else self._believed(conn, file)
            entries, whole = self._verified(file, base)
            known = list(conn.scalars(_LINES.where(schema.journal.c.n > base.lines)))
            fits = whole and [entry.line for entry in entries[: len(known)]] == known
            fits = fits and bool(entries or not known)
            if restored and not (fits and entries):
                raise JournalError(_lacking(self._path, min(restored), exists=bool(entries)))
            done.applied = [entry for entry in entries if entry.number > base.lines + len(known)]
            _carry_out(conn, done.applied)
            if done.applied:
                numbered.go_on(conn)
            if not fits:
                done.rewritten = bool(known)
                self._rewrite(file, conn, now_ms)
            head = _head(conn)
            begun = [] if head else [(BEGUN, {"begun_ms": now_ms})]
            sure = NOTHING if done.applied or not fits else base
            missing = [
                *begun,
                *_unnoted(conn, sure),
                *((STANDARDS, row) for row in standards if not _adopted(conn, row)),
            ]
            done.noted = missing
            self._append(conn, file, head, missing)
            if fits:
                self._note_checkpoint(conn, file, base)
        conn.execute(sa.update(_restores).where(_restores.c.settled_ms.is_(None)).values(settled_ms=now_ms))
        return done

    # ------------------------------------------------------------ the file

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _append(
        self, conn: sa.Connection, file: int, head: Entry | None, rows: Sequence[tuple[str, dict[str, Any]]]
    ) -> None:
        number, mark = (head.number, head.mark) if head else (0, GENESIS)
        lines = []
        for table, row in rows:
            number += 1
            body = json.dumps({"n": number, "prev": mark, "table": table, "row": row}, separators=(",", ":"))
            line = f"{body} {base64.b64encode(self._key.sign(body.encode())).decode()}"
            mark = mark_of(line)
            lines.append({"n": number, "line": line})
        if lines:
            os.lseek(file, 0, os.SEEK_END)
            _write(file, "".join(f"{row['line']}\n" for row in lines).encode())
            conn.execute(sa.insert(schema.journal), lines)

    def _believed(self, conn: sa.Connection, file: int) -> JournalCheckpoint:
        """How far the file was verified before, where the database has come as far; else nothing of it."""
        base = checkpoint.load(self._path, self._public)
        line = None if base is None else conn.scalar(_LINES.where(schema.journal.c.n == base.lines))
        if base is None or line is None or mark_of(line) != base.mark or not base.fits(file):
            return NOTHING
        return base

    def _note_checkpoint(self, conn: sa.Connection, file: int, before: JournalCheckpoint) -> None:
        head, size = _head(conn), os.fstat(file).st_size
        if head is None or head.number == before.lines:
            return
        events = conn.scalar(sa.select(sa.func.max(schema.incident_events.c.id))) or 0
        digest = checkpoint.digest_of(file, size)
        now = JournalCheckpoint(lines=head.number, size=size, digest=digest, mark=head.mark, events=events)
        checkpoint.save(self._path, now, self._key)

    def _verified(self, file: int, base: JournalCheckpoint) -> tuple[list[Entry], bool]:
        """The entries of the file after `base`, as far as they are signed, numbered and chained, and whether that is
        all of it. A last line without its end was never promised, and goes."""
        content = os.pread(file, os.fstat(file).st_size - base.size, base.size)
        if not content.endswith(b"\n") and content:
            content = content[: content.rfind(b"\n") + 1]
            os.ftruncate(file, base.size + len(content))
        entries: list[Entry] = []
        mark = base.mark
        for raw in content.splitlines():
            try:
                entry = _parsed(raw.decode())
                body, _, signature = entry.line.rpartition(" ")
                self._public.verify(base64.b64decode(signature, validate=True), body.encode())
                if entry.number != base.lines + len(entries) + 1 or json.loads(body)["prev"] != mark:
                    return entries, False
            except (ValueError, KeyError, TypeError, InvalidSignature):
                return entries, False
            entries.append(entry)
            mark = entry.mark
        return entries, True

    def _rewrite(self, file: int, conn: sa.Connection, now_ms: int) -> None:
        """The database's lines are the journal from now on; what was in the file stays beside it."""
        content = os.pread(file, os.fstat(file).st_size, 0)
        if content:
            self._path.with_name(f"{self._path.name}.{now_ms}").write_bytes(content)
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        lines = conn.scalars(_LINES)
        _write(file, "".join(f"{line}\n" for line in lines).encode())


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
    os.fsync(file)


def _last(file: int) -> str | None:
    """The last whole line; what stands after it was never promised, and goes."""
    size = os.fstat(file).st_size
    span = 1 << 16
    while size:
        start = max(0, size - span)
        tail = os.pread(file, size - start, start)
        end = tail.rfind(b"\n")
        begin = tail.rfind(b"\n", 0, end) if end > 0 else -1
        if end >= 0 and (begin >= 0 or start == 0):
            os.ftruncate(file, start + end + 1)
            return tail[begin + 1 : end].decode(errors="replace")
        if start == 0:
            os.ftruncate(file, 0)
            return None
        span *= 2
    return None


def _lacking(path: Path, from_ms: int, *, exists: bool) -> str:
    what = "does not go as far as the database that was restored" if exists else "is missing"
    return (
        f"{path}: {what}, so what was decided since the copy (gateways revoked, persons removed, tokens used) may be "
        f"undone; put it back, or look through `device list` and `person list` and run `nabz-collector restore "
        f"--confirm-by NAME` (newest reading of the copy: {from_ms})"
    )


# ---------------------------------------------------------------- rows and lines


def _parsed(line: str) -> Entry:
    """Raises ValueError, KeyError, TypeError."""
    fields = json.loads(line.rpartition(" ")[0])
    table, row = fields["table"], fields["row"]
    if not isinstance(row, dict) or table not in (*DECIDED, *CHANGING, *WHOLE, STANDARDS, BEGUN):
        raise ValueError("no decision")
    return Entry(int(fields["n"]), table, row, line)


def _head(conn: sa.Connection) -> Entry | None:
    line = conn.scalar(sa.select(schema.journal.c.line).order_by(schema.journal.c.n.desc()).limit(1))
    return None if line is None else _parsed(line)


def _rows(conn: sa.Connection, name: str, key: Sequence[object] = ()) -> list[dict[str, Any]]:
    table = schema.metadata.tables[name]
    mine = [column == value for column, value in zip(table.primary_key, key, strict=False)]
    columns = [column for column in table.c if column.name not in LEFT_OUT.get(name, ())]
    return [_plain(row._mapping) for row in conn.execute(sa.select(*columns).where(DECIDED[name], *mine))]


def _plain(row: Any) -> dict[str, Any]:
    return {name: base64.b64encode(bytes(it)).decode() if isinstance(it, bytes) else it for name, it in row.items()}


def _carry_out(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    for entry in entries:
        apply(conn, entry)
        conn.execute(sa.insert(schema.journal).values(n=entry.number, line=entry.line))


def apply(conn: sa.Connection, entry: Entry) -> None:
    """The row as it was decided. A version of the standard has none: whoever settles writes its file."""
    if entry.table in CHANGING:
        numbered.apply(conn, entry.table, entry.row)
    if entry.table in WHOLE:
        numbered.replace(conn, entry.table, entry.row)
    if entry.table not in DECIDED:
        return
    table = schema.metadata.tables[entry.table]
    row = {
        column.name: base64.b64decode(entry.row[column.name])
        if isinstance(column.type, sa.LargeBinary) and entry.row[column.name] is not None
        else entry.row[column.name]
        for column in table.c
        if column.name in entry.row
    }
    mine = sa.and_(*(column == row[column.name] for column in table.primary_key))
    if not conn.execute(sa.update(table).where(mine).values(row)).rowcount:
        conn.execute(sa.insert(table).values(row))


def _unnoted(conn: sa.Connection, base: JournalCheckpoint) -> Iterator[tuple[str, dict[str, Any]]]:
    """Decided rows that no line says as they are: of a program before, or of a machine without the key. What was done
    with incidents does not change: up to `base` all of it has its line."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    recorded: dict[str, list[dict[str, Any]]] = {name: [] for name in CHANGING}
    whole: dict[str, list[dict[str, Any]]] = {name: [] for name in WHOLE}
    n, head = schema.journal.c.n, sa.func.substr(schema.journal.c.line, 1, 200)
    wanted = head.not_like('%"table":"incident_events"%') if base.events else sa.true()
    mine = head.not_like('%"table":"incidents"%') & (wanted | (n > base.lines))
    for line in conn.scalars(_LINES.where(mine)):
        entry = _parsed(line)
        if entry.table in DECIDED:
            newest[entry.table, key_of(entry.table, entry.row)] = deciding(entry.table, entry.row)
        elif entry.table in recorded:
            recorded[entry.table].append(entry.row)
        elif entry.table in whole:
            whole[entry.table] = entry.rows
    for name in DECIDED:
        for row in _rows(conn, name):
            if newest.get((name, key_of(name, row))) != deciding(name, row):
                yield name, row
    for name, lines in recorded.items():
        missing = list(numbered.unnoted(conn, name, lines, base.events if name == "incident_events" else 0))
        yield from ((name, line) for line in missing)
        if name == "incident_events":
            acted = {int(row["incident"]) for line in missing for row in numbered.unpacked(line)}
            yield from (("incidents", line) for line in numbered.lines_of(conn, "incidents", acted))
    yield from ((name, numbered.packed(rows)) for name in WHOLE if (rows := numbered.whole(conn, name)) != whole[name])


def _marked(conn: sa.Connection, marks: Sequence[tuple[str, tuple[object, ...]]]) -> list[tuple[str, dict[str, Any]]]:
    """The rows that a transaction decides something in, as its lines will have them."""
    chosen = dict.fromkeys(marks)
    rows = [(name, row) for name, key in chosen if name in DECIDED for row in _rows(conn, name, key)]
    rows += [(name, numbered.packed(numbered.whole(conn, name))) for name, _ in chosen if name in WHOLE]
    for name in CHANGING:
        if ids := [int(str(key[0])) for marked, key in chosen if marked == name]:
            rows += [(name, line) for line in numbered.lines_of(conn, name, ids)]
    return rows


def _adopted(conn: sa.Connection, row: dict[str, Any]) -> bool:
    lines = conn.scalars(sa.select(schema.journal.c.line).where(schema.journal.c.line.contains(row["digest"])))
    return any(entry.table == STANDARDS and entry.row["digest"] == row["digest"] for entry in map(_parsed, lines))
