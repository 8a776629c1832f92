"""Hostile, repeated and disordered batches against the real ingest on SQLite: ``… FOLDER SEED TIMES``; prints figures.

What a play ends with must not depend on how its batches were cut, ordered, repeated or grouped; and what is not
signed by the gateway whose topic it came by, or is larger than the contract allows, leaves no trace in the readings.
"""

from __future__ import annotations

import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.access.enrolment import device_name
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.register import centers
from collector.store import Store, schema

NOW = 1_795_000_000_000
FACTS = {"name": "Fault rig", "tier": "one", "seats_promised": "1", "opening": "always"}
READINGS = 24


@dataclass
class Gateway:
    """Numbers, chains and signs as a real one; enrolled when `enrol` was called."""

    center: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    spool: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def device(self) -> str:
        return device_name(self.key.public_key().public_bytes_raw())

    def sealed(self, raws: Sequence[bytes], first_seq: int, prev: bytes, **changes: object) -> Message:
        facts = {"v": 1, "device": self.device, "spool": self.spool, "first_seq": first_seq, "prev": prev.hex()}
        batch = wire.Batch(readings=[msgspec.Raw(raw) for raw in raws], **(facts | changes))  # type: ignore[arg-type]
        return Message(wire.batch_topic(self.device), wire.seal(wire.encode(batch), self.key.sign))


