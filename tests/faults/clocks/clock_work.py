"""Wrong clocks: ``… agent CONFIG FILE`` runs the agent, whose kernel says `synced` while FILE is there;
``… jumps SEED COUNT`` files the readings of gateways whose clocks jump so often, and counts what is wrong with them.

In the play, time is counted as the gateway's monotonic clock does; the truth is known, and no gateway knows it.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import config_file, identity, service, wire
from agent.common import logs
from agent.probes.gateway import ClockState
from agent.scheduling import speed_plan
from agent.uplink.trust import TrustedClock
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.store import Store, schema

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1000, 60_000, 3_600_000, 86_400_000
BEGAN_MS = 1_795_000_000_000  # of the play
NEAR_MS = 2 * SECOND_MS
JUMPS_MS = (HOUR_MS, -HOUR_MS, -5 * MINUTE_MS, SECOND_MS, -SECOND_MS)  # an hour is summer time, too; a second a leap
WAKES_MS = (-2 * BEGAN_MS, -8 * HOUR_MS, 3650 * DAY_MS, 0)  # in 1970, at the last shutdown, in 2036, with a battery


def agent(settings_file: str, synced: Path) -> None:
    """As `nabz-agent run`, but for what the kernel says."""
    settings = config_file.load_or_default(settings_file)
    logs.start("info")
    service.run(
        settings,
        identity.load(settings.state_dir),
        lambda: ClockState(quality="synced" if synced.exists() else "unsynced"),
    )


# ---------------------------------------------------------------- readings whose clocks jump


@dataclass
class Clocks:
    """Of one boot: it began at `began_ms` (true), its wall clock is `off_ms` from the truth. `honest`: whatever was
    called synchronised was right. `was_heard`: the collector has been told a time by it that was."""

    name: str
    began_ms: int
    off_ms: int
    synced: bool = False
    honest: bool = True
    was_synced: bool = False
    was_heard: bool = False

    def jump(self, by_ms: int, *, lies: bool) -> None:
        """The kernel no longer calls a clock synchronised that somebody has set; `lies` if it does."""
        self.off_ms += by_ms
        self.synced = self.synced and lies
        self.honest = self.honest and not self.synced

    def stamp(self, now_ms: int) -> wire.Stamp:
        self.was_synced |= self.synced
        clock: wire.Clock = "synced" if self.synced else "unsynced"
        wall_ms = max(0, now_ms + self.off_ms)
        return wire.Stamp(wall_ms=wall_ms, mono_ms=now_ms - self.began_ms, boot=self.name, clock=clock)


@dataclass
class Gateway:
    """Takes a reading a minute or so, and numbers, chains and signs as a real one; what waits goes newest first."""

    number: int
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    chain: list[bytes] = field(default_factory=lambda: [wire.GENESIS])
    raws: list[bytes] = field(default_factory=list)
    truth: list[tuple[int, Clocks]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # numbers, from 0
    nonce: str = ""

    @property
    def device(self) -> str:
        return identity.device_name(self.key.public_key().public_bytes_raw())

    @property
    def spool(self) -> str:
        return f"{self.number:032x}"

    def take(self, clocks: Clocks, now_ms: int) -> None:
        raw = wire.encode_reading(wire.UpsReading(at=clocks.stamp(now_ms), load_pct=1.0))
        self.waiting.append(len(self.raws))
        self.raws.append(raw)
        self.chain.append(wire.chain(self.chain[-1], [raw]))
        self.truth.append((now_ms, clocks))

    def batches(self, most: int = 20) -> Iterator[Message]:
        live, self.waiting[-2:] = self.waiting[-2:], []
        yield self._batch(live, live=True)
        while self.waiting:
            some, self.waiting[:most] = self.waiting[:most], []
            yield self._batch(some, live=False)

    def _batch(self, numbers: Sequence[int], *, live: bool) -> Message:
        batch = wire.Batch(
            v=wire.VERSION,
            device=self.device,
            spool=self.spool,
            first_seq=numbers[0] + 1,
            prev=self.chain[numbers[0]].hex(),
            nonce=self.nonce,
            live=live,
            readings=[msgspec.Raw(self.raws[number]) for number in numbers],
        )
        return Message(wire.batch_topic(self.device), wire.seal(wire.encode(batch), self.key.sign))


def play(ingest: Ingest, mine: Gateway, dice: random.Random, jumps: int) -> None:
    """Two boots and so many jumps: readings go out as they come, or wait for the line to return."""
    now_ms = BEGAN_MS + mine.number * DAY_MS  # the collector's clock is right all the while: it never goes back
    for boot in range(2):
        clocks = Clocks(f"{mine.number:06x}{boot}", now_ms, dice.choice(WAKES_MS))
        for _ in range(jumps // 2):
            is_away = dice.random() < 0.4
            for _ in range(dice.randint(1, 6)):
                now_ms += dice.randint(MINUTE_MS // 2, MINUTE_MS)
                mine.take(clocks, now_ms)
                if not is_away:
                    now_ms = send(ingest, mine, now_ms, dice)
                    clocks.was_heard = clocks.was_synced
            if dice.random() < 0.4:
                clocks.off_ms, clocks.synced = 0, True
            else:
                clocks.jump(dice.choice(JUMPS_MS), lies=clocks.was_heard and dice.random() < 0.3)
        now_ms = send(ingest, mine, now_ms, dice)
        now_ms += dice.randint(MINUTE_MS, 3 * HOUR_MS)


def send(ingest: Ingest, mine: Gateway, now_ms: int, dice: random.Random) -> int:
    """When the last of it had come: a line is quick, or slow."""
    for message in mine.batches() if mine.waiting else ():
        now_ms += dice.choice([200, 700, dice.randint(0, 20 * SECOND_MS)])
        for receipt in ingest.take([message], now_ms).receipts:
            mine.nonce = wire.decode_receipt(wire.unseal(receipt.payload)[0]).nonce
    return now_ms


def judged(store: Store, mine: Gateway) -> Counter[str]:
    """What is wrong with the times that this gateway's readings are filed under."""
    table, found = schema.readings["ups"].c, Counter[str]()
    with store.read() as conn:
        query = sa.select(table.seq, table.wall_ms).where(table.spool == mine.spool).order_by(table.seq)
        times = {row.seq - 1: row.wall_ms for row in conn.execute(query)}
        held = conn.scalars(sa.select(schema.evidence.c.body).where(schema.evidence.c.spool == mine.spool))
        original = {bytes(raw) for body in held for raw in wire.decode_batch(body).readings}
    found["readings"], found["missing"] = len(mine.raws), len(mine.raws) - len(times)
    found["altered"] = len(set(mine.raws) - original)
    for number, (true_ms, clocks) in enumerate(mine.truth):
        far = abs(times[number] - true_ms) > NEAR_MS
        found["dated"] += clocks.was_synced and clocks.honest
        found["far_off"] += far and clocks.was_synced and clocks.honest
        found["of_1970"] += times[number] < BEGAN_MS - DAY_MS
        if number and mine.truth[number - 1][1] is clocks:
            found["backwards"] += times[number] <= times[number - 1]
    return found


