"""Seconds from a reading that crosses a bound to the call of a channel: over TLS, the broker, ingest, the incident and
the outbox of a real collector, idle or while other gateways report.

One gateway after the other tells of an empty battery and then of the mains. The channel is a web hook of this process;
a second one may hang: it takes connections and never answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import sqlalchemy as sa

from agent import wire
from bench.fleet.ground import DATABASES, Ground, GroundError, Member, ground, now_ms
from bench.fleet.session import Session, SessionEnded
from collector.simulate.gateway import Gateway
from collector.store import Store, schema

WAIT_S = 30.0
CODE = schema.centers.c.center
ALONE = dict.fromkeys(("feeder", "isp", "district"), CODE)  # else the ninth waits for its neighbours' company
Connected = tuple[Member, Session, asyncio.Task[None]]
HOOK = '[[alerts.channels]]\nname = "{name}"\nurl = "json://127.0.0.1:{port}/"\nlanguages = ["en"]\n'


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trials", type=int, default=30, metavar="N", help="gateways that cross one by one (default 30)"
    )
    parser.add_argument("--load", type=float, default=0.0, metavar="R", help="batches a second of others meanwhile")
    parser.add_argument("--others", type=int, default=50, metavar="N", help="gateways that make the load (default 50)")
    parser.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
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
    with ground(folder, count, database=options.database) as made, socket.create_server(("127.0.0.1", 0)) as deaf:
        channels = HOOK.format(name="desk", port=hook.port)
        channels += HOOK.format(name="sms", port=deaf.getsockname()[1]) if options.hung else ""
        with made.config.open("a") as file:
            file.write(channels)
        with closing(Store.open(made.settings.database_url)) as store, store.write() as conn:
            conn.execute(sa.update(schema.centers).values(opening="always", **ALONE))
        made.serve()
        others = [await _connected(made, member) for member in made.members[options.trials :]]
        load = asyncio.create_task(_load(others, options.load)) if others else None
        took_s = [await _trial(made, member, hook) for member in made.members[: options.trials]]
        if load:
            load.cancel()
    found = sorted(item for item in took_s if item is not None)
    sys.stdout.write(_report(found, options) + "\n")
    return 0 if len(found) == options.trials else 1


def _report(found: list[float], options: argparse.Namespace) -> str:
    if not found:
        return "no message arrived"
    p99 = found[min(len(found) - 1, int(0.99 * len(found)))]
    about = f"{options.database}, {options.load:g} batches/s of others" + (", one channel hangs" * options.hung)
    return (
        f"crossing to channel ({about}): median {statistics.median(found):.3f} s, p99 {p99:.3f} s, "
        f"longest {found[-1]:.3f} s, n = {len(found)} of {options.trials}"
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
    await _until(lambda: not gateway.waiting)
    _send(gateway, session, *(_ups("online", now_ms() - back_ms) for back_ms in (90_000, 45_000, 1_000, 0)))
    await _until(lambda: hook.count(name) > 1, 3.0)
    await session.close()
    return took_s


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


async def _load(others: list[Connected], rate: float) -> None:
    """So many batches a second, a reading each, of gateways in turn."""
    while True:
        for member, session, _task in others:
            _send(member.gateway, session, _ups("online", now_ms()))
            await asyncio.sleep(1 / rate)
