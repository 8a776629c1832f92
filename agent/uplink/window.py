"""What the uplink sends next, and why: pure, so that each rule can be tested alone. One monotonic clock, in seconds.

A broker takes at once whatever it is given, so its queue hides that the collector is behind: after a national outage
every gateway would send all it may, wait, and send it again. `Flow` is TCP's answer to the same (RFC 5681, RFC 6298):
begin small, grow with each receipt, fall back when a pause is requested, wait as long as receipts take.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.spool.record import Group, Ident

WINDOW = 4  # batches awaiting a receipt at most; the last place is kept for live readings
PACED_WINDOW = 2  # one of them live, when the collector is behind
PACED_S = 1.0  # a shorter pause is no sign of that
RECEIPT_S, RECEIPT_MAX_S = 15.0, 120.0
FIRST_RECEIPT_S = 30.0  # in a new session nobody knows yet what receipts take
TIMEOUT_FACTOR = 4.0  # times what the last one took
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 300.0
STABLE_S = 60.0  # a session must last this long before the backoff starts over


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """A batch sent and not yet receipted. Times in seconds of one monotonic clock."""

    groups: tuple[Group, ...]
    live: bool
    sent_s: float
    due_s: float  # then it is offered again
    tries: int

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


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a session has learnt from its receipts; ``receipt_s`` is what the last one took, None before the first."""

    window: int = 1
    receipt_s: float | None = None
    paced_until_s: float = 0.0

    def wait_s(self, tries: int) -> float:
        """How long a batch waits for its receipt before it is offered again."""
        usual_s = FIRST_RECEIPT_S if self.receipt_s is None else max(RECEIPT_S, TIMEOUT_FACTOR * self.receipt_s)
        return min(usual_s * 2.0 ** min(tries, 10), RECEIPT_MAX_S)

    def after(self, batch: InFlight | None, pace_s: float, now_s: float) -> Flow:
        """With the receipt of this batch, which requests such a pause. Of a batch sent again nobody knows which sending
        it answers, and of one that is no longer awaited (None) not even that: it took at least the wait before."""
        tries = batch.tries if batch else 1
        overdue_s = self.wait_s(tries - 1) if tries else 0.0
        took_s = max(overdue_s, now_s - batch.sent_s if batch else 0.0)
        window = PACED_WINDOW if pace_s >= PACED_S else min(self.window + 1, WINDOW)
        return Flow(window=window, receipt_s=took_s, paced_until_s=now_s + pace_s)


def next_step(
    flow: Flow,
    in_flight: Sequence[InFlight],
    fresh: Sequence[Group],
    backlog: Sequence[Group],
    now_s: float,
    urgent: Collection[Ident] = (),
) -> Send | Wait:
    """The one decision. ``fresh`` and ``backlog`` hold nothing that is in flight; no batch is overdue. What is
    ``urgent`` goes alone and at once, whatever else is in flight: the power may be gone before a receipt."""
    for group in fresh:
        if group.ident in urgent:
            return Send("last_gasp", (group,))
    first_due_s = min((batch.due_s for batch in in_flight), default=None)
    if len(in_flight) >= flow.window:
        return Wait("window_full", first_due_s)
    if fresh:
        return Send("live", tuple(fresh))
    if now_s < flow.paced_until_s:
        return Wait("paced", flow.paced_until_s if first_due_s is None else min(flow.paced_until_s, first_due_s))
    if backlog and sum(not batch.live for batch in in_flight) < max(1, flow.window - 1):
        return Send("backlog", tuple(backlog))
    return Wait("window_full" if backlog else "nothing_to_send", first_due_s)


def backoff_s(failures: int, chance: float, endpoints: int = 1) -> float:
    """Full jitter: anywhere up to a bound that doubles once so many endpoints had a try; ``chance`` in 0 … 1."""
    return max(BACKOFF_MIN_S, chance * min(BACKOFF_MAX_S, 2.0 ** min(failures // endpoints, 10)))


def failures_after(failures: int, lasted_s: float | None) -> int:
    """Failures in a row, after a session that lasted so long (None: there was none). To have been connected is no
    success: a session ended at once, by a clone for example, would be retried ever sooner."""
    return 0 if lasted_s is not None and lasted_s >= STABLE_S else failures + 1
