"""How often a well center stands in "watch", or is flagged, by packets lost by chance; and how soon a bad line is.

The real criterion, judge and flag machine over the open minutes of a month: each round sends `packets` echoes. They
are lost independently, or in bursts (Gilbert's model: lost packets come in runs of three on average). The same seed
plays the same months.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

from collector.judging.flags import machine
from collector.judging.flags.judge import Verdict, judge
from collector.judging.flags.machine import FlagState
from collector.register.centers import Center
from collector.standard import example
from collector.standard.criteria import Criterion

MINUTE_MS = 60_000
OPEN_DAYS, OPEN_MINUTES = 26, 12 * 60  # Mon-Sat 09:00-21:00
BURST = 3.0  # packets, the mean length of a run of losses
CENTER = Center(code="X", name="X", tier="two", seats_promised=20, opening="Mon-Sat 09:00-21:00", lifecycle="declared")
DETECT_MINUTES = 24 * 60

Losses = Iterator[int]  # lost packets of each round


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, default=200, metavar="N", help="center-months (default: %(default)s)")
    parser.add_argument("--packets", type=int, default=20, metavar="N", help="echoes a round (default: %(default)s)")
    parser.add_argument("--loss", type=float, default=0.3, metavar="PCT", help="true loss (default: %(default)s)")
    parser.add_argument("--criterion", default="internet.loss", metavar="ID", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    criterion, began_s = example().by_id[options.criterion], time.monotonic()
    print(f"{criterion.id}: {criterion.window}; {options.centers} months of a center, seed {options.seed}")
    print(f"{'true loss':<10} {'losses':<9} {'rounds below':>12} {'watch':>7} {'raised':>7}  a center and month")
    worst = 0.0
    for name, draw in DRAWS.items():
        chance = random.Random(f"{options.seed} {name}")
        months = [
            month(criterion, draw(chance, options.loss / 100, options.packets), options.packets)
            for _ in range(options.centers)
        ]
        below, watch, raised = (statistics.fmean(getattr(one, word) for one in months) for word in Month.__slots__)
        worst = max(worst, watch, raised)
        share = 100 * below / (OPEN_DAYS * OPEN_MINUTES)
        print(f"{options.loss:<8g} % {name:<9} {share:>10.2f} % {watch:>7.3f} {raised:>7.3f}")
    print("\nminutes from the beginning of a bad hour to the flag, of 200: median, and share raised within an hour")
    for loss in (3.0, 5.0, 10.0):
        for name, draw in DRAWS.items():
            chance = random.Random(f"{options.seed} {name} {loss}")
            took = [
                minutes_to_raise(criterion, draw(chance, loss / 100, options.packets), options.packets)
                for _ in range(200)
            ]
            soon = sum(one <= 60 for one in took) / len(took)
            print(f"{loss:<8g} % {name:<9} {statistics.median(took):>6.0f} min {soon:>6.0%}")
    print(f"{time.monotonic() - began_s:.0f} s")
    return 0 if worst <= 1 else 1


# ---------------------------------------------------------------- packets


def by_chance(chance: random.Random, loss: float, packets: int) -> Losses:
    """Each packet by itself."""
    shares = [loss] * packets
    while True:
        yield sum(chance.random() < share for share in shares)


def in_bursts(chance: random.Random, loss: float, packets: int) -> Losses:
    """Gilbert's model: a state in which all is lost, left with 1/BURST a packet, entered so that `loss` is the mean."""
    leave = 1 / BURST
    enter = leave * loss / (1 - loss)
    bad = False
    while True:
        lost = 0
        for _ in range(packets):
            bad = chance.random() >= leave if bad else chance.random() < enter
            lost += bad
        yield lost


DRAWS: dict[str, Callable[[random.Random, float, int], Losses]] = {"by chance": by_chance, "in bursts": in_bursts}


# ---------------------------------------------------------------- the real rules


@dataclass(frozen=True, slots=True)
class Month:
    """Rounds that were below the bound, and how often the flag began to wait and was raised."""

    below: int
    watch: int
    raised: int


def verdicts(criterion: Criterion, packets: int) -> list[Verdict]:
    """By the number of packets lost in a round."""
    readings = (SimpleNamespace(loss_pct=round(100 * lost / packets, 2), failure=None) for lost in range(packets + 1))
    return [judge(criterion, reading, CENTER) for reading in readings]


def month(criterion: Criterion, losses: Losses, packets: int) -> Month:
    known, flag = verdicts(criterion, packets), FlagState()
    below = watch = raised = 0
    for day in range(OPEN_DAYS):
        for minute in range(OPEN_MINUTES):
            verdict = known[next(losses)]
            below += verdict.word == "below"
            if flag.state == "clear" and not flag.memory and verdict.word == "meets":
                continue  # as collector.judging.evaluate does: nothing can move
            at_ms = (day * 24 * 60 + minute) * MINUTE_MS
            flag, change = machine.step(flag, verdict, criterion, at_ms)
            watch += change is not None and change.was == "clear"
            raised += change is not None and change.now == "raised" and change.was in ("clear", "pending")
        flag, _ = machine.pause(flag, (day * 24 * 60 + OPEN_MINUTES) * MINUTE_MS)
    return Month(below, watch, raised)


def minutes_to_raise(criterion: Criterion, losses: Losses, packets: int) -> int:
    known, flag = verdicts(criterion, packets), FlagState()
    for minute in range(1, DETECT_MINUTES):
        flag, _ = machine.step(flag, known[next(losses)], criterion, minute * MINUTE_MS)
        if flag.state == "raised":
            return minute
    return DETECT_MINUTES
