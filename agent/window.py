"""What the uplink sends next, and why: pure, so that each rule can be asked alone. One monotonic clock, in seconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.spool_record import Group, Ident

WINDOW = 4  # batches awaiting a receipt; the last place is kept for live readings
RECEIPT_S, RECEIPT_MAX_S = 15.0, 120.0
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 300.0
STABLE_S = 60.0  # a session must last this long before the backoff starts over


@dataclass(frozen=True, kw_only=True)
class Flight:
    """A batch sent and not yet receipted. Times in seconds of one monotonic clock."""

    groups: tuple[Group, ...]
    live: bool
    sent_s: float
    tries: int

    @property
    def due_s(self) -> float:
        return self.sent_s + receipt_wait_s(self.tries)

    @property
    def key(self) -> tuple[str, int, int]:
        return self.groups[0].spool, self.groups[0].first_seq, self.groups[-1].last_seq


@dataclass(frozen=True)
class Send:
    reason: Literal["last_gasp", "live", "backlog"]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Wait:
    reason: Literal["window_full", "paced", "nothing_to_send"]
    until_s: float | None = None


def receipt_wait_s(tries: int) -> float:
    """How long a batch waits for its receipt before it is offered again."""
    return min(RECEIPT_S * 2.0 ** min(tries, 10), RECEIPT_MAX_S)


def next_step(
    flights: Sequence[Flight],
    fresh: Sequence[Group],
    backlog: Sequence[Group],
    paced_until_s: float,
    now_s: float,
    urgent: Collection[Ident] = (),
) -> Send | Wait:
    """The one decision. ``fresh`` and ``backlog`` hold nothing that is in flight; no flight is overdue. What is
    ``urgent`` goes alone and at once, whatever else is on its way: the power may be gone before a receipt."""
    for group in fresh:
        if group.ident in urgent:
            return Send("last_gasp", (group,))
    first_due_s = min((flight.due_s for flight in flights), default=None)
    if len(flights) >= WINDOW:
        return Wait("window_full", first_due_s)
    if fresh:
        return Send("live", tuple(fresh))
    if now_s < paced_until_s:
        return Wait("paced", paced_until_s if first_due_s is None else min(paced_until_s, first_due_s))
    if backlog and sum(not flight.live for flight in flights) < WINDOW - 1:
        return Send("backlog", tuple(backlog))
    return Wait("window_full" if backlog else "nothing_to_send", first_due_s)


def backoff_s(failures: int, chance: float) -> float:
    """Full jitter: anywhere up to a bound that doubles; ``chance`` in 0 … 1."""
    return max(BACKOFF_MIN_S, chance * min(BACKOFF_MAX_S, 2.0 ** min(failures, 10)))


def failures_after(failures: int, lasted_s: float | None) -> int:
    """Failures in a row, after a session that lasted so long (None: there was none). To have been connected is no
    success: whoever is put out again at once, by a twin say, would come back ever sooner."""
    return 0 if lasted_s is not None and lasted_s >= STABLE_S else failures + 1
