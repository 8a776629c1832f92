"""What a simulated center measures at one moment: a pure function of the center, the moment and the staged troubles."""

from __future__ import annotations

import hashlib
import math
import random
import uuid
from collections.abc import Iterator

import msgspec

from agent.common.center_time import UTC_AHEAD_MS
from agent.wire import (
    ENGINE_OF_RECORD,
    KINDS,
    BootReading,
    GatewayReading,
    Hop,
    Kind,
    LinkReading,
    Reading,
    SeatColumns,
    SeatsReading,
    SpeedReading,
    Stamp,
    UpsReading,
)
from collector.commands.simulation.fleet import SimulatedCenter
from collector.commands.simulation.trouble import RECHARGE_S, Stage, Trouble

MINUTE_MS = 60_000
GATEWAY_EVERY = 5  # minutes
SPEED_EVERY = 5  # minutes: more often than a real center tests, so that a demonstration has something to show
PROBES = 20
VERSION = "simulated"
OWN = frozenset({"link", "speed", "ups", "seats", "gateway"})  # kinds that are made up each in a way of its own
LIKELY = {"%": (30, 60), "°C": (22, 34), "ms": (10, 60), "V": (210, 230), "Hz": (49, 51)}  # by the unit of a figure


def boot_id(center: SimulatedCenter, boot_ms: int) -> str:
    """The name of the boot that began at `boot_ms`: as stable as the kernel's, and different for every boot."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"{center.code}:{boot_ms}".encode()).digest()[:16]))


def stamp(center: SimulatedCenter, at_ms: int, boot_ms: int, error_ms: int) -> Stamp:
    """`error_ms` is how wrong the wall clock is; the monotonic clock never lies."""
    return Stamp(
        wall_ms=at_ms + error_ms,
        mono_ms=at_ms - boot_ms,
        boot=boot_id(center, boot_ms),
        clock="unsynced" if error_ms else "synced",
    )


def busy(at_ms: int) -> float:
    """How busy the country's lines are, 0 (five in the morning) to 1 (nine in the evening)."""
    hour = ((at_ms + UTC_AHEAD_MS) / 3_600_000) % 24
    return 0.5 + 0.5 * math.cos((hour - 21) / 24 * 2 * math.pi)


def minute_of(center: SimulatedCenter, at_ms: int, stage: Stage, is_open: bool, boot_ms: int) -> Iterator[Reading]:
    """The readings of one minute, unstamped: link, UPS and seats each minute, the others now and then."""
    minute = at_ms // MINUTE_MS
    dice = random.Random(f"{center.code}:{minute}")
    offline = stage.offline(center, at_ms)
    slow = stage.of(center.code, "slow_line", at_ms) is not None
    unplugged = stage.of(center.code, "cable_out", at_ms) is not None
    yield unplugged_link() if unplugged else link(center, at_ms, dice, offline, slow)
    yield ups(center, at_ms, dice, stage.last_cut(center.code, at_ms))
    yield seats(center, dice, is_open, stage.of(center.code, "broken_seats", at_ms))
    if (minute + center.index) % GATEWAY_EVERY == 0:
        yield gateway(at_ms, dice, boot_ms)
    if (minute + center.index) % SPEED_EVERY == 0 and not offline:
        yield speed(center, at_ms, dice, slow)
    for kind in KINDS.values():
        if kind.name not in OWN and kind.measured != "event":
            yield any_reading(kind, dice)


