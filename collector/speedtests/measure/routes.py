"""What each address answers: LibreSpeed, the legacy Ookla layout, health, and the records. One dict of one type."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from agent import __version__
from agent.common.tcp.http_server import CONTINUE, ConnectionLimiter, HttpRefused
from collector.speedtests.measure import record
from collector.speedtests.measure.http import MeasureRequest, response_head
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.line import Connection
from collector.speedtests.measure.protocols import echo, ndt7, ookla
from collector.speedtests.measure.protocols.echo import Echo
from collector.speedtests.measure.sessions import Sessions

MIB = 1 << 20
BODY_BYTES = 1 << 30  # of one upload request
UPLOADS = ("empty", "upload")
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}$")
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}$")


class ServerState(Protocol):
    """What a route may use of the server it belongs to; `collector.speedtests.measure.server.MeasureServer` is one."""

    limits: Limits
    sessions: Sessions
    echo: Echo
    connections: ConnectionLimiter
    clock: Callable[[], float]
    sign: Callable[[bytes], bytes] | None
    block: memoryview
    public: str


Handler = Callable[["ServerState", Connection, MeasureRequest, str], Awaitable[None]]


async def answer(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    """Answers one request. Raises HttpRefused; EOFError or OSError when the client is gone."""
    is_upload = request.method == "POST" and request.name in UPLOADS
    if request.body_bytes != 0 and not is_upload:  # unread, it would be taken for the next request
        raise HttpRefused(413, f"only POST to {' or '.join(UPLOADS)} takes a body")
    if request.method == "OPTIONS":
        await line.send(response_head(204, 0, cors=True, keep_alive=request.keep_alive))
        return
    if request.upgrade is not None or ndt7.FOLDER in request.path:
        await _ndt7(server, line, request, address)
        return
    handler = ROUTES.get(request.name)
    if handler is None:
        names = ", ".join(name for name in ROUTES if name and "random" not in name)
        raise HttpRefused(404, f"{request.name[:64]!r} is not served here; these are: {names}, random*.jpg")
    await handler(server, line, request, address)


# ---------------------------------------------------------------- LibreSpeed


async def _garbage(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    """`ckSize` mebibytes, 1 to 1024; 4 when it is absent or wrong, as LibreSpeed's own backends have it."""
    given = request.query.get("ckSize", "4")
    size = int(given) if given.isascii() and given.isdigit() and len(given) <= 4 else 4
    await _pour(server, line, request, address, (size if 1 <= size <= 1024 else 4) * MIB)


