"""What is held of a spool: ranges of sequence numbers with the chain at both ends. Pure.

Because each reading is bound to all before it by a running hash, two ranges that meet must agree on the chain between
them. If they do not, one spool has two histories: a fork.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agent import wire


class Range(NamedTuple):
    """Readings `first` to `last`, and the chain (hex) before and after them."""

    first: int
    last: int
    before: str
    after: str


@dataclass(frozen=True)
class ChainedRun:
    """One batch: `chains[i]` is the chain (hex) before its reading `i`, the last entry the one after all."""

    first: int
    chains: tuple[str, ...]

    @property
    def last(self) -> int:
        return self.first + len(self.chains) - 2

    def after(self, seq: int) -> str:
        """The chain after reading `seq`, which is first - 1 to last."""
        return self.chains[seq - self.first + 1]


def run_of(first: int, prev: str, raws: Sequence[bytes]) -> ChainedRun:
    chains = [bytes.fromhex(prev)]
    for raw in raws:
        chains.append(wire.chain(chains[-1], [raw]))
    return ChainedRun(first, tuple(chain.hex() for chain in chains))


def parse(text: str) -> list[Range]:
    return [Range(*load) for load in json.loads(text)]


def render(held: Sequence[Range]) -> str:
    return json.dumps(held, separators=(",", ":"))


def missing(held: Sequence[Range], first: int, last: int) -> list[tuple[int, int]]:
    """The parts of [first, last] that are not held, ascending. `held` is ascending and disjoint."""
    gaps = []
    for entry in held[bisect_left(held, first, key=lambda one: one.last) :]:
        if entry.first > last:
            break
        if first < entry.first:
            gaps.append((first, entry.first - 1))
        first = entry.last + 1
    if first <= last:
        gaps.append((first, last))
    return gaps


def forks(held: Sequence[Range], run: ChainedRun) -> list[int]:
    """The sequence numbers after which what is held and the batch have different chains."""
    return sorted({seq for seq, chain in _ends(held) if run.first - 1 <= seq <= run.last and run.after(seq) != chain})


def meets(held: Sequence[Range], run: ChainedRun) -> bool:
    """Whether some end of what is held lies in the batch or next to it, so that the chains could be compared."""
    return any(run.first - 1 <= seq <= run.last for seq, _ in _ends(held))


def _ends(held: Sequence[Range]) -> Iterator[tuple[int, str]]:
    yield 0, wire.GENESIS.hex()
    for entry in held:
        yield entry.first - 1, entry.before
        yield entry.last, entry.after


def merge(held: Sequence[Range], run: ChainedRun) -> list[Range]:
    """`held` with what the batch adds; neighbours become one range where their chains agree."""
    new = [
        Range(first, last, run.after(first - 1), run.after(last)) for first, last in missing(held, run.first, run.last)
    ]
    merged: list[Range] = []
    for item in sorted([*held, *new]):
        if merged and merged[-1].last + 1 == item.first and merged[-1].after == item.before:
            item = Range(merged[-1].first, item.last, merged.pop().before, item.after)
        merged.append(item)
    return merged


Numbers = tuple[int, int]  # first and last


def holes(held: Sequence[Range], lost: Sequence[Numbers]) -> list[Numbers]:
    """The numbers before the newest held that are neither held nor accounted for as lost, ascending."""
    gaps = missing(held, 1, held[-1].last) if held else []
    return [part for gap in gaps for part in without(lost, *gap)]


def without(lost: Sequence[Numbers], first: int, last: int) -> Iterator[Numbers]:
    """The parts of [first, last] that are in none of `lost`, which is ascending and disjoint."""
    for low, high in lost:
        if low > last:
            break
        if high >= first:
            if first < low:
                yield first, low - 1
            first = max(first, high + 1)
    if first <= last:
        yield first, last


def joined(parts: Sequence[Numbers]) -> list[Numbers]:
    """The same numbers, ascending and disjoint."""
    whole: list[Numbers] = []
    for first, last in sorted(parts):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = (whole[-1][0], max(last, whole[-1][1]))
        else:
            whole.append((first, last))
    return whole
