"""What Mosquitto's own log says of sessions: MQTT has no word for a client's address, and its broker writes it there.

A line is hostile until read: names are those of gateways alone, and a session counts only where Mosquitto took its user
name from a certificate, which is what its listeners with TLS do.
"""

from __future__ import annotations

import re
from collections import OrderedDict

from collector.access import acl

MAX_LINE = 400
MAX_NAMES = 20_000  # whose last address is remembered
# Mosquitto 2.0, src/handle_connect.c; the user name stands last, and is a certificate's where it equals the client id.
BEGAN = re.compile(
    r"New client connected from (\S{1,60}):\d{1,5} as (\S{1,64}) \(p\d, c\d, k\d{1,5}, u'(\S{1,64})'\)\.?"
)
TAKEN_OVER = re.compile(r"Client (\S{1,64}) already connected, closing old connection\.?")
ROUTINE = ("New connection from ", "New client connected from ", "Client ", "Socket error on client ",
           "Bad socket read/write on client ")  # fmt: skip


class SessionLog:
    """Reads one line after the other into `book`, as the embedded broker tells it by itself."""

    def __init__(self, book: acl.Book) -> None:
        self._book = book
        self._addresses: OrderedDict[str, str] = OrderedDict()
        self._ended: set[str] = set()  # whose older session a newer one has just ended

    def read(self, line: str) -> bool:
        """Whether the line is about a connection or a session, and so is no news of the broker's."""
        if not line.startswith(ROUTINE):
            return False
        if len(line) <= MAX_LINE:
            if match := BEGAN.fullmatch(line):
                self._begin(*match.groups())
            elif (match := TAKEN_OVER.fullmatch(line)) and match[1] in self._addresses:
                self._ended.add(match[1])
        return True

    def _begin(self, address: str, name: str, user: str) -> None:
        if name != user or acl.GATEWAY.fullmatch(name) is None:
            return
        if name in self._ended:
            self._ended.discard(name)
            self._book.take_over(name, self._addresses[name], address)
        self._book.begin_session(name, address)
        self._addresses[name] = address
        self._addresses.move_to_end(name)
        if len(self._addresses) > MAX_NAMES:
            oldest, _ = self._addresses.popitem(last=False)
            self._ended.discard(oldest)
