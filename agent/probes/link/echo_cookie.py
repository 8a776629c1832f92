"""The cookie to which a measurement server's UDP echo answers; it is fetched over HTTP, so that nobody can make the
server answer to an address that is not theirs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import msgspec

from agent import wire
from agent.probes.probe import ProbeFailed
from agent.probes.target import connected, parse, status_of

WITHIN_S = 2.0
ANSWER_BYTES = 4096


class _CookieAnswer(msgspec.Struct):
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    cookie: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, kw_only=True)
class Cookie:
    """`value` begins every datagram to UDP `port`."""

    port: int
    value: bytes


async def ask_cookie(measure_url: str, ca_file: str = "") -> Cookie | None:
    """None when the server offers no echo, or is not reached soon: then the line is measured without it."""
    try:
        async with asyncio.timeout(WITHIN_S):
            async with connected(parse(measure_url, {}, ca_file)) as (reader, writer, target):
                writer.write(target.head("GET", "echo", {}, "Connection: close"))
                head, _, body = (await reader.read(ANSWER_BYTES)).partition(b"\r\n\r\n")
                while not reader.at_eof() and len(body) < ANSWER_BYTES:
                    body += await reader.read(ANSWER_BYTES)
            answer = msgspec.json.decode(body, type=_CookieAnswer) if status_of(head) == 200 else None
    except (TimeoutError, ProbeFailed, *wire.UNREADABLE):
        return None
    return None if answer is None else Cookie(port=answer.port, value=bytes.fromhex(answer.cookie))
