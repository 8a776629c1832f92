"""Opens the spool on states of its disk: ``python -m tests.faults.power.torn_tails FOLDER SEED STATES KIND``.

Some of the states are what a power cut may leave by the rules of POSIX: nothing promised may be missing. The others
have a fault in what was synced: whatever is then missing, nothing false may be read and life must go on.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.spool.queue import Spool
from agent.spool.record import Group
from tests.faults.power.crash_states import Disk, Files, Say, Step, harmed, record
from tests.faults.power.spool_work import STAMP, T0, Promises, Truth, everything, unexplained

COMMITS = 240  # some three turns of the log
STRETCH = 64 * 1024


def main(folder: Path, seed: int, states: int, kind: str) -> None:
    chance = random.Random(seed)
    figures: Counter[str] = Counter()
    slowest_s = 0.0
    for number, (files, promises, legal) in enumerate(KINDS[kind](folder, seed, states, chance)):
        place = folder / f"s{number}"
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
        began_s = time.monotonic()
        figures += look(place / "spool.db", Truth(seed, promises.spool), promises, legal=legal)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        figures["legal" if legal else "harmed"] += 1
        shutil.rmtree(place)
    print(json.dumps({**figures, "slowest_s": round(slowest_s, 3)}))


def every_state(folder: Path, seed: int, states: int, chance: random.Random) -> Iterator[tuple[Files, Promises, bool]]:
    """Each state once."""
    steps = recorded_play(folder, seed)
    seen: set[int] = set()
    while len(seen) < states:
        every = max(2, round(2 * len(steps) / (states - len(seen))))
        for files, promises, legal in one_pass(steps, every, chance):
            key = hash(tuple(sorted(files.items())))
            if key not in seen and len(seen) < states:
                seen.add(key)
                yield files, promises, legal


def recorded_play(folder: Path, seed: int, commits: int = COMMITS, *extra: str) -> list[Step]:
    """The play is recorded on the code that is being tested."""
    work = folder / "work"
    work.mkdir(parents=True)
    argv = [
        sys.executable,
        "-m",
        "tests.faults.power.spool_work",
        str(work / "spool.db"),
        str(seed),
        str(commits),
        *extra,
    ]
    return record(argv, work, folder / "trace")


def played(play: list[Step]) -> tuple[Disk, Promises]:
    """All of it: the spool was closed, and its log emptied into the file."""
    disk, promises = Disk(), Promises()
    for step in play:
        if isinstance(step, Say):
            promises.hear_all(step.text)
        else:
            disk.take(step)
    return disk, promises


def every_flip(folder: Path, seed: int, states: int, chance: random.Random) -> Iterator[tuple[Files, Promises, bool]]:
    """One bit wrong in each byte, or in so many of them, of a stretch in the middle of a closed spool's file, in which
    everything waits: what is receipted would only be sent in vain."""
    disk, promises = played(recorded_play(folder, seed, COMMITS, "no-receipts"))
    content = disk.whole()["spool.db"]
    middle = (len(content) - STRETCH) // 2
    for place in sorted(chance.sample(range(middle, middle + STRETCH), states)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        yield {"spool.db": bytes(flipped)}, promises, False


def one_pass(steps: list[Step], every: int, chance: random.Random) -> Iterator[tuple[Files, Promises, bool]]:
    """A power cut after about one in ``every`` steps, each with states of both kinds."""
    disk, promises = Disk(), Promises()
    for step in steps:
        if isinstance(step, Say):
            promises.hear_all(step.text)
        else:
            disk.take(step)
        if chance.randrange(every) == 0:
            for _ in range(3):  # many are alike
                yield disk.cut(chance), replace(promises), True
            if any((whole := disk.whole()).values()):
                yield harmed(whole, chance), replace(promises), False


def look(path: Path, truth: Truth, promises: Promises, *, legal: bool) -> Counter[str]:
    found: Counter[str] = Counter()
    try:
        spool = Spool(path, stamp=lambda: STAMP)
        groups = everything(spool)
        head = spool.head()
        if spool.stats().volatile:  # damage may only show in reading; the next append mends it
            found.update(("volatile" if legal else "volatile_by_harm", f"volatile: {spool.stats().trouble}"))
        if not spool.append([b'{"kind":"none","x":"life goes on"}'], "low", T0).durable:
            found.update(("stuck", f"stuck: {spool.stats().trouble}"))
        spool.close()
    except Exception as error:
        traceback.print_exc()
        found.update(("crashes", f"crash: {error!r}"))
        return found
    found["wrong"] += sum(not (truth.holds(group) or is_account(group)) for group in groups)
    held = {group.ident for group in groups}
    missing = len({group.ident for group in truth.promised(promises)} - held)
    found["lost" if legal else "lost_to_harm"] += missing
    found["several_lost"] += missing > 1
    found["unexplained" if legal else "unexplained_harm"] += unexplained(groups)
    if legal and promises.promised:
        found["lost"] += head.spool != promises.spool or head.seq < promises.promised
    return found


def is_account(group: Group) -> bool:
    return all(raw.startswith(b'{"kind":"shed"') for raw in group.raws)


KINDS = {"state": every_state, "flip": every_flip}

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
