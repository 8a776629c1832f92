"""A PC's hardware as Windows knows it: one PowerShell script, within a deadline, hourly at most.

It reads the serial numbers of board and case, the firmware's UUID and the fixed disks; nothing about users, programs
or files. Its output is JSON and is parsed here by a pure function.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from agent.seat.identity import fact, is_generic
from agent.seat.snapshot import MAX_DISKS, Drive, Health

TIMEOUT_S = 30.0
HEALTH: dict[object, Health] = {
    "Healthy": "good", "Warning": "failing", "Unhealthy": "failing", 0: "good", 1: "failing", 2: "failing",
}  # fmt: skip
REMOVABLE = ("USB", "SD", "1394", 7, 12, 4)  # MSFT_PhysicalDisk.BusType, as word or number

SCRIPT = """
$ErrorActionPreference = 'SilentlyContinue'
[Console]::OutputEncoding = [Text.Encoding]::UTF8
@{
  uuid    = (Get-CimInstance Win32_ComputerSystemProduct).UUID
  product = (Get-CimInstance Win32_BIOS).SerialNumber
  board   = (Get-CimInstance Win32_BaseBoard).SerialNumber
  chassis = @(Get-CimInstance Win32_SystemEnclosure)[0].SerialNumber
  machine = (Get-ItemProperty 'HKLM:\\SOFTWARE\\Microsoft\\Cryptography').MachineGuid
  disks   = @(Get-PhysicalDisk | ForEach-Object {
    $wear = $_ | Get-StorageReliabilityCounter
    @{ serial = $_.SerialNumber; size = $_.Size; health = "$($_.HealthStatus)"; bus = "$($_.BusType)"
       celsius = $wear.Temperature }
  })
} | ConvertTo-Json -Depth 3 -Compress
"""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """`found` is (kind, value) as agent.seat.identity takes it; `drives` is None where no disk shows its serial."""

    found: tuple[tuple[str, str], ...] = ()
    drives: tuple[Drive, ...] | None = None


def inventory() -> Inventory:
    """What this PC shows now; empty when PowerShell is missing, fails or is too slow."""
    command = ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", "-"]
    try:
        done = subprocess.run(command, input=SCRIPT.encode(), capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Inventory()
    return parse(done.stdout)


def maker() -> str:
    """Maker and product as the firmware names them; empty where it does not."""
    if sys.platform != "win32":
        return ""
    import winreg  # Windows' own

    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\BIOS") as bios:
        return " ".join(str(winreg.QueryValueEx(bios, name)[0]) for name in ("SystemManufacturer", "SystemProductName"))


def parse(answer: bytes) -> Inventory:
    """Takes nothing on trust: what is not as expected is left out."""
    try:
        facts = json.loads(answer.decode("utf-8", "replace").lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return Inventory()
    if not isinstance(facts, dict):
        return Inventory()
    kinds = ("uuid", "product", "board", "chassis", "machine")
    pairs = [(kind, value[:200]) for kind in kinds if isinstance(value := facts.get(kind), str)]
    rows = facts.get("disks")
    listed = rows if isinstance(rows, list) else [rows]  # PowerShell 5 writes a list of one without its brackets
    disks = [row for row in listed if isinstance(row, dict) and row.get("bus") not in REMOVABLE]
    drives = {drive.id: drive for row in disks if (drive := _drive(row))}
    pairs += [("disk", _serial(row)) for row in disks if _serial(row)]
    return Inventory(found=tuple(pairs), drives=tuple(drives.values())[:MAX_DISKS] or None)


def _serial(row: dict[str, object]) -> str:
    serial = row.get("serial")
    return serial.strip(" .\0")[:200] if isinstance(serial, str) else ""


def _drive(row: dict[str, object]) -> Drive | None:
    serial, size, celsius, health = _serial(row), row.get("size"), row.get("celsius"), row.get("health")
    if is_generic(serial):
        return None
    return Drive(
        id=fact("disk", serial).partition(":")[2],
        size_gb=round(size / 1e9, 1) if type(size) is int and 0 <= size < 10**16 else 0.0,
        health=HEALTH.get(health) if isinstance(health, str | int) else None,
        temperature_c=float(celsius) if type(celsius) is int and 0 < celsius < 120 else None,
    )