async def _empty(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    """The upload's sink, and the ping: 200 with no body."""
    await _swallow(server, line, request, address)
    await _say(line, request, b"")


async def _get_ip(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    """With `isp` the client's network is named as LibreSpeed's own backends do."""
    network = server.sessions.network_of(address) if "isp" in request.query else None
    shown = f"{address} - {network}" if network else address
    raw = {"ip": address, "org": str(network), "asn": f"AS{network.asn}"} if network else ""
    body = json.dumps({"processedString": shown, "rawIspInfo": raw}).encode()
    await _say(line, request, body, "application/json")


# ---------------------------------------------------------------- Ookla, the legacy HTTP layout


async def _config(_server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    await _say(line, request, ookla.config_xml(address), "text/xml")


async def _servers(server: ServerState, line: Connection, request: MeasureRequest, _address: str) -> None:
    await _say(line, request, ookla.servers_xml(server.public or _reached_at(line)), "text/xml")


async def _latency(_server: ServerState, line: Connection, request: MeasureRequest, _address: str) -> None:
    await _say(line, request, ookla.LATENCY)


async def _mini(_server: ServerState, line: Connection, request: MeasureRequest, _address: str) -> None:
    await _say(line, request, ookla.MINI, "text/html")


async def _image(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    await _pour(server, line, request, address, ookla.IMAGE_BYTES[request.name], "image/jpeg")


async def _upload(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    taken = await _swallow(server, line, request, address)
    await _say(line, request, f"size={taken}".encode())


# ---------------------------------------------------------------- ndt7


async def _ndt7(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    agreed = ndt7.agreed(request)
    _enter(server, line, request, address)
    await ndt7.run(line, agreed, server.block, address)
    raise EOFError  # nothing can be asked on this connection any more


# ---------------------------------------------------------------- our own


async def _hello(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    """Who this is and what it allows; `witness` says whether results here can count for a verdict. `network` is the
    client's and `server_network` our own; null where no database of networks knows them."""
    network, own = server.sessions.network_of(address), server.sessions.network_of(_own_address(line))
    facts = {
        "server": "nabz",
        "version": __version__,
        "witness": server.sessions.admit is not None,
        "now_ms": time.time_ns() // 1_000_000,
        "address": address,
        "network": str(network) if network else None,
        "server_network": str(own) if own else None,
        "bytes_per_test": server.limits.bytes_per_test,
    }
    await _say(line, request, json.dumps(facts).encode(), "application/json")


async def _echo(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    """The cookie to which the UDP echo answers, for this address."""
    if server.echo.port is None:
        raise HttpRefused(404, "this server offers no UDP echo")
    facts = {"port": server.echo.port, "cookie": server.echo.cookie(address).hex(), "valid_s": echo.VALID_S}
    await _say(line, request, json.dumps(facts).encode(), "application/json")


async def _health(server: ServerState, line: Connection, request: MeasureRequest, _address: str) -> None:
    facts = {"ok": True, "tests": len(server.sessions.running), "connections": server.connections.open.total()}
    await _say(line, request, json.dumps(facts).encode(), "application/json")


async def _record(server: ServerState, line: Connection, request: MeasureRequest, _address: str) -> None:
    """What was seen of `test`, sealed when the server has a key. Its name is all it takes: names are random."""
    name = request.query.get("test", "")
    seen = server.sessions.record(name, server.clock())
    if seen is None:
        raise HttpRefused(404, f"no test {name[:64]!r} was seen here lately")
    await _say(line, request, record.encode(seen, server.sign), "application/json")


ROUTES: Mapping[str, Handler] = {
    "garbage": _garbage,
    "empty": _empty,
    "getIP": _get_ip,
    "speedtest-config": _config,
    "speedtest-servers-static": _servers,
    "speedtest-servers": _servers,
    "latency.txt": _latency,
    "upload": _upload,
    "hello": _hello,
    "echo": _echo,
    "health": _health,
    "record": _record,
    "": _mini,
} | dict.fromkeys(ookla.IMAGE_BYTES, _image)


# ---------------------------------------------------------------- parts


def _enter(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> None:
    name = request.query.get("test", "")
    if name and not NAME.match(name):
        raise HttpRefused(400, "test= takes 1 to 64 letters, digits, dots, dashes or underscores")
    token = request.query.get("token") or request.query.get("access_token", "")
    now, wall_ms = server.clock(), time.time_ns() // 1_000_000
    line.join(server.sessions.enter(name, token, address, now, wall_ms, _own_address(line)))


async def _pour(
    server: ServerState,
    line: Connection,
    request: MeasureRequest,
    address: str,
    count: int,
    content_type: str = "application/octet-stream",
) -> None:
    _enter(server, line, request, address)
    head = response_head(200, count, content_type, cors="cors" in request.query, keep_alive=request.keep_alive)
    await line.send(head)
    if request.method != "HEAD":
        await line.pour(server.block, count)


async def _say(line: Connection, request: MeasureRequest, body: bytes, content_type: str = "text/plain") -> None:
    head = response_head(200, len(body), content_type, cors="cors" in request.query, keep_alive=request.keep_alive)
    await line.send(head if request.method == "HEAD" else head + body)


async def _swallow(server: ServerState, line: Connection, request: MeasureRequest, address: str) -> int:
    """Reads the request's body to its end, as a part of its test; returns its bytes. Raises HttpRefused."""
    if request.body_bytes != 0:
        _enter(server, line, request, address)
    if (request.body_bytes or 0) > BODY_BYTES:
        raise HttpRefused(413, f"a request's body may have {BODY_BYTES} bytes")
    if request.expects_continue:
        await line.send(CONTINUE)
    if request.body_bytes is not None:
        await line.drain(request.body_bytes)
        return request.body_bytes
    taken = 0
    while count := await _chunk_bytes(line):
        await line.drain(count)
        if await line.text_line():
            raise HttpRefused(400, "a chunk has as many bytes as its first line says, and a line end")
        taken += count
    while await line.text_line():  # trailers
        pass
    return taken


async def _chunk_bytes(line: Connection) -> int:
    digits = (await line.text_line()).partition(b";")[0].strip()
    if not CHUNK_SIZE.match(digits):
        raise HttpRefused(400, "a chunk begins with its size in hexadecimal")
    return int(digits, 16)


def _own_address(line: Connection) -> str:
    return str(line.sock.getsockname()[0])


def _reached_at(line: Connection) -> str:
    host, port = line.sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
