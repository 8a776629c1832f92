"""What harnesses share: how one is described, and how a decoder is held to the error that it promises."""

# ruff: noqa: PT017  what follows an error is judged where it comes out

from __future__ import annotations

import asyncio
import atexit
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

T = TypeVar("T")
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Harness:
    """`seeds` are the files to begin with besides those of `corpus/NAME`, as patterns under `tests`; `quick` is
    how many mutants a quick run plays."""

    one: Callable[[bytes], None]
    seeds: tuple[str, ...] = ()
    quick: int = 100

    def corpus(self, name: str) -> list[bytes]:
        files = sorted({*(HERE / "corpus" / name).glob("*"), *(it for at in self.seeds for it in HERE.parent.glob(at))})
        return [file.read_bytes() for file in files]


def refused(error: type[Exception], decode: Callable[[bytes], T], data: Any) -> T | None:
    """What was decoded; None when it was refused as promised, by that very error."""
    try:
        return decode(data)
    except error as raised:
        assert type(raised) is error, f"an error that nobody promised: {raised!r}"
        return None


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of one that finds all it waits for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("it waits for more, although the other side has gone")


def heard(data: bytes, limit: int) -> asyncio.StreamReader:
    """A connection over which these bytes came before it ended."""
    loop = cast(asyncio.AbstractEventLoop, SimpleNamespace(get_debug=lambda: False))
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    if data:
        reader.feed_data(data)
    reader.feed_eof()
    return reader


class Mute:
    """The way out of a connection on which nobody listens."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


FOLDER = tempfile.TemporaryDirectory(prefix="nabz-fuzz-")
atexit.register(FOLDER.cleanup)


def file_of(data: bytes) -> Path:
    path = Path(FOLDER.name) / "it.toml"
    path.write_bytes(data)
    return path
