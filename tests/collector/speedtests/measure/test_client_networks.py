"""The measurement server names the network of its client: to the client, and in the record that it signs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.probes.speed.server_view import parse_answer
from collector.register.networks import Networks
from collector.speedtests.measure.record import decode
from tests.collector.register.mmdb import database
from tests.collector.speedtests.measure.test_server import Running, against

HERE = {"127.0.0.0/8": {"autonomous_system_number": 64500, "autonomous_system_organization": "Loopback Ltd"}}


def test_the_client_and_the_record_are_told_the_network(tmp_path: Path) -> None:
    path = tmp_path / "asn.mmdb"
    path.write_bytes(database(HERE))

    async def work(it: Running) -> None:
        _, _, body = await it.ask("/backend/getIP.php?isp=true&cors=true")
        assert parse_answer(body).network == "AS64500 Loopback Ltd"
        assert json.loads(body)["processedString"] == "127.0.0.1 - AS64500 Loopback Ltd"
        _, _, bare = await it.ask("/backend/getIP.php")
        assert json.loads(bare) == {"processedString": "127.0.0.1", "rawIspInfo": ""}
        _, _, hello = await it.ask("/hello")
        facts = json.loads(hello)
        assert (facts["network"], facts["server_network"]) == ("AS64500 Loopback Ltd",) * 2
        await it.ask("/garbage?ckSize=1&test=t1")
        assert await until_recorded(it) == (64500, "AS64500 Loopback Ltd", 64500)

    against(work, networks=Networks(path))


@pytest.mark.parametrize(
    "body", [pytest.param(None, marks=pytest.mark.slow), pytest.param(b"", marks=pytest.mark.slow), b"harmed" * 100]
)
def test_a_server_measures_without_a_usable_database(tmp_path: Path, body: bytes | None) -> None:
    path = tmp_path / "asn.mmdb"
    if body is not None:
        path.write_bytes(body)

    async def work(it: Running) -> None:
        status, _, answer = await it.ask("/getIP.php?isp=true")
        assert (status, json.loads(answer)["processedString"]) == (200, "127.0.0.1")
        await it.ask("/garbage?ckSize=1&test=t1")
        assert await until_recorded(it) == (None, "", None)

    against(work, networks=Networks(path))


def test_a_database_that_comes_while_the_server_runs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "asn.mmdb"

    async def work(it: Running) -> None:
        await it.ask("/garbage?ckSize=1&test=t1")
        (tmp_path / "new").write_bytes(database(HERE))
        os.replace(tmp_path / "new", path)
        await until_named(it)

    async def until_named(it: Running) -> None:
        while json.loads((await it.ask("/hello"))[2])["network"] is None:
            pass

    against(work, networks=Networks(path), refresh_s=0.05)


async def until_recorded(it: Running) -> tuple[int | None, str, int | None]:
    while not it.records:
        await it.ask("/health")
    return it.records[0].asn, it.records[0].network, it.records[0].server_asn


def test_a_record_of_a_server_before_reads_as_one_without_a_network() -> None:
    found = decode(encode_of_before())
    assert (found.asn, found.network, found.server_asn) == (None, "", None)


def encode_of_before() -> bytes:
    way = {"bytes": 0, "at_ms": [], "total": []}
    return json.dumps(
        {"v": 1, "test": "t", "server": "pie", "device": "g", "address": "203.0.113.7", "started_ms": 1, "seconds": 1.0,
         "end": "idle", "witnessed": True, "connections": 1, "min_rtt_ms": None, "down": way, "up": way}
    ).encode()  # fmt: skip
