"""What the agent's and the collector's rules make of 10,000 gateways that come back at once (row 24), in counted time.

The storm with real sessions is `python -m bench storm`; `test_storm.py` plays it in small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from agent.uplink.window import RECEIPT_MAX_S, RECEIPT_S, WINDOW, Flow, InFlight
from tests.faults.lines.outage import Outage

GATEWAYS, BACKLOG = 250, 6  # that stand for 10,000
HOUR_S = 3_600.0


def p99(lags_s: list[float]) -> float:
    return lags_s[int(len(lags_s) * 0.99)]


@pytest.mark.row(24)
def test_when_all_come_back_at_once_what_is_new_is_heard_and_the_backlog_drains() -> None:
    outage = Outage(GATEWAYS, BACKLOG)
    outage.play(HOUR_S)
    print(
        f"drained after {outage.drained_s} s, live p99 {p99(outage.lags_s):.0f} s, again {outage.again}/{outage.sent}"
    )
    assert outage.drained_s is not None
    assert outage.drained_s < 1_800
    assert p99(outage.lags_s) < 90
    assert outage.again < outage.sent / 3


@dataclass(frozen=True, kw_only=True)
class Fixed(Flow):
    """Four batches at once, 15 s for each receipt, whatever receipts take."""

    window: int = WINDOW

    def wait_s(self, tries: int) -> float:
        return min(RECEIPT_S * 2.0**tries, RECEIPT_MAX_S)

    def after(self, flight: InFlight | None, pace_s: float, now_s: float) -> Flow:
        return replace(self, paced_until_s=now_s + pace_s)


@pytest.mark.control(
    "the window is four from the beginning, and a receipt is awaited for 15 s whatever it takes", row=24
)
def test_a_window_that_heeds_nothing_is_seen_to_collapse() -> None:
    outage = Outage(GATEWAYS, BACKLOG, flow=Fixed())
    outage.play(HOUR_S / 2)
    print(
        f"drained after {outage.drained_s} s, live p99 {p99(outage.lags_s):.0f} s, again {outage.again}/{outage.sent}"
    )
    assert outage.drained_s is None or p99(outage.lags_s) > 300
    assert outage.again > outage.sent / 3
