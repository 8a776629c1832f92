"""A listening socket that bounds what it accepts, for every server here: asyncio's, uvicorn's and the brokers'.

Connections are counted from their first byte, before TLS. When all are taken, the address that holds most gives up its
oldest, so that who floods pays and not who comes last. When descriptors run out, who waits is closed at once: asyncio
would write a traceback for each of its backlog, and try again a second later.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from agent.common.logs import Event

OUT_OF_DESCRIPTORS = Event(
    __name__, "warning", "descriptors_exhausted", "no descriptor is free for a connection, which is closed unanswered",
    fields="listener error",
)  # fmt: skip
ADDRESS_OVER_LIMIT = Event(
    __name__, "warning", "address_over_limit", "an address holds as many connections as one may; more are closed",
    key="listener", fields="address limit",
)  # fmt: skip
LISTENER_FULL = Event(
    __name__, "warning", "listener_full", "a listener holds as many connections as it may; of the address with most "
    "the oldest is closed", key="listener", fields="address limit",
)  # fmt: skip

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REFUSED_AT_ONCE = 64  # then the loop serves others, before the next are looked at


def address_group(address: str) -> str:
    """Whom an address stands for: itself, or its /64 (a single subscriber has at least that many of IPv6)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket's peer has none
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """At once. `exempt` are groups of addresses (`address_group`) that only the whole bounds: a proxy in front."""

    connections: int
    per_address: int
    exempt: Collection[str] = ()


class _Accepted(socket.socket):
    """Tells its listener when it is closed, whoever closes it."""

    def __init__(self, fileno: int, closed: Callable[[_Accepted], None]) -> None:
        super().__init__(fileno=fileno)
        self._on_close: Callable[[_Accepted], None] | None = closed

    def close(self) -> None:
        super().close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(self)


class ListeningSocket(socket.socket):
    """Takes over `bound`. Used by one event loop alone."""

    def __init__(self, bound: socket.socket, limits: ConnectionLimits) -> None:
        timeout = bound.gettimeout()
        super().__init__(fileno=bound.detach())
        self.settimeout(timeout)
        self._limits = limits
        self._name = "{}:{}".format(*self.getsockname()[:2])
        self._open: dict[str, dict[_Accepted, None]] = {}  # by group of addresses, the oldest first
        self._count = 0
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when nobody waits, OSError when it cannot listen."""
        for _ in range(REFUSED_AT_ONCE):
            try:
                connection, peer = super().accept()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._close_waiting(error)
                continue
            admitted = self._admit(connection, str(peer[0]))
            if admitted is not None:
                return admitted, peer
        raise BlockingIOError(errno.EAGAIN, "the next are looked at later")

    def close(self) -> None:
        super().close()
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)

    def _close_waiting(self, error: OSError) -> None:
        """With the descriptor that is kept for this: else who waits keeps the loop awake for nothing."""
        OUT_OF_DESCRIPTORS.log(listener=self._name, error=error)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        try:
            super().accept()[0].close()
        finally:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)

    def _admit(self, connection: socket.socket, address: str) -> socket.socket | None:
        """None, and `connection` closed, when it has no room."""
        group, limits = address_group(address), self._limits
        held = len(self._open.get(group, ()))
        if held >= limits.per_address and group not in limits.exempt:
            ADDRESS_OVER_LIMIT.log(listener=self._name, address=group, limit=limits.per_address)
        elif self._count < limits.connections or self._has_made_room(held):
            accepted = _Accepted(connection.detach(), lambda closed: self._release(group, closed))
            self._open.setdefault(group, {})[accepted] = None
            self._count += 1
            return accepted
        connection.close()
        return None

    def _has_made_room(self, held: int) -> bool:
        """For one whose address holds `held`: of the one that holds most, the oldest is shut."""
        groups = [group for group in self._open if group not in self._limits.exempt]
        heaviest = max(groups, key=lambda group: len(self._open[group]), default=None)
        if heaviest is None or len(self._open[heaviest]) <= held + 1:
            return False
        LISTENER_FULL.log(listener=self._name, address=heaviest, limit=self._limits.connections)
        oldest = next(iter(self._open[heaviest]))
        self._release(heaviest, oldest)
        with contextlib.suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)  # its server reads the end, and closes it
        return True

    def _release(self, group: str, closed: _Accepted) -> None:
        """Once for each, though one that made room is closed later."""
        group_open = self._open.get(group, {})
        if closed in group_open:
            del group_open[closed]
            self._count -= 1
            if not group_open:
                self._open.pop(group)
