"""This machine to a snapshot, by psutil. Measures the machine only: nothing here reads who uses it or for what."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

from agent.seat import windows
from agent.seat.clocks import slept_s
from agent.seat.drives import built_in, serial_of
from agent.seat.identity import SeatIdentity, facts_of, is_burnt_in
from agent.seat.snapshot import MAX_DISKS, Disk, Drive, Snapshot, State

STARTED_S = time.monotonic()  # stops while asleep, and so does a program
SANE_CELSIUS = (-40.0, 150.0)  # absent sensors answer 0 K, 255 or nonsense
DMI = Path("/sys/class/dmi/id")
DMI_FACTS = {"board": "board_serial", "product": "product_serial", "uuid": "product_uuid", "chassis": "chassis_serial"}


def measure(
    identity: SeatIdentity, name: str, nonce: str, at_ms: int, *, state: State = "running", interval_s: float = 60.0,
    version: str = "", drives: tuple[Drive, ...] | None = None, hand: str = "",
) -> Snapshot:  # fmt: skip
    """One snapshot; processor load is the average since the call before. What cannot be read is None."""
    memory, battery = psutil.virtual_memory(), _battery()
    return Snapshot(
        id=identity.id,
        name=name,
        at_ms=at_ms,
        nonce=nonce,
        state=state,
        interval_s=interval_s,
        facts=identity.facts[:32],
        cpu_pct=psutil.cpu_percent(),
        memory_pct=memory.percent,
        memory_mb=round(memory.total / 1e6),
        disks=disks(),
        temperature_c=hottest_c(),
        battery_pct=battery[0],
        on_mains=battery[1],
        uptime_s=round(time.time() - psutil.boot_time(), 0) if time.time() > psutil.boot_time() else None,
        net_errors=net_errors(),
        version=version,
        drives=drives,
        slept_s=slept_s(),
        running_s=round(time.monotonic() - STARTED_S, 1),
        hand=hand,
    )


def disks() -> tuple[Disk, ...]:
    """Fixed disks, each device once, the system's first. No mount points: they can hold a person's name."""
    found: dict[str, Disk] = {}
    for part in psutil.disk_partitions(all=False):
        if part.device in found or _is_passing(part.opts, part.fstype):
            continue
        try:
            usage = psutil.disk_usage(part.mountpoint)
        except OSError:  # an empty card reader, a folder this service may not enter
            continue
        found[part.device] = Disk(
            role="system" if part.mountpoint in ("/", "C:\\") else "data",
            total_gb=round(usage.total / 1e9, 1),
            used_pct=usage.percent,
        )
    return tuple(sorted(found.values(), key=lambda disk: disk.role != "system"))[:MAX_DISKS]


def _is_passing(options: str, kind: str) -> bool:
    """Removable drives, discs and package images do not belong to the seat."""
    return bool({"removable", "cdrom"} & set(options.split(","))) or kind in ("squashfs", "iso9660", "udf", "")


def hottest_c() -> float | None:
    """The hottest sensor with a believable value; None where the machine shows none (Windows, most virtual ones)."""
    low, high = SANE_CELSIUS
    read = getattr(psutil, "sensors_temperatures", dict)
    values = [sensor.current for sensors in read().values() for sensor in sensors]
    return max((value for value in values if value and low < value < high), default=None)


def net_errors() -> int:
    """Errors and drops on all network interfaces since boot."""
    counters = psutil.net_io_counters()
    return counters.errin + counters.errout + counters.dropin + counters.dropout if counters else 0


def _battery() -> tuple[float | None, bool | None]:
    read = getattr(psutil, "sensors_battery", lambda: None)
    battery = read()
    if battery is None:
        return None, None
    return min(100.0, max(0.0, round(battery.percent, 1))), battery.power_plugged


# ---------------------------------------------------------------- which machine


def hardware() -> tuple[str, ...]:
    """Hashed facts of this machine, see agent.seat.identity. What this account may not read is left out."""
    found = [("mac" if is_burnt_in(mac) and stays else "lmac", mac) for mac, stays in _macs()]
    if sys.platform == "win32":
        return facts_of([*found, *windows.inventory().found])
    found += [("disk", serial_of(disk)) for disk in built_in(Path("/sys"))]
    found += [(kind, _line(DMI / file)) for kind, file in DMI_FACTS.items()]
    found += [("machine", _line(Path("/etc/machine-id")))]
    return facts_of(found)


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
