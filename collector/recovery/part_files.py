"""Files of the archive never change, so each is copied once: into files of parts beside the backups, which say what
they need of them.

What was copied, and which backup needs what, is in an index in the data folder. Without it, or without the file that it
names, everything is copied again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent.common.errors import describe
from collector.access.atomic_files import put
from collector.recovery import contents
from collector.recovery.archive import NAME, ArchiveError, Digest, Manifest

FILE = re.compile(r"nabz-\d{8}T\d{6}Z\.parts")
INDEX = "backup.index"
ABOUT = "archive"  # in a backup's manifest


class CopiedPart(msgspec.Struct, frozen=True):
    """A member of a file of parts: what it is, and the file of the archive that it was, as the disk tells that."""

    size: int
    sha256: str
    mtime_ns: int


class LocatedPart(msgspec.Struct, frozen=True):
    """Where a backup finds a file of the archive."""

    file: str
    size: int
    sha256: str


class PartIndex(msgspec.Struct):
    """`parts`: the members of each file of parts by name; `backups`: the files that each backup needs."""

    parts: dict[str, dict[str, CopiedPart]] = {}
    backups: dict[str, list[str]] = {}

    @classmethod
    def load(cls, data_dir: Path) -> PartIndex:
        try:
            return msgspec.json.decode((data_dir / INDEX).read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError):
            return cls()

    def save(self, data_dir: Path, folder: Path) -> None:
        """Without what is not there any more. Raises OSError."""
        there = set(os.listdir(folder))
        self.parts = {name: members for name, members in self.parts.items() if name in there}
        self.backups = {name: needed for name, needed in self.backups.items() if name in there}
        put(data_dir / INDEX, msgspec.json.encode(self))

    def located(self, folder: Path, members: Mapping[str, Path]) -> dict[str, LocatedPart]:
        """Those of these files that a file of parts in the folder has as they are now."""
        by_name: dict[str, LocatedPart] = {}
        for file, copied in self.parts.items():
            if not (folder / file).is_file():
                continue
            for name in copied.keys() & members.keys():
                held, now = copied[name], members[name].stat()
                if (held.size, held.mtime_ns) == (now.st_size, now.st_mtime_ns):
                    by_name[name] = LocatedPart(file, held.size, held.sha256)
        return by_name

    def add(self, file: str, members: Mapping[str, Path], manifest: Manifest) -> None:
        self.parts[file] = {
            name: CopiedPart(digest.size, digest.sha256, members[name].stat().st_mtime_ns)
            for name, digest in manifest.members.items()
        }

    def spare(self, folder: Path, kept: Collection[str]) -> list[Path]:
        """Files of parts that no kept backup needs; none as long as one is kept of which that is not known."""
        if not all(name in self.backups for name in kept):
            return []
        needed = {file for name in kept for file in self.backups[name]}
        files = (path for path in folder.glob("nabz-*.parts") if FILE.fullmatch(path.name))
        return sorted(path for path in files if path.name not in needed)


def needed_by(manifest: Manifest, source: Path) -> dict[str, dict[str, Digest]]:
    """What a backup needs of files of parts: members by name, by file. Raises ArchiveError."""
    about: Any = manifest.about.get(ABOUT) or {}
    try:
        located = msgspec.convert(about, dict[str, LocatedPart])
    except msgspec.ValidationError as error:
        raise ArchiveError(f"{source}: its list of parts is not read ({describe(error)}); take another copy") from None
    by_file: dict[str, dict[str, Digest]] = {}
    for name, part in located.items():
        if not (FILE.fullmatch(part.file) and NAME.fullmatch(name) and name.startswith(f"{contents.ARCHIVE}/")):
            raise ArchiveError(
                f"{source}: needs {name[:100]!r} of {part.file[:40]!r}, which is none; take another copy"
            )
        by_file.setdefault(part.file, {})[name] = Digest(part.size, part.sha256)
    return by_file