def jumps(seed: int, count: int, per_kind: int = 16) -> Counter[str]:
    found = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/nabz.db")
        ingest = Ingest(store, Ed25519PrivateKey.generate(), lambda _conn, _group, _now_ms: 0)
        for number in range(max(1, count // per_kind)):
            mine = Gateway(number)
            with store.write() as conn:
                row = {"device": mine.device, "center": f"C-{number}", "enrolled_ms": BEGAN_MS - 90 * DAY_MS}
                public = mine.key.public_key().public_bytes_raw()
                conn.execute(sa.insert(schema.devices).values(public_key=public, **row))
            play(ingest, mine, random.Random(f"{seed} {number}"), per_kind)
            found += judged(store, mine)
            found["jumps"] += per_kind
        store.close()
    return found + slots(seed, count)


# ---------------------------------------------------------------- speed tests whose clock jumps

SLOTS = ("09:00-12:00", "14:00-17:00", "19:00-22:00")
LOOK_MS = 5 * MINUTE_MS


def slots(seed: int, count: int) -> Counter[str]:
    """Tests by the rules of `agent.scheduling.speed_rounds` while the wall clock jumps, about once in an hour."""
    dice, found, truth = random.Random(f"{seed} slots"), Counter[str](), [BEGAN_MS]
    off_ms = [0]
    clock = TrustedClock(wall=lambda: max(0, truth[0] + off_ms[0]), boot=lambda: truth[0] - BEGAN_MS)
    clock.learn(truth[0])
    book, done, due = speed_plan.SpeedBook(), Counter[str](), set[str]()
    left = count
    while left:
        truth[0] += LOOK_MS
        if dice.random() < LOOK_MS / HOUR_MS:
            off_ms[0], left = off_ms[0] + dice.choice(JUMPS_MS), left - 1
        if dice.random() < 0.3:
            clock.learn(truth[0] - 500, 1000)
        now_ms = clock.now_ms()
        book = book.at(now_ms)
        plan = speed_plan.plan_day(now_ms, SLOTS, "g1", b"secret")
        whole = (slot for slot in speed_plan.plan_day(truth[0], SLOTS, "g1", b"secret") if slot.start_ms > BEGAN_MS)
        due.update(slot.name for slot in whole if slot.end_ms < truth[0])
        if slot := speed_plan.due_slot(plan, book.done, now_ms):
            found["out_of_slot"] += not slot.start_ms <= truth[0] < slot.end_ms
            done[slot.name] += 1
            book = book.ticked(slot)
    found["tests"], found["twice"] = len(done), sum(n - 1 for n in done.values())
    found["slots_missed"] = len(due - done.keys())
    return found


if __name__ == "__main__":
    what, first, second = sys.argv[1:]
    if what == "agent":
        agent(first, Path(second))
    else:
        print(json.dumps(jumps(int(first), int(second))))
