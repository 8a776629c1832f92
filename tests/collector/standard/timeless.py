"""The shipped example's newest figures, as if they had always held: for plays of any date."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources

from collector.standard import EXAMPLE, Standard, Standards, example, examples


def timeless() -> Standard:
    return replace(example(), valid_from_ms=examples()[0].valid_from_ms)


def timeless_standards() -> Standards:
    return Standards.of([timeless()])


def timeless_file() -> bytes:
    """The same as a file's bytes, for plays that write a standard of their own from it."""
    body = resources.files("collector.standard").joinpath(EXAMPLE).read_bytes()
    first, _, rest = body.partition(b"valid_from = ")
    return first + b"valid_from = 2026-01-01\n" + rest.partition(b"\n")[2]
