"""A seat takes the release that its gateway hands on: the real program, over the real listener."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from agent.common.releases.signers import SEEN, collect
from agent.common.releases.trial import FOLDER, Release, ReleaseFolder
from agent.local import lan
from agent.probes.seats.registry import Registry
from agent.seat.releases import PROGRAM, SIGNED, SeatReleases
from collector.remote.updates.packing import pack
from tests.collector.remote.updates.signed_repository import Gateway, SignedRepository, now_ms
from tests.helpers import ROOT
from tests.helpers.waiting import until

KEY = bytes(range(32))
GOOD = b"a newer program"
DIGEST = hashlib.sha256(GOOD).hexdigest()
NEWER = b"the newest program"
NEWER_DIGEST = hashlib.sha256(NEWER).hexdigest()


@dataclass
class HandingGateway:
    """What a gateway that looked at this repository answers its seats."""

    repository: SignedRepository
    seen: Path
    program: bytes = GOOD
    calls: list[str] = field(default_factory=list)

    def look(self) -> None:
        Gateway(self.seen, self.repository.root()).looks(self.repository.folder).releases()

    def fetch(self, what: str, _digest: str) -> bytes:
        self.calls.append(what)
        return collect(self.seen) if what == SIGNED else self.program


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> SignedRepository:
    made = SignedRepository.begun(tmp_path_factory.mktemp("published") / "repository")
    made.release("0.9.0", GOOD)
    return made


@pytest.fixture
def gateway(tmp_path: Path, published: SignedRepository) -> HandingGateway:
    shutil.copytree(published.folder, tmp_path / "repository")
    gateway = HandingGateway(replace(published, folder=tmp_path / "repository"), tmp_path / "seen")
    gateway.look()
    return gateway


def seat(folder: Path, root: bytes = b"") -> SeatReleases:
    """With the root that its administrator gave it, or none."""
    folder.mkdir(exist_ok=True)
    if root:
        (folder / "root.json").write_bytes(root)
    return SeatReleases(folder, "0.2.0", folder / "root.json")


@pytest.mark.parametrize(
    ("offered", "program", "taken", "calls"),
    [
        (f"0.9.0 {DIGEST}", GOOD, True, [SIGNED, PROGRAM]),
        (f"0.9.0 {DIGEST}", b"another program", False, [SIGNED, PROGRAM]),
        (f"0.9.1 {DIGEST}", GOOD, False, [SIGNED]),
        (f"0.9.0 {'0' * 64}", GOOD, False, [SIGNED]),
        (f"0.2.0 {DIGEST}", GOOD, False, []),
        (f"0.1.0 {DIGEST}", GOOD, False, []),
        ("", GOOD, False, []),
    ],
)
def test_a_newer_release_that_the_signers_signed_is_taken_whole_and_once(
    tmp_path: Path, gateway: HandingGateway, offered: str, program: bytes, taken: bool, calls: list[str]
) -> None:
    gateway.program = program
    releases = seat(tmp_path / "seat")
    for _ in range(3):
        releases.heard(offered, gateway.fetch)
    assert (releases.ended, gateway.calls) == (taken, calls)
    trial = ReleaseFolder(tmp_path / "seat" / FOLDER).state.trial
    assert (trial == Release("0.9.0", DIGEST)) is taken


def test_a_release_that_failed_here_is_not_loaded_again(tmp_path: Path, gateway: HandingGateway) -> None:
    releases = seat(tmp_path / "seat")
    folder = ReleaseFolder(tmp_path / "seat" / FOLDER)
    folder.accept("0.9.0", GOOD)
    folder.take_back("starts")
    seat(tmp_path / "seat").heard(f"0.9.0 {DIGEST}", gateway.fetch)
    assert not gateway.calls
    assert not releases.ended


def forged(gateway: HandingGateway, how: str, folder: Path) -> HandingGateway:
    """A gateway in wrong hands, which has everything but the signers' keys."""
    if how == "own signers":
        other = SignedRepository.begun(folder / "forged")
        other.release("0.10.0", NEWER)
        made = HandingGateway(other, folder / "forged-seen", NEWER)
        made.look()
        return made
    ours = json.loads(collect(gateway.seen))
    targets = json.loads(ours["targets"])
    if how == "one signature":
        targets["signatures"] = targets["signatures"][:1]
    elif how == "a changed list":
        targets["signed"]["version"] += 1
    elif how == "a root for a list":
        targets = json.loads(ours["roots"][0])
    elif how == "a root of strangers":
        return Forger(gateway.repository, gateway.seen, shown=strangers(ours["roots"], folder))
    roots = {"no roots": [], "roots of nothing": ["{}"]}.get(how, ours["roots"])
    content = json.dumps({"roots": roots, "targets": json.dumps(targets)}).encode()
    content = {"no JSON": b"[" * 5000, "too long": b" " * 2_000_000}.get(how, content)
    return Forger(gateway.repository, gateway.seen, shown=content)


