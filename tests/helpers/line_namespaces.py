"""A gateway, its router, the provider and the collector: four network namespaces in a row, and what may go wrong on it.
Needs root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes import child

NAMES = ("a", "r", "i", "c")
ONCE = """
import asyncio, sys, msgspec
from pathlib import Path
from agent.config import AgentSettings, AgentTable, LinkSection
from agent.probes.link.link import probe
from agent.probes.probe import Context, ProbeFailed
link = LinkSection(target=sys.argv[2], probes=int(sys.argv[4]), interval_ms=int(sys.argv[5]))
settings = AgentSettings(agent=AgentTable(state_dir=sys.argv[1]), link=link)
try:
    context = Context(settings=settings, deadline_s=10, measure_url=sys.argv[3])
    print(msgspec.json.encode(asyncio.run(probe(context))[0]).decode())
except ProbeFailed as error:
    print(msgspec.json.encode({"failed": error.cause}).decode())
"""
NAME_SERVER = """
import socket, struct, sys
address, answer = sys.argv[1:3]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind((address, 53))
    print("ready", flush=True)
    while True:
        data, client = sock.recvfrom(2048)
        end = data.index(0, 12)
        kind, = struct.unpack("!H", data[end + 1 : end + 3])
        found = b""
        if kind == 1:
            found = b"\\xc0\\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton(answer)
        head = data[:2] + b"\\x81\\x80" + struct.pack("!HHHH", 1, bool(found), 0, 0)
        sock.sendto(head + data[12 : end + 5] + found, client)
"""
PORTAL = """
import socketserver, sys
PAGE = b"<html><title>Bill unpaid</title>Please pay.</html>"
HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(PAGE)
class Page(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(5)
        try:
            self.request.recv(65536)
            self.request.sendall(HEAD + PAGE)
        except OSError:
            pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
with Server((sys.argv[1], int(sys.argv[2])), Page) as server:
    print("ready", flush=True)
    server.serve_forever()
"""


class Line:
    """Four namespaces in a row: 10.1.0.2 a – r 10.1.0.1 … 10.2.0.2 r – i 10.2.0.1 … 10.3.0.1 i – c 10.3.0.2."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir, self.prefix = state_dir, f"nabz{os.getpid()}"
        self.files = Path("/etc/netns") / f"{self.prefix}a"  # ip-netns(8) shows them in place of those in /etc

    def inside(self, name: str, *words: str) -> list[str]:
        return ["ip", "netns", "exec", f"{self.prefix}{name}", *words]

    def run(self, name: str, *words: str, given: str = "") -> str:
        done = subprocess.run(self.inside(name, *words), input=given, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def build(self) -> None:
        for name in NAMES:
            subprocess.run(["ip", "netns", "add", self.prefix + name], check=True)
            self.run(name, "ip", "link", "set", "lo", "up")
            self.run(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, (near, far) in enumerate((("a", "r"), ("r", "i"), ("i", "c")), start=1):
            pair = ["ip", "link", "add", f"to{far}", "netns", self.prefix + near, "type", "veth"]
            subprocess.run([*pair, "peer", "name", f"to{near}", "netns", self.prefix + far], check=True)
            near_last, far_last = (1, 2) if near == "i" else (2, 1)
            self.run(near, "ip", "address", "add", f"10.{number}.0.{near_last}/24", "dev", f"to{far}")
            self.run(far, "ip", "address", "add", f"10.{number}.0.{far_last}/24", "dev", f"to{near}")
            self.run(near, "ip", "link", "set", f"to{far}", "up")
            self.run(far, "ip", "link", "set", f"to{near}", "up")
        self.run("a", "ip", "route", "add", "default", "via", "10.1.0.1")
        self.run("r", "ip", "route", "add", "default", "via", "10.2.0.1")
        self.run("i", "ip", "route", "add", "10.1.0.0/24", "via", "10.2.0.2")
        self.run("c", "ip", "route", "add", "default", "via", "10.3.0.1")

    def remove(self) -> None:
        shutil.rmtree(self.files, ignore_errors=True)
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", self.prefix + name], check=False)

    def resolves_by(self, server: str, hosts: str = "") -> None:
        """What the gateway's system resolves names with."""
        self.files.mkdir(parents=True, exist_ok=True)
        (self.files / "resolv.conf").write_text(f"nameserver {server}\n")
        (self.files / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")

    def rules(self, name: str, chain: str) -> None:
        """nft rules of a chain in that namespace, in place of what was there; an empty chain is none."""
        table = f"table inet t {{\n chain c {{\n{chain}\n }}\n}}\n" if chain else ""
        self.run(name, "nft", "-f", "-", given=f"flush ruleset\n{table}")

    def drop(self, name: str, rule: str) -> None:
        self.rules(name, f"type filter hook forward priority 0;\n{rule} drop")

    @contextmanager
    def serving(self, name: str, script: str, *words: str) -> Iterator[None]:
        with child(
            self.inside(name, sys.executable, "-c", script, *words), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
            process.terminate()

    @contextmanager
    def measure_server(self, address: str = "10.3.0.2:8474") -> Iterator[str]:
        words = self.inside("c", sys.executable, "-m", "collector", "measure", "--listen", address)
        with child([*words, "--state", str(self.state_dir)], stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            assert address in server.stderr.readline()
            yield f"http://{address}"
            server.terminate()
            server.stderr.read()

    def measure(
        self, target: str = "10.3.0.2", measure_url: str = "", probes: int = 5, interval_ms: int = 20
    ) -> dict[str, Any]:
        words = (str(self.state_dir), target, measure_url, str(probes), str(interval_ms))
        found = json.loads(self.run("a", sys.executable, "-c", ONCE, *words))
        assert isinstance(found, dict)
        return found


@contextmanager
def built_line(tmp_path: Path) -> Iterator[Line]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not all(map(shutil.which, ("ip", "sysctl", "nft"))) and not os.environ.get("CI"):
        pytest.skip("ip, sysctl or nft is missing: apt install iproute2 procps nftables")
    line = Line(tmp_path)
    try:
        line.build()
        yield line
    finally:
        line.remove()
