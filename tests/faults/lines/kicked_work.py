"""Two real agents of one identity at one real broker, each putting the other out: ``… FOLDER HOURS SEED``.

The clock of their loop skips what is nothing but waiting: while one has a session and the other pauses. Whatever
sockets and threads do takes its real time. Prints the seconds of that clock at which either was connected.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import selectors
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agent import identity, wire
from agent.spool.queue import Spool
from agent.uplink.session import Uplink
from collector.brokers.embedded import EmbeddedBroker

LOOK_S = 0.05  # for what a thread has done meanwhile
QUIET_S = 0.002


class Skipping(selectors.DefaultSelector):
    """Where nothing would happen but time, it is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0
        self.is_busy: Callable[[], bool] = lambda: True

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None or self.is_busy():
            return super().select(min(timeout or LOOK_S, LOOK_S))
        if not (found := super().select(QUIET_S)):
            self.skipped_s += timeout
        return found


class Loop(asyncio.SelectorEventLoop):
    """Its clock is the machine's, and what was skipped."""

    def __init__(self) -> None:
        self.skipping, self._began_s = Skipping(), time.monotonic()
        super().__init__(self.skipping)

    def time(self) -> float:
        return time.monotonic() - self._began_s + self.skipping.skipped_s


class Threads(ThreadPoolExecutor):
    """Knows how many work."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work: set[Future[Any]] = set()

    def submit(self, *words: Any, **more: Any) -> Future[Any]:
        future = super().submit(*words, **more)
        self.at_work.add(future)
        future.add_done_callback(self.at_work.discard)
        return future


class Watch(logging.Handler):
    """Notes when an uplink says that it is connected."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__()
        self.now_s = now_s
        self.connected_s: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.__dict__["event"].name == "broker_connected":
            self.connected_s.append(self.now_s())


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=time.time_ns() // 1_000_000, mono_ms=1, boot="1a2b3c4d", clock="synced")


def enrolled(folder: Path, port: int) -> identity.Identity:
    key = identity.make_key(folder)
    return identity.Identity(
        device=identity.device_name(key.public_key().public_bytes_raw()),
        center="LHR-1",
        name="One",
        broker_host="127.0.0.1",
        broker_port=port,
        collector_key=b"k" * 32,
        measure_url="",
        enrolled_ms=1,
        key=key,
    )


async def play(folder: Path, mine: identity.Identity, hours: float, seed: int, skipping: Skipping) -> list[float]:
    now_s = asyncio.get_running_loop().time
    watch = Watch(now_s)
    log = logging.getLogger("agent.uplink.session")
    log.addHandler(watch)
    log.setLevel(logging.INFO)
    log.propagate = False
    spools = [Spool(folder / f"spool-{number}.db", stamp=stamp) for number in range(2)]
    chances = [random.Random(f"{seed} {number}").random for number in range(2)]
    links = [
        Uplink(mine, spool, stamp=stamp, on_task=lambda _task: None, now_s=now_s, chance=chance)
        for spool, chance in zip(spools, chances, strict=True)
    ]
    threads = Threads()
    asyncio.get_running_loop().set_default_executor(threads)

    def is_busy() -> bool:
        """Of two that think they have a session one has not heard yet that it has none."""
        states = [link.view.state for link in links]
        return bool(threads.at_work) or "connecting" in states or states == ["connected"] * 2

    skipping.is_busy = is_busy
    tasks = [asyncio.create_task(link.run()) for link in links]
    await asyncio.sleep(hours * 3600)
    skipping.is_busy = lambda: True
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for spool in spools:
        spool.close()
    return watch.connected_s


def main(folder: Path, hours: float, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    broker = EmbeddedBroker("127.0.0.1", 0, [])
    broker.start()
    mine, loop = enrolled(folder, broker.ports[0]), Loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        connected_s = runner.run(play(folder, mine, hours, seed, loop.skipping))
    broker.stop()
    print(json.dumps({"connected_s": [round(at_s, 1) for at_s in connected_s]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
