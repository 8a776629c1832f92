"""A UDP echo (in the manner of RFC 862) that is no amplifier and answers nobody who did not ask for it.

A datagram begins with a cookie that its sender was handed over TCP, so its address is its own; the answer is the same
bytes, never more; and an address gets so many a second. All else is met with silence.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import cast

from agent.common.tcp.http_server import RateLimiter
from collector.speedtests.measure.limits import Limits

COOKIE_BYTES = 16
VALID_S = 300.0  # at least; at most twice as long
LEAST_BYTES, MOST_BYTES = COOKIE_BYTES + 2, 512


class Echo(asyncio.DatagramProtocol):
    """Serves while its transport is open. `clock` is monotonic seconds."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.secret = secrets.token_bytes(32)
        self.pace = RateLimiter(limits.echoes_per_address_s)
        self.transport: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int | None:
        """None when it is not offered."""
        transport = self.transport
        return None if transport is None else int(transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def cookie(self, address: str) -> bytes:
        """What makes datagrams from this address be answered, for VALID_S at least."""
        return self._cookie(address, int(self.clock() // VALID_S))

    def _cookie(self, address: str, period: int) -> bytes:
        text = f"{plain(address)} {period}".encode()
        return hmac.new(self.secret, text, hashlib.sha256).digest()[:COOKIE_BYTES]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.transport is not None and LEAST_BYTES <= len(data) <= MOST_BYTES and self._is_known(data, addr[0]):
            self.transport.sendto(data, addr)

    def _is_known(self, data: bytes, address: str) -> bool:
        """The pace counts only what has a cookie: who forges an address cannot use up its owner's share."""
        now = self.clock()
        shown, period = data[:COOKIE_BYTES], int(now // VALID_S)
        fresh = [self._cookie(address, item) for item in (period, period - 1)]
        return any(hmac.compare_digest(shown, reading) for reading in fresh) and self.pace.admits(plain(address), now)


def plain(address: str) -> str:
    """An IPv4 address is the same whichever family's socket it came to."""
    return address.partition("%")[0].removeprefix("::ffff:")
