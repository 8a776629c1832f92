"""How the agent's parts run beside each other: until one of several ends, in the background, behind a port that may be
taken; and what systemd hears of it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from agent.common.logs import Event

TASK_BROKEN = Event(
    __name__, "error", "background_task_broken", "a part of the agent broke and is off until the next start",
    fields="error", has_trace=True,
)  # fmt: skip
NOT_LISTENING = Event(
    __name__, "error", "listen_failed", "a listener cannot use its address; it tries again", key="listener",
    fields="error again_s",
)  # fmt: skip
NOT_NOTIFIED = Event(
    __name__, "warning", "systemd_unreachable", "systemd cannot be notified", key="state", fields="error"
)
NOT_MARKED = Event(
    __name__, "warning", "boot_mark_unsaved", "the boot mark cannot be written: the next start cannot tell how this "
    "run ended", fields="error",
)  # fmt: skip

LISTEN_RETRY_S = 60.0


class Listening(Protocol):
    """An open port, as `asyncio.Server` is one."""

    async def __aenter__(self) -> object: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def serve_forever(self) -> None: ...


async def first_of(ends: Sequence[asyncio.Event], *parts: Awaitable[None]) -> None:
    """Runs the parts until one of ``ends`` is set; raises what broke one of them."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(_awaited(part)) for part in parts]
        waiting = [asyncio.ensure_future(end.wait()) for end in ends]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*waiting, *running):
                task.cancel()


async def _awaited(part: Awaitable[None]) -> None:
    await part


@asynccontextmanager
async def in_background(part: Awaitable[None]) -> AsyncIterator[None]:
    """Runs a part that must not take the agent down; its end is logged."""
    task = asyncio.ensure_future(_logged(part))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _logged(part: Awaitable[None]) -> None:
    try:
        await part
    except Exception as error:
        TASK_BROKEN.log(error=error)


async def serve_with_retry(what: str, listen: Callable[[], Awaitable[Listening]]) -> None:
    """Serves; while its port is taken, it tries again."""
    while True:
        try:
            server = await listen()
        except (OSError, ValueError) as error:
            NOT_LISTENING.log(listener=what, error=error, again_s=LISTEN_RETRY_S)
            await asyncio.sleep(LISTEN_RETRY_S)
            continue
        async with server:
            await server.serve_forever()


def notify(state: str) -> None:
    """Notifies systemd where it expects that (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
        try:
            systemd.connect("\0" + address[1:] if address.startswith("@") else address)
            systemd.sendall(state.encode())
        except OSError as error:
            NOT_NOTIFIED.log(state=state, error=error)


def write_mark(mark: Callable[[], None]) -> None:
    try:
        mark()
    except OSError as error:
        NOT_MARKED.log(error=error)
