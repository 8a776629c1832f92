"""Waiting for what is to come true, for as long as a busy machine may need for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 60.0  # several times what the slowest step takes on a machine under four times its load


def wait_until(true: Callable[[], object], what: str = "", seconds: float = PATIENCE_S, look_s: float = 0.02) -> None:
    until_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until_s, f"{what or 'what was waited for'}: not within {seconds:g} s"
        time.sleep(look_s)


async def until(true: Callable[[], object], what: str = "", seconds: float = PATIENCE_S) -> None:
    """As `wait_until`, for the event loop."""
    until_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until_s, f"{what or 'what was waited for'}: not within {seconds:g} s"
        await asyncio.sleep(0.02)
