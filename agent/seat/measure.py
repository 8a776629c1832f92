"""This machine to a snapshot, by psutil. Measures the machine only: nothing here reads who uses it or for what."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import psutil

from agent.seat import windows
from agent.seat.clocks import slept_s
from agent.seat.drives import built_in, is_removable, serial_of
from agent.seat.identity import SeatIdentity, facts_of, is_burnt_in, is_hypervisor
from agent.seat.sensors import hottest_c, sensed, share_pct, within
from agent.seat.snapshot import MAX_DISKS, Disk, Drive, SeatCondition, Snapshot, State

STARTED_S = time.monotonic()  # stops while asleep, and so does a program
DMI = Path("/sys/class/dmi/id")
DMI_FACTS = {"board": "board_serial", "product": "product_serial", "uuid": "product_uuid", "chassis": "chassis_serial"}


def measure(
    identity: SeatIdentity, name: str, nonce: str, at_ms: int, *, state: State = "running", interval_s: float = 60.0,
    version: str = "", drives: tuple[Drive, ...] | None = None, hand: str = "",
    condition: SeatCondition | None = None,
) -> Snapshot:  # fmt: skip
    """One snapshot; processor load is the average since the call before. What cannot be read is None, and costs nothing
    else: a PC with an odd battery is a seat all the same."""
    memory = sensed("memory", psutil.virtual_memory)
    battery_pct, on_mains = sensed("battery", _battery) or (None, None)
    return Snapshot(
        id=identity.id,
        name=name,
        at_ms=at_ms,
        nonce=nonce,
        state=state,
        interval_s=interval_s,
        facts=identity.facts[:32],
        cpu_pct=share_pct(sensed("processor load", psutil.cpu_percent)),
        memory_pct=share_pct(memory.percent) if memory else None,
        memory_mb=round(memory.total / 1e6) if memory else None,
        disks=sensed("disks", disks) or (),
        temperature_c=hottest_c(),
        battery_pct=battery_pct,
        on_mains=on_mains,
        uptime_s=sensed("uptime", _uptime_s),
        net_errors=sensed("interface counters", net_errors),
        version=version,
        drives=drives,
        slept_s=within(sensed("time asleep", slept_s), 0, 1e10),
        running_s=round(time.monotonic() - STARTED_S, 1),
        hand=hand,
        is_virtual=sensed("maker", is_virtual),
        condition=condition,
    )


def _uptime_s() -> float | None:
    up_s = time.time() - psutil.boot_time()
    return round(up_s) if up_s > 0 else None


def disks(
    partitions: Iterable[Any] | None = None,
    usage: Callable[[str], Any] = psutil.disk_usage,
    sys_dir: Path = Path("/sys"),
) -> tuple[Disk, ...]:
    """Fixed disks, each device once, the system's first. No mount points: they can hold a person's name."""
    by_device: dict[str, Disk] = {}
    for part in psutil.disk_partitions(all=False) if partitions is None else partitions:
        is_system = part.mountpoint in ("/", "C:\\")
        if part.device in by_device or (not is_system and _is_passing(part, sys_dir)):
            continue
        # One fails in an empty card reader, in a folder this service may not enter, on a server that went away.
        used = sensed(part.mountpoint, lambda part=part: usage(part.mountpoint))  # type: ignore[misc]
        if used is not None and (used_pct := share_pct(used.percent)) is not None:
            role: Literal["system", "data"] = "system" if is_system else "data"
            by_device[part.device] = Disk(role=role, total_gb=round(used.total / 1e9, 1), used_pct=used_pct)
    return tuple(sorted(by_device.values(), key=lambda disk: disk.role != "system"))[:MAX_DISKS]


def _is_passing(part: Any, sys_dir: Path) -> bool:
    """Removable drives, discs, package images and what nobody can fill do not belong to the seat."""
    options = set(part.opts.split(","))
    return (
        bool({"removable", "cdrom", "ro"} & options)
        or part.fstype in ("squashfs", "iso9660", "udf", "")
        or is_removable(sys_dir, part.device)
    )


def net_errors() -> int:
    """Errors and drops on all network interfaces since boot."""
    counters = psutil.net_io_counters()
    return counters.errin + counters.errout + counters.dropin + counters.dropout if counters else 0


def _battery() -> tuple[float | None, bool | None]:
    battery = getattr(psutil, "sensors_battery", lambda: None)()
    if battery is None:
        return None, None
    percent = battery.percent
    return None if percent is None else min(100.0, max(0.0, round(percent, 1))), battery.power_plugged


# ---------------------------------------------------------------- which machine


def hardware() -> tuple[str, ...]:
    """Hashed facts of this machine, see agent.seat.identity. What this account may not read is left out."""
    pairs = [("mac" if is_burnt_in(mac) and stays else "lmac", mac) for mac, stays in sensed("cards", _macs) or ()]
    if sys.platform == "win32":
        return facts_of([*pairs, *windows.inventory().found])
    pairs += [("disk", serial_of(disk)) for disk in built_in(Path("/sys"))]
    pairs += [(kind, _line(DMI / file)) for kind, file in DMI_FACTS.items()]
    pairs += [("machine", _line(Path("/etc/machine-id")))]
    return facts_of(pairs)


def is_virtual(dmi: Path = DMI) -> bool | None:
    """Whether its maker is a hypervisor; None where this machine names no maker."""
    maker = windows.maker() if sys.platform == "win32" else f"{_line(dmi / 'sys_vendor')} {_line(dmi / 'product_name')}"
    return is_hypervisor(maker) if maker.strip() else None


def _macs() -> list[tuple[str, bool]]:
    """(address, whether its card is built in) of every physical card."""
    family = psutil.AF_LINK
    return [
        (entry.address, not _is_on_usb(name))
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == family and _is_physical(name)
    ]


def _is_physical(interface: str) -> bool:
    """On Linux a real card has a device behind it; elsewhere only the address decides."""
    return not sys.platform.startswith("linux") or Path("/sys/class/net", interface, "device").exists()


def _is_on_usb(interface: str) -> bool:
    """Docking stations and dongles go from PC to PC: their address identifies only where nothing else does."""
    return any(part.startswith("usb") for part in Path("/sys/class/net", interface, "device").resolve().parts)


def _line(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()[:200]
    except OSError:  # not there, or for root only
        return ""
