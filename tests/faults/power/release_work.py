"""Releases through a whole play: ``python -m tests.faults.power.release_work FOLDER``. After each step it prints which
program the next start may run, as JSON: a power cut leaves that, or what the next step makes of it."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.common.releases.trial import ReleaseFolder, ReleaseState, started

INSTALLED, BOOT, LATER = "0.2.0", "b" * 32, "c" * 32  # the boot after a cut
FIRST, SECOND = (random.Random(number).randbytes(5_000) for number in (1, 2))  # over several sectors


def next_program(state: ReleaseState) -> str:
    """The digest of what a start after a power cut runs."""
    after = started(state, INSTALLED, LATER, 0.0)
    return after.in_force.digest if after.in_force is not None else ""


def play(folder: Path) -> Iterator[ReleaseFolder]:
    """One step each: taken, started, proven, another taken, started twice, taken back, taken anew, started, proven."""
    releases = ReleaseFolder(folder)

    def start() -> None:
        nonlocal releases
        releases = ReleaseFolder(folder)
        releases.start(INSTALLED, BOOT, 0.0)

    steps: list[Callable[[], object]] = [
        lambda: releases.accept("0.3.0", FIRST), start, lambda: releases.prove(),
        lambda: releases.accept("0.4.0", SECOND), start, start, lambda: releases.take_back("no_receipt"),
        lambda: releases.accept("0.4.0", SECOND), start, lambda: releases.prove(),
    ]  # fmt: skip
    for step in steps:
        step()
        yield releases


if __name__ == "__main__":
    for at in play(Path(sys.argv[1])):
        sys.stdout.write(json.dumps(next_program(at.state)) + "\n")
        sys.stdout.flush()
