"""A Mosquitto that is a child of the collector: who may do what there, and what becomes of it when it, or we, end."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from paho.mqtt.enums import CallbackAPIVersion

from agent import identity, wire
from agent.common.mqtt import Client
from collector.access import devices, floods
from collector.access.ca import Authority
from collector.access.people import People
from collector.access.tls import client_context
from collector.brokers.embedded import BrokerError
from collector.brokers.generated_config import ChildSite
from collector.brokers.mosquitto import MosquittoChild, chosen, program
from collector.common.config import BrokerSection
from collector.common.processes import PAUSES_S
from collector.ingest.backpressure import FLOOD, MANY_WAITING
from collector.store import schema
from tests.agent.uplink.test_renew import joined, linked, now_ms, renewal_of, stamp, until
from tests.helpers import ROOT
from tests.helpers.collector_side import House
from tests.helpers.ports import free_ports

NOW = time.time_ns() // 1_000_000
pytestmark = pytest.mark.skipif(program() is None, reason="needs Debian's package mosquitto")


def child(folder: Path, port: int, **more: object) -> MosquittoChild:
    authority = Authority(folder, NOW)
    own = authority.keep("server", authority.issue_server(["127.0.0.1"], NOW))
    site = ChildSite(
        plain=("127.0.0.1", port), listeners=[], people=People(services=["nabz-collector"], gateways=[]), folder="x"
    )
    return MosquittoChild(str(program()), folder / "mosquitto", site, own, authority.write_crl([], NOW), **more)


def test_a_gateway_is_heard_over_tls_and_a_revoked_one_is_put_out(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path / "collector", stack, kind="mosquitto")
        assert isinstance(house.broker, MosquittoChild)
        states = [tmp_path / "one", tmp_path / "two"]
        (mine, state), (other, _) = [(joined(house, state), state) for state in states]

        async def story() -> None:
            async with linked(mine, state, renewal_of(mine, state)) as (link, spool):
                await until(lambda: spool.stats().readings == 0, 60)
                assert (mine.device, "127.0.0.1") in house.broker.book.sessions()
                with house.store.write() as conn:
                    devices.revoke(conn, mine.device, "Ali", "stolen", now_ms())
                while link.view.state == "connected":
                    await asyncio.to_thread(house.keeper.disconnect_revoked)
                    await asyncio.sleep(0.2)
                spool.append([wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=9.0))], "high", now_ms())
                link.readings_waiting()
                await asyncio.sleep(1)
                assert spool.stats().readings == 1
            async with linked(other, states[1], renewal_of(other, states[1])) as (link, spool):
                await until(lambda: spool.stats().readings == 0, 60)

        asyncio.run(story())
        assert house.count(schema.evidence) >= 2


def client_of(house: House, mine: identity.Identity) -> Client:
    """A session of this gateway's."""
    made = Client(CallbackAPIVersion.VERSION2, client_id=mine.device, reconnect_on_failure=False)
    assert mine.tls is not None
    made.tls_set_context(client_context(mine.tls.ca, mine.tls.cert, mine.tls.key))
    made.max_inflight_messages_set(1000)
    made.connect("127.0.0.1", house.broker_port)
    made.loop_start()
    return made


def is_let_in(house: House, mine: identity.Identity) -> bool:
    """Whether this gateway's CONNECT (MQTT 3.1.1, 3.1) is accepted. It ends a session that is there."""
    assert mine.tls is not None
    body = b"\0\4MQTT\4\2\0\x3c" + len(mine.device).to_bytes(2) + mine.device.encode()
    try:
        with (
            socket.create_connection(("127.0.0.1", house.broker_port)) as plain,
            client_context(mine.tls.ca, mine.tls.cert, mine.tls.key).wrap_socket(
                plain, server_hostname="127.0.0.1"
            ) as line,
        ):
            line.sendall(bytes([0x10, len(body)]) + body)
            return line.recv(4)[3:] == b"\0"
    except OSError:
        return False


def findings(house: House) -> set[tuple[str, str]]:
    table = schema.integrity.c
    with house.store.read() as conn:
        return {(row.device, row.finding) for row in conn.execute(sa.select(table.device, table.finding).distinct())}


def test_a_gateway_that_floods_is_put_out_for_ten_minutes_and_accused_of_nothing_else(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path / "collector", stack, kind="mosquitto")
        mine, other = (joined(house, tmp_path / name) for name in ("one", "two"))
        quiet, flood = client_of(house, other), client_of(house, mine)
        stack.callback(quiet.leave)
        stack.callback(flood.leave)
        wait(flood.is_connected)
        for number in range(MANY_WAITING + FLOOD * 4):
            flood.publish(wire.batch_topic(mine.device), b"%d" % number, qos=1)
        wait(lambda: not flood.is_connected())
        assert not is_let_in(house, mine)
        assert quiet.is_connected()
        wait(lambda: (mine.device, "flood") in findings(house))  # it is put out first, and written down then
        house.keeper.record_findings()
        assert findings(house) == {(mine.device, "flood"), (mine.device, "unframed")}
        house.shift_ms = floods.OUT_MS + 1000
        house.keeper.disconnect_revoked()
        wait(lambda: is_let_in(house, mine))


def test_whom_a_worker_elsewhere_noticed_is_put_out_too(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path / "collector", stack, kind="mosquitto")
        mine = joined(house, tmp_path / "one")
        shared = house.settings.ingest.model_copy(update={"shared": True})
        house.keeper._settings = house.settings.model_copy(update={"ingest": shared})
        assert is_let_in(house, mine)
        with house.store.write() as conn:
            floods.record(conn, [mine.device, "g" + "0" * 16], now_ms())
            floods.record(conn, [mine.device], now_ms())
        wait(lambda: not is_let_in(house, mine))
        assert house.count(schema.integrity) == 1


def test_it_is_started_again_later_and_later_while_it_does_not_last(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    clock = [1000.0]
    tended = child(tmp_path, port, now_s=lambda: clock[0])
    tended.start()
    try:
        for pause_s in PAUSES_S[:3]:
            before = tended.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            wait(lambda pid=before: gone(pid))
            tended.tend()
            clock[0] += pause_s - 0.01
            tended.tend()
            assert tended.pid == before
            clock[0] += 0.02
            tended.tend()
            assert tended.pid != before
            wait(lambda: listens(port))
        assert tended.is_alive()
    finally:
        tended.stop()
    assert not listens(port)
    tended.tend()
    assert not tended.is_alive()


def test_an_address_that_is_taken_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, caplog.at_level(logging.WARNING):
        tended = child(tmp_path, other.getsockname()[1])
        with pytest.raises(BrokerError, match="Mosquitto does not start at"):
            tended.start()
        tended.stop()
        wait(lambda: "Address already in use" in caplog.text)


def test_it_ends_with_a_collector_that_is_killed_outright(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    code = f"""
        import pathlib, time
        from tests.collector.brokers.test_mosquitto import child
        child(pathlib.Path({str(tmp_path)!r}), {port}).start()
        print("ready", flush=True)
        time.sleep(600)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert listens(port)
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        parent.kill()
    wait(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children))


def test_which_broker_is_chosen(installed: str) -> None:
    assert chosen(BrokerSection(kind="embedded")) is None
    assert chosen(BrokerSection(kind="auto")) == program() == installed
    assert chosen(BrokerSection(kind="mosquitto", url="mqtts://broker:8883")) is None


@pytest.fixture
def installed() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def gone(pid: int) -> bool:
    """Ended, though perhaps not yet asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait(true: object) -> None:
    until_s = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until_s
        time.sleep(0.02)
