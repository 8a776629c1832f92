"""The archive's files: Parquet, one folder a kind of reading and one of batches, each with a folder a day.

    FOLDER/link/day=2026-11-22/PART.parquet      one row group a center, sorted by spool and number
    FOLDER/batches/day=2026-11-22/PART.parquet   what was signed around the readings, and the signatures

FOLDER is one of this machine or of an object store. A part is what came of some centers on one day of Pakistan; it is
written once and never changed. pyarrow reads and writes it here and is loaded when it is first needed; DuckDB, Polars,
pandas and Spark read the same files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.center_time import UTC_AHEAD_MS
from agent.common.files import sync_folder
from collector.store import StoreError, schema
from collector.store.cold.bucket import Bucket

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

BATCHES = "batches"
NEEDS = "the archive needs pyarrow; install Nabz with its extra `archive`"
# Readings that are few stay in the tables too, as long as readings are kept there: they are asked for by other names
# than their center and time.
SELDOM = tuple(name for name, kind in wire.KINDS.items() if kind.gap_ms is None or kind.measured == "event")
LEVEL = 9  # of zstd: 19 takes three times as long and saves two percent

Row = dict[str, Any]
Folder = Path | Bucket
"""Of the whole archive. Of a bucket: what lies in its folder of drafts is read before what it has itself."""


class File(msgspec.Struct, frozen=True):
    """Of one file of a part: bytes, and their SHA-256 in hex."""

    size: int
    sha256: str


Files = dict[str, File]
"""By kind."""


class ArchiveMissing(StoreError):
    """What the database says is archived cannot be read; one sentence with the thing, the rule and the fix."""


def installed() -> bool:
    """Whether the archive's library is there; it is not loaded."""
    return importlib.util.find_spec("pyarrow") is not None


def day_name(day_ms: int) -> str:
    return datetime.fromtimestamp((day_ms + UTC_AHEAD_MS) / 1000, UTC).strftime("%Y-%m-%d")


def path(folder: Path, kind: str, day_ms: int, part: str) -> Path:
    return folder / kind / f"day={day_name(day_ms)}" / f"{part}.parquet"


def local(folder: Folder) -> Path:
    """Where files are written."""
    return folder.drafts if isinstance(folder, Bucket) else folder


def name_of(kind: str, day_ms: int, part: str) -> str:
    """Below the archive's folder."""
    return path(Path(), kind, day_ms, part).as_posix()


def table_of(kind: str) -> sa.Table:
    """What says the columns of a kind's file, but for those of EXTRA and BATCH."""
    return schema.evidence if kind == BATCHES else schema.readings[kind]


EXTRA = {
    "clock_error_ms": "int64", "ahead_ms": "int64", "boot": "string", "clock": "string", "shape": "string",
    "raw": "binary",
}  # fmt: skip
BATCH = {"v": "int64", "prev": "string", "nonce": "string", "live": "bool", "proof": "string"}
STEADY = (
    "wall_ms",
    "received_ms",
    "seq",
    "ahead_ms",
    "id",
    "first_seq",
    "last_seq",
    "issued_ms",
)  # kept as differences
RANDOM = ("signature",)  # nothing compresses it
TYPES = {sa.BigInteger: "int64", sa.Integer: "int64", sa.Float: "float64", sa.Boolean: "bool", sa.LargeBinary: "binary"}


def columns_of(kind: str) -> dict[str, str]:
    """The names and Arrow types of a kind's file."""
    own = {column.name: _type(column.type) for column in table_of(kind).columns}
    return own | (BATCH if kind == BATCHES else EXTRA)


def _type(column: sa.types.TypeEngine[Any]) -> str:
    return next((name for make, name in TYPES.items() if isinstance(column, make)), "string")


# ---------------------------------------------------------------- writing


class PartWriter:
    """Writes the files of one part beside their places; `finish` moves them there, durably."""

    def __init__(self, folder: Folder, day_ms: int, part: str) -> None:
        self._folder, self._day_ms, self._part = folder, day_ms, part
        self._writers: dict[str, parquet.ParquetWriter] = {}

    def add(self, kind: str, rows: Sequence[Row]) -> None:
        """One center's rows, as one row group."""
        if rows:
            made = _pyarrow().Table.from_pylist(rows, schema=_schema(kind))
            self._writer(kind).write_table(made, row_group_size=len(rows))

    def finish(self) -> Files:
        """Raises OSError; what has been moved by then is for `remove`."""
        self.close()
        files: Files = {}
        for kind in sorted(self._writers, key=lambda kind: kind == BATCHES):  # whose file says that all are there
            draft = self._draft(kind)
            files[kind] = file_of(draft)
            self._move(draft, name_of(kind, self._day_ms, self._part))
        return files

    def _move(self, draft: Path, name: str) -> None:
        if isinstance(self._folder, Bucket):
            self._folder.put(draft, name)
            draft.unlink()
            return
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        place = self._folder / name
        draft.rename(place)
        sync_folder(place.parent)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _draft(self, kind: str) -> Path:
        return path(local(self._folder), kind, self._day_ms, self._part).with_suffix(".draft")

    def _writer(self, kind: str) -> parquet.ParquetWriter:
        if kind not in self._writers:
            from pyarrow import parquet

            place = self._draft(kind)
            place.parent.mkdir(parents=True, exist_ok=True)
            made, names = _schema(kind), list(columns_of(kind))
            self._writers[kind] = parquet.ParquetWriter(
                place,
                made,
                compression="zstd",
                compression_level=LEVEL,
                use_dictionary=[name for name in names if name not in (*STEADY, *RANDOM)],
                column_encoding={name: "DELTA_BINARY_PACKED" for name in names if name in STEADY},
                write_statistics=[name for name in ("center", "wall_ms") if name in names],
            )
        return self._writers[kind]


