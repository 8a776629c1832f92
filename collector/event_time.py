"""When a reading was taken, if its gateway did not know. Pure; the gateway's own words stay in evidence.

A wall clock is believed while it can be true: not after we received the batch, and, if unsynchronised, not before the
gateway could have been measuring. Otherwise the monotonic clock of the same boot dates the reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.wire import Stamp

SLACK_MS = 2 * 60_000  # how far a clock may run ahead of ours and still be believed
LIVE_MS = 15 * 60_000  # readings sent as live are never older than this when they leave


@dataclass(frozen=True)
class Bracket:
    """The time in which the readings of a batch can have been taken."""

    from_ms: int
    received_ms: int

    def holds(self, stamp: Stamp) -> bool:
        if stamp.wall_ms > self.received_ms + SLACK_MS:
            return False
        return stamp.clock == "synced" or stamp.wall_ms >= self.from_ms


def bracket(*, live: bool, issued_ms: int | None, enrolled_ms: int, received_ms: int) -> Bracket:
    """A backlog may reach back to the enrolment; live readings only a little before the nonce they were sent after."""
    if live and issued_ms is not None:
        return Bracket(max(enrolled_ms, issued_ms - LIVE_MS), received_ms)
    return Bracket(enrolled_ms, received_ms)


def event_times(stamps: Sequence[Stamp], when: Bracket) -> list[int]:
    """The time of each reading of a batch, in milliseconds UTC.

    1. A believable wall clock is taken as it is, unless it is unsynchronised and another reading of the same boot was
       synchronised: then the boot is dated by that one.
    2. Other readings are dated as late as they can be: the last reading of the batch at its receipt, earlier boots just
       before the next, and within a boot by the monotonic clock.
    """
    offsets = {stamp.boot: stamp.wall_ms - stamp.mono_ms for stamp in stamps if _sure(stamp, when)}
    latest_ms = when.received_ms
    times: list[int] = []
    for stamp in reversed(stamps):
        if stamp.boot not in offsets and not when.holds(stamp):
            offsets[stamp.boot] = latest_ms - stamp.mono_ms
        offset_ms = offsets.get(stamp.boot)
        if offset_ms is None or _sure(stamp, when):
            time_ms = stamp.wall_ms
        else:
            time_ms = min(max(0, stamp.mono_ms + offset_ms), when.received_ms)
        latest_ms = min(latest_ms, time_ms)
        times.append(time_ms)
    return times[::-1]


def _sure(stamp: Stamp, when: Bracket) -> bool:
    return stamp.clock == "synced" and when.holds(stamp)
