"""How the measurement server sees this center: its public address, and whose network that is.

LibreSpeed's `getIP` reports it; no other service is used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from dataclasses import dataclass

from agent.probes.probe import ProbeFailed
from agent.probes.target import CONNECT_S, Target, find, hang_up, parse, status_of

ANSWER_BYTES = 16 * 1024
TEXT = 200  # as much as the wire takes


@dataclass(frozen=True, kw_only=True)
class ServerView:
    """`network` is an ASN or a provider's name, as the server puts it. None is unknown."""

    address: str | None = None
    network: str | None = None


async def seen_by(server: str, ca_file: str = "") -> ServerView:
    """Unknown where the server does not answer within a few seconds."""
    try:
        async with asyncio.timeout(2 * CONNECT_S):
            return parse_answer(await _ask(await find(parse(server, {}, ca_file))))
    except (OSError, ValueError, ProbeFailed):  # TimeoutError among them: the test itself will report what is wrong
        return ServerView()


async def _ask(target: Target) -> bytes:
    reader, writer = await asyncio.open_connection(
        target.address, target.port, ssl=target.tls, server_hostname=target.host if target.tls else None
    )
    try:
        writer.write(target.head("GET", "getIP", {"isp": "true"}, "Connection: close"))
        answer = await reader.read(ANSWER_BYTES)
        while len(answer) < ANSWER_BYTES and (more := await reader.read(ANSWER_BYTES - len(answer))):
            answer += more
    finally:
        await hang_up(writer)
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if status_of(head) == 200 else b""


def parse_answer(body: bytes) -> ServerView:
    """`{"processedString": "ADDRESS - NETWORK", "rawIspInfo": …}`, chunked or not, or the bare address of old servers.
    What is no address is nobody's."""
    start, end = body.find(b"{"), body.rfind(b"}")
    if start < 0:
        return ServerView(address=_address(body.decode("latin-1").strip()))
    try:
        answer = json.loads(body[start : end + 1])
    except (ValueError, RecursionError):
        return ServerView()
    shown, raw = answer.get("processedString"), answer.get("rawIspInfo")
    address, _, network = shown.partition(" - ") if isinstance(shown, str) else ("", "", "")
    org = raw.get("org") if isinstance(raw, dict) else None
    known = org if isinstance(org, str) and org else network
    return ServerView(address=_address(address.strip()), network=" ".join(known.split())[:TEXT] or None)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
