"""How long and how wide a test may be. Seconds count from a direction's first byte, warm-up included."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A test ends at `least_s` or, when it waits for the rate to settle, by `most_s`. Bytes are per direction."""

    streams: int
    most_streams: int
    warmup_s: float
    least_s: float
    most_s: float
    settle: bool
    most_bytes: int


MB = 1_000_000
MODES = {
    "quick": Mode(streams=6, most_streams=12, warmup_s=0.9, least_s=2.3, most_s=2.3, settle=False, most_bytes=200 * MB),
    "adaptive": Mode(
        streams=6, most_streams=24, warmup_s=1.2, least_s=3.2, most_s=9.3, settle=True, most_bytes=250 * MB
    ),
    # BBR slows down for 0.2 s ten seconds after a connection's start to look for the shortest round trip: stop before.
    "full": Mode(streams=6, most_streams=24, warmup_s=1.5, least_s=9.5, most_s=9.5, settle=False, most_bytes=600 * MB),
}
SETTLE_SPAN_S = 1.8
SETTLE_BYTES = 1_500_000  # with less than this in the window the rate of a slow line is still coarse
WIDEN_S = 0.7  # what adding streams prolongs the warm-up by
