"""What the programme may know of seats besides their health, where the center's gateway asks for it: whether a session
is present, which system, how old its updates are, and whether an antivirus runs. No name of anybody is read for it: a
session is there or is not, and the gateway only counts.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from agent.seat.sensors import sensed
from agent.seat.snapshot import SeatCondition

SESSIONS = Path("/run/systemd/sessions")  # systemd-logind's, one file each; systems without it have utmp
# Changed by each installation of a package: dpkg, rpm, pacman.
PACKAGE_FILES = ("/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite",
                 "/var/lib/pacman/local")  # fmt: skip
SLOW_EVERY_S = 6 * 3600.0
TIMEOUT_S = 30.0
DAY_S = 86_400.0
PRODUCT_ON = 0x1000  # bit of productState of an AntiVirusProduct (root/SecurityCenter2): real-time protection runs

SCRIPT = """
$ErrorActionPreference = 'SilentlyContinue'
$last = Get-CimInstance Win32_QuickFixEngineering | Sort-Object InstalledOn | Select-Object -Last 1
$products = @(Get-CimInstance -Namespace root/SecurityCenter2 -ClassName AntiVirusProduct)
@{ days = if ($last.InstalledOn) { [int]((Get-Date) - $last.InstalledOn).TotalDays } else { $null }
   products = @($products | ForEach-Object { $_.productState }) } | ConvertTo-Json -Compress
"""

Slow = tuple[float | None, bool | None]  # days since the last update, antivirus on


class ConditionReader:
    """Sessions at every call, the rest a few times a day: Windows takes seconds for it."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s, self._read_s = now_s, float("-inf")
        self._slow: Slow = (None, None)

    def __call__(self) -> SeatCondition:
        if self._now_s() - self._read_s >= SLOW_EVERY_S:
            self._slow, self._read_s = sensed("updates", _slow) or (None, None), self._now_s()
        days, antivirus = self._slow
        return SeatCondition(in_use=sensed("sessions", in_use), system=system(), updated_days=days, antivirus=antivirus)


def in_use(folder: Path = SESSIONS) -> bool:
    """Whether a person's session is present on this machine."""
    if folder.is_dir():
        return any(is_present(sensed("session", file.read_text) or "") for file in folder.iterdir())
    return bool(psutil.users())


def is_present(session: str) -> bool:
    """Of a file of systemd-logind: a person's own session at this machine that is not closing."""
    lines = set(session.splitlines())
    return "CLASS=user" in lines and "REMOTE=0" in lines and "STATE=closing" not in lines


def system() -> str:
    """Such as debian-13 or windows-11; empty where it is not told."""
    if sys.platform == "win32":
        return f"windows-{11 if sys.getwindowsversion().build >= 22000 else platform.release()}"
    facts = sensed("system", platform.freedesktop_os_release) or {}
    name = f"{facts.get('ID', '')}-{facts.get('VERSION_ID', '')}".strip("-").lower()
    return re.sub(r"[^a-z0-9.-]", "", name)[:32]


def _slow() -> Slow:
    if sys.platform == "win32":
        command = ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", "-"]
        done = subprocess.run(command, input=SCRIPT.encode(), capture_output=True, timeout=TIMEOUT_S, check=False)
        return parse(done.stdout)
    return packages_days(time.time()), None


def packages_days(wall_s: float, files: tuple[str, ...] = PACKAGE_FILES) -> float | None:
    """Days since a package was last installed or upgraded."""
    times = [Path(file).stat().st_mtime for file in files if Path(file).exists()]
    return round(max(0.0, (wall_s - max(times)) / DAY_S), 1) if times else None


def parse(answer: bytes) -> Slow:
    """What the script of Windows said; what is not as expected is unknown."""
    try:
        facts = json.loads(answer.decode("utf-8", "replace").lstrip("\ufeff"))
        days, products = facts.get("days"), facts.get("products")
    except (ValueError, AttributeError, RecursionError):
        return None, None
    entries = products if isinstance(products, list) else [products]
    states = [state for state in entries if type(state) is int]
    is_on = any(state & PRODUCT_ON for state in states) if states else None
    return (float(days) if type(days) is int and 0 <= days < 36_500 else None), is_on
