"""Listening sockets: bound by whoever starts the listener, bounded by the process that serves it."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence

from agent.common.errors import describe
from agent.common.tcp import ConnectionLimits, ListeningSocket, address_group
from collector.common.config import HttpSection, split_listen
from collector.run import resources
from collector.store import StoreError

REST_S = 0.002  # after every few, as others have the interpreter meanwhile where all is one process
FREED_S = 2.0  # a child of a collector that was killed outright ends with it, though not in the same moment
BACKLOG = 4096


def bind(listen: str, key: str) -> socket.socket:
    """At the address `listen` of the setting `key`. Raises StoreError."""
    host, port = split_listen(listen)
    family, until_s = socket.AF_INET6 if ":" in host else socket.AF_INET, time.monotonic() + FREED_S
    while True:
        try:
            return socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until_s:
                fault = f"cannot listen ({describe(error)}); set a free address"
                raise StoreError(f"{key} {listen}: {fault}") from None
            time.sleep(0.1)


def bounded(place: socket.socket, key: str, limits: HttpSection, proxies: Sequence[str] = ()) -> ListeningSocket:
    """Takes over `place`, for uvicorn; `proxies` may hold more than one address."""
    exempt = [address_group(address) for address in proxies]
    connections = resources.connections_of(key, limits.connections)
    per_address = min(connections, limits.connections_per_address)
    bounds = ConnectionLimits(
        connections=connections, per_address=per_address, exempt=exempt, rest_s=REST_S, counts_records=True
    )
    return ListeningSocket(place, bounds)


def bound(listen: str, key: str, limits: HttpSection, proxies: Sequence[str] = ()) -> ListeningSocket:
    """Both. Raises StoreError."""
    return bounded(bind(listen, key), key, limits, proxies)