def link(center: SimulatedCenter, at_ms: int, dice: random.Random, offline: bool, slow: bool) -> LinkReading:
    lan = Hop(
        role="lan",
        target="192.0.2.1",
        method="icmp",
        sent=PROBES,
        received=PROBES,
        min_ms=0.3,
        median_ms=_ms(0.5 + dice.random() * 0.4),
        p95_ms=1.4,
        jitter_ms=0.2,
    )
    if offline:
        isp = Hop(role="isp", target="198.51.100.1", method="icmp", sent=PROBES, received=0)
        return LinkReading(subject="wan", loss_pct=100.0, fault_place="isp", hops=[lan, isp])
    lost = sum(dice.random() < (0.06 if slow else 0.003) for _ in range(PROBES))
    spread = (0.05 + 0.35 * busy(at_ms)) * (6 if slow else 1)
    least = center.rtt_ms * (1 + 0.02 * dice.random())
    median = least * (1 + spread * (0.3 + 0.4 * dice.random()))
    return LinkReading(
        subject="wan",
        rtt_min_ms=_ms(least),
        rtt_median_ms=_ms(median),
        rtt_p95_ms=_ms(median * (1.15 + spread)),
        jitter_ms=_ms(median * spread * 0.3 + 0.1),
        loss_pct=round(100 * lost / PROBES, 1),
        fault_place="none",
        hops=[lan],
    )


def unplugged_link() -> LinkReading:
    """The cable to the router is out: nothing answers, from the first hop on."""
    hops = [
        Hop(role="lan", target="192.0.2.1", method="icmp", sent=PROBES, received=0),
        Hop(role="isp", target="198.51.100.1", method="icmp", sent=PROBES, received=0),
    ]
    return LinkReading(subject="wan", loss_pct=100.0, fault_place="lan", hops=hops)


def speed(center: SimulatedCenter, at_ms: int, dice: random.Random, slow: bool) -> SpeedReading:
    share = (0.97 - 0.12 * busy(at_ms)) * dice.uniform(0.93, 1.0) * (0.25 if slow else 1)
    down, up = center.plan_mbps * share, center.plan_mbps * share * dice.uniform(0.5, 0.8)
    cross = dice.uniform(2, 18)
    return SpeedReading(
        subject="wan",
        engine=ENGINE_OF_RECORD,
        engine_version=VERSION,
        server="simulated",
        mode="adaptive",
        purpose="routine",
        download_mbps=_ms(down * (1 - cross / 100)),
        upload_mbps=_ms(up),
        capacity_down_mbps=_ms(down),
        capacity_up_mbps=_ms(up),
        cross_traffic_down_pct=_ms(cross),
        cross_traffic_up_pct=_ms(cross / 3),
        idle_rtt_ms=_ms(center.rtt_ms),
        loaded_rtt_down_ms=_ms(center.rtt_ms * dice.uniform(1.5, 4)),
        loaded_rtt_up_ms=_ms(center.rtt_ms * dice.uniform(1.5, 5)),
        jitter_ms=_ms(dice.uniform(0.3, 4)),
        loss_pct=0.0,
        bytes_total=int((down + up) / 8 * 1e6 * 8),
        seconds=16.0,
    )


def charge_pct(center: SimulatedCenter, at_ms: int, cut: Trouble | None) -> float:
    """The battery's charge: it falls to nothing in `autonomy_s` and fills again in `RECHARGE_S`."""
    if cut is None:
        return 100.0
    drained_s = (min(at_ms, cut.to_ms) - cut.from_ms) / 1000
    low = max(0.0, 100.0 * (1 - drained_s / center.autonomy_s))
    return min(100.0, low + max(0, at_ms - cut.to_ms) / 1000 / RECHARGE_S * 100.0)


def ups(center: SimulatedCenter, at_ms: int, dice: random.Random, cut: Trouble | None) -> UpsReading:
    on_battery = cut is not None and cut.covers(at_ms)
    charge = charge_pct(center, at_ms, cut)
    mains = 222 - 14 * busy(at_ms) + dice.gauss(0, 3)
    return UpsReading(
        subject="ups",
        output_state="battery" if on_battery else "online",
        battery_status="low" if charge < 20 else "normal",
        battery_replace=False,
        battery_charge_pct=_ms(charge),
        runtime_s=round(charge / 100 * center.autonomy_s),
        on_battery_s=(at_ms - cut.from_ms) // 1000 if cut is not None and on_battery else 0,
        input_voltage_v=0.0 if on_battery else _ms(mains),
        output_voltage_v=_ms(220 + dice.gauss(0, 0.7)),
        input_frequency_hz=None if on_battery else _ms(50 + dice.gauss(0, 0.08)),
        load_pct=_ms(28 + 20 * busy(at_ms) + dice.gauss(0, 2)),
        battery_temp_c=_ms(29 + 4 * dice.random()),
        alarms_count=1 if on_battery else 0,
        manufacturer="Simulated",
        model=f"Simulated UPS {center.autonomy_s:.0f} s",
        serial=f"SIM{center.index:06d}",
        profiles=["simulated"],
    )


