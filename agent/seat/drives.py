"""The disks built into this PC, as parts: which, how large, in what health. Read seldom, within a deadline.

Linux shows most of it to everybody (sysfs): NVMe state and temperature, the wear flag of eMMC (JEDEC JESD84-B51,
PRE_EOL_INFO), error counts of ext4. SMART itself needs `smartctl` and the right to query the disk; where either is
missing, health stays unknown. Windows has its storage module, see agent.seat.windows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.seat import windows
from agent.seat.identity import fact, is_generic
from agent.seat.sensors import sensed
from agent.seat.snapshot import MAX_DISKS, Drive, Health

READ_EVERY_S = 3600.0
SMART_S = 10.0
SECTOR_BYTES = 512  # the unit of /sys/block/*/size, whatever the disk's own sector is
SANE_CELSIUS = (-40.0, 120.0)
PLUGGED_BUSES = frozenset({"usb", "fw"})  # as folders of /sys/devices: usb1, fw0 (FireWire)
WORN_OUT = "0x03"  # PRE_EOL_INFO: urgent

Read = Callable[[], tuple[Drive, ...] | None]
Smart = Callable[[str], "bytes | None"]


class Seldom:
    """What `read` returned last, read again when that is older than `every_s`."""

    def __init__(self, read: Read, every_s: float = READ_EVERY_S) -> None:
        self.read, self.every_s = read, every_s
        self.known: tuple[Drive, ...] | None = None
        self.read_s: float | None = None

    def __call__(self, now_s: float | None = None) -> tuple[Drive, ...] | None:
        now_s = time.monotonic() if now_s is None else now_s
        if self.read_s is None or now_s - self.read_s >= self.every_s:
            self.known, self.read_s = sensed("drives", self.read), now_s
        return self.known


def read() -> tuple[Drive, ...] | None:
    """The drives that show their serial number; None where none does: unknown, not absent."""
    if sys.platform == "win32":
        return windows.inventory().drives
    return linux_drives(Path("/sys"), smartctl)


def linux_drives(sys_dir: Path, smart: Smart) -> tuple[Drive, ...] | None:
    drives = [drive for disk in built_in(sys_dir) if (drive := _linux_drive(sys_dir, disk, smart))]
    return tuple({drive.id: drive for drive in drives}.values())[:MAX_DISKS] or None


def built_in(sys_dir: Path) -> list[Path]:
    """Block devices that are parts of the machine: not virtual, not removable, not on USB."""
    return [
        disk
        for disk in sorted((sys_dir / "block").glob("*"))
        if (disk / "device").exists() and not _comes_and_goes(disk) and "virtual" not in disk.resolve().parts
    ]


def is_removable(sys_dir: Path, device: str) -> bool:
    """Whether a mounted ``device`` (a partition, a disk, a volume of LUKS or LVM on them) is on what people plug in.
    Unknown devices are not."""
    name = os.path.basename(os.path.realpath(device))  # /dev/mapper/NAME is a link to /dev/dm-N
    disks = _disks_under(sys_dir / "class" / "block" / name)
    return any(map(_comes_and_goes, disks))


def _disks_under(block: Path, levels: int = 8) -> list[Path]:
    """The whole disks that a block device rests on."""
    below = sorted((block / "slaves").glob("*")) if levels else []
    if below:
        return [disk for one in below for disk in _disks_under(one.resolve(), levels - 1)]
    real = block.resolve()
    return [real.parent if (real / "partition").exists() else real]


def _comes_and_goes(disk: Path) -> bool:
    """Removable, a memory card (JESD84 `MMC` is soldered, `SD` is not), or on a bus that people plug into."""
    return (
        _line(disk / "removable") == "1"
        or _line(disk / "device" / "type") == "SD"
        or not PLUGGED_BUSES.isdisjoint(part.rstrip("0123456789") for part in disk.resolve().parts)
    )


def serial_of(disk: Path) -> str:
    """NVMe and virtio in `serial`, MMC in `cid`, SATA in VPD page 80h (SPC-4: four bytes of head, then ASCII)."""
    for file in ("device/serial", "serial", "device/cid"):
        if serial := _line(disk / file):
            return serial
    try:
        return (disk / "device" / "vpd_pg80").read_bytes()[4:68].decode("ascii", "replace").strip("\0 ")
    except OSError:
        return ""


def _linux_drive(sys_dir: Path, disk: Path, smart: Smart) -> Drive | None:
    serial = serial_of(disk)
    if is_generic(serial):
        return None
    health, temperature_c = parse_smart(smart(f"/dev/{disk.name}") or b"")
    signs = (health, "failing" if _is_failing(sys_dir, disk) else None)
    return Drive(
        id=fact("disk", serial).partition(":")[2],
        size_gb=round(_count(_line(disk / "size")) * SECTOR_BYTES / 1e9, 1),
        health="failing" if "failing" in signs else health,
        temperature_c=temperature_c if temperature_c is not None else _hwmon_c(disk),
    )


def _is_failing(sys_dir: Path, disk: Path) -> bool:
    """What the kernel itself reports: a dead NVMe controller, worn-out eMMC, errors in an ext4 file system on it."""
    errors = (_line(sys_dir / "fs" / "ext4" / part.name / "errors_count") for part in disk.glob(f"{disk.name}*"))
    return (
        _line(disk / "device" / "state") == "dead"
        or _line(disk / "device" / "pre_eol_info").lower() == WORN_OUT
        or any(_count(error) for error in errors)
    )


def _hwmon_c(disk: Path) -> float | None:
    for pattern in ("device/hwmon*/temp1_input", "device/hwmon/hwmon*/temp1_input"):
        for file in disk.glob(pattern):
            return sane_c(_count(_line(file)) / 1000)
    return None


def smartctl(device: str) -> bytes | None:
    """smartctl(8)'s report on one disk, as JSON; None where it is not installed or does not end in time."""
    program = shutil.which("smartctl")
    if program is None:
        return None
    command = [program, "--json", "--health", "--attributes", "--nocheck=standby", device]
    try:
        return subprocess.run(
            command, capture_output=True, timeout=SMART_S, check=False, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None


def parse_smart(answer: bytes) -> tuple[Health | None, float | None]:
    """(health, temperature in °C) of smartctl's JSON; what is missing is None."""
    try:
        report = json.loads(answer)
    except (ValueError, RecursionError):
        return None, None
    passed = _within(report, "smart_status", "passed")
    warning = _within(report, "nvme_smart_health_information_log", "critical_warning")
    current = _within(report, "temperature", "current")
    temperature_c = sane_c(current) if isinstance(current, int | float) and not isinstance(current, bool) else None
    if passed is False or (isinstance(warning, int) and warning > 0):
        return "failing", temperature_c
    return ("good" if passed is True else None), temperature_c


def sane_c(value: float) -> float | None:
    low, high = SANE_CELSIUS
    return float(value) if low < value < high and value else None


def _within(report: object, *path: str) -> object:
    for name in path:
        report = report.get(name) if isinstance(report, dict) else None
    return report


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _line(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()[:200]
    except OSError:
        return ""
