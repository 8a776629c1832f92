"""A broker of another make is kept: what is written, when it is told, whose session is ended, and what fails is tried
again. What such brokers then do is seen in tests/faults/brokers/test_revocations.py."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collector.access.ca import Authority, Files
from collector.access.people import People
from collector.brokers.external import END_ROUNDS, ExternalBroker, reload
from collector.common.config import ExternalBrokerSection as Settings

NOW = time.time_ns() // 1_000_000
A, B = "g" + "a" * 16, "g" + "b" * 16


@dataclass
class Broker:
    """Notes what is asked of it; `broken` says that it cannot."""

    reloads: list[Sequence[str]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    broken: bool = False

    def reload(self, words: Sequence[str]) -> None:
        if self.broken:
            raise OSError("`reload` ended with exit code 1 (no)")
        self.reloads.append(words)

    def end(self, url: str, device: str, stand_in: Files) -> None:
        assert stand_in.key.exists()
        self.ended.append((url, device))


@dataclass
class Desk:
    """The collector's side of one kept broker."""

    folder: Path
    make: str = "mosquitto"
    broker: Broker = field(default_factory=Broker)
    gateways: list[str] = field(default_factory=lambda: [A, B])
    revoked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "broker").mkdir()
        self.authority = Authority(self.folder, NOW)
        self.own = self.authority.keep("server", self.authority.issue_server(["127.0.0.1"], NOW))
        self.start()

    def start(self) -> None:
        place = self.folder / "broker"
        settings = Settings.model_validate(
            {"make": self.make, "url": "mqtts://127.0.0.1:8883", "folder": place, "reload": ("reload", "it")}
        )
        self.outside = ExternalBroker(settings, self.authority, run=self.broker.reload, end=self.broker.end)

    def look(self) -> None:
        gateways = [name for name in self.gateways if name not in self.revoked]
        people = People(services=["nabz-collector"], gateways=gateways, revoked=self.revoked)
        crl = self.authority.write_crl([], NOW)
        self.outside.update(people, self.revoked, self.own, crl, NOW)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_is_told_at_the_start_and_when_something_has_changed(desk: Desk) -> None:
    desk.look()
    desk.look()
    crl = (desk.folder / "broker" / "crl.pem").read_bytes()
    assert crl.startswith(b"-----BEGIN X509 CRL")
    reloads = len(desk.broker.reloads)
    desk.revoked.append(A)
    desk.look()
    assert len(desk.broker.reloads) > reloads
    assert f"user {A}\ntopic deny #" in (desk.folder / "broker" / "acl").read_text()


def test_a_new_gateway_is_a_user_of_nats(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "nats")
    desk.gateways = [A]
    desk.look()
    assert B not in (tmp_path / "broker" / "users.conf").read_text()
    desk.gateways.append(B)
    desk.look()
    assert f"CN={B}" in (tmp_path / "broker" / "users.conf").read_text()
    desk.revoked.append(A)
    desk.look()
    assert A not in (tmp_path / "broker" / "users.conf").read_text()
    assert desk.broker.ended == []


def test_a_reload_that_fails_is_said_once_and_tried_until_it_is_done(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.broker.broken = True
    desk.revoked.append(A)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            desk.look()
    (record,) = caplog.records
    assert record.__dict__["event"].name == "external_broker_failed"
    assert record.__dict__["fields"] == {
        "broker": "mqtts://127.0.0.1:8883",
        "error": "`reload` ended with exit code 1 (no)",
        "code": "OSError",
    }
    assert desk.broker.ended == [], "who would be let in again is not put out"
    desk.broker.broken = False
    desk.look()
    assert (len(desk.broker.reloads), desk.broker.ended) == (1, [("mqtts://127.0.0.1:8883", A)])


def test_a_session_is_ended_for_a_minute_of_looks_and_after_a_restart_again(desk: Desk) -> None:
    desk.revoked.append(A)
    for _ in range(END_ROUNDS + 3):
        desk.look()
    assert len(desk.broker.ended) == END_ROUNDS
    desk.start()
    desk.look()
    assert len(desk.broker.ended) == END_ROUNDS + 1


def test_a_folder_that_is_not_there_is_named(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    (desk.folder / "broker").rmdir()
    desk.look()
    assert str(desk.folder / "broker") in caplog.text


def test_the_brokers_own_user_can_read_whatever_our_umask_is(desk: Desk) -> None:
    before = os.umask(0o077)
    try:
        desk.look()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (desk.folder / "broker").iterdir()}
    assert modes == {0o640}


def test_a_stand_in_lasts_minutes(desk: Desk) -> None:
    assert desk.authority.issue_stand_in(A, NOW).not_after_ms - NOW == 300_000


def test_what_a_command_says_when_it_fails_is_told() -> None:
    with pytest.raises(OSError, match=r"`sh -c echo no >&2; exit 3` ended with exit code 3 \(no\)"):
        reload(["sh", "-c", "echo no >&2; exit 3"])
    with pytest.raises(FileNotFoundError):
        reload(["/no/such/program"])
