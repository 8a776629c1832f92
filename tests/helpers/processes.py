"""Child processes that end with the test that began them, however it ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