def file_of(place: Path) -> File:
    """Raises OSError."""
    with place.open("rb") as file:
        return File(place.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def remove(folder: Folder, day_ms: int, part: str) -> None:
    """All files of a part, finished or not. Raises OSError."""
    for kind in (*schema.readings, BATCHES):
        if isinstance(folder, Bucket):
            folder.remove(name_of(kind, day_ms, part))
        place = path(local(folder), kind, day_ms, part)
        for one in (place, place.with_suffix(".draft")):
            one.unlink(missing_ok=True)
        with suppress(OSError):  # others have files in it
            place.parent.rmdir()


# ---------------------------------------------------------------- reading


def read(
    folder: Folder, kind: str, day_ms: int, part: str, center: str, columns: Sequence[str] | None = None
) -> Iterator[Row]:
    """One center's rows of a part, in the order of spool and number. Raises ArchiveMissing."""
    with _opened(folder, name_of(kind, day_ms, part)) as (file, _):
        for number in range(file.num_row_groups):
            if _center_of(file, number) == center:
                yield from file.read_row_group(number, columns=columns, use_threads=False).to_pylist()


def group_digest(folder: Folder, kind: str, day_ms: int, part: str, center: str) -> str:
    """Of one center's bytes in a file, and of what the file says of them; hex. Nothing is unpacked. Raises
    ArchiveMissing."""
    digest = hashlib.blake2b(digest_size=16)
    with _opened(folder, name_of(kind, day_ms, part)) as (file, raw):
        digest.update(str(file.schema).partition("\n")[2].encode())  # its first line has an address in memory
        for number in range(file.num_row_groups):
            if _center_of(file, number) == center:
                about = file.metadata.row_group(number).to_dict()
                begins = [one["dictionary_page_offset"] or one["data_page_offset"] for one in about["columns"]]
                digest.update(repr(about).encode())
                raw.seek(min(begins))
                digest.update(raw.read(sum(one["total_compressed_size"] for one in about["columns"])))
    return digest.hexdigest()


def ids_of(folder: Folder, name: str) -> list[int]:
    """The ids of the batches of a part's file. Raises ArchiveMissing."""
    with _opened(folder, name) as (file, _):
        return [int(one) for one in file.read(columns=["id"])["id"].to_pylist()]


@contextmanager
def _opened(folder: Folder, name: str) -> Iterator[tuple[parquet.ParquetFile, pa.NativeFile]]:
    """A file, and its bytes. Raises ArchiveMissing, also for what is read from it."""
    pa = _pyarrow()
    from pyarrow import parquet

    place = local(folder) / name
    try:
        held = folder.open(name) if isinstance(folder, Bucket) and not place.exists() else pa.memory_map(str(place))
        with held as raw, parquet.ParquetFile(raw) as file:
            yield file, raw
    except (OSError, pa.ArrowException) as error:
        where = f"{folder.url}/{name}" if isinstance(folder, Bucket) else place
        why = f"cannot be read ({type(error).__name__}); put the archive's folder back, or its backup"
        raise ArchiveMissing(f"{where}: {why}") from None


def _center_of(file: parquet.ParquetFile, number: int) -> str | None:
    place = file.schema_arrow.names.index("center")
    statistics = file.metadata.row_group(number).column(place).statistics
    return None if statistics is None else str(statistics.min)


def unpacked_files(text: str) -> Files:
    return msgspec.json.decode(text, type=Files)


def packed_files(files: Mapping[str, File]) -> str:
    return msgspec.json.encode(files).decode()


def _schema(kind: str) -> pa.Schema:
    pa = _pyarrow()
    return pa.schema([(name, pa.type_for_alias(alias)) for name, alias in columns_of(kind).items()])


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ArchiveMissing(f"pyarrow: is not installed; {NEEDS}") from None
    return pyarrow
