"""Brokers of three makes behind the same doors, and clients that may or may not come in."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt

from agent.common.mqtt import Client as MqttClient
from collector.access.ca import Files
from collector.access.people import People
from collector.brokers import generated_config
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.generated_config import BrokerSite
from collector.brokers.listeners import Listener
from tests.helpers.authority import TestAuthority
from tests.helpers.ports import free_ports

SERVICE = "nabz-collector"


@dataclass
class Running:
    """A broker that runs. `tls` and `websocket` are ports."""

    tls: int
    websocket: int
    embedded: EmbeddedBroker | None = None  # the make that is ours, to look into


def tool(name: str) -> str:
    """Where a program is, or a skip: Debian's, or one that came with the tests' Python packages."""
    path = shutil.which(name, path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}:/usr/sbin")
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed; see tests/packages.txt and pyproject.toml")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def amqtt(folder: Path, authority: TestAuthority, **_facts: object) -> Iterator[Running]:
    files = authority.server()
    made = EmbeddedBroker(
        "127.0.0.1", 0, [Listener("127.0.0.1", 0, "tcp", files), Listener("127.0.0.1", 0, "websockets", files)]
    )
    made.start()
    yield Running(made.ports[1], made.ports[2], made)
    made.stop()


@contextmanager
def mosquitto(folder: Path, authority: TestAuthority, **facts: object) -> Iterator[Running]:
    with _outside("mosquitto", folder, authority, ["mosquitto", "-c", "mosquitto.conf"], facts) as running:
        yield running


@contextmanager
def nats(folder: Path, authority: TestAuthority, **facts: object) -> Iterator[Running]:
    with _outside("nats", folder, authority, ["nats-server", "-c", "nats.conf"], facts) as running:
        yield running


@contextmanager
def _outside(
    make: str, folder: Path, authority: TestAuthority, argv: list[str], facts: Mapping[str, object]
) -> Iterator[Running]:
    """`facts`: `gateways`, `revoked` (Files) and `revoked_names`."""
    argv[0] = tool(argv[0])
    folder.mkdir(parents=True, exist_ok=True)
    server, revoked = authority.server(), facts.get("revoked", ())
    for word, source in (("ca", server.ca), ("cert", server.cert), ("key", server.key)):
        shutil.copyfile(source, folder / generated_config.CERTIFICATES[word])
    shutil.copyfile(authority.revocations(*revoked), folder / generated_config.CERTIFICATES["crl"])  # type: ignore[misc]
    process, running = _started(make, folder, argv, facts)
    with process:
        try:
            yield running
        finally:
            process.terminate()


def _started(
    make: str, folder: Path, argv: list[str], facts: Mapping[str, object], tries: int = 4
) -> tuple[subprocess.Popen[bytes], Running]:
    """On ports that were free a moment ago; somebody else may have taken one since, so more than once if need be."""
    tls, websocket, client = free_ports(3)
    site = BrokerSite(
        tls=("127.0.0.1", tls),
        # Mosquitto would look for loopback among all interfaces, and fail while another test makes some.
        websocket=("0.0.0.0", websocket),
        people=People(
            services=[SERVICE],
            gateways=facts.get("gateways", ()),  # type: ignore[arg-type]
            revoked=facts.get("revoked_names", ()),  # type: ignore[arg-type]
        ),
        folder=str(folder),
    )
    for name, text in generated_config.MAKES[make](site).items():
        # As root Mosquitto would give that up, and with it the folder of this test.
        more = "user root\n" if name == "mosquitto.conf" else ""
        (folder / name).write_text(text.replace("127.0.0.1:4222", f"127.0.0.1:{client}") + more)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log)
    try:
        for port in (tls, websocket):
            listening(port, process, folder / "log")
    except AssertionError:
        process.kill()
        process.wait()
        if tries == 1:
            raise
        return _started(make, folder, argv, facts, tries - 1)
    return process, Running(tls, websocket)


def listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns once it does. Raises AssertionError with the end of its log."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text()[-3000:])


MAKES = {"amqtt": amqtt, "mosquitto": mosquitto, "nats": nats}


# ---------------------------------------------------------------- clients


class Client:
    """Comes in with a certificate or without; never comes again by itself."""

    def __init__(
        self,
        port: int,
        ca: Path,
        files: Files | None,
        client_id: str,
        *,
        transport: str = "tcp",
        will: str = "",
        patience_s: float = 15,
    ) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.gone, self.come, self.subscribed = threading.Event(), threading.Event(), threading.Event()
        self.codes: list[object] = []
        self.acknowledged = 0
        self.refusal = ""
        self.mqtt = MqttClient(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False, transport=transport
        )
        self.mqtt.ws_set_options(path="/mqtt")
        self.mqtt.tls_set_context(self._context(ca, files))
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_disconnect = lambda *_words: self.gone.set()
        self.mqtt.on_message = lambda _c, _d, message: self.heard.append((message.topic, bytes(message.payload)))
        self.mqtt.on_subscribe = self._on_subscribe
        self.mqtt.on_publish = self._on_publish
        if will:
            self.mqtt.will_set(will, b"a will", qos=1)
        try:
            self.mqtt.connect("127.0.0.1", port)
        except OSError as error:
            self.refusal = repr(error)
            self.gone.set()
            return
        self.mqtt.loop_start()
        until_s = time.monotonic() + patience_s
        while not self.come.is_set() and not self.gone.is_set() and time.monotonic() < until_s:
            time.sleep(0.01)

    @staticmethod
    def _context(ca: Path, files: Files | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(ca))
        if files is not None:
            context.load_cert_chain(files.cert, files.key)
        return context

    def _on_connect(self, _client: object, _data: object, _flags: object, code: mqtt.ReasonCode, _p: object) -> None:
        if code.is_failure:
            self.refusal = str(code)
            self.gone.set()
        else:
            self.come.set()

    def _on_subscribe(self, _c: object, _d: object, _mid: int, codes: list[mqtt.ReasonCode], _p: object) -> None:
        self.codes = list(codes)
        self.subscribed.set()

    def _on_publish(self, *_words: object) -> None:
        self.acknowledged += 1

    def is_in(self) -> bool:
        return self.come.is_set() and not self.gone.is_set()

    def hears(self, *filters: str) -> list[bool]:
        """Which of these it was let subscribe to; none when it was put out for it."""
        self.subscribed.clear()
        self.mqtt.subscribe([(pattern, 1) for pattern in filters])
        until_s = time.monotonic() + 60
        while not self.subscribed.is_set() and not self.gone.is_set() and time.monotonic() < until_s:
            time.sleep(0.01)
        return [not code.is_failure for code in self.codes] if self.subscribed.is_set() else []  # type: ignore[attr-defined]

    def says(self, topic: str, payload: bytes) -> None:
        self.mqtt.publish(topic, payload, qos=1)

    def close(self) -> None:
        self.mqtt.leave()
