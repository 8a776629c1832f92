"""The far end of a line: how long its answers take, how many are lost, and whether it is the far end that answers.

Echoes are what is counted, sent at one random moment. Where some are missing, echoes and a second method are sent side
by side: only when the second loses clearly less are the echoes being policed, and then the second counts. Whatever
both lose is lost.

Who answers is proven by the measurement server's cookie, or by a certificate of the collector's pinned root. A box on
the way that answers in its place betrays itself by answering a packet whose TTL does not reach beyond the routers that
are known.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agent.common import tls
from agent.probes.link.echo_cookie import Answerer, Cookie, Identified, ask_cookie
from agent.probes.link.ping import (
    Echoes,
    echo_lost,
    icmp_ping,
    icmp_socket,
    ping,
    resolve,
    tcp_ping,
    udp_ping,
)

PROOF_S = 3.5  # for a certificate
SOON_S = 1.0  # with answers still out so long after the last echo, the second method begins
POLICED = 0.2  # of the echoes: so many more lost than by the second method are policed, not lost
NEAR_S = 1.5
KNOCKS = 3
IP_TTL_OPTION = {socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL)}
IP_TTL_OPTION[socket.AF_INET6] = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
TIME_CODES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED: our clock may be wrong

Impostor = Literal["portal", "filtered"]


@dataclass(frozen=True, kw_only=True)
class LinkTarget:
    """Where the line is measured to. `port` serves TCP when the host ignores echoes; `measure_url` is the measurement
    server on that host, if there is one; `tls_port` has a certificate of the collector's root, 0: none has."""

    host: str
    port: int = 443
    measure_url: str = ""
    tls_port: int = 0


@dataclass(frozen=True, kw_only=True)
class FarMeans:
    """How the far end is asked. `root` is the collector's, for `tls_port`; `proven`: it has proven itself before, so
    whoever cannot is a stranger."""

    target: LinkTarget
    count: int
    interval_s: float
    timeout_s: float
    ca_file: str = ""
    root: Path | None = None
    proven: bool = False


@dataclass(frozen=True, kw_only=True)
class FarSeen:
    """What one address answered: `first` to echoes; `again` to echoes beside `second`, another method, where some of
    the first were missing. `echoes_are_its`: the impostor answers echoes as well."""

    address: str
    first: Echoes
    again: Echoes | None = None
    second: Echoes | None = None
    answerer: Answerer = "unknown"
    impostor: Impostor | None = None
    echoes_are_its: bool = False

    @property
    def methods(self) -> list[Echoes]:
        """All that was tried, what counts last."""
        counts = self.counts
        tried = [self.first, *([self.second] if self.second else [])]
        others = [echoes for echoes in tried if echoes.method != counts.method]
        return [*others, counts]

    @property
    def counts(self) -> Echoes:
        """The echoes by which the line is judged. What an impostor answered is nobody's answer."""
        again, second = self.again or self.first, self.second
        best = second if second and echo_lost(again) - echo_lost(second) >= POLICED else self.first
        if self.impostor and (self.echoes_are_its or best.method == "tcp"):
            return replace(best, rtts_ms=(None,) * len(best.rtts_ms))
        return best


