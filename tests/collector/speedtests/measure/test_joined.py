"""A measurement server that has joined: its key, its tokens, and records that outlive whatever ends it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.access.enrolment import is_signed
from collector.access.signing_key import load_or_make
from collector.speedtests.measure import token
from collector.speedtests.measure.delivery import LONGEST_S, Answer, Outgoing, RecordSender, pause_s
from collector.speedtests.measure.record import Record, RecordedDirection, decode
from collector.store import Store, schema
from tests.helpers.processes import token_words

MIB = 1 << 20


def record(test: str, started_ms: int = 1) -> Record:
    nothing = RecordedDirection(bytes=0, at_ms=[], total=[])
    return Record(
        test=test, server="pie", device="g1", address="203.0.113.7", started_ms=started_ms, seconds=1.0, end="idle",
        witnessed=True, connections=1, min_rtt_ms=9.0, down=nothing, up=nothing,
    )  # fmt: skip


class House:
    """A collector and, beside it, a measurement server of its own; each may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.web, self.broker, self.measure = (entry.getsockname()[1] for entry in held)
        for entry in held:
            entry.close()
        self.data, self.state, self.config = folder / "data", folder / "state", folder / "collector.toml"
        self.config.write_text(
            f'[collector]\ndata_dir = "{self.data}"\n[web]\nlisten = "127.0.0.1:{self.web}"\n'
            f'[measure]\nenabled = false\n[broker]\nlisten = "127.0.0.1:{self.broker}"\n'
        )
        self.running: list[subprocess.Popen[bytes]] = []

    def call(self, *words: str) -> str:
        argv = [sys.executable, "-m", "collector", *words, "--config", str(self.config)]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def start(self, port: int, *words: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "collector", *words]
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, start_new_session=True)
        self.running.append(process)
        until_s = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            assert time.monotonic() < until_s
            assert process.poll() is None
            time.sleep(0.05)

    def serve(self) -> subprocess.Popen[bytes]:
        return self.start(self.web, "serve", "--config", str(self.config))

    def witness(self, join: str = "") -> subprocess.Popen[bytes]:
        given = ["--join-file", token_words(self.state.parent, join)[1]] if join else []
        joining = ["--collector", f"http://127.0.0.1:{self.web}", *given] if join else []
        return self.start(
            self.measure, "measure", "--listen", f"127.0.0.1:{self.measure}", "--state", str(self.state), *joining
        )

    def add(self) -> str:
        added = self.call("server", "add", "pie", f"http://127.0.0.1:{self.measure}", "--json")
        return str(json.loads(added)["token"])

    def turn(self, test: str, server: str = "pie") -> str:
        expires_ms = time.time_ns() // 1_000_000 + 60_000
        claims = token.Claims(
            test=test, device="g1", server=server, expires_ms=expires_ms, max_bytes=10**9, purpose="routine"
        )
        return token.make(claims, load_or_make(self.data).sign)

    def get(self, test: str, turn: str, size: int = 2) -> bytes:
        url = f"http://127.0.0.1:{self.measure}/garbage?ckSize={size}&test={test}&token={turn}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bytes(answer.read())

    def waiting(self) -> list[Path]:
        return Outgoing(self.state / "records").waiting()

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        until_s = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until_s
            time.sleep(0.05)

    def records(self) -> list[sa.Row]:
        store = Store.open(f"sqlite:///{self.data / 'nabz.db'}")
        try:
            with store.read() as conn:
                return list(conn.execute(sa.select(schema.records)))
        finally:
            store.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    for process in made.running:
        if process.poll() is None:
            kill(process)


