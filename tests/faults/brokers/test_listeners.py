"""The doors of three brokers, with the settings that Nabz makes for them: who is let in, who says and hears what.

A breach is what the collector hears that it should not, or a gateway that hears another's; what a make answers to the
trespasser differs, and is no matter.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent import wire
from collector.access.ca import Files
from tests.faults.makes import MAKES, SERVICE, Client, Running
from tests.helpers.authority import TestAuthority

A, B, REVOKED = "g" + "a" * 16, "g" + "b" * 16, "g" + "c" * 16
# paho leaves the socket of a refused handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

QUICK = [("amqtt", "tcp"), ("amqtt", "websockets"), ("mosquitto", "tcp")]
DOORS = [
    pytest.param(door, marks=[] if door in QUICK else pytest.mark.slow, id="-".join(door))
    for door in ((make, transport) for make in MAKES for transport in ("tcp", "websockets"))
]
HELD_TO_THEIR_NAMES = [door for door in DOORS if door.values[0][0] != "nats"]  # NATS does not; its settings say so


@dataclass
class Scene:
    """A broker with the collector and gateway A inside, and an authority to issue for others."""

    make: str
    transport: str
    broker: Running
    authority: TestAuthority
    other: TestAuthority
    revoked: Files
    stack: ExitStack
    collector: Client = field(init=False)
    a: Client = field(init=False)

    def __post_init__(self) -> None:
        self.collector = self.client(self.authority.client(SERVICE), SERVICE)
        self.a = self.client(self.authority.client(A), A)

    def client(self, files: Files | None, client_id: str, will: str = "") -> Client:
        port = self.broker.tls if self.transport == "tcp" else self.broker.websocket
        made = Client(port, self.authority.ca_file, files, client_id, transport=self.transport, will=will)
        self.stack.callback(made.close)
        return made

    def settle(self) -> None:
        """All that was sent has been dealt with once A's own word, sent after it, has come."""
        for _ in range(2):
            if not self.a.is_in():
                self.a = self.client(self.authority.client(A), A)
            word = (wire.presence_topic(A), uuid.uuid4().bytes)
            self.a.says(*word)
            until_s = time.monotonic() + 60
            while time.monotonic() < until_s and word not in self.collector.heard:
                time.sleep(0.01)
            assert word in self.collector.heard
        time.sleep(0.1)


