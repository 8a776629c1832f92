"""The attacks of the TUF paper (Samuel, Mathewson, Cappos, Dingledine: Survivable Key Compromise in Software Update
Systems, CCS 2010), each against the agent's own client: none is accepted."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from agent.updates.offers import INDEX, OfferedRelease, ReleaseIndex, Ring
from agent.updates.repository import RepositoryError
from collector.remote.updates.repository import DAYS, UpdateRepository
from collector.remote.updates.signers import UpdateError
from tests.collector.remote.updates.signed_repository import ALL, PLACE, Gateway, SignedRepository, now_ms

DAY_MS = 86_400_000


@pytest.fixture
def ours(tmp_path: Path) -> SignedRepository:
    made = SignedRepository.begun(tmp_path / "repository")
    made.release("0.3.0", b"good")
    return made


@pytest.fixture
def gateway(ours: SignedRepository, tmp_path: Path) -> Gateway:
    """One that has seen the repository as it is."""
    made = Gateway(tmp_path / "gateway", ours.root())
    assert made.takes(ours.folder) == b"good"
    return made


def refused(gateway: Gateway, folder: Path) -> str:
    with pytest.raises(RepositoryError) as raised:
        gateway.takes(folder)
    assert raised.value.code == "refused"
    return str(raised.value)


def edited(path: Path, change: Any) -> None:
    table = json.loads(path.read_bytes())
    change(table)
    path.write_text(json.dumps(table))


def with_online_key(ours: SignedRepository, targets: Metadata[Any]) -> None:
    """Whoever holds the online key publishes these targets: snapshot and timestamp name them, rightly signed."""
    tool = ours.tool
    number = targets.signed.version
    targets.to_file(str(tool.metadata / f"{number}.targets.json"))
    found = Metadata[Snapshot].from_file(str(max(tool.metadata.glob("*.snapshot.json"))))
    found.signed.version += 1
    found.signed.meta["targets.json"] = MetaFile(number)
    found.sign(ours.online)
    found.to_file(str(tool.metadata / f"{found.signed.version}.snapshot.json"))
    stamp = Metadata[Timestamp].from_file(str(tool.metadata / "timestamp.json"))
    stamp.signed.version += 1
    stamp.signed.snapshot_meta = MetaFile(found.signed.version)
    stamp.sign(ours.online)
    stamp.to_file(str(tool.metadata / "timestamp.json"))


def forged(ours: SignedRepository, *signers: CryptoSigner) -> Metadata[Any]:
    """Targets with a release of the thief's own, signed by these keys."""
    tool = ours.tool
    bad = OfferedRelease(version="0.9.0", path="bad.zip", needs="0.2.0", rings=ALL)
    contents = {"bad.zip": b"evil", INDEX: msgspec.json.encode(ReleaseIndex(releases=[bad]))}
    before = Metadata[Targets].from_file(str(max(tool.metadata.glob("*.targets.json"))))
    files = {name: TargetFile.from_data(name, content, ["sha256"]) for name, content in contents.items()}
    for name, content in contents.items():
        (tool.targets / f"{files[name].hashes['sha256']}.{name}").write_bytes(content)
    made = Targets(
        version=before.signed.version + 1,
        expires=before.signed.expires,
        targets=files,
        delegations=before.signed.delegations,
    )
    metadata: Metadata[Any] = Metadata(made)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def test_arbitrary_software(ours: SignedRepository, gateway: Gateway) -> None:
    """The file of a release is exchanged for another of the same length."""
    ours.release("0.4.0", b"newer")
    for path in ours.tool.targets.glob("*.nabz-agent-0.4.0.zip"):
        path.write_bytes(b"eviil")
    assert "hash" in refused(gateway, ours.folder)


def test_arbitrary_metadata(ours: SignedRepository, gateway: Gateway) -> None:
    """The list of releases is changed without its signature."""
    ours.release("0.4.0", b"newer")
    newest = max(ours.tool.metadata.glob("*.targets.json"))
    edited(newest, lambda table: table["signed"]["targets"].pop("nabz-agent-0.4.0.zip"))
    assert "signature" in refused(gateway, ours.folder) or "signed by 0" in refused(gateway, ours.folder)


def test_rollback(ours: SignedRepository, gateway: Gateway, tmp_path: Path) -> None:
    """An older state of the repository, rightly signed in its time, is served again."""
    shutil.copytree(ours.folder, tmp_path / "older")
    ours.release("0.4.0", b"newer")
    assert gateway.takes(ours.folder) == b"newer"
    assert "version" in refused(gateway, tmp_path / "older")


def test_rollback_of_the_program_itself(ours: SignedRepository, gateway: Gateway) -> None:
    """A release that is older than what runs is no update, whoever signed it."""
    running = dataclasses.replace(PLACE, running="0.3.0")
    assert gateway.choice(ours.folder, running).code == "current"


def test_freeze(ours: SignedRepository, gateway: Gateway) -> None:
    """The same state is served for ever: nothing says that it is still current."""
    past_ms = now_ms() - (DAYS["timestamp"] + 1) * DAY_MS
    ours.tool.publish(ours.online, past_ms)
    assert "expired" in refused(gateway, ours.folder)


def test_mix_and_match(ours: SignedRepository, gateway: Gateway, tmp_path: Path) -> None:
    """Files of two states are combined: each is rightly signed, together they were never published."""
    shutil.copytree(ours.folder, tmp_path / "older")
    ours.release("0.4.0", b"newer")
    newest = max(ours.tool.metadata.glob("*.targets.json"))
    older = max((tmp_path / "older" / "metadata").glob("*.targets.json"))
    shutil.copy(older, newest)
    assert "Expected targets v3, got v2" in refused(gateway, ours.folder)


