"""One look at the repository of releases, and the taking of what this gateway may have now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec

from agent.common.center_time import CENTER_TIME
from agent.common.errors import describe
from agent.common.files import write_atomically
from agent.common.releases.signers import SEEN
from agent.common.releases.trial import FOLDER, Release, ReleaseFolder
from agent.config import UpdateSection
from agent.updates.offers import GatewayPlace, choose
from agent.updates.repository import Open, Repository, RepositoryError, open_url

SPENT_FILE = "spent.json"


class SpentBytes(msgspec.Struct, frozen=True):
    """Of a month such as 2026-11, at the center's clock."""

    month: str = ""
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class TakeOutcome:
    """`code`: taken, offered (and not to be taken now), current, package, ring, early, held, failed (it was tried
    here before), unreachable, budget, refused or unset. `bytes` were moved."""

    code: str
    version: str = ""
    detail: str = ""
    bytes: int = 0


def look(
    update: UpdateSection, state_dir: Path, place: GatewayPlace, now_ms: int, *, take: bool, open_url: Open = open_url
) -> TakeOutcome:
    """Raises nothing but OSError, for the gateway's own disk."""
    if not update.url:
        return TakeOutcome(code="unset", detail="[update] url is empty")
    try:
        root = Path(update.root_file).read_bytes()
    except OSError as error:
        return TakeOutcome(code="unset", detail=f"[update] root_file {update.root_file}: {describe(error)}")
    folder = state_dir / SEEN
    spent = read_spent(folder, now_ms)
    left_bytes = update.monthly_mb * 1_000_000 - spent.bytes
    if left_bytes <= 0:
        return TakeOutcome(code="budget", detail=f"{spent.bytes} bytes were moved this month")
    try:
        repository = Repository(update.url, folder, root, left_bytes, open_url)
    except RepositoryError as error:
        return TakeOutcome(code=error.code, detail=str(error))
    try:
        outcome = _outcome(repository, state_dir / FOLDER, place, now_ms, take=take)
    except RepositoryError as error:
        outcome = TakeOutcome(code=error.code, detail=str(error))
    moved = repository.fetcher.bytes
    write_atomically(folder / SPENT_FILE, msgspec.json.encode(SpentBytes(spent.month, spent.bytes + moved)))
    return replace(outcome, bytes=moved)


def _outcome(repository: Repository, folder: Path, place: GatewayPlace, now_ms: int, *, take: bool) -> TakeOutcome:
    offered = repository.releases()
    choice = choose(offered, {one.version: repository.pace(one.version) for one in offered}, place, now_ms)
    version = choice.release.version if choice.release is not None else ""
    if choice.code != "offered" or choice.release is None or not take:
        return TakeOutcome(code=choice.code, version=version)
    releases = ReleaseFolder(folder)
    digest = repository.digest(choice.release)
    if not releases.may_try(Release(version, digest)):
        return TakeOutcome(code="failed", version=version, detail=releases.state.why)
    releases.accept(version, repository.program(choice.release))
    return TakeOutcome(code="taken", version=version)


def read_spent(folder: Path, now_ms: int) -> SpentBytes:
    month = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME).strftime("%Y-%m")
    try:
        spent = msgspec.json.decode((folder / SPENT_FILE).read_bytes(), type=SpentBytes)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return SpentBytes(month)
    return spent if spent.month == month else SpentBytes(month)