@pytest.fixture(params=DOORS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    make, transport = request.param
    authority = TestAuthority(tmp_path / "authority")
    revoked = authority.client(REVOKED)
    facts = {"gateways": [A, B], "revoked": [revoked], "revoked_names": [REVOKED]}
    with ExitStack() as stack:
        broker = stack.enter_context(MAKES[make](tmp_path / "broker", authority, **facts))
        if broker.embedded:
            broker.embedded.refuse([REVOKED])
        other = TestAuthority(tmp_path / "other", "another authority")
        made = Scene(make, transport, broker, authority, other, revoked, stack)
        assert made.collector.hears(*(f"{wire.ROOT}/{kind}/+" for kind in ("up", "ask", "presence"))) == [True] * 3
        assert made.a.hears(wire.receipt_topic(A), wire.task_topic(A)) == [True] * 2
        yield made


def test_a_gateway_is_heard_and_hears_its_receipts(scene: Scene) -> None:
    for kind in ("up", "ask", "presence"):
        scene.a.says(f"{wire.ROOT}/{kind}/{A}", kind.encode())
    scene.settle()
    assert {(f"{wire.ROOT}/{kind}/{A}", kind.encode()) for kind in ("up", "ask", "presence")} <= set(
        scene.collector.heard
    )
    scene.collector.says(wire.receipt_topic(A), b"receipt")
    scene.collector.says(wire.task_topic(A), b"task")
    scene.settle()
    assert sorted(scene.a.heard) == [(wire.receipt_topic(A), b"receipt"), (wire.task_topic(A), b"task")]


@pytest.mark.row(30)
def test_nobody_says_or_hears_what_is_anothers(scene: Scene) -> None:
    for topic in (
        wire.batch_topic(A),
        wire.ask_topic(A),
        wire.presence_topic(A),
        wire.receipt_topic(A),
        "x",
        "nabz/v1",
    ):
        scene.client(scene.authority.client(B), B).says(topic, b"forged")
    listens = scene.client(scene.authority.client(B), B)
    for pattern in (wire.receipt_topic(A), wire.batch_topic("+"), f"{wire.ROOT}/#", "#", "+/+/+/+"):
        listens.hears(pattern)
        if not listens.is_in():
            listens = scene.client(scene.authority.client(B), B)
    scene.a.says(wire.batch_topic(A), b"secret")
    scene.collector.says(wire.receipt_topic(A), b"secret")
    scene.settle()
    assert (wire.batch_topic(A), b"secret") in scene.collector.heard
    assert [heard for heard in scene.collector.heard if heard[1] == b"forged"] == []
    assert [heard for heard in scene.a.heard if heard[1] == b"forged"] == []
    assert listens.heard == []


@pytest.mark.row(30)
def test_a_will_is_a_word_like_others(scene: Scene) -> None:
    heir = scene.client(scene.authority.client(B), B, will=wire.presence_topic(A))
    if heir.is_in():
        line = heir.mqtt.socket()
        assert line is not None
        socket.socket(fileno=socket.dup(line.fileno())).shutdown(socket.SHUT_RDWR)  # dies without a word
        heir.gone.wait(60)
    scene.settle()
    assert [heard for heard in scene.collector.heard if heard[1] == b"a will"] == []


def strangers(scene: Scene) -> dict[str, Files | None]:
    return {
        "no certificate": None,
        "another authority": scene.other.client(A),
        "expired": scene.authority.client(A, begins_d=-40, ends_d=-1, file="expired"),
        "not yet valid": scene.authority.client(A, begins_d=1, ends_d=30, file="early"),
        "a server's": scene.authority.server(),
        "another name": scene.authority.client("Mallory"),
        "no name of a gateway": scene.authority.client("+"),
        "the name of a pattern": scene.authority.client("%u"),
        "revoked": scene.revoked,
    }


@pytest.mark.row(33)
@pytest.mark.row(33)
def test_strangers_are_not_heard_and_disturb_nobody(scene: Scene) -> None:
    for name, files in strangers(scene).items():
        visitor = scene.client(files, REVOKED if name == "revoked" else A)
        for topic in (
            wire.batch_topic(A),
            wire.batch_topic(REVOKED),
            wire.batch_topic("Mallory"),
            wire.batch_topic("x"),
        ):
            visitor.says(topic, b"from a stranger")
        visitor.hears(wire.receipt_topic(A), wire.batch_topic("+"))
        scene.collector.says(wire.receipt_topic(A), b"private")
        scene.settle()
        heard = [topic for topic, payload in scene.collector.heard if payload == b"from a stranger"]
        if name == "another name" and scene.make == "mosquitto":
            # Patterns let every certificate of our authority write under its own name, and ours are given to gateways.
            assert heard in ([], [wire.batch_topic("Mallory")])
            scene.collector.heard.clear()
        else:
            assert heard == [], name
        assert visitor.heard == [], name


@pytest.mark.parametrize("scene", HELD_TO_THEIR_NAMES, indirect=True)
@pytest.mark.row(26)
def test_another_ones_client_id_does_not_end_its_session(scene: Scene) -> None:
    for _ in range(3):
        scene.client(scene.authority.client(B), A)
    time.sleep(0.3)
    assert scene.a.is_in()


@pytest.mark.row(26)
def test_one_certificate_has_one_session_the_newest(scene: Scene) -> None:
    again = scene.client(scene.authority.client(A), A)
    assert scene.a.gone.wait(60)
    assert again.is_in()
    assert again.hears(wire.receipt_topic(A)) == [True]
    scene.collector.says(wire.receipt_topic(A), b"receipt")
    until_s = time.monotonic() + 60
    while not again.heard and time.monotonic() < until_s:
        time.sleep(0.01)
    assert again.heard == [(wire.receipt_topic(A), b"receipt")]


@pytest.mark.row(32)
def test_an_oversized_message_is_not_passed_on(scene: Scene) -> None:
    scene.client(scene.authority.client(B), B).says(wire.batch_topic(B), b"x" * 200_000)
    scene.settle()
    assert max(len(payload) for _, payload in scene.collector.heard) < 100
