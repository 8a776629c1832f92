"""What a client may meet at a port: peers that go so far with a connection and no further, and a hole."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.helpers.waiting import PATIENCE_S

CONNACK = b"\x20\x02\x00\x00"


class Peer:
    """Listens at a port of its own, and with each connection goes as far as `behave` does; closed with the test."""

    def __init__(self, behave: Callable[[socket.socket], object], backlog: int = 5) -> None:
        self.place = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.place.getsockname()[1]
        self.here = threading.Event()  # the stage is reached
        self._behave, self._held = behave, list[socket.socket]()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                made, _ = self.place.accept()
            except OSError:
                return
            self._held.append(made)
            with contextlib.suppress(OSError):
                self._behave(made)
            self.here.set()

    def close(self) -> None:
        self.place.shutdown(socket.SHUT_RDWR)
        for entry in self._held:
            with contextlib.suppress(OSError):
                entry.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        for item in [self.place, *self._held]:
            item.close()


@contextlib.contextmanager
def peer(behave: Callable[[socket.socket], object]) -> Iterator[Peer]:
    made = Peer(behave)
    try:
        yield made
    finally:
        made.close()


def silent(_made: socket.socket) -> None:
    """Takes the connection, and says nothing."""


def welcome(made: socket.socket) -> None:
    made.recv(1000)
    made.sendall(CONNACK)


def subscribed(made: socket.socket) -> None:
    """Lets a gateway subscribe to its two topics, and says nothing any more (MQTT 3.1.1, 3.9)."""
    welcome(made)
    made.sendall(b"\x90\x04" + made.recv(1000)[2:4] + b"\x01\x01")


def deaf(made: socket.socket) -> None:
    """Says welcome and reads nothing any more."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    welcome(made)


def gone(made: socket.socket) -> None:
    welcome(made)
    made.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port whose queue is full: the kernel answers no further connection."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = place.getsockname()[1]
        while True:
            listening = stack.enter_context(socket.socket())
            listening.settimeout(0.5)
            try:
                listening.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port
