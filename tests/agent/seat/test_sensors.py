"""One sensor that fails costs that sensor only; what people plug in is no disk of the seat."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.seat.drives import is_removable, linux_drives
from agent.seat.measure import disks
from agent.seat.sensors import hottest_c, sensed, share_pct


def temperature(sys_dir: Path, name: str, text: str | None) -> Path:
    file = sys_dir / "class" / "hwmon" / name / "temp1_input"
    file.parent.mkdir(parents=True)
    if text is None:
        file.mkdir()  # reading it fails, as a driver's EAGAIN does
    else:
        file.write_text(text)
    return file


@pytest.mark.parametrize("broken", [None, "", "N/A\n", "-1000000\n", "255000\n", "0\n", "9" * 5000])
def test_a_temperature_that_fails_leaves_the_others(tmp_path: Path, broken: str | None) -> None:
    temperature(tmp_path, "hwmon0", broken)
    assert hottest_c(tmp_path) is None
    temperature(tmp_path, "hwmon1", "48000\n")
    temperature(tmp_path, "hwmon2", "41850\n")
    assert hottest_c(tmp_path) == 48.0


def test_boards_without_hwmon_show_their_zones(tmp_path: Path) -> None:
    zone = tmp_path / "class" / "thermal" / "thermal_zone0" / "temp"
    zone.parent.mkdir(parents=True)
    zone.write_text("52312\n")
    assert hottest_c(tmp_path) == 52.312


@pytest.mark.parametrize(
    "error", [OSError(errno.EAGAIN, "again"), TypeError("NoneType"), RuntimeError("driver"), KeyError(1)]
)
def test_whatever_a_sensor_raises_is_noted_and_unknown(error: Exception) -> None:
    def fails() -> float:
        raise error

    notes: list[str] = []
    assert sensed("battery", fails, notes.append) is None
    assert notes[0].startswith("battery cannot be read: ")


def test_a_share_that_the_wire_would_refuse_is_unknown() -> None:
    assert [share_pct(value) for value in (0.0, 100.0, 100.1, -1.0, float("nan"), None)] == [0.0, 100.0] + [None] * 4


# ---------------------------------------------------------------- what is plugged in

PLACES = {  # block device -> where it lies, its files
    "nvme0n1": ("pci0000:00/nvme/nvme0/nvme0n1", {}),
    "sdb": ("pci0000:00/usb2/2-1/host4/block/sdb", {"removable": "0"}),  # an external disk says it is fixed
    "sdc": ("pci0000:00/ata3/block/sdc", {"removable": "1"}),
    "mmcblk0": ("platform/mmc0/block/mmcblk0", {"removable": "0", "device/type": "SD\n", "device/cid": "150100424a4e"}),
    "mmcblk1": (
        "platform/mmc1/block/mmcblk1",
        {"removable": "0", "device/type": "MMC\n", "device/cid": "250100424a4f"},
    ),
}


@pytest.fixture
def sys_dir(tmp_path: Path) -> Path:
    """A PC with disks, each with a first partition, and an encrypted volume on the stick and on the disk."""
    sys_dir = tmp_path / "sys"
    blocks = sys_dir / "class" / "block"
    blocks.mkdir(parents=True)
    (sys_dir / "block").mkdir()
    for name, (place, files) in PLACES.items():
        folder = sys_dir / "devices" / place
        part = f"{name}p1" if name[-1].isdigit() else f"{name}1"
        (folder / part).mkdir(parents=True)
        (folder / part / "partition").write_text("1")
        (folder / "device").mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        (blocks / name).symlink_to(folder)
        (sys_dir / "block" / name).symlink_to(folder)
        (blocks / part).symlink_to(folder / part)
    for name, below in (("dm-0", "sdb1"), ("dm-1", "nvme0n1p1")):
        slaves = sys_dir / "devices" / "virtual" / "block" / name / "slaves"
        slaves.mkdir(parents=True)
        (slaves / below).symlink_to(os.path.realpath(blocks / below))
        (blocks / name).symlink_to(slaves.parent)
    return sys_dir


@pytest.mark.parametrize(
    ("device", "plugged"),
    [
        ("/dev/nvme0n1p1", False), ("/dev/sdb1", True), ("/dev/sdb", True), ("/dev/sdc1", True),
        ("/dev/mmcblk0p1", True), ("/dev/mmcblk1p1", False), ("/dev/dm-0", True), ("/dev/dm-1", False),
        ("/dev/unheard-of", False), ("server:/export", False), ("tmpfs", False),
    ],
)  # fmt: skip
def test_what_people_plug_in_is_told_from_what_is_built_in(sys_dir: Path, device: str, *, plugged: bool) -> None:
    assert is_removable(sys_dir, device) is plugged


def mounted(device: str, at: str, options: str = "rw,relatime", kind: str = "ext4") -> SimpleNamespace:
    return SimpleNamespace(device=device, mountpoint=at, fstype=kind, opts=options)


def test_a_full_stick_is_no_full_disk_and_a_folder_that_cannot_be_read_hides_no_other(sys_dir: Path) -> None:
    used = {"/": 40.0, "/data": 55.0, "/media/guest/STICK": 100.0, "/media/guest/DISK": 99.0, "/cd": 100.0}

    def usage(at: str) -> SimpleNamespace:
        return SimpleNamespace(total=500_000_000_000, percent=used[at])

    parts = [
        mounted("/dev/mmcblk1p1", "/locked"), mounted("/dev/sdc1", "/media/guest/STICK", kind="vfat"),
        mounted("/dev/dm-0", "/media/guest/DISK"), mounted("/dev/loop1", "/cd", "ro"),
        mounted("/dev/dm-1", "/data"), mounted("/dev/sdb1", "/"),
    ]  # fmt: skip
    found = disks(parts, usage, sys_dir)
    assert [(disk.role, disk.used_pct) for disk in found] == [("system", 40.0), ("data", 55.0)]


def test_a_memory_card_is_no_part_that_can_go_missing(sys_dir: Path) -> None:
    assert len(linux_drives(sys_dir, lambda _device: None) or ()) == 1
