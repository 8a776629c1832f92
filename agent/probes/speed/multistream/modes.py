"""How long and how wide a test may be. Seconds count from a direction's first byte, warm-up included."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A direction ends at `least_s`, or later when `least_bytes` have not yet moved after the warm-up or the rate has
    not yet settled, but by `most_s`. Bytes are per direction."""

    streams: int
    most_streams: int
    warmup_s: float
    least_s: float
    most_s: float
    least_bytes: int
    most_bytes: int
    settle: bool = False


KB, MB = 1_000, 1_000_000
MODES = {
    # 150 packets: one more or less is under 1 % of a slow line's rate.
    "quick": Mode(
        streams=6,
        most_streams=12,
        warmup_s=0.8,
        least_s=2.1,
        most_s=5.0,
        least_bytes=220 * KB,
        most_bytes=200 * MB,
    ),
    "adaptive": Mode(
        streams=6,
        most_streams=24,
        warmup_s=1.2,
        least_s=3.2,
        most_s=9.3,
        least_bytes=1500 * KB,
        most_bytes=250 * MB,
        settle=True,
    ),
    # BBR slows down for 0.2 s ten seconds after a connection's start to probe for the shortest round trip: stop before.
    "full": Mode(
        streams=6,
        most_streams=24,
        warmup_s=1.5,
        least_s=9.5,
        most_s=9.5,
        least_bytes=0,
        most_bytes=600 * MB,
    ),
}
SETTLE_SPAN_S = 1.8
WIDEN_S = 0.7  # what adding streams prolongs the warm-up by
