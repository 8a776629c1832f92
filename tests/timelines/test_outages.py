"""After an outage of hours or days nobody is told what is over, and what is news is told at once (promise P5).

`make torture` plays 50 of them and two of a whole country.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.timelines.plays.outage_play import make_outage


@pytest.fixture
def memory() -> Iterator[Path]:
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        yield Path(folder)


def played(folder: Path, seed: int, sites: int = 0) -> Counter[str]:
    play = make_outage(folder, seed, sites=sites)
    try:
        return play.run()
    finally:
        play.store.close()


def check(folder: Path, seeds: range, sites: int = 0) -> None:
    figures = {seed: played(folder, seed, sites) for seed in seeds}
    whole = sum(figures.values(), Counter[str]())
    print(f"{len(seeds)} outages, {dict(whole)}")
    assert whole["messages"] > 0
    wrong = {seed: dict(one) for seed, one in figures.items() if one["stale"] or one["late"] or one["untold"]}
    assert wrong == {}


@pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (10, 15))])
def test_nothing_that_is_over_is_told_after_an_outage(memory: Path, seed: int) -> None:
    check(memory, range(seed, seed + 1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 50, 5))
def test_nothing_that_is_over_is_told_after_fifty_outages(memory: Path, seed: int) -> None:
    check(memory, range(seed, seed + 5))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1000, 1001])
def test_nothing_that_is_over_is_told_after_a_national_outage(memory: Path, seed: int) -> None:
    check(memory, range(seed, seed + 1), sites=40)