def seats(center: SimulatedCenter, dice: random.Random, is_open: bool, broken: Trouble | None) -> SeatsReading:
    """When the center is closed its seats are off; broken ones are, in turn, missing or unhealthy."""
    bad = min(int(broken.subject), center.seats) if broken else 0
    lit = ["missing" if i % 2 else "unhealthy" for i in range(bad)] + ["healthy"] * (center.seats - bad)
    states = lit if is_open else ["off"] * center.seats
    alive = [state in ("healthy", "unhealthy") for state in states]
    names = [f"seat-{number:02d}" for number in range(1, center.seats + 1)]
    columns = SeatColumns(
        id=names,
        state=states,  # type: ignore[arg-type]  # a list of the literal's own words
        why=[""] * center.seats,
        cpu_pct=[_whole(5, 60, dice) if up else None for up in alive],
        memory_pct=[_whole(30, 80, dice) if up else None for up in alive],
        disk_pct=[
            (99.0 if state == "unhealthy" else _whole(20, 70, dice)) if up else None
            for state, up in zip(states, alive, strict=True)
        ],
        faults={
            name: "disk:used_pct=99,limit_pct=97"
            for name, state in zip(names, states, strict=True)
            if state == "unhealthy"
        },
    )
    return SeatsReading(
        known=center.seats,
        healthy=states.count("healthy"),
        unhealthy=states.count("unhealthy"),
        missing=states.count("missing"),
        off=states.count("off"),
        seats=columns,
    )


def gateway(at_ms: int, dice: random.Random, boot_ms: int) -> GatewayReading:
    up_s = (at_ms - boot_ms) / 1000
    return GatewayReading(
        cpu_pct=_ms(dice.uniform(1, 9)),
        memory_pct=_ms(dice.uniform(30, 40)),
        disk_free_pct=_ms(dice.uniform(70, 72)),
        temperature_c=_ms(dice.uniform(42, 55)),
        uptime_s=round(up_s),
        clock_offset_ms=_ms(dice.gauss(0, 3)),
        wan_interface="eth0",
        wan_rx_bytes=int(up_s * 210_000),
        wan_tx_bytes=int(up_s * 40_000),
        agent_rss_mb=_ms(dice.uniform(36, 42)),
        agent_cpu_s=round(up_s * 0.006, 1),
        spool_volatile=True,
        version=VERSION,
    )


def any_reading(kind: Kind, dice: random.Random) -> Reading:
    """A reading of any kind, its figures whole numbers that its units make likely."""
    numbers = (figure for figure in kind.figures if figure.is_number)
    values = {figure.field: dice.randint(*LIKELY.get(figure.unit, (1, 100))) for figure in numbers}
    return msgspec.convert({"kind": kind.name, **values}, kind.struct)


def boot(why: str, last_alive_ms: int | None, at_ms: int) -> BootReading:
    """`why`: ``first``, ``clean`` or, after staged darkness, ``power``, ``reboot``, ``killed`` or ``unknown``."""
    evidence = ["went_down"] if why == "power" else []
    dark_s = None if last_alive_ms is None else max(0, at_ms - last_alive_ms) / 1000
    return BootReading(
        previous_end=why,  # type: ignore[arg-type]  # one of the literal's own words, see above
        evidence=evidence,
        last_alive_ms=last_alive_ms,
        dark_s=dark_s,
    )


def _ms(value: float) -> float:
    return round(value, 2)


def _whole(low: int, high: int, dice: random.Random) -> float:
    return float(dice.randint(low, high))
