"""The whole collector as one process: it starts, takes a gateway's readings, stops cleanly, and fails in words."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from paho.mqtt import client as mqtt

from agent import wire
from agent.common.mqtt import Client as MqttClient
from collector.access.signing_key import load_or_make
from collector.recovery import unpacked
from collector.run.runtime import PeriodicTask
from collector.store import StoreError
from tests.helpers.ports import free_ports


class House:
    """A running `nabz-collector serve` and its addresses."""

    def __init__(self, folder: Path, kind: str = "embedded") -> None:
        self.web, self.measure, self.broker = free_ports(3)
        self.data = folder / "data"
        self.config = folder / "collector.toml"
        self.config.write_text(
            f'[collector]\ndata_dir = "{self.data}"\n[web]\nlisten = "127.0.0.1:{self.web}"\n'
            f'[measure]\nlisten = "127.0.0.1:{self.measure}"\n[broker]\nlisten = "127.0.0.1:{self.broker}"\n'
            f'kind = "{kind}"\n'
        )
        self.process: subprocess.Popen[str] | None = None

    def serve(self, **environment: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "collector", "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(
            words, stderr=subprocess.PIPE, text=True, env=os.environ | environment, start_new_session=True
        )
        return self.process

    def call(self, *words: str) -> str:
        argv = [sys.executable, "-m", "collector", *words, "--config", str(self.config)]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def wait_healthy(self) -> None:
        until_s = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/healthz", timeout=2) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert time.monotonic() < until_s
                time.sleep(0.05)

    def listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def wait_for(self, port: int, *, listens: bool) -> None:
        until_s = time.monotonic() + 60
        while self.listens(port) != listens:
            assert time.monotonic() < until_s
            time.sleep(0.05)


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    made = House(tmp_path, getattr(request, "param", "embedded"))
    yield made
    if made.process is not None:
        if made.process.poll() is None:
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait()
        if made.process.stderr is not None:
            made.process.stderr.close()


@pytest.mark.parametrize("house", ["embedded", "auto"], indirect=True)
def test_a_gateway_enrols_sends_gets_its_receipt_and_its_reading_is_held(house: House) -> None:
    house.serve()
    house.wait_healthy()
    house.call(
        "center",
        "add",
        "--code",
        "LHR-1",
        "--name",
        "One",
        "--tier",
        "one",
        "--seats-promised",
        "9",
        "--opening",
        "always",
    )
    token = json.loads(house.call("token", "LHR-1", "--json"))["token"]
    key = Ed25519PrivateKey.generate()
    question = {
        "token": token,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "proof": base64.b64encode(key.sign(b"nabz-enrol\n" + token.encode())).decode(),
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{house.web}/api/v1/enrol",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        enrolled = json.load(answer)
    assert enrolled["broker"] == {"host": "127.0.0.1", "port": house.broker}
    device = enrolled["device"]

    receipts: list[bytes] = []
    heard, ready = threading.Event(), threading.Event()
    client = MqttClient(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _d, message: (receipts.append(bytes(message.payload)), heard.set())
    client.on_subscribe = lambda *_words: ready.set()
    client.connect("127.0.0.1", house.broker)
    client.loop_start()
    client.subscribe(wire.receipt_topic(device), qos=1)
    assert ready.wait(60)
    at = wire.Stamp(wall_ms=time.time_ns() // 1_000_000, mono_ms=1, boot="b", clock="synced")
    raw = wire.encode_reading(wire.UpsReading(at=at, output_state="online"))
    body = b'{"v":1,"device":"%s","spool":"%s","first_seq":1,"prev":"%s","nonce":"%s","readings":[%s]}' % (
        device.encode(), b"0" * 32, wire.GENESIS.hex().encode(), enrolled["nonce"].encode(), raw,
    )  # fmt: skip
    client.publish(wire.batch_topic(device), wire.seal(body, key.sign), qos=1)
    assert heard.wait(60)
    client.leave()

    body, signature = wire.unseal(receipts[0])
    Ed25519PublicKey.from_public_bytes(base64.b64decode(enrolled["collector_key"])).verify(signature, body)
    assert wire.decode_receipt(body).chain == wire.chain(wire.GENESIS, [raw]).hex()
    assert house.call("evidence", "ids").startswith(f"{device} {'0' * 32} 1 ")
    assert house.call("evidence", "ids", "--center", "KHI-1") == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_frees_everything(house: House, number: int) -> None:
    process = house.serve()
    house.wait_healthy()
    house.wait_for(house.measure, listens=True)
    process.send_signal(number)
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert not any(house.listens(port) for port in (house.web, house.measure, house.broker))


def test_killed_outright_it_leaves_no_child_behind_and_starts_again(house: House) -> None:
    process = house.serve()
    house.wait_healthy()
    house.wait_for(house.measure, listens=True)
    process.kill()
    process.wait()
    assert process.stderr is not None
    house.wait_for(house.measure, listens=False)
    process.stderr.close()
    left = house.data / f"{unpacked.PREFIX}killed"  # by a restore that was killed beside it
    left.mkdir()
    (left / "collector.key").write_bytes(b"a secret")
    house.serve()
    house.wait_healthy()
    house.wait_for(house.measure, listens=True)
    assert not left.exists()


def test_a_measurement_server_that_dies_is_started_again_and_takes_nobody_with_it(house: House) -> None:
    process = house.serve()
    house.wait_healthy()
    house.wait_for(house.measure, listens=True)
    time.sleep(5.1)  # one that ends sooner is not started again at once
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    house.wait_for(house.measure, listens=False)
    house.wait_for(house.measure, listens=True)
    assert process.poll() is None


def test_systemd_is_told_when_it_is_ready_and_while_it_is_well(house: House, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(60)
        process = house.serve(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert channel.recv(100) == b"READY=1"
        assert house.listens(house.broker)
        assert channel.recv(100) == b"WATCHDOG=1"
        process.terminate()
        words = [channel.recv(100)]
        while words[-1] != b"STOPPING=1":
            words.append(channel.recv(100))
        assert process.wait(60) == 0


def failed(house: House) -> tuple[int, str]:
    process = house.serve()
    code = process.wait(60)
    assert process.stderr is not None
    return code, process.stderr.read()


def test_wrong_settings_end_with_2_and_all_mistakes(house: House) -> None:
    house.config.write_text('[web]\nlisten = "x"\nlisten2 = 1\n')
    code, words = failed(house)
    assert code == 2
    assert len(words.splitlines()) == 2
    assert "Traceback" not in words


def test_a_standard_that_is_none_ends_with_2(house: House, tmp_path: Path) -> None:
    with house.config.open("a") as file:
        file.write(f'[standard]\nfiles = ["{tmp_path}/absent.toml"]\n')
    code, words = failed(house)
    assert code == 2
    assert "absent.toml: cannot be read" in words


@pytest.mark.parametrize(("port", "sentence"), [("web", "[web] listen"), ("broker", "[broker] listen")])
def test_a_port_that_is_taken_ends_with_1_and_one_sentence(house: House, port: str, sentence: str) -> None:
    with socket.create_server(("127.0.0.1", getattr(house, port))):
        code, words = failed(house)
    assert code == 1
    assert sentence in words
    assert "Traceback" not in words


# ---------------------------------------------------------------- small parts


def test_the_collectors_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = load_or_make(tmp_path).public_key().public_bytes_raw()
    assert load_or_make(tmp_path).public_key().public_bytes_raw() == first
    assert [path.name for path in tmp_path.iterdir()] == ["collector.key"]
    assert (tmp_path / "collector.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_damaged_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "collector.key").write_bytes(b"short")
    with pytest.raises(StoreError, match="holds 5 bytes, an Ed25519 key has 32; restore it"):
        load_or_make(tmp_path)
    assert (tmp_path / "collector.key").read_bytes() == b"short"


def test_repeated_work_survives_its_own_failure() -> None:
    turns: list[int] = []
    enough = threading.Event()

    def work() -> None:
        turns.append(1)
        if len(turns) == 3:
            enough.set()
        raise ZeroDivisionError

    every = PeriodicTask("work", 0.01, work)
    every.start()
    assert enough.wait(60)
    assert every.is_alive()
    every.stop()
    assert not every.is_alive()
