"""What ended the run before this one: a stop, a shutdown, a power cut, a crash, a kill. Gather facts, then judge.

One small file in the state folder names the boot the agent runs in and how it stopped; it is written twice a run.
A stop the agent never saw leaves no mark: then the boot id shows whether the machine went down with it.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from agent.common import code_text
from agent.common.reasons import Param, Reason
from agent.probes.gateway import uptime_s
from agent.wire import BootReading

FILE = "boot.json"
Stop = Literal["stopped", "shutdown", "crashed"]
End = Literal["first", "clean", "power", "crash", "killed", "reboot", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What the run before left: the boot it ran in, and how and when it stopped, if it saw that."""

    boot: str
    stop: Stop | None = None
    at_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class BootFacts:
    """Times in milliseconds UTC as this machine's clock had them; None is unknown."""

    boot: str
    uptime_s: float
    now_ms: int
    mark: Mark | None  # None: no run before, or its mark cannot be read (then `mark_damaged`)
    mark_damaged: bool = False
    last_alive_ms: int | None = None  # the newest reading in the spool
    kernel_crash_kept: bool = False  # the firmware kept a kernel's crash dump


def judge_boot(facts: BootFacts) -> BootReading:
    """Pure: the facts to a BootReading, each fact that counted named in `evidence`."""
    end, evidence = _end(facts)
    dark_ms = None if facts.last_alive_ms is None else facts.now_ms - facts.last_alive_ms
    if dark_ms is not None and dark_ms < 0:
        dark_ms, evidence = None, [*evidence, _said("clock_behind")]
    dark_s = None if dark_ms is None else round(dark_ms / 1000, 1)
    return BootReading(previous_end=end, evidence=evidence, last_alive_ms=facts.last_alive_ms, dark_s=dark_s)


def _end(facts: BootFacts) -> tuple[End, list[str]]:
    if facts.mark is None:
        return ("unknown", [_said("mark_damaged")]) if facts.mark_damaged else ("first", [_said("no_mark")])
    same_boot = facts.mark.boot == facts.boot
    booted = _said("same_boot") if same_boot else _said("new_boot", up_s=round(facts.uptime_s))
    if facts.mark.stop == "crashed":
        return "crash", [_said("marked_crash"), booted]
    if facts.mark.stop == "shutdown":
        return "reboot", [_said("shutdown"), booted]
    if facts.mark.stop == "stopped":
        return "clean", [_said("stopped"), booted]
    if same_boot:
        return "killed", [_said("no_stop"), booted]
    if facts.kernel_crash_kept:
        return "crash", [_said("no_stop"), booted, _said("kernel_crash")]
    return "power", [_said("went_down"), booted]


def _said(code: str, /, **params: Param) -> str:
    """One code of BOOT_EVIDENCE as the wire has it."""
    return code_text.encode([Reason(f"boot.{code}", params)])


def gather(state_dir: Path, last_alive_ms: int | None, now_ms: int) -> BootFacts:
    """Reads what `judge_boot` needs. Call before `mark_started`, which begins the new run's mark."""
    mark, damaged = _read(state_dir / FILE)
    return BootFacts(
        boot=boot_id(),
        uptime_s=uptime_s(),
        now_ms=now_ms,
        mark=mark,
        mark_damaged=damaged,
        last_alive_ms=last_alive_ms,
        kernel_crash_kept=_has_files(Path("/sys/fs/pstore")),
    )


def mark_started(state_dir: Path, now_ms: int) -> None:
    """Records that a run began in this boot. Raises OSError when the state folder cannot be written."""
    _write(state_dir / FILE, Mark(boot=boot_id(), at_ms=now_ms))


def mark_clean_stop(state_dir: Path, now_ms: int, *, shutdown: bool = False) -> None:
    """Records that this run ended as requested; `shutdown` when the whole machine goes down (`is_shutting_down`)."""
    _write(state_dir / FILE, Mark(boot=boot_id(), stop="shutdown" if shutdown else "stopped", at_ms=now_ms))


def mark_crashed(state_dir: Path, now_ms: int) -> None:
    """Records that this run ended by its own fault."""
    _write(state_dir / FILE, Mark(boot=boot_id(), stop="crashed", at_ms=now_ms))


def boot_id() -> str:
    """The kernel's name for this boot: 32 hex digits; ``unknown`` where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")
    except OSError:
        return "unknown"


def is_shutting_down(timeout_s: float = 2.0) -> bool:
    """Asks systemd whether the machine is going down; no systemd, no answer, no.

    systemctl notifies whoever waits for its caller as well (sd_notify(3)), which systemd logs as a stranger's word."""
    own = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    try:
        answer = subprocess.run(
            ["systemctl", "is-system-running"], env=own, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == "stopping"


def _read(path: Path) -> tuple[Mark | None, bool]:
    """(mark, damaged)."""
    try:
        row = json.loads(path.read_bytes())
        boot, stop, at_ms = row["boot"], row["stop"], row["at_ms"]
    except FileNotFoundError:
        return None, False
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None, True
    if not isinstance(boot, str) or not boot or not (stop is None or stop in get_args(Stop)):
        return None, True
    return Mark(boot=boot, stop=cast("Stop | None", stop), at_ms=at_ms if isinstance(at_ms, int) else None), False


def _write(path: Path, mark: Mark) -> None:
    """Replaced whole and synced, folder too: a power cut leaves the old mark or the new one."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="ascii") as file:
        json.dump({"boot": mark.boot, "stop": mark.stop, "at_ms": mark.at_ms}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _has_files(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