class CookieJar:
    """The cookies that are still valid, by measurement server and address; with one, a datagram is proof enough."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], tuple[Cookie, float]] = {}

    def keep(self, url: str, address: str, cookie: Cookie, now_s: float) -> None:
        self._held = {key: entry for key, entry in self._held.items() if entry[1] > now_s}
        self._held[url, address] = (cookie, now_s + cookie.valid_s)

    def get(self, url: str, address: str, needed_until_s: float) -> Cookie | None:
        cookie, until_s = self._held.get((url, address), (None, 0.0))
        return cookie if until_s > needed_until_s else None


JAR = CookieJar()


# ---------------------------------------------------------------- asking


async def ask(means: FarMeans, address: str, jar: CookieJar = JAR) -> FarSeen:
    """Raises OSError only when the system has no socket to give."""
    target, lasts_s = means.target, means.count * means.interval_s
    async with asyncio.TaskGroup() as group:
        first = group.create_task(ping(address, means.count, means.interval_s, means.timeout_s, tcp_port=target.port))
        who = group.create_task(identify(means, address, jar))
        await asyncio.wait({first}, timeout=lasts_s + SOON_S)
        again = second = None
        if not first.done() or echo_lost(first.result()):
            identified = await who
            again, second = await _side_by_side(means, address, identified.cookie)
    return FarSeen(address=address, first=first.result(), again=again, second=second, answerer=who.result().answerer)


async def _side_by_side(means: FarMeans, address: str, cookie: Cookie | None) -> tuple[Echoes, Echoes]:
    """Echoes and a second method at the same moments: datagrams to the measurement server, or else TCP handshakes."""
    count, interval_s, port = means.count, means.interval_s / 2, means.target.port
    timeout_s = means.timeout_s
    if cookie is None:
        other = tcp_ping(address, port, count, interval_s, timeout_s)
    else:
        other = udp_ping(address, cookie.port, cookie.value, count, interval_s, timeout_s)
    echoes, by_other = await asyncio.gather(ping(address, count, interval_s, timeout_s, tcp_port=port), other)
    if cookie is not None and echo_lost(by_other) == 1.0 > echo_lost(echoes):  # somebody drops these datagrams
        by_other = await tcp_ping(address, port, count, interval_s, timeout_s)
    return echoes, by_other


async def identify(means: FarMeans, address: str, jar: CookieJar = JAR) -> Identified:
    """Who answers at this address. Raises nothing but cancellation."""
    url, now_s = means.target.measure_url, time.monotonic()
    if url:
        cookie = jar.get(url, address, now_s + means.count * means.interval_s + 3 * means.timeout_s)
        if cookie is not None:
            knocks = await udp_ping(address, cookie.port, cookie.value, KNOCKS, means.interval_s, NEAR_S)
            if echo_lost(knocks) < 1:
                return Identified(answerer="far_end", cookie=cookie)
        answer = await ask_cookie(url, address, means.ca_file)
        if answer.answerer == "far_end" and answer.cookie is not None:
            jar.keep(url, address, answer.cookie, now_s)
        return _convicted(answer, means.proven)
    if means.target.tls_port and means.root is not None:
        return Identified(answerer=await by_certificate(means.target, address, means.root))
    return Identified(answerer="unknown")


def _convicted(answer: Identified, proven: bool) -> Identified:
    """A page or a certificate of another's shows a stranger only where the far end has proven itself before: else it
    may be a server of another make, or its private authority is not in the settings."""
    return answer if answer.answerer != "stranger" or proven else Identified(answerer="unknown")


async def by_certificate(target: LinkTarget, address: str, root: Path) -> Answerer:
    """Whether a certificate of the collector's root is shown; the handshake's first half is enough."""
    try:
        context = tls.client_context(root)
        async with asyncio.timeout(PROOF_S):
            _reader, writer = await asyncio.open_connection(
                address, target.tls_port, ssl=context, server_hostname=target.host
            )
            writer.transport.abort()
            return "far_end"
    except tls.TlsFileError:
        return "unknown"
    except ssl.SSLCertVerificationError as error:
        return "unknown" if error.verify_code in TIME_CODES else "stranger"
    except ssl.SSLError:  # no TLS at all
        return "stranger"
    except ConnectionError:
        return "refused"
    except OSError:  # TimeoutError among them
        return "silent"


# ---------------------------------------------------------------- unmasking


async def unmask(seen: FarSeen, means: FarMeans, ttl: int) -> FarSeen:
    """With the impostor, if one answered. `ttl` reaches the farthest router that is known to stand before the far end;
    0: none is."""
    if seen.answerer == "far_end":
        return seen
    if seen.answerer == "stranger":
        return replace(seen, impostor="portal", echoes_are_its=True)
    if not ttl:
        return seen
    port = means.target.tls_port or means.target.port
    near, echoed = await asyncio.gather(answered_within(seen.address, port, ttl), echoed_within(seen.address, ttl))
    is_alive = seen.counts.method != "tcp" and echo_lost(seen.counts) < 1 and not echoed
    if near is None:
        return replace(seen, impostor="filtered", echoes_are_its=True) if echoed else seen
    if near == "refused":
        return replace(seen, impostor="filtered", echoes_are_its=echoed)
    if is_alive:  # a proxy that speeds TCP up for a far end that is there (RFC 3135)
        return seen
    host = f"[{seen.address}]" if ":" in seen.address else seen.address
    answer = await ask_cookie(f"http://{host}:{means.target.port}", seen.address)
    if answer.answerer == "far_end":
        return replace(seen, answerer="far_end")
    return replace(seen, impostor="portal" if answer.answerer == "stranger" else "filtered", echoes_are_its=True)


async def answered_within(address: str, port: int, ttl: int) -> Literal["accepted", "refused"] | None:
    """What a TCP handshake meets that gets no farther than `ttl` routers; None: nobody so near answers for the address
    (RFC 791 section 3.2: a router drops it)."""
    family, point = await resolve(address, port)
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        sock.setsockopt(*IP_TTL_OPTION[family], ttl)
        try:
            async with asyncio.timeout(NEAR_S):
                await asyncio.get_running_loop().sock_connect(sock, point)
        except OSError as error:  # TimeoutError among them
            return "refused" if error.errno == errno.ECONNREFUSED else None
        return "accepted"


async def echoed_within(address: str, ttl: int) -> bool:
    """The same for an echo."""
    family, point = await resolve(address)
    with contextlib.ExitStack() as stack:
        sock = icmp_socket(family)
        if sock is None:
            return False
        stack.enter_context(sock)
        sock.setsockopt(*IP_TTL_OPTION[family], ttl)
        return echo_lost(await icmp_ping(sock, point, 2, 0.05, NEAR_S)) < 1
