"""Where to test against: the server's address, and under which folder it speaks LibreSpeed."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from agent import __version__
from agent.common import tls
from agent.common.causes import Cause
from agent.common.errors import describe
from agent.probes.probe import ProbeFailed

# Ours and LibreSpeed's Go backend; its PHP backend at the root; the same two in the usual folder.
PLACES = ("/empty", "/empty.php", "/backend/empty.php", "/backend/empty")
ANSWER_BYTES = 64 * 1024
CONNECT_S = 5.0
NAME_S = 8.0  # a name server that is silent costs 5 s before the next is asked (resolv.conf(5))
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")  # what answers does not speak TLS
ATTEMPT_DELAY_S = 0.25  # RFC 8305 section 5


@dataclass(frozen=True, kw_only=True)
class Target:
    """`address` is the one that answered: every stream and echo of a test goes there. `suffix` is ``.php`` or empty."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    folder: str
    suffix: str = ""
    address: str = ""
    local_address: str = ""
    extra: tuple[tuple[str, str], ...] = ()  # query fields that go with every request
    schemes: tuple[str, str] = ("http", "https")  # what it is shown as, plain and over TLS

    @property
    def place(self) -> str:
        """HOST:PORT as it stands in an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        return f"{self.schemes[self.tls is not None]}://{self.place}{self.folder}"[:200]

    def head(self, method: str, name: str, query: dict[str, str], *headers: str) -> bytes:
        """The head of a request for `name` (``garbage``, ``empty``), with a random field against caches."""
        fields = urlencode([*query.items(), *self.extra, ("r", secrets.token_hex(8))])
        lines = [
            f"{method} {self.folder}/{name}{self.suffix}?{fields} HTTP/1.1",
            f"Host: {self.place}",
            f"User-Agent: nabz-agent/{__version__}",
            "Accept-Encoding: identity",
            *headers,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def is_self_test(url: str) -> bool:
    """Whether the measurement server is this very machine: then a test measures no line."""
    host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse(server: str, extra: dict[str, str], ca_file: str = "") -> Target:
    """Raises ProbeFailed(``bad_server``, ``bad_ca_file``)."""
    try:
        parts = urlsplit(server)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError):
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise ProbeFailed("bad_server", f"speed server {server[:100]!r} must be http://HOST:PORT or https://HOST")
    tls = trust(ca_file) if parts.scheme == "https" else None
    fields = tuple((name, value) for name, value in extra.items() if value)
    return Target(host=host, port=port, tls=tls, folder=parts.path.rstrip("/"), extra=fields)


def trust(ca_file: str) -> ssl.SSLContext:
    """The system's certificates and those of `ca_file`. Raises ProbeFailed(``bad_ca_file``)."""
    context = tls.client_context(None, least=tls.BROWSERS)
    if ca_file:
        try:
            tls.believe(context, Path(ca_file))
        except tls.TlsFileError as error:
            raise ProbeFailed("bad_ca_file", f"speed.ca_file {error}") from None
    return context


async def find(target: Target) -> Target:
    """The target as it really is: which address answers and where LibreSpeed's pages are.
    Raises ProbeFailed(``portal``, ``not_a_speed_server``) and what `connected` raises."""
    statuses = []
    for place in PLACES:
        folder, _, name = place.rpartition("/")
        tried = replace(target, folder=target.folder + folder, suffix=".php" if name.endswith(".php") else "")
        status, says, server = await _ask(tried)
        if status == 200 and not says:
            return server
        statuses.append(f"{place} {'a page' if status == 200 else status}")
    raise ProbeFailed(
        "not_a_speed_server", f"{target.place} answers but does not speak LibreSpeed: {', '.join(statuses)}"
    )