def test_it_joins_once_tests_by_token_and_its_record_outlives_it_and_the_collector(house: House) -> None:
    """1. It joins with its own key, readable to it alone; its word admits a test once.
    2. The collector is killed; the test ends, its record is on the disk, and the server is killed as well.
    3. Both are back: the record arrives, signed, once; nothing waits any more."""
    collector = house.serve()
    joining = house.add()
    server = house.witness(joining)
    assert stat.S_IMODE((house.state / "measure.key").stat().st_mode) == 0o600
    turn = house.turn("t1")
    assert len(house.get("t1", turn)) == 2 * MIB

    kill(collector)
    house.until(lambda: len(house.waiting()) == 1)
    (path,) = house.waiting()
    body, signature = wire.unseal(path.read_bytes())
    kill(server)

    server = house.witness()  # it has joined: no words are needed
    for test, admits, why in (
        ("t1", turn, "used: "),
        ("t2", turn, "other_test: "),
        ("t2", house.turn("t2", "khi"), "other_server: "),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            house.get(test, admits)
        assert caught.value.code == 403
        assert caught.value.read().decode().startswith(why)
        caught.value.close()

    house.serve()
    house.until(lambda: not house.waiting(), 40)
    (row,) = house.records()
    assert (row.test_id, row.server, row.device, row.witnessed) == ("t1", "pie", "g1", True)
    assert (bytes(row.body), bytes(row.signature)) == (body, signature)
    key = Ed25519PrivateKey.from_private_bytes((house.state / "measure.key").read_bytes())
    assert is_signed(key.public_key().public_bytes_raw(), bytes(row.body), bytes(row.signature))
    assert decode(bytes(row.body)).down.bytes >= 2 * MIB

    (listed,) = json.loads(house.call("server", "list", "--json"))
    assert (listed["state"], listed["records"]) == ("joined", 1)
    house.call("server", "revoke", "pie")
    assert json.loads(house.call("server", "list", "--json"))[0]["state"] == "revoked"


def test_a_wrong_token_joins_nothing_and_says_so(house: House) -> None:
    house.serve()
    words = ["measure", "--listen", "127.0.0.1:0", "--state", str(house.state)]
    join = ["--collector", f"http://127.0.0.1:{house.web}", "--join"]
    argv = [sys.executable, "-m", "collector", *words, *join]
    done = subprocess.run(argv, input="0" * 32, capture_output=True, text=True)
    assert done.returncode == 1
    assert "joining refused: the token is not known here" in done.stderr
    assert not (house.state / "joined.json").exists()


def test_a_token_on_the_command_line_is_refused_with_the_fix(house: House) -> None:
    argv = [sys.executable, "-m", "collector", "measure", "--collector", "http://127.0.0.1:1", "--join", "0" * 32]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2
    assert "does not belong on a command line" in done.stderr
    assert "--join-file" in done.stderr


# ---------------------------------------------------------------- records on their way


def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def test_records_go_oldest_first_and_wait_while_nobody_answers(tmp_path: Path) -> None:
    outgoing = Outgoing(tmp_path)
    for test, started_ms in (("b", 200), ("a", 1000), ("c", 90)):
        outgoing.add(record(test, started_ms), key().sign)
    answers: list[Answer] = ["taken", "later", "later", "refused", "taken"]
    sent: list[str] = []

    def send(sealed: bytes) -> Answer:
        sent.append(decode(wire.unseal(sealed)[0]).test)
        return answers[len(sent) - 1]

    async def work() -> None:
        delivery = RecordSender(outgoing, send, chance=lambda: 0.0)
        running = asyncio.ensure_future(delivery.run())
        async with asyncio.timeout(60):
            while len(sent) < 5 or outgoing.waiting():  # noqa: ASYNC110  a folder rings no bell
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
    assert sent == ["c", "b", "b", "b", "a"]
    assert [path.name[:15] for path in (tmp_path / "refused").iterdir()] == ["000000000000200"]


def test_a_half_written_record_is_not_sent(tmp_path: Path) -> None:
    outgoing = Outgoing(tmp_path)
    (tmp_path / "000000000000001-aa.new").write_bytes(b'{"half')
    outgoing.add(record("../../../etc/passwd"), key().sign)
    (path,) = outgoing.waiting()
    assert path.parent == tmp_path
    assert decode(wire.unseal(path.read_bytes())[0]).test == "../../../etc/passwd"


def test_pauses_are_jittered_in_full_and_bounded() -> None:
    assert [pause_s(failures, 1.0) for failures in (1, 2, 5, 9, 500)] == [2.0, 4.0, 32.0, LONGEST_S, LONGEST_S]
    assert pause_s(5, 0.0) == 0.0
