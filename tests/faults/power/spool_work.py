"""A spool at work whose every reading can be foretold: ``python -m tests.faults.power.spool_work FILE SEED COMMITS``.

Each promise is written to standard output before the next step; COMMITS 0 means for ever. What a number must hold
follows from the seed and the number alone, so that whoever finds it later can tell right from wrong.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from agent import wire
from agent.spool.queue import Spool
from agent.spool.record import VALUES, Group, Head, Ident, build

T0 = 1_790_000_000_000
STAMP = wire.Stamp(wall_ms=T0, mono_ms=1, boot="b", clock="synced")
FARTHEST = 100_000  # no play gets this far
KEPT_GROUPS = 24  # the rest is forgotten, as if receipted


def next_group(seed: int, head: Head) -> Group:
    """The group that this play appends after ``head``: one to four readings, now and then a long one."""
    chance = random.Random(f"{seed} {head.seq}")
    raws = [
        b'{"kind":"none","n":%d,"x":"%s"}'
        % (head.seq + 1 + place, chance.randbytes(chance.randrange(10, 160)).hex().encode())
        for place in range(chance.randrange(1, 5))
    ]
    if chance.random() < 0.03:
        raws[-1] = b'{"kind":"none","x":"%s"}' % chance.randbytes(chance.randrange(2_000, 9_000)).hex().encode()
    (group,) = build(head, raws, VALUES[head.seq % 3], T0 + head.seq)
    return group


def foretold(group: Group, seeds: Iterable[int]) -> bool:
    """Whether one of these plays would have appended it there."""
    before = Head(group.spool, group.first_seq - 1, group.prev)
    return any(next_group(seed, before) == group for seed in seeds)


@dataclass
class Promises:
    """What a play has said: by spool the last number promised, and the last one it was allowed to forget."""

    spool: str = ""
    promised: int = 0
    forgotten: int = 0

    def hear_all(self, text: str) -> None:
        for line in text.splitlines():
            self.hear(line)

    def hear(self, line: str) -> None:
        word, spool, seq = line.split()
        if word == "promised":
            self.spool, self.promised = spool, int(seq)
        else:
            self.forgotten = int(seq)


class Truth:
    """Every group of a spool by its last number, made as far as it is asked for."""

    def __init__(self, seed: int, spool: str) -> None:
        self._seed = seed
        self._head = Head(spool)
        self._groups: dict[int, Group] = {}

    def holds(self, group: Group) -> bool:
        if group.last_seq > FARTHEST:  # a number from damage, not from the play
            return False
        return self.up_to(group.last_seq).get(group.last_seq) == group

    def up_to(self, seq: int) -> dict[int, Group]:
        while self._head.seq < seq:
            group = next_group(self._seed, self._head)
            self._groups[group.last_seq] = group
            self._head = self._head.after(group)
        return self._groups

    def promised(self, promises: Promises) -> list[Group]:
        """What was promised and not allowed to be forgotten."""
        groups = self.up_to(promises.promised)
        return [group for last, group in groups.items() if promises.forgotten < last <= promises.promised]


def everything(spool: Spool) -> list[Group]:
    """All groups, oldest first, as batches would take them. Raises when one is offered that is to be skipped."""
    found: list[Group] = []
    skip: set[Ident] = set()
    while run := spool.oldest(skip):
        if not skip.isdisjoint(group.ident for group in run):
            raise RuntimeError("a group comes up again and again: the uplink would never end")
        found += run
        skip |= {group.ident for group in run}
    return found


def broken_chains(groups: Sequence[Group]) -> int:
    following = [(one, two) for one, two in pairwise(groups) if one.ident == (two.spool, two.first_seq - 1)]
    return sum(one.after != two.prev for one, two in following)


def unexplained(groups: Sequence[Group]) -> int:
    """Holes between groups of one spool that no account among the groups speaks of."""
    ranges: dict[str, list[range]] = defaultdict(list)
    for group in groups:
        for raw in group.raws:
            if raw.startswith(b'{"kind":"shed"'):
                account = wire.decode_reading(raw)
                assert isinstance(account, wire.ShedReading)
                ranges[account.subject or group.spool].append(range(account.first_seq, account.last_seq + 1))
    return sum(
        not is_covered(range(one.last_seq + 1, two.first_seq), ranges[one.spool])
        for one, two in pairwise(groups)
        if one.spool == two.spool
    )


def is_covered(hole: range, spans: Sequence[range]) -> bool:
    """Without counting: a number that a planted bug lets through may be astronomic."""
    begin = hole.start
    for span in sorted(spans, key=lambda span: span.start):
        begin = max(begin, span.stop) if span.start <= begin else begin
    return begin >= hole.stop


def work(path: Path, seed: int, commits: int, *, receipts: bool = True) -> None:
    """Without `receipts` everything waits."""
    spool = Spool(path, stamp=lambda: STAMP)
    say("promised", spool.head())
    done = 0
    while not commits or done < commits:
        group = next_group(seed, spool.head())
        kept = spool.append(group.raws, group.value, group.wall_ms)
        if not kept.durable:
            raise SystemExit(spool.stats().trouble)
        say("promised", spool.head())
        done += 1
        if receipts and done % KEPT_GROUPS == 0:
            run = spool.oldest()[: KEPT_GROUPS // 2]
            last = run[-1]
            spool.forget(last.spool, run[0].first_seq, last.last_seq, last.after.hex())
            say("forgot", Head(last.spool, last.last_seq))
    spool.close()


def say(word: str, head: Head) -> None:
    say_line(f"{word} {head.spool} {head.seq}")


def say_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), receipts=sys.argv[4:] != ["no-receipts"])
