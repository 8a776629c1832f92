"""What every table of the settings is, and a secret that one of them names by its file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agent.common.errors import describe
from agent.common.files import read_text


class ConfigError(Exception):
    """Every mistake of the settings, one line each: file, key, rule, fix."""


class CollectorSection(BaseModel):
    """One table of the file. Descriptions stand beside the keys, so that docs, help and errors say the same."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def read_secret(path: Path, key: str) -> str:
    try:
        return read_text(path).strip()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{key}: {path} cannot be read ({describe(error)}); make it readable to the collector's user"
        ) from None
