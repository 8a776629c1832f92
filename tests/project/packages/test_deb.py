"""The Debian packages in a fresh Debian tree: installed, at work, upgraded under it, removed, purged (`make test-deb`).

The tree is made by debootstrap once (build/deb-tree) and is never written: each test works in an overlay of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.ports import free_ports
from tests.helpers.processes import token_words
from tests.helpers.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]

TREE = Path(os.environ.get("NABZ_DEB_TREE", ROOT / "build" / "deb-tree"))
SUITE = "bookworm"
NEEDED = "python3,ca-certificates,procps,systemd"
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
    if (os.geteuid() != 0 or not shutil.which("debootstrap")) and "CI" not in os.environ:
        pytest.skip("needs root and debootstrap (Debian: apt install debootstrap)")
    if not (TREE / "usr/bin/python3").exists():
        call("debootstrap", "--variant=minbase", f"--include={NEEDED}", SUITE, TREE, timeout=1800)
    made = Tree(tmp_path)
    yield made
    made.close()


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
    assert "stays; remove it by hand" in tree.dpkg("-P", "nabz-agent", "nabz-collector")
    assert not (tree.root / "var/lib/nabz-agent").exists()
    assert not (tree.root / "etc/nabz/agent.toml").exists()
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
