"""One look at a real, signed repository: what is taken, what it costs, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.common.releases.trial import FOLDER, ReleaseFolder
from agent.config import UpdateSection
from agent.updates.take import TakeOutcome, look, read_spent
from tests.collector.remote.updates.signed_repository import PLACE, URL, SignedRepository, now_ms, opening


@pytest.fixture
def ours(tmp_path: Path) -> SignedRepository:
    made = SignedRepository.begun(tmp_path / "repository")
    made.release("0.3.0", b"good" * 1000)
    return made


@pytest.fixture
def section(ours: SignedRepository, tmp_path: Path) -> UpdateSection:
    (tmp_path / "root.json").write_bytes(ours.root())
    return UpdateSection(url=URL, root_file=str(tmp_path / "root.json"))


def looked(section: UpdateSection, ours: SignedRepository, folder: Path, *, take: bool = True) -> TakeOutcome:
    return look(section, folder, PLACE, now_ms(), take=take, open_url=opening(ours.folder))


def test_a_release_is_taken_once_and_its_bytes_are_counted(
    section: UpdateSection, ours: SignedRepository, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    assert looked(section, ours, state, take=False).code == "offered"
    outcome = looked(section, ours, state)
    assert (outcome.code, outcome.version) == ("taken", "0.3.0")
    assert outcome.bytes < 4000 + 8000
    file = ReleaseFolder(state / FOLDER).start("0.2.0", "b" * 32, 0.0)
    assert file is not None
    assert file.read_bytes() == b"good" * 1000
    assert read_spent(state / "updates", now_ms()).bytes > outcome.bytes
    assert read_spent(state / "updates", now_ms() + 40 * 86_400_000).bytes == 0


def test_what_failed_here_is_not_loaded_again(section: UpdateSection, ours: SignedRepository, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    assert looked(section, ours, state).code == "taken"
    for _ in range(4):
        ReleaseFolder(state / FOLDER).start("0.2.0", "b" * 32, 0.0)
    outcome = looked(section, ours, state)
    assert (outcome.code, outcome.detail) == ("failed", "starts")
    assert outcome.bytes < 8000


def test_when_the_month_is_spent_nothing_is_loaded(
    section: UpdateSection, ours: SignedRepository, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    (state / "updates").mkdir(parents=True)
    month = read_spent(state / "updates", now_ms()).month
    (state / "updates" / "spent.json").write_text(f'{{"month": "{month}", "bytes": 20000000}}')
    assert looked(section, ours, state).code == "budget"
    (state / "updates" / "spent.json").write_text(f'{{"month": "{month}", "bytes": 19999000}}')
    assert looked(section, ours, state).code == "budget", "and not a byte more than one answer's beyond it"
    (state / "updates" / "spent.json").write_text("[" * 10_000)
    assert looked(section, ours, state).code == "taken"


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"url": ""}, "unset"), ({"root_file": "/nowhere/root.json"}, "unset")],
)
def test_without_a_repository_or_its_root_nothing_is_looked_at(
    changes: dict[str, str], code: str, section: UpdateSection, ours: SignedRepository, tmp_path: Path
) -> None:
    values = {"url": section.url, "root_file": section.root_file} | changes
    assert looked(UpdateSection(**values), ours, tmp_path / "state").code == code


def test_a_repository_that_does_not_answer_and_one_that_lies(
    section: UpdateSection, ours: SignedRepository, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    assert looked(section, dataclasses.replace(ours, folder=tmp_path / "nothing"), state).code == "unreachable"
    assert look(at_a_dead_address(section), state, PLACE, now_ms(), take=True).code == "unreachable"
    (ours.folder / "metadata" / "timestamp.json").write_bytes(b"\xff" * 100)
    assert looked(section, ours, state).code == "refused"


def at_a_dead_address(section: UpdateSection) -> UpdateSection:
    return UpdateSection(url="http://127.0.0.1:9", root_file=section.root_file)
