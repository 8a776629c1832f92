"""What the measurement server saw: the upload's count where this machine's kernel does not report what was
delivered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

import msgspec

from agent import wire
from agent.probes.probe import ProbeFailed
from agent.probes.speed.multistream import rate
from agent.probes.speed.multistream.saturation import DirectionResult
from agent.probes.target import CONNECT_S, Target, hang_up, status_of

RECORD_BYTES = 256 * 1024
Points = Annotated[list[float], msgspec.Meta(max_length=5000)]


class Curve(msgspec.Struct):
    """Cumulative payload bytes at milliseconds after the test's start."""

    at_ms: Points
    total: Points


class ServerCounts(msgspec.Struct):
    up: Curve


async def upload(target: Target, test_id: str, warmup_s: float, result: DirectionResult) -> DirectionResult:
    """`result` with the server's figure for the upload. Raises ProbeFailed(``uncounted``) when it keeps no record."""
    try:
        async with asyncio.timeout(CONNECT_S):
            status, body = await _get(target, test_id)
        if status != 200:
            raise ValueError(f"answered {status}")
        curve = msgspec.json.decode(body.split(b"\n", 1)[0], type=ServerCounts).up
        mbps = slope(curve, warmup_s)
        if mbps is None:
            raise ValueError("too short for a rate")
    except (OSError, ValueError, *wire.UNREADABLE) as error:
        sentence = f"neither this kernel nor the server counts what an upload delivers (record: {error or 'no answer'})"
        raise ProbeFailed("uncounted", sentence) from None
    return replace(result, mbps=mbps)


def slope(curve: Curve, warmup_s: float) -> float | None:
    """Mbit/s after the warm-up. Raises ValueError when the curve's two columns differ in length."""
    if len(curve.at_ms) != len(curve.total):
        raise ValueError("the record's curve is not one")
    after = [i for i, at in enumerate(curve.at_ms) if at >= curve.at_ms[0] + 1000 * warmup_s]
    if len(after) < rate.MIN_BINS:
        after = list(range(len(curve.at_ms)))
    return rate.slope_mbps([curve.at_ms[i] / 1000 for i in after], [curve.total[i] for i in after])


async def _get(target: Target, test_id: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(
        target.address, target.port, ssl=target.tls, server_hostname=target.host if target.tls else None
    )
    try:
        plain = replace(target, suffix="", extra=(("test", test_id),))
        writer.write(plain.head("GET", "record", {}, "Connection: close"))
        answer = await reader.read(RECORD_BYTES)
        while len(answer) < RECORD_BYTES and (more := await reader.read(RECORD_BYTES - len(answer))):
            answer += more
    finally:
        await hang_up(writer)
    head, _, body = answer.partition(b"\r\n\r\n")
    return status_of(head), body
