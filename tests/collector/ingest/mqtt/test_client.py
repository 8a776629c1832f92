"""The client of ingest: whatever way the broker's bytes are cut, the same messages come, and each is acknowledged."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.mqtt.client import BulkClient, Malformed, packets, published
from tests.helpers.peers import CONNACK, peer
from tests.helpers.waiting import PATIENCE_S, wait_until

TOPIC = b"nabz/v1/up/g"
PROPERTIES = b"\x26\x00\x01k" + (300).to_bytes(2, "big") + b"v" * 300  # a user property of 300 bytes


def length(value: int) -> bytes:
    found = bytearray()
    while True:
        value, rest = divmod(value, 128)
        found.append(rest | (128 if value else 0))
        if not value:
            return bytes(found)


def publish(mid: int, payload: bytes, *, qos: int = 1, topic: bytes = TOPIC, properties: bytes | None = None) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"")
    body += b"" if properties is None else length(len(properties)) + properties
    return bytes([0x30 | qos << 1]) + length(len(body) + len(payload)) + body + payload


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % len(stream) for place in places})
    return [stream[begin:end] for begin, end in zip([0, *ends], [*ends, len(stream)], strict=True)]


def test_messages_come_whole_and_in_order_and_are_acknowledged_once() -> None:
    sizes = (0, 1, 127, 128, 20_000, 300_000, *([16] * 3_000))
    stream = b"".join(publish(number, bytes([number % 256]) * size) for number, size in enumerate(sizes, 1))
    came, acks = list[tuple[str, bytes, int]](), bytearray()

    def behave(made: socket.socket) -> None:
        made.recv(1000)
        made.sendall(CONNACK)
        for piece in cut(stream, [1, 2, 3, 150, 151, 20_500, 20_501, 330_000, 330_001, 350_007]):
            made.sendall(piece)
        while len(acks) < 4 * len(sizes):
            acks.extend(made.recv(65_536))

    with peer(behave) as broker:
        client = BulkClient(lambda *message: came.append(message), client_id="n")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        wait_until(lambda: len(came) == len(sizes))
        halves = [range(1, 1_000), range(1_000, len(sizes) + 1)]  # by other threads, as a worker does
        threads = [
            threading.Thread(target=lambda half: [*map(client.acknowledge, half)], args=(half,)) for half in halves
        ]
        for thread in threads:
            thread.start()
        assert broker.here.wait(PATIENCE_S)
        client.leave()
    assert [(len(payload), mid) for _, payload, mid in came] == [(size, mid) for mid, size in enumerate(sizes, 1)]
    assert {topic for topic, _, _ in came} == {TOPIC.decode()}
    assert sorted(acks[at : at + 4] for at in range(0, len(acks), 4)) == [
        b"\x40\x02" + mid.to_bytes(2, "big") for mid in range(1, len(sizes) + 1)
    ]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(0, 3_000))
def test_a_part_of_the_stream_gives_its_whole_packets(payloads: list[bytes], end: int) -> None:
    made = [publish(mid, payload) for mid, payload in enumerate(payloads, 1)]
    held = b"".join(made)[:end]
    found = [published(held[begin:until], has_properties=False) for _, begin, until in packets(held)]
    ends = [sum(map(len, made[: number + 1])) for number in range(len(made))]
    whole = sum(until <= end for until in ends)
    assert found == [(TOPIC.decode(), payload, mid) for mid, payload in enumerate(payloads[:whole], 1)]


@given(st.binary(max_size=200), st.booleans())
def test_whatever_the_bytes_there_is_a_message_or_one_error(held: bytes, has_properties: bool) -> None:
    try:
        for _first, begin, end in packets(held):
            published(held[begin:end], has_properties=has_properties)
    except Malformed:
        pass


def test_properties_of_mqtt_5_are_passed_over() -> None:
    held = publish(7, b"payload", properties=PROPERTIES)
    (found,) = [published(held[begin:end], has_properties=True) for _, begin, end in packets(held)]
    assert found == (TOPIC.decode(), b"payload", 7)


@pytest.mark.parametrize("sent", [b"\x32\xff\xff\xff\xff\x01", b"\x32\x02\x00\x09", b"\x90\x00", b"\xf0\x00"])
def test_a_broker_that_speaks_no_mqtt_is_left(sent: bytes) -> None:
    gone = threading.Event()
    with peer(lambda made: made.sendall(made.recv(1000)[:0] + CONNACK + sent)) as broker:
        client = BulkClient(lambda *_message: None, client_id="n", reconnect_on_failure=False)
        client.on_disconnect = lambda *_words: gone.set()
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        assert gone.wait(PATIENCE_S)
        client.leave()


def test_a_message_of_qos_0_and_a_topic_that_is_no_text_come_too_and_have_no_answer() -> None:
    came, acks = list[tuple[str, bytes, int]](), list[bytes]()

    def behave(made: socket.socket) -> None:
        made.recv(1000)
        made.sendall(CONNACK + publish(0, b"a", qos=0) + publish(5, b"b", topic=b"\xff\xfe"))
        acks.append(made.recv(1000))

    with peer(behave) as broker:
        client = BulkClient(lambda *message: (came.append(message), client.acknowledge(message[2])), client_id="n")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        assert broker.here.wait(PATIENCE_S)
        client.leave()
    assert came == [(TOPIC.decode(), b"a", 0), ("", b"b", 5)]
    assert acks == [b"\x40\x02\x00\x05"]


def test_a_session_that_begins_anew_knows_nothing_of_the_bytes_before() -> None:
    came, sessions = list[bytes](), list[int]()

    def behave(made: socket.socket) -> None:
        made.recv(1000)
        sessions.append(1)
        half = publish(1, b"half")[:-2]
        made.sendall(CONNACK + (half if len(sessions) == 1 else publish(1, b"whole")))
        if len(sessions) == 1:
            made.shutdown(socket.SHUT_RDWR)

    with peer(behave) as broker:
        client = BulkClient(lambda _topic, payload, _mid: came.append(payload), client_id="n")
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        wait_until(lambda: bool(came))
        client.leave()
    assert came == [b"whole"]
