"""Steps from old tables to new ones: held to the schema on both databases, run by a command, with a copy before."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from collector.__main__ import main
from collector.common.config import DatabaseSection, Settings
from collector.run.upgrades import opened_and_upgraded
from collector.store import NeedsMigration, Store, StoreError, draft, migrate, schema

EVIDENCE = {
    "center": "LHR-1", "device": "g1", "spool": "s", "first_seq": 1, "last_seq": 1, "fresh": "[[1,1]]",
    "received_ms": 1_795_000_000_000, "body": b"{}", "signature": b"s",
}  # fmt: skip
READING = {
    "wall_ms": 1_795_000_000_000, "center": "LHR-1", "device": "g1", "spool": "s", "seq": 1, "subject": "",
    "received_ms": 1_795_000_000_000, "output_state": "online",
}  # fmt: skip


def differences(conn: sa.Connection) -> list[object]:
    """What the schema has and the database has not, or the other way round."""
    options = {"compare_type": True, "include_object": migrate.is_of_both}
    return list(compare_metadata(MigrationContext.configure(conn, opts=options), schema.metadata))


def shape(conn: sa.Connection) -> dict[str, object]:
    """Every table's columns, keys and indexes, as the database itself tells them."""
    seen = sa.inspect(conn)
    return {
        name: (
            sorted((c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in seen.get_columns(name)),
            seen.get_pk_constraint(name)["constrained_columns"],
            sorted((str(i["name"]), tuple(i["column_names"])) for i in seen.get_indexes(name)),
            sorted(tuple(u["column_names"]) for u in seen.get_unique_constraints(name)),
        )
        for name in seen.get_table_names()
    }


def old(url: str) -> Store:
    """A database as the program before the steps left it, with a row or two, and some things it did not have yet."""
    store = Store.attach(url)
    with store.write() as conn:
        migrate.upgrade(conn, "0001")
        conn.execute(sa.text("DROP TABLE alembic_version"))
        conn.execute(sa.text("DROP TABLE grants"))
        conn.execute(sa.text("ALTER TABLE ups_readings DROP COLUMN self_test_ms"))
        conn.execute(sa.insert(schema.about).values(name="schema", value="1"))
        conn.execute(sa.insert(schema.evidence).values(EVIDENCE))
        conn.execute(sa.insert(schema.readings["ups"]).values(READING))
    return store


def test_the_steps_from_nothing_make_what_the_schema_has(database_url: str) -> None:
    with closing(Store.attach(database_url)) as store:
        with store.write() as conn:
            migrate.upgrade(conn)
        with store.read() as conn:
            assert differences(conn) == [], 'the schema has changed: make migration WHY="…"'


def test_tables_made_at_once_are_as_the_steps_make_them(either_store: Store) -> None:
    with either_store.write() as conn:
        made = shape(conn)
        assert differences(conn) == []
        for name in sa.inspect(conn).get_table_names():
            conn.execute(sa.text(f'DROP TABLE IF EXISTS "{name}" {"CASCADE" if either_store.parted else ""}'))
        migrate.upgrade(conn)
        del (stepped := shape(conn))["alembic_version"], made["alembic_version"]
    assert made == stepped


def test_a_database_of_before_there_were_steps_is_brought_along_with_its_rows(database_url: str) -> None:
    with closing(old(database_url)) as store:
        with pytest.raises(NeedsMigration, match="run `nabz-collector migrate`"):
            Store.open(database_url)
        with store.write() as conn:
            migrate.upgrade(conn)
    with closing(Store.open(database_url)) as store, store.read() as conn:
        assert differences(conn) == []
        assert conn.execute(sa.select(schema.evidence.c.center, schema.evidence.c.body)).one() == ("LHR-1", b"{}")
        assert conn.execute(sa.select(schema.readings["ups"].c.output_state)).one() == ("online",)
        if store.parted:
            where = "SELECT tableoid::regclass::text FROM "
            assert conn.scalar(sa.text(where + "ups_readings")) == "ups_readings_p2026_11"
            assert conn.scalar(sa.text(where + "evidence")) == "evidence_p2026_11"


def test_ids_go_on_after_a_migration(database_url: str) -> None:
    with closing(old(database_url)) as store, store.write() as conn:
        migrate.upgrade(conn)
        conn.execute(sa.insert(schema.evidence).values(EVIDENCE))
        assert list(conn.scalars(sa.select(schema.evidence.c.id).order_by(schema.evidence.c.id))) == [1, 2]


def test_a_step_that_fails_leaves_the_database_as_it_was(database_url: str) -> None:
    with closing(old(database_url)) as store:
        with store.write() as conn:
            conn.execute(sa.text("CREATE TABLE late_hours (in_the_way INTEGER)"))  # what a step would make
        with pytest.raises(sa.exc.DBAPIError), store.write() as conn:
            migrate.upgrade(conn)
        with store.read() as conn:
            assert migrate.version(conn) == ""
            assert "grants" not in sa.inspect(conn).get_table_names()


def test_a_database_of_a_newer_program_is_refused_and_left_alone(either_store: Store, database_url: str) -> None:
    with either_store.write() as conn:
        conn.execute(sa.update(migrate.STAMP).values(version_num="9999"))
    with pytest.raises(StoreError, match=f"version 9999, this program knows {migrate.HEAD}"):
        Store.open(database_url)
    assert main(["migrate", "--check", "--database", database_url]) == 1


def test_the_command_says_what_it_would_do_and_does_it_once(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["migrate", "--database", database_url, "--data", str(tmp_path / "data")]
    assert main([*words, "--check"]) == 1  # empty
    old(database_url).close()
    assert main([*words, "--check"]) == 1
    assert main([*words, "--dry-run", "--json"]) == 0
    assert main([*words, "--check"]) == 1
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert [step["number"] for step in done["steps"]][:2] == ["0001", "0002"]
    assert Path(done["copy"]).stat().st_size > 1000
    assert main([*words, "--check"]) == 0
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_an_sqlite_file_is_migrated_by_serve_itself_and_postgresql_only_when_told(
    database_url: str, tmp_path: Path
) -> None:
    settings = Settings(database=DatabaseSection(url=database_url), collector={"data_dir": tmp_path / "data"})
    old(database_url).close()
    if database_url.startswith("postgresql"):
        with pytest.raises(NeedsMigration), opened_and_upgraded(settings, migrates=False):
            pass
    migrates = database_url.startswith("postgresql")
    with opened_and_upgraded(settings, migrates=migrates) as store, store.read() as conn:
        assert migrate.version(conn) == migrate.HEAD
    (copy,) = (tmp_path / "data").glob("before-*.backup")
    if not migrates:
        with closing(Store.attach(f"sqlite:///{copy}")) as before, before.read() as conn:
            assert migrate.version(conn) == ""


def test_a_drafted_table_of_readings_takes_rows_of_every_month_on_both_databases(either_store: Store) -> None:
    """The draft is run as it stands; on PostgreSQL a row of a month without a part goes to the rest."""
    metadata = sa.MetaData()
    for table in schema.metadata.tables.values():
        table.to_metadata(metadata)
    copied = schema.readings["shed"].to_metadata(metadata, name="room_readings")
    text = draft.draft("Readings of rooms", metadata)
    assert "###" not in text
    step: dict[str, Any] = {}
    exec(compile(text, "m9999.py", "exec"), step)
    row = {"center": "LHR-1", "device": "g1", "spool": "s", "seq": 1, "subject": "", "received_ms": 1, "wall_ms": 1}
    with either_store.write() as conn, Operations.context(MigrationContext.configure(conn)):
        step["upgrade"]()
        conn.execute(sa.insert(copied).values(row))
        assert conn.scalar(sa.select(copied.c.wall_ms)) == 1
        if either_store.parted:
            assert conn.scalar(sa.text("SELECT count(*) FROM room_readings_rest")) == 1


def test_nothing_is_left_to_draft() -> None:
    with pytest.raises(ValueError, match="nothing to draft"):
        draft.draft("why")


def test_sheets_and_months_of_suspended_days_are_made_anew(database_url: str) -> None:
    """The center that was never suspended, and days before, stay as they are."""
    day, code = 86_400_000, "LHR-1"
    fact = {
        "name": "lifecycle", "value": '"suspended"', "from_ms": 40 * day, "recorded_ms": 1, "recorded_by": "Ayesha",
        "reason": "", "source": "set", "evidence": "[]", "is_backdated": False, "confirmed_by": "", "withdrawn_by": "",
        "withdrawn_why": "", "waits": False,
    }  # fmt: skip
    report = {"revision": 1, "opened_ms": 1, "why": "{}", "marks": 1, "closed_ms": 2}
    with closing(Store.attach(database_url)) as store:
        with store.write() as conn:
            migrate.upgrade(conn, "0075")
            rows = [{**fact, "center": code}, {**fact, "center": "M", "value": '"watch"'}]
            conn.execute(sa.insert(schema.facts), rows)
            days = [
                {"center": one, "day_ms": n * day, "marks": 0, "made_ms": 5} for one in (code, "M") for n in (39, 40)
            ]
            conn.execute(sa.insert(schema.day_sheets), days)
            months = [{**report, "center": one, "from_ms": n * day} for one in (code, "M") for n in (0, 31)]
            conn.execute(sa.insert(schema.reports), months)
            migrate.upgrade(conn)
        with store.read() as conn:
            d, r = schema.day_sheets.c, schema.reports.c
            due = conn.execute(sa.select(d.center, d.day_ms).where(d.made_ms.is_(None))).all()
            opened = conn.execute(sa.select(r.center, r.from_ms, r.why).where(r.revision == 2)).all()
    assert [tuple(row) for row in due] == [(code, 40 * day)]
    assert [tuple(row) for row in opened] == [(code, 31 * day, '{"facts":1}')]
