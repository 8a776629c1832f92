"""The folder of a repository of The Update Framework: any web server may serve its `metadata` and `targets`.

What waits for signatures lies in `staged`, which travels to the signers' machines and back. Roots and releases are
valid by a threshold of them; the online key signs what says which of these are current (snapshot and timestamp), and
how many rings of a release are open (the delegated role `pace`). See TUF specification 1.0, section 3.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from agent.common.errors import describe
from agent.updates.offers import INDEX, MAX_RELEASES, PACE, OfferedRelease, Pace, ReleaseIndex, Ring
from collector.remote.updates.signers import UpdateError

PACE_ROLE = "pace"
DAYS = {Root.type: 730, Targets.type: 365, PACE_ROLE: 30, Snapshot.type: 30, Timestamp.type: 7}

Signed = TypeVar("Signed", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True)
class Signatures:
    """Of a staged file: those that count, and how many there must be."""

    role: str
    counted: int
    needed: int


class UpdateRepository:
    """Raises UpdateError for what cannot be done, OSError for what cannot be written. `now_ms` is wall clock time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata, self.targets, self.staged = (folder / name for name in ("metadata", "targets", "staged"))

    # ------------------------------------------------------------ what is staged

    def stage_root(self, keys: Sequence[SSlibKey], threshold: int, online: SSlibKey, now_ms: int) -> None:
        """These signers from now on, and this online key: the first root, or one that replaces keys."""
        if not 1 <= threshold <= len({key.keyid for key in keys}):
            raise UpdateError(f"threshold {threshold}: must be 1 to the number of signers; give --key for each")
        if online.keyid in {key.keyid for key in keys}:
            raise UpdateError("the online key is a signer's too: whoever steals it could sign; make another")
        before = self._newest(Root.type)
        root = Root(version=_version(before) + 1, expires=_end(Root.type, now_ms), consistent_snapshot=True)
        for key in keys:
            for role in (Root.type, Targets.type):
                root.add_key(key, role)
        for role in (Snapshot.type, Timestamp.type):
            root.add_key(online, role)
        for role in (Root.type, Targets.type):
            root.roles[role].threshold = threshold
        self._stage(Root.type, Metadata(root))
        self._stage_targets(self.releases(), {}, online, now_ms)

    def stage_release(
        self, version: str, content: bytes, needs: str, rings: Sequence[Ring], now_ms: int
    ) -> OfferedRelease:
        """One more release; the oldest of too many goes."""
        release = OfferedRelease(version=version, path=f"nabz-agent-{version}.zip", needs=needs, rings=[*rings])
        try:
            msgspec.convert(msgspec.to_builtins(release), OfferedRelease)
        except msgspec.ValidationError as error:
            raise UpdateError(f"release {version}: {describe(error)}; see docs/updates.md") from None
        kept = [one for one in self.releases() if one.version != version]
        if len(kept) < len(self.releases()):
            raise UpdateError(f"release {version}: is published; what was signed is never replaced, give a new version")
        self._stage_targets([*kept, release][-MAX_RELEASES:], {release.path: content}, self._online_key(), now_ms)
        return release

    def withdraw(self, version: str, now_ms: int) -> None:
        """A release that no gateway is to take any more; those that run it stay."""
        kept = [one for one in self.releases() if one.version != version]
        if len(kept) == len(self.releases()):
            raise UpdateError(f"release {version}: is not published; see `nabz-collector update status`")
        self._stage_targets(kept, {}, self._online_key(), now_ms)

    def _stage_targets(
        self, releases: Sequence[OfferedRelease], contents: dict[str, bytes], online: SSlibKey, now_ms: int
    ) -> None:
        before = self._newest(Targets.type)
        contents = contents | {INDEX: msgspec.json.encode(ReleaseIndex(releases=[*releases]))}
        files = {name: TargetFile.from_data(name, content, ["sha256"]) for name, content in contents.items()}
        if before is not None:
            files = {one.path: before.signed.targets[one.path] for one in releases if one.path not in files} | files
        role = DelegatedRole(PACE_ROLE, [online.keyid], 1, True, paths=[f"{PACE}*"])
        signed = Targets(
            version=_version(before) + 1, expires=_end(Targets.type, now_ms), targets=files,
            delegations=Delegations({online.keyid: online}, {PACE_ROLE: role}),
        )  # fmt: skip
        for name, content in contents.items():
            place = self.staged / "targets" / f"{files[name].hashes['sha256']}.{name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        self._stage(Targets.type, Metadata(signed))

    def _stage(self, role: str, metadata: Metadata[Any]) -> None:
        self.staged.mkdir(parents=True, exist_ok=True)
        metadata.to_file(str(self.staged / f"{role}.json"), JSONSerializer(compact=False))

    def sign(self, signer: CryptoSigner) -> list[Signatures]:
        """Signs all that is staged and that this key may sign."""
        signed = 0
        for role in (Root.type, Targets.type):
            metadata = self._read(self.staged / f"{role}.json")
            if metadata is not None and signer.public_key.keyid in self._signers(role):
                metadata.sign(signer, append=True)
                self._stage(role, metadata)
                signed += 1
        if not signed:
            raise UpdateError(f"{self.staged}: nothing there is for this key; see `nabz-collector update status`")
        return self.signatures()

    def _signers(self, role: str) -> set[str]:
        """Who may sign what is staged: a new root by the signers of before too."""
        roots = [self._read(self.staged / "root.json"), self._newest(Root.type)]
        known = [root for root in roots if root is not None]
        return {key for root in (known if role == Root.type else known[:1]) for key in root.signed.roles[role].keyids}

    def signatures(self) -> list[Signatures]:
        return [Signatures(role, counted, needed) for role, _, counted, needed in self._verified()]

    def _verified(self) -> Iterator[tuple[str, Metadata[Any], int, int]]:
        """(role, staged metadata, signatures that count, how many there must be); a new root by both roots' rules."""
        staged_root, before = self._read(self.staged / "root.json"), self._newest(Root.type)
        judges = [root for root in (staged_root, before) if root is not None]
        for role, roots in ((Root.type, judges), (Targets.type, judges[:1])):
            metadata = self._read(self.staged / f"{role}.json")
            if metadata is None or not roots:
                continue
            results = [
                root.signed.get_verification_result(role, metadata.signed_bytes, metadata.signatures) for root in roots
            ]
            worst = min(results, key=lambda result: len(result.signed) - result.threshold)
            yield role, metadata, len(worst.signed), worst.threshold

    # ------------------------------------------------------------ what is published

    def publish(self, online: CryptoSigner, now_ms: int) -> list[str]:
        """Publishes what is staged, whole or not at all; then says anew what is current, also where nothing was staged:
        once a week at least, or gateways take the repository for a frozen one. Returns the roles that changed."""
        roles = [*self._verified()]
        for role, _, counted, needed in roles:
            if counted < needed:
                raise UpdateError(f"{role}: has {counted} of {needed} signatures; have it signed (`update sign`)")
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.targets.mkdir(parents=True, exist_ok=True)
        for path in (self.staged / "targets").glob("*"):
            shutil.copyfile(path, self.targets / path.name)
        for role, metadata, _, _ in roles:
            self._write(f"{metadata.signed.version}.{role}.json", metadata)
        shutil.rmtree(self.staged, ignore_errors=True)
        if self._newest(PACE_ROLE) is None:
            self._write_pace({}, online, now_ms)
        self._announce(online, now_ms)
        return [role for role, _, _, _ in roles]

    def set_pace(self, version: str, rings: int, online: CryptoSigner, now_ms: int) -> None:
        """Opens so many rings of a release; 0 holds it back."""
        release = next((one for one in self.releases() if one.version == version), None)
        if release is None:
            raise UpdateError(f"release {version}: is not published; see `nabz-collector update status`")
        if not 0 <= rings <= len(release.rings):
            most = len(release.rings)
            raise UpdateError(f"ring {rings}: release {version} has {most}; give 0 to {most}")
        self._write_pace({**self.paces(), version: Pace(open=rings, at_ms=now_ms)}, online, now_ms)
        self._announce(online, now_ms)

    def _write_pace(self, paces: dict[str, Pace], online: CryptoSigner, now_ms: int) -> None:
        known = {release.version for release in self.releases()}
        files = {}
        for version, pace in paces.items():
            if version in known:
                files[PACE + version] = TargetFile.from_data(PACE + version, b"", ["sha256"])
                files[PACE + version].unrecognized_fields["custom"] = msgspec.to_builtins(pace)
        number = _version(self._newest(PACE_ROLE)) + 1
        signed = Metadata(Targets(version=number, expires=_end(PACE_ROLE, now_ms), targets=files))
        signed.sign(online)
        self._write(f"{number}.{PACE_ROLE}.json", signed)

    def _announce(self, online: CryptoSigner, now_ms: int) -> None:
        """Snapshot and timestamp. The pace is signed anew before its time is over."""
        pace = self._newest(PACE_ROLE)
        if pace is not None and pace.signed.expires < _time(now_ms) + timedelta(days=DAYS[PACE_ROLE] / 2):
            self._write_pace(self.paces(), online, now_ms)
        metas = {f"{role}.json": MetaFile(_version(self._newest(role))) for role in (Targets.type, PACE_ROLE)}
        number = _version(self._newest(Snapshot.type)) + 1
        snapshot = Metadata(Snapshot(version=number, expires=_end(Snapshot.type, now_ms), meta=metas))
        snapshot.sign(online)
        self._write(f"{number}.{Snapshot.type}.json", snapshot)
        before = self._read(self.metadata / "timestamp.json")
        timestamp = Metadata(Timestamp(version=_version(before) + 1, expires=_end(Timestamp.type, now_ms),
                                       snapshot_meta=MetaFile(number)))  # fmt: skip
        timestamp.sign(online)
        self._write("timestamp.json", timestamp)

    def _write(self, name: str, metadata: Metadata[Any]) -> None:
        """Whole or not at all: the timestamp is what gateways see first."""
        fresh = self.metadata / f".{name}.new"
        metadata.to_file(str(fresh), JSONSerializer())
        fresh.replace(self.metadata / name)

    # ------------------------------------------------------------ what is there

    def releases(self) -> list[OfferedRelease]:
        """Those published, the oldest first."""
        newest = self._newest(Targets.type)
        if newest is None:
            return []
        index = newest.signed.targets[INDEX]
        raw = (self.targets / f"{index.hashes['sha256']}.{INDEX}").read_bytes()
        return msgspec.json.decode(raw, type=ReleaseIndex).releases

    def paces(self) -> dict[str, Pace]:
        newest = self._newest(PACE_ROLE)
        files = newest.signed.targets if newest is not None else {}
        return {name.removeprefix(PACE): msgspec.convert(file.custom, Pace) for name, file in files.items()}

    def root(self) -> bytes:
        """The first root: what a gateway trusts from the start on (`update-root.json`)."""
        path = self.metadata / "1.root.json"
        if not path.exists():
            raise UpdateError(f"{self.folder}: has no root yet; run `update init`, have it signed, then publish")
        return path.read_bytes()

    def _online_key(self) -> SSlibKey:
        root = self._newest(Root.type)
        if root is None:
            raise UpdateError(f"{self.folder}: has no root yet; run `update init`, have it signed, then publish")
        return root.signed.keys[root.signed.roles[Timestamp.type].keyids[0]]  # type: ignore[no-any-return]

    def _newest(self, role: str) -> Metadata[Any] | None:
        versions = [(int(path.name.split(".")[0]), path) for path in self.metadata.glob(f"[0-9]*.{role}.json")]
        return self._read(max(versions)[1]) if versions else None

    def _read(self, path: Path) -> Metadata[Any] | None:
        try:
            return Metadata.from_file(str(path)) if path.exists() else None
        except (TufError, ValueError) as error:
            raise UpdateError(f"{path}: is no metadata ({describe(error)}); take it from a copy") from None


def _version(metadata: Metadata[Any] | None) -> int:
    return int(metadata.signed.version) if metadata is not None else 0


def _time(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms // 1000, UTC)


def _end(role: str, now_ms: int) -> datetime:
    return _time(now_ms) + timedelta(days=DAYS[role])
