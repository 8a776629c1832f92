"""The gateway's page among hostile PCs of its LAN and in browsers that are also on hostile sites."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import pytest

from agent.local import status
from agent.local.board import StatusView

PATIENCE_S = 60
GET = b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HOSTS = {
    b"127.0.0.1": b"200", b"[::1]:8470": b"200", b"localhost:8470": b"200", b"nabz.example": b"403",
    b"127.0.0.1.nabz.example": b"403", b"127.0.0.1, nabz.example": b"403", b"nabz.example@127.0.0.1": b"403",
    b"a.localhost": b"403", b"0x7f.1": b"403", b"": b"403",
}  # fmt: skip


def view() -> StatusView:
    return StatusView(now_ms=1_800_000_000_000, started_ms=0, version="0", last={}, failures={}, series={})


def against(work: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        async with await status.serve("127.0.0.1:0", view) as server, asyncio.timeout(PATIENCE_S):
            await work(server.sockets[0].getsockname()[1])

    asyncio.run(run())


async def asked(port: int, request: bytes = GET) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.1", 0))
    with contextlib.closing(writer):
        writer.write(request)
        return await reader.read()


async def hostile(port: int, number: int) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    client.bind((f"127.0.7.{number % 50 + 1}", 0))
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


@pytest.mark.row(55)
@pytest.mark.parametrize("sent", [b"", GET[:-2], b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1", GET])
def test_neither_half_requests_nor_readers_that_do_not_read_keep_anybody_out(sent: bytes) -> None:
    async def work(port: int) -> None:
        clients = [await hostile(port, number) for number in range(4 * status.LIMITS.connections)]
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(sent)
        assert (await asked(port)).startswith(b"HTTP/1.1 200 OK")
        for client in clients:
            client.close()

    against(work)


@pytest.mark.row(55)
@pytest.mark.parametrize(("host", "code"), HOSTS.items())
def test_a_site_whose_name_was_pointed_here_is_shown_nothing(host: bytes, code: bytes) -> None:
    async def work(port: int) -> None:
        assert (await asked(port, GET.replace(b"127.0.0.1", host)))[9:12] == code

    against(work)


def test_another_origin_can_neither_read_nor_frame_it() -> None:
    async def work(port: int) -> None:
        answer = await asked(port, GET.replace(b"\r\n\r\n", b"\r\nOrigin: https://nabz.example\r\n\r\n"))
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"access-control" not in head
        assert b"frame-ancestors 'none'" in head
        assert b"cross-origin-resource-policy: same-origin" in head
        for method in (b"OPTIONS", b"POST", b"PUT", b"DELETE"):
            assert (await asked(port, GET.replace(b"GET", method)))[9:12] == b"405"

    against(work)