class Desk:
    """A store with ingest on it."""

    def __init__(self, folder: Path, key: Ed25519PrivateKey | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = Store.open(f"sqlite:///{folder}/nabz.db")
        self.key = key or Ed25519PrivateKey.generate()
        self.ingest = Ingest(self.store, self.key, lambda *_group: None)

    def enrol(self, gateway: Gateway) -> Gateway:
        with self.store.write() as conn:
            if not centers.some_centers(conn, [gateway.center]):
                centers.add(conn, {"center": gateway.center, **FACTS}, NOW - 10**9)
            key = gateway.key.public_key().public_bytes_raw()
            row = {"device": gateway.device, "center": gateway.center, "public_key": key, "enrolled_ms": NOW - 10**9}
            conn.execute(sa.insert(schema.devices).values(**row))
        return gateway

    def held(self, gateway: Gateway) -> list[tuple[object, ...]]:
        """Every row of readings of a gateway, and what is latest of its center."""
        ups, latest = schema.readings["ups"].c, schema.latest.c
        with self.store.read() as conn:
            rows = conn.execute(
                sa.select(ups.seq, ups.wall_ms, ups.load_pct).where(ups.device == gateway.device).order_by(ups.seq)
            ).all()
            newest = conn.execute(sa.select(latest.wall_ms, latest.body).where(latest.center == gateway.center)).all()
            spans = conn.execute(
                sa.select(schema.spools.c.ranges).where(schema.spools.c.device == gateway.device)
            ).all()
        return [tuple(row) for row in (*rows, *newest, *spans)]

    def counted(self) -> tuple[int, ...]:
        """Rows of evidence and of readings of each kind: what nothing hostile may add to."""
        with self.store.read() as conn:
            tables = (schema.evidence, *schema.readings.values())
            return tuple(conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables)


def play(chance: random.Random) -> tuple[list[bytes], list[bytes]]:
    """Readings, and the chain before each and after all."""
    raws = []
    for number in range(READINGS):
        at = wire.Stamp(wall_ms=NOW - 60_000 + number, mono_ms=number, boot="b", clock="synced")
        raws.append(wire.encode_reading(wire.UpsReading(at=at, load_pct=round(chance.uniform(0, 99), 2))))
    return raws, list(accumulate(raws, lambda before, raw: wire.chain(before, [raw]), initial=wire.GENESIS))


def disorder(desk: Desk, chance: random.Random, times: int) -> Counter[str]:
    """The same play in ``times`` random cuts, orders, repetitions and groups, each by a gateway of its own."""
    raws, chains = play(chance)
    figures: Counter[str] = Counter(permutations=times)
    right: list[tuple[object, ...]] = []
    for number in range(times + 1):
        gateway = desk.enrol(Gateway(f"P-{number}"))
        gateway.spool = f"{number:032x}"
        cuts = [(0, READINGS)] if number == 0 else some_cuts(chance)
        messages = [gateway.sealed(raws[low:high], low + 1, chains[low]) for low, high in cuts]
        while messages:
            size = chance.randrange(1, 9)
            desk.ingest.take(messages[:size], NOW)
            messages = messages[size:]
        state = desk.held(gateway)
        right = right or state
        figures["other_states"] += state != right
    return figures


def some_cuts(chance: random.Random) -> list[tuple[int, int]]:
    """Ranges that cover the play, many of them more than once."""
    places = sorted({0, READINGS, *(chance.randrange(1, READINGS) for _ in range(chance.randrange(6)))})
    cuts = list(pairwise(places))
    for _ in range(chance.randrange(6)):
        low = chance.randrange(READINGS)
        cuts.append((low, chance.randint(low + 1, READINGS)))
    cuts += chance.choices(cuts, k=chance.randrange(4))
    chance.shuffle(cuts)
    return cuts


def replays(desk: Desk, chance: random.Random, times: int) -> Counter[str]:
    """A day later somebody sends kept batches again."""
    raws, chains = play(chance)
    gateway = desk.enrol(Gateway("R-1"))
    kept = [gateway.sealed(raws[low : low + 4], low + 1, chains[low]) for low in range(0, READINGS, 4)]
    desk.ingest.take(kept, NOW)
    before = desk.held(gateway), desk.counted()
    sent = [chance.choice(kept) for _ in range(times)]
    total = sum(
        (desk.ingest.take(sent[start : start + 100], NOW + 86_400_000).counts for start in range(0, times, 100)),
        Counter(),
    )
    return Counter(
        replays=times,
        replays_that_changed=(desk.held(gateway), desk.counted()) != before,
        replays_not_counted=times * 4 - total["duplicates"],
    )


def forgeries(desk: Desk, chance: random.Random, times: int) -> Counter[str]:
    raws, chains = play(chance)
    mine, other = desk.enrol(Gateway("F-1")), desk.enrol(Gateway("F-2"))
    before = desk.counted()
    figures: Counter[str] = Counter()
    slowest_s = 0.0
    for _ in range(times):
        for name, forge in FORGERIES.items():
            message = forge(mine, other, raws, chains, chance)
            began_s = time.process_time()
            taken = desk.ingest.take([message], NOW)
            slowest_s = max(slowest_s, time.process_time() - began_s)
            figures["forged"] += 1
            after = desk.counted()
            if taken.receipts or after != before:
                figures["accepted"] += 1
                figures[f"accepted: {name}"] += 1
            before = after
    figures["slowest_ms"] = round(slowest_s * 1000)
    return figures


Forge = Callable[[Gateway, Gateway, list[bytes], list[bytes], random.Random], Message]


def _strangers_key(mine: Gateway, other: Gateway, raws: list[bytes], chains: list[bytes], _: random.Random) -> Message:
    body, _signature = wire.unseal(mine.sealed(raws, 1, chains[0]).payload)
    return Message(wire.batch_topic(mine.device), wire.seal(body, other.key.sign))


def _changed_bit(mine: Gateway, _o: Gateway, raws: list[bytes], chains: list[bytes], chance: random.Random) -> Message:
    message = mine.sealed(raws, 1, chains[0])
    payload = bytearray(message.payload)
    payload[chance.randrange(payload.rindex(b"\n"))] ^= 1 << chance.randrange(7)
    return Message(message.topic, bytes(payload))


def _others_topic(mine: Gateway, other: Gateway, raws: list[bytes], chains: list[bytes], _: random.Random) -> Message:
    return Message(wire.batch_topic(other.device), mine.sealed(raws, 1, chains[0]).payload)


def _others_name(mine: Gateway, other: Gateway, raws: list[bytes], chains: list[bytes], _: random.Random) -> Message:
    return mine.sealed(raws, 1, chains[0], device=other.device)


def _never_enrolled(_m: Gateway, _o: Gateway, raws: list[bytes], chains: list[bytes], _: random.Random) -> Message:
    return Gateway("F-3").sealed(raws, 1, chains[0])


def _oversized(mine: Gateway, _o: Gateway, raws: list[bytes], chains: list[bytes], chance: random.Random) -> Message:
    long = raws[0][:-1] + b',"more":"' + b"x" * chance.randrange(wire.MAX_BATCH_BYTES, 4 * wire.MAX_BATCH_BYTES) + b'"}'
    return mine.sealed([long], 1, chains[0])


def _too_many(mine: Gateway, _o: Gateway, raws: list[bytes], chains: list[bytes], chance: random.Random) -> Message:
    return mine.sealed([b"{}"] * chance.randrange(wire.MAX_BATCH_READINGS + 1, 20_000), 1, chains[0])


def _deep(mine: Gateway, _o: Gateway, _raws: list[bytes], _chains: list[bytes], chance: random.Random) -> Message:
    body = chance.choice((b"[", b'{"a":')) * chance.randrange(1_000, 10_000)
    return Message(wire.batch_topic(mine.device), wire.seal(body, mine.key.sign))


def _huge_number(mine: Gateway, _o: Gateway, raws: list[bytes], chains: list[bytes], _: random.Random) -> Message:
    body, _signature = wire.unseal(mine.sealed(raws, 1, chains[0]).payload)
    return Message(
        wire.batch_topic(mine.device),
        wire.seal(body.replace(b'"first_seq":1,', b'"first_seq":1' + b"0" * 400 + b","), mine.key.sign),
    )


def _noise(mine: Gateway, _o: Gateway, _raws: list[bytes], _chains: list[bytes], chance: random.Random) -> Message:
    return Message(wire.batch_topic(mine.device), chance.randbytes(chance.randrange(70_000)))


FORGERIES: dict[str, Forge] = {
    "a stranger's key": _strangers_key,
    "a changed bit": _changed_bit,
    "another's topic": _others_topic,
    "another's name": _others_name,
    "never enrolled": _never_enrolled,
    "oversized": _oversized,
    "too many readings": _too_many,
    "deeply nested": _deep,
    "a number of 400 digits": _huge_number,
    "noise": _noise,
}


def main(folder: Path, seed: int, times: int) -> None:
    chance = random.Random(seed)
    desk = Desk(folder)
    figures: Counter[str] = Counter()
    for ordeal, share in ((disorder, 1), (replays, 1), (forgeries, len(FORGERIES))):
        figures += ordeal(desk, chance, times // share)
    desk.store.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
