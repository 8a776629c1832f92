"""Starts the release that is to run, in the place of this process: the same pid, so systemd sees one service.

Before a trial begins the kernel is given an alarm, which outlives execve(2): a release that hangs, says that it is well
and never proves itself is ended by that, whatever its own code does. What is started next is the program from before.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agent.common.releases.trial import TRIAL_S, ReleaseFolder

RUNNING = "NABZ_RELEASE"  # the file of the release that this process runs
INSTALLED = "NABZ_INSTALLED"  # the version of the installed program, in a release
LAUNCHER = "NABZ_LAUNCHER"  # how the installed program was started, as JSON
GRACE_S = 60
CAN_REPLACE = hasattr(signal, "alarm")  # not on Windows: no program becomes another there
_ENTRY = (
    "import sys; path = sys.argv.pop(1); sys.path[:0] = [path] * bool(path); "
    "from importlib import import_module as load; "
    "sys.exit(load(sys.argv.pop(1)).main(sys.argv[1:]))"
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


def enter(folder: Path, module: str, argv: Sequence[str], installed: str, boot: str) -> None:
    """Becomes the release in `folder` that is to run: `main(argv)` of its `module`. Returns where the installed program
    is to run, and at once in a release."""
    if running():
        return
    releases = ReleaseFolder(folder)
    file = releases.start(installed, boot, time.clock_gettime(time.CLOCK_BOOTTIME))
    if file is None:
        return
    if releases.state.trial is not None:
        signal.alarm(int(TRIAL_S) + GRACE_S)
    started_by = json.dumps([sys.executable, *sys.orig_argv[1:]])
    environment = os.environ | {RUNNING: str(file), INSTALLED: installed, LAUNCHER: started_by}
    os.execve(sys.executable, [sys.executable, "-I", "-c", _ENTRY, str(file), module, *argv], environment)  # noqa: S606


def disarm() -> None:
    """The trial is over, well."""
    signal.alarm(0)


def again() -> NoReturn:
    """Starts anew with what the state of releases now says, in the place of this process."""
    disarm()
    words = json.loads(os.environ.get(LAUNCHER) or json.dumps([sys.executable, *sys.orig_argv[1:]]))
    environment = {key: value for key, value in os.environ.items() if key not in (RUNNING, INSTALLED, LAUNCHER)}
    os.execve(words[0], words, environment)  # noqa: S606
