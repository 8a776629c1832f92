"""The settings of the archive."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from collector.common.config.table import CollectorSection


class ArchiveSection(CollectorSection):
    after_h: float = Field(
        default=48.0,
        ge=0,
        le=24 * 366,
        description="Hours after its end that a day stays in the database, then it goes into the archive; 0: for ever. "
        "Needs the extra `archive`.",
    )
    folder: Path | None = Field(
        default=None,
        description="Where the archive's files go: Parquet, by kind and day. Every machine of the collector must see "
        "the same folder; empty: `archive` in `data_dir`.",
    )
