"""What a live batch costs: ms of CPU to take one center-minute (four readings, some 130 values), by centers.

The messages are signed beforehand and handed to the ingest itself, a group at a time, without broker or TLS: what is
measured is verifying, judging, filing, committing and sealing the receipts, in this process and in the database's.
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import os
import pstats
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from bench.ground.processes import cost, now_ms
from bench.ground.returning import round_of
from bench.ground.whole import DATABASES, heard_before
from collector.commands.simulation.fleet import make_fleet
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.identities import device_of
from collector.commands.simulation.readings import MINUTE_MS
from collector.commands.simulation.register import register
from collector.common.config import Settings
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.run.settings import read_standards
from collector.store import Store, schema

SEATS = 20
DAY_MS = 24 * 60 * MINUTE_MS
WARM_UP = 2  # rounds before anything is measured


@dataclass
class Spent:
    """CPU seconds by part, and on the wall; `round_ms` has the wall's milliseconds of each group."""

    own_s: float = 0.0
    database_s: float = 0.0
    wall_s: float = 0.0
    batches: int = 0
    group_ms: list[float] = field(default_factory=list)
    batch_ms: list[float] = field(default_factory=list)  # of this process, by groups: the least is the machine's own

    @property
    def cells(self) -> str:
        own, other = (1000 * spent / self.batches for spent in (self.own_s, self.database_s))
        wall = 1000 * self.wall_s / self.batches
        least = min(self.batch_ms)
        return f"{self.batches} | {own:.3f} | {least:.3f} | {other:.3f} | {wall:.3f} | {self.p99_ms:.0f}"

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.group_ms, n=100)[98] if len(self.group_ms) > 1 else self.group_ms[0]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--centers", type=int, nargs="*", default=[100], help="how many send (default 100)")
    parser.add_argument("--rounds", type=int, default=8, help="minutes that are measured (default 8)")
    parser.add_argument("--group", type=int, default=50, help="batches in a transaction (default 50)")
    parser.add_argument(
        "--backlog", type=int, default=0, metavar="N", help="batches are packed backlog of N minutes instead of live"
    )
    parser.add_argument("--databases", nargs="*", default=sorted(DATABASES), choices=sorted(DATABASES))
    parser.add_argument("--times", type=int, default=1, help="how often each (default 1)")
    parser.add_argument("--profile", action="store_true", help="says which functions take the time, too")


