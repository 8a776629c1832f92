"""Milliseconds of CPU that the list of centers costs at fleet width: the first page, a search, a province, a state."""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.store import Store, bulk_insert, center_states, queries, schema
from collector.store.queries import Filter, Ranks
from collector.web.pages.centers import PAGE_ROWS

NOW_MS = 1_795_000_000_000
CRITERIA = tuple(f"criterion.{number}" for number in range(14))
RANKS = Ranks(dict.fromkeys(CRITERIA, 2), CRITERIA[:1], CRITERIA[1:], closed={"Mon-Fri 07:00-09:00": 7})
AROUND = {"Lahore": (31.5, 73.6), "Karachi": (26.0, 68.2), "Peshawar": (33.9, 71.9), "Quetta": (29.5, 66.4)}
SPREAD_DEG = 0.8
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
QUESTIONS = {
    "first": Filter(),
    "search": Filter(search="lahore 12"),
    "province": Filter(province="Sindh"),
    "below": Filter(state="below"),
    "by_name": Filter(sort="name"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", metavar="URL", help="an empty one (default: an SQLite file in a new folder)")
    parser.add_argument("--centers", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--times", type=int, default=30, help="each question is asked (default: 30)")


def run(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = stack.enter_context(closing(Store.open(options.database or f"sqlite:///{folder}/nabz.db")))
        fill(store, options.centers)
        before = {name: timed(store, _ask(queries, wanted), options.times // 3) for name, wanted in QUESTIONS.items()}
        with store.write() as conn:
            center_states.settle(conn, RANKS, NOW_MS)
        after = {name: timed(store, _ask(None, wanted), options.times) for name, wanted in QUESTIONS.items()}
    print(json.dumps({"board": before, "rows": after, "load": round(os.getloadavg()[0], 1)}, indent=1))
    return 0


def _ask(old: Any, wanted: Filter) -> Callable[[sa.Connection], object]:
    def ask(conn: sa.Connection) -> object:
        if old is not None:
            return queries.counts(conn, RANKS, wanted), queries.page(conn, RANKS, wanted, limit=PAGE_ROWS)
        return center_states.listed(conn, RANKS, wanted, NOW_MS, limit=PAGE_ROWS)

    return ask


def fill(store: Store, number: int, criteria: Sequence[str] = CRITERIA, now_ms: int = NOW_MS) -> None:
    """Of ten centers one is below, one on watch, of a hundred one silent; a tenth is closed."""
    places = (("Lahore", "Punjab"), ("Karachi", "Sindh"), ("Peshawar", "Khyber Pakhtunkhwa"), ("Quetta", "Balochistan"))
    rows = [_center(n, *places[n % len(places)]) for n in range(number)]
    pulses = [_pulse(row["center"], n, now_ms) for n, row in enumerate(rows)]
    flags = [
        _flag(row["center"], name, n, at, now_ms) for n, row in enumerate(rows) for at, name in enumerate(criteria)
    ]
    with store.write() as conn:
        for table, found in ((schema.centers, rows), (schema.pulse, pulses), (schema.flags, flags)):
            bulk_insert(conn, table, found)
    if store.parted:
        store.outside("ANALYZE")


def _pulse(code: str, n: int, now_ms: int) -> dict[str, Any]:
    return {"center": code, "device": "g", "heard_ms": now_ms - n, "due_ms": now_ms}


def _center(n: int, city: str, province: str) -> dict[str, Any]:
    (latitude, longitude), chance = AROUND[city], random.Random(n)
    opening = "Mon-Fri 07:00-09:00" if n % 10 == 5 else "Mon-Sat 09:00-21:00"
    return {
        "center": f"C-{n:05}", "name": f"e-Rozgar Center {city} {n}", "owner": f"Owner {n % 300}", "building": "",
        "city": city, "district": f"{city} {n % 9}", "province": province, "tier": "one", "seats_promised": 20,
        "isp": "PTCL", "feeder": f"F-{n % 800:03}", "opening": opening, "lifecycle": "declared",
        "since_ms": NOW_MS, "changed_ms": NOW_MS, "latitude": round(chance.gauss(latitude, SPREAD_DEG), 4),
        "longitude": round(chance.gauss(longitude, SPREAD_DEG), 4),
    }  # fmt: skip


def _flag(code: str, criterion: str, n: int, at: int, now_ms: int) -> dict[str, Any]:
    state = "raised" if (at == 0 and n % 100 == 0) or (at == 3 and n % 10 == 1) else "clear"
    state = "pending" if at == 4 and n % 10 == 2 else state
    reason = encode(Reason.of("verdict.at_least", value=12.4, bound=40.0, unit="Mbit/s"))
    return {
        "center": code, "criterion": criterion, "subject": "", "state": state, "since_ms": now_ms - n,
        "judged_until_ms": now_ms, "memory": "[]", "verdict": "meets" if state == "clear" else "below",
        "value": 12.4, "bound": 40.0, "reason": reason, "standard": "bench",
    }  # fmt: skip


def timed(store: Store, ask: Callable[[sa.Connection], object], times: int) -> Mapping[str, float]:
    """Median milliseconds of this process's CPU, of the database's (PostgreSQL), and by the wall."""
    own, other, wall = [], [], []
    for _ in range(max(3, times)):
        with store.read() as conn:
            pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar() if store.parted else None
            began, began_s, there = time.process_time(), time.perf_counter(), _cpu_s(pid)
            ask(conn)
            own.append(1000 * (time.process_time() - began))
            wall.append(1000 * (time.perf_counter() - began_s))
            other.append(1000 * (_cpu_s(pid) - there))
    found = {
        "own_ms": statistics.median(own),
        "database_ms": statistics.mean(other),
        "wall_ms": statistics.median(wall),
    }
    return {name: round(value, 1) for name, value in found.items()}


def _cpu_s(pid: int | None) -> float:
    """CPU that a process has used, by /proc/PID/stat (proc(5): utime, stime)."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S
