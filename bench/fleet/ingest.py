"""What taking readings costs, with signatures and TLS: beside a run that believes every signature, and beside a bare
subscriber that only counts, in turn in one run, on each database. Mosquitto carries in all of them, over TLS 1.3.

Gateways hand over all their batches first; what is measured is the one process that takes them, from the first to the
last, in its own turn on an otherwise idle broker. What is sent is checked against what is held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import wire
from bench.ground.processes import GroundError, cost, now_ms
from bench.ground.returning import Backlog, Missed
from bench.ground.session import Session
from bench.ground.whole import DATABASES, ROOT, Ground, Member, check, ground
from collector.commands.simulation.gateway import Gateway

KINDS = ("signed", "unsigned", "bare")


@dataclass(frozen=True)
class Figures:
    batches: int
    readings: int
    wall_s: float
    cpu_s: float
    broker_s: float

    @property
    def cells(self) -> str:
        per = 1000 / self.readings
        rates = f"{self.batches / self.wall_s:.0f} | {self.readings / self.wall_s:.0f}"
        return f"{self.readings} | {rates} | {self.cpu_s * per:.3f} | {self.broker_s * per:.3f}"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gateways", type=int, default=50, metavar="N", help="who send (default 50)")
    parser.add_argument("--hours", type=float, default=2.0, metavar="H", help="of minutes from each (default 2)")
    parser.add_argument("--databases", nargs="*", default=sorted(DATABASES), choices=sorted(DATABASES))
    parser.add_argument("--times", type=int, default=1, metavar="N", help="how often each (default 1)")


def run(options: argparse.Namespace) -> int:
    print(f"load {os.getloadavg()[0]:.1f}; s of processor are for 1,000 readings")
    print("| database | signatures | readings | batches/s | readings/s | s taker | s broker |\n" + "|---" * 7 + "|")
    good = True
    for database in options.databases:
        for kind in KINDS * options.times:
            try:
                figures, held = measured(database, kind, options)
            except GroundError as error:
                print(f"bench ingest: {error}", file=sys.stderr)
                return 1
            good &= held
            print(f"| {database} | {kind} | {figures.cells} |{'' if held else ' NOT ALL HELD'}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0 if good else 1


def measured(database: str, kind: str, options: argparse.Namespace) -> tuple[Figures, bool]:
    """And whether the database held exactly what was sent."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ground(Path(folder), options.gateways, broker="mosquitto", database=database) as made,
    ):
        missed: dict[int, Missed] = {}
        batches: list[list[bytes]] = []
        promises: dict[str, tuple[int, bytes]] = {}
        for member in made.members:
            center = member.gateway.center
            if center.seats not in missed:
                missed[center.seats] = Missed.by(center, round(options.hours * 60), now_ms() - 600_000)
            backlog = Backlog(missed[center.seats], member.gateway)
            promises[member.gateway.spool] = (member.gateway.next_seq - 1, member.gateway.chain)
            batches.append(sealed(member.gateway, backlog))
        readings = sum(last for last, _ in promises.values())
        figures = asyncio.run(taken(made, kind, batches, readings))
        held = kind == "bare" or check(made.settings.database_url, promises).good
    return figures, held


def sealed(gateway: Gateway, backlog: Backlog) -> list[bytes]:
    """All of a gateway's batches, as it would send them if each were receipted."""
    found = []
    backlog.fill(gateway)
    while (payload := gateway.next_batch(now_ms(), 0.0)) is not None and gateway.flying is not None:
        found.append(payload)
        gateway.waiting = [kept for kept in gateway.waiting if kept.seq > gateway.flying[1]]
        gateway.flying = None
        backlog.fill(gateway)
    return found


async def taken(made: Ground, kind: str, batches: Sequence[Sequence[bytes]], readings: int) -> Figures:
    """Every session in first, then the taker, then everybody's next batch in turn."""
    sessions = [await _session(made, member) for member in made.members]
    tasks = [asyncio.create_task(session.run()) for session in sessions]
    count = sum(map(len, batches))
    words = ["-m", "bench.fleet.taker", kind, str(made.config), str(count if kind == "bare" else readings)]
    taker = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.PIPE, cwd=ROOT)
    if taker.stdout is None or not await taker.stdout.readline():
        raise GroundError("the taker does not start")
    before = cost(made.processes["broker"].pid).cpu_s
    for turn in range(max(map(len, batches))):
        for session, member, own in zip(sessions, made.members, batches, strict=True):
            if turn < len(own):
                session.publish(wire.batch_topic(member.gateway.device), own[turn])
        await asyncio.sleep(0)
    figures = json.loads((await taker.communicate())[0])
    broker_s = cost(made.processes["broker"].pid).cpu_s - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for session in sessions:
        await session.close()
    return Figures(count, readings, figures["wall_s"], figures["cpu_s"], broker_s)


async def _session(made: Ground, member: Member) -> Session:
    device = member.gateway.device
    session = Session(device, lambda _topic, _payload: None)
    await session.connect("127.0.0.1", made.tls, member.context(), [wire.receipt_topic(device)], 60)
    return session
