"""The settings of backups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from collector.common.config.table import CollectorSection, read_secret


def _recipient(text: str) -> str:
    if not (text.startswith("age1") and text.isalnum() and len(text) == 62):
        raise ValueError("is no age public key; write one as age1…, 62 letters and digits")
    return text


class BackupSection(CollectorSection):
    folder: Path | None = Field(
        default=None, description="Where backups go, best another disk or machine; without it none is made by itself."
    )
    every_h: float = Field(default=24.0, ge=0.1, le=24 * 31, description="Hours between two backups.")
    drill_every_h: float = Field(
        default=24.0 * 7,
        ge=0,
        le=24 * 366,
        description="Hours between two drills, which restore the newest backup beside the running system and compare; "
        "0: none.",
    )
    recipients: tuple[Annotated[str, AfterValidator(_recipient)], ...] = Field(
        default=(),
        description="Who may read a backup: age public keys, `age1…` (`nabz-collector backup --new-key FILE` makes a "
        "pair). The secret key belongs on no server.",
    )
    passphrase_file: Path | None = Field(
        default=None, description="File with a passphrase that opens a backup too, for those who keep no key."
    )
    journal: Path | None = Field(
        default=None,
        description="The journal of decisions, which no restore takes back: best on another disk than the database; "
        "empty: `decisions.journal` in `data_dir`.",
    )
    keep: int = Field(default=48, ge=1, le=100_000, description="Backups kept in the folder; older ones are deleted.")

    @model_validator(mode="after")
    def _readable(self) -> BackupSection:
        if self.folder is not None and not (self.recipients or self.passphrase_file):
            raise ValueError("folder: backups are encrypted; name recipients or a passphrase_file")
        return self

    def passphrase(self) -> str:
        """Empty when there is none. Raises ConfigError."""
        return read_secret(self.passphrase_file, "[backup] passphrase_file") if self.passphrase_file else ""
