"""The settings of releases for gateways."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from collector.common.config.table import CollectorSection


class UpdatesSection(CollectorSection):
    repository: Path | None = Field(
        default=None,
        description="Folder of the repository of releases (`nabz-collector update init`), which is then served to "
        "gateways at `/updates`; empty: it is not.",
    )
    online_key: Path | None = Field(
        default=None,
        description="The online key. With it the collector does once an hour what `nabz-collector update ring` does: "
        "it opens rings or holds them, and says what is current; empty: people do.",
    )