def strangers(roots: list[str], folder: Path) -> bytes:
    """Their list, by a root that follows ours in number alone."""
    other = SignedRepository.begun(folder / "strangers")
    other.tool.stage_root([one.public_key for one in other.signers], 2, other.online.public_key, now_ms())
    other.published()
    other.release("0.10.0", NEWER)
    theirs = HandingGateway(other, folder / "strangers-seen")
    theirs.look()
    shown = json.loads(collect(theirs.seen))
    return json.dumps({"roots": [*roots, shown["roots"][-1]], "targets": shown["targets"]}).encode()


@dataclass
class Forger(HandingGateway):
    shown: bytes = b""

    def fetch(self, what: str, digest: str) -> bytes:
        self.calls.append(what)
        return self.shown if what == SIGNED else NEWER


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    "how",
    ["own signers", "a root of strangers", "one signature", "a changed list", "a root for a list", "no roots",
     "roots of nothing", "no JSON", "too long"],
)  # fmt: skip
def test_a_gateway_in_wrong_hands_gives_its_seats_nothing_that_was_not_signed(
    tmp_path: Path, gateway: HandingGateway, how: str, given: bool
) -> None:
    """With a root of its administrator's, and with the one that it took when it knew none."""
    releases = seat(tmp_path / "seat", gateway.repository.root() if given else b"")
    if not given:
        releases.heard(f"0.9.0 {DIGEST}", gateway.fetch)
        ReleaseFolder(tmp_path / "seat" / FOLDER).take_back("starts")
        releases = seat(tmp_path / "seat")
    gateway.repository.release("0.10.0", NEWER)
    gateway.look()
    forger = forged(gateway, how, tmp_path)
    releases.heard(f"0.10.0 {NEWER_DIGEST}", forger.fetch)
    assert forger.calls[:1] == [SIGNED]
    assert not releases.ended
    assert ReleaseFolder(tmp_path / "seat" / FOLDER).state.trial is None


def test_new_signers_are_followed(tmp_path: Path, gateway: HandingGateway) -> None:
    ours, root = gateway.repository, gateway.repository.root()
    fresh = [CryptoSigner.generate_ed25519() for _ in range(3)]
    ours.tool.stage_root([one.public_key for one in fresh], 2, ours.online.public_key, now_ms())
    for signer in (*ours.signers[:2], *fresh[:2]):
        ours.tool.sign(signer)
    ours.tool.publish(ours.online, now_ms())
    ours.signers = fresh
    ours.release("0.10.0", NEWER)
    Gateway(gateway.seen, root).looks(ours.folder).releases()
    gateway.program = NEWER
    releases = seat(tmp_path / "seat", root)
    releases.heard(f"0.10.0 {NEWER_DIGEST}", gateway.fetch)
    assert releases.ended


def test_a_list_from_before_is_refused_though_it_was_signed(tmp_path: Path, gateway: HandingGateway) -> None:
    before = collect(gateway.seen)
    gateway.repository.release("0.10.0", NEWER)
    gateway.look()
    gateway.program = NEWER
    seat(tmp_path / "seat").heard(f"0.10.0 {NEWER_DIGEST}", gateway.fetch)
    ReleaseFolder(tmp_path / "seat" / FOLDER).take_back("starts")
    forger = Forger(gateway.repository, gateway.seen, shown=before)
    seat(tmp_path / "seat").heard(f"0.9.0 {DIGEST}", forger.fetch)
    assert forger.calls == [SIGNED]


def newer_program(folder: Path) -> bytes:
    """Today's program as version 9.9.9."""
    shutil.copytree(ROOT / "agent", folder / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    module = folder / "agent" / "__init__.py"
    module.write_text(re.sub(r'__version__ = ".+"', '__version__ = "9.9.9"', module.read_text()))
    return pack(folder)[1]


@pytest.mark.slow
def test_a_seat_runs_its_gateways_release_and_proves_it(tmp_path: Path) -> None:
    program = newer_program(tmp_path / "source")
    release = Release("9.9.9", hashlib.sha256(program).hexdigest())
    (tmp_path / "release.zip").write_bytes(program)
    (tmp_path / "seat.key").write_text(KEY.hex())
    repository = SignedRepository.begun(tmp_path / "repository")
    repository.release("9.9.9", program)
    HandingGateway(repository, tmp_path / SEEN).look()
    registry = Registry(None, 0, "always")
    words = ["--key-file", str(tmp_path / "seat.key"), "--state-dir", str(tmp_path / "seat"), "--interval", "5"]

    async def story() -> None:
        offered = (release, tmp_path / "release.zip")
        async with await lan.listen(registry, "127.0.0.1:0", KEY, lambda: offered, seen=tmp_path / SEEN) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            seat = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agent.seat", "run", "--gateway", url, *words, stderr=subprocess.PIPE
            )
            await until(lambda: ReleaseFolder(tmp_path / "seat" / FOLDER).state.proven == release, "proven", 120)
            assert seat.returncode is None, "the same process went on"
            seat.terminate()
            _, said = await seat.communicate()
            assert (seat.returncode, said.count(b"seat_started"), said.count(b"release_proven")) == (0, 2, 1)

    asyncio.run(story())
    assert [seat.said_goodbye for seat in registry.seats.values()] == [True]
