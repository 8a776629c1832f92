"""The archive's files in an S3-compatible object store, by pyarrow's own client (the AWS SDK for C++).

An object appears whole or not at all, when its upload is complete. Only the parts of a file that are wanted are read:
its end, and a center's row group.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pyarrow import NativeFile

TIMEOUT_S = 20.0
SENT_BYTES = 8 * 1024**2  # of a file in memory at a time


@dataclass(frozen=True)
class Bucket:
    """A folder of a bucket, as `s3://BUCKET/FOLDER`. `drafts` is where files are written before they go there. Without
    keys the client looks for them as Amazon's does: in the environment, in `~/.aws`. Methods raise OSError."""

    url: str
    drafts: Path
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)

    def open(self, name: str) -> NativeFile:
        """To be read from anywhere."""
        return self._files.open_input_file(self._path(name))

    def put(self, source: Path, name: str) -> None:
        with source.open("rb") as file, self._files.open_output_stream(self._path(name)) as target:
            while some := file.read(SENT_BYTES):
                target.write(some)

    def size(self, name: str) -> int | None:
        """None: there is no such object."""
        info = self._files.get_file_info(self._path(name))
        return info.size if info.is_file else None

    def names(self, folder: str) -> Iterator[str]:
        """Of all objects below a folder of it."""
        from pyarrow import fs

        chosen = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        for info in self._files.get_file_info(chosen):
            if info.is_file:
                yield info.path.removeprefix(self._path(""))

    def move(self, name: str, other: str) -> None:
        self._files.move(self._path(name), self._path(other))

    def remove(self, name: str) -> None:
        """One that is not there is removed already."""
        with suppress(FileNotFoundError):
            self._files.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.url.removeprefix('s3://').rstrip('/')}/{name}"

    @cached_property
    def _files(self) -> Any:
        from pyarrow import fs

        address = urlsplit(self.endpoint)
        named = {"scheme": address.scheme, "endpoint_override": address.netloc} if self.endpoint else {}
        keys = {"access_key": self.access_key, "secret_key": self.secret_key} if self.access_key else {}
        region = {"region": self.region} if self.region else {}
        times = {"connect_timeout": TIMEOUT_S, "request_timeout": TIMEOUT_S}
        return fs.S3FileSystem(**named, **keys, **region, **times)
