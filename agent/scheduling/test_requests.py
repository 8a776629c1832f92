"""Requests a test at a measurement server from the collector, and recognises the answer.

A request is sent once a minute under the same id until the task of that id comes or the request ends. An answer that
comes too late is dropped: its server has granted the place to another gateway by then.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable

from agent import wire
from agent.common.logs import Event

TOO_LATE = Event(
    __name__, "info", "test_request_too_late", "a test was granted after its request had ended; it is not run",
    fields="task",
)  # fmt: skip

RETRY_S = 60.0


class TestRequests:
    """``send`` publishes a request, or loses it while there is no session; ``now_ms`` is the collector's
    time."""

    def __init__(
        self,
        device: str,
        send: Callable[[wire.Ask], None],
        now_ms: Callable[[], int],
        retry_s: float = RETRY_S,
    ) -> None:
        self._device, self._send, self._now_ms, self._retry_s = device, send, now_ms, retry_s
        self._waiting: dict[str, asyncio.Future[wire.Task]] = {}
        self._given_up: deque[str] = deque(maxlen=64)

    async def request(self, purpose: wire.Purpose, slot: str, expected_bytes: int, until_ms: int) -> wire.Task | None:
        """The collector's answer; None when there is none by ``until_ms``."""
        request = wire.Ask(
            v=wire.VERSION,
            device=self._device,
            id=secrets.token_hex(16),
            want="speed",
            purpose=purpose,
            slot=slot,
            expected_bytes=expected_bytes,
            expires_ms=until_ms,
        )
        answer = self._waiting[request.id] = asyncio.get_running_loop().create_future()
        try:
            return await self._repeat(request, answer)
        finally:
            del self._waiting[request.id]
            self._given_up.append(request.id)

    async def _repeat(self, request: wire.Ask, answer: asyncio.Future[wire.Task]) -> wire.Task | None:
        while (left_s := (request.expires_ms - self._now_ms()) / 1000) > 0:
            self._send(request)
            await asyncio.wait([answer], timeout=min(left_s, self._retry_s))
            if answer.done():
                return answer.result()
        return None

    def accept(self, task: wire.Task) -> bool:
        """Whether the task answers a request of ours, in time or too late."""
        answer = self._waiting.get(task.id)
        if answer is not None and not answer.done():
            answer.set_result(task)
            return True
        if task.id in self._given_up:
            TOO_LATE.log(task=task.id)
            return True
        return answer is not None
