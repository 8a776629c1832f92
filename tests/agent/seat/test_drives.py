"""Disks as parts: which, how large, in what health; what Windows tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.seat import windows
from agent.seat.drives import Seldom, linux_drives, parse_smart
from agent.seat.identity import fact
from agent.seat.snapshot import Drive


@pytest.fixture
def sys_dir(tmp_path: Path) -> Path:
    """A PC with an NVMe disk, a SATA disk, an eMMC, and things that are no parts of it."""
    sys_dir = tmp_path / "sys"
    disks = {
        "nvme0n1": (
            "pci0000:00/nvme/nvme0/nvme0n1",
            {
                "size": "1000215216",
                "device/serial": "S4NVME01 \n",
                "device/state": "live",
                "device/hwmon3/temp1_input": "41850",
            },
        ),
        "sda": (
            "pci0000:00/ata1/block/sda",
            {
                "size": "1953525168",
                "removable": "0",
                "device/vpd_pg80": "\0\x80\0\x14   WD-WX11A22B3",
                "device/hwmon/hwmon4/temp1_input": "36000",
            },
        ),
        "mmcblk0": (
            "platform/mmc0/block/mmcblk0",
            {"size": "61071360", "device/cid": "150100424a4e", "device/pre_eol_info": "0x03"},
        ),
        "sdb": ("pci0000:00/usb2/2-1/block/sdb", {"size": "9", "removable": "0", "device/serial": "USBSTICK1"}),
        "sr0": ("pci0000:00/ata2/block/sr0", {"size": "9", "removable": "1", "device/serial": "DVD12345"}),
        "loop0": ("virtual/block/loop0", {"size": "9"}),
        "sdc": ("pci0000:00/ata3/block/sdc", {"size": "9", "device/serial": "To be filled by O.E.M."}),
    }
    (sys_dir / "block").mkdir(parents=True)
    for name, (place, files) in disks.items():
        folder = sys_dir / "devices" / place
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(text.encode("latin-1"))
        (sys_dir / "block" / name).symlink_to(folder)
    return sys_dir


def test_linux_tells_the_parts_without_any_privilege(sys_dir: Path) -> None:
    found = {drive.size_gb: drive for drive in linux_drives(sys_dir, lambda _device: None) or ()}
    assert set(found) == {512.1, 1000.2, 31.3}
    assert found[512.1].id == fact("disk", "S4NVME01").partition(":")[2]
    assert (found[512.1].temperature_c, found[512.1].health) == (41.85, None)
    assert found[1000.2].id == fact("disk", "WD-WX11A22B3").partition(":")[2]
    assert (found[1000.2].temperature_c, found[1000.2].health) == (36.0, None)
    assert found[31.3].health == "failing"


def test_errors_of_a_file_system_and_a_dead_controller_are_failing_disks(sys_dir: Path) -> None:
    (sys_dir / "block" / "sda" / "sda1").mkdir()
    (sys_dir / "fs" / "ext4" / "sda1").mkdir(parents=True)
    (sys_dir / "fs" / "ext4" / "sda1" / "errors_count").write_text("3\n")
    (sys_dir / "block" / "nvme0n1" / "device" / "state").write_text("dead\n")
    assert [drive.health for drive in linux_drives(sys_dir, lambda _device: None) or ()] == ["failing"] * 3


def test_smart_is_asked_disk_by_disk_and_believed(sys_dir: Path) -> None:
    calls: list[str] = []

    def smart(device: str) -> bytes:
        calls.append(device)
        return b'{"smart_status":{"passed":%b},"temperature":{"current":44}}' % (
            b"false" if "sda" in device else b"true"
        )

    found = {drive.size_gb: drive.health for drive in linux_drives(sys_dir, smart) or ()}
    assert found == {512.1: "good", 1000.2: "failing", 31.3: "failing"}
    assert calls == ["/dev/mmcblk0", "/dev/nvme0n1", "/dev/sda"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'{"smart_status":{"passed":true},"temperature":{"current":38}}', ("good", 38.0)),
        (
            b'{"smart_status":{"passed":true},"nvme_smart_health_information_log":{"critical_warning":4}}',
            ("failing", None),
        ),
        (b'{"smart_status":{"passed":false}}', ("failing", None)),
        (b'{"temperature":{"current":255}}', (None, None)),
        (b'{"smart_status":[],"temperature":{"current":true}}', (None, None)),
        (b"Permission denied", (None, None)),
        (b"", (None, None)),
        (b"[" * 100_000, (None, None)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_smartctl_does_not_say_is_unknown(answer: bytes, expected: tuple[str | None, float | None]) -> None:
    assert parse_smart(answer) == expected


def test_no_drive_that_tells_its_serial_is_unknown_not_none(tmp_path: Path) -> None:
    assert linux_drives(tmp_path, lambda _device: None) is None


def test_disks_are_read_once_an_hour() -> None:
    reads = iter([(Drive(id="a" * 16, size_gb=1.0),), None])
    seldom = Seldom(lambda: next(reads))
    assert seldom(0.0) == seldom(3599.0) != seldom(3600.0)


# ---------------------------------------------------------------- Windows

TOLD = {
    "uuid": "4c4c4544-0042-3510-8051-b4c04f4e3232", "product": "5B25NN2", "board": "To be filled by O.E.M.",
    "chassis": None, "machine": "3d1219c7-c4c5-404a-aa1f-6d2a48adfda4",
    "disks": [
        {"serial": "S4NVME01.", "size": 512110190592, "health": "Healthy", "bus": "NVMe", "celsius": 38},
        {"serial": "WD-WX11A22B3", "size": 1000204886016, "health": "Unhealthy", "bus": "SATA", "celsius": 0},
        {"serial": "USBSTICK1", "size": 100, "health": "Healthy", "bus": "USB", "celsius": None},
        {"serial": None, "size": "x", "health": [], "bus": None},
    ],
}  # fmt: skip


def test_what_windows_tells_is_parsed() -> None:
    drives = windows.parse(b"\xef\xbb\xbf" + json.dumps(TOLD).encode())
    assert dict(drives.found)["uuid"] == TOLD["uuid"]
    assert [value for kind, value in drives.found if kind == "disk"] == ["S4NVME01", "WD-WX11A22B3"]
    assert drives.drives is not None
    assert [(drive.size_gb, drive.health, drive.temperature_c) for drive in drives.drives] == [
        (512.1, "good", 38.0),
        (1000.2, "failing", None),
    ]
    # The same disk is the same part under either system.
    assert drives.drives[0].id == fact("disk", "S4NVME01").partition(":")[2]


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"null", b"{", b"\xff", b'{"disks":7}', b'{"disks":[[]],"uuid":{}}', b"[" * 99_999]
)
def test_what_windows_does_not_tell_is_left_out(answer: bytes) -> None:
    assert windows.parse(answer) == windows.Inventory()


def test_a_list_of_one_disk_may_come_without_brackets() -> None:
    drives = windows.parse(json.dumps({"disks": TOLD["disks"][0]}).encode())  # type: ignore[index]
    assert drives.drives is not None
    assert len(drives.drives) == 1


def test_a_machine_without_powershell_is_only_unknown() -> None:
    assert windows.inventory() == windows.Inventory()


def test_nothing_is_asked_of_windows_about_people() -> None:
    for word in ("user", "profile", "process", "window", "document", "logon", "history"):
        assert word not in windows.SCRIPT.lower(), word
