"""`nabz-collector dispute`, run as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.__main__ import main
from collector.access import users
from collector.access.accounts import directory
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from tests.collector.empty_stores import empty_store

CENTER = Center(code="LHR-1", name="x", tier="one", seats_promised=20, lifecycle="declared", opening="always")


@pytest.fixture
def store(tmp_path: Path):
    store = empty_store(tmp_path / "nabz.db")
    with store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
    yield store
    store.close()


def run(tmp_path: Path, *words: str) -> int:
    return main(["dispute", *words, "--data", str(tmp_path)])


def test_a_dispute_is_filed_shown_and_decided(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = ("2026-01", "--center", "LHR-1", "--text", "it rained", "--by", "Omar")
    assert run(tmp_path, "file", *about) == 0
    assert run(tmp_path, "file", *about) == 1
    assert "see dispute 1" in capsys.readouterr().err
    assert run(tmp_path, "decide", "1", "upheld", "--reason", "seen", "--by", "omar") == 1
    assert "another person" in capsys.readouterr().err
    times = ("--from", "2026-01-05T09:00", "--to", "2026-01-05T11:00")
    assert run(tmp_path, "decide", "1", "upheld", "--reason", "seen", "--by", "Sara", *times[:2]) == 2
    assert run(tmp_path, "decide", "1", "upheld", "--reason", "seen", "--by", "Sara", *times) == 0
    capsys.readouterr()
    assert run(tmp_path, "show", "1", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["outcome"], shown["decided_by"], shown["test"]) == ("upheld", "Sara", None)
    assert run(tmp_path, "list", "--open") == 0
    assert "it rained" not in capsys.readouterr().out
    with store.read() as conn:
        assert conn.scalars(sa.select(schema.calendar.c.kind)).all() == ["dispute"]


@pytest.mark.parametrize("role", ["desk", "auditor"])
def test_where_names_are_proven_an_auditor_decides(store: Store, tmp_path: Path, role: str) -> None:
    with store.write() as conn:
        assert not directory.check_may(conn, "Sara", "", "dispute.decide", "LHR-1")  # names are recorded as given
        users.add(conn, "Sara", "kept", ["approve"], "root", 1, role=role)
        with pytest.raises(users.PersonError, match="is not proven"):
            directory.check_may(conn, "Sara", "", "dispute.decide", "LHR-1")
        if role == "auditor":
            assert directory.check_may(conn, "Sara", "kept", "dispute.decide", "LHR-1")
        else:
            with pytest.raises(users.PersonError, match="may not do this for LHR-1"):
                directory.check_may(conn, "Sara", "kept", "dispute.decide", "LHR-1")


def test_what_people_enter_by_hand_is_no_dispute_of_the_calendar(tmp_path: Path) -> None:
    words = ["calendar", "add", "dispute", "--all", "--from", "2026-01-01", "--to", "2026-01-02", "--reason", "x"]
    with pytest.raises(SystemExit):
        main([*words, "--data", str(tmp_path)])
