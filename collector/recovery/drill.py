"""A drill: the newest backup is restored beside the running system, looked at, and thrown away again.

A backup that nobody has restored is a hope. A drill says that this one opens, that its database is whole and has what
it had when it was copied, that its keys are those gateways trust, and that the evidence in it is still signed.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509

from agent.common.errors import describe
from agent.common.reasons import Reason, decode, encode
from collector.access.enrolment import is_signed
from collector.common.config import Settings
from collector.recovery import contents, copies, server
from collector.recovery.archive import Keys
from collector.store import Store, StoreError, schema, single
from collector.store.backup import Progress, quiet, restore, within
from collector.store.cold import parts
from collector.store.cold.bucket import Bucket
from collector.store.database import AUTHORITY, KEY_FILE, ROOTS, archive_of

SAMPLE = 200  # batches whose signatures are verified
UNPACKED, RESTORED = 0.5, 0.95  # of the work


@dataclass(frozen=True, kw_only=True)
class Copy:
    """What became of one backup or drill; `made_ms` is when the copy itself was made."""

    act: str  # backup | drill
    at_ms: int
    took_s: float
    file: str
    made_ms: int | None
    size: int | None
    is_good: bool
    detail: Reason

    def age_h(self, now_ms: int) -> float | None:
        return None if self.made_ms is None else max(0, now_ms - self.made_ms) / 3_600_000


class _Differs(Exception):
    def __init__(self, code: str, **params: str | int) -> None:
        super().__init__(code)
        self.reason = Reason(code, params)


def run(settings: Settings, file: Path | None, now_ms: int, progress: Progress = quiet) -> Copy:
    """The newest backup of the folder, or this one. Never raises for what is wrong with it."""
    begun_s, path = time.monotonic(), file
    made_ms, size = None, None
    try:
        path = file or _newest(settings)
        size = path.stat().st_size
        with copies.staging(settings.data_dir) as folder:
            identity = copies.own_identity(settings.data_dir)
            unpacked = server.unpack(path, Keys(identities=(identity,)), folder, within(progress, 0, UNPACKED))
            made_ms = int(unpacked.manifest.about["made_ms"])
            detail = _compared(unpacked, settings, progress)
    except _Differs as error:
        detail = error.reason
    except (StoreError, OSError, sa.exc.SQLAlchemyError, ValueError, KeyError, TypeError) as error:
        detail = Reason("drill.failed", {"text": describe(error)[:300]})
    return Copy(
        act="drill", at_ms=now_ms, took_s=time.monotonic() - begun_s, file=str(path or ""), made_ms=made_ms, size=size,
        is_good=detail.code == "drill.good", detail=detail,
    )  # fmt: skip


def _newest(settings: Settings) -> Path:
    if settings.backup.folder is None:
        raise StoreError("drill: has no folder to look in; set [backup] folder, or name a file")
    if not (backups := copies.listed(settings.backup.folder)):
        raise StoreError(f"{settings.backup.folder}: holds no backup; make one with `nabz-collector backup`")
    return backups[-1]


def _compared(unpacked: server.Unpacked, settings: Settings, progress: Progress) -> Reason:
    _compare_keys(unpacked, settings)
    with _restored(unpacked, settings, within(progress, UNPACKED, RESTORED)) as store, store.read() as conn:
        facts = contents.facts(conn)
        for name, value in facts.items():
            if unpacked.manifest.about.get(name) != value:
                raise _Differs("drill.differs", name=name)
        _compare_archive(conn, unpacked, archive_of(settings))
        batches = _compare_signatures(conn)
    progress(1.0)
    rows = facts["rows"]
    count = sum(rows.values()) if isinstance(rows, dict) else 0
    return Reason("drill.good", {"rows": count, "batches": batches})


def _compare_keys(unpacked: server.Unpacked, settings: Settings) -> None:
    """Gateways trust what is in use here: what a restore would bring must be the same."""
    held = unpacked.of(contents.DATA)
    names = [KEY_FILE, *(f"{AUTHORITY}/{path.name}" for path in (settings.data_dir / AUTHORITY).glob(ROOTS))]
    for name in names:
        if name not in held or held[name].read_bytes() != (settings.data_dir / name).read_bytes():
            raise _Differs("drill.other_key", name=name)
        if name.endswith(".pem"):
            x509.load_pem_x509_certificate(held[name].read_bytes())


def _compare_archive(conn: sa.Connection, unpacked: server.Unpacked, folder: parts.Folder) -> None:
    """Every file of the archive that the database names is in the backup as it was written, or whole in the object
    store, whose files backups leave to it."""
    table, held = schema.archive_parts.c, unpacked.of(contents.ARCHIVE)
    for row in conn.execute(sa.select(table.part, table.day_ms, table.files).where(table.removed_ms.is_(None))):
        for kind, file in parts.unpacked_files(row.files).items():
            name = parts.name_of(kind, row.day_ms, row.part)
            if name not in held and isinstance(folder, Bucket):
                is_whole = folder.size(name) == file.size
            else:
                is_whole = _is_same(held.get(name), file)
            if not is_whole:
                raise _Differs("drill.differs", name=name)


def _is_same(place: Path | None, file: parts.File) -> bool:
    return place is not None and parts.file_of(place) == file


@contextmanager
def _restored(unpacked: server.Unpacked, settings: Settings, progress: Progress) -> Iterator[Store]:
    """Beside the running system: another file, or another database of the same PostgreSQL, dropped at the end."""
    if not settings.database_url.startswith("postgresql"):
        with closing(Store.attach(f"sqlite:///{unpacked.folder / 'drill.db'}")) as store:
            restore(store, unpacked.database, progress)
            yield store
        return
    name = f"nabz_drill_{secrets.token_hex(6)}"
    url = sa.make_url(settings.database_url)
    engine = single(url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        beside = url.set(database=name).render_as_string(hide_password=False)
        with closing(Store.attach(beside)) as store:
            restore(store, unpacked.database, progress)
            yield store
    finally:
        with engine.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _compare_signatures(conn: sa.Connection) -> int:
    """How many batches of evidence were verified: spread over all there are."""
    evidence, devices = schema.evidence, schema.devices.c
    first, last = conn.execute(sa.select(sa.func.min(evidence.c.id), sa.func.max(evidence.c.id))).one()
    if first is None:
        return 0
    every = range(first, last + 1)
    ids = sorted(secrets.SystemRandom().sample(every, min(SAMPLE, len(every))))
    query = (
        sa.select(evidence.c.id, evidence.c.body, evidence.c.signature, devices.public_key)
        .join(schema.devices, devices.device == evidence.c.device)
        .where(evidence.c.id.in_(ids))
    )
    count = 0
    for row in conn.execute(query):
        if not is_signed(bytes(row.public_key), bytes(row.body), bytes(row.signature)):
            digest = hashlib.sha256(bytes(row.body)).hexdigest()[:16]
            raise _Differs("drill.unsigned", id=int(row.id), digest=digest)
        count += 1
    return count


# ---------------------------------------------------------------- on record


def record(store: Store, copy: Copy) -> None:
    with store.write() as conn:
        about = {"act": copy.act, "at_ms": copy.at_ms, "took_s": copy.took_s, "file": copy.file, "size": copy.size}
        row = {"made_ms": copy.made_ms, "is_good": copy.is_good, "detail": encode(copy.detail)}
        conn.execute(sa.insert(schema.copies).values(**about, **row))


def newest(conn: sa.Connection, act: str) -> Copy | None:
    """What pages and metrics show: the last on record, as the clock may have been ahead before."""
    table = schema.copies
    query = sa.select(table).where(table.c.act == act).order_by(table.c.id.desc()).limit(1)
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    about = {name: getattr(row, name) for name in ("act", "at_ms", "took_s", "file", "made_ms", "size", "is_good")}
    return Copy(**about, detail=decode(row.detail))
