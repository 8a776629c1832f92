"""A broker's listener that rejects MQTT 3.1.1 clients which ask for a longer keepalive than it allows."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REJECTED = b"\x20\x02\x00\x02"  # CONNACK, "identifier rejected"


def keepalive_of(connect: bytes) -> int:
    """Seconds, out of a CONNECT packet (MQTT 3.1.1 section 3.1.2.10)."""
    at = 1
    while connect[at] & 0x80:
        at += 1
    at += 3 + int.from_bytes(connect[at + 1 : at + 3], "big") + 2
    return int.from_bytes(connect[at : at + 2], "big")


@contextmanager
def strict_listener(broker_port: int, most_s: int) -> Iterator[tuple[int, list[int]]]:
    """As Mosquitto from 2.0.12 on with max_keepalive. Yields its port and the keepalives that were asked for."""
    wanted: list[int] = []
    place = socket.create_server(("127.0.0.1", 0))
    opened = [place]

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def meet(client: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed at the end of the test, or by a client that has seen enough
            serve_one(client)

    def serve_one(client: socket.socket) -> None:
        connect = client.recv(65536)
        wanted.append(keepalive_of(connect))
        if wanted[-1] == 0 or wanted[-1] > most_s:
            client.sendall(REJECTED)
            client.shutdown(socket.SHUT_RDWR)
            return
        broker = socket.create_connection(("127.0.0.1", broker_port))
        opened.append(broker)
        broker.sendall(connect)
        threading.Thread(target=pump, args=(broker, client), daemon=True).start()
        pump(client, broker)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                opened.append(place.accept()[0])
                threading.Thread(target=meet, args=(opened[-1],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield place.getsockname()[1], wanted
    finally:
        for made in opened:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            made.close()
