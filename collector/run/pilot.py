"""A pilot on one machine: child processes started in order, one log, stopped in order.

The parts are the same commands a real site runs; nothing here is a shortcut through their insides.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from collector.common.processes import end

STOP_S = 20.0
LAST_WORDS_S = 5.0  # a grandchild may hold the pipe open
RESTART_S = 2.0


@dataclass
class PilotProcess:
    """One child process. `vital` ends the whole pilot when it ends; the others are started again."""

    name: str
    argv: Sequence[str]
    vital: bool = False
    process: subprocess.Popen[str] | None = None
    started_s: float = 0.0
    relay: threading.Thread | None = None

    def start(self, say: Callable[[str, str], None]) -> None:
        """Its own session: Ctrl-C in the terminal reaches only us, and we stop the parts in order."""
        self.process = subprocess.Popen(
            list(self.argv),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.started_s = time.monotonic()
        self.relay = threading.Thread(target=self._relay, args=(self.process, say), daemon=True)
        self.relay.start()

    def _relay(self, process: subprocess.Popen[str], say: Callable[[str, str], None]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with contextlib.suppress(OSError, ValueError):  # nobody reads us any more; the child must not wait
                    say(self.name, line.rstrip())

    def ended(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def stop(self) -> None:
        """Its last lines are written by then."""
        end(self.process, STOP_S)
        if self.relay is not None:
            self.relay.join(LAST_WORDS_S)


@dataclass
class PilotProcesses:
    """The parts that run, in the order in which they were started."""

    say: Callable[[str, str], None]
    parts: list[PilotProcess] = field(default_factory=list)

    def start(self, part: PilotProcess) -> PilotProcess:
        part.start(self.say)
        self.parts.append(part)
        return part

    def stop(self) -> None:
        for part in reversed(self.parts):
            part.stop()

    def tend(self) -> str | None:
        """Start again what ended and is not vital. Returns why the pilot must end, if it must."""
        for part in self.parts:
            code = part.ended()
            if code is None:
                continue
            if part.vital:
                return f"the {part.name} ended with exit code {code}; see its last lines above"
            if time.monotonic() - part.started_s > RESTART_S:
                self.say(part.name, f"ended with exit code {code}; starting it again")
                part.start(self.say)
        return None


def wait_until_healthy(url: str, part: PilotProcess, timeout_s: float = 60.0) -> None:
    """Returns when `url` answers 200; raises RuntimeError when the part ends first or the time is up."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if part.ended() is not None:
            raise RuntimeError(f"the {part.name} did not start; see its last lines above")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the {part.name} did not answer at {url} within {timeout_s:.0f} s")


def run_to_the_end(argv: Sequence[str], say: Callable[[str, str], None], name: str, given: str = "") -> str:
    """The output of a command that must succeed, which reads `given`; raises RuntimeError with its last line
    otherwise."""
    done = subprocess.run(list(argv), input=given, capture_output=True, text=True, check=False)
    for line in done.stderr.splitlines():
        say(name, line)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(argv[1:])}` failed with exit code {done.returncode}")
    return done.stdout


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]
