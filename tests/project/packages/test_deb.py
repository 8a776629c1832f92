"""The Debian packages in a fresh Debian tree: installed, at work, upgraded under it, removed, purged (`make test-deb`).

The tree is made by debootstrap once (build/deb-tree) and is never written: each test works in an overlay of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.ports import free_ports
from tests.helpers.processes import token_words
from tests.helpers.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]

TREE = Path(os.environ.get("NABZ_DEB_TREE", ROOT / "build" / "deb-tree"))
SUITE = "bookworm"
NEEDED = "python3,ca-certificates,procps,systemd,dbus,nftables"
LATER = "9.0"


def call(*words: object, **options: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of today's, and the agent and the collector of a later version."""
    given = os.environ.get("NABZ_DEBS")
    folder = Path(given) if given else tmp_path_factory.mktemp("debs")
    if not given:
        call(sys.executable, ROOT / "deb" / "build.py", "--out", folder, timeout=1800)
    later = tmp_path_factory.mktemp("later")
    for name in ("nabz-agent", "nabz-collector"):
        unpacked = later / name
        call("dpkg-deb", "-R", next(folder.glob(f"{name}_*.deb")), unpacked)
        control = unpacked / "DEBIAN" / "control"
        lines = [
            f"Version: {LATER}" if line.startswith("Version:") else line for line in control.read_text().splitlines()
        ]
        control.write_text("\n".join(lines) + "\n")
        call("dpkg-deb", "--root-owner-group", "-Znone", "-b", unpacked, later / f"{name}_later.deb")
    (later / "now").symlink_to(folder)
    return later


class Tree:
    """A Debian of its own to install in, without systemd running; its network is this machine's."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        for name in ("upper", "work", "tree"):
            (folder / name).mkdir()
        layers = f"lowerdir={TREE},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        call("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        call("mount", "-t", "proc", "proc", self.root / "proc")
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self, *words: object) -> str:
        return call("chroot", self.root, *words, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})

    def dpkg(self, *words: object) -> str:
        return self("dpkg", *words)

    def install(self, *packages: Path) -> str:
        for package in packages:
            shutil.copy(package, self.root / "tmp" / package.name)
        return self.dpkg("-i", *(f"/tmp/{package.name}" for package in packages))

    def start(self, user: str, *words: object) -> subprocess.Popen[bytes]:
        """As the unit does: by its user, without root's rights."""
        argv = ["chroot", str(self.root), "runuser", "-u", user, "--", *map(str, words)]
        with (self.root / "tmp" / f"{user}.log").open("ab") as log:
            self.started.append(subprocess.Popen(argv, stdout=log, stderr=log))
        return self.started[-1]

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        subprocess.run(["pkill", "-TERM", "-P", str(process.pid)], check=False)
        process.wait(60)

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                self.stop(process)
        for place in (self.root / "proc", self.root):
            subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    make_base_tree()
    made = Tree(tmp_path)
    yield made
    made.close()


def make_base_tree() -> None:
    if (os.geteuid() != 0 or not shutil.which("debootstrap")) and "CI" not in os.environ:
        pytest.skip("needs root and debootstrap (Debian: apt install debootstrap)")
    if not all((TREE / place).exists() for place in ("usr/bin/python3", "usr/sbin/nft")):
        part = TREE.with_suffix(".part")  # one that was broken off is none, and is begun anew
        shutil.rmtree(part, ignore_errors=True)
        call("debootstrap", "--variant=minbase", f"--include={NEEDED}", SUITE, part, timeout=1800)
        shutil.rmtree(TREE, ignore_errors=True)
        part.rename(TREE)


