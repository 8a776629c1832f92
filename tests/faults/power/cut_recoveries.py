"""Cuts the power while a spool recovers, and while it recovers from that, three deep.

``python -m tests.faults.power.cut_recoveries FOLDER SEED STATES [KIND]`` prints its figures. Every recovery is recorded
as it happens; what the disk may hold after a cut at one of its writes, syncs or renames is the next state to recover.
What had been promised, and what the first recovery had found, must be found by every later one, and every hole said.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.spool.queue import Spool
from agent.spool.record import Group, Head, pack
from tests.faults.power.crash_states import Disk, Files, Name, Say, Step, record
from tests.faults.power.spool_work import (
    STAMP,
    Truth,
    broken_chains,
    everything,
    foretold,
    next_group,
    say_line,
    unexplained,
)
from tests.faults.power.torn_tails import is_account, one_pass, played, recorded_play

COMMITS = 150  # one turn of the log and a half
DEPTH = 3
EACH = 3  # states of a kind to begin with
KINDS = "cut worn record tables"
WIDTH = 1_200  # about every step of so many recoveries
TOGETHER = 60  # recoveries in one traced process


@dataclass(frozen=True)
class State:
    """``owed`` must be found, whatever is cut; numbers up to ``head`` were given out and must not be given again."""

    files: Files
    owed: frozenset[Group]
    head: Head


@dataclass(frozen=True)
class Recovery:
    """What a recovery of ``state`` did, step by step, and what the spool held after it."""

    state: State
    steps: list[Step]
    found: list[Group]

    @property
    def ended(self) -> bool:
        return any(isinstance(step, Say) and step.text.startswith("durable") for step in self.steps)


def main(folder: Path, seed: int, states: int, kinds: str) -> None:
    chance = random.Random(seed)
    width = min(WIDTH, states // DEPTH)
    play = recorded_play(folder, seed, COMMITS)
    figures: Counter[str] = Counter()
    for number in range(round(states / DEPTH / width)):
        figures += forest(folder / f"forest{number}", seed, list(starts(play, seed, kinds, chance)), width, chance)
    print(json.dumps(figures))


def starts(play: list[Step], seed: int, kinds: str, chance: random.Random) -> Iterator[State]:
    """A few states of each kind: of a power ``cut``, of a ``worn`` card, with one ``record`` or the ``tables`` spoilt.
    All that was promised is owed but the one record, and on the worn card only what the first recovery finds."""
    every = [found for found in one_pass(play, 10, chance) if found[0].get("spool.db")]
    for files, promises, legal in [
        *chance.sample([found for found in every if found[2]], EACH if "cut" in kinds else 0),
        *chance.sample([found for found in every if not found[2]], EACH if "worn" in kinds else 0),
    ]:
        groups = Truth(seed, promises.spool).promised(promises) if legal else []
        yield State(files, frozenset(groups), Head(promises.spool, promises.promised if legal else 0))
    disk, promises = played(play)
    groups, content = Truth(seed, promises.spool).promised(promises), disk.whole()["spool.db"]
    for group in chance.sample(
        [group for group in groups[1:-1] if pack(group) in content], EACH if "record" in kinds else 0
    ):
        spoilt = content.replace(pack(group), pack(group)[:-1] + b"?")
        yield State({"spool.db": spoilt}, frozenset(groups) - {group}, Head(promises.spool, promises.promised))
    if "tables" in kinds:
        yield State({"spool.db": content[:100] + bytes(16) + content[116:]}, frozenset(groups), Head(""))


def forest(folder: Path, seed: int, level: list[State], width: int, chance: random.Random) -> Counter[str]:
    """Recovers, cuts each recovery, recovers what that left, and so on."""
    figures: Counter[str] = Counter()
    for depth in range(DEPTH + 1):
        recoveries = [
            recovery
            for number in range(0, len(level), TOGETHER)
            for recovery in recovered(folder / f"{depth}-{number}", seed + depth + 1, level[number : number + TOGETHER])
        ]
        for recovery in recoveries:
            figures += judged(recovery, range(seed, seed + depth + 2))
        figures[f"depth_{depth}"] += len(recoveries)
        level = list(
            cuts(recoveries if depth else [with_its_finds(recovery, seed) for recovery in recoveries], width, chance)
        )
    return figures


# ---------------------------------------------------------------- a recovery, recorded


def recovered(folder: Path, seed: int, states: Sequence[State]) -> Iterator[Recovery]:
    places = [folder / f"{number:03}" for number in range(len(states))]
    for place, state in zip(places, states, strict=True):
        place.mkdir(parents=True)
        for name, content in state.files.items():
            (place / name).write_bytes(content)
    there = {f"{place.name}/{name}" for place, state in zip(places, states, strict=True) for name in state.files}
    trace = folder.with_name(folder.name + ".trace")
    argv = [sys.executable, "-m", "tests.faults.power.cut_recoveries", str(folder), str(seed)]
    steps = by_place(record(argv, folder, trace, there))
    for place, state in zip(places, states, strict=True):
        spool = Spool(place / "spool.db", stamp=lambda: STAMP)
        yield Recovery(state, steps[place.name], everything(spool))
        spool.close()
    shutil.rmtree(folder)
    trace.unlink()


def recover(folder: Path, seed: int) -> None:
    """In a process that is traced: opens each spool, takes one more reading and promises it."""
    for place in sorted(folder.iterdir()):
        say_line(f"{place.name} begins")
        try:
            spool = Spool(place / "spool.db", stamp=lambda: STAMP)
            group = next_group(seed, spool.head())
            kept = spool.append(group.raws, group.value, group.wall_ms)
            say_line(f"{place.name} {'durable' if kept.durable else 'volatile'} {kept.spool} {kept.last_seq}")
            spool.close()
        except Exception:
            traceback.print_exc()


def by_place(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps in each folder, as if it were alone."""
    found: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        if isinstance(step, Say):
            place, _, text = step.text.partition(" ")
            found[place].append(Say(text))
        elif isinstance(step, Name):
            place = (step.was or step.becomes).partition("/")[0]
            found[place].append(Name(step.was.partition("/")[2], step.becomes.partition("/")[2]))
        else:
            place, _, name = step.name.partition("/")
            found[place].append(replace(step, name=name))
    return found


