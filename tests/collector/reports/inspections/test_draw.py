"""Visits are drawn from a seed whose hash was published first, and anybody can redo the draw."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.acts import inspections
from collector.acts.person import ActingPerson
from collector.log import sequencing
from collector.register.centers import Center
from collector.reports.inspections import draw, visit_lists
from collector.reports.inspections.visit_lists import VisitError
from collector.store import Store, schema, upsert
from collector.store.journal import MARKS
from tests.collector.empty_stores import empty_store

SECRET, NOW = b"secret of these tests", 1_795_000_000_000
ALI = ActingPerson(name="Ali", now_ms=NOW)
CODES = [f"LHR-{n}" for n in range(8)]


@pytest.fixture
def store(tmp_path: Path):
    store = empty_store(tmp_path / "nabz.db")
    shared = {"name": "x", "tier": "one", "seats_promised": 20, "opening": "always"}
    centers = [Center(code=code, lifecycle="declared", **shared) for code in CODES]
    with store.write() as conn:
        upsert(
            conn, schema.centers, [one.row() for one in (*centers, Center(code="GONE", lifecycle="closed", **shared))]
        )
        finding = {"at_ms": NOW, "center": "LHR-3", "device": "g", "finding": "equivocation", "detail": "{}"}
        conn.execute(sa.insert(schema.integrity).values(**finding))
    yield store
    store.close()


def log_grows(store: Store) -> None:
    signer = sequencing.begin(store, Ed25519PrivateKey.generate(), "nabz.example/log", NOW)
    while sequencing.sequence(store, signer, NOW):
        pass


def test_a_list_is_drawn_only_after_the_log_has_the_hash_of_its_seed(store: Store) -> None:
    with store.write() as conn:
        published = inspections.publish(conn, SECRET, "2026-11", 3, ALI)
        assert (published.seed, published.visits) == ("", ())
        assert ("visit_lists", ("2026-11",)) in conn.info[MARKS]
        with pytest.raises(VisitError, match="does not have the hash"):
            inspections.draw(conn, SECRET, "2026-11", ALI)
    log_grows(store)
    with store.write() as conn:
        with pytest.raises(VisitError, match="another key"):
            inspections.draw(conn, b"other", "2026-11", ALI)
        drawn = inspections.draw(conn, SECRET, "2026-11", ALI)
        with pytest.raises(VisitError, match="drawn already"):
            inspections.draw(conn, SECRET, "2026-11", ALI)
        with pytest.raises(VisitError, match="published already"):
            inspections.publish(conn, SECRET, "2026-11", 3, ALI)
    assert len(drawn.visits) == 3
    assert dict(drawn.weights) == {code: 7.0 if code == "LHR-3" else 1.0 for code in CODES}
    assert draw.hash_of(drawn.seed) == published.seed_hash


@pytest.mark.parametrize(("name", "number"), [("", 3), ("a b", 3), ("../x", 3), ("x" * 33, 3), ("a", 0), ("a", 1001)])
def test_what_is_no_list_is_refused(store: Store, name: str, number: int) -> None:
    with store.write() as conn, pytest.raises(VisitError, match="needs a name"):
        inspections.publish(conn, SECRET, name, number, ALI)


def facts_of(store: Store) -> dict[str, object]:
    with store.write() as conn:
        inspections.publish(conn, SECRET, "2026-11", 3, ALI)
    log_grows(store)
    with store.write() as conn:
        inspections.draw(conn, SECRET, "2026-11", ALI)
    log_grows(store)
    with store.read() as conn:
        return json.loads(json.dumps(visit_lists.facts(conn, visit_lists.get(conn, "2026-11"))))


def test_anybody_can_redo_the_draw_and_every_change_is_seen(store: Store) -> None:
    facts = facts_of(store)
    assert draw.problems(facts) == []
    other = next(code for code in CODES if code not in facts["visits"])  # type: ignore[operator]
    changed = [
        {"seed": "0" * 64}, {"seed_hash": "0" * 64}, {"visits": [other, *facts["visits"][1:]]},  # type: ignore[index]
        {"visits": facts["visits"][::-1]}, {"number": 2}, {"published_leaf": None}, {"published_leaf": 10**6},  # type: ignore[index]
        {"weights": [[code, 1000.0 if code == other else weight] for code, weight in facts["weights"]]},  # type: ignore[attr-defined]
    ]  # fmt: skip
    for change in changed:
        assert draw.problems({**facts, **change}), change
    for broken in ({}, {"seed": 1}, {**facts, "weights": 3}, {**facts, "seed": "zz"}):
        assert draw.problems(broken)


def test_a_center_with_findings_comes_sooner_and_none_is_safe() -> None:
    weights = [("A", 1.0), ("B", 1.0), ("C", 8.0)]
    first = Counter(draw.drawn(draw.seed_of(SECRET, str(n)), weights, 1)[0] for n in range(2000))
    assert 0.74 < first["C"] / 2000 < 0.86  # 8 of 10
    assert min(first.values()) > 120
    assert sorted(draw.drawn(draw.seed_of(SECRET, "x"), weights, 9)) == ["A", "B", "C"]


def test_by_command_a_list_is_published_shown_and_checked(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = facts_of(store)
    assert main(["visits", "publish", "2026-12", "--number", "2", "--data", str(tmp_path)]) == 1  # there is no key
    capsys.readouterr()
    assert main(["visits", "show", "2026-11", "--json", "--data", str(tmp_path)]) == 0
    file = tmp_path / "list.json"
    file.write_text(capsys.readouterr().out)
    assert json.loads(file.read_text()) == facts
    assert main(["visits", "check", str(file)]) == 0
    file.write_text(json.dumps({**facts, "seed": "0" * 64}))
    assert main(["visits", "check", str(file)]) == 1
    assert "hash was published" in capsys.readouterr().out
    file.write_text("[" * 100_000)
    assert main(["visits", "check", str(file)]) == 2
