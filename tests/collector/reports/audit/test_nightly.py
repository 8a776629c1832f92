"""The night's sample: who is drawn, what is told to the desk, and when it is over."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.common.reasons import decode
from collector.__main__ import main
from collector.desk import follow
from collector.reports.audit import nightly
from collector.run.upkeep.night_audit import is_due
from collector.store import Store, schema
from collector.verifier.__main__ import main as offline
from tests.collector.empty_stores import empty_store
from tests.collector.reports.audit.closed_month import CODE, NAME, audited, played, run
from tests.timelines.plays.order_play import BEGIN, CODES, DAY, HOUR, MONTH, REPORTED, STANDARDS, make_play


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("audit"), make_play(4), "ready", 4)


@pytest.fixture
def store(before: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    shutil.copy(before, tmp_path / "nabz.db")
    store = empty_store(tmp_path / "nabz.db")
    yield store
    store.close()


def test_at_least_one_center_is_drawn_and_each_has_its_chance(store: Store) -> None:
    with store.read() as conn:
        draws = [nightly.drawn(conn, 1.0, REPORTED, random.Random(seed)) for seed in range(40)]
        assert nightly.drawn(conn, 100.0, REPORTED, random.Random(0)).codes == list(CODES)
        assert nightly.drawn(conn, 100.0, BEGIN - 2 * DAY, random.Random(0)).codes == []
    assert {len(sample.codes) for sample in draws} == {1}
    assert {code for sample in draws for code in sample.codes} == set(CODES)
    assert draws[0].month == "2026-12"


def tell(store: Store, now_ms: int) -> None:
    done = audited(store)
    with store.write() as conn:
        nightly.tell(conn, done, STANDARDS, now_ms)
        follow.follow(conn, STANDARDS, now_ms)


def flags(store: Store) -> list[tuple[str, str]]:
    f = schema.flags.c
    with store.read() as conn:
        rows = conn.execute(sa.select(f.subject, f.state).where(f.criterion == "collector.audit")).all()
        return [(row.subject, row.state) for row in rows]


def test_what_differs_is_an_incident_of_the_collector_until_it_is_as_signed_again(store: Store) -> None:
    tell(store, REPORTED)
    assert flags(store) == []
    table = schema.readings["link"]
    run(store, sa.update(table).where(table.c.center == CODE).values(rtt_median_ms=table.c.rtt_median_ms * 6))
    tell(store, REPORTED + HOUR)
    assert flags(store) == [(CODE, "raised")]
    with store.read() as conn:
        found = conn.execute(sa.select(schema.integrity).order_by(schema.integrity.c.id.desc())).first()
        incident = conn.execute(sa.select(schema.incidents).order_by(schema.incidents.c.id.desc())).first()
    assert (found.finding, found.center) == ("evidence_altered", CODE)  # type: ignore[union-attr]
    assert decode(found.detail).params["first"].code == "audit.reading_differs"  # type: ignore[union-attr]
    assert (incident.scope, incident.family) == ("collector", "collector")  # type: ignore[union-attr]
    run(store, sa.update(table).where(table.c.center == CODE).values(rtt_median_ms=table.c.rtt_median_ms / 6))
    tell(store, REPORTED + 2 * HOUR)
    assert flags(store) == [(CODE, "clear")]


def test_a_night_is_once_a_day_from_its_hour_on() -> None:
    two = MONTH + 2 * HOUR
    assert [is_due(at, 2, None) for at in (two - 1, two, two + 20 * HOUR)] == [False, True, True]
    assert [is_due(two + DAY, 2, last) for last in (two, two + DAY - 1, two + DAY, two + 9 * DAY)] == [
        True, True, False, True,
    ]  # fmt: skip


def test_the_command_tells_in_words_and_as_facts(store: Store, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    words = ["verify", "--center", CODE, "--month", NAME, "--data", str(tmp_path)]
    assert main(words) == 0
    assert "the same to the bit" in capsys.readouterr().out
    table = schema.readings["link"]
    run(store, sa.update(table).where(table.c.center == CODE).values(rtt_median_ms=table.c.rtt_median_ms * 6))
    assert main(words) == 1
    told = capsys.readouterr()
    assert "column rtt_median_ms says" in told.out
    assert main([*words, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["differences"][0]["kind"] == "reading_differs"
    assert facts["counts"]["reading_differs"] > 5
    assert main([*words, "--language", "ur"]) == 1
    assert "دستخط" in capsys.readouterr().out
    assert main(["verify", "--center", CODE, "--data", str(tmp_path)]) == 2
    assert main([*words[:2], "NOPE", *words[3:]]) == 1


def test_the_command_writes_a_bundle_that_says_the_same(store: Store, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    words = ["report", "--center", CODE, "--month", NAME, "--data", str(tmp_path), "--bundle", str(tmp_path / "b.zip")]
    assert main(words) == 0
    assert "revision 0" in capsys.readouterr().out
    assert offline([str(tmp_path / "b.zip")]) == 0
    told = capsys.readouterr().out
    assert "as it was signed" in told
    assert "not proven: the bundle has no transparency log" in told
    assert main([*words[:-1], str(tmp_path / "no" / "b.zip")]) == 1


def test_the_command_of_a_night_verifies_a_sample_and_keeps_its_result(store: Store, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["verify", "--sample", "--data", str(tmp_path)]) == 0
    assert "verified in" in capsys.readouterr().out
    with store.read() as conn:
        last = nightly.last(conn)
    assert last is not None
    assert (last.differing, last.centers <= 1) == ((), True)