# ---------------------------------------------------------------- what may be cut, and what must hold


def with_its_finds(recovery: Recovery, seed: int) -> Recovery:
    """What the first recovery of a harmed file found is owed by the later ones."""
    found = {group for group in recovery.found if foretold(group, [seed])}
    state = replace(recovery.state, owed=recovery.state.owed | (found - promised_by(recovery, recovery.steps)))
    return replace(recovery, state=state)


def promised_by(recovery: Recovery, steps: Sequence[Step]) -> set[Group]:
    """The one reading that a recovery took, if it had said so by then."""
    texts = {step.text.strip() for step in steps if isinstance(step, Say)}
    return {group for group in recovery.found if f"durable {group.spool} {group.last_seq}" in texts}


def cuts(recoveries: Sequence[Recovery], most: int, chance: random.Random) -> Iterator[State]:
    """The states that a cut after each step of each recovery may leave, at most so many of them."""
    places = [(recovery, at) for recovery in recoveries for at in range(1, len(recovery.steps) + 1)]
    for recovery, at in chance.sample(places, min(most, len(places))):
        disk = Disk.of(recovery.state.files)
        for step in recovery.steps[:at]:
            if not isinstance(step, Say):
                disk.take(step)
        promised = promised_by(recovery, recovery.steps[:at])
        head = next((Head(group.spool, group.last_seq) for group in promised), recovery.state.head)
        yield State(disk.cut(chance), recovery.state.owed | promised, head)


def judged(recovery: Recovery, seeds: Iterable[int]) -> Counter[str]:
    found, state = recovery.found, recovery.state
    new = promised_by(recovery, recovery.steps)
    return Counter(
        states=1,
        steps=len(recovery.steps),
        replayed=len(state.files.get("spool.db-wal", b"")) > 0,
        rebuilt=any(isinstance(step, Name) and step.becomes.endswith(".rebuilt") for step in recovery.steps),
        crashes=not recovery.ended,
        lost=len(state.owed - set(found)),
        wrong=sum(not (foretold(group, seeds) or is_account(group)) for group in found),
        broken_chains=broken_chains(found),
        numbers_again=sum(group.spool == state.head.spool and group.first_seq <= state.head.seq for group in new),
        unexplained=unexplained(found),
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        recover(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), " ".join(sys.argv[4:]) or KINDS)
