"""What one direction's samples say: made-up traces of lines whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agent.probes.speed.line.counters import Counters
from agent.probes.speed.line.machine import MachineShares, Port
from agent.probes.speed.multistream.modes import MODES, Mode
from agent.probes.speed.multistream.saturation import End, Trace, crossed, ended, has_stalled, judge
from agent.probes.speed.multistream.stream import Direction, Lane
from agent.probes.speed.multistream.tcpinfo import TcpInfo

BIN_S, MSS, HEADER = 0.05, 1448, 52
TICKS = 43
TIMES = [100 + i * BIN_S for i in range(TICKS)]
QUICK = MODES["quick"]

ZERO = TcpInfo(
    acked=0, delivered=0, sent=0, sent_again=0, received=0, data_segments_in=0, out_of_order_in=0, segments_in=0,
    segments_out=0, options_bytes=12, send_mss=MSS, receive_mss=MSS,
)  # fmt: skip


def lane(direction: Direction, mbps: float, **changes: Any) -> Lane:
    """A connection that carries `mbps` of payload in full segments, without a hole."""
    infos = []
    for tick in range(TICKS):
        count = round(mbps * 1e6 / 8 * tick * BIN_S / MSS)
        if direction == "down":
            infos.append(replace(ZERO, data_segments_in=count, segments_in=count, received=count * MSS, **changes))
        else:
            sent = {"delivered": count, "acked": count * MSS, "sent": count * MSS, "segments_out": count}
            infos.append(replace(ZERO, **(sent | changes)))
    return Lane(first=0, info=infos, moved=[info.received for info in infos])


def trace(direction: Direction, lanes: Sequence[Lane], **changes: Any) -> Trace:
    given = Trace(
        direction=direction,
        times_s=TIMES,
        lanes=lanes,
        counters=[None] * TICKS,
        loaded_ms=[95.0, 100.0, 105.0],
        began_s=100.0,
        warm_s=100.8,
        end="time",
        machine=MachineShares(busy=0.1),
        late_share=0.0,
        frame_bytes=0,
    )
    return replace(given, **changes)


def counted(direction: Direction, wire_mbps: float) -> list[Counters | None]:
    """An interface that moves `wire_mbps`, headers included, in one direction."""
    octets = [round(wire_mbps * 1e6 / 8 * tick * BIN_S) for tick in range(TICKS)]
    return [Counters(rx=n if direction == "down" else 0, tx=n if direction == "up" else 0) for n in octets]


@pytest.mark.parametrize("direction", ["down", "up"])
def test_streams_add_up_and_a_line_that_queues_has_no_flag(direction: Direction) -> None:
    way = judge(trace(direction, [lane(direction, 5), lane(direction, 3)]), 30.0, QUICK)
    assert way.mbps == pytest.approx(8, rel=0.01)
    assert way.loaded_rtt_ms == 100.0
    assert way.flags == set()
    assert (way.capacity_mbps, way.cross_pct) == (None, None)


@pytest.mark.parametrize(("end", "mbps"), [("bytes", None), ("closed", None), ("time", 0.0)])
def test_what_was_cut_off_before_anything_moved_is_unknown_and_a_dead_line_is_not(end: End, mbps: float | None) -> None:
    assert judge(trace("up", [lane("up", 0)], end=end), 30.0, QUICK).mbps == mbps


def test_bytes_that_wait_for_a_hole_have_crossed_the_line() -> None:
    infos = lane("down", 8).info
    held = [replace(info, received=info.received // 4 * 3, out_of_order_in=9) for info in infos]
    assert crossed("down", held)[-1] == infos[-1].received


def test_duplicates_on_a_connection_without_holes_do_not_count() -> None:
    infos = [replace(info, data_segments_in=info.data_segments_in * 2) for info in lane("down", 8).info]
    assert crossed("down", infos)[-1] == infos[-1].received


def test_segments_that_cannot_have_been_full_are_counted_by_their_bytes() -> None:
    infos = [replace(info, received=info.received // 3, out_of_order_in=1) for info in lane("down", 8).info]
    assert crossed("down", infos)[-1] == infos[-1].received


def test_delivered_segments_count_for_an_upload_with_retransmissions() -> None:
    infos = [replace(i, acked=i.acked * 3 // 4, sent=i.sent + 9000, sent_again=9000) for i in lane("up", 8).info]
    assert crossed("up", infos)[-1] == infos[-1].delivered * MSS


def test_no_more_arrived_than_was_sent_once() -> None:
    infos = [replace(i, delivered=i.delivered * 2, sent=i.sent + 9000, sent_again=9000) for i in lane("up", 8).info]
    assert crossed("up", infos)[-1] == infos[-1].sent - 9000


def test_others_are_added_back_to_a_download() -> None:
    wire = 10 * (MSS + HEADER) / MSS
    way = judge(trace("down", [lane("down", 6)], counters=counted("down", wire)), 30.0, QUICK)
    assert way.mbps == pytest.approx(6, rel=0.01)
    assert way.capacity_mbps == pytest.approx(10, rel=0.01)
    assert way.cross_pct == pytest.approx(40, abs=1)
    assert way.flags == {"cross_traffic"}


def test_a_line_used_by_nobody_else_has_no_cross_traffic() -> None:
    wire = 6 * (MSS + HEADER) / MSS * 1.002
    way = judge(trace("down", [lane("down", 6)], counters=counted("down", wire)), 30.0, QUICK)
    assert (way.capacity_mbps, way.cross_pct) == (way.mbps, 0.0)


def test_what_others_send_up_is_thinned_by_two_thirds_of_our_own_loss() -> None:
    ours = lane("up", 6)
    infos = [replace(i, sent=i.sent * 5 // 4, segments_out=i.segments_out * 5 // 4, sent_again=1) for i in ours.info]
    wire = (6 * 1.25 + 5) * (MSS + HEADER) / MSS
    way = judge(trace("up", [replace(ours, info=infos)], counters=counted("up", wire)), 30.0, QUICK)
    assert way.capacity_mbps == pytest.approx(6 + 5 * (1 - 0.2 * 2 / 3), rel=0.01)


def test_a_load_that_lifts_no_round_trip_has_not_filled_the_line() -> None:
    assert judge(trace("down", [lane("down", 8)], loaded_ms=[31, 32, 32]), 30.0, QUICK).flags == {"not_saturated"}


def test_too_few_echoes_say_nothing_of_saturation() -> None:
    assert judge(trace("down", [lane("down", 8)], loaded_ms=[31, 32]), 30.0, QUICK).flags == set()


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"end": "bytes"}, "capped"),
        ({"machine": MachineShares(busy=0.9)}, "client_limited"),
        ({"machine": MachineShares(waited=0.3)}, "client_limited"),
        ({"machine": MachineShares(softirq=0.4)}, "client_limited"),
        ({"late_share": 0.5}, "client_limited"),
        ({"warm_s": 101.5}, "short"),
    ],
)
def test_a_figure_worth_less_says_why(changes: dict[str, Any], flag: str) -> None:
    assert judge(trace("down", [lane("down", 8)], **changes), 30.0, QUICK).flags == {flag}


BUSY = MachineShares(busy=0.95, waited=0.6)
FULL = [95.0] * 12  # the queue never runs empty


def sinking(direction: Direction, mbps: float) -> Lane:
    """A connection that stands still for a tenth of the time."""
    infos = lane(direction, mbps).info
    kept = [infos[tick - min(2, max(0, tick - 30)) - min(2, max(0, tick - 38))] for tick in range(TICKS)]
    return Lane(first=0, info=kept, moved=[info.received for info in kept])


@pytest.mark.parametrize(
    ("lanes", "changes", "is_limited"),
    [
        (lane("down", 8), {"machine": BUSY, "loaded_ms": FULL}, False),
        (lane("down", 8), {"late_share": 0.5, "loaded_ms": FULL}, False),
        (lane("down", 8), {"machine": BUSY, "loaded_ms": [*FULL[2:], 31.0, 32.0]}, True),
        (lane("down", 8), {"loaded_ms": [*FULL[2:], 31.0, 32.0]}, False),  # the line's doing, not this machine's
        (sinking("down", 8), {"machine": BUSY, "loaded_ms": FULL}, True),
        (sinking("down", 8), {"loaded_ms": FULL}, False),
        (lane("down", 8), {"loaded_ms": FULL, "port": Port(mbps=8.8, is_wireless=False)}, True),
        (lane("down", 8), {"loaded_ms": FULL, "port": Port(mbps=10.0, is_wireless=False)}, False),
        (lane("down", 8), {"loaded_ms": FULL, "port": Port(mbps=15.0, is_wireless=True)}, True),
        (lane("down", 8), {"loaded_ms": FULL, "port": Port(mbps=54.0, is_wireless=True)}, False),
    ],
)
def test_a_busy_machine_is_the_bottleneck_while_the_line_is_not(
    lanes: Lane, changes: dict[str, Any], is_limited: bool
) -> None:
    flags = judge(trace("down", [lanes], **changes), 30.0, QUICK).flags
    assert ("client_limited" in flags) == is_limited


@pytest.mark.parametrize(("fed", "is_limited"), [(1.0, False), (0.95, False), (0.6, True)])
def test_an_upload_that_has_nothing_to_send_is_held_back_by_this_machine(fed: float, is_limited: bool) -> None:
    ours = lane("up", 6)
    infos = [replace(info, busy_us=round(fed * tick * BIN_S * 1e6)) for tick, info in enumerate(ours.info)]
    for echoes in (FULL, [*FULL[2:], 31.0, 32.0]):
        flags = judge(trace("up", [replace(ours, info=infos)], loaded_ms=echoes), 30.0, QUICK).flags
        assert ("client_limited" in flags) == (is_limited and echoes is not FULL)


def test_a_test_that_ends_in_its_warm_up_is_judged_by_its_later_half() -> None:
    way = judge(trace("down", [lane("down", 8)], warm_s=200.0, end="bytes"), 30.0, QUICK)
    assert way.mbps == pytest.approx(8, rel=0.01)
    assert way.flags == {"capped", "short"}


def test_without_kernel_counts_a_download_is_what_was_read_and_an_upload_is_unknown() -> None:
    blind = replace(lane("down", 8), info=[])
    assert judge(trace("down", [blind]), 30.0, QUICK).mbps == pytest.approx(8, rel=0.01)
    assert judge(trace("up", [blind]), 30.0, QUICK).mbps is None


def test_what_was_dropped_before_the_line_did_not_cost_it() -> None:
    ours = lane("up", 8)
    dropped = replace(
        ours, info=[replace(info, sent=info.sent * 2, segments_out=info.segments_out * 2) for info in ours.info]
    )
    assert judge(trace("up", [dropped]), 30.0, QUICK).sent_bytes == judge(trace("up", [ours]), 30.0, QUICK).sent_bytes


@dataclass(frozen=True)
class Curve:
    times: list[float]
    totals: list[float]


EVEN = Curve([i * BIN_S for i in range(50)], [i * BIN_S * 5e6 for i in range(50)])
GROWING = Curve(EVEN.times, [(i * BIN_S) ** 2 * 5e6 for i in range(50)])
SLOW = Curve(EVEN.times, [i * BIN_S * 6e4 for i in range(50)])


@pytest.mark.parametrize(
    ("mode", "seconds", "curve", "end"),
    [
        (MODES["quick"], 2.0, EVEN, None),
        (MODES["quick"], 2.2, EVEN, "time"),
        # A slow line is given longer: its packets are few.
        (MODES["quick"], 2.2, SLOW, None),
        (MODES["quick"], 5.1, SLOW, "time"),
        (MODES["adaptive"], 3.1, EVEN, None),
        (MODES["adaptive"], 3.3, EVEN, "settled"),
        (MODES["adaptive"], 3.3, GROWING, None),
        (MODES["adaptive"], 3.3, SLOW, None),
        (MODES["adaptive"], 9.4, GROWING, "time"),
        (MODES["full"], 9.0, EVEN, None),
        (MODES["full"], 9.6, EVEN, "time"),
    ],
)
def test_a_direction_ends_when_its_mode_has_enough(mode: Mode, seconds: float, curve: Curve, end: str | None) -> None:
    assert ended(mode, seconds, mode.most_s, curve.times, curve.totals) == end


# ---------------------------------------------------------------- counters shown anew only now and then


def leaping(counters: list[Counters | None], every: int, first: int = 0) -> list[Counters | None]:
    """The same counters, shown anew each so many ticks."""
    return [counters[max(0, i - (i - first) % every)] for i in range(len(counters))]


@pytest.mark.parametrize("every", [1, 6, 10, 13])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_routers_leaping_counters_tell_what_others_moved(direction: Direction, every: int) -> None:
    wire = (12.0 + 6.0) * (MSS + HEADER) / MSS
    seen = leaping(counted(direction, wire), every, first=3)
    way = judge(trace(direction, [lane(direction, 12.0)], counters=seen, stepped=True), 20.0, QUICK)
    assert way.capacity_mbps == pytest.approx(18.0, rel=0.02)
    assert "cross_traffic" in way.flags


@pytest.mark.parametrize("every", [25, TICKS])
def test_a_router_that_leaps_too_rarely_tells_nothing(every: int) -> None:
    seen = leaping(counted("down", 20.0), every)
    way = judge(trace("down", [lane("down", 12.0)], counters=seen, stepped=True), 20.0, QUICK)
    assert (way.mbps, way.capacity_mbps, way.cross_pct) == (pytest.approx(12.0, rel=0.01), None, None)


def test_a_router_that_falls_silent_or_starts_anew_tells_nothing() -> None:
    for spoilt in ([None] * TICKS, [*counted("down", 20.0)[:30], *counted("down", 1.0)[:13]]):
        way = judge(trace("down", [lane("down", 12.0)], counters=spoilt, stepped=True), 20.0, QUICK)
        assert way.capacity_mbps is None


def test_a_little_more_on_a_routers_counter_is_the_seeing_not_others() -> None:
    wire = 12.2 * (MSS + HEADER) / MSS
    way = judge(trace("down", [lane("down", 12.0)], counters=counted("down", wire), stepped=True), 20.0, QUICK)
    assert way.capacity_mbps == pytest.approx(12.0, rel=0.01)


# ---------------------------------------------------------------- a direction that stands still


def halted(direction: Direction, mbps: float, at_tick: int) -> Lane:
    """A connection that carries nothing any more from that tick on."""
    whole = lane(direction, mbps)
    return Lane(first=0, info=[whole.info[min(i, at_tick)] for i in range(TICKS)], moved=whole.moved)


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize(("at_tick", "stalled"), [(0, True), (5, True), (20, False), (TICKS, False)])
def test_a_direction_that_stands_still_at_its_end_has_stalled(
    direction: Direction, at_tick: int, stalled: bool
) -> None:
    lanes = [halted(direction, 5, min(at_tick, TICKS - 1))]
    assert has_stalled(trace(direction, lanes), 20.0) is stalled


def test_a_slow_line_has_not_stalled_and_a_long_one_gets_its_time() -> None:
    assert not has_stalled(trace("down", [lane("down", 0.064)]), 600.0)
    assert not has_stalled(trace("down", [halted("down", 5, 5)]), 600.0)