def test_endless_data(ours: SignedRepository, gateway: Gateway) -> None:
    """A file without end is cut at the length that was signed, before it costs the month's bytes."""
    ours.release("0.4.0", b"newer")
    for path in ours.tool.targets.glob("*.nabz-agent-0.4.0.zip"):
        path.write_bytes(b"x" * 500_000)
    look = gateway.looks(ours.folder)
    release = look.releases()[-1]
    before = look.fetcher.bytes
    with pytest.raises(RepositoryError):
        look.program(release)
    assert look.fetcher.bytes - before <= 32_768


def test_key_compromise_of_one_signer(ours: SignedRepository, gateway: Gateway) -> None:
    """One signer's key and the online key are stolen; two signers must sign."""
    with_online_key(ours, forged(ours, ours.signers[0]))
    assert "signed by 1/2" in refused(gateway, ours.folder)


def test_two_signatures_by_one_key_are_one(ours: SignedRepository, gateway: Gateway) -> None:
    metadata = forged(ours, ours.signers[0])
    with_online_key(ours, metadata)
    edited(max(ours.tool.metadata.glob("*.targets.json")), lambda table: table["signatures"].append(dict(
        table["signatures"][0])))  # fmt: skip
    assert "Multiple signatures" in refused(gateway, ours.folder)


def test_stolen_online_key_adds_no_release(ours: SignedRepository, gateway: Gateway) -> None:
    with_online_key(ours, forged(ours, ours.online))
    assert "signed by 0/2" in refused(gateway, ours.folder)


def test_stolen_online_key_opens_no_ring_before_its_time(ours: SignedRepository, gateway: Gateway) -> None:
    """All rings are opened at once: each still waits for the time that the signers set."""
    later = [Ring(centers=["C-9"]), Ring(share=1.0, from_ms=now_ms() + 7 * DAY_MS)]
    ours.tool.stage_release("0.4.0", b"newer", "0.2.0", later, now_ms())
    ours.published()
    ours.tool.set_pace("0.4.0", 2, ours.online, now_ms())
    assert gateway.choice(ours.folder).code == "offered", "0.3.0, for all"
    assert gateway.takes(ours.folder) == b"good"
    assert gateway.choice(ours.folder, at_ms=now_ms() + 8 * DAY_MS).release.version == "0.4.0"  # type: ignore[union-attr]


def test_stolen_online_key_names_no_target_outside_the_pace(ours: SignedRepository, gateway: Gateway) -> None:
    """The delegated role may speak of `pace/` alone: a file of its own is not found."""
    tool = ours.tool
    number = max(int(path.name.split(".")[0]) for path in tool.metadata.glob("*.pace.json"))
    pace = Metadata[Targets].from_file(str(tool.metadata / f"{number}.pace.json"))
    pace.signed.targets["evil.zip"] = TargetFile.from_data("evil.zip", b"evil", ["sha256"])
    pace.signed.version += 1
    pace.sign(ours.online)
    pace.to_file(str(tool.metadata / f"{number + 1}.pace.json"))
    tool.publish(ours.online, now_ms())
    look = gateway.looks(ours.folder)
    look.releases()
    with pytest.raises(RepositoryError, match="no target"):
        look.program(OfferedRelease(version="0.9.0", path="evil.zip", needs="0.2.0", rings=ALL))
    assert look.pace("0.3.0").open == 1


def test_a_replaced_key_signs_nothing_any_more(ours: SignedRepository, gateway: Gateway) -> None:
    """A signer's key is known to be stolen: a new root without it, signed by the old threshold."""
    thief, fresh = ours.signers[0], CryptoSigner.generate_ed25519()
    keep = [*ours.signers[1:], fresh]
    ours.tool.stage_root([one.public_key for one in keep], 2, ours.online.public_key, now_ms())
    ours.signers = [ours.signers[1], ours.signers[2]]
    ours.published()
    assert gateway.takes(ours.folder) == b"good"
    ours.signers = [thief, keep[0]]
    ours.tool.stage_release("0.4.0", b"newer", "0.2.0", ALL, now_ms())
    with pytest.raises(UpdateError, match="nothing there is for this key"):
        ours.tool.sign(thief)
    with_online_key(ours, forged(ours, thief, fresh))
    assert "signed by 1/2" in refused(gateway, ours.folder)


def test_a_root_that_the_signers_of_before_did_not_sign(ours: SignedRepository, gateway: Gateway) -> None:
    mine = [CryptoSigner.generate_ed25519() for _ in range(2)]
    tool = UpdateRepository(ours.folder)
    tool.stage_root([one.public_key for one in mine], 2, ours.online.public_key, now_ms())
    for signer in mine:
        tool.sign(signer)
    with pytest.raises(UpdateError, match="0 of 2 signatures"):
        tool.publish(ours.online, now_ms())
    shutil.copy(tool.staged / "root.json", tool.metadata / "2.root.json")
    assert "signed by 0/2" in refused(gateway, ours.folder)


def test_a_gateway_of_another_root_takes_nothing(ours: SignedRepository, tmp_path: Path) -> None:
    other = SignedRepository.begun(tmp_path / "other")
    assert "signed by 0" in refused(Gateway(tmp_path / "fresh", other.root()), ours.folder)


def test_bytes_end_with_the_budget(ours: SignedRepository, gateway: Gateway) -> None:
    ours.release("0.4.0", b"n" * 900_000)
    gateway.max_bytes = 500_000
    with pytest.raises(RepositoryError) as raised:
        gateway.takes(ours.folder)
    assert raised.value.code == "budget"