def test_from_a_fresh_tree_to_the_first_reading_an_upgrade_and_an_end(
    tree: Tree, packages: Path, tmp_path: Path
) -> None:
    now = packages / "now"
    begun_s = time.monotonic()
    tree.install(*(next(now.glob(f"{name}_*.deb")) for name in ("nabz-agent", "nabz-collector")))
    web, broker, status, seats = free_ports(4)
    (tree.root / "etc/nabz/collector.toml").write_text(
        f'[web]\nlisten = "127.0.0.1:{web}"\n[broker]\nlisten = "127.0.0.1:{broker}"\n[measure]\nenabled = false\n'
    )
    (tree.root / "etc/nabz/agent.toml").write_text(
        f'[agent]\ncycle_s = 1\nstatus_listen = "127.0.0.1:{status}"\n[seats]\nlisten = "127.0.0.1:{seats}"\n'
        '[speed]\nenabled = false\n[link]\ntarget = "127.0.0.1"\nprobes = 3\nisp_hops = 0\nlookup = ""\n'
    )
    data = ("--data", "/var/lib/nabz-collector")
    collector = tree.start("nabz-collector", "nabz-collector", "serve", *data)
    wait_until(lambda: (tree.root / "var/lib/nabz-collector/nabz.db").exists(), seconds=120)
    wait_until(lambda: "collector_started" in log(tree, "nabz-collector"), seconds=120)
    facts = ("--code", "DEB-1", "--name", "Deb", "--tier", "one", "--seats", "1", "--opening", "always")
    as_collector = ("runuser", "-u", "nabz-collector", "--")
    tree(*as_collector, "nabz-collector", "center", "add", *facts, *data)
    token = json.loads(tree(*as_collector, "nabz-collector", "token", "DEB-1", "--json", *data))["token"]
    words = token_words(tree.root / "tmp", token)
    (tree.root / "tmp" / "token").chmod(0o644)  # the command reads it as the service's user
    inside = [str(word).removeprefix(str(tree.root)) for word in words]
    tree("nabz-agent", "enrol", f"http://127.0.0.1:{web}", *inside)
    agent = tree.start("nabz-agent", "nabz-agent", "run")
    wait_until(lambda: receipt_ms(tree) is not None, "the first receipt", 120)
    print(f"installed to first receipt: {time.monotonic() - begun_s:.1f} s")

    before = receipt_ms(tree)
    tree.install(packages / "nabz-agent_later.deb", packages / "nabz-collector_later.deb")
    assert tree.dpkg("-s", "nabz-agent").count(f"Version: {LATER}") == 1
    tree.stop(agent)  # what systemd does at the end of an upgrade
    begun_s = time.monotonic()
    agent = tree.start("nabz-agent", "nabz-agent", "run")
    wait_until(lambda: (receipt_ms(tree) or 0) > (before or 0), "a receipt after the upgrade", 120)
    print(f"silent over the upgrade: {time.monotonic() - begun_s:.1f} s")
    ids = tree(*as_collector, "nabz-collector", "evidence", "ids", "--json", *data).splitlines()
    numbers = sorted(json.loads(line)["seq"] for line in ids)
    assert numbers == list(range(1, len(numbers) + 1)), "no reading is lost over an upgrade"
    tree.stop(agent)
    tree.stop(collector)

    tree.dpkg("-r", "nabz-agent", "nabz-collector")
    assert not (tree.root / "usr/lib/nabz-agent").exists(), "byte code is cleaned, too"
    assert (tree.root / "var/lib/nabz-agent/identity.json").exists()
    assert (tree.root / "etc/nabz/agent.toml").exists()
    assert (tree.root / "etc/nabz/broker.nft").exists()
    assert "stays; remove it by hand" in tree.dpkg("-P", "nabz-agent", "nabz-collector")
    assert not (tree.root / "var/lib/nabz-agent").exists()
    assert not (tree.root / "etc/nabz/agent.toml").exists()
    assert not (tree.root / "etc/nabz/broker.nft").exists()
    assert (tree.root / "var/lib/nabz-collector/nabz.db").exists(), "nobody purges the evidence of all centers"


def log(tree: Tree, user: str) -> str:
    path = tree.root / "tmp" / f"{user}.log"
    return path.read_text() if path.exists() else ""


def receipt_ms(tree: Tree) -> int | None:
    try:
        return json.loads(tree("nabz-agent", "status", "--json"))["last_receipt_ms"]  # type: ignore[no-any-return]
    except AssertionError:
        return None


@pytest.mark.parametrize("name", ["nabz-agent", "nabz-seat", "nabz-collector"])
def test_lintian_finds_nothing_but_what_has_a_reason(name: str, packages: Path) -> None:
    if not shutil.which("lintian") and "CI" not in os.environ:
        pytest.skip("lintian is not installed (Debian: apt install lintian)")
    package = next((packages / "now").glob(f"{name}_*.deb"))
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", str(package)], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout


