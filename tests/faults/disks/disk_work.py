"""A spool at work on a disk that fails under it: ``python -m tests.faults.disks.disk_work FILE COMMITS [PAUSE_S]``.

One reading a commit, each with a number of its own. After every step one line on standard output: ``durable N`` or
``volatile N`` for what became of reading N, ``forgot N`` for what may be gone.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from agent.spool.queue import Spool
from tests.faults.power.spool_work import STAMP, T0, everything, say_line

FORGET_EVERY = 12
NUMBER = re.compile(rb'"n":(\d+)')


def work(path: Path, commits: int, pause_s: float) -> None:
    spool = Spool(path, stamp=lambda: STAMP)
    for number in range(commits):
        kept = spool.append([b'{"kind":"none","n":%d,"x":"%s"}' % (number, b"x" * 400)], "low", T0 + number)
        say_line(f"{'durable' if kept.durable else 'volatile'} {number}")
        if number % FORGET_EVERY == FORGET_EVERY - 1:
            group = spool.oldest()[0]
            spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
            for gone in numbers(group.raws):
                say_line(f"forgot {gone}")
        time.sleep(pause_s)
    spool.close()


def numbers(raws: list[bytes]) -> list[int]:
    return [int(found[1]) for raw in raws if (found := NUMBER.search(raw))]


@dataclass
class Said:
    """What a worker had said when it ended."""

    durable: set[int] = field(default_factory=set)
    volatile: set[int] = field(default_factory=set)
    forgot: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, text: str) -> Said:
        account = cls()
        for word, number in (line.split() for line in text.splitlines()):
            getattr(account, word).add(int(number))
        return account


def found(path: Path, account: Said) -> Counter[str]:
    """The spool opened again on a sound disk, held against what was said. Nothing counted is a fault but `readings`."""
    spool = Spool(path, stamp=lambda: STAMP)
    groups = everything(spool)
    held = Counter(number for group in groups for number in numbers(group.raws))
    figures = Counter(readings=sum(held.values()))
    figures["lost"] = len(account.durable - account.forgot - held.keys())
    figures["lost_in_memory"] = len(account.volatile - account.forgot - held.keys())
    figures["doubled"] = sum(count - 1 for count in held.values())
    figures["broken_chains"] = sum(
        one.after != two.prev for one, two in itertools.pairwise(groups) if one.spool == two.spool
    )
    figures["volatile"] = spool.stats().volatile
    spool.close()
    return figures


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0)
