"""Machines on one network: a namespace each, on a bridge that this machine is at as well. Needs root."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Machine:
    """`address` on the network; what it runs is killed with it."""

    name: str
    space: str
    address: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(
        self, argv: Sequence[str], log: Path, *, user: str | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.space, *words, *argv], stdout=output, stderr=output, cwd="/",
                env={**os.environ, **(environment or {})}, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def call(self, *argv: str, given: str = "") -> str:
        words = ["ip", "netns", "exec", self.space, *argv]
        return subprocess.run(words, input=given, capture_output=True, text=True, check=True, timeout=60).stdout

    def cut(self, *addresses: str) -> None:
        """Nothing passes any more between it and these, or anybody where none is named; nobody is told so."""
        which = [f"ip {way} {{ {', '.join(addresses)} }}" for way in ("saddr", "daddr")] if addresses else ["oif != lo"]
        chains = "".join(
            f" chain {hook} {{ type filter hook {hook} priority 0; {' drop; '.join(which)} drop; }}\n"
            for hook in ("input", "output")
        ).replace("hook input priority 0; oif != lo", "hook input priority 0; iif != lo")
        self.call("nft", "-f", "-", given=f"table inet cut {{\n{chains}}}\n")

    def heal(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.call("nft", "delete", "table", "inet", "cut")

    def kill(self) -> None:
        """As if its power was cut: everything in it ends at once, and no packet says so."""
        self.cut()
        while pids := subprocess.run(
            ["ip", "netns", "pids", self.space], capture_output=True, text=True, check=False
        ).stdout.split():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)
            for process in self.processes:
                process.poll()
        for process in self.processes:
            process.wait(30)
        self.processes.clear()


@contextmanager
def machines(names: Sequence[str]) -> Iterator[dict[str, Machine]]:
    """By name. This machine has the last address of their network."""
    chance = random.SystemRandom()
    bridge, net = f"nz{chance.randrange(10**9)}", f"10.{chance.randrange(100, 250)}.{chance.randrange(250)}"
    made: dict[str, Machine] = {}
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{net}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number, name in enumerate(names, start=1):
            made[name] = Machine(name, f"{bridge}-{name}", f"{net}.{number}")
            _join(made[name], bridge, f"{bridge}{chr(96 + number)}")
        yield made
    finally:
        for machine in made.values():
            with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
                machine.kill()
            subprocess.run(["ip", "netns", "delete", machine.space], check=False)
        subprocess.run(["ip", "link", "delete", bridge], check=False)


def _join(machine: Machine, bridge: str, port: str) -> None:
    _ip("netns", "add", machine.space)
    _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", machine.space)
    _ip("link", "set", port, "master", bridge, "up")
    for words in (("link", "set", "lo", "up"), ("address", "add", f"{machine.address}/24", "dev", "eth0"),
                  ("link", "set", "eth0", "up")):  # fmt: skip
        machine.call("ip", *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
