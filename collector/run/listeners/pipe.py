"""Between `serve` and a listener in a process of its own: a pair of sockets, one JSON object a line, both ways.

Neither end waits for the other: one that does not read is cut off, and a listener that is cut off is started anew.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from agent.common.logs import Event

CUT = Event(__name__, "error", "pipe_cut", "a process of ours says what is no note, or reads none; it is cut off",
            key="process", fields="error")  # fmt: skip

LINE_BYTES = 4 << 20  # the codes of a nation's centers
SEND_S = 5.0


class State(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A part that must have done its work within `within_s`, and how long ago it last did."""

    part: str
    within_s: float
    age_s: float


class ListenerNote(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """`centers` have news; `is_news`: people are to be told of something; the rest is the collector's health."""

    centers: list[str] = []
    is_news: bool = False
    watched: list[State] = []
    missing: list[str] = []


class ListenerPipe:
    """One end, from `start` to `close`. `receive` gets each note in a thread, which calls `ended` when there are no
    more."""

    def __init__(
        self,
        name: str,
        line: socket.socket,
        receive: Callable[[ListenerNote], None],
        ended: Callable[[], None] = lambda: None,
        send_s: float = SEND_S,
    ) -> None:
        self._name, self._line, self._receive, self._ended = name, line, receive, ended
        line.setblocking(True)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(send_s), int(send_s % 1 * 1e6)))
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"{name} pipe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, note: ListenerNote) -> None:
        """Any thread. After the end it goes nowhere."""
        with self._turn:
            try:
                self._line.sendall(msgspec.json.encode(note) + b"\n")
            except BlockingIOError as error:
                CUT.log(process=self._name, error=error)
                self.close()
            except OSError:  # it has ended, which the reader notices
                self.close()

    def close(self) -> None:
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            with self._line.makefile("rb") as lines:
                while line := lines.readline(LINE_BYTES):
                    self._receive(msgspec.json.decode(line, type=ListenerNote))
        except msgspec.MsgspecError as error:
            CUT.log(process=self._name, error=error)
        except OSError:
            pass
        finally:
            self.close()
            with self._turn:
                self._line.close()
            self._ended()
