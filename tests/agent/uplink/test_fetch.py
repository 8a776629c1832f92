"""A file over the collector's TLS listener: the collector's figure is the line's, each part comes once, and what is no
file of this gateway's is refused."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent import wire
from agent.uplink import collector_client
from agent.uplink.collector_client import CollectorClient, CollectorUnreachable
from collector.store import schema
from tests.agent.uplink.test_renew import joined
from tests.helpers.collector_side import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path / "collector", stack)


def ordered(house: House, part_bytes: int = 50_000, parts: int = 8) -> wire.FetchOrder:
    name, now_ms = secrets.token_hex(16), house.now_ms()
    row = {"id": name, "center": "LHR-1", "device": "g1", "due_ms": now_ms, "expires_ms": now_ms + 60_000}
    with house.store.write() as conn:
        conn.execute(sa.insert(schema.fetches).values(**row, parts=parts, part_bytes=part_bytes, state="open"))
    return wire.FetchOrder(name=name, parts=parts, part_bytes=part_bytes)


def row_of(house: House, order: wire.FetchOrder) -> sa.Row:
    with house.store.read() as conn:
        return conn.execute(sa.select(schema.fetches).where(schema.fetches.c.id == order.name)).one()


def client(house: House, state: Path, url: str = "") -> CollectorClient:
    mine = joined(house, state)
    assert mine.tls is not None
    return CollectorClient(url or mine.url, mine.tls.ca, mine.collector_key)


@contextmanager
def slow_line(port: int, mbps: float) -> Iterator[int]:
    """A port that leads to `port`; all connections share so many Mbit/s towards the client."""
    bucket, lock = [time.monotonic()], threading.Lock()

    def pace(count: int) -> None:
        with lock:
            bucket[0] = max(bucket[0], time.monotonic()) + count * 8 / 1e6 / mbps
            until_s = bucket[0]
        time.sleep(max(0.0, until_s - time.monotonic()))

    def pump(source: socket.socket, target: socket.socket, *, paced: bool) -> None:
        try:
            while block := source.recv(8192):
                if paced:
                    pace(len(block))
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            opened.extend((near, far))
            for pair, paced in (((near, far), False), ((far, near), True)):
                threading.Thread(target=pump, args=pair, kwargs={"paced": paced}, daemon=True).start()

    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for sock in opened:
                sock.close()


def test_a_whole_file_is_a_figure_and_admits_once(house: House, tmp_path: Path) -> None:
    order, mine = ordered(house), client(house, tmp_path / "state")
    assert collector_client.fetch(mine, order) == 8 * 50_000
    row = row_of(house, order)
    assert (row.state, row.address) == ("fetched", "127.0.0.1")
    assert row.down_mbps > 0
    with pytest.raises(CollectorUnreachable, match="404"):
        collector_client.fetch(mine, order)


def test_the_figure_is_that_of_the_line(house: House, tmp_path: Path) -> None:
    """A rate that an overloaded machine cannot miss: the line sets it, and its bytes take 1.6 s."""
    order, here = ordered(house, part_bytes=100_000), client(house, tmp_path / "state")
    with slow_line(house.door_port, mbps=4.0) as port:
        here.url = f"https://127.0.0.1:{port}"
        began_s = time.monotonic()
        collector_client.fetch(here, order)
        lasted_s = time.monotonic() - began_s
    row = row_of(house, order)
    assert 1.0 < row.seconds <= lasted_s
    assert row.down_mbps < 6.5  # buffers on the way hold some of it; the sender's own count would be tens of Mbit/s


def test_no_part_comes_twice_and_no_end_before_all_have_come(house: House, tmp_path: Path) -> None:
    order, here = ordered(house, parts=2), client(house, tmp_path / "state")
    connection = here.connected()
    try:
        for path, status in (("0", 200), ("0", 409), ("2", 409), ("7", 409), ("-1", 409), ("1", 200), ("2", 204)):
            connection.request("GET", f"/api/v1/files/{order.name}?part={path}")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status, path
    finally:
        connection.close()
    assert row_of(house, order).state == "fetched"


def test_what_nobody_ordered_is_no_file(house: House, tmp_path: Path) -> None:
    here = client(house, tmp_path / "state")
    with pytest.raises(CollectorUnreachable, match="404"):
        collector_client.fetch(here, wire.FetchOrder(name="f" * 32, parts=1, part_bytes=1))
    with house.store.write() as conn:
        conn.execute(sa.update(schema.fetches).values(expires_ms=1))
    order = ordered(house)
    house.shift_ms = 3_600_000
    with pytest.raises(CollectorUnreachable, match="404"):
        collector_client.fetch(here, order)


def test_a_fetch_that_takes_too_long_ends(house: House, tmp_path: Path) -> None:
    order, here = ordered(house, part_bytes=400_000), client(house, tmp_path / "state")
    with slow_line(house.door_port, mbps=0.5) as port:
        here.url = f"https://127.0.0.1:{port}"
        with pytest.raises(CollectorUnreachable, match="too long"):
            asyncio.run(asyncio.to_thread(collector_client.fetch, here, order, 0.2))
    assert row_of(house, order).state == "open"
