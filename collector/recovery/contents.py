"""What makes a server: its database, its key, its authority, its journal, its settings and the secrets they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from pydantic import BaseModel

from collector.common.config import Settings
from collector.store import EPOCH, Store, migrate, schema
from collector.store.cold.parts import BATCHES
from collector.store.database import AUTHORITY, KEY_FILE

BACKUP_KEY = "backup.key"  # of the collector itself, to check and to try out what it wrote
OWN_FILES = (KEY_FILE, BACKUP_KEY, "web-token")  # not the journal: a copy would take back what is in it
OWN_FOLDERS = (AUTHORITY, "standards")
LOCK = "lock"  # of the authority's folder
DATA, SETTINGS, DATABASE, ARCHIVE = "data", "settings", "database", "archive"
SETTINGS_FILE = f"{SETTINGS}/collector.toml"


def files(settings: Settings, config: Path | None) -> dict[str, Path]:
    """All but the database, by name in the archive."""
    data_dir = settings.data_dir
    by_name = {f"{DATA}/{name}": data_dir / name for name in OWN_FILES}
    for folder in OWN_FOLDERS:
        by_name |= {f"{DATA}/{folder}/{path.name}": path for path in sorted((data_dir / folder).glob("*"))}
    if config is not None:
        by_name[SETTINGS_FILE] = config
        for number, path in enumerate(dict.fromkeys(named_files(settings))):
            by_name[f"{SETTINGS}/{number}-{path.name}"] = path
    return {name: path for name, path in by_name.items() if path.is_file() and path.name != LOCK}


def archived(settings: Settings) -> dict[str, Path]:
    """The files of the archive, by name in the backup: those that records may name."""
    folder = settings.archive_folder
    paths = sorted(path for kind in (*schema.readings, BATCHES) for path in (folder / kind).glob("day=*/*.parquet"))
    return {f"{ARCHIVE}/{path.relative_to(folder)}": path for path in paths}


def named_in(members: dict[str, Path]) -> dict[str, str]:
    """Where the files lay that the settings name, by their name in the archive."""
    own = f"{SETTINGS}/"
    return {name: str(path) for name, path in members.items() if name.startswith(own) and name != SETTINGS_FILE}


def named_files(table: BaseModel) -> Iterator[Path]:
    """Every file that the settings name."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                yield from named_files(part)
            elif isinstance(part, Path) and part.is_file():
                yield part


def moved_settings(text: str, moved: dict[Path, Path]) -> str:
    """The settings with paths replaced. JSON's quoting of a path is TOML's too."""
    for old, new in moved.items():
        for quoted in (json.dumps(str(old)), f"'{old}'"):
            text = text.replace(quoted, json.dumps(str(new)))
    return text


def facts(conn: sa.Connection) -> dict[str, object]:
    """What a copy of this database must say of itself too: rows of every table but the largest, and how far those
    reach."""
    small = [table for name, table in sorted(schema.metadata.tables.items()) if name not in schema.PARTED]
    known = set(sa.inspect(conn).get_table_names())
    rows = {
        table.name: conn.scalar(sa.select(sa.func.count()).select_from(table)) for table in small if table.name in known
    }
    evidence = schema.evidence.c
    reach = conn.execute(sa.select(sa.func.max(evidence.id), sa.func.max(evidence.received_ms))).one()
    return {
        "schema": migrate.version(conn),
        "epoch": conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == EPOCH)),
        "rows": rows,
        "evidence_id": reach[0],
        "received_ms": reach[1],
    }


def make_of(store: Store) -> str:
    return "postgresql" if store.parted else "sqlite"
