"""Rows and reports are functions of what is held: any order of arrival gives the same, to the bit (promise P13).

`make torture` plays 2,000 orders.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.timelines.plays import order_play
from tests.timelines.plays.order_play import Arrival, OrderPlay

Order = Callable[[OrderPlay, random.Random], list[Arrival]]


def newest_first(play: OrderPlay, draw: random.Random) -> list[Arrival]:
    return order_play.in_time(order_play.drawn(play, draw, newest_first=True))


def any_order(play: OrderPlay, draw: random.Random) -> list[Arrival]:
    return order_play.in_time(order_play.drawn(play, draw))


def again_reversed(play: OrderPlay, draw: random.Random) -> list[Arrival]:
    """Evidence taken in again with the times at which it came, the last first."""
    return order_play.in_time(order_play.as_ready(play))[::-1]


def again_shuffled(play: OrderPlay, draw: random.Random) -> list[Arrival]:
    found = order_play.as_ready(play)
    draw.shuffle(found)
    return found


def again_center_by_center(play: OrderPlay, draw: random.Random) -> list[Arrival]:
    found = order_play.as_ready(play)
    codes = draw.sample(order_play.CODES, len(order_play.CODES))
    return sorted(found, key=lambda item: (codes.index(item[1]), item[0]))


ORDERS: tuple[Order, ...] = (newest_first, any_order, again_reversed, again_shuffled, again_center_by_center)


def kept_newest_first(play: OrderPlay, draw: random.Random) -> list[Arrival]:
    return order_play.in_time(order_play.backlog_drawn(play, draw, newest_first=True))


def kept_in_any_order(play: OrderPlay, draw: random.Random) -> list[Arrival]:
    return order_play.in_time(order_play.backlog_drawn(play, draw))


LOST_CLOCKS: tuple[Order, ...] = (
    kept_newest_first, kept_in_any_order, again_reversed, again_shuffled, again_center_by_center,
)  # fmt: skip


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of databases come and go."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        yield Path(folder)


def differences(folder: Path, seed: int, orders: int, *, lost: bool = False) -> list[str]:
    """The plays of one story that came out otherwise than in the order in which it happened."""
    draw, play = random.Random(seed), order_play.make_play(seed, hard=lost, twins=False)
    kinds = LOST_CLOCKS if lost else ORDERS
    template = order_play.template(folder, play)
    true = order_play.collected(template, folder, play, order_play.in_time(order_play.as_ready(play)), draw)
    wrong = []
    for number in range(orders):
        order = kinds[(seed + number) % len(kinds)]
        found = order_play.collected(template, folder, play, order(play, draw), draw)
        wrong += [
            f"{seed} {order.__name__} {name}: {_first(true[name], found[name])}"
            for name in true
            if found[name] != true[name]
        ]
    template.unlink()
    return wrong


def _first(true: Any, found: Any) -> str:
    if isinstance(true, dict):
        key = next(key for key in [*true, *found] if true.get(key) != found.get(key))
        return f"{key}: {true.get(key)} instead of {found.get(key)}"
    return ""


PARTS = [pytest.param(first, 25, marks=pytest.mark.slow) for first in range(1_000, 1_200, 25)]  # 200, each in its time


@pytest.mark.parametrize(("first", "stories"), [(1_000, 3), *PARTS])
def test_evidence_taken_in_again_as_it_came_gives_the_same(memory: Path, first: int, stories: int) -> None:
    """What depends on arrival is evidence too: the dates of clocks that never synchronise, and which of two readings of
    one number is held, follow from the times and the order in which batches came."""
    wrong = []
    for seed in range(first, first + stories):
        draw, play = random.Random(seed), order_play.make_play(seed, hard=True)
        template = order_play.template(memory, play)
        order = ORDERS[seed % 2]
        before, after = order_play.again(template, memory, play, order(play, draw))
        other = [name for name in before if after[name] != before[name]]
        wrong += [f"{seed} {name}: {_first(before[name], after[name])}" for name in other]
        for name in ("template.db", "first", "again"):
            (memory / name).unlink()
    assert wrong == []


@pytest.mark.parametrize(
    ("stories", "orders"), [(2, 3), pytest.param(100, 20, marks=pytest.mark.slow)], ids=["6 plays", "2,000 plays"]
)
def test_any_order_of_arrival_gives_the_same_rows_and_reports(memory: Path, stories: int, orders: int) -> None:
    wrong = [line for seed in range(stories) for line in differences(memory, seed, orders)]
    print(f"{stories * orders} plays, {len(wrong)} otherwise")
    assert wrong == []


@pytest.mark.parametrize(
    ("stories", "orders"), [(1, 5), pytest.param(400, 5, marks=pytest.mark.slow)], ids=["5 plays", "2,000 plays"]
)
def test_boots_that_never_synchronise_are_dated_the_same_in_whatever_order_they_come(
    memory: Path, stories: int, orders: int
) -> None:
    """What is live comes when it comes, what was kept in any order; and all of it with its times in any order."""
    wrong = [line for seed in range(stories) for line in differences(memory, seed, orders, lost=True)]
    print(f"{stories * orders} plays, {len(wrong)} otherwise")
    assert wrong == []
