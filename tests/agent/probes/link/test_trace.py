"""The routers on the way, out of the kernel's error queue. The real thing is in test_link, through namespaces."""

from __future__ import annotations

import asyncio
import socket
import struct

from agent.probes.link.trace import IP_RECVERR, IPV6_RECVERR, router_of, trace


def error(origin: int, kind: int, tail: bytes) -> bytes:
    return struct.pack("=IBBBBII", 113, origin, kind, 0, 0, 0, 0) + tail


IPV4_TAIL = struct.pack("=HH4s8x", socket.AF_INET, 0, bytes([10, 0, 0, 1]))
IPV6_TAIL = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, "2001:db8::1"), 0)


def test_time_exceeded_names_the_router() -> None:
    assert router_of([(socket.IPPROTO_IP, IP_RECVERR, error(2, 11, IPV4_TAIL))]) == "10.0.0.1"
    assert router_of([(socket.IPPROTO_IPV6, IPV6_RECVERR, error(3, 3, IPV6_TAIL))]) == "2001:db8::1"


def test_other_errors_name_no_router() -> None:
    # Port unreachable comes from the target itself; a local error from this machine.
    assert router_of([(socket.IPPROTO_IP, IP_RECVERR, error(2, 3, IPV4_TAIL))]) is None
    assert router_of([(socket.IPPROTO_IP, IP_RECVERR, error(1, 0, IPV4_TAIL))]) is None
    assert router_of([(socket.IPPROTO_IP, IP_RECVERR, b"short")]) is None
    assert router_of([]) is None


def test_a_target_that_answers_itself_ends_the_trace_at_once() -> None:
    async def story() -> float:
        before = asyncio.get_running_loop().time()
        assert await trace(socket.AF_INET, ("127.0.0.1", 0), 3, 2, 5.0) == []
        return asyncio.get_running_loop().time() - before

    assert asyncio.run(story()) < 2.0
