"""What taking a gateway's minute costs: ours beside Zabbix and VictoriaMetrics (Debian packages), in turn in one run.

Each gets the same number of reports, one a message, of as many values as a live batch of 20 seats has. Ours come signed
over MQTT and TLS through Mosquitto and end in PostgreSQL, judged and receipted; Zabbix's over its trapper's port end in
a PostgreSQL of their own, without triggers; VictoriaMetrics' over HTTP end in its files, which it syncs later. Senders
are not counted. Counted is the processor time of broker, taker and database, from the first report until all are held.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import msgspec

from bench.fleet.ingest import taken
from bench.fleet.live import SEATS, signed
from bench.ground.processes import GroundError, cost, now_ms
from bench.ground.returning import round_of
from bench.ground.whole import ground
from bench.peers.contenders import Report, Spent, needed, victoria, zabbix
from collector.commands.simulation.fleet import make_fleet
from collector.commands.simulation.readings import MINUTE_MS

NOT_VALUES = ("at", "kind", "subject")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gateways", type=int, default=100, metavar="N", help="who send (default 100)")
    parser.add_argument("--minutes", type=int, default=20, metavar="N", help="reports of each (default 20)")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="how often each (default 1)")


def run(options: argparse.Namespace) -> int:
    values = _values()
    report = Report(options.gateways, options.minutes, values)
    contenders = {
        "ours": partial(_ours, options),
        "Zabbix": partial(zabbix, report),
        "VictoriaMetrics": partial(victoria, report),
    }
    print(f"load {os.getloadavg()[0]:.1f}; reports of {values} values; ms of processor are for one report")
    print("| | reports | reports/s | values/s | ms all in | of it the database | ms for 1,000 values |")
    print("|---" * 7 + "|")
    try:
        needed()
        for name, play in [*contenders.items()] * options.times:
            print(f"| {name} | {play().cells(values)} |", flush=True)
    except GroundError as error:
        print(f"bench peers: {error}", file=sys.stderr)
        return 1
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def _ours(options: argparse.Namespace) -> Spent:
    with (
        tempfile.TemporaryDirectory() as folder,
        ground(Path(folder), options.gateways, broker="mosquitto", database="postgresql") as made,
    ):
        begins_ms = now_ms()
        for member in made.members:
            member.gateway.center = dataclasses.replace(member.gateway.center, seats=SEATS)
        times = [begins_ms + number * 1_000 for number in range(options.minutes)]  # all of them live
        batches = [
            [message.payload for at_ms in times for message in signed([member.gateway], [at_ms], begins_ms - MINUTE_MS)]
            for member in made.members
        ]
        readings = sum(member.gateway.next_seq - 1 for member in made.members)
        before_s = cost(made.processes["database"].pid).cpu_s
        figures = asyncio.run(taken(made, "signed", batches, readings))
        database_s = cost(made.processes["database"].pid).cpu_s - before_s
        return Spent(figures.batches, figures.wall_s, figures.cpu_s + figures.broker_s + database_s, database_s)


def _values() -> int:
    """Of one report: what a reading says besides its time and name."""
    center = dataclasses.replace(make_fleet(1, 1)[0], seats=SEATS)
    raws = round_of(center, now_ms(), now_ms() - MINUTE_MS)
    found = (msgspec.json.decode(raw, type=dict[str, object]) for raw in raws)
    return sum(_leaves({name: value for name, value in one.items() if name not in NOT_VALUES}) for one in found)


def _leaves(value: object) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    if isinstance(value, list):
        return sum(map(_leaves, value))
    return value is not None and value != ""
