"""The speed tests of a fleet over a month, played in virtual time by the very functions that rule the real ones.

`agent.scheduling.speed_plan` decides for each gateway and `collector.speedtests.policy` for each server. Made up are
the centers: their lines, their work, cuts of the mains by feeder, how long batteries last, backup lines, and how often
nobody hears. The same seed plays the same month; servers share no state, so each is played by a process of its own.
"""

from __future__ import annotations

import argparse
import bisect
import functools
import hashlib
import heapq
import math
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.common.center_time import CENTER_TIME, slot_minutes
from agent.config import SpeedSection
from agent.scheduling import speed_plan
from agent.scheduling.schedule import DAY_MS, MINUTE_MS
from agent.scheduling.speed_plan import CAPPED, MB, RunTest, SkipTest, Slot, SpeedBook, TestConditions
from collector.speedtests import policy
from collector.speedtests.policy import ServerPlaces, TestRequest

HOUR_MS = 60 * MINUTE_MS
START_MS = round(datetime(2026, 11, 1, tzinfo=CENTER_TIME).astimezone(UTC).timestamp() * 1000)

# down, up in Mbit/s, and how many of a hundred centers have such a line
LINES = ((20.0, 5.0, 40), (30.0, 8.0, 25), (50.0, 12.0, 20), (100.0, 20.0, 12), (300.0, 100.0, 3))
SECONDS = {"quick": 9.0, "adaptive": 14.0, "full": 25.0}  # of a whole test, the quiet line's round trips included
FEEDER_CENTERS = 25
CUTS_A_DAY, CUT_MS = 3.0, HOUR_MS
GENERATOR, BACKUP = 0.25, 0.08  # shares of centers
BATTERY_MS = (15 * MINUTE_MS, 90 * MINUTE_MS)
LOW_SHARE = 0.2  # of the battery's time
DOWN_EVERY_MS, DOWN_MS = 6 * DAY_MS, 3 * HOUR_MS  # the main line, where there is a backup
HEARD_MS = 3_000  # from a test's end to the collector's row
UNHEARD = 0.01  # results that come much later, so that the turn ends by itself
DEAF_EVERY_MS, DEAF_MS = 10 * DAY_MS, HOUR_MS  # a center that cannot reach the broker