async def _ask(target: Target) -> tuple[int, bool, Target]:
    """The status of GET empty, whether the answer says anything, and the target with the addresses of the connection
    used. LibreSpeed's `empty` is empty on every server; a page, of a portal or of any web server, is not."""
    async with connected(target) as (reader, writer, server):
        writer.write(target.head("GET", "empty", {}, "Connection: close"))
        answer = await reader.read(ANSWER_BYTES)
        while not reader.at_eof() and len(answer) < ANSWER_BYTES and not is_whole(answer):
            answer += await reader.read(ANSWER_BYTES)
        head, _, body = answer.partition(b"\r\n\r\n")
        if leads_away(target, head):
            raise portal(target)
        return status_of(head), bool(body.strip()) and not body.startswith(b"0\r\n"), server


def leads_away(target: Target, head: bytes) -> bool:
    """Whether an answer sends us to another host, as captive portals do and no measurement server does; they may also
    name themselves (511, RFC 6585 section 6)."""
    status = status_of(head)
    place = re.search(rb"\r\nlocation:[ \t]*https?://([^/?#\s]+)", head, re.IGNORECASE)
    if status == 511 or place is None or not 300 <= status < 400:
        return status == 511
    host = place[1].decode("latin-1").rpartition("@")[2].lower()
    return host not in (target.place.lower(), target.host.lower()) and host.rpartition(":")[0] != target.host.lower()


def portal(target: Target) -> ProbeFailed:
    why = f"in the place of the speed server {target.place} a portal answers: it wants a log-in or a payment"
    return ProbeFailed("portal", f"{why}; open any http:// page in a browser there")


def is_whole(answer: bytes) -> bool:
    """Whether enough of an answer has come to tell whether it is empty: its head, and a byte of its body if it has one
    (RFC 9112 section 6)."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and (
        bool(body) or re.search(rb"\r\ncontent-length:[ \t]*0+[ \t]*(\r\n|$)", head, re.I) is not None
    )


Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter, Target]


@contextlib.asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Connected]:
    """One connection for CONNECT_S at most, and the target with its addresses. Raises ProbeFailed(``dns``,
    ``certificate``, ``not_a_speed_server``, ``unreachable``)."""
    if not target.address:
        await _resolved(target)
    try:
        async with asyncio.timeout(CONNECT_S):
            # RFC 8305: a dead address family must not hold up the other. An address that is given is the only one.
            reader, writer = await asyncio.open_connection(
                target.address or target.host,
                target.port,
                ssl=target.tls,
                server_hostname=target.host if target.tls else None,
                happy_eyeballs_delay=ATTEMPT_DELAY_S,
            )
            try:
                peer, local = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
                yield reader, writer, replace(target, address=peer[0], local_address=local[0])
            finally:
                await hang_up(writer)
    except (OSError, ValueError) as error:  # TimeoutError and ssl.SSLError among them
        why = _why(error)
        sentence = f"the speed server {target.place} cannot be reached ({why}); check the address and that it runs"
        raise ProbeFailed(_cause(error), sentence) from error


async def _resolved(target: Target) -> None:
    """Raises ProbeFailed(``dns``): a line whose names do not resolve is another fault than a server that is away."""
    try:
        async with asyncio.timeout(NAME_S):
            await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # TimeoutError and UnicodeError among them
        why = f"no answer within {NAME_S:g} s" if isinstance(error, TimeoutError) else describe(error)
        sentence = f"the name of the speed server {target.host} does not resolve ({why}); check the name servers"
        raise ProbeFailed("dns", sentence) from error


def _cause(error: Exception) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate"
    is_no_tls = isinstance(error, ssl.SSLError) and error.reason in NO_TLS
    return "not_a_speed_server" if is_no_tls else "unreachable"


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes without waiting for what is still to be sent."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}; a private authority goes into speed.ca_file"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'no agreement'}"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error) or type(error).__name__


def status_of(line: bytes) -> int:
    """The status in a response's first line; 0 when it is none."""
    words = line.split(b" ", 2)
    known = len(words) >= 2 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() and len(words[1]) == 3
    return int(words[1]) if known else 0
