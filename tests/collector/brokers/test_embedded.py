"""The embedded broker: quick to start, clean to stop, and not to be filled."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as mqtt

from agent import wire
from agent.common.mqtt import Client as MqttClient
from collector.__main__ import main
from collector.brokers.embedded import FILTERS, BrokerError, EmbeddedBroker, _Amqtt
from collector.brokers.listeners import MAX_PACKET_BYTES
from collector.brokers.sessions import filters_of
from tests.helpers.processes import child
from tests.helpers.waiting import wait_until


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker("127.0.0.1", 0)
    made.start()
    yield made
    made.stop()


class Client:
    def __init__(self, port: int, *topics: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.gone = threading.Event()
        ready = threading.Event()
        self.mqtt = MqttClient(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self.mqtt.on_message = lambda _c, _d, message: self.heard.append((message.topic, bytes(message.payload)))
        self.mqtt.on_subscribe = lambda *_words: ready.set()
        self.mqtt.on_disconnect = lambda *_words: self.gone.set()
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()
        for topic in topics:
            self.mqtt.subscribe(topic, qos=1)
            assert ready.wait(60)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.mqtt.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def waits_for(self, count: int) -> None:
        until_s = time.monotonic() + 60
        while len(self.heard) < count:
            assert time.monotonic() < until_s, self.heard
            time.sleep(0.01)

    def close(self) -> None:
        self.mqtt.leave()


def test_messages_reach_who_subscribed_and_nobody_else(broker: EmbeddedBroker) -> None:
    collector, one, other = (
        Client(broker.port, "nabz/v1/up/+"),
        Client(broker.port, "nabz/v1/receipt/one"),
        Client(broker.port, "nabz/v1/receipt/other"),
    )
    one.send("nabz/v1/up/one", b"batch")
    collector.waits_for(1)
    collector.send("nabz/v1/receipt/one", b"receipt")
    one.waits_for(1)
    assert collector.heard == [("nabz/v1/up/one", b"batch")]
    assert one.heard == [("nabz/v1/receipt/one", b"receipt")]
    assert other.heard == []
    for client in (collector, one, other):
        client.close()


levels = st.text("ab", min_size=0, max_size=1)


@given(st.lists(levels, min_size=1, max_size=4), st.lists(levels | st.sampled_from(["+", "#"]), min_size=1, max_size=5))
def test_subscribers_are_found_as_the_standard_says(topic: list[str], pattern: list[str]) -> None:
    # The oracle is paho's own matching, which follows MQTT 3.1.1 section 4.7.
    if "#" in pattern[:-1]:
        return
    pattern_text, topic_text = "/".join(pattern), "/".join(topic)
    assert (pattern_text in filters_of(topic_text)) == mqtt.topic_matches_sub(pattern_text, topic_text), (
        pattern_text,
        topic_text,
    )


def test_a_topic_of_very_many_levels_costs_nothing() -> None:
    assert filters_of("/" * 60_000) == []


def test_the_largest_message_of_the_contract_passes(broker: EmbeddedBroker) -> None:
    collector, gateway = Client(broker.port, "nabz/v1/up/+"), Client(broker.port)
    largest = b"x" * (wire.MAX_BATCH_BYTES + 128)
    gateway.send(wire.batch_topic("g0123456789abcdef"), largest)
    collector.waits_for(1)
    assert collector.heard[0][1] == largest
    collector.close()
    gateway.close()


def test_who_announces_more_is_disconnected_before_it_is_read(broker: EmbeddedBroker) -> None:
    hostile, honest = Client(broker.port), Client(broker.port, "nabz/v1/up/+")
    hostile.mqtt.publish("nabz/v1/up/x", b"x" * (MAX_PACKET_BYTES + 1), qos=1)
    assert hostile.gone.wait(60)
    honest.send("nabz/v1/up/y", b"fine")
    honest.waits_for(1)
    assert honest.heard == [("nabz/v1/up/y", b"fine")]
    hostile.close()
    honest.close()


@pytest.mark.parametrize("garbage", [b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\x7f", b"\xff" * 4096, b""])
def test_garbage_on_the_socket_harms_nobody(broker: EmbeddedBroker, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as raw:
        raw.sendall(garbage)
    client = Client(broker.port, "nabz/v1/up/+")
    client.send("nabz/v1/up/y", b"fine")
    client.waits_for(1)
    client.close()


def test_nothing_is_retained(broker: EmbeddedBroker) -> None:
    first = Client(broker.port)
    first.send("nabz/v1/presence/one", b"online", retain=True)
    late = Client(broker.port, "nabz/v1/presence/+", "nabz/v1/up/+")
    late.send("nabz/v1/up/one", b"after")
    late.waits_for(1)
    assert late.heard == [("nabz/v1/up/one", b"after")]
    first.close()
    late.close()


def test_there_is_nothing_of_the_brokers_own_and_refused_filters_leave_nothing(broker: EmbeddedBroker) -> None:
    client = Client(broker.port)
    codes: list[mqtt.ReasonCode] = []
    client.mqtt.on_subscribe = lambda _c, _d, _mid, answers, _p: codes.extend(answers)
    client.mqtt.subscribe([(f"$SYS/{number}", 1) for number in range(500)])
    wait_until(lambda: len(codes) == 500, "an answer to each filter")
    assert all(code.is_failure for code in codes)
    assert broker._amqtt is not None
    ((session, _),) = broker._amqtt.sessions.values()
    assert not session.attributes.get(FILTERS)
    client.close()


def test_it_stops_cleanly_with_clients_connected_and_frees_its_port() -> None:
    made = EmbeddedBroker("127.0.0.1", 0)
    made.start()
    client = Client(made.port, "nabz/v1/up/+")
    made.stop()
    assert client.gone.wait(60)
    assert not made.is_alive()
    client.close()
    again = EmbeddedBroker("127.0.0.1", made.port)
    again.start()
    again.stop()


def test_a_port_that_is_taken_is_told_in_one_sentence(broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerError, match=f"broker 127.0.0.1:{broker.port}: cannot listen .*set .broker. listen"):
        EmbeddedBroker("127.0.0.1", broker.port).start()


def test_the_command_does_not_let_in_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker", "--listen", "0.0.0.0:1883"]) == 2
    assert "would let in anybody on the network; run `nabz-collector serve` with" in capsys.readouterr().err


def test_the_command_runs_until_it_is_told_to_stop(free_port: int) -> None:
    words = [sys.executable, "-W", "error", "-m", "collector", "broker", "--listen", f"127.0.0.1:{free_port}"]
    with child(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"broker at 127.0.0.1:{free_port}\n"
        with socket.create_connection(("127.0.0.1", free_port), timeout=60):
            pass
        process.terminate()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


class Hanging(_Amqtt):
    """One whose sessions never end."""

    async def _cleanup_session(self, _client_id: str) -> None:
        await asyncio.Event().wait()


def test_a_stop_that_hangs_has_freed_the_port(free_port: int) -> None:
    plan = EmbeddedBroker("127.0.0.1", free_port)

    async def play() -> None:
        made = Hanging(plan._own_listeners, plan._services, plan.book, asyncio.get_running_loop())
        await made.start()
        client = await asyncio.to_thread(Client, free_port, "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await made.shutdown()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", free_port))  # refused while anybody listens there
        await asyncio.to_thread(client.close)

    asyncio.run(play())
