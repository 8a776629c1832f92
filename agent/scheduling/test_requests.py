"""Asks the collector for a turn at a measurement server, and knows its answer again.

An ask goes out once a minute under the same id until the task of that id has come or is no longer wanted. An answer
that comes too late is nobody's: its server has given the turn to somebody else by then.
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

AGAIN_S = 60.0


class TestRequests:
    """``ask`` publishes an ask, or loses it while there is no session; ``now_ms`` is the collector's
    time."""

    def __init__(
        self,
        device: str,
        ask: Callable[[wire.Ask], None],
        now_ms: Callable[[], int],
        again_s: float = AGAIN_S,
    ) -> None:
        self._device, self._ask, self._now_ms, self._again_s = device, ask, now_ms, again_s
        self._waiting: dict[str, asyncio.Future[wire.Task]] = {}
        self._given_up: deque[str] = deque(maxlen=64)

    async def turn(self, purpose: wire.Purpose, slot: str, expected_bytes: int, until_ms: int) -> wire.Task | None:
        """The collector's answer; None when there is none by ``until_ms``."""
        wish = wire.Ask(
            v=wire.VERSION,
            device=self._device,
            id=secrets.token_hex(16),
            want="speed",
            purpose=purpose,
            slot=slot,
            expected_bytes=expected_bytes,
            expires_ms=until_ms,
        )
        answer = self._waiting[wish.id] = asyncio.get_running_loop().create_future()
        try:
            return await self._repeat(wish, answer)
        finally:
            del self._waiting[wish.id]
            self._given_up.append(wish.id)

    async def _repeat(self, wish: wire.Ask, answer: asyncio.Future[wire.Task]) -> wire.Task | None:
        while (left_s := (wish.expires_ms - self._now_ms()) / 1000) > 0:
            self._ask(wish)
            await asyncio.wait([answer], timeout=min(left_s, self._again_s))
            if answer.done():
                return answer.result()
        return None

    def take(self, task: wire.Task) -> bool:
        """Whether the task answers an ask of ours, in time or too late."""
        answer = self._waiting.get(task.id)
        if answer is not None and not answer.done():
            answer.set_result(task)
            return True
        if task.id in self._given_up:
            TOO_LATE.log(task=task.id)
            return True
        return answer is not None
