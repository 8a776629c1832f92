"""Child processes that end with the test that began them, however it ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def child(words: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """`with Popen` alone waits for ever for one that a failed test has not told to end."""
    with subprocess.Popen(list(words), **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def token_words(folder: Path, token: str) -> list[str]:
    """The words of `nabz-agent enrol` with which it reads this token: in a command line everybody would see it."""
    file = folder / "token"
    file.touch(mode=0o600)
    file.write_text(f"{token}\n")
    return ["--token-file", str(file)]
