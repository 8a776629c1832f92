"""What this agent may use of its machine and its line, and what it uses: bounds of systemd's unit (cgroup v2, the
kernel's Documentation/admin-guide/cgroup-v2.rst), of the spool, and of the month's speed tests."""

from __future__ import annotations

from pathlib import Path

import msgspec

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
MB = 1024 * 1024


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """``used`` of ``most``, in ``unit``; None: not known, or no bound."""

    name: str
    unit: str
    used: float | None = None
    most: float | None = None


def ceilings(
    *,
    spool_bytes: int | None,
    spool_max_bytes: int | None,
    speed_used_mb: float | None,
    speed_budget_mb: float | None,
    own: Path = OWN,
    cgroups: Path = CGROUPS,
) -> list[Ceiling]:
    """Of the processor only the bound, in percent of one core."""
    folder = own_folder(own, cgroups)
    memory_b, memory_most_b = (_number(folder, name) for name in ("memory.current", "memory.max"))
    return [
        Ceiling(name="cpu", unit="%", most=cpu_quota_pct(_text(folder, "cpu.max"))),
        Ceiling(name="memory", unit="MB", used=_mb(memory_b), most=_mb(memory_most_b)),
        Ceiling(name="spool", unit="MB", used=_mb(spool_bytes), most=_mb(spool_max_bytes)),
        Ceiling(name="speed_month", unit="MB", used=speed_used_mb, most=speed_budget_mb),
    ]


def own_folder(own: Path, cgroups: Path) -> Path | None:
    """Of this process; None where there are no unified cgroups. The line is ``0::/PATH``."""
    try:
        lines = own.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    path = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), None)
    return None if path is None or ".." in path.split("/") else cgroups / path


def cpu_quota_pct(text: str | None) -> float | None:
    """``QUOTA PERIOD`` in microseconds, or ``max PERIOD``: in percent of one core."""
    quota, _, period = (text or "").partition(" ")
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return 100 * int(quota) / int(period)


def _number(folder: Path | None, name: str) -> int | None:
    text = _text(folder, name)
    return int(text) if text is not None and text.isdecimal() else None


def _text(folder: Path | None, name: str) -> str | None:
    if folder is None:
        return None
    try:
        return (folder / name).read_text("utf-8", "replace").strip()
    except OSError:
        return None


def _mb(number: int | None) -> float | None:
    return None if number is None else round(number / MB, 1)
