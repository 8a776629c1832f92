"""PostgreSQL itself refuses what a role may not do: every table, every role, by direct SQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.access import enrolment
from collector.common.config import KeepSection, Settings
from collector.desk.alerts.outbox import Outbox
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging.silence import sweep
from collector.run.upkeep.housekeeping import Housekeeping
from collector.store import Store, roles, schema
from collector.store.migrate import HEAD
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_000_000_000
ROLES = (roles.INGEST, roles.WEB, roles.AUDITOR)
DENIED = "42501"  # SQLSTATE insufficient_privilege


def tries(table: sa.Table) -> dict[str, str]:
    """A statement for each letter of the matrix that changes nothing. One that gets past the door may still fail."""
    other = next(c.name for c in table.columns if c.name not in ("queued_ms", "wall_ms", "value", "id"))
    return {
        "r": f"SELECT * FROM {table.name} LIMIT 0",
        "a": f"INSERT INTO {table.name} ({other}) VALUES (NULL)",
        "w": f"UPDATE {table.name} SET {other} = NULL WHERE false",
        "d": f"DELETE FROM {table.name} WHERE false",
    }


def is_refused(conn: sa.Connection, statement: str) -> bool:
    try:
        with conn.begin_nested() as nested:
            conn.execute(sa.text(statement))
            nested.rollback()
    except sa.exc.DBAPIError as error:
        return getattr(error.orig, "sqlstate", "") == DENIED
    return False


@pytest.fixture(scope="module")
def guarded(postgres: str) -> str:
    """The URL of a database with roles, without a user."""
    name = f"t{uuid.uuid4().hex}"
    admin = sa.create_engine(f"postgresql+psycopg://nabz@/postgres?host={postgres}", isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    with closing(Store.open(f"postgresql+psycopg://nabz@/{name}?host={postgres}")) as store, store.write() as conn:
        roles.make(conn)
    return f"postgresql+psycopg://USER@/{name}?host={postgres}"


@pytest.fixture
def as_role(guarded: str) -> Iterator[Callable[[str], Store]]:
    opened: list[Store] = []

    def open_as(role: str) -> Store:
        opened.append(Store.open(guarded.replace("USER", role)))
        return opened[-1]

    yield open_as
    for store in opened:
        store.close()


def test_every_table_has_its_row() -> None:
    assert set(roles.MATRIX) == set(schema.metadata.tables), "say in roles.MATRIX who may do what with it"


@pytest.mark.parametrize("role", ROLES)
def test_the_database_refuses_all_that_the_matrix_does_not_say(role: str, as_role: Callable[[str], Store]) -> None:
    found = {}
    with as_role(role).write() as conn:
        for name, table in schema.metadata.tables.items():
            found[name] = "".join(letter for letter, sql in tries(table).items() if not is_refused(conn, sql))
            assert is_refused(conn, f"TRUNCATE {name}"), name
            assert is_refused(conn, f"DROP TABLE {name}"), name
    place = ROLES.index(role)
    assert found == {name: letters[place].rstrip("nqmtvs") for name, letters in roles.MATRIX.items()}


def test_evidence_records_and_changes_can_only_be_added_to_by_whom_readings_pass() -> None:
    assert {roles.MATRIX[name][0].rstrip("q") for name in ("evidence", "changes", "integrity")} == {"ra"}
    assert {roles.MATRIX[name][0] for name in _readings()} == {"rat"}
    assert all(
        "w" not in roles.MATRIX[name][1] and "d" not in roles.MATRIX[name][1] for name in ("evidence", "records")
    )
    assert {letters[2] for letters in roles.MATRIX.values()} == {"r", ""}


def _readings() -> list[str]:
    return [table.name for table in schema.readings.values()]


def test_of_a_change_the_web_can_only_mark_the_queue(as_role: Callable[[str], Store]) -> None:
    with as_role(roles.WEB).write() as conn:
        assert not is_refused(conn, "UPDATE changes SET queued_ms = 1 WHERE false")
        assert is_refused(conn, "UPDATE changes SET reason = '' WHERE false")


def test_of_a_reading_ingest_can_only_move_the_time(as_role: Callable[[str], Store]) -> None:
    with as_role(roles.INGEST).write() as conn:
        assert not is_refused(conn, "UPDATE ups_readings SET wall_ms = 1 WHERE false")
        assert is_refused(conn, "UPDATE ups_readings SET load_pct = 1 WHERE false")


@pytest.mark.parametrize("role", ROLES)
def test_no_role_gets_at_a_table_through_its_parts(role: str, as_role: Callable[[str], Store]) -> None:
    with as_role(role).write() as conn:
        for statement in (
            "SELECT 1 FROM evidence_rest",
            "DELETE FROM evidence_rest",
            "UPDATE ups_readings_rest SET seq = 1",
        ):
            assert is_refused(conn, statement)
        assert is_refused(conn, "CREATE TABLE mine (x INTEGER)")
        assert is_refused(conn, f"SET ROLE {roles.OWNER}")


def test_a_right_too_many_is_seen(guarded: str, as_role: Callable[[str], Store]) -> None:
    with closing(Store.open(guarded.replace("USER", "nabz"))) as owner:
        with owner.write() as conn:
            conn.execute(sa.text(f"GRANT UPDATE ON evidence TO {roles.INGEST}"))
        with pytest.raises(AssertionError, match="evidence"):
            test_the_database_refuses_all_that_the_matrix_does_not_say(roles.INGEST, as_role)
        with owner.write() as conn:
            roles.grant(conn)  # says it anew, and takes away what it does not say
    test_the_database_refuses_all_that_the_matrix_does_not_say(roles.INGEST, as_role)


def test_each_role_can_do_its_work(as_role: Callable[[str], Store], gateway) -> None:
    web, ingesting, owner = as_role(roles.WEB), as_role(roles.INGEST), as_role(roles.OWNER)
    mine = gateway(web)
    with web.write() as conn:
        enrolment.issue_token(conn, "LHR-1", NOW, ttl_s=600)
    standards = timeless_standards()
    ingest = Ingest(ingesting, Ed25519PrivateKey.generate(), judge_with(Settings(), standards))
    taken = ingest.take([mine.batch([mine.ups(output_state="battery")])], NOW)
    assert taken.counts["readings"] == 1
    ingest.take([mine.batch([mine.ups(wall_ms=NOW + 1)])], NOW + 4_000_000)
    with ingesting.write() as conn:
        sweep(conn, standards, NOW + 9_000_000)
    Outbox(web, [], standards, "http://localhost", lambda: NOW).look()
    kept = Settings(keep=KeepSection(raw_days=1, hours_days=1, evidence_days=2))
    Housekeeping(owner, kept, standards, lambda: NOW + 10**9).tick()
    with as_role(roles.AUDITOR).read() as conn:
        assert conn.scalar(sa.text("SELECT version_num FROM alembic_version")) == HEAD
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.hours["ups"])) is not None
