"""The simulated measurement server and its cheats: a play with witnesses tells who cheats, and its records can be
checked by anybody."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.__main__ import main
from collector.access import enrolment
from collector.commands.evidence import why_not
from collector.commands.simulation import identities, readings, register, witness
from collector.commands.simulation.fleet import make_fleet
from collector.commands.simulation.gateway import Gateway
from collector.common.messages import Message
from collector.ingest import server_results
from collector.ingest.transaction import Ingest
from collector.judging.evaluate import judge_group
from collector.speedtests import servers
from collector.speedtests.signed_records import record_lines
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_071_600_000
FLEET = make_fleet(4, 5)
STANDARDS = timeless_standards()
KEY = Ed25519PrivateKey.generate()


@contextmanager
def a_collector(store: Store) -> Iterator[str]:
    """The two doors of a collector that a measurement server knows, with the code behind them."""

    def join(conn: sa.Connection, body: bytes) -> object:
        return servers.join(conn, body, NOW, KEY.public_key().public_bytes_raw())

    def take(conn: sa.Connection, body: bytes) -> object:
        return {"about": sorted(server_results.take_record(conn, body, NOW, STANDARDS))}

    paths: dict[str, Callable[[sa.Connection, bytes], object]] = {
        "/api/v1/servers/join": join,
        "/api/v1/records": take,
    }

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with store.write() as conn:
                payload = json.dumps(paths[self.path](conn, body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_words: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fleet_of(store: Store) -> list[Gateway]:
    """Four simulated gateways, enrolled."""
    register.register(store, FLEET, NOW - 10**9)
    made = []
    for center in FLEET:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        made.append(Gateway(center=center, key=key, device=enrolment.device_name(public), spool="0" * 32))
        row = {"device": made[-1].device, "center": center.code, "public_key": public, "enrolled_ms": NOW - 10**9}
        with store.write() as conn:
            conn.execute(sa.insert(schema.devices).values(row))
    return made


def play(store: Store, server: witness.SimulatedServer, gateways: list[Gateway]) -> None:
    """Each gateway tests twice; all but the first cheat the second time, each in another way."""
    ingest = Ingest(store, KEY, lambda c, g, n: judge_group(c, server_results.attach(c, g, n), STANDARDS, n))
    for step, cheats in enumerate((dict.fromkeys(range(4)), dict(zip((1, 2, 3), witness.CHEATS, strict=True)))):
        for number, gateway in enumerate(gateways):
            at_ms = NOW - (1 - step) * 60_000
            reading = readings.speed(gateway.center, at_ms, Random(number), False)
            result = server.test(gateway, reading, at_ms, cheats.get(number))
            stamped = msgspec.structs.replace(result, at=readings.stamp(gateway.center, at_ms, NOW - 10**6, 0))
            gateway.keep(stamped, at_ms)
            payload = gateway.next_batch(at_ms, float(step) * 100)
            taken = ingest.take([Message(wire.batch_topic(gateway.device), payload or b"")], at_ms)
            gateway.take_receipt(wire.decode_receipt(wire.unseal(taken.receipts[0].payload)[0]), float(step) * 100)
        server.report()


@pytest.fixture
def played(sqlite_store: Store, tmp_path: Path) -> tuple[Store, list[Gateway], witness.SimulatedServer]:
    gateways = fleet_of(sqlite_store)
    with a_collector(sqlite_store) as url:
        server = witness.joined(url, tmp_path, lambda: nullcontext(sqlite_store), "simulated-5")
        again = witness.joined(url, tmp_path, lambda: nullcontext(sqlite_store), "simulated-5")
        assert again.key.private_bytes_raw() == server.key.private_bytes_raw()
        play(sqlite_store, server, gateways)
    return sqlite_store, gateways, server


def test_a_play_tells_who_cheats_and_how(played) -> None:
    store, gateways, server = played
    honest, forger, replayer, inflater = gateways
    assert (server.reported, server.waiting) == (6, [])
    with store.read() as conn:
        found = {(row.device, row.finding) for row in conn.execute(sa.select(schema.integrity))}
        results = {
            (row.device, row.spool, row.seq): word.word
            for gateway in gateways
            for row in conn.execute(sa.select(schema.readings["speed"]).where(
                schema.readings["speed"].c.device == gateway.device))
            for name, word in server_results.witnesses(conn, [server_results.told_by(row)], NOW + 10**6).items()
        }  # fmt: skip
    assert found == {(replayer.device, "replayed"), (inflater.device, "disagrees")}
    second = {gateway.device: results[gateway.device, gateway.spool, 2] for gateway in gateways}
    assert second == {
        honest.device: "agrees",
        forger.device: "no_record",
        replayer.device: "replayed",
        inflater.device: "disagrees",
    }
    assert {results[gateway.device, gateway.spool, 1] for gateway in gateways} == {"agrees"}


def test_the_server_gets_no_turns_from_the_pacer(played) -> None:
    from collector.speedtests import requests

    store, _, _ = played
    with store.read() as conn:
        assert requests.servers(conn) == {}
        assert [row["name"] for row in servers.listed(conn)] == ["simulated-5"]


def test_a_broken_server_file_is_named(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / witness.FILE).write_text("{}")
    with pytest.raises(identities.FleetError, match=r"server\.json: not a measurement server"):
        witness.joined("http://127.0.0.1:1", tmp_path, lambda: nullcontext(sqlite_store), "simulated-5")


# ---------------------------------------------------------------- what was signed, taken out


def test_what_servers_signed_is_verified_offline_and_every_change_is_seen(played, tmp_path: Path, capsys) -> None:
    store, gateways, _ = played
    with store.read() as conn:
        lines = [json.dumps(line) for line in record_lines(conn)]
        mine = list(record_lines(conn, gateways[0].center.code))
    assert (len(lines), len(mine)) == (6, 2)
    file = tmp_path / "records.jsonl"
    file.write_text("\n".join(lines) + "\n")
    key = str(mine[0]["public_key"])
    assert main(["evidence", "verify", str(file), "--key", key, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"right": 6, "wrong": 0, "examples": []}
    with pytest.raises(SystemExit):
        main(["evidence", "verify", str(file)])
    assert main(["evidence", "verify", str(file), "--key", "B" * 43 + "=", "--key", key]) == 0
    assert main(["evidence", "verify", str(file), "--key", "A" * 43 + "="]) == 1
    assert main(["evidence", "verify", str(tmp_path / "none"), "--key", key]) == 2
    changes = {
        "down_mbps": 900.0,
        "test_id": "another",
        "server": "another",
        "body": mine[1]["body"],
        "signature": mine[1]["signature"],
        "public_key": "A" * 43 + "=",
    }
    for name, value in changes.items():
        assert why_not(json.dumps(mine[0] | {name: value}), [key, str(value)]), name
    assert why_not(json.dumps(mine[0]), [key]) == ""
    assert why_not(json.dumps(mine[0]), []).startswith("names a key")
    assert all(why_not(line, [key]) for line in ("", "[]", "{}", '{"public_key": 1}'))
