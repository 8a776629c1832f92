"""A version of the standard: proposed by one person, adopted by another, dated, logged, never edited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.__main__ import main
from collector.acts import adoption
from collector.acts.adoption import AdoptionError
from collector.acts.person import ActingPerson
from collector.reports.audit import recorded
from collector.standard import examples
from collector.store import Store, schema
from collector.store.journal import MARKS
from tests.collector.empty_stores import empty_store

FIRST, SECOND = examples()[:2]
ALI, SARA = ActingPerson(name="Ali", now_ms=1000), ActingPerson(name="Sara", now_ms=2000, is_proven=True)


@pytest.fixture
def store(tmp_path: Path):
    store = empty_store(tmp_path / "nabz.db")
    yield store
    store.close()


def states(conn: sa.Connection) -> list[str]:
    return [one.state for one in adoption.states_of(conn, [FIRST, SECOND])]


def test_two_persons_adopt_a_version_and_others_stay_as_shipped(store: Store) -> None:
    with store.write() as conn:
        assert states(conn) == ["shipped", "shipped"]
        adoption.propose(conn, FIRST, "notification \n 12", ALI)
        assert states(conn) == ["shipped", "proposed"]
        with pytest.raises(AdoptionError, match="another person"):
            adoption.adopt(conn, FIRST, replace(ALI, name=" aLI "))
        adoption.adopt(conn, FIRST, SARA)
        found = adoption.states_of(conn, [FIRST])[0].adoption
        assert found is not None
        assert (found.adopted_ms, found.adopted_by, found.reason) == (2000, "Sara", "notification 12")
        assert ("adoptions", (FIRST.digest,)) in conn.info[MARKS]
        acts = conn.execute(sa.select(schema.decisions)).all()
        assert [(row.act, row.subject, row.is_proven) for row in acts] == [
            ("standard_propose", FIRST.id, False), ("standard_adopted", FIRST.id, True),
        ]  # fmt: skip


def test_what_was_adopted_is_of_its_bytes_and_never_changed(store: Store) -> None:
    with store.write() as conn:
        with pytest.raises(AdoptionError, match="is not proposed"):
            adoption.adopt(conn, FIRST, SARA)
        with pytest.raises(AdoptionError, match="needs a reason"):
            adoption.propose(conn, FIRST, " ", ALI)
        adoption.propose(conn, FIRST, "12", ALI)
        with pytest.raises(AdoptionError, match="proposed already"):
            adoption.propose(conn, FIRST, "13", ALI)
        adoption.adopt(conn, FIRST, SARA)
        with pytest.raises(AdoptionError, match="never changed"):
            adoption.adopt(conn, FIRST, replace(SARA, name="Bina"))
        assert adoption.states_of(conn, [replace(FIRST, digest="0" * 64)])[0].state == "shipped"
        assert list(recorded._rows(conn, "adoptions", "")) == []
        conn.execute(sa.update(schema.adoptions).values(adopted_by="Zed"))
        assert [one.kind for one in recorded._rows(conn, "adoptions", "")] == ["adoption_edited"]
        conn.execute(sa.delete(schema.adoptions))
        assert [one.kind for one in recorded._rows(conn, "adoptions", "")] == ["adoption_missing"]


def test_by_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> int:
        return main(["standard", *words, "--data", str(tmp_path)])

    assert run("propose", FIRST.id, "--reason", "12", "--by", "Ali") == 0
    assert run("adopt", FIRST.id, "--by", "Ali") == 1
    assert run("adopt", "none", "--by", "Sara") == 1
    assert "is not known here" in capsys.readouterr().err
    assert run("adopt", FIRST.id, "--by", "Sara") == 0
    capsys.readouterr()
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("shipped, not adopted" in line for line in lines) == len(examples()) - 1
    assert any(line.startswith(FIRST.id) and "Sara" in line for line in lines)
