"""The settings of the archive."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from collector.common.config.table import CollectorSection, ConfigError, read_secret


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
        "the same folder; empty: `archive` in `data_dir`. With `url` what is being written, and what was archived "
        "before.",
    )
    url: str = Field(
        default="",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{2,62}(/[A-Za-z0-9._-]+)*)?$",
        description="An S3-compatible object store that keeps the files instead, as `s3://BUCKET/FOLDER`. The bucket "
        "must be there.",
    )
    endpoint: str = Field(
        default="", pattern=r"^(https?://[^/\s]+)?$", description="Its address, `https://HOST:PORT`; empty: Amazon's."
    )
    region: str = Field(default="", description="Of the object store, where it wants one.")
    key_file: Path | None = Field(
        default=None,
        description="File with the access key and the secret key of the object store, a line each; empty: as Amazon's "
        "client finds them, in the environment or in `~/.aws`.",
    )

    @property
    def keys(self) -> tuple[str, str]:
        """Access key and secret key; empty without a file. Raises ConfigError."""
        if self.key_file is None:
            return "", ""
        lines = read_secret(self.key_file, "[archive] key_file").split()
        if len(lines) != 2:
            raise ConfigError(f"[archive] key_file: {self.key_file} has {len(lines)} words; write two lines, the "
                              "access key and the secret key")  # fmt: skip
        return lines[0], lines[1]
