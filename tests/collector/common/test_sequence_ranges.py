"""What is held of a spool, held against a plain set of numbers."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from collector.common.sequence_ranges import Range, forks, merge, missing, parse, render, run_of

GENESIS = wire.GENESIS.hex()
RAWS = [f"reading {number}".encode() for number in range(1, 61)]


def run(first: int, last: int):
    """Readings `first` to `last` of one honest spool."""
    prev = wire.chain(wire.GENESIS, RAWS[: first - 1])
    return run_of(first, prev.hex(), RAWS[first - 1 : last])


spans = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 15)).map(lambda p: (p[0], min(60, p[0] + p[1]))))


@given(spans)
def test_however_a_spool_is_cut_and_resent_the_same_is_held(batches: list[tuple[int, int]]) -> None:
    held: list[Range] = []
    numbers: set[int] = set()
    for first, last in batches:
        assert forks(held, run(first, last)) == []
        fresh = [seq for start, end in missing(held, first, last) for seq in range(start, end + 1)]
        assert fresh == sorted(set(range(first, last + 1)) - numbers)
        held = merge(held, run(first, last))
        numbers |= set(range(first, last + 1))
        assert [seq for entry in held for seq in range(entry.first, entry.last + 1)] == sorted(numbers)
    assert parse(render(held)) == held


@given(st.integers(0, 10**6))
def test_any_order_of_all_batches_ends_in_one_range(seed: int) -> None:
    batches = [(first, min(first + 6, 60)) for first in range(1, 61, 7)]
    random.Random(seed).shuffle(batches)
    held: list[Range] = []
    for first, last in batches:
        held = merge(held, run(first, last))
    assert held == [Range(1, 60, GENESIS, wire.chain(wire.GENESIS, RAWS).hex())]


def test_a_batch_whose_chain_does_not_continue_what_is_held_is_a_fork() -> None:
    held = merge([], run(1, 5))
    stranger = run_of(6, "ab" * 32, RAWS[5:8])
    assert forks(held, stranger) == [5]
    # Neither story is preferred: both ranges stay, unmerged.
    assert [(item.first, item.last) for item in merge(held, stranger)] == [(1, 5), (6, 8)]


def test_a_rewritten_past_is_a_fork_where_it_meets_what_is_held() -> None:
    held = merge([], run(6, 10))
    rewritten = run_of(1, GENESIS, [b"other", *RAWS[1:5]])
    assert forks(held, rewritten) == [5]


def test_a_longer_batch_over_held_readings_must_agree_at_their_ends() -> None:
    held = merge([], run(3, 5))
    assert forks(held, run(1, 9)) == []
    assert forks(held, run_of(1, GENESIS, [*RAWS[:3], b"other", *RAWS[4:9]])) == [5]


def test_a_spool_begins_at_genesis() -> None:
    assert forks([], run_of(1, "ab" * 32, RAWS[:2])) == [0]


def test_nothing_held_misses_all_and_all_held_misses_nothing() -> None:
    assert missing([], 4, 9) == [(4, 9)]
    assert missing([Range(1, 20, GENESIS, GENESIS)], 4, 9) == []
    assert missing([Range(5, 6, "", ""), Range(8, 8, "", "")], 4, 9) == [(4, 4), (7, 7), (9, 9)]
