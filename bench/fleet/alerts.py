"""Seconds from a reading that crosses a bound to the call of a channel: over TLS, the broker, ingest, the incident and
the outbox of a real collector, idle or while other gateways report.

One gateway after the other tells of an empty battery, each a fault of its own: so many more centers are registered
that the few in trouble are no share of a group that a message would wait for; these are dated as heard every minute.
The others' batches are whole minutes of four readings. The channel is a web hook of this process; a second one may
hang: it takes connections and never answers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import sqlalchemy as sa

from agent import wire
from bench.ground.processes import GroundError, now_ms
from bench.ground.returning import round_of
from bench.ground.session import Session, SessionEnded
from bench.ground.whole import DATABASES, Ground, Member, ground
from collector.commands.simulation.fleet import make_fleet
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.register import register
from collector.store import Store, schema, upsert

WAIT_S = 30.0
CODE = schema.centers.c.center
ALONE = dict.fromkeys(("feeder", "isp", "district", "province"), CODE)
HOUR_MS = 3_600_000
LEAST = 20  # registered centers for each that crosses: so few of the country are no company
Connected = tuple[Member, Session, asyncio.Task[None]]
HOOK = '[[alerts.channels]]\nname = "{name}"\nurl = "json://127.0.0.1:{port}/"\nlanguages = ["en"]\n'


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trials", type=int, default=30, metavar="N", help="gateways that cross one by one (default 30)"
    )
    parser.add_argument("--registered", type=int, default=1000, metavar="N", help="centers of the register, at least")
    parser.add_argument("--load", type=float, default=0.0, metavar="R", help="batches a second of others meanwhile")
    parser.add_argument("--others", type=int, default=200, metavar="N", help="gateways that make it (default 200)")
    parser.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
    parser.add_argument("--broker", choices=("embedded", "tended"), default="embedded")
    parser.add_argument("--hung", action="store_true", help="a second channel never answers")


def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="nabz-bench-") as folder:
        try:
            return asyncio.run(_run(options, Path(folder)))
        except GroundError as error:
            sys.stderr.write(f"{error}\n")
            return 1


class Hook:
    """The web hook: when each title arrived."""

    def __init__(self) -> None:
        self.arrived_s: dict[str, float] = {}
        arrived_s = self.arrived_s

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                arrived_s.setdefault(body["title"], time.monotonic())
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def count(self, name: str) -> int:
        """Messages about a center."""
        return sum(title.startswith(f"{name}:") for title in [*self.arrived_s])

    def first_s(self, name: str) -> float:
        return min(at_s for title, at_s in [*self.arrived_s.items()] if title.startswith(f"{name}:"))


async def _run(options: argparse.Namespace, folder: Path) -> int:
    count = options.trials + (options.others if options.load else 0)
    hook = Hook()
    parts = ground(folder, count, broker=options.broker, database=options.database, at_ms=now_ms() - HOUR_MS)
    with parts as made, socket.create_server(("127.0.0.1", 0)) as deaf:
        channels = HOOK.format(name="desk", port=hook.port)
        channels += HOOK.format(name="sms", port=deaf.getsockname()[1]) if options.hung else ""
        with made.config.open("a") as file:
            file.write(channels)
        _register(made, max(options.registered, count, LEAST * options.trials))
        made.serve()
        load = Load([await _connected(made, member) for member in made.members[options.trials :]], options.load)
        tasks = [asyncio.create_task(_hear(made))] + ([asyncio.create_task(load.run())] if load.others else [])
        took_s = [await _trial(made, member, hook) for member in made.members[: options.trials]]
        for task in tasks:
            task.cancel()
    found = sorted(item for item in took_s if item is not None)
    sys.stdout.write(_report(found, options, load) + "\n")
    return 0 if len(found) == options.trials else 1


def _register(made: Ground, whole: int) -> None:
    """So many centers in all."""
    fleet = make_fleet(whole, 1)[len(made.members) :]
    with closing(Store.open(made.settings.database_url)) as store:
        if fleet:
            register(store, fleet, now_ms())
        heard = {"device": "elsewhere", "first_ms": now_ms(), "heard_ms": now_ms(), "due_ms": now_ms() + HOUR_MS}
        with store.write() as conn:
            conn.execute(sa.update(schema.centers).values(opening="always", **ALONE))
            upsert(conn, schema.pulse, [{"center": center.code, **heard} for center in fleet])


async def _hear(made: Ground) -> None:
    """Those without a gateway here are dated as heard."""
    elsewhere = sa.update(schema.pulse).where(schema.pulse.c.device == "elsewhere")
    with closing(Store.open(made.settings.database_url)) as store:
        while True:
            with store.write(beside=True) as conn:
                conn.execute(elsewhere.values(heard_ms=now_ms(), due_ms=now_ms() + HOUR_MS))
            await asyncio.sleep(60)


def _report(found: list[float], options: argparse.Namespace, load: Load) -> str:
    if not found:
        return "no message arrived"
    p99 = found[min(len(found) - 1, int(0.99 * len(found)))]
    about = f"{options.database}, {load.rate:.0f} batches/s of others" + (", one channel hangs" * options.hung)
    return (
        f"crossing to channel ({about}): median {statistics.median(found):.3f} s, p99 {p99:.3f} s, "
        f"longest {found[-1]:.3f} s, n = {len(found)} of {options.trials}; load {os.getloadavg()[0]:.1f}"
    )


async def _connected(made: Ground, member: Member) -> Connected:
    def deliver(topic: str, payload: bytes) -> None:
        if topic == wire.receipt_topic(member.gateway.device):
            body, _signature = wire.unseal(payload, wire.MAX_SMALL_BYTES)
            member.gateway.take_receipt(wire.decode_receipt(body), time.monotonic())

    session = Session(member.gateway.device, deliver)
    topics = (wire.receipt_topic(member.gateway.device),)
    await session.connect("127.0.0.1", made.tls, member.context(), topics, WAIT_S)
    return member, session, asyncio.create_task(_kept(session))


async def _kept(session: Session) -> None:
    """Until the broker or we end it."""
    with suppress(OSError, SessionEnded):
        await session.run()


async def _trial(made: Ground, member: Member, hook: Hook) -> float | None:
    """Seconds from the batch that crosses to the channel's call; None if it was never called."""
    _, session, _task = await _connected(made, member)
    gateway, name = member.gateway, member.gateway.center.name
    _send(gateway, session, *(_ups("online", at_ms) for at_ms in (now_ms() - 110_000,)))
    await _until(lambda: not gateway.waiting)
    began_s = time.monotonic()
    _send(gateway, session, *(_ups("battery", now_ms() - back_ms) for back_ms in (100_000, 99_000)))
    took_s = hook.first_s(name) - began_s if await _until(partial(hook.count, name)) else None
    await session.close()
    _forget_told(made)
    return took_s