class Machine(Tree):
    """The same with systemd at work, on a network of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        call("umount", self.root / "proc")  # its own shows its own processes
        words = ["systemd-nspawn", "-D", str(self.root), "--boot", "--private-network", "--register=no", "--keep-unit",
                 "--console=pipe", f"--machine=nabz-{os.getpid()}"]  # fmt: skip
        with (folder / "console").open("wb") as log:
            self.container = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self.state("multi-user.target") == "active", "a machine that has started", 120)

    def inits(self) -> list[str]:
        """The machine's first process; none once it has ended."""
        with suppress(OSError):
            return Path(f"/proc/{self.container.pid}/task/{self.container.pid}/children").read_text().split()
        return []

    def __call__(self, *words: object) -> str:
        (init,) = self.inits()
        return call(
            "nsenter", "-t", init, "-a", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", *words
        )

    def state(self, unit: str, field: str = "ActiveState") -> str:
        try:
            return self("systemctl", "show", "-p", field, "--value", unit).strip()
        except (AssertionError, ValueError, OSError):
            return ""

    def close(self) -> None:
        for init in self.inits():  # with it all its processes end; without its keeper it would go on
            os.kill(int(init), signal.SIGKILL)
        self.container.kill()
        self.container.wait()
        super().close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    make_base_tree()
    if not shutil.which("systemd-nspawn") and "CI" not in os.environ:
        pytest.skip("systemd-nspawn is not installed (Debian: apt install systemd-container)")
    made = Machine(tmp_path)
    yield made
    made.close()


def test_systemd_joins_confines_restarts_and_ends_what_the_packages_bring(machine: Machine, packages: Path) -> None:
    now, etc = packages / "now", machine.root / "etc/nabz"
    etc.mkdir(exist_ok=True)
    (etc / "collector.toml").write_text("[measure]\nenabled = false\n")
    (etc / "agent.toml").write_text(
        '[agent]\ncycle_s = 1\n[speed]\nenabled = false\n[link]\ntarget = "127.0.0.1"\nprobes = 3\nisp_hops = 0\n'
        'lookup = ""\n'
    )
    agent, collector = (next(now.glob(f"{name}_*.deb")) for name in ("nabz-agent", "nabz-collector"))
    later = packages / "nabz-agent_later.deb"
    for package in (agent, collector, later):
        shutil.copy(package, machine.root / "srv")
    machine.dpkg("-i", f"/srv/{agent.name}", f"/srv/{collector.name}")
    assert machine.state("nabz-collector") == "active"
    assert machine.state("nabz-join.path") == "active"
    assert "limit rate over 128 kbytes/second" in machine("nft", "list", "table", "inet", "nabz_broker")
    join(machine)
    wait_until(lambda: receipt_ms(machine) is not None, "the first receipt", 120)
    assert not (etc / "join.json").exists()
    for unit in ("nabz-agent", "nabz-collector"):
        pid = machine.state(unit, "MainPID")
        status = machine("cat", f"/proc/{pid}/status")
        assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} <= set(status.splitlines())
        machine("kill", "-KILL", pid)
        wait_until(
            lambda name=unit: machine.state(name, "NRestarts") == "1" and machine.state(name) == "active", unit, 60
        )

    machine("systemctl", "restart", "nftables")  # empties all tables
    wait_until(lambda: "nabz_broker" in machine("nft", "list", "ruleset"), "the rules again", 30)

    machine("systemctl", "stop", "nabz-agent")
    machine.dpkg("-i", f"/srv/{later.name}")
    assert machine.state("nabz-agent") == "inactive", "what people stopped stays so over an upgrade"
    machine.dpkg("-r", "nabz-agent")
    machine.dpkg("-i", f"/srv/{agent.name}")
    assert machine.state("nabz-agent") == "active", "installed again it starts, though dpkg knows a version of before"
    assert "reception only permitted" not in machine("journalctl", "-u", "nabz-agent")
    machine("systemctl", "start", "reboot.target", "--no-block", "--job-mode=replace-irreversibly")
    assert machine.container.wait(120) is not None
    mark = json.loads((machine.root / "var/lib/nabz-agent/boot.json").read_text())
    assert mark["stop"] == "shutdown"


def join(machine: Machine) -> None:
    """As a prepared gateway does: by a file that somebody puts there."""
    home = "/var/lib/nabz-collector"
    command = ("runuser", "-u", "nabz-collector", "--", "nabz-collector")
    facts = ("--code", "DEB-1", "--name", "Deb", "--tier", "one", "--seats", "1", "--opening", "always")
    machine(*command, "center", "add", *facts, "--data", home)
    machine(*command, "gateway", "prepare", "--center", "DEB-1", "--out", f"{home}/out", "--by", "Ali", "--data", home)
    machine("install", "-m", "600", f"{home}/out/DEB-1/join.json", "/etc/nabz/join.json")
