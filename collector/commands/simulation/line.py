"""The way to the broker: a few MQTT sessions that carry all gateways, each gateway on its own topics.

A real gateway has a session of its own. A thousand sessions from one process would measure the simulator, so each
session here carries a group; what the collector sees on each topic is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent import wire
from agent.common.mqtt import Client
from agent.common.threads import post

GROUP = 50  # gateways on one session
KEEPALIVE_S = 60


class SimulatedSession:
    """One session. `deliver(device, payload)` is called in the event loop for each receipt."""

    def __init__(
        self, number: int, broker: tuple[str, int], devices: Sequence[str], deliver: Callable[[str, bytes], None]
    ) -> None:
        self._devices = devices
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"simulate-{devices[0]}-{number}")
        self._client.max_inflight_messages_set(4 * len(devices))
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._connected
        self._client.on_message = self._arrived
        self._client.connect_async(*broker, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    @property
    def up(self) -> bool:
        return self._client.is_connected()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Hand it to the broker, once; what is not receipted the gateway sends again."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self) -> None:
        self._client.leave()

    def _connected(
        self, client: mqtt.Client, _data: object, _flags: mqtt.ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if not reason.is_failure:
            client.subscribe([(wire.receipt_topic(device), 1) for device in self._devices])

    def _arrived(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        post(self._loop, self._deliver, message.topic.rpartition("/")[2], bytes(message.payload))


def open_lines(
    broker: tuple[str, int], devices: Sequence[str], deliver: Callable[[str, bytes], None]
) -> dict[str, SimulatedSession]:
    """The line of each device."""
    lines = {}
    for number, begin in enumerate(range(0, len(devices), GROUP)):
        group = devices[begin : begin + GROUP]
        line = SimulatedSession(number, broker, group, deliver)
        lines.update(dict.fromkeys(group, line))
    return lines
