"""The MQTT client of ingest: takes all that came with one read, and acknowledges it with one write.

paho reads a packet with three system calls and acknowledges it with two more, which bounds it to a few thousand
messages a second; whatever the broker holds for us waits behind those of a gateway that floods."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.client import MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTErrorCode
from paho.mqtt.properties import MalformedPacket  # type: ignore[attr-defined]  # where 2.1 and 2.2 have it

from agent.common.mqtt import Client

READ_BYTES = 256 * 1024
MAX_LENGTH_BYTES = 4  # MQTT 3.1.1, 2.2.3
QOS_BITS = 0x06
QOS_1 = 0x02

Receive = Callable[[str, bytes, int], None]  # topic, payload, message id


class Malformed(ValueError):
    """The broker's bytes are no MQTT."""


class BulkClient(Client):
    """`receive` gets each message of QoS 1, in paho's thread; it is acknowledged by `acknowledge`, in any thread. All
    else, and all of WebSocket, goes paho's way."""

    def __init__(self, receive: Receive, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, manual_ack=True, **options)
        self._receive = receive
        self._has_properties = options.get("protocol") == mqtt.MQTTv5
        self._is_stream = options.get("transport", "tcp") == "tcp"
        self._held = bytearray()
        self._acks: deque[int] = deque()
        self.on_message = lambda _client, _data, message: receive(
            _text(message._topic), bytes(message.payload), message.mid
        )

    def reconnect(self) -> MQTTErrorCode:
        """Raises OSError."""
        self._held.clear()
        self._acks.clear()
        return super().reconnect()

    def acknowledge(self, mid: int) -> None:
        """One of QoS 0 has no id, and no answer."""
        if not mid:
            return
        self._acks.append(mid)
        bell = self._sockpairW
        if bell is not None and threading.current_thread() is not self._thread:
            with contextlib.suppress(OSError):  # it rings already, or there is no session any more
                bell.send(b"0")

    def want_write(self) -> bool:
        return bool(self._acks) or super().want_write()

    def loop_write(self) -> MQTTErrorCode:
        if mids := [self._acks.popleft() for _ in range(len(self._acks))]:
            packets = b"".join(b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids)
            self._out_packet.append(_outgoing(packets))
        return super().loop_write()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        if not self._is_stream:
            return super().loop_read(max_packets)
        try:
            came = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            came = b""
        if not came:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._last_bytes_received = time.monotonic()
        self._held += came
        try:
            return self._take_all()
        except Malformed:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)

    def _take_all(self) -> MQTTErrorCode:
        """Raises Malformed."""
        held, self._held = bytes(self._held), bytearray()
        end = 0
        for first, begin, end in packets(held):
            if first & 0xF0 == MessageType.PUBLISH and first & QOS_BITS == QOS_1:
                self._receive(*published(held[begin:end], has_properties=self._has_properties))
            elif code := self._handle(first, held[begin:end]):
                return self._loop_rc_handle(code)
        self._held += held[end:]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle(self, first: int, body: bytes) -> MQTTErrorCode:
        self._in_packet["command"], self._in_packet["packet"] = first, bytearray(body)
        self._in_packet["remaining_length"], self._in_packet["pos"] = len(body), 0
        try:
            return self._packet_handle()
        except (MalformedPacket, struct.error) as error:
            raise Malformed from error


def packets(held: bytes) -> Iterator[tuple[int, int, int]]:
    """The first byte of each whole packet, and where its body begins and ends. Raises Malformed."""
    begin = 0
    while (extent := _length(held, begin + 1)) is not None:
        length, body = extent
        if body + length > len(held):
            return
        yield held[begin], body, body + length
        begin = body + length


def _length(held: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer (MQTT 5, 1.5.5) and where it ends; None where it is not whole. Raises Malformed."""
    value = 0
    for number, byte in enumerate(held[at : at + MAX_LENGTH_BYTES]):
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value, at + number + 1
    if len(held) >= at + MAX_LENGTH_BYTES:
        raise Malformed
    return None


def published(body: bytes, *, has_properties: bool) -> tuple[str, bytes, int]:
    """Topic, payload and message id of a PUBLISH of QoS 1 (MQTT 3.1.1, 3.3). Raises Malformed."""
    end = 2 + int.from_bytes(body[:2], "big")
    payload = end + 2
    if payload > len(body):
        raise Malformed
    if has_properties:
        extent = _length(body, payload)
        if extent is None or sum(extent) > len(body):
            raise Malformed
        payload = sum(extent)
    return _text(body[2:end]), body[payload:], int.from_bytes(body[end : end + 2], "big")


def _text(topic: bytes) -> str:
    """Empty where it is not UTF-8."""
    try:
        return topic.decode()
    except UnicodeDecodeError:
        return ""


def _outgoing(packet: bytes) -> Any:
    return {
        "command": MessageType.PUBACK, "mid": 0, "qos": 0, "pos": 0, "to_process": len(packet), "packet": packet,
        "info": MQTTMessageInfo(0),
    }  # fmt: skip