def run(options: argparse.Namespace) -> int:
    kind = f"backlog batch of {options.backlog} minutes" if options.backlog else "live batch"
    print(f"load {os.getloadavg()[0]:.1f}; ms of CPU a {kind}, groups of {options.group}")
    print(
        "| database | centers | batches | collector | in its best group | database | wall | a group's p99 |\n"
        + "|---" * 8
        + "|"
    )
    for _ in range(options.times):
        for database in options.databases:
            for count in options.centers:
                spent = measured(database, count, options)
                print(f"| {database} | {count} | {spent.cells} |", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def measured(database: str, count: int, options: argparse.Namespace) -> Spent:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        with DATABASES[database](folder) as (url, process), closing(Store.open(url)) as store:
            gateways = enrolled(store, count)
            settings = Settings.model_validate({"collector": {"data_dir": str(folder / "data")}})
            judge = judge_with(settings, read_standards(settings))
            ingest = Ingest(store, Ed25519PrivateKey.generate(), judge)
            spent, begins_ms = Spent(), now_ms()
            if options.backlog:
                heard_before(url, gateways, begins_ms - (WARM_UP - 1 + options.rounds) * options.backlog * MINUTE_MS)
            profile = cProfile.Profile(time.thread_time) if options.profile else None
            rounds = _backlog(gateways, begins_ms, options) if options.backlog else _live(gateways, begins_ms, options)
            for number, (at_ms, minutes, messages) in enumerate(rounds):
                if number == WARM_UP:
                    spent = Spent()
                pid, watched = process.pid if process else None, profile if number >= WARM_UP else None
                take_minute(ingest, messages, at_ms + 2_000, options.group, spent, pid, watched, minutes)
            if profile is not None:
                pstats.Stats(profile).sort_stats("cumulative").print_stats(70)
                pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    return spent


def take_minute(
    ingest: Ingest,
    messages: Sequence[Message],
    at_ms: int,
    group: int,
    spent: Spent,
    pid: int | None,
    profile: cProfile.Profile | None = None,
    minutes: int = 1,
) -> None:
    """`minutes` is what each message brings."""
    other_s = cost(pid).cpu_s if pid else 0.0
    own_s, wall_s = time.process_time(), time.perf_counter()
    with profile or nullcontext():
        for begin in range(0, len(messages), group):
            began_s, cpu_s = time.perf_counter(), time.process_time()
            some = messages[begin : begin + group]
            taken = ingest.take(some, at_ms)
            assert taken.counts["readings"] == 4 * len(some) * minutes, taken.counts
            spent.batch_ms.append(1000 * (time.process_time() - cpu_s) / len(some))
            spent.group_ms.append(1000 * (time.perf_counter() - began_s))
    spent.own_s += time.process_time() - own_s
    spent.wall_s += time.perf_counter() - wall_s
    spent.database_s += (cost(pid).cpu_s if pid else 0.0) - other_s
    spent.batches += len(messages)


def enrolled(store: Store, count: int) -> list[Gateway]:
    fleet = [dataclasses.replace(center, seats=SEATS) for center in make_fleet(count, 1)]
    register(store, fleet, now_ms() - 2 * DAY_MS)
    gateways = []
    for center in fleet:
        key = Ed25519PrivateKey.generate()
        gateways.append(Gateway(center=center, key=key, device=device_of(key), spool=uuid.uuid4().hex))
    rows = [
        {
            "device": item.device,
            "center": item.center.code,
            "public_key": item.key.public_key().public_bytes_raw(),
            "enrolled_ms": now_ms() - 2 * DAY_MS,
        }
        for item in gateways
    ]
    with store.write() as conn:
        conn.execute(sa.insert(schema.devices), rows)
    return gateways


Round = tuple[int, int, list[Message]]
"""When it is taken, the minutes in each message, and a message of everybody."""


def _live(gateways: Sequence[Gateway], begins_ms: int, options: argparse.Namespace) -> Iterator[Round]:
    for number in range(WARM_UP + options.rounds):
        at_ms = begins_ms + number * MINUTE_MS
        yield at_ms, 1, minute_of(gateways, at_ms, begins_ms - MINUTE_MS)


def _backlog(gateways: Sequence[Gateway], begins_ms: int, options: argparse.Namespace) -> Iterator[Round]:
    """As gateways tell it that come back: their newest minute first, then what they kept, from the oldest on."""
    minutes, parts = options.backlog, WARM_UP - 1 + options.rounds
    rounds: list[Round] = []
    for number in range(parts):
        from_ms = begins_ms - (parts - number) * minutes * MINUTE_MS
        times = [from_ms + count * MINUTE_MS for count in range(minutes)]
        messages = list(signed(gateways, times, begins_ms - DAY_MS, live=False))
        rounds.append((begins_ms + number * 1_000, minutes, messages))
    yield begins_ms, 1, minute_of(gateways, begins_ms, begins_ms - DAY_MS)
    yield from rounds


def minute_of(gateways: Sequence[Gateway], at_ms: int, boot_ms: int) -> list[Message]:
    return list(signed(gateways, [at_ms], boot_ms))


def signed(
    gateways: Sequence[Gateway], times_ms: Sequence[int], boot_ms: int, *, live: bool = True
) -> Iterator[Message]:
    """A batch of each, with the rounds of these minutes."""
    for gateway in gateways:
        raws = [raw for at_ms in times_ms for raw in round_of(gateway.center, at_ms, boot_ms)]
        batch = wire.Batch(
            v=wire.VERSION,
            device=gateway.device,
            spool=gateway.spool,
            first_seq=gateway.next_seq,
            prev=gateway.chain.hex(),
            live=live,
            readings=[msgspec.Raw(raw) for raw in raws],
        )
        gateway.next_seq, gateway.chain = gateway.next_seq + len(raws), wire.chain(gateway.chain, raws)
        yield Message(wire.batch_topic(gateway.device), wire.seal(wire.encode(batch), gateway.key.sign))
