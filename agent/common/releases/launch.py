"""Starts the release that is to run, in the place of this process: the same pid, so systemd sees one service.

Before a trial begins the kernel is given an alarm, which outlives execve(2): a release that hangs, says that it is well
and never proves itself is ended by that, whatever its own code does. What is started next is the program from before.

Windows knows neither. There the installed program stays, as the parent of the release, and ends one that has not proven
itself in time; the release ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from agent.common.releases.trial import TRIAL_S, ReleaseFolder

RUNNING = "NABZ_RELEASE"  # the file of the release that this process runs
INSTALLED = "NABZ_INSTALLED"  # the version of the installed program, in a release
LAUNCHER = "NABZ_LAUNCHER"  # how the installed program was started, as JSON
PARENT = "NABZ_PARENT"  # set in a release whose parent is the installed program
GRACE_S = 60
AGAIN = 75  # exit code: what the state of releases says now is to be started (EX_TEMPFAIL of sysexits.h)
CAN_REPLACE = hasattr(signal, "alarm")  # not on Windows: no program becomes another there
_ENTRY = (
    "import sys; path = sys.argv.pop(1); sys.path[:0] = [path] * bool(path); "
    "from importlib import import_module as load; "
    "sys.exit(load(sys.argv.pop(1)).main(sys.argv[1:]))"
)
_WITH_PARENT = (
    "import os, sys, threading; threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start(); "
)


def running() -> str:
    """The digest of the release that this process runs; empty for the installed program."""
    return Path(os.environ.get(RUNNING, "")).stem


def installed_version(own: str) -> str:
    """Of the installed program; `own` is that of the one that runs here."""
    return os.environ.get(INSTALLED, own)


def command(module: str, *argv: str) -> list[str]:
    """The words that run `main(argv)` of this module in a process of its own, of the program that runs here."""
    return [sys.executable, "-I", "-c", _ENTRY, os.environ.get(RUNNING, ""), module, *argv]


def enter(
    folder: Path, module: str, argv: Sequence[str], installed: str, boot: str, *, can_replace: bool = CAN_REPLACE
) -> None:
    """Becomes the release in `folder` that is to run: `main(argv)` of its `module`. Returns where the installed program
    is to run, and at once in a release."""
    if running():
        return
    while (file := (releases := ReleaseFolder(folder)).start(installed, boot, _since_boot_s())) is not None:
        limit_s = int(TRIAL_S) + GRACE_S if releases.state.trial is not None else 0
        words = [sys.executable, "-I", "-c", _ENTRY, str(file), module, *argv]
        environment = os.environ | {RUNNING: str(file), INSTALLED: installed}
        if can_replace:
            _become(words, environment, limit_s)
        elif (code := _watched(words, environment, folder, limit_s)) != AGAIN:
            sys.exit(code)


def _become(words: list[str], environment: Mapping[str, str], limit_s: int) -> NoReturn:
    signal.alarm(limit_s)
    started_by = json.dumps([sys.executable, *sys.orig_argv[1:]])
    os.execve(words[0], words, {**environment, LAUNCHER: started_by})  # noqa: S606


def _watched(words: list[str], environment: Mapping[str, str], folder: Path, limit_s: int) -> int:
    """Runs a release as a child, which ends when its standard input does; its exit code."""
    words = [*words[:3], _WITH_PARENT + words[3], *words[4:]]
    with subprocess.Popen(words, env={**environment, PARENT: str(os.getpid())}, stdin=subprocess.PIPE) as child:
        signal.signal(signal.SIGTERM, lambda _number, _frame: child.terminate())
        try:
            return child.wait(limit_s or None)
        except subprocess.TimeoutExpired:
            if ReleaseFolder(folder).state.trial is not None:
                child.kill()
            return child.wait()


def _since_boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def disarm() -> None:
    """The trial is over, well."""
    if CAN_REPLACE:
        signal.alarm(0)


def again() -> NoReturn:
    """Starts anew with what the state of releases now says, in the place of this process; where none can take another's
    place, this one ends, and its parent, or the system's task, starts what is to run."""
    disarm()
    if not CAN_REPLACE or PARENT in os.environ:
        sys.exit(AGAIN)
    words = json.loads(os.environ.get(LAUNCHER) or json.dumps([sys.executable, *sys.orig_argv[1:]]))
    environment = {key: value for key, value in os.environ.items() if key not in (RUNNING, INSTALLED, LAUNCHER)}
    os.execve(words[0], words, environment)  # noqa: S606
