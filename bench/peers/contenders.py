"""Zabbix and VictoriaMetrics, each started for one run, fed by a few threads, and asked whether all is held."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.ground.processes import GroundError, cost, free_port
from bench.ground.whole import DATABASES

SENDERS = 4
PATIENCE_S = 300.0
SCHEMA = Path("/usr/share/zabbix-server-pgsql")
HOST_ID, ITEM_ID, GROUP_ID, TRAPPER, FLOAT = 100_000, 1_000_000, 4, 2, 0


@dataclass(frozen=True)
class Report:
    """What is sent: `minutes` reports of `values` values from each of `gateways`."""

    gateways: int
    minutes: int
    values: int

    @property
    def count(self) -> int:
        return self.gateways * self.minutes


@dataclass(frozen=True)
class Spent:
    """Seconds: on the wall, of processor, and of these the database's."""

    reports: int
    wall_s: float
    cpu_s: float
    database_s: float | None

    def cells(self, values: int) -> str:
        each_ms = 1000 * self.cpu_s / self.reports
        own = "-" if self.database_s is None else f"{1000 * self.database_s / self.reports:.3f}"
        rate = self.reports / self.wall_s
        rest = f"{each_ms:.3f} | {own} | {1000 * each_ms / values:.2f}"
        return f"{self.reports} | {rate:.0f} | {rate * values:.0f} | {rest}"


def needed() -> None:
    """Raises GroundError."""
    for tool in ("zabbix_server", "victoria-metrics"):
        if _tool(tool) is None:
            raise GroundError(f"{tool}: is not installed; apt install zabbix-server-pgsql victoria-metrics")


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def zabbix(report: Report) -> Spent:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with DATABASES["postgresql"](folder) as (_, database):
            assert database is not None
            place, port = folder / "socket", _low_port()
            _fill(place, report)
            with _zabbix_server(folder, place, port) as server:
                messages = [_sender_data(gateway, report.values) for gateway in range(report.gateways)]
                _wait(lambda: _processed(_answer_to(port, messages[0])) == report.values, server, "Zabbix")
                held = _history(place)
                before = cost(server.pid).cpu_s, cost(database.pid).cpu_s
                began_s = time.monotonic()
                _send(lambda number: _answer_to(port, messages[number % report.gateways]), report.count)
                _wait(lambda: _history(place) >= held + report.count * report.values, server, "Zabbix")
                wall_s = time.monotonic() - began_s
                own_s, database_s = cost(server.pid).cpu_s - before[0], cost(database.pid).cpu_s - before[1]
    return Spent(report.count, wall_s, own_s + database_s, database_s)


def _fill(place: Path, report: Report) -> None:
    """Zabbix's own tables, and a host a gateway with a trapper item a value."""
    sql = b"".join(gzip.decompress((SCHEMA / f"{name}.sql.gz").read_bytes()) for name in ("schema", "images", "data"))
    words = ["psql", "-h", str(place), "-U", "nabz", "-d", "nabz", "-q", "-v", "ON_ERROR_STOP=1"]
    subprocess.run(words, input=sql, check=True, stdout=subprocess.DEVNULL)
    hosts = [(HOST_ID + number, f"g{number}") for number in range(report.gateways)]
    items = [
        (ITEM_ID + number, host, f"v{value}")
        for number, (host, value) in enumerate(itertools.product((one[0] for one in hosts), range(report.values)))
    ]
    with psycopg.connect(f"host={place} user=nabz dbname=nabz") as conn, conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO hosts (hostid, host, name) VALUES (%s, %s, %s)", [(*one, one[1]) for one in hosts]
        )
        groups = [(host, host, GROUP_ID) for host, _ in hosts]
        cursor.executemany("INSERT INTO hosts_groups VALUES (%s, %s, %s)", groups)
        rows = [(item, TRAPPER, host, key, key, FLOAT) for item, host, key in items]
        columns = "itemid, type, hostid, name, key_, value_type"
        cursor.executemany(f"INSERT INTO items ({columns}) VALUES (%s, %s, %s, %s, %s, %s)", rows)
        cursor.executemany("INSERT INTO item_rtdata (itemid) VALUES (%s)", [(one[0],) for one in items])