def _forget_told(made: Ground) -> None:
    """Dates what people were told of an hour back: else the brake on storms makes one summary of the trials."""
    queued = schema.incident_events.c.queued_ms
    with closing(Store.open(made.settings.database_url)) as store, store.write(beside=True) as conn:
        conn.execute(sa.update(schema.incident_events).where(queued > HOUR_MS).values(queued_ms=queued - HOUR_MS))


def _ups(state: str, at_ms: int) -> wire.Reading:
    at = wire.Stamp(wall_ms=at_ms, mono_ms=at_ms % 10**9, boot="b", clock="synced")
    is_low = state == "battery"
    return wire.UpsReading(
        at=at, subject="ups", output_state=state, battery_status="low" if is_low else "normal",  # type: ignore[arg-type]
        battery_charge_pct=4.0 if is_low else 99.0, runtime_s=60.0 if is_low else 3600.0,
    )  # fmt: skip


def _send(gateway: Gateway, session: Session, *readings: wire.Reading) -> None:
    for reading in readings:
        gateway.keep(reading, reading.at.wall_ms if reading.at else now_ms())
    body = gateway.next_batch(now_ms(), time.monotonic())
    if body is not None:
        session.publish(wire.batch_topic(gateway.device), body)


async def _until(true: Callable[[], object], longest_s: float = WAIT_S) -> bool:
    until_s = time.monotonic() + longest_s
    while not true():
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(0.005)
    return True


@dataclass
class Load:
    """So many batches a second, a minute's readings each, of gateways in turn; `rate` is what was reached: a gateway
    whose last batch has no receipt yet is passed over."""

    others: list[Connected]
    wanted: float
    sent: int = 0
    began_s: float = 0.0

    @property
    def rate(self) -> float:
        return self.sent / (time.monotonic() - self.began_s) if self.sent else 0.0

    async def run(self) -> None:
        self.began_s = time.monotonic()
        for number, (member, session, _task) in enumerate(itertools.cycle(self.others)):
            await asyncio.sleep(max(0.0, self.began_s + number / self.wanted - time.monotonic()))
            gateway, at_ms = member.gateway, now_ms()
            if not gateway.waiting:
                made = (wire.decode_reading(raw) for raw in round_of(gateway.center, at_ms, at_ms - HOUR_MS))
                _send(gateway, session, *made)
                self.sent += 1
