"""The file of a release: the agent's Python modules in a zip, the same bytes for the same modules."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from agent.common.errors import describe
from collector.remote.updates.signers import UpdateError

KEPT = (".py", ".json", ".txt", ".typed")
DATE = (2026, 1, 1, 0, 0, 0)
_VERSION = re.compile(r'^__version__ = "([0-9.]+)"$', re.MULTILINE)


def pack(source: Path) -> tuple[str, bytes]:
    """(version, zip) of a wheel, or of a folder that holds `agent/`. Raises UpdateError."""
    try:
        files = dict(sorted(_wheel(source) if source.is_file() else _folder(source)))
    except (OSError, zipfile.BadZipFile) as error:
        raise UpdateError(f"{source}: cannot be read ({describe(error)}); name a wheel of nabz") from None
    match = _VERSION.search(files.get("agent/__init__.py", b"").decode("utf-8", "replace"))
    if match is None:
        raise UpdateError(f"{source}: has no agent/__init__.py with a version; name a wheel of nabz")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)
    return match[1], held.getvalue()


def _wheel(source: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            if name.startswith("agent/") and name.endswith(KEPT):
                yield name, archive.read(name)


def _folder(source: Path) -> Iterator[tuple[str, bytes]]:
    for path in (source / "agent").rglob("*"):
        if path.is_file() and path.name.endswith(KEPT):
            yield path.relative_to(source).as_posix(), path.read_bytes()