@contextmanager
def _zabbix_server(folder: Path, place: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "DBHost": place, "DBName": "nabz", "DBUser": "nabz", "ListenPort": port, "LogFile": folder / "zabbix.log",
        "PidFile": folder / "zabbix.pid", "SocketDir": folder, "AllowRoot": 1, "CacheSize": "256M",
        "HistoryCacheSize": "128M", "HistoryIndexCacheSize": "128M", "TrendCacheSize": "64M", "ValueCacheSize": "128M",
        "Timeout": 30,
    }  # fmt: skip
    config = folder / "zabbix.conf"
    config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    with _child([str(_tool("zabbix_server")), "-f", "-c", str(config)], folder) as process:
        yield process


def _sender_data(gateway: int, values: int) -> bytes:
    data = [{"host": f"g{gateway}", "key": f"v{value}", "value": f"{gateway + value}.5"} for value in range(values)]
    body = json.dumps({"request": "sender data", "data": data}).encode()
    return b"ZBXD\x01" + struct.pack("<Q", len(body)) + body


def _low_port() -> int:
    """Zabbix takes none above 32767."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _answer_to(port: int, message: bytes) -> bytes:
    """One connection a report, as its sender makes it; what the server says."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as line:
        line.sendall(message)
        return b"".join(iter(lambda: line.recv(4096), b""))


def _processed(answer: bytes) -> int:
    _, _, rest = answer.partition(b"processed: ")
    return int(rest.partition(b";")[0] or 0)


def _history(place: Path) -> int:
    with psycopg.connect(f"host={place} user=nabz dbname=nabz") as conn:
        row = conn.execute("SELECT count(*) FROM history").fetchone()
    return int(row[0]) if row else 0


def victoria(report: Report) -> Spent:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        words = [f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}"]
        with _child(["victoria-metrics", *words], folder) as server:
            _wait(lambda: _inserted(port) >= 0, server, "VictoriaMetrics")
            fields = ",".join(f"v{value}={value}.5" for value in range(report.values))
            before_s, began_s, held = cost(server.pid).cpu_s, time.monotonic(), _inserted(port)
            lines: dict[int, http.client.HTTPConnection] = {}

            def send(number: int) -> None:
                at_ns = (time.time_ns() // 1_000_000 + number) * 1_000_000
                _write(lines, number % SENDERS, port, f"r,g=g{number % report.gateways} {fields} {at_ns}")

            _send(send, report.count)
            _wait(lambda: _inserted(port) >= held + report.count * report.values, server, "VictoriaMetrics")
            wall_s = time.monotonic() - began_s
            return Spent(report.count, wall_s, cost(server.pid).cpu_s - before_s, None)


def _write(lines: dict[int, http.client.HTTPConnection], sender: int, port: int, text: str) -> None:
    line = lines.setdefault(sender, http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S))
    line.request("POST", "/write", text)
    answer = line.getresponse()
    answer.read()
    if answer.status != http.HTTPStatus.NO_CONTENT:
        raise GroundError(f"VictoriaMetrics answers {answer.status}")


def _inserted(port: int) -> int:
    """Values taken so far; -1 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return -1
    return sum(int(line.split()[-1]) for line in lines if line.startswith("vm_rows_inserted_total{"))


def _send(one: Callable[[int], object], count: int) -> None:
    """Every sender its own numbers, one after the other."""

    def mine(sender: int) -> None:
        for number in range(sender, count, SENDERS):
            one(number)

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(mine, range(SENDERS)))


@contextmanager
def _child(words: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(list(words), stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _wait(true: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            if true():
                return
        except OSError:
            pass  # it does not listen yet
        if process.poll() is not None or time.monotonic() > until_s:
            raise GroundError(f"{what} does not start, or does not take what it is sent")
        time.sleep(0.1)
