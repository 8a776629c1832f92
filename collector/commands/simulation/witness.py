"""The simulated measurement server: it joins, signs and reports as a real one; only what it saw is made up.

Turns are written as rows by the code's own tables instead of being asked for: a demonstration tests far more often
than a gateway may ask, and the pacer must send no real gateway here (a server with no places gets no turns).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.errors import describe
from agent.wire import SpeedReading
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.identities import FleetError, private
from collector.commands.simulation.join import TIMEOUT_S, ask
from collector.commands.simulation.trouble import What
from collector.speedtests import servers
from collector.speedtests.measure.record import Record, RecordedDirection, encode
from collector.store import UNAVAILABLE, Store, schema

URL = "http://simulated.invalid"  # a name that by RFC 2606 nobody has
FILE = "server.json"
HOUR_MS = 3_600_000
SECONDS, START_MS = 4.0, 600  # of one direction; from the test's start to its first byte
PAUSE_S = 0.5
# Opened for each look: a fleet is a guest, and keeps no database open whose server side goes away under it.
Database = Callable[[], AbstractContextManager[Store]]
CHEATS: tuple[What, ...] = ("forged_speed", "replayed_test", "inflated_speed")


@dataclass(frozen=True, kw_only=True)
class Test:
    """One test as it was: whose, and at what rates (Mbit/s). `seen` is false for one that never reached a server."""

    id: str
    center: str
    device: str
    down_mbps: float
    up_mbps: float
    rtt_ms: float
    seen: bool


@dataclass
class SimulatedServer:
    """`waiting` are tests that are over and not reported yet; `last` is each gateway's newest test id."""

    name: str
    key: Ed25519PrivateKey
    collector: str
    database: Database
    waiting: list[Test] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    reported: int = 0

    def test(self, gateway: Gateway, reading: SpeedReading, at_ms: int, cheat: What | None) -> SpeedReading:
        """The reading that the gateway sends of a test at this server; a cheat's is not what the server saw."""
        if cheat == "replayed_test" and gateway.device in self.last:
            return msgspec.structs.replace(reading, server=URL, test_id=self.last[gateway.device])
        name = hashlib.sha256(f"{gateway.device}:{gateway.spool}:{at_ms}".encode()).hexdigest()[:32]
        self.waiting.append(
            Test(
                id=name,
                center=gateway.center.code,
                device=gateway.device,
                down_mbps=reading.download_mbps or 0.0,
                up_mbps=reading.upload_mbps or 0.0,
                rtt_ms=gateway.center.rtt_ms,
                seen=cheat != "forged_speed",
            )
        )
        self.last[gateway.device] = name
        return msgspec.structs.replace(inflated(reading) if cheat else reading, server=URL, test_id=name)

    async def run(self, tell: Callable[[str], None]) -> None:
        """Reports until cancelled. A collector that is away gets it all when it is back."""
        while True:
            try:
                await asyncio.to_thread(self.report)
            except (OSError, *UNAVAILABLE) as error:
                tell(f"the simulated measurement server waits for its collector: {describe(error)[:80]}")
            await asyncio.sleep(PAUSE_S)

    def report(self) -> None:
        """Turns for what waits, then its records. Raises OSError or one of UNAVAILABLE; what was done stays done."""
        tests = self.waiting[:500]
        if not tests:
            return
        with self.database() as store, store.write() as conn:
            held = set(conn.scalars(sa.select(_g.test_id).where(_g.test_id.in_([test.id for test in tests]))))
            if rows := [self._turn(test) for test in tests if test.id not in held]:
                conn.execute(sa.insert(schema.grants), rows)
        for test in tests:
            if test.seen:
                self._send(encode(self._record(test), self.key.sign))
                self.reported += 1
            self.waiting.remove(test)

    def _turn(self, test: Test) -> dict[str, object]:
        now_ms = _now_ms()
        times = {"asked_ms": now_ms, "granted_ms": now_ms, "closed_ms": now_ms, "expires_ms": now_ms + HOUR_MS}
        who = {"test_id": test.id, "center": test.center, "device": test.device, "server": self.name}
        return {**who, **times, "purpose": "routine", "state": "done", "reason": "simulated"}

    def _record(self, test: Test) -> Record:
        dice = random.Random(test.id)
        down, up = (way(mbps * dice.uniform(0.995, 1.005)) for mbps in (test.down_mbps, test.up_mbps))
        return Record(
            test=test.id,
            server=self.name,
            device=test.device,
            address="203.0.113.1",  # RFC 5737: of documents, nobody's
            started_ms=_now_ms(),
            seconds=2 * SECONDS + 1,
            end="idle",
            witnessed=True,
            connections=6,
            min_rtt_ms=test.rtt_ms,
            down=down,
            up=up,
        )

    def _send(self, sealed: bytes) -> None:
        request = urllib.request.Request(f"{self.collector.rstrip('/')}/api/v1/records", sealed)  # noqa: S310
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - the scheme is checked by the command
            return


def inflated(reading: SpeedReading) -> SpeedReading:
    """The same test on a line two and a half times as fast."""
    names = ("download_mbps", "upload_mbps", "capacity_down_mbps", "capacity_up_mbps")
    figures = {name: round(value * 2.5, 2) for name in names if (value := getattr(reading, name)) is not None}
    return msgspec.structs.replace(reading, **figures)


def way(mbps: float) -> RecordedDirection:
    at_ms = [START_MS + 100 * i for i in range(int(SECONDS * 10) + 1)]
    total = [round(mbps * 1e5 / 8 * i) for i in range(len(at_ms))]
    return RecordedDirection(bytes=total[-1], at_ms=at_ms, total=total)


def joined(url: str, folder: Path, database: Database, name: str) -> SimulatedServer:
    """The server of this fleet, joined now if it has not been. Raises FleetError."""
    path = folder / FILE
    if path.exists():
        try:
            row = json.loads(path.read_text())
            key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(row["key"]))
            return SimulatedServer(str(row["name"]), key, url, database)
        except (ValueError, KeyError, TypeError):
            raise FleetError(f"{path}: not a measurement server; remove it to join with another --seed") from None
    key = Ed25519PrivateKey.generate()
    try:
        with database() as store, store.write() as conn:
            token = servers.add(conn, name, URL, 0, "simulated", _now_ms())
    except servers.ServerError as error:
        raise FleetError(f"the simulated measurement server: {error}") from None
    proof = key.sign(servers.CONTEXT + token.encode())
    fields: Sequence[tuple[str, bytes]] = (("public_key", key.public_key().public_bytes_raw()), ("proof", proof))
    question = {"token": token} | {field: base64.b64encode(raw).decode() for field, raw in fields}
    answer = ask(f"{url.rstrip('/')}/api/v1/servers/join", question)
    with open(path, "w", opener=private) as file:
        json.dump({"name": answer["name"], "key": key.private_bytes_raw().hex()}, file)
    return SimulatedServer(str(answer["name"]), key, url, database)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_g = schema.grants.c
