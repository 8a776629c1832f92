"""M-Lab's Locate service, version 2: which public ndt7 servers are near (m-lab/locate, USAGE.md)."""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from agent import __version__, wire
from agent.common import http
from agent.common.causes import Cause
from agent.common.errors import describe
from agent.probes.probe import ProbeFailed
from agent.probes.speed.multistream.stream import Direction

ANSWER_BYTES = 64 * 1024
ANSWER_S = 8.0
PATHS: dict[Direction, str] = {"down": "/ndt/v7/download", "up": "/ndt/v7/upload"}
Scheme = Literal["ws", "wss"]


class _Near(msgspec.Struct):
    urls: Annotated[dict[str, str], msgspec.Meta(max_length=64)] = {}


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""


class _LocateAnswer(msgspec.Struct):
    results: Annotated[list[_Near], msgspec.Meta(max_length=64)] = []
    error: _Problem | None = None


async def nearest(locate_url: str) -> list[dict[Direction, str]]:
    """The addresses of both directions at each server near, best first, each with its token; wss where there is one.
    Raises ProbeFailed(``bad_server``, ``unreachable``, ``busy``, ``bad_output``)."""
    if urlsplit(locate_url).scheme not in ("http", "https"):
        raise ProbeFailed("bad_server", f"speed.locate_url {locate_url[:100]!r} must be an http:// or https:// address")
    status, body = await asyncio.to_thread(_get, locate_url)
    if status in (204, 429, 503):
        raise ProbeFailed("busy", f"{_host(locate_url)} has no server to give now (status {status}); try again later")
    return parse(status, body, _host(locate_url))


def parse(status: int, body: bytes, host: str) -> list[dict[Direction, str]]:
    """Pure. Raises ProbeFailed."""
    try:
        answer = msgspec.json.decode(body, type=_LocateAnswer)
    except wire.UNREADABLE as error:
        raise ProbeFailed("bad_output", f"{host} answered {status} and no list of servers: {describe(error)}") from None
    if answer.error is not None or status != 200:
        problem = answer.error or _Problem(title="no reason given")
        raise ProbeFailed("refused", f"{host} answered {status}: {problem.title} {problem.detail}".strip()[:180])
    pairs = [pair for near in answer.results for scheme in ("wss", "ws") if (pair := _pair(near, scheme))]
    if not pairs:
        raise ProbeFailed("bad_output", f"{host} names no server with both directions of ndt7")
    return pairs


def _pair(near: _Near, scheme: str) -> dict[Direction, str]:
    pair = {direction: near.urls.get(f"{scheme}://{path}", "") for direction, path in PATHS.items()}
    return pair if all(urlsplit(url).scheme == scheme for url in pair.values()) else {}


def _get(url: str) -> tuple[int, bytes]:
    headers = {"User-Agent": f"nabz-agent/{__version__}"}
    try:
        page = http.ask(url, headers=headers, limit=ANSWER_BYTES, within_s=ANSWER_S)
    except OSError as error:
        cause: Cause = "dns" if isinstance(error, socket.gaierror) else "unreachable"
        raise ProbeFailed(cause, f"{_host(url)} cannot be reached: {describe(error)}") from None
    return page.status, page.body


def _host(url: str) -> str:
    return urlsplit(url).netloc[:100] or url[:100]
