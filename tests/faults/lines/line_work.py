"""The two ends of a bad line, each in a namespace: ``… server FOLDER HOST`` and ``… gateways FOLDER HOST PORT …``.

The server is a real broker with TLS, the real listener and ingest. Gateways are real uplinks on real spools; whenever
a gateway's state changes it is printed as a JSON line, with the machine's monotonic clock in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agent import identity, wire
from agent.identity import TlsFiles
from agent.spool.queue import Spool
from agent.uplink.session import Uplink
from collector.access.ca import Files
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.endpoints import Address
from collector.brokers.listeners import Listener
from collector.ingest.mqtt.subscriber import Subscriber
from tests.faults.hostile.wire_soak import Desk, Gateway
from tests.faults.makes import SERVICE
from tests.helpers.authority import TestAuthority

TRICKLE_S = 5.0


def files_of(folder: Path, name: str) -> Files:
    return Files(ca=folder / "ca.pem", cert=folder / f"{name}.crt", key=folder / f"{name}.key")


def prepare(folder: Path, count: int, host: str) -> None:
    """Papers and keys of both ends."""
    authority = TestAuthority(folder)
    authority.server(host, "127.0.0.1")
    authority.client(SERVICE)
    collector_key = identity.make_key(folder / "collector")
    desk = Desk(folder / "desk", collector_key)
    for number in range(count):
        key = identity.make_key(folder / f"state{number}")
        gateway = desk.enrol(Gateway(f"L-{number}", key))
        authority.client(gateway.device)
    desk.store.close()


def server(folder: Path, host: str) -> None:
    broker = EmbeddedBroker("127.0.0.1", 0, [Listener(host, 0, "tcp", files_of(folder, "server"))])
    broker.start()
    desk = Desk(folder / "desk", identity.load_key(folder / "collector"))
    address = Address("127.0.0.1", broker.port)
    listener = Subscriber(address, desk.ingest, lambda _moved: None, lambda: time.time_ns() // 1_000_000)
    listener.start()
    assert listener.connected.wait(60)
    print(broker.ports[1], flush=True)
    threading.Event().wait()


def stamp() -> wire.Stamp:
    mono_ms = time.monotonic_ns() // 1_000_000
    return wire.Stamp(wall_ms=time.time_ns() // 1_000_000, mono_ms=mono_ms, boot="b", clock="synced")


@dataclass
class Far:
    number: int
    folder: Path
    host: str
    port: int

    async def live(self, backlog: int, trickles: bool) -> None:
        state = self.folder / f"state{self.number}"
        key, collector_key = identity.make_key(state), identity.make_key(self.folder / "collector")
        device = identity.device_name(key.public_key().public_bytes_raw())
        papers = files_of(self.folder, device)
        mine = identity.Identity(
            device=device,
            center=f"L-{self.number}",
            name="",
            broker_host=self.host,
            broker_port=self.port,
            collector_key=collector_key.public_key().public_bytes_raw(),
            measure_url="",
            enrolled_ms=1,
            brokers=[identity.BrokerEndpoint(self.host, self.port, tls=True)],
            tls=TlsFiles(ca=papers.ca, cert=papers.cert, key=papers.key),
            key=key,
        )
        spool = Spool(state / "spool.db", stamp=stamp)
        now_ms = stamp().wall_ms
        for start in range(0, backlog, 10):
            raws = [self._reading(number) for number in range(start, min(start + 10, backlog))]
            spool.append(raws, "low", now_ms - (backlog - start) * 6_000)
        uplink = Uplink(mine, spool, stamp=stamp, on_task=lambda _task: None)
        running = asyncio.create_task(uplink.run())
        await self._watch(uplink, spool, trickles)
        running.cancel()

    async def _watch(self, uplink: Uplink, spool: Spool, trickles: bool) -> None:
        seen: tuple[str, bool] | None = None
        trickled_s = time.monotonic()
        while True:
            now = (uplink.view.state, spool.stats().readings == 0)
            if now != seen:
                seen = now
                state_row = {"gateway": self.number, "state": now[0], "drained": now[1], "at_s": time.monotonic()}
                print(json.dumps(state_row | {"detail": uplink.view.detail, **uplink.view.counts}), flush=True)
            if trickles and time.monotonic() - trickled_s > TRICKLE_S:
                trickled_s = time.monotonic()
                spool.append([self._reading(1)], "low", stamp().wall_ms)
                uplink.readings_waiting()
            await asyncio.sleep(0.1)

    @staticmethod
    def _reading(number: int) -> bytes:
        return wire.encode_reading(
            wire.UpsReading(at=stamp(), load_pct=float(number % 100), input_voltage_v=231.5, battery_charge_pct=97.0)
        )


async def gateways(folder: Path, host: str, port: int, count: int, backlog: int, trickling: int) -> None:
    """The first `trickling` of them have something to say every few seconds."""
    # Each has a thread of its own machine in life; a connect that hangs must not keep the others waiting here.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4 * count))
    await asyncio.gather(*(Far(n, folder, host, port).live(backlog, n < trickling) for n in range(count)))


if __name__ == "__main__":
    end, place, address, *numbers = sys.argv[1:]
    if end == "server":
        server(Path(place), address)
    else:
        asyncio.run(gateways(Path(place), address, *map(int, numbers)))
