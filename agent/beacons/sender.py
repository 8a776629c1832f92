"""Sends beacons while the collector gives no receipts: by a line of their own, or by a gateway of text messages."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import urllib.parse
from typing import Protocol

from agent.beacons import text
from agent.common.errors import describe
from agent.common.logs import Event
from agent.config import SecondPathSection
from agent.identity import Identity
from agent.uplink import trust

SENT = Event(__name__, "info", "beacon_sent", "the second path took a beacon: no receipts come by the line",
    key="host", fields="silent_s",
)  # fmt: skip
UNSENT = Event(__name__, "warning", "beacon_unsent", "the second path took no beacon; the next goes in its turn",
    key="host", fields="error",
)  # fmt: skip

CHECK_S = 15.0
TIMEOUT_S = 60.0  # of each step; a modem that dials takes long
PATH = "/api/v1/alive"  # of the collector
PLACE = "{text}"  # in a URL: where the beacon goes


def is_due(section: SecondPathSection, silent_s: float, since_sent_s: float) -> bool:
    """Whether a beacon is to be sent: after so long without a receipt, and then not more often than it may be."""
    return silent_s >= section.after_min * 60 and since_sent_s >= section.every_min * 60


class FirstPath(Protocol):
    """What is known of the first path."""

    def since_receipt_s(self) -> float: ...


class BeaconSender:
    """`clock` is the collector's time, as far as it is known. What goes to the collector itself is for the root that
    was pinned at enrolment; other https servers are judged by the system's."""

    def __init__(
        self,
        section: SecondPathSection,
        mine: Identity,
        clock: trust.TrustedClock,
        line: FirstPath,
        check_s: float = CHECK_S,
    ) -> None:
        self._section, self._mine, self._clock = section, mine, clock
        self._url = section.url or f"{mine.url.rstrip('/')}{PATH}"
        self._line, self._check_s = line, check_s

    async def run(self) -> None:
        """Never, where no second path is set."""
        loop, sent_s = asyncio.get_running_loop(), float("-inf")
        while self._section.enabled:
            silent_s = self._line.since_receipt_s()
            if is_due(self._section, silent_s, loop.time() - sent_s):
                sent_s = loop.time()
                await self._send(silent_s)
            await asyncio.sleep(self._check_s)

    async def _send(self, silent_s: float) -> None:
        host = urllib.parse.urlsplit(self._url).hostname or ""
        beacon = text.make(self._mine.device, self._clock.now_ms() // 1000, self._mine.sign)
        try:
            await asyncio.to_thread(self._post, beacon)
        except (OSError, ValueError, http.client.HTTPException) as error:
            UNSENT.log(host=host, error=describe(error))
        else:
            SENT.log(host=host, silent_s=round(silent_s))

    def _post(self, beacon: str) -> None:
        """Raises OSError, ValueError or HTTPException. A URL with a place for the text is asked for by GET."""
        parts = urllib.parse.urlsplit(self._url.replace(PLACE, urllib.parse.quote(beacon)))
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        is_get = PLACE in self._url
        with contextlib.closing(self._connection(parts)) as connection:
            if is_get:
                connection.request("GET", target)
            else:
                connection.request("POST", target, beacon.encode(), {"Content-Type": "text/plain"})
            status = connection.getresponse().status
        if not 200 <= status < 300:
            raise OSError(f"answered {status}")

    def _connection(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        host, is_tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        plain = connect(host, port, self._section.interface)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        connection.sock = plain
        try:
            if is_tls:
                connection.sock = self._secured(plain, host)
        except BaseException:
            plain.close()
            raise
        return connection

    def _secured(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        """Raises OSError."""
        if self._section.url or self._mine.tls is None:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        secured = trust.context(self._mine.tls.ca, self._clock).wrap_socket(plain, server_hostname=host)
        try:
            trust.check_time(secured, self._clock)
        except trust.Untrusted as error:
            secured.close()
            raise OSError(describe(error)) from None
        return secured


def connect(host: str, port: int, interface: str) -> socket.socket:
    """A TCP connection; by this interface alone, where one is named (SO_BINDTODEVICE, socket(7)). Raises OSError."""
    failure: OSError = OSError(f"{host}: has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        attempt = socket.socket(family, kind, protocol)
        attempt.settimeout(TIMEOUT_S)
        try:
            if interface:
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            attempt.connect(address)
        except OSError as error:
            attempt.close()
            failure = error
        else:
            return attempt
    raise failure
