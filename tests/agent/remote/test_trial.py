"""A document of settings from its arrival to its end: proven, taken back, refused; and what the file of it survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent import wire
from agent.config import AgentSettings
from agent.remote.settings import digest_of
from agent.remote.trial import FILE, MAX_STARTS, RemoteSettings, SettingsRefused, in_force

NOW = 1_795_000_000_000
QUICK: dict[str, dict[str, Any]] = {"speed": {"mode": "quick"}}
FULL: dict[str, dict[str, Any]] = {"speed": {"mode": "full"}}


def document(values: dict[str, dict[str, Any]], issued_ms: int = NOW) -> wire.SettingsDocument:
    return wire.SettingsDocument(digest=digest_of(values), issued_ms=issued_ms, values=values)


@pytest.fixture
def base(tmp_path: Path) -> AgentSettings:
    made = AgentSettings()
    return AgentSettings(agent=type(made.agent)(state_dir=str(tmp_path)))


def started(base: AgentSettings) -> tuple[RemoteSettings, str]:
    """As the agent starts: with which mode of speed tests."""
    remote = RemoteSettings(base.state_dir)
    return remote, remote.start(base).speed.mode


def proven(base: AgentSettings, values: dict[str, dict[str, Any]]) -> RemoteSettings:
    remote, _ = started(base)
    assert remote.accept(document(values), base, NOW)
    remote, _ = started(base)
    remote.prove()
    return remote


def test_a_document_is_on_trial_from_the_next_start_and_stays_once_it_is_proven(base: AgentSettings) -> None:
    remote, mode = started(base)
    assert (mode, remote.report()) == ("adaptive", wire.SettingsReport())
    assert remote.accept(document(QUICK), base, NOW)
    remote, mode = started(base)
    assert (mode, remote.report()) == ("quick", wire.SettingsReport(digest=digest_of(QUICK), state="trial"))
    remote.prove()
    for _ in range(MAX_STARTS + 1):
        remote, mode = started(base)
        assert (mode, remote.report()) == ("quick", wire.SettingsReport(digest=digest_of(QUICK)))
    assert in_force(base).speed.mode == "quick"


def test_the_same_document_again_changes_nothing(base: AgentSettings) -> None:
    remote = proven(base, QUICK)
    assert not remote.accept(document(QUICK, NOW + 20_000), base, NOW)


def test_what_fails_gives_way_to_what_was_proven_before_and_is_reported(base: AgentSettings) -> None:
    proven(base, QUICK)
    remote, _ = started(base)
    assert remote.accept(document(FULL, NOW + 1), base, NOW)
    remote, mode = started(base)
    assert mode == "full"
    remote.take_back("no_receipt", "600 s without a receipt")
    remote, mode = started(base)
    assert mode == "quick"
    report = remote.report()
    assert (report.digest, report.failed) == (digest_of(QUICK), digest_of(FULL))
    assert report.why == "no_receipt: 600 s without a receipt"
    assert remote.accept(document(FULL, NOW + 2), base, NOW), "a person has it tried once more"


def test_power_that_fails_at_every_start_of_a_trial_ends_it(base: AgentSettings) -> None:
    proven(base, QUICK)
    remote, _ = started(base)
    remote.accept(document(FULL, NOW + 1), base, NOW)
    assert [started(base)[1] for _ in range(MAX_STARTS + 1)] == ["full"] * MAX_STARTS + ["quick"]
    assert RemoteSettings(base.state_dir).report().why.startswith("starts:")


def test_no_values_any_more_leaves_the_machines_own_file(base: AgentSettings) -> None:
    remote = proven(base, QUICK)
    assert remote.accept(document({}, NOW + 1), base, NOW)
    remote, mode = started(base)
    assert (mode, remote.report().state) == ("adaptive", "trial")
    remote.prove()
    assert started(base)[0].report() == wire.SettingsReport()


def test_a_document_older_than_the_newest_is_refused_and_named(base: AgentSettings) -> None:
    remote = proven(base, QUICK)
    with pytest.raises(SettingsRefused, match=r"^stale: issued 5 ms before the newest one$"):
        remote.accept(document(FULL, NOW - 5), base, NOW)
    assert remote.report() == wire.SettingsReport(digest=digest_of(QUICK)), "a replay moves nothing"


def test_documents_of_a_collector_whose_clock_was_a_year_ahead_do_not_lock_out_those_of_today(
    base: AgentSettings,
) -> None:
    remote = proven(base, QUICK)
    assert remote.accept(document(FULL, NOW + 365 * 86_400_000), base, NOW)
    assert remote.accept(document(QUICK, NOW + 1), base, NOW)


def test_a_document_that_this_program_cannot_take_is_refused_and_reported(base: AgentSettings) -> None:
    remote = proven(base, QUICK)
    wrong = document({"agent": {"state_dir": "/tmp"}}, NOW + 1)
    with pytest.raises(SettingsRefused, match=r"^invalid: \[agent\] state_dir: is set on the gateway alone"):
        remote.accept(wrong, base, NOW)
    remote, mode = started(base)
    assert (mode, remote.report().failed) == ("quick", wrong.digest)
    assert len(remote.report().why) <= 200


def test_proven_settings_that_a_changed_file_no_longer_fits_give_way_to_the_file(base: AgentSettings) -> None:
    proven(base, {"link": {"probes": 200}})
    other = AgentSettings(agent=base.agent, link=type(base.link)(interval_ms=10_000, probes=3))
    remote = RemoteSettings(base.state_dir)
    assert remote.start(other).link.probes == 3
    assert remote.report().why.startswith("invalid: [link] probes")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"trial": 7}', b"\xff\xfe", b"[" * 70_000, b'{"starts": "x"}'])
def test_a_file_that_cannot_be_read_leaves_the_machines_own_settings(content: bytes, base: AgentSettings) -> None:
    proven(base, QUICK)
    (base.state_dir / FILE).write_bytes(content)
    remote, mode = started(base)
    assert mode == "adaptive"
    assert remote.accept(document(QUICK, NOW + 1), base, NOW)


def test_a_disk_that_takes_nothing_takes_no_document(base: AgentSettings) -> None:
    """What is in place of the file's temporary twin cannot be replaced, whoever tries."""
    remote, _ = started(base)
    (base.state_dir / f"{FILE}.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        remote.accept(document(QUICK), base, NOW)
    assert remote.report() == wire.SettingsReport()
