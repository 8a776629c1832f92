"""A spool over so many minutes of a center with all probes on, each receipted: ``… FILE ROUNDS``."""

from __future__ import annotations

import sys
from pathlib import Path

from agent import wire
from agent.scheduling.schedule import value_of
from agent.spool.queue import Spool
from collector.commands.simulation.readings import MINUTE_MS
from tests.faults.lines.test_absence import round_of
from tests.faults.power.spool_work import STAMP, T0


def main(path: Path, rounds: int) -> None:
    spool = Spool(path, stamp=lambda: STAMP)
    for number in range(rounds):
        made = round_of(T0 + number * MINUTE_MS, T0)
        spool.append([wire.encode_reading(item) for item in made], value_of(made), T0 + number * MINUTE_MS)
        for group in spool.oldest():
            spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
    spool.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
