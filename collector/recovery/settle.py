"""A start after a restore: what the journal has of decisions since the copy holds again before anybody is let in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.logs import Event
from collector.access.accounts import erasure
from collector.access.atomic_files import put
from collector.common.config import Settings
from collector.register import centers, dated, facts
from collector.standard import Standard, StandardError, load
from collector.store import Store, StoreError, center_states, schema, upsert
from collector.store.backup import TIMELINE, begin_epoch
from collector.store.database import journal_of
from collector.store.journal import STANDARDS, Entry, JournalError

APPLIED = Event(
    __name__, "warning", "decisions_applied", "decisions that the database lacked were carried out again from the "
    "journal", fields="decisions last",
)  # fmt: skip
REWRITTEN = Event(
    __name__, "warning", "journal_rewritten", "the journal of decisions was missing or damaged; it is written anew",
    fields="file",
)  # fmt: skip
STANDARD_BACK = Event(
    __name__, "warning", "standard_applied", "a version of the standard that the settings lack holds again; add its "
    "file", fields="version file",
)  # fmt: skip

RECOVERED = Event(
    __name__, "warning", "database_recovered", "the database is on another timeline of PostgreSQL; gateways bring "
    "again what it lacks", fields="before now",
)  # fmt: skip

FOLDER = "standards"  # of versions that the settings lacked after a restore


def settle(
    store: Store,
    settings: Settings,
    now_ms: int,
    follow: Callable[[sa.Connection, Sequence[Entry]], None] | None = None,
) -> bool:
    """Whether versions of the standard came back. `follow` does in the same transaction what else follows from the
    entries that were carried out again. Raises StoreError after a restore for which there is no journal."""
    _follow_timeline(store, now_ms)
    journal = journal_of(settings)
    if journal is None:
        return False
    adopted = _adopted(settings)
    try:
        with store.write() as conn:
            done = journal.settle(conn, list(adopted.values()), now_ms)
            _complete(conn, done.applied, now_ms)
            if done.applied and follow is not None:
                follow(conn, done.applied)
    except JournalError as error:
        raise StoreError(str(error)) from None
    except OSError as error:
        raise StoreError(f"the journal of decisions cannot be used ({describe(error)}); check its folder") from None
    if done.applied:
        APPLIED.log(decisions=len(done.applied), last=done.applied[-1].number)
    if done.rewritten:
        REWRITTEN.log(file=settings.data_dir)
    _put_away(settings.data_dir, {str(row["id"]) for table, row in done.noted if table == STANDARDS})
    newest = {str(entry.row["id"]): entry for entry in done.applied if entry.table == STANDARDS}
    return sum(_take_again(settings.data_dir, entry, adopted) for entry in newest.values()) > 0


def _complete(conn: sa.Connection, applied: Sequence[Entry], now_ms: int) -> None:
    """What goes with rows that came back: the facts and the state of a center, and that who was forgotten is again."""
    erasure.again(conn, [entry.row for entry in applied if entry.table == "erasures"])
    codes = sorted({str(entry.row["center"]) for entry in applied if entry.table == "centers"})
    known = set(conn.scalars(sa.select(schema.facts.c.center).where(schema.facts.c.center.in_(codes))))
    today_ms = dated.today_ms(now_ms)
    how = facts.Recording(from_ms=today_ms, now_ms=now_ms, today_ms=today_ms, by="", source="registered")
    facts.register(conn, [centers.get(conn, code) for code in codes if code not in known], how)
    center_states.refresh(conn, codes, now_ms)


def _follow_timeline(store: Store, now_ms: int) -> None:
    """PostgreSQL counts a recovery to a point in time, and a replica that took over, as another timeline: what was
    committed last may be gone, so that is a restore too."""
    if not store.parted:
        return
    with store.write() as conn:
        timeline = str(conn.scalar(sa.select(sa.func.pg_walfile_name(sa.func.pg_current_wal_lsn()))))[:8]
        held = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == TIMELINE))
        upsert(conn, schema.about, [{"name": TIMELINE, "value": timeline}])
    if held not in (None, timeline):
        begin_epoch(store, now_ms)
        RECOVERED.log(before=held, now=timeline)


def taken_again(data_dir: Path) -> list[Path]:
    return sorted((data_dir / FOLDER).glob("*.toml"))


def _adopted(settings: Settings) -> dict[str, dict[str, str]]:
    """The versions that hold here, by their digest."""
    by_digest: dict[str, dict[str, str]] = {}
    for path in (*settings.standard.files, *taken_again(settings.data_dir)):
        try:
            version: Standard = load(path)
            by_digest[version.digest] = {"id": version.id, "digest": version.digest, "text": path.read_text("utf-8")}
        except (StandardError, OSError, ValueError):
            continue  # whoever reads the standards says what is wrong
    return by_digest


def _put_away(data_dir: Path, edited: set[str]) -> None:
    """A version whose file somebody has edited since is no longer the one that was taken again."""
    for path in taken_again(data_dir):
        with suppress(StandardError, OSError):
            if load(path).id in edited:
                path.rename(path.with_suffix(".old"))


def _take_again(data_dir: Path, entry: Entry, adopted: dict[str, dict[str, str]]) -> bool:
    if entry.row["digest"] in adopted:
        return False
    path = data_dir / FOLDER / f"{entry.row['digest'][:16]}.toml"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        put(path, str(entry.row["text"]).encode())
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({describe(error)}); check its folder") from None
    STANDARD_BACK.log(version=entry.row["id"], file=path)
    return True


def unsettled(conn: sa.Connection) -> list[int]:
    """When the restores were that nobody has settled yet."""
    table = schema.restores.c
    return list(conn.scalars(sa.select(table.to_ms).where(table.settled_ms.is_(None))))


def confirm(conn: sa.Connection, by: str, now_ms: int) -> int:
    """A person takes it on that decisions since the copy may be lacking. Returns how many restores that settles."""
    table = schema.restores
    mine = table.c.settled_ms.is_(None)
    return conn.execute(sa.update(table).where(mine).values(settled_ms=now_ms, confirmed_by=by)).rowcount
