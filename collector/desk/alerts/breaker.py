"""A channel that fails again and again is left alone for a while, so that it costs nobody anything. Pure.

closed ──3 failures──▶ open ──time over──▶ half open ──sent──▶ closed
                        ▲                     │ failed: twice as long
                        └─────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

BreakerState = Literal["closed", "open", "half_open"]

FAILURES = 3  # in a row
REST_S, LONGEST_REST_S = 60, 900


@dataclass(frozen=True)
class Breaker:
    """How a channel does: failures in a row, and until when it is left alone."""

    failures: int = 0
    until_ms: int | None = None
    sent_ms: int | None = None
    problem: str = ""


def state_of(breaker: Breaker, now_ms: int) -> BreakerState:
    if breaker.until_ms is None:
        return "closed"
    return "open" if now_ms < breaker.until_ms else "half_open"


def admits(breaker: Breaker, now_ms: int) -> bool:
    """Whether a message may be tried."""
    return state_of(breaker, now_ms) != "open"


def after_sending(now_ms: int) -> Breaker:
    return Breaker(sent_ms=now_ms)


def after_failure(breaker: Breaker, problem: str, now_ms: int) -> Breaker:
    """A passing failure; a refusal for good is an answer, and says nothing against the channel."""
    failures = breaker.failures + 1
    if failures < FAILURES:
        return replace(breaker, failures=failures, problem=problem)
    rest_s = min(LONGEST_REST_S, REST_S * 2 ** min(failures - FAILURES, 10))
    return replace(breaker, failures=failures, until_ms=now_ms + rest_s * 1000, problem=problem)
