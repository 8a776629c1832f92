"""The pages of a whole fleet in a process of their own: `python -m bench.pages.site FOLDER`.

It writes one line of JSON when it is ready (its address, the cookies of its admin and of an operator). As long as it
runs, gateways are heard: every center once a minute, and two centers a second change their state.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from bench.pages.pages import fill
from collector.access.accounts import directory, sessions
from collector.access.accounts.policy import Account
from collector.common.config import CollectorTable, Settings
from collector.common.scope import EVERYWHERE, Scope
from collector.judging.current import ranks_now
from collector.standard import Standards, examples
from collector.store import Store, bulk_insert, center_states, schema
from collector.web.app import build, now_ms
from collector.web.live import Hub

PERIOD_S = 60.0  # in which each center is heard once
MOVES = 2  # centers that change their state, a second


def prepare(folder: Path, centers: int) -> tuple[Store, Standards, dict[str, str]]:
    """A store with a fleet and two people in it, and their cookies."""
    store, standards = Store.open(f"sqlite:///{folder}/nabz.db"), Standards.of(examples())
    now = now_ms()
    standard = standards.at(now)
    assert standard is not None
    fill(store, centers, [rule.id for rule in standard.criteria], now)
    cookies: dict[str, str] = {}
    people = (Account("Amna", "admin", EVERYWHERE, "amna"),
              Account("Omar", "operator", Scope(owner=frozenset({"Owner 1"})), "omar"))  # fmt: skip
    with store.write() as conn:
        for account in people:
            directory.add(conn, account.name, "", account.role, account.scope, "bench", now, may=())
            cookies[account.role] = sessions.begin(conn, account, now)
    return store, standards, cookies


def chart(conn: sa.Connection, code: str, until_ms: int) -> None:
    """A week of four kinds of readings of a center, five minutes apart: 2,016 points a kind."""
    times = range(until_ms - 2016 * 300_000, until_ms, 300_000)
    shapes: dict[str, Callable[[int], dict[str, Any]]] = {
        "link": lambda n: {"rtt_median_ms": 20.0 + n % 9, "rtt_p95_ms": 34.0 + n % 17, "jitter_ms": 2.0 + n % 3,
                           "loss_pct": 5.0 if n % 97 == 0 else 0.0},
        "ups": lambda n: {"output_state": "online", "battery_charge_pct": 100.0 - n % 7, "load_pct": 36.0 + n % 5,
                          "input_voltage_v": 218.0 + n % 8, "runtime_s": 2900.0},
        "seats": lambda n: {"known": 20, "healthy": 16 + n % 4, "unhealthy": 1, "missing": 2, "off": 1},
        "speed": lambda n: {"download_mbps": 40.0 + n % 9, "upload_mbps": 18.0, "purpose": "routine"},
    }  # fmt: skip
    own = {"center": code, "device": "g", "spool": "0" * 32, "subject": ""}
    for kind, shape in shapes.items():
        rows = [{**own, "seq": n, "wall_ms": at, "received_ms": at, **shape(n)} for n, at in enumerate(times, 1)]
        bulk_insert(conn, schema.readings[kind], rows)
    stamp = wire.Stamp(wall_ms=until_ms, mono_ms=1, boot="b", clock="synced")
    newest = (
        wire.LinkReading(at=stamp, rtt_median_ms=21.3),
        wire.UpsReading(at=stamp, output_state="online"),
        wire.SeatsReading(at=stamp, known=20, healthy=18),
        wire.SpeedReading(at=stamp, download_mbps=46.2),
    )
    bulk_insert(conn, schema.latest, [
        {"center": code, "kind": type(reading).__struct_config__.tag, "subject": "", "device": "g", "wall_ms": until_ms,
         "received_ms": until_ms, "body": wire.encode_reading(reading).decode()} for reading in newest
    ])  # fmt: skip


def feed(store: Store, hub: Hub, codes: list[str], criterion: str, stop: threading.Event) -> None:
    """As ingest does it: the pulse of who was heard, now and then a flag with the state that follows from it."""
    share = max(1, round(len(codes) / PERIOD_S))
    for second in count():
        if stop.wait(1.0):
            return
        heard = [codes[(second * share + n) % len(codes)] for n in range(share)]
        moved = [codes[(second * 37 + n * 411) % len(codes)] for n in range(MOVES)]
        with store.write() as conn:
            pulses, flags = schema.pulse.c, schema.flags.c
            conn.execute(sa.update(schema.pulse).where(pulses.center.in_(heard)).values(heard_ms=now_ms()))
            word = sa.case((flags.state == "raised", "clear"), else_="raised")
            mine = (flags.center.in_(moved)) & (flags.criterion == criterion)
            conn.execute(sa.update(schema.flags).where(mine).values(state=word, since_ms=now_ms()))
            center_states.refresh(conn, moved, now_ms())
        hub.publish({*heard, *moved})


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--centers", type=int, default=10_000)
    options = parser.parse_args()
    store, standards, cookies = prepare(options.folder, options.centers)
    hub, stop = Hub(), threading.Event()
    config = Settings(collector=CollectorTable(data_dir=options.folder))
    app = build(store, config, hub, standards=standards, key=Ed25519PrivateKey.generate())
    with store.read() as conn:
        ranks = ranks_now(conn, standards, now_ms())
        codes = list(conn.scalars(sa.select(schema.centers.c.center).order_by(schema.centers.c.center)))
    with store.write() as conn:
        center_states.settle(conn, ranks, now_ms())
        chart(conn, codes[0], now_ms())
    standard = standards.at(now_ms())
    assert standard is not None
    first = standard.criteria[0].id  # a download speed, as the flags' reasons say
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, ws="none", http="h11"))
    threads = [
        threading.Thread(target=server.run),
        threading.Thread(target=feed, args=(store, hub, codes, first, stop)),
    ]
    threads[0].start()
    while not server.started:
        time.sleep(0.05)
    threads[1].start()
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}", "cookies": cookies, "codes": codes[:3]}), flush=True)
    sys.stdin.read()  # until whoever started us closes our input
    stop.set()
    hub.close()
    server.should_exit = True
    for thread in threads:
        thread.join(30)
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
