"""A gateway that publishes what a file holds, over and over, whatever the broker answers: `siege` runs it.

`python -m bench.fleet.flood PORT CA CERT KEY DEVICE FILE QOS MBIT`: FILE is a list of payloads (MessagePack). A session
that ends is begun again after a second, until the process is ended.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import msgspec

from agent import wire
from bench.ground.session import CONNECT, PUBLISH, remaining_length, text

KEEPALIVE_S = 600
CHUNK_BYTES = 64 * 1024
AGAIN_S = 1.0


def packets(device: str, payloads: Sequence[bytes], qos: int) -> list[bytes]:
    """PUBLISH packets in chunks, as each write costs a TLS record."""
    chunks, chunk = [], bytearray()
    for number, payload in enumerate(payloads):
        body = text(wire.batch_topic(device)) + struct.pack("!H", number % 0xFFFF + 1) + payload
        chunk += bytes([PUBLISH | qos << 1]) + remaining_length(len(body)) + body
        if len(chunk) >= CHUNK_BYTES:
            chunks.append(bytes(chunk))
            chunk.clear()
    return [*chunks, bytes(chunk)]


def flood(line: ssl.SSLSocket, device: str, chunks: Sequence[bytes], bytes_s: float) -> None:
    """Raises OSError when the session ends."""
    body = text("MQTT") + struct.pack("!BBH", 4, 0x02, KEEPALIVE_S) + text(device)
    line.sendall(bytes([CONNECT]) + remaining_length(len(body)) + body)
    threading.Thread(target=drain, args=(line,), daemon=True).start()
    began_s, sent = time.monotonic(), 0
    for chunk in cycle(chunks):
        line.sendall(chunk)
        sent += len(chunk)
        time.sleep(max(0.0, began_s + sent / bytes_s - time.monotonic()))


def drain(line: ssl.SSLSocket) -> None:
    with suppress(OSError):
        while line.recv(CHUNK_BYTES):
            pass


def main(words: Sequence[str]) -> None:
    port, ca, cert, key, device, file, qos, mbit = words
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    context.load_cert_chain(cert, key)
    chunks = packets(device, msgspec.msgpack.decode(Path(file).read_bytes(), type=list[bytes]), int(qos))
    while True:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", int(port)), 10) as plain,
            context.wrap_socket(plain) as line,
        ):
            flood(line, device, chunks, float(mbit) * 125_000)
        time.sleep(AGAIN_S)


if __name__ == "__main__":
    main(sys.argv[1:])
