"""The cookie to which a measurement server's UDP echo answers. It is fetched over HTTP, so that nobody can make the
server answer to an address that is not theirs; and who hands it out, or answers to it, is the measurement server and
nobody in its place."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec

from agent import wire
from agent.probes.probe import ProbeFailed
from agent.probes.target import connected, parse, status_of

WITHIN_S = 5.0
ANSWER_BYTES = 4096
# Portals answer with their page, or send there (RFC 6585 section 6 has a status for it that few use).
PORTALS = frozenset({200, 301, 302, 303, 307, 308, 511})

Answerer = Literal["far_end", "stranger", "refused", "silent", "unknown"]


class _CookieAnswer(msgspec.Struct):
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    cookie: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    valid_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 60.0


@dataclass(frozen=True, kw_only=True)
class Cookie:
    """`value` begins every datagram to UDP `port`, for `valid_s` seconds."""

    port: int
    value: bytes
    valid_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Identified:
    """Who answers in the far end's place: itself (and its cookie, if it has an echo), a *stranger*, somebody who
    *refused* (anybody on the way can), nobody; or *unknown*, where it has no means to prove itself."""

    answerer: Answerer
    cookie: Cookie | None = None


async def ask_cookie(measure_url: str, address: str = "", ca_file: str = "") -> Identified:
    """Asks the measurement server at this address (empty: whichever its name has). Raises nothing."""
    try:
        async with asyncio.timeout(WITHIN_S):
            target = replace(parse(measure_url, {}, ca_file), address=address)
            async with connected(target) as (reader, writer, reached):
                writer.write(reached.head("GET", "echo", {}, "Connection: close"))
                head, _, body = (await reader.read(ANSWER_BYTES)).partition(b"\r\n\r\n")
                while not reader.at_eof() and len(body) < ANSWER_BYTES:
                    body += await reader.read(ANSWER_BYTES)
        return read_answer(head, body)
    except ProbeFailed as failed:
        return Identified(answerer=_refusal(failed.__cause__))
    except TimeoutError:
        return Identified(answerer="silent")


def read_answer(head: bytes, body: bytes) -> Identified:
    """Pure. An answer is the server's when there is a cookie in it."""
    status = status_of(head)
    if status in (0, *PORTALS):
        try:
            answer = msgspec.json.decode(body, type=_CookieAnswer)
        except wire.UNREADABLE:
            return Identified(answerer="stranger" if head else "refused")
        cookie = Cookie(port=answer.port, value=bytes.fromhex(answer.cookie), valid_s=answer.valid_s)
        return Identified(answerer="far_end" if status == 200 else "stranger", cookie=cookie)
    return Identified(answerer="unknown")  # busy, or a server without an echo


def _refusal(error: BaseException | None) -> Answerer:
    if isinstance(error, ssl.SSLError):  # another's certificate, or none at all
        return "stranger"
    return "refused" if isinstance(error, ConnectionError) else "silent"
