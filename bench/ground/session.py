"""A gateway's MQTT 3.1.1 session in asyncio, so light that one process holds thousands and still measures the broker.

As much of the protocol (OASIS, 2014) as a gateway needs: CONNECT, SUBSCRIBE, PUBLISH with QoS 1 both ways, PINGREQ.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90, 0xC0
QOS_1 = 0x02
KEEPALIVE_S = 300
MAX_PACKET_BYTES = 1 << 20


class SessionEnded(ConnectionError):
    """The broker refused, closed or said what no broker says."""


class Session:
    """`deliver(topic, payload)` is called for each message. Use `connect`, then `run` until it raises."""

    def __init__(self, client_id: str, deliver: Callable[[str, bytes], None]) -> None:
        self._client_id = client_id
        self._deliver = deliver
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._last_id = 0
        self.up = False
        self.unanswered_s: float | None = None  # monotonic: since then the broker has answered nothing

    async def connect(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        topics: Sequence[str],
        timeout_s: float,
        answer_s: float | None = None,
    ) -> None:
        """TCP, TLS, CONNECT and SUBSCRIBE within `timeout_s`, each answer in `answer_s`. Raises OSError (TimeoutError,
        SessionEnded)."""
        async with asyncio.timeout(timeout_s):
            self._reader, self._writer = await asyncio.open_connection(
                host, port, ssl=context, ssl_handshake_timeout=timeout_s if context else None
            )
            body = text("MQTT") + struct.pack("!BBH", 4, 0x02, KEEPALIVE_S) + text(self._client_id)
            self._write(CONNECT, body)
            if (await self._expect(CONNACK, answer_s))[1]:
                raise SessionEnded("the broker refuses this gateway")
            self._write(SUBSCRIBE, self._next_id() + b"".join(text(topic) + b"\x01" for topic in topics))
            if any(code & 0x80 for code in (await self._expect(SUBACK, answer_s))[2:]):
                raise SessionEnded("the broker refuses a subscription")
        self.up = True

    async def run(self) -> None:
        """Takes what comes. Raises OSError when the session ends."""
        ping = asyncio.get_running_loop().create_task(self._ping())
        try:
            while True:
                head, body = await self._packet()
                if head & 0xF0 in (PUBLISH, PUBACK):
                    self.unanswered_s = None
                if head & 0xF0 == PUBLISH:
                    self._take(head, body)
        except asyncio.IncompleteReadError:
            raise SessionEnded("the broker closed the session") from None
        finally:
            self.up = False
            ping.cancel()

    def publish(self, topic: str, payload: bytes) -> None:
        """Handed over once, QoS 1; whoever wants an answer waits for a receipt, not for the PUBACK."""
        self.unanswered_s = self.unanswered_s or time.monotonic()
        self._write(PUBLISH | QOS_1, text(topic) + self._next_id() + payload)

    def drop(self) -> None:
        """Ends the session without a word; `run` raises."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def close(self) -> None:
        self.up = False
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    await self._writer.wait_closed()

    def _take(self, head: int, body: bytes) -> None:
        (length,) = struct.unpack_from("!H", body)
        rest = 2 + length
        if head & 0x06:
            self._write(PUBACK, body[rest : rest + 2])
            rest += 2
        self._deliver(body[2 : 2 + length].decode(), body[rest:])

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_S / 2)
            self._write(PINGREQ, b"")

    async def _expect(self, wanted: int, answer_s: float | None) -> bytes:
        async with asyncio.timeout(answer_s):
            while True:
                head, body = await self._packet()
                if head == wanted:
                    return body
                if head & 0xF0 == PUBLISH:
                    self._take(head, body)

    async def _packet(self) -> tuple[int, bytes]:
        if self._reader is None:
            raise SessionEnded("not connected")
        try:
            head = (await self._reader.readexactly(1))[0]
            size, shift = 0, 0
            while True:
                byte = (await self._reader.readexactly(1))[0]
                size |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
            if size > MAX_PACKET_BYTES:
                raise SessionEnded(f"a packet of {size} bytes")
            return head, await self._reader.readexactly(size)
        except asyncio.IncompleteReadError:
            raise SessionEnded("the broker closed the session") from None

    def _write(self, head: int, body: bytes) -> None:
        if self._writer is None:
            raise SessionEnded("not connected")
        self._writer.write(bytes([head]) + remaining_length(len(body)) + body)

    def _next_id(self) -> bytes:
        self._last_id = self._last_id % 0xFFFF + 1
        return struct.pack("!H", self._last_id)


def text(words: str) -> bytes:
    raw = words.encode()
    return struct.pack("!H", len(raw)) + raw


def remaining_length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)