Spans = Sequence[tuple[int, int]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--days", type=int, default=30, metavar="N", help="default: %(default)s")
    parser.add_argument("--servers", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument("--places", type=int, default=24, metavar="N", help="tests at once a server (%(default)s)")
    parser.add_argument("--mode", choices=speed_plan.SHORTER, default=SpeedSection().mode, help="default: %(default)s")
    parser.add_argument(
        "--budget", type=int, default=SpeedSection().monthly_budget_mb, metavar="MB", help="%(default)s"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    began_s = time.monotonic()
    play = functools.partial(played, options)
    with multiprocessing.Pool(min(2, options.servers)) as pool:
        stories = pool.map(play, range(options.servers), chunksize=1)
    print("\n".join(table(options, stories)))
    print(f"played in {time.monotonic() - began_s:.0f} s")
    return 0


# ---------------------------------------------------------------- the centers


@dataclass(kw_only=True)
class Center:
    """One center and its month. Spans are (from, to) in milliseconds, in order; `dice` is its own."""

    name: str
    dice: random.Random
    down_mbps: float
    up_mbps: float
    secret: bytes
    battery: Spans
    low: Spans
    dark: Spans
    failover: Spans
    deaf: Spans
    book: SpeedBook = field(default_factory=SpeedBook)
    month_bytes: int = 0
    ready_ms: int = 0  # until then its last test runs

    def here(self, now_ms: int) -> TestConditions:
        supply: speed_plan.Supply = "mains"
        if within(self.battery, now_ms):
            supply = "low" if within(self.low, now_ms) else "battery"
        return TestConditions(supply=supply, failover=within(self.failover, now_ms) is not None)

    def cost(self, mode: str) -> int:
        """Bytes of one test, a tenth more or less."""
        share = (self.down_mbps + self.up_mbps) / 25.0
        return round(speed_plan.COST_BYTES[mode] * share * self.dice.uniform(0.9, 1.1))


def within(spans: Spans, now_ms: int) -> tuple[int, int] | None:
    at = bisect.bisect_right(spans, (now_ms, math.inf)) - 1
    return spans[at] if at >= 0 and now_ms < spans[at][1] else None


def make_center(number: int, seed: int, days: int) -> Center:
    dice = random.Random(f"{seed} center {number}")
    down, up = dice.choices([line[:2] for line in LINES], [line[2] for line in LINES])[0]
    battery, low, dark = supply(number, seed, days, dice)
    backup = dice.random() < BACKUP
    return Center(
        name=f"c{number}",
        dice=dice,
        down_mbps=down,
        up_mbps=up,
        secret=hashlib.sha256(f"{seed} {number}".encode()).digest(),
        battery=battery,
        low=low,
        dark=dark,
        failover=spells(dice, days, DOWN_EVERY_MS, DOWN_MS) if backup else (),
        deaf=spells(dice, days, DEAF_EVERY_MS, DEAF_MS),
    )


def supply(number: int, seed: int, days: int, dice: random.Random) -> tuple[Spans, Spans, Spans]:
    """(on battery, nearly empty, dark): the feeder's cuts as this center's UPS and generator carry them."""
    feeder = random.Random(f"{seed} feeder {number // FEEDER_CENTERS}")
    carried_ms = 2 * MINUTE_MS if dice.random() < GENERATOR else dice.randint(*BATTERY_MS)
    generator = carried_ms == 2 * MINUTE_MS
    battery, low, dark = [], [], []
    for start, end in spells(feeder, days, round(DAY_MS / CUTS_A_DAY), CUT_MS):
        empty = min(end, start + carried_ms)
        battery.append((start, empty))
        if not generator:
            low.append((min(end, start + round(carried_ms * (1 - LOW_SHARE))), empty))
            dark.append((empty, end))
    return battery, low, dark


def spells(dice: random.Random, days: int, every_ms: int, mean_ms: int) -> Spans:
    spans, now = [], float(START_MS)
    while (now := now + dice.expovariate(1 / every_ms)) < START_MS + days * DAY_MS:
        end = now + dice.expovariate(1 / mean_ms)
        spans.append((round(now), round(end)))
        now = end
    return spans


def is_busy(center: Center, now_ms: int) -> bool:
    """One look at the line: by hour a few, many or most find people at work."""
    hour = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME).hour
    working = 0.15 if hour < 9 else 0.75 if hour < 19 else 0.85
    share = center.dice.betavariate(1.5, 4) if center.dice.random() < working else center.dice.uniform(0, 0.03)
    return speed_plan.is_busy(share * center.down_mbps, 0.3 * share * center.up_mbps, center.book, None)


# ---------------------------------------------------------------- the play of one server


@dataclass(kw_only=True)
class Story:
    """What became of the slots: counts, waits in seconds, bytes of each center, and how long how many ran at once."""

    count: Counter[str] = field(default_factory=Counter)
    by_slot: Counter[str] = field(default_factory=Counter)
    waited_s: list[float] = field(default_factory=list)
    deferred_s: list[float] = field(default_factory=list)
    month_bytes: list[int] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    at_once: Counter[int] = field(default_factory=Counter)  # tests that run: milliseconds of slot time


def played(options: argparse.Namespace, number: int) -> Story:
    servers = [ServerPlaces(name=f"s{item}", tests_at_once=options.places) for item in range(options.servers)]
    mine = servers[number]
    centers = [
        make_center(item, options.seed, options.days)
        for item in range(options.centers)
        if policy.home(f"c{item}", servers) == mine
    ]
    speed = SpeedSection(mode=options.mode, monthly_budget_mb=options.budget)
    return _Play(centers, mine, speed, options.days).run()


class _Play:
    """A heap of moments. What a moment does may push later ones; the pacer looks each second while turns are open."""

    def __init__(self, centers: Sequence[Center], server: ServerPlaces, speed: SpeedSection, days: int) -> None:
        self.centers, self.server, self.speed, self.days = centers, server, speed, days
        self.heap: list[tuple[int, int, Callable[[int], None]]] = []
        self.pushed = 0
        self.turns: dict[str, TestRequest] = {}
        self.wishes: dict[str, tuple[Center, Slot]] = {}
        self.running = 0
        self.since_ms = START_MS
        self.looking = False
        self.asked = 0
        self.tests: Counter[str] = Counter()
        self.story = Story()

    def run(self) -> Story:
        for day in range(self.days):
            self.at(START_MS + day * DAY_MS, functools.partial(self.plan))
        while self.heap:
            now_ms, _, work = heapq.heappop(self.heap)
            work(now_ms)
        for center in self.centers:
            self.story.month_bytes.append(center.month_bytes)
            self.story.valid.append(self.tests[center.name])
        return self.story

    def at(self, at_ms: int, work: Callable[[int], None]) -> None:
        self.pushed += 1
        heapq.heappush(self.heap, (at_ms, self.pushed, work))

    # ------------------------------------------------------------ the gateway's side

    def plan(self, now_ms: int) -> None:
        for center in self.centers:
            for slot in speed_plan.plan_day(now_ms, self.speed.slots, center.name, center.secret):
                self.at(slot.test_ms, functools.partial(self.due, center, slot))

    def due(self, center: Center, slot: Slot, now_ms: int) -> None:
        """As SpeedRounds.due: decide, wait for a quiet line, ask."""
        if dark := within(center.dark, now_ms):
            return self._when_back(center, slot, dark[1])
        center.book = center.book.at(now_ms)
        if isinstance(self.decide(center, slot, now_ms), SkipTest):
            return self.test(center, slot, None, now_ms)
        until_ms = speed_plan.defer_until_ms(slot, now_ms)
        look_ms = now_ms
        while look_ms < until_ms and is_busy(center, look_ms):
            look_ms = min(until_ms, look_ms + MINUTE_MS)
        self.story.deferred_s.append((look_ms - now_ms) / 1000)
        self.story.count["tested though busy"] += look_ms >= until_ms > now_ms
        self.at(look_ms, functools.partial(self.ask, center, slot))
        return None

    def _when_back(self, center: Center, slot: Slot, back_ms: int) -> None:
        if back_ms < slot.end_ms:
            self.at(back_ms + 10_000, functools.partial(self.due, center, slot))
        else:
            self.story.count["dark"] += 1

    def decide(self, center: Center, slot: Slot, now_ms: int) -> RunTest | SkipTest:
        return speed_plan.decide(center.book, center.here(now_ms), "routine", self.speed, now_ms, slot.lot)

    def ask(self, center: Center, slot: Slot, now_ms: int) -> None:
        if dark := within(center.dark, now_ms):
            return self._when_back(center, slot, dark[1])
        until_ms = speed_plan.request_until_ms(slot, now_ms)
        deaf = within(center.deaf, now_ms)
        if deaf and deaf[1] >= until_ms:
            return self.at(until_ms, functools.partial(self.test, center, slot, None))
        self.asked += 1
        test_id = str(self.asked)
        asked_ms = deaf[1] if deaf else now_ms
        turn = TestRequest(
            test_id=test_id, device=center.name, server=self.server.name, purpose="routine", asked_ms=asked_ms,
            expires_ms=until_ms, state="asked",
        )  # fmt: skip
        self.wishes[test_id] = center, slot
        return self.at(asked_ms, functools.partial(self.take, turn))

    def test(self, center: Center, slot: Slot, turn: TestRequest | None, now_ms: int) -> None:
        """As SpeedRounds: the last decision, and what it costs."""
        center.book = center.book.at(now_ms)
        decision = self.decide(center, slot, now_ms)
        if isinstance(decision, RunTest) and turn is None and center.book.is_excused("skipped_no_turn"):
            decision = SkipTest("skipped_no_turn", "")
        if isinstance(decision, SkipTest):
            self.story.count[decision.cause] += 1
            if decision.cause in CAPPED:
                center.book = center.book.skipped(decision.cause, now_ms)
            return self.end(turn, now_ms + HEARD_MS)
        here = center.here(now_ms)
        self.story.count["excuses used up"] += here != TestConditions() or turn is None
        self.story.count[f"ran {decision.mode}"] += 1
        self.story.by_slot[slot.name[-11:]] += 1
        return self.move(center, decision.mode, turn, now_ms)

    def move(self, center: Center, mode: str, turn: TestRequest | None, now_ms: int) -> None:
        cost, lasts_ms = center.cost(mode), round(SECONDS[mode] * 1000)
        center.month_bytes += cost
        center.book = center.book.charged(mode, cost, now_ms, whole=True).learnt(center.down_mbps, center.up_mbps)
        if turn is None:
            self.story.count["unwitnessed"] += 1
            return
        self.tests[center.name] += 1
        self.count_running(now_ms, 1)
        self.at(now_ms + lasts_ms, lambda at_ms: self.count_running(at_ms, -1))
        self.end(turn, now_ms + lasts_ms + (10**9 if center.dice.random() < UNHEARD else HEARD_MS))

    def count_running(self, now_ms: int, change: int) -> None:
        self.story.at_once[self.running] += in_slots(self.since_ms, now_ms, self.speed.slots)
        self.running, self.since_ms = self.running + change, now_ms

    # ------------------------------------------------------------ the collector's side

    def take(self, turn: TestRequest, now_ms: int) -> None:
        self.turns[turn.test_id] = turn
        self.wake(now_ms)

    def end(self, turn: TestRequest | None, at_ms: int) -> None:
        if turn is not None and at_ms < turn.expires_ms + HOUR_MS:
            self.at(at_ms, functools.partial(self.ended, turn.test_id))

    def ended(self, test_id: str, now_ms: int) -> None:
        if test_id in self.turns:
            self.turns[test_id] = replace(self.turns[test_id], state="done", closed_ms=now_ms)

    def wake(self, now_ms: int) -> None:
        if not self.looking:
            self.looking = True
            self.at(now_ms - now_ms % 1000 + 1000, self.look)

    def look(self, now_ms: int) -> None:
        for decision in policy.decide(self.turns.values(), {self.server.name: self.server}, now_ms):
            turn = self.turns[decision.test_id]
            if decision.state == "granted" and turn.state == "asked":
                self.grant(turn, now_ms)
            elif decision.state == "expired":
                self.expire(turn, now_ms)
        over = [name for name, turn in self.turns.items() if turn.state == "done" and is_over(turn, now_ms)]
        for name in over:
            del self.turns[name]
        self.looking = False
        if self.turns:
            self.wake(now_ms)

    def grant(self, turn: TestRequest, now_ms: int) -> None:
        center, slot = self.wishes.pop(turn.test_id)
        self.story.waited_s.append((now_ms - turn.asked_ms) / 1000)
        given = replace(turn, state="granted", expires_ms=now_ms + policy.HOLD_MS)
        self.turns[turn.test_id] = given
        if dark := within(center.dark, now_ms):
            self._when_back(center, slot, dark[1])
        else:
            self.at(now_ms + 500, functools.partial(self.test, center, slot, given))

    def expire(self, turn: TestRequest, now_ms: int) -> None:
        del self.turns[turn.test_id]
        self.story.count["turns that ended by themselves"] += turn.state == "granted"
        if turn.state == "asked":
            center, slot = self.wishes.pop(turn.test_id)
            self.test(center, slot, None, now_ms)


def replace(turn: TestRequest, **changes: object) -> TestRequest:
    fields = {name: getattr(turn, name) for name in TestRequest.__slots__}
    return TestRequest(**(fields | changes))


def is_over(turn: TestRequest, now_ms: int) -> bool:
    return turn.closed_ms is not None and turn.closed_ms <= now_ms - policy.TAIL_MS


def in_slots(from_ms: int, to_ms: int, slots: Sequence[str]) -> int:
    """How many milliseconds of this time lie in slots."""
    total, day_ms = 0, from_ms - (from_ms - START_MS) % DAY_MS
    while day_ms < to_ms:
        for start, end in map(slot_minutes, slots):
            low, high = max(from_ms, day_ms + start * MINUTE_MS), min(to_ms, day_ms + end * MINUTE_MS)
            total += max(0, high - low)
        day_ms += DAY_MS
    return total


# ---------------------------------------------------------------- the table


def table(options: argparse.Namespace, stories: Sequence[Story]) -> Iterator[str]:
    count = sum((story.count for story in stories), Counter[str]())
    by_slot = sum((story.by_slot for story in stories), Counter[str]())
    due = options.centers * options.days * len(SpeedSection().slots)
    ran = sum(number for name, number in count.items() if name.startswith("ran "))
    deferred = sorted(value for story in stories for value in story.deferred_s)
    put_off = [item for item in deferred if item]
    made = {name: number for name, number in sorted(count.items()) if name.startswith("ran ")}
    lost = due - ran - count["dark"] - sum(count[name] for name in count if name.startswith("skipped_"))
    yield (
        f"{options.centers} centers, {options.days} days, {options.servers} servers of {options.places} places, "
        f"mode {options.mode}, budget {options.budget} MB, seed {options.seed}"
    )
    yield _row("slots due", due)
    yield _row("tests made", ran, due)
    for slot in SpeedSection().slots:
        yield _row(f"  {slot}", by_slot[slot], due // len(SpeedSection().slots), "of its slots")
    for name, number in made.items():
        yield _row(f"  {name}", number, ran, "of the tests")
    yield _row("  excuses used up, so quick", count["excuses used up"], due)
    yield _row("    of these without a turn", count["unwitnessed"], due)
    for cause in (*CAPPED, "skipped_battery_low", "skipped_budget"):
        yield _row(cause, count[cause], due)
    yield _row("gateway dark all the slot", count["dark"], due)
    yield _row("unaccounted", lost)
    yield _row("deferred", len(put_off), len(deferred), "of those not skipped")
    yield f"  for seconds                median {_at(put_off, 50):.0f}, p95 {_at(put_off, 95):.0f}"
    yield from _distributions(options, stories, count["tested though busy"], len(deferred))


def _distributions(options: argparse.Namespace, stories: Sequence[Story], busy: int, due: int) -> Iterator[str]:
    waited = sorted(value for story in stories for value in story.waited_s)
    megabytes = sorted(month_byte / MB for story in stories for month_byte in story.month_bytes)
    valid = sorted(item for story in stories for item in story.valid)
    yield _row("  tested though still busy", busy, due, "of those not skipped")
    yield "seconds waited for a turn    " + _spread(waited, (50, 99, 99.9, 100), ".1f")
    yield "MB a center in the month     " + _spread(megabytes, (50, 95, 100), ".0f") + f" of {options.budget}"
    yield _row(
        "  centers over the budget",
        sum(megabyte > options.budget for megabyte in megabytes),
        options.centers,
        "of the centers",
    )
    yield "witnessed tests a center     " + _spread(valid, (0, 1, 50), ".0f")
    for number, story in enumerate(stories):
        at_once = ", ".join(f"p{share:g} {_weighted(story.at_once, share)}" for share in (50, 99, 99.9))
        yield f"tests at once at server {number}    {at_once}, most {max(story.at_once)}"


def _row(name: str, number: int, whole: int = 0, of: str = "of the slots") -> str:
    return f"{name:<28} {number:>9}" + (f"  {100 * number / whole:6.2f} % {of}" if whole else "")


def _spread(values: Sequence[float], shares: Sequence[float], form: str) -> str:
    names: dict[float, str] = {0: "least", 50: "median", 100: "most"}
    return ", ".join(f"{names.get(share, f'p{share:g}')} {_at(values, share):{form}}" for share in shares)


def _at(values: Sequence[float], pct: float) -> float:
    """The value at a percentile of values in order."""
    return values[min(len(values) - 1, math.floor(len(values) * pct / 100))] if values else math.nan


def _weighted(lasted: Counter[int], pct: float) -> int:
    """The level that was not passed for that share of the time."""
    left = sum(lasted.values()) * pct / 100
    for level in sorted(lasted):
        left -= lasted[level]
        if left <= 0:
            return level
    return max(lasted)
