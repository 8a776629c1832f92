"""Readings of another day that are sent again. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from collector.judging.patterns.limits import RULES, PatternRules


def repeated_values(series: Sequence[int], noise: Sequence[int], begin: int, rules: PatternRules = RULES) -> int:
    """How many of the values from number `begin` on say, one after the other, what was said before them; 0 where it may
    be chance. Measured noise never repeats; a recording that is played again does. `series` has a hash of each reading,
    `noise` of the one figure in it that is never the same by its nature.

    Several blocks of a day are no chance; of a single one its readings are weighed, with those around it."""
    places: dict[int, list[int]] = defaultdict(list)
    for number, value in enumerate(series):
        places[value].append(number)
    count = longest = 0
    for start in range(begin, len(series) - rules.block + 1, rules.block):
        copies = list(_copies(series, places, start, rules))
        if not copies:
            continue
        count += _varies(series, noise, start, rules)
        if len(copies) <= rules.copies:
            first, length = _run(series, copies[-1], start, rules)
            shift = first - start
            if _bits(noise, [at + shift for at in (*copies, start)], length) >= rules.repeat_bits:
                longest = max(longest, length)
    return max(longest, count * rules.block if count >= rules.blocks else 0)


def _varies(series: Sequence[int], noise: Sequence[int], start: int, rules: PatternRules) -> bool:
    """A battery is charged the same way after each cut, while a regulator shows its mains as they should be."""
    block = range(start, start + rules.block)
    changes = sum(noise[number] != noise[number - 1] for number in block[1:])
    return 2 * len({series[number] for number in block}) >= rules.block and 3 * changes >= rules.block


def _copies(
    series: Sequence[int], places: Mapping[int, Sequence[int]], start: int, rules: PatternRules
) -> Iterator[int]:
    """Where the block at `start` stands before."""
    block = series[start : start + rules.block]
    rarest = min(range(rules.block), key=lambda number: len(places[block[number]]))
    for place in places[block[rarest]]:
        at = place - rarest
        if 0 <= at <= start - rules.block and series[at : at + rules.block] == block:
            yield at


def _run(series: Sequence[int], at: int, start: int, rules: PatternRules) -> tuple[int, int]:
    """Where the readings begin that are the same around both blocks, and how many they are."""
    first, end, lag = start, start + rules.block, start - at
    while first > lag and series[first - 1] == series[first - 1 - lag]:
        first -= 1
    while end < len(series) and series[end] == series[end - lag]:
        end += 1
    return first, min(end - first, lag)


def _bits(noise: Sequence[int], firsts: Sequence[int], length: int) -> float:
    """How unlikely a run is by chance (-log2), by what follows what in the rest: the copies of it count for nothing, as
    they would make it likely. What stands still or goes in a circle has next to no bits."""
    ranges = sorted((max(0, first), first + length) for first in firsts)
    rest: list[int] = []
    end = 0
    for from_, to in [*ranges, (len(noise), len(noise))]:
        rest += noise[end:from_]
        end = max(end, to)
    values, steps, last = Counter(rest), Counter(pairwise(rest)), max(firsts)
    chances = (
        (steps[before, value] + (values[value] + 1) / (len(rest) + 1)) / (values[before] + 1)
        for before, value in pairwise(noise[last : last + length])
    )
    return -sum(map(math.log2, chances))
