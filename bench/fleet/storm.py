"""All gateways come back at once, each with hours of backlog, while measuring goes on: connections, drain, lag, loss.

Each gateway has an MQTT session of its own over TLS 1.3 with its own certificate, its own spool, chain and signatures
(those of `collector.commands.simulation`), and the agent's own decisions: connect timeout, backoff, window, receipts. A
round a minute of link, gateway, UPS and seats, as it was missed and as it goes on. Gateways of one size tell the same
measurements in the backlog, so that the memory of one process is enough. At the end each promise is held against the
database.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import pack, wire
from agent.identity import BrokerEndpoint
from agent.spool.record import Group
from agent.uplink.batch import batch_of
from agent.uplink.broker_client import CONNECT_S
from agent.uplink.endpoints import Endpoints, Failure, failure_of
from agent.uplink.session import ANSWER_OF_SEVERAL_S, SILENT_OF_SEVERAL_S
from agent.uplink.window import Send, backoff_s, failures_after, next_step
from bench.ground import outside
from bench.ground.processes import GroundError, now_ms
from bench.ground.returning import Backlog, Missed, Returning, round_of
from bench.ground.session import Session
from bench.ground.whole import DATABASES, Ground, broker_name, check, costs, ground, heard_before
from collector.commands.simulation.gateway import LIVE_MS, PendingReading, fitting
from collector.commands.simulation.readings import MINUTE_MS

HOUR_MS = 60 * MINUTE_MS
TICK_S = 0.5
SAY_S = 10.0
SETTLE_S = 300.0
LOSSES = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gateways", type=int, default=200, metavar="N", help="how many come back (default 200)")
    parser.add_argument("--hours", type=float, default=1.0, metavar="H", help="of backlog in each (default 1)")
    parser.add_argument("--broker", choices=("embedded", "tended", *outside.PROGRAMS), default="embedded")
    parser.add_argument("--brokers", type=int, default=1, metavar="N", help="so many mosquitto or nats (default 1)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="of ingest (default 1)")
    parser.add_argument("--lose", type=float, metavar="S", help="after so long the first broker is lost")
    parser.add_argument("--how", choices=LOSSES, default="killed", help="default killed; frozen: it falls silent")
    parser.add_argument("--back", type=float, default=60.0, metavar="S", help="it is back so long after (default 60)")
    parser.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
    parser.add_argument(
        "--tls", action=argparse.BooleanOptionalAction, default=True, help="of the collector's own broker"
    )
    parser.add_argument("--spread", type=float, default=0.0, metavar="S", help="they come within so long (default 0)")
    parser.add_argument("--least", type=float, default=90.0, metavar="S", help="goes on so long at least (default 90)")
    parser.add_argument("--minutes", type=float, default=60.0, metavar="M", help="give up after so long (default 60)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave logs and database there")


def run(options: argparse.Namespace) -> int:
    is_outside = options.broker in outside.PROGRAMS
    if is_outside and not options.tls:
        print("bench storm: its listener is TLS; leave --no-tls out", file=sys.stderr)
        return 2
    if not is_outside and (options.brokers > 1 or options.lose is not None):
        print("bench storm: --brokers and --lose are of --broker mosquitto and nats", file=sys.stderr)
        return 2
    logging.getLogger("agent").setLevel(logging.ERROR)  # thousands that say which broker they try next
    signal.signal(signal.SIGTERM, lambda *_said: sys.exit(1))  # through every `finally`: nothing is left running
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        try:
            since_ms = now_ms() - round(options.hours * 60) * MINUTE_MS
            with ground(
                place,
                options.gateways,
                broker=options.broker,
                brokers=options.brokers,
                workers=options.workers,
                database=options.database,
                at_ms=since_ms - HOUR_MS,
            ) as made:
                heard_before(made.settings.database_url, [member.gateway for member in made.members], since_ms)
                return _stormed(made, options)
        except GroundError as error:
            print(f"bench storm: {error}", file=sys.stderr)
            return 1


def _stormed(made: Ground, options: argparse.Namespace) -> int:
    storm = Storm(made, options)
    promised = sum(item.gateway.next_seq - 1 for item in storm.returning)
    print(
        f"{options.gateways} gateways, {options.hours:g} h of backlog each, {promised} readings; {options.brokers} "
        f"{options.broker}, {options.workers} of ingest, {options.database}, {'TLS 1.3' if options.tls else 'no TLS'}; "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    made.serve()
    asyncio.run(storm.run())
    return storm.tell()


class Storm:
    def __init__(self, made: Ground, options: argparse.Namespace) -> None:
        self._made, self._options = made, options
        self._key = Ed25519PublicKey.from_public_bytes(made.collector_key)
        ports = made.doors if options.tls else [made.settings.broker_address[1]]
        # Machines of their own, as far as gateways know.
        self._ways = [BrokerEndpoint(host=f"n{port}", port=port, tls=options.tls) for port in ports]
        self._boot_ms = now_ms() - 60 * MINUTE_MS
        rounds, until_ms = round(options.hours * 60), now_ms()
        missed: dict[int, Missed] = {}
        self.returning: list[Returning] = []
        for member in made.members:
            center = member.gateway.center
            if center.seats not in missed:
                missed[center.seats] = Missed.by(center, rounds, until_ms)
            backlog = Backlog(missed[center.seats], member.gateway)
            ways = self._ways[len(self.returning) % len(self._ways) :] + self._ways
            self.returning.append(Returning(member=member, backlog=backlog, brokers=Endpoints(ways[: len(self._ways)])))
        self._by_device = {item.gateway.device: item for item in self.returning}
        self.receipted = self.paced = self.bad = self.batches = self.again = 0
        self.sent_bytes = 0
        self.most_pace_ms = self._pace_ms = 0  # of all receipts, of those since the last line
        self._lags_s: list[float] = []
        self.measuring = True
        self.began_s = self.ended_s = 0.0
        self.lost_s: float | None = None  # when the first broker was
        self.is_back = False  # and it came again
        self.peak: dict[str, int] = {}
        self.cpu_s: dict[str, float] = {}

    # ------------------------------------------------------------ the play

    async def run(self) -> None:
        self.began_s = time.monotonic()
        before = {name: cost.cpu_s for name, cost in costs(self._made).items()}
        chance = random.Random(1)
        tasks = [
            asyncio.create_task(self._come(item, chance.uniform(0, self._options.spread))) for item in self.returning
        ]
        for item in self.returning:
            item.measured_s = self.began_s + item.gateway.center.phase * MINUTE_MS / 1000
        await self._watch(before)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, before: dict[str, float]) -> None:
        """Until all is drained and settled, or the time is up. Says how it goes."""
        said_s, stop_s = self.began_s, self.began_s + self._options.minutes * 60
        print("|  s | sessions | backlog | receipts/s | live lag p50/p99 s | pace s |\n" + "|---" * 6 + "|")
        last = 0
        while True:
            now_s = time.monotonic()
            self._strike(now_s)
            for item in self.returning:
                self._measure(item, now_s)
                self._pump(item, now_s)
            if now_s - said_s >= SAY_S:
                self._say(now_s, (self.receipted - last) / (now_s - said_s))
                said_s, last = now_s, self.receipted
                self._spent(before)
            drained = all(item.drained_s is not None for item in self.returning)
            if self.measuring and ((drained and now_s - self.began_s > self._options.least) or now_s > stop_s):
                self.measuring, stop_s = False, now_s + SETTLE_S
            if not self.measuring and (not any(item.gateway.waiting for item in self.returning) or now_s > stop_s):
                break
            await asyncio.sleep(TICK_S)
        self.ended_s = time.monotonic()
        self._spent(before)

    def _strike(self, now_s: float) -> None:
        """The first broker is lost when its time has come, and comes back."""
        options, since_s = self._options, now_s - self.began_s
        if options.lose is None or self.is_back:
            return
        process = self._made.processes[broker_name(0)]
        if self.lost_s is None and since_s > options.lose:
            self.lost_s = now_s
            for item in self.returning:
                item.was_lost = item.session is not None and item.session.up and item.brokers.current == self._ways[0]
            process.send_signal(LOSSES[options.how])
        elif self.lost_s is not None and since_s > options.lose + options.back:
            self.is_back = True
            if options.how == "frozen":
                process.send_signal(signal.SIGCONT)
            else:
                process.wait()
                self._made.start_broker(0)

    def _spent(self, before: dict[str, float]) -> None:
        for name, spent in costs(self._made).items():
            self.cpu_s[name] = spent.cpu_s - before.get(name, 0.0)
            self.peak[name] = max(self.peak.get(name, 0), spent.rss_bytes)

    def _say(self, now_s: float, rate: float) -> None:
        """One line of how it goes: lags and pauses of the readings and receipts since the last line."""
        lags, self._lags_s = sorted(self._lags_s), []
        pace_s, self._pace_ms = self._pace_ms / 1000, 0
        up = sum(1 for item in self.returning if item.session is not None and item.session.up)
        backlog = sum(item.backlogged for item in self.returning)
        lag = f"{_at(lags, 0.5):.1f}/{_at(lags, 0.99):.1f}" if lags else "-"
        print(f"| {now_s - self.began_s:.0f} | {up} | {backlog} | {rate:.0f} | {lag} | {pace_s:.1f} |", flush=True)

    async def _come(self, client: Returning, wait_s: float) -> None:
        """The agent's own way back, over and over: connect, carry, back off by full jitter."""
        failures = 0
        await asyncio.sleep(wait_s)
        while True:
            device = client.gateway.device
            session = Session(device, partial(self._receive, client))
            began_s, connected_s, way = time.monotonic(), None, client.brokers.current
            failure: Failure = "other"
            client.proven = False
            try:
                context = client.member.context() if self._options.tls else None
                client.tried += 1
                topics = (wire.receipt_topic(device), wire.task_topic(device))
                answer_s = ANSWER_OF_SEVERAL_S if client.brokers.are_several else None
                await session.connect("127.0.0.1", way.port, context, topics, CONNECT_S, answer_s)
                connected_s = time.monotonic()
                client.connect_s.append(connected_s - began_s)
                client.session, client.since_s, client.packs = session, connected_s, False
                client.first_s = client.first_s or connected_s
                self._pump(client, connected_s)
                await session.run()
            except OSError as error:
                client.refused += 1
                failure = failure_of(error, client.silent_s)
            finally:
                client.session = None
                client.flights.begin()
                await session.close()
            lasted_s = None if connected_s is None else time.monotonic() - connected_s
            failures = failures_after(failures, lasted_s)
            if failure == "silent" or (failures and not client.proven):
                client.brokers.failed(failure)
            await asyncio.sleep(backoff_s(failures, random.random(), len(client.brokers)))

    def _measure(self, client: Returning, now_s: float) -> None:
        if self.measuring and now_s >= client.measured_s:
            at_ms = now_ms()
            for raw in round_of(client.gateway.center, at_ms, self._boot_ms):
                kept = PendingReading(client.gateway.next_seq, at_ms, raw, client.gateway.chain)
                client.gateway.waiting.append(kept)
                client.gateway.chain = wire.chain(client.gateway.chain, [raw])
                client.gateway.next_seq += 1
                client.live[kept.seq] = now_s
            client.measured_s += MINUTE_MS / 1000

    def _pump(self, client: Returning, now_s: float) -> None:
        if client.session is None or not client.session.up:
            return
        if client.brokers.are_several and client.silent_s > SILENT_OF_SEVERAL_S:
            client.session.drop()
            return
        if overdue := client.flights.overdue(now_s):
            self.again += len(overdue)
            client.packs = False
        flow = client.flights.flow
        if len(client.flights) >= flow.window or (now_s < flow.paced_until_s and not client.has_news):
            return  # thousands are asked twice a second: what is certain anyhow must cost nothing
        client.backlog.fill(client.gateway)
        while isinstance(step := self._step(client, now_s), Send):
            self._send(client, step, now_s)

    def _step(self, client: Returning, now_s: float) -> object:
        """The agent's own decision."""
        flying, since_ms = [flight.key[1:] for flight in client.flights], now_ms() - LIVE_MS
        idle = [kept for kept in client.gateway.waiting if not any(low <= kept.seq <= high for low, high in flying)]
        fresh = _group(client, [kept for kept in idle if kept.at_ms > since_ms])
        backlog = _group(client, [kept for kept in idle if kept.at_ms <= since_ms])
        return next_step(client.flights.flow, list(client.flights), fresh, backlog, now_s)

    def _send(self, client: Returning, step: Send, now_s: float) -> None:
        device, live = client.gateway.device, step.reason == "live"
        body = batch_of(step.groups, device=device, nonce=client.gateway.nonce, live=live)
        client.flights.sent(step, now_s)
        self.batches += 1
        if client.session is not None:
            sign = client.gateway.key.sign
            payload = pack.pack(body, sign(body)) if client.packs else wire.seal(body, sign)
            self.sent_bytes += len(payload)
            client.session.publish(wire.batch_topic(device), payload)

    def _receive(self, client: Returning, _topic: str, payload: bytes) -> None:
        try:
            body, signature = wire.unseal(payload, wire.MAX_SMALL_BYTES)
            self._key.verify(signature, body)
            receipt = wire.decode_receipt(body)
        except (wire.WireError, InvalidSignature):
            self.bad += 1
            return
        now_s, before = time.monotonic(), len(client.gateway.waiting)
        key = (receipt.spool, receipt.first_seq, receipt.last_seq)
        flight = client.flights.receipted(key, receipt.pace_ms / 1000, now_s)
        if client.gateway.take_receipt(receipt, now_s) != "receipted":
            return
        self.receipted += before - len(client.gateway.waiting)
        self.paced += receipt.pace_ms > 0
        self._pace_ms = max(self._pace_ms, receipt.pace_ms)
        self.most_pace_ms = max(self.most_pace_ms, receipt.pace_ms)
        client.packs = receipt.packing >= pack.FORMAT
        if flight is not None:
            client.flights.done(flight)
        self._note(client, receipt, now_s)
        self._pump(client, now_s)

    def _note(self, client: Returning, receipt: wire.Receipt, now_s: float) -> None:
        came_s = client.since_s or now_s
        client.proven = True
        client.brokers.worked()
        if receipt.last_seq >= client.backlog.newest and client.seen_s is None:
            client.seen_s = now_s - (client.first_s or now_s)
        for seq in [seq for seq in client.live if receipt.first_seq <= seq <= receipt.last_seq]:
            if self.lost_s is not None and client.again_s is None and client.live[seq] > self.lost_s:
                client.again_s = now_s - client.live[seq]
            client.lags_s.append(now_s - max(client.live.pop(seq), came_s))
            self._lags_s.append(client.lags_s[-1])
        if client.drained_s is None and not client.backlogged:
            client.drained_s = now_s

    # ------------------------------------------------------------ what came of it

    def tell(self) -> int:
        promises = {item.gateway.spool: (item.gateway.next_seq - 1, item.gateway.chain) for item in self.returning}
        held = check(self._made.settings.database_url, promises)
        waits = sorted(wait for item in self.returning for wait in item.connect_s)
        come = sorted(item.first_s - self.began_s for item in self.returning if item.first_s)
        seen = sorted(item.seen_s for item in self.returning if item.seen_s is not None)
        lags = sorted(lag for item in self.returning for lag in item.lags_s)
        drained = [item.drained_s - self.began_s for item in self.returning if item.drained_s]
        all_s = self.ended_s - self.began_s
        print(
            f"\nsessions: {len(come)} of {len(self.returning)} came, the last after {max(come, default=0):.1f} s; "
            f"{sum(item.tried for item in self.returning)} attempts, {sum(item.refused for item in self.returning)} "
            f"ended; wait for a connect {_three(waits)} s (given up after {CONNECT_S:.0f})"
        )
        print(
            f"backlog: drained by {len(drained)}, the last after {max(drained, default=0) / 60:.1f} min; "
            f"{self.receipted / all_s:.0f} readings/s and {self.batches / all_s:.1f} batches/s over all, "
            f"{self.sent_bytes / max(1, self.receipted):.0f} bytes a reading"
        )
        print(f"newest state receipted after coming: {_three(seen)} s; live lag: {_three(lags)} s, n {len(lags)}")
        if self.lost_s is not None:
            of = [item for item in self.returning if item.was_lost]
            again = sorted(item.again_s for item in of if item.again_s is not None)
            first = f"the first measured afterwards waited {_three(again)} s for its receipt, n {len(again)}"
            print(f"a broker was {self._options.how}: {len(of)} were there; {first}")
        most_s = self.most_pace_ms / 1000
        print(
            f"pace: asked for in {self.paced} receipts, at most {most_s:.1f} s; sent again: {self.again}; "
            f"receipts not ours: {self.bad}"
        )
        for name, spent in self.cpu_s.items():
            print(
                f"{name}: {spent:.1f} s of processor, {1000 * spent / max(1, held.held):.3f} s per 1,000 readings, "
                f"at most {self.peak[name] / 2**20:.0f} MiB"
            )
        print(f"check: {held}; load {os.getloadavg()[0]:.1f}")
        return 0 if held.good else 1


def _group(client: Returning, run: Sequence[PendingReading]) -> list[Group]:
    """The first of these readings that fit into a batch, as the agent's spool would give them out."""
    fit = fitting(run)
    if not fit:
        return []
    raws = tuple(kept.raw for kept in fit)
    first = fit[0]
    spool = client.gateway.spool
    return [Group(spool=spool, first_seq=first.seq, value="low", wall_ms=fit[-1].at_ms, prev=first.before, raws=raws)]


def _at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _three(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"median {statistics.median(values):.1f}, p99 {_at(values, 0.99):.1f}, worst {max(values):.1f}"
