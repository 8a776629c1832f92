"""A center's LAN with a hostile PC on it: ``gateway FOLDER NETNS SECONDS RATE`` and ``flood PORT RATE SECONDS``.

The gateway's end runs in a namespace of its own, with the whole house, a UPS card and an honest seat; in ``NETNS`` a
PC floods the agent's port from twenty addresses with forged words, noise and broken heads.
"""

from __future__ import annotations

import importlib.util
import json
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent import identity
from agent.seat import snapshot as contract
from agent.seat.post import post
from collector.store import Store, schema
from tests.faults import rig
from tests.helpers import ROOT
from tests.helpers.processes import child

GATEWAY = "10.77.0.1"
HOSTILE = [f"10.77.0.{last}" for last in range(100, 120)]
THREADS = 16
SETTLE_S = 12.0


def card() -> Any:
    path = ROOT / "tests" / "agent" / "probes" / "ups" / "conftest.py"
    spec = importlib.util.spec_from_file_location("ups_card", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ups_card"] = module
    spec.loader.exec_module(module)
    made = module.Card(module.rows("rfc1628"))
    made.socket.bind(("127.0.0.1", 0))
    threading.Thread(target=made.serve, daemon=True).start()
    return made


def word(key: bytes, name: str, dice: random.Random) -> bytes:
    """A seat's snapshot as it travels, sealed under a key."""
    snapshot = contract.Snapshot(
        id=f"s{dice.getrandbits(64):016x}", name=name, at_ms=time.time_ns() // 1_000_000,
        nonce=f"{dice.getrandbits(128):032x}", facts=(), cpu_pct=1.0, memory_pct=1.0, memory_mb=1.0, uptime_s=1.0,
        disks=(), version="1",
    )  # fmt: skip
    return contract.seal(contract.encode(snapshot), key, contract.SNAPSHOT)


# ---------------------------------------------------------------- the hostile PC


def flood(port: int, rate: float, seconds: float) -> None:
    """So many requests a second, if the other end lets it; prints how many were begun and how many answered."""
    dice, until_s = random.Random(1), time.monotonic() + seconds
    head = b"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n"
    words = [word(dice.randbytes(32), "SEAT-000", dice) for _ in range(50)] + [dice.randbytes(300) for _ in range(20)]
    requests = [head % len(item) + item for item in words] + [b"GET / HTTP/1.1\r\n\r\n", dice.randbytes(2000)]
    counts, lock = {"begun": 0, "answered": 0}, threading.Lock()

    def one(number: int) -> None:
        due_s = time.monotonic() + number / rate
        while (now_s := time.monotonic()) < until_s:
            time.sleep(max(0.0, due_s - now_s))
            due_s += THREADS / rate
            answer = ask(port, HOSTILE[dice.randrange(len(HOSTILE))], dice.choice(requests))
            with lock:
                counts["begun"] += 1
                counts["answered"] += answer

    threads = [threading.Thread(target=one, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


def ask(port: int, source: str, request: bytes) -> bool:
    try:
        with socket.create_connection((GATEWAY, port), 2, (source, 0)) as line:
            line.sendall(request)
            return bool(line.recv(100))
    except OSError:
        return False


# ---------------------------------------------------------------- the gateway and what it measures meanwhile


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def readings(house: rig.House, since_ms: int) -> dict[str, int]:
    """Link and UPS readings of a time, and those of them that failed."""
    found = {}
    with closing(Store.open(house.database)) as store, store.read() as conn:
        for kind in ("link", "ups"):
            table = schema.readings[kind].c
            rows = conn.execute(sa.select(table.failure).where(table.wall_ms >= since_ms)).all()
            found[kind] = len(rows)
            found[f"{kind}_failed"] = sum(row.failure is not None for row in rows)
    return found


def span(house: rig.House, seconds: float) -> dict[str, float]:
    """What the agent costs and measures in these seconds."""
    pid, began_s, before_s = house.processes["agent"].pid, time.monotonic(), cpu_s(house.processes["agent"].pid)
    since_ms = time.time_ns() // 1_000_000
    time.sleep(seconds)
    spent, passed_s = cpu_s(pid) - before_s, time.monotonic() - began_s
    time.sleep(3)  # until it is held
    return {"cpu_s": spent, "passed_s": passed_s, **readings(house, since_ms)}


def speak(port: int, key: bytes, stopped: threading.Event) -> None:
    """The honest seat, at the same port."""
    url, dice = f"http://{GATEWAY}:{port}/seat", random.Random(2)
    while not stopped.wait(2):
        made = contract.decode(contract.unseal(word(key, "SEAT-HONEST", dice), key, contract.SNAPSHOT))
        post(contract.Snapshot(**{**made.__dict__, "id": "s" + "1" * 16}), url, key)


def gateway(folder: Path, netns: str, seconds: float, rate: float) -> None:
    house, ups = rig.House(folder), card()
    house.agent_toml.write_text(
        house.agent_toml.read_text().replace(f"127.0.0.1:{house.seats}", f"{GATEWAY}:{house.seats}")
        + f'[[ups]]\nhost = "127.0.0.1"\nport = {ups.socket.getsockname()[1]}\n'
    )
    stopped = threading.Event()
    try:
        house.open()
        rig.wait_for(lambda: rig.newest(house, "ups") is not None, "the first reading of the UPS")
        key = identity.seat_key(folder / "agent")
        honest = threading.Thread(target=speak, args=(house.seats, key, stopped), daemon=True)
        honest.start()
        time.sleep(SETTLE_S)
        quiet = span(house, seconds)
        words = ("flood", house.seats, rate, seconds + 2)
        work = [sys.executable, "-m", "tests.faults.hostile.hostile_work", *map(str, words)]
        argv = ["ip", "netns", "exec", netns, *work]
        with child(argv, stdout=subprocess.PIPE, text=True, cwd=rig.ROOT) as flooding:
            time.sleep(1)
            busy = span(house, seconds)
            output, _ = flooding.communicate()
        seats = (rig.newest(house, "seats") or {}).get("seats", {})
        stopped.set()
        states = dict(zip(seats.get("id", ()), seats.get("state", ()), strict=True))
        print(json.dumps({"quiet": quiet, "busy": busy, "flood": json.loads(output), "seats": states}))
    finally:
        stopped.set()
        house.close()


if __name__ == "__main__":
    end, *given = sys.argv[1:]
    if end == "flood":
        flood(int(given[0]), float(given[1]), float(given[2]))
    else:
        gateway(Path(given[0]), given[1], float(given[2]), float(given[3]))
